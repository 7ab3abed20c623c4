//! What a power loss leaves: a store, the file below a redb store, and the files below a directory store, that keep apart
//! what was not synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use daykeep_engine::{MemoryStore, ObjectId, ObjectKind, ObjectName, Store, StoreError, StoreErrorKind};

use crate::faults::{Call, Faults};
use crate::noise::Rng;
use crate::stores::OBJECT_BYTES_MAX;

mod file;
mod folder;

pub use file::RedbDisk;
pub use folder::DirectoryDisk;

/// A disk that a repository lies on, with a switch for its power.
pub trait Disk {
    /// Opens the store on it, empty at first. Whoever had it open before is gone.
    ///
    /// # Errors
    /// The store's own.
    fn open(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// Returns what lets the calls to it fail.
    fn faults(&self) -> &Faults;

    /// Switches the power off and on: of what was not synced, chance decides what is there.
    fn lose_power(&self, rng: &mut Rng);

    /// Ends the process, and most often the power with it. Otherwise all is there as the process left it, and what was not
    /// synced may be lost later.
    fn crash(&self, rng: &mut Rng) {
        self.lose_power(rng);
    }
}

/// What a [`VolatileStore`] keeps of the contract, and what not.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Nothing put later appears without what was put before, as in redb.
    pub keeps_order: bool,
    /// What is put can be read before it is synced, as in memory.
    pub shows_unsynced: bool,
    /// What was put and not synced may be there cut short or with other bytes. Neither of the engine's own stores does
    /// that, but a store of somebody else's may.
    pub tears: bool,
}

/// An object put, or deleted (`None`).
type Change = (ObjectName, Option<Vec<u8>>);

/// A store in memory that remembers what was put and deleted since the last sync, and can lose it.
pub struct VolatileStore {
    durable: MemoryStore,
    habits: Habits,
    unsynced: Mutex<Vec<Change>>,
    faults: Faults,
}

impl VolatileStore {
    /// Makes an empty one.
    pub fn new(habits: Habits) -> Self {
        Self {
            durable: MemoryStore::with_pack_bytes(2 << 20),
            habits,
            unsynced: Mutex::default(),
            faults: Faults::default(),
        }
    }

    fn call(&self, object: impl ToString, call: Call) -> Result<(), StoreError> {
        self.faults.call(call).map(drop).map_err(|error| StoreError::from_io(object, "calling the store", error))
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<Change>> {
        self.unsynced.lock().unwrap()
    }

    /// Returns the last change to a name that can be seen already.
    fn seen(&self, name: &ObjectName) -> Option<Option<Vec<u8>>> {
        let unsynced = self.unsynced();
        let mut changes = unsynced.iter().rev().filter(|_| self.habits.shows_unsynced);
        changes.find(|(changed, _)| changed == name).map(|(_, bytes)| bytes.clone())
    }

    /// Returns a store that has the object as it can be seen now, for one call.
    fn with<T>(
        &self,
        name: &ObjectName,
        work: impl FnOnce(&MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(seen) = self.seen(name) else { return work(&self.durable) };
        let aside = MemoryStore::new();
        if let Some(bytes) = seen {
            aside.put(name, &bytes)?;
        }
        work(&aside)
    }

    /// Returns whether there is an object of this name, seen or not.
    fn is_there(&self, name: &ObjectName) -> bool {
        let unsynced = self.unsynced();
        let last = unsynced.iter().rev().find(|(changed, _)| changed == name);
        last.map_or_else(|| self.is_durable(name), |(_, bytes)| bytes.is_some())
    }

    fn is_durable(&self, name: &ObjectName) -> bool {
        self.durable.get_range(name, 0, 0, &mut Vec::new()).is_ok()
    }

    fn apply(&self, (name, bytes): Change) {
        match bytes {
            Some(bytes) if self.is_durable(&name) => self.durable.replace(&name, &bytes).unwrap(),
            Some(bytes) => self.durable.put(&name, &bytes).unwrap(),
            None => self.durable.delete(&name).unwrap(),
        }
    }

    /// Loses some of what was not synced.
    pub fn lose_power(&self, rng: &mut Rng) {
        let mut changes = std::mem::take(&mut *self.unsynced());
        if self.habits.keeps_order {
            changes.truncate(rng.below(changes.len() + 1));
            changes.into_iter().for_each(|change| self.apply(change));
            return;
        }
        let percent = [0, 20, 50, 80, 100][rng.below(5)];
        while !changes.is_empty() {
            let mut change = changes.swap_remove(rng.below(changes.len()));
            if rng.below(100) >= percent {
                continue;
            }
            // What is replaced is never torn: it is as it was, or as it is to be.
            let tears = self.habits.tears && !self.is_durable(&change.0);
            if let Some(bytes) = change.1.as_mut().filter(|_| tears && rng.below(3) == 0) {
                tear(bytes, self.older(rng), rng);
            }
            // A name that was put and deleted may be lost in either order.
            self.apply(change);
        }
    }

    /// Returns the bytes of some other object.
    fn older(&self, rng: &mut Rng) -> Vec<u8> {
        let kind = ObjectKind::ALL[rng.below(ObjectKind::ALL.len())];
        let mut ids = self.durable.list(kind).unwrap();
        ids.sort_unstable();
        if ids.is_empty() {
            return Vec::new();
        }
        self.durable.get(&ObjectName::new(kind, ids[rng.below(ids.len())].0), OBJECT_BYTES_MAX).unwrap()
    }
}

/// Cuts bytes short, or replaces a block of them by zeros or older ones.
fn tear(bytes: &mut Vec<u8>, older: Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len());
    match rng.below(3) {
        0 => bytes.truncate(at),
        1 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => bytes.iter_mut().zip(older).skip(at).for_each(|(byte, older)| *byte = older),
    }
}

impl Store for VolatileStore {
    fn location(&self) -> String {
        "volatile".into()
    }

