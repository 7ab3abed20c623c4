//! What a power loss leaves: a store, and the file below a redb store, that keep apart what was not synced.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use daykeep_engine::{MemoryStore, ObjectId, ObjectKind, ObjectName, RedbStore, Store, StoreError, StoreErrorKind};
use redb::StorageBackend;

use crate::noise::Rng;
use crate::stores::OBJECT_BYTES_MAX;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// The memory of a redb store.
const CACHE_BYTES: usize = 8 << 20;

/// A disk that a repository lies on, with a switch for its power.
pub trait Disk {
    /// Opens the store on it, empty at first. Whoever had it open before is gone.
    ///
    /// # Errors
    /// The store's own.
    fn open(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// Lets every call fail after so many more that change something, as if the process had ended there.
    fn fail_after(&self, calls: u64);

    /// Lets no call fail any more, and returns how many changed something since [`fail_after`](Self::fail_after).
    fn heal(&self) -> u64;

    /// Switches the power off and on: of what was not synced, chance decides what is there.
    fn lose_power(&self, rng: &mut Rng);
}

/// Counts the calls that change something, and fails all calls from one of these on: what comes between two changes makes
/// no difference to what is left.
#[derive(Debug)]
struct Ending {
    calls: AtomicU64,
    fails_at: AtomicU64,
}

impl Default for Ending {
    fn default() -> Self {
        Self { calls: AtomicU64::new(0), fails_at: AtomicU64::new(u64::MAX) }
    }
}

impl Ending {
    fn call(&self, changes: bool) -> io::Result<()> {
        let calls = self.calls.fetch_add(u64::from(changes), Ordering::SeqCst) + u64::from(changes);
        if calls > self.fails_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("the test let it fail"));
        }
        Ok(())
    }

    fn fail_after(&self, calls: u64) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails_at.store(calls, Ordering::SeqCst);
    }

    fn heal(&self) -> u64 {
        self.fails_at.store(u64::MAX, Ordering::SeqCst);
        self.calls.swap(0, Ordering::SeqCst)
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
    ending: Ending,
}

impl VolatileStore {
    /// Makes an empty one.
    pub fn new(habits: Habits) -> Self {
        Self {
            durable: MemoryStore::with_pack_bytes(2 << 20),
            habits,
            unsynced: Mutex::default(),
            ending: Ending::default(),
        }
    }

    fn call(&self, object: impl ToString, changes: bool) -> Result<(), StoreError> {
        self.ending.call(changes).map_err(|error| StoreError::from_io(object, "the process has ended", error))
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
        self.call(name, true)?;
        if self.is_there(name) {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, name, "already there"));
        }
        self.unsynced().push((*name, Some(bytes.to_vec())));
        Ok(())
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(name, true)?;
        if !self.is_there(name) {
            return Err(StoreError::new(StoreErrorKind::NotFound, name, "not there"));
        }
        self.unsynced().push((*name, Some(bytes.to_vec())));
        Ok(())
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.call(name, false)?;
        self.with(name, |store| store.get(name, bytes_max))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.call(name, false)?;
        self.with(name, |store| store.get_range(name, offset, len, out))
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.call(kind.name(), false)?;
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
        self.call(name, true)?;
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
        self.call("store", true)?;
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

    fn fail_after(&self, calls: u64) {
        self.0.ending.fail_after(calls);
    }

    fn heal(&self) -> u64 {
        self.0.ending.heal()
    }

    fn lose_power(&self, rng: &mut Rng) {
        self.0.lose_power(rng);
    }
}

/// Something done to a file that was not synced.
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Default)]
struct Bytes {
    /// What whoever has the file open sees.
    live: Vec<u8>,
    /// What was there at the last sync.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    ending: Ending,
}

impl Bytes {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Write(offset, bytes) => write(&mut self.durable, offset, &bytes),
                Unsynced::Length(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Returns what is left: each sector of what was not synced is there or not, whichever came first.
    fn after_power_loss(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut image = std::mem::take(&mut self.durable);
        let percent = [0, 10, 50, 90, 100][rng.below(5)];
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(len) if rng.below(100) < percent => image.resize(len, 0),
                Unsynced::Length(_) => {}
                Unsynced::Write(offset, bytes) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = (at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES).min(bytes.len());
                        if rng.below(100) < percent {
                            write(&mut image, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        image
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The file below a redb store.
#[derive(Clone, Default)]
struct VolatileFile(Arc<Mutex<Bytes>>);

impl fmt::Debug for VolatileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolatileFile")
    }
}

impl VolatileFile {
    fn bytes(&self, changes: bool) -> io::Result<MutexGuard<'_, Bytes>> {
        let bytes = self.0.lock().unwrap();
        bytes.ending.call(changes).map(|()| bytes)
    }
}

impl StorageBackend for VolatileFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes(false)?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes(false)?;
        let found = bytes.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes(true)?;
        bytes.live.resize(len as usize, 0);
        bytes.unsynced.push(Unsynced::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.bytes(true)?.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes(true)?;
        write(&mut bytes.live, offset as usize, data);
        bytes.unsynced.push(Unsynced::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// A disk with one redb file, of which unsynced sectors are lost one by one.
#[derive(Default)]
pub struct RedbDisk(Mutex<VolatileFile>);

impl RedbDisk {
    fn file(&self) -> VolatileFile {
        self.0.lock().unwrap().clone()
    }
}

impl Disk for RedbDisk {
    fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(RedbStore::over(self.file(), CACHE_BYTES)?))
    }

    fn fail_after(&self, calls: u64) {
        self.file().0.lock().unwrap().ending.fail_after(calls);
    }

    fn heal(&self) -> u64 {
        self.file().0.lock().unwrap().ending.heal()
    }

    fn lose_power(&self, rng: &mut Rng) {
        let image = self.file().0.lock().unwrap().after_power_loss(rng);
        // A new file: whatever of redb is still there has nothing to do with it.
        let bytes = Bytes { live: image.clone(), durable: image, ..Bytes::default() };
        *self.0.lock().unwrap() = VolatileFile(Arc::new(Mutex::new(bytes)));
    }
}
