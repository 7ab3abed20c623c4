//! Stores that fail on purpose, and damage to stores.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use daykeep_engine::{MemoryStore, ObjectId, ObjectKind, ObjectName, Store, StoreError, StoreErrorKind};

/// Longer than any object of a test.
pub const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Fails one call, or all from one on, and passes the others on to the store below.
pub struct FailingStore {
    inner: Arc<dyn Store>,
    calls: AtomicU64,
    fails_at: AtomicU64,
    for_ever: AtomicBool,
    failed: Mutex<Option<String>>,
    kind: StoreErrorKind,
}

impl FailingStore {
    /// Makes one that does not fail until told to.
    pub fn new(inner: Arc<dyn Store>, kind: StoreErrorKind) -> Self {
        let (calls, fails_at) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { inner, calls, fails_at, for_ever: AtomicBool::new(false), failed: Mutex::default(), kind }
    }

    /// Lets the call fail that comes after `calls` more, and every later one too if `for_ever`.
    pub fn fail_after(&self, calls: u64, for_ever: bool) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails_at.store(calls, Ordering::SeqCst);
        self.for_ever.store(for_ever, Ordering::SeqCst);
    }

    /// Lets no call fail any more, and returns how many there were since [`fail_after`](Self::fail_after).
    pub fn heal(&self) -> u64 {
        self.fails_at.store(u64::MAX, Ordering::SeqCst);
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// Returns the first call that failed since this was asked last.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap().take()
    }

    fn call(&self, object: impl ToString, what: &str) -> Result<(), StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails_at = self.fails_at.load(Ordering::SeqCst);
        if call == fails_at || (call > fails_at && self.for_ever.load(Ordering::SeqCst)) {
            self.failed.lock().unwrap().get_or_insert_with(|| what.to_owned());
            return Err(StoreError::new(self.kind, object, format!("{what}: the test let it fail")));
        }
        Ok(())
    }
}

impl Store for FailingStore {
    fn location(&self) -> String {
        "failing".into()
    }

    fn pack_bytes(&self) -> usize {
        self.inner.pack_bytes()
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(name, "put")?;
        self.inner.put(name, bytes)
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(name, "replace")?;
        self.inner.replace(name, bytes)
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.call(name, "get")?;
        self.inner.get(name, bytes_max)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.call(name, "get_range")?;
        self.inner.get_range(name, offset, len, out)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.call(kind.name(), "list")?;
        self.inner.list(kind)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.call(name, "delete")?;
        self.inner.delete(name)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.call("store", "sync")?;
        self.inner.sync()
    }
}

/// Returns all objects of a store, sorted by name.
pub fn objects(store: &dyn Store) -> Vec<(ObjectName, Vec<u8>)> {
    let mut all = Vec::new();
    for kind in ObjectKind::ALL {
        for (id, _) in store.list(kind).unwrap() {
            let name = ObjectName::new(kind, id);
            all.push((name, store.get(&name, OBJECT_BYTES_MAX).unwrap()));
        }
    }
    all.sort();
    all
}

/// Puts other bytes under a name.
pub fn replace(store: &dyn Store, name: &ObjectName, bytes: &[u8]) {
    store.delete(name).unwrap();
    store.put(name, bytes).unwrap();
    store.sync().unwrap();
}

/// A disk that does not give out some sectors of some objects.
pub struct BadSectors {
    /// What lies on the disk.
    pub inner: MemoryStore,
    /// What it does not give out.
    pub bad: Mutex<Vec<(ObjectName, Range<u64>)>>,
}

impl BadSectors {
    /// Makes an empty one whose packs have so many bytes.
    pub fn new(pack_bytes: usize) -> Self {
        Self { inner: MemoryStore::with_pack_bytes(pack_bytes), bad: Mutex::default() }
    }

    fn call(&self, name: &ObjectName, range: Range<u64>) -> Result<(), StoreError> {
        let bad = self.bad.lock().unwrap();
        let is_bad = bad.iter().any(|(other, bad)| other == name && bad.start < range.end && range.start < bad.end);
        if is_bad { Err(StoreError::new(StoreErrorKind::Io, name, "reading: Input/output error")) } else { Ok(()) }
    }
}

impl Store for BadSectors {
    fn location(&self) -> String {
        "a bad disk".into()
    }

    fn pack_bytes(&self) -> usize {
        self.inner.pack_bytes()
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put(name, bytes)
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.bad.lock().unwrap().retain(|(other, _)| other != name);
        self.inner.replace(name, bytes)
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.call(name, 0..u64::MAX)?;
        self.inner.get(name, bytes_max)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.call(name, offset..offset + len as u64)?;
        self.inner.get_range(name, offset, len, out)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.inner.list(kind)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }
}
