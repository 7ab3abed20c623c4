//! A store in one file: a redb database with objects as values.
//!
//! Three tables. `names` holds the length of every object and is all that [`list`](Store::list) reads; redb keeps
//! values in the leaves of its trees, so a list of the bodies' own table would read every body. `packs` holds the bodies
//! of packs and nothing else, so that each fills a leaf of its own; `objects` holds the bodies of all other kinds.
//!
//! Puts gather in one write transaction, which [`sync`](Store::sync) commits; reads see what was committed.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Builder, CompactionError, Durability, ReadableTable, WriteTransaction};

use super::{Access, Store, errors};
use crate::base::guard::{Trouble, drop_guarded, guarded};
use crate::base::limits::{KIB, MIB};
use crate::base::{ObjectId, ObjectKind, ObjectName, shown_path};
use crate::error::StoreError;

mod gaps;
mod opening;
mod tables;
#[cfg(test)]
mod tests;
mod trouble;

use gaps::{AroundGaps, Gaps};
use tables::{Body, Handle, Memory, NAMES, OBJECTS, PACKS, Tables, bodies};
use trouble::store_error;

/// redb rounds a leaf up to a power of two pages, and a leaf has a few dozen bytes besides its value: 4 KiB less than
/// 4 MiB fill one; 4 MiB to the byte would take 8.
const PACK_BYTES: usize = 4 * MIB - 4 * KIB;
/// After this many bytes redb is given a commit that need not be durable yet. redb computes checksums at a commit, from
/// the file if the pages have left its write buffer by then: one commit for a gigabyte reads it all back.
const UNSETTLED_BYTES_MAX: usize = PACK_BYTES - 64 * KIB;

/// Keeps objects in one redb file.
///
/// Opened for writing, the file is locked against every other process; opened for reading, it is shared with readers.
/// Damage that makes redb panic is reported as [`StoreErrorKind::Damaged`](crate::error::StoreErrorKind::Damaged); the process's panic hook runs nevertheless.
pub struct RedbStore {
    path: PathBuf,
    /// Renewed after each commit. Readers hold a clone while they read, so that a commit never waits for them.
    tables: RwLock<Option<Arc<Tables>>>,
    writer: Mutex<Writer>,
    recent_max: usize,
    gaps: Arc<Gaps>,
    /// Taken out only when the store is dropped. Locked after `writer`, for writing only while it is compacted.
    database: RwLock<Option<Handle>>,
    /// Whether redb ever panicked. Then nothing of its is dropped: its locks may be poisoned, and a panic in one drop
    /// followed by another ends the process.
    panicked: AtomicBool,
}

#[derive(Default)]
struct Writer {
    transaction: Option<WriteTransaction>,
    /// What was put since redb last took a transaction, durably or not.
    unsettled_bytes: usize,
    /// Whether anything was put or deleted since the last durable commit.
    is_unsynced: bool,
    failed: Option<errors::Failure>,
}

