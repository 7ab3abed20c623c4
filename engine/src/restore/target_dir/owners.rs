//! Whom restored files belong to here: the user or group of the same name, or else of the same number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Group, User};

use crate::format::tree::{OwnerName, Tree};

/// What the owners of one tree are here. Numbers that stay the same take no room, so it is mostly empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalOwners {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl LocalOwners {
    /// Returns the number here of the tree's user `uid`.
    pub fn user(&self, uid: u32) -> u32 {
        local(&self.users, uid)
    }

    /// Returns the number here of the tree's group `gid`.
    pub fn group(&self, gid: u32) -> u32 {
        local(&self.groups, gid)
    }
}

fn local(moved: &[(u32, u32)], id: u32) -> u32 {
    moved.iter().find(|(there, _)| *there == id).map_or(id, |(_, here)| *here)
}

type Numbers = Mutex<HashMap<Vec<u8>, Option<u32>>>;

/// Asks the system for the numbers of names, for each name once.
#[derive(Debug, Default)]
pub(super) struct OwnerNumbers {
    users: Numbers,
    groups: Numbers,
}

impl OwnerNumbers {
    pub(super) fn of(&self, tree: &Tree) -> LocalOwners {
        let user = |name: &str| Some(User::from_name(name).ok()??.uid.as_raw());
        let group = |name: &str| Some(Group::from_name(name).ok()??.gid.as_raw());
        LocalOwners { users: moved(&self.users, &tree.users, user), groups: moved(&self.groups, &tree.groups, group) }
    }
}

/// Returns those of `owners` that have another number here.
fn moved(known: &Numbers, owners: &[OwnerName], ask: impl Fn(&str) -> Option<u32>) -> Vec<(u32, u32)> {
    // A poisoned lock still guards whole entries: each is inserted by one call.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let mut moved = Vec::new();
    for owner in owners {
        let here = match known.get(&owner.name) {
            Some(here) => *here,
            None => {
                // The system takes no name that is not UTF-8 through this library; the number is kept then.
                let here = std::str::from_utf8(&owner.name).ok().and_then(&ask);
                known.insert(owner.name.clone(), here);
                here
            }
        };
        if let Some(here) = here
            && here != owner.id
        {
            moved.push((owner.id, here));
        }
    }
    moved
}
