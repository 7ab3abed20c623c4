//! A file, below a redb store, of which the disk does not give out some pages.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use daykeep_engine::{RedbStore, Store};
use redb::StorageBackend;
use redb::backends::FileBackend;

/// What is read or not at all.
pub const PAGE_BYTES: u64 = 4096;
/// The memory of the redb store.
const CACHE_BYTES: usize = 8 << 20;

/// The numbers of the pages that cannot be read. One that is written whole can be read again, as on a disk that has others
/// in reserve.
#[derive(Clone, Debug, Default)]
pub struct BadPages(Arc<Mutex<BTreeSet<u64>>>);

impl BadPages {
    /// Returns them.
    pub fn get(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap()
    }

    /// Opens the redb store at `path` on the bad disk.
    pub fn open(&self, path: &Path) -> Arc<dyn Store> {
        Arc::new(self.try_open(path).unwrap())
    }

    /// The same, if it can be opened.
    pub fn try_open(&self, path: &Path) -> daykeep_engine::Result<RedbStore> {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let backend = BadFile { file: FileBackend::new(file).unwrap(), bad: self.clone() };
        Ok(RedbStore::over(backend, CACHE_BYTES)?)
    }
}

#[derive(Debug)]
struct BadFile {
    file: FileBackend,
    bad: BadPages,
}

/// Returns the numbers of the pages that lie in a range of bytes, wholly or in part.
fn pages(bytes: Range<u64>) -> Range<u64> {
    bytes.start / PAGE_BYTES..bytes.end.div_ceil(PAGE_BYTES)
}

impl StorageBackend for BadFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.bad.get().range(pages(offset..offset + out.len() as u64)).next().is_some() {
            // What it had read until then is in the buffer.
            out.fill(0x55);
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let whole = offset.div_ceil(PAGE_BYTES)..(offset + data.len() as u64) / PAGE_BYTES;
        self.bad.get().retain(|page| !whole.contains(page));
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