    fn pack_bytes(&self) -> usize {
        self.durable.pack_bytes()
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(name, Call::Write)?;
        if self.is_there(name) {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, name, "already there"));
        }
        self.unsynced().push((*name, Some(bytes.to_vec())));
        Ok(())
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(name, Call::Write)?;
        if !self.is_there(name) {
            return Err(StoreError::new(StoreErrorKind::NotFound, name, "not there"));
        }
        self.unsynced().push((*name, Some(bytes.to_vec())));
        Ok(())
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.call(name, Call::Read)?;
        self.with(name, |store| store.get(name, bytes_max))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.call(name, Call::Read)?;
        self.with(name, |store| store.get_range(name, offset, len, out))
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.call(kind.name(), Call::Look)?;
        let mut listed: BTreeMap<ObjectId, u64> = self.durable.list(kind)?.into_iter().collect();
        let unsynced = self.unsynced();
        for (name, bytes) in unsynced.iter().filter(|(name, _)| name.kind == kind && self.habits.shows_unsynced) {
            match bytes {
                Some(bytes) => listed.insert(name.id, bytes.len() as u64),
                None => listed.remove(&name.id),
            };
        }
        Ok(listed.into_iter().collect())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.call(name, Call::Remove)?;
        self.unsynced().push((*name, None));
        Ok(())
    }

    fn keeps_order(&self) -> bool {
        self.habits.keeps_order
    }

    fn wants_thread(&self) -> bool {
        self.habits.keeps_order
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.call("store", Call::Sync)?;
        let changes = std::mem::take(&mut *self.unsynced());
        changes.into_iter().for_each(|change| self.apply(change));
        Ok(())
    }
}

/// A disk with a [`VolatileStore`].
pub struct StoreDisk(Arc<VolatileStore>);

impl StoreDisk {
    /// Makes an empty one.
    pub fn new(habits: Habits) -> Self {
        Self(Arc::new(VolatileStore::new(habits)))
    }
}

impl Disk for StoreDisk {
    fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(self.0.clone())
    }

    fn faults(&self) -> &Faults {
        &self.0.faults
    }

    fn lose_power(&self, rng: &mut Rng) {
        self.0.lose_power(rng);
    }
}