impl RedbStore {
    /// Makes a new store in a file that does not exist yet, open for writing. redb may hold `cache_bytes` bytes in
    /// memory, half of them for what is not yet written.
    ///
    /// # Errors
    /// `AlreadyExists` if there is anything at `path`; `NotFound` if its folder does not exist; `NoSpace`, `ReadOnly` or
    /// `Io` if the file cannot be written, in which case none is left behind.
    pub fn create(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|source| StoreError::from_io(shown_path(path), "creating the file", source))?;
        Self::create_in(path, file, cache_bytes).inspect_err(|_| {
            // The first error is the one to tell; a file that cannot be removed is no repository either way.
            let _ = std::fs::remove_file(path);
        })
    }

    fn create_in(path: &Path, file: File, cache_bytes: usize) -> Result<Self, StoreError> {
        let backend = guarded(|| FileBackend::new(file));
        let backend = backend.map_err(|trouble| store_error(shown_path(path), "creating the store", trouble))?;
        let store = Self::in_backend(path, backend, cache_bytes)?;
        // Without this a crash could lose the file's name, and with it what is committed later.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::from_io(shown_path(folder), "syncing the folder", source))?;
        Ok(store)
    }

    /// Opens the store that `backend` holds for writing, or makes one there if it is empty: for tests of what a power loss
    /// leaves of a file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn over(backend: impl redb::StorageBackend, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::in_backend(Path::new("backend"), backend, cache_bytes)
    }

    fn in_backend(path: &Path, backend: impl redb::StorageBackend, cache_bytes: usize) -> Result<Self, StoreError> {
        let memory = Memory::share_out(cache_bytes, Access::Write);
        let made = guarded(|| -> Result<_, redb::Error> {
            let database = Builder::new().set_cache_size(memory.redb_bytes).create_with_backend(AroundGaps(backend))?;
            let transaction = opening::begin_write(&database)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(PACKS)?;
            transaction.open_table(OBJECTS)?;
            transaction.commit()?;
            Ok(database)
        });
        let database = made.map_err(|trouble| store_error(shown_path(path), "creating the store", trouble))?;
        Self::from_handle(path, Handle::Write(database), memory.recent_max)
    }

    /// Opens the store in the file at `path`. redb may hold `cache_bytes` bytes in memory.
    ///
    /// After a crash the file is repaired first, for which it has to be writable even if it is opened for reading.
    ///
    /// # Errors
    /// `NotFound` if there is no such file; `InUse` if another process has it open in a way that does not go together
    /// with `access`; `Damaged` if it is not a store or is hurt; `ReadOnly` or `Io` if it cannot be opened. A file that is
    /// not a store is never written to.
    pub fn open(path: &Path, access: Access, cache_bytes: usize) -> Result<Self, StoreError> {
        opening::check_magic(path)?;
        let memory = Memory::share_out(cache_bytes, access);
        let opened = opening::open(path, access, memory.redb_bytes);
        let database = opened.map_err(|trouble| store_error(shown_path(path), "opening", trouble))?;
        Self::from_handle(path, database, memory.recent_max)
    }

    fn from_handle(path: &Path, database: Handle, recent_max: usize) -> Result<Self, StoreError> {
        // The store is made before its tables are opened so that its drop sees to the database if that fails.
        let store = Self {
            path: path.to_owned(),
            tables: RwLock::new(None),
            writer: Mutex::default(),
            recent_max,
            gaps: Arc::default(),
            database: RwLock::new(Some(database)),
            panicked: AtomicBool::new(false),
        };
        store.renew_tables()?;
        Ok(store)
    }

    /// Lets reads see the last commit.
    fn renew_tables(&self) -> Result<(), StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(self.error(self.location(), "", Trouble::InUse)) };
        self.call(shown_path(&self.path), "beginning to read", || {
            let tables = Arc::new(database.begin_read(self.recent_max, Arc::clone(&self.gaps))?);
            let mut shared = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            drop(shared.replace(tables));
            Ok(())
        })
    }

    /// Makes calls to redb, on behalf of `object`.
    fn call<T>(
        &self,
        object: impl Display,
        doing: &str,
        work: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        guarded(work).map_err(|trouble| self.error(object, doing, trouble))
    }

    fn error(&self, object: impl Display, doing: &str, trouble: Trouble) -> StoreError {
        if matches!(trouble, Trouble::Panicked(_)) {
            self.panicked.store(true, Ordering::Release);
        }
        let mut error = store_error(shown_path(&self.path), doing, trouble);
        let object = object.to_string();
        if object != error.object {
            error.object = format!("{object} in {}", error.object);
        }
        error
    }

    /// Reads from the tables as of the last commit.
    fn read<T>(
        &self,
        object: impl Display,
        doing: &str,
        work: impl FnOnce(&Tables) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.call(object, doing, || match tables {
            // The clone goes into `work`'s closure since it may be the last one, whose drop ends the transaction.
            Some(tables) => work(&tables),
            None => Err(redb::Error::DatabaseClosed),
        })
    }

    /// Changes something in the open transaction, beginning one if there is none. After any failure the store takes no
    /// more writes, since redb can commit nothing that it did not take whole.
    fn write<T>(
        &self,
        object: impl Display,
        doing: &str,
        len: usize,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Handle::Write(database)) = &*database else {
            return Err(errors::opened_for_reading(&self.location()));
        };
        if let Some(failure) = &writer.failed {
            return Err(failure.again(&self.location()));
        }
        if self.panicked.load(Ordering::Acquire) {
            return Err(errors::closed_by_damage(&self.location()));
        }
        let Writer { transaction, unsettled_bytes, is_unsynced, .. } = &mut *writer;
        *unsettled_bytes += len;
        *is_unsynced = true;
        let outcome = self.call(object, doing, || {
            if transaction.is_none() {
                *transaction = Some(opening::begin_write(database)?);
            }
            let result = transaction.as_ref().map_or_else(|| Err(redb::Error::DatabaseClosed), work)?;
            if *unsettled_bytes >= UNSETTLED_BYTES_MAX
                && let Some(mut transaction) = transaction.take()
            {
                *unsettled_bytes = 0;
                transaction.set_durability(Durability::None)?;
                transaction.commit()?;
            }
            Ok(result)
        });
        outcome.inspect_err(|error| self.fail(&mut writer, error))
    }

    /// Closes the store for writing after `error`.
    fn fail(&self, writer: &mut Writer, error: &StoreError) {
        writer.failed = Some(errors::Failure::of(error));
        if !self.panicked.load(Ordering::Acquire)
            && let Some(transaction) = writer.transaction.take()
        {
            // Dropping it takes back what it holds. If that fails too, the error at hand is still the one to tell.
            if drop_guarded(transaction).is_err() {
                self.panicked.store(true, Ordering::Release);
            }
        }
    }

    /// Stores an object of `len` bytes by `insert`.
    fn put_by(
        &self,
        name: &ObjectName,
        len: usize,
        insert: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>, u64) -> redb::Result<()>,
    ) -> Result<(), StoreError> {
        let key = (name.kind.code(), name.id.as_bytes());
        let is_new = self.write(name, "storing the object", len, |transaction| {
            // One table at a time: if redb panics while it opens a second one, the drop of the first panics too, and two
            // panics at once end the process.
            if transaction.open_table(NAMES)?.get(key)?.is_some() {
                return Ok(false);
            }
            let mut table = transaction.open_table(bodies(name.kind))?;
            // Of packs the last one is read to find the place behind it.
            let number = match self.gaps.passing(None, || table.last())? {
                None => 0,
                Some((last, _)) => {
                    let exhausted = || redb::Error::Corrupted("an object has the last number there is".into());
                    last.value().checked_add(1).ok_or_else(exhausted)?
                }
            };
            self.gaps.passing(None, || insert(&mut table, number))?;
            drop(table);
            transaction.open_table(NAMES)?.insert(key, (len as u64, number))?;
            Ok(true)
        })?;
        if is_new { Ok(()) } else { Err(errors::already_exists(name)) }
    }
}

