//! How a file is opened.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, ReadableDatabase, WriteTransaction};

use super::gaps::AroundGaps;
use super::tables::{Handle, Tables};
use super::trouble::foreign;
use crate::base::guard::{Trouble, guarded};
use crate::base::shown_path;
use crate::error::StoreError;
use crate::store::Access;

/// What every redb file begins with.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens the store in the file at `path`, which begins as redb's do, and repairs it first if it was not closed.
pub(super) fn open(path: &Path, access: Access, cache_bytes: usize) -> Result<Handle, Trouble> {
    let builder = || {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        builder
    };
    let write = || guarded(|| builder().create_with_backend(backend_of(path, Access::Write)?));
    let read = || guarded(|| builder().open_read_only_with_backend(backend_of(path, Access::Read)?));
    match (read(), access) {
        (Ok(database), Access::Read) => Ok(Handle::Read(database)),
        // Opening a file for writing changes it, so the tables are looked for first: another program's redb file is
        // to stay as it is.
        (Ok(database), Access::Write) => {
            guarded(|| Tables::open(&database.begin_read()?, 0, Arc::default()).and(Ok(database.close()?)))
                .and_then(|()| write())
                .map(Handle::Write)
        }
        (Err(Trouble::NeedsRepair), Access::Write) => write().map(Handle::Write),
        // Closing it after the repair leaves it clean; and then it is opened as was asked for.
        (Err(Trouble::NeedsRepair), Access::Read) => {
            write().and_then(|database| guarded(|| database.close())).and_then(|()| read()).map(Handle::Read)
        }
        (Err(trouble), _) => Err(trouble),
    }
}

/// Returns what redb reads and writes the file at `path` by, which is there.
fn backend_of(path: &Path, access: Access) -> Result<AroundGaps<FileBackend>, redb::DatabaseError> {
    let file = OpenOptions::new().read(true).write(access == Access::Write).open(path)?;
    Ok(AroundGaps(FileBackend::new(file)?))
}

/// Begins a transaction whose commit is durable and needs no walk over the whole file after a crash.
pub(super) fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // This implies two-phase commits.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Fails unless `path` is a file that begins as redb's do. Opening anything else could write to it.
pub(super) fn check_magic(path: &Path) -> Result<(), StoreError> {
    let failed = |doing: &'static str| move |source| StoreError::from_io(shown_path(path), doing, source);
    // Asked before opening, which would wait for a writer if this is a pipe.
    let metadata = std::fs::metadata(path).map_err(failed("opening the repository"))?;
    let mut start = [0; MAGIC.len()];
    if metadata.is_file() && metadata.len() >= start.len() as u64 {
        let mut file = File::open(path).map_err(failed("opening the repository"))?;
        file.read_exact(&mut start).map_err(failed("reading its first bytes"))?;
    }
    if &start == MAGIC { Ok(()) } else { Err(foreign(shown_path(path))) }
}
