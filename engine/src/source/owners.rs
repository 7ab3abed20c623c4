//! The names of users and groups, asked of the system once each.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::{Gid, Group, Uid, User};

use crate::base::limits::NAME_BYTES_MAX;

type Cache = RwLock<HashMap<u32, Option<Arc<[u8]>>>>;

/// Finds the names of users and groups and remembers them, also that there is none. Made for many threads.
#[derive(Debug, Default)]
pub struct Owners {
    users: Cache,
    groups: Cache,
}

impl Owners {
    /// Returns the name of the user `uid`, or `None` if the system knows none.
    pub fn user(&self, uid: u32) -> Option<Arc<[u8]>> {
        cached(&self.users, uid, || User::from_uid(Uid::from_raw(uid)).ok()?.map(|user| user.name))
    }

    /// Returns the name of the group `gid`, or `None` if the system knows none.
    pub fn group(&self, gid: u32) -> Option<Arc<[u8]>> {
        cached(&self.groups, gid, || Group::from_gid(Gid::from_raw(gid)).ok()?.map(|group| group.name))
    }
}

fn cached(cache: &Cache, id: u32, ask: impl FnOnce() -> Option<String>) -> Option<Arc<[u8]>> {
    // A poisoned lock still guards whole entries: each is inserted by one call.
    if let Some(name) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return name.clone();
    }
    // The system is asked without the lock, since it may ask a server. Two threads may both ask; they hear the same.
    let name =
        ask().filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX).map(|name| Arc::from(name.into_bytes()));
    cache.write().unwrap_or_else(PoisonError::into_inner).insert(id, name.clone());
    name
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn root_has_a_name_and_is_asked_for_once() {
        let owners = Owners::default();
        let first = owners.user(0).unwrap();
        assert_eq!(&*first, b"root");
        assert!(Arc::ptr_eq(&first, &owners.user(0).unwrap()));
        assert_eq!(&*owners.group(0).unwrap(), b"root");
    }

    #[test]
    fn an_id_without_a_name_is_remembered_too() {
        let owners = Owners::default();
        assert_eq!(owners.user(3_999_999_991), None);
        assert_eq!(owners.user(3_999_999_991), None);
        assert_eq!(owners.users.read().unwrap().len(), 1);
    }
}