impl Store for RedbStore {
    fn location(&self) -> String {
        shown_path(&self.path)
    }

    fn pack_bytes(&self) -> usize {
        PACK_BYTES
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_by(name, bytes.len(), |table, number| table.insert(number, bytes).map(drop))
    }

    fn put_with(&self, name: &ObjectName, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), StoreError> {
        self.put_by(name, len, |table, number| {
            fill(table.insert_reserve(number, len)?.as_mut());
            Ok(())
        })
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let key = (name.kind.code(), name.id.as_bytes());
        let was_there = self.write(name, "replacing the object", bytes.len(), |transaction| {
            let listed = transaction.open_table(NAMES)?.get(key)?.map(|listed| listed.value());
            let Some((_, number)) = listed else { return Ok(false) };
            let mut table = transaction.open_table(bodies(name.kind))?;
            self.gaps.passing(listed, || table.insert(number, bytes).map(drop))?;
            drop(table);
            transaction.open_table(NAMES)?.insert(key, (bytes.len() as u64, number))?;
            Ok(true)
        })?;
        self.gaps.forget(name);
        if was_there { Ok(()) } else { Err(errors::not_found(name)) }
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let found = self.read(name, "reading the object", |tables| {
            let Some((bytes, _)) = tables.listed(name)? else { return Ok(Err(None)) };
            if bytes > bytes_max as u64 {
                return Ok(Err(Some(errors::too_large(name, bytes, bytes_max))));
            }
            let body = tables.body(name)?;
            if body.as_ref().is_some_and(|body| !body.has(&(0..body.bytes().len()))) {
                return Ok(Err(Some(errors::not_given_out(name))));
            }
            let body = body.as_ref().map(Body::bytes).unwrap_or_default();
            // A put writes both tables in one commit: where they differ, the file was altered.
            let whole = body.len() as u64 == bytes;
            Ok(if whole { Ok(body.to_vec()) } else { Err(Some(errors::wrong_length(name, body.len() as u64, bytes))) })
        })?;
        found.map_err(|error| error.unwrap_or_else(|| errors::not_found(name)))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.read(name, "reading the object", |tables| {
            let body = match name.kind {
                ObjectKind::Pack => tables.recent_pack(&name.id)?,
                _ => tables.body(name)?.map(Arc::new),
            };
            let Some(body) = body else { return Ok(Err(errors::not_found(name))) };
            let bytes = body.bytes();
            Ok(match errors::slice_of(bytes, offset, len) {
                Some(_) if !body.has(&(offset as usize..offset as usize + len)) => Err(errors::not_given_out(name)),
                Some(range) => {
                    out.clear();
                    out.extend_from_slice(range);
                    Ok(())
                }
                None => Err(errors::too_short(name, bytes.len() as u64, offset, len)),
            })
        })?
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.read(kind.name(), "listing the objects", |tables| tables.list(kind))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let key = (name.kind.code(), name.id.as_bytes());
        self.write(name, "deleting the object", 0, |transaction| {
            let listed = transaction.open_table(NAMES)?.remove(key)?.map(|listed| listed.value());
            if let Some((_, number)) = listed {
                let mut table = transaction.open_table(bodies(name.kind))?;
                self.gaps.passing(listed, || table.remove(number).map(drop))?;
            }
            Ok(())
        })?;
        self.gaps.forget(name);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &writer.failed {
            return Err(failure.again(&self.location()));
        }
        let handle = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Handle::Write(database)) = handle.as_ref().filter(|_| writer.is_unsynced) else {
            return Ok(());
        };
        let transaction = writer.transaction.take();
        let committed = self.call(shown_path(&self.path), "committing", || {
            let transaction = match transaction {
                Some(transaction) => transaction,
                None => opening::begin_write(database)?,
            };
            Ok(transaction.commit()?)
        });
        writer.is_unsynced = committed.is_err();
        drop(handle);
        writer.unsettled_bytes = 0;
        committed.and_then(|()| self.renew_tables()).inspect_err(|error| self.fail(&mut writer, error))
    }

    fn compact(&self) -> Result<(), StoreError> {
        // It would move the zeros that redb may keep in their place, and the disk would have nothing else any more.
        if self.gaps.were_met() {
            return Err(errors::not_given_out(self.location()));
        }
        self.sync()?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handle = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Handle::Write(database)) = &mut *handle else {
            return Err(errors::opened_for_reading(&self.location()));
        };
        // Held meanwhile, so that nobody begins to read. Whoever reads already makes redb refuse.
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let before = tables.take();
        let compacted = self.call(shown_path(&self.path), "compacting", || {
            drop(before);
            database.compact().map(drop).map_err(|error| match error {
                CompactionError::Storage(error) => error.into(),
                // What is left is that something reads or writes.
                _ => redb::Error::DatabaseAlreadyOpen,
            })
        });
        drop(tables);
        drop(handle);
        if self.panicked.load(Ordering::Acquire) {
            return compacted.inspect_err(|error| self.fail(&mut writer, error));
        }
        compacted.and(self.renew_tables())
    }

    /// Storing a pack takes redb longer than a worker takes to fill one, and it does one at a time.
    fn wants_thread(&self) -> bool {
        true
    }

    /// Commits follow the order of the puts, durable or not, and a crash takes back the newest first.
    fn keeps_order(&self) -> bool {
        true
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        let transaction = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).transaction.take();
        let tables = self.tables.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if *self.panicked.get_mut() {
            // See `panicked`. The file stays locked until the process ends.
            mem::forget((transaction, tables, database));
            return;
        }
        // Readers before the transaction before the database. All that was synced is safe whatever happens here.
        let _ = drop_guarded(tables);
        let _ = drop_guarded(transaction);
        let _ = drop_guarded(database);
    }
}
