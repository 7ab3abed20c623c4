//! The bytes of a file, those that were synced apart from the others; and such a file below a redb store.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use daykeep_engine::{RedbStore, Store, StoreError};
use redb::StorageBackend;

use super::Disk;
use crate::faults::{Call, Faults};
use crate::noise::Rng;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// The memory of a redb store.
const CACHE_BYTES: usize = 8 << 20;

/// Something done to a file that was not synced.
#[derive(Clone)]
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// The bytes of a file.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    /// What whoever has the file open sees.
    pub(super) live: Vec<u8>,
    /// What was there at the last sync.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

impl Bytes {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        write(&mut self.live, offset, bytes);
        self.unsynced.push(Unsynced::Write(offset, bytes.to_vec()));
    }

    fn resize(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.unsynced.push(Unsynced::Length(len));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Write(offset, bytes) => write(&mut self.durable, offset, &bytes),
                Unsynced::Length(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Forgets what a sync that failed was to make durable: the system may do that, and then a second one succeeds.
    pub(super) fn drop_unsynced(&mut self) {
        self.unsynced.clear();
        self.live.clone_from(&self.durable);
    }

    /// Keeps what is left: each sector of what was not synced is there or not, whichever came first.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let percent = [0, 10, 50, 90, 100][rng.below(5)];
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(len) if rng.below(100) < percent => self.durable.resize(len, 0),
                Unsynced::Length(_) => {}
                Unsynced::Write(offset, bytes) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = (at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES).min(bytes.len());
                        if rng.below(100) < percent {
                            write(&mut self.durable, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        self.live.clone_from(&self.durable);
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
struct VolatileFile {
    bytes: Arc<Mutex<Bytes>>,
    faults: Arc<Faults>,
}

impl fmt::Debug for VolatileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolatileFile")
    }
}

impl VolatileFile {
    fn bytes(&self, call: Call) -> io::Result<MutexGuard<'_, Bytes>> {
        self.faults.call(call)?;
        Ok(self.bytes.lock().unwrap())
    }
}

impl StorageBackend for VolatileFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes(Call::Look)?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes(Call::Read)?;
        let found = bytes.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes(Call::Write)?.resize(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.sync(|| self.bytes.lock().unwrap().sync(), || self.bytes.lock().unwrap().drop_unsynced())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes(Call::Write)?.write(offset as usize, data);
        Ok(())
    }
}

/// A disk with one redb file, of which unsynced sectors are lost one by one.
pub struct RedbDisk {
    file: Mutex<VolatileFile>,
    faults: Arc<Faults>,
}

impl Default for RedbDisk {
    fn default() -> Self {
        let file = VolatileFile::default();
        Self { faults: Arc::clone(&file.faults), file: Mutex::new(file) }
    }
}

/// All that can be seen becomes safe in the copy.
impl Clone for RedbDisk {
    fn clone(&self) -> Self {
        let copy = Self::default();
        let mut bytes = self.file.lock().unwrap().bytes.lock().unwrap().clone();
        bytes.sync();
        *copy.file.lock().unwrap().bytes.lock().unwrap() = bytes;
        copy
    }
}

impl RedbDisk {
    /// Puts a new file in the place of the one that was there: whatever of redb is still there has nothing to do with it.
    fn renew(&self, change: impl FnOnce(&mut Bytes)) {
        let mut file = self.file.lock().unwrap();
        let mut bytes = file.bytes.lock().unwrap().clone();
        change(&mut bytes);
        *file = VolatileFile { bytes: Arc::new(Mutex::new(bytes)), faults: Arc::clone(&self.faults) };
    }
}

impl Disk for RedbDisk {
    fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(RedbStore::over(self.file.lock().unwrap().clone(), CACHE_BYTES)?))
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn lose_power(&self, rng: &mut Rng) {
        self.renew(|bytes| bytes.lose_power(rng));
    }

    fn crash(&self, rng: &mut Rng) {
        match rng.below(4) {
            0 => self.renew(|_| {}),
            _ => self.lose_power(rng),
        }
    }
}
