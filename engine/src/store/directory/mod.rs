//! A store in a directory: one file per object.
//!
//! ```text
//! config                      the config object
//! keys/<id>                   key slots
//! packs/<2 digits>/<id>       packs, in up to 256 folders by the first two digits of their ids
//! index/<id>                  index objects
//! snapshots/<id>              snapshots
//! proofs/<id>                 proofs; the folder is made when the first is
//! lock                        empty; locked by whoever has the store open
//! ```
//!
//! An object is written under a temporary name in the folder it belongs to, synced, and renamed without replacing
//! anything; then the folder is synced. [`put`](Store::put) does the first step, [`sync`](Store::sync) the others.
//!
//! Between the first change and the end of the sync there is an empty file with a temporary name, the mark, in the store's
//! own folder. Whoever finds one syncs every folder before anything else: names that a killed process left came or went
//! before its sync, and what would be built upon them must not outlive them.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "internals")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::{Access, Store, errors};
use crate::base::limits::MIB;
use crate::base::{ObjectId, ObjectKind, ObjectName, shown_path};
use crate::error::{StoreError, StoreErrorKind};

mod files;
mod layer;

use files::{Pending, io_error};
pub use layer::{FileLayer, OpenFile};
use layer::{Files, retried};

/// Longer packs mean fewer files and syncs; shorter ones less memory, and less waiting for whoever stores the last one.
const PACK_BYTES: usize = 2 * MIB;
/// The most files that wait for [`sync`](Store::sync): each holds a file descriptor.
const PENDING_MAX: usize = 64;
/// The kinds that have a folder from the beginning.
const FOLDERS: [ObjectKind; 4] = [ObjectKind::Key, ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot];

/// Keeps each object in a file of its own.
///
/// A lock on the file `lock` keeps a writer alone, as far as the file system has such locks.
#[derive(Debug)]
pub struct DirectoryStore {
    files: Files,
    root: PathBuf,
    access: Access,
    /// A put holds it shared until its file is in the queue or complete, so that a sync, which holds it alone, misses
    /// none that another thread is just completing.
    gate: RwLock<()>,
    queue: Mutex<Queue>,
    /// Holds the lock for as long as the store is open.
    _lock: Option<Box<dyn OpenFile>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Written and waiting, the oldest first.
    files: VecDeque<(ObjectName, Pending)>,
    /// Folders in which a name has come or gone since they were last synced.
    folders: BTreeSet<PathBuf>,
    /// The mark that something was put or deleted since the last sync.
    mark: Option<PathBuf>,
    failed: Option<errors::Failure>,
}

impl DirectoryStore {
    /// Makes a new store in the directory at `path`, which must be empty or not exist yet, and opens it for writing.
    /// Only its owner can read it.
    ///
    /// # Errors
    /// `AlreadyExists` if there is anything else at `path`; `NoSpace`, `ReadOnly` or `Io` if it cannot be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        Self::create_in(layer::system(), path)
    }

    /// Opens the store that `files` have at `path` for writing, or makes one if there is none: for tests of what faults and
    /// power losses leave of files.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn over(files: Arc<dyn FileLayer>, path: &Path) -> Result<Self, StoreError> {
        match Self::open_in(Arc::clone(&files), path, Access::Write) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Self::create_in(files, path),
            outcome => outcome,
        }
    }

    fn create_in(files: Files, path: &Path) -> Result<Self, StoreError> {
        let occupied = || {
            let message = "there is already something here that is not an empty folder; nothing was changed";
            StoreError::new(StoreErrorKind::AlreadyExists, shown_path(path), message)
        };
        match retried(|| files.list(path)).map(|names| names.is_empty()) {
            // Whoever made it may not have synced it.
            Ok(true) => files::sync_folder(&files, files::above(path))?,
            Ok(false) => return Err(occupied()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(occupied()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => files::make_folders(&files, path)?,
            Err(source) => return Err(io_error(path, "listing the folder")(source)),
        }
        for kind in FOLDERS {
            let folder = path.join(kind.name());
            retried(|| files.make_folder(&folder)).map_err(io_error(&folder, "making the folder"))?;
        }
        let store = Self::open_in(files, path, Access::Write)?;
        files::sync_folder(&store.files, path)?;
        Ok(store)
    }

    /// Opens the store in the directory at `path`. What an interrupted writer left unfinished is removed if `access` is
    /// [`Access::Write`].
    ///
    /// # Errors
    /// `NotFound` if there is no such directory; `Damaged` if it is not a store; `InUse` if another process has it open
    /// in a way that does not go together with `access`; `ReadOnly` or `Io` if it cannot be opened.
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        Self::open_in(layer::system(), path, access)
    }

    fn open_in(files: Files, path: &Path, access: Access) -> Result<Self, StoreError> {
        if !retried(|| files.is_folder(path)).map_err(io_error(path, "opening the repository"))? {
            return Err(StoreError::new(StoreErrorKind::Damaged, shown_path(path), "not a folder; check the path"));
        }
        let (mut is_store, mut missing) = (files::exists(&files, &path.join("config"))?, None);
        for kind in FOLDERS {
            let folder = path.join(kind.name());
            match files::exists(&files, &folder)? {
                true => is_store = true,
                false => missing = Some(folder),
            }
        }
        match missing {
            None => {}
            Some(folder) if is_store => return Err(missing_folder(&folder, io::ErrorKind::NotFound.into())),
            // Whoever names an empty folder, or one with other things in it, has no repository there.
            Some(_) => {
                let message = "there is no repository in this folder";
                return Err(StoreError::new(StoreErrorKind::NotFound, shown_path(path), message));
            }
        }
        for kind in FOLDERS {
            files::check_own_folder(&files, &path.join(kind.name()))?;
        }
        let lock = files::lock(&files, path, access)?;
        let (gate, queue) = (RwLock::default(), Mutex::default());
        let store = Self { files, root: path.to_owned(), access, gate, queue, _lock: lock };
        if access == Access::Write {
            store.clear_up()?;
        }
        Ok(store)
    }

    /// Makes durable what an interrupted writer left, and removes what it had not finished.
    fn clear_up(&self) -> Result<(), StoreError> {
        let mut folders = vec![self.root.clone(), self.root.join(ObjectKind::Pack.name())];
        for kind in FOLDERS.into_iter().chain([ObjectKind::Proof]) {
            folders.extend(self.folders(kind)?);
        }
        let mut left = Vec::new();
        for folder in &folders {
            left.extend(files::temporaries(&self.files, folder)?);
        }
        if left.is_empty() {
            return Ok(());
        }
        folders.iter().try_for_each(|folder| files::sync_folder(&self.files, folder))?;
        // The mark is in the first folder, and so the last to go.
        left.iter().rev().try_for_each(|path| files::remove_temporary(&self.files, path))
    }

    /// Returns the folder that an object lies in.
    fn folder(&self, name: &ObjectName) -> PathBuf {
        match name.kind {
            ObjectKind::Config => self.root.clone(),
            ObjectKind::Pack => self.root.join(name.kind.name()).join(format!("{:02x}", name.id.as_bytes()[0])),
            kind => self.root.join(kind.name()),
        }
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        match name.kind {
            ObjectKind::Config => self.root.join(name.kind.name()),
            _ => self.folder(name).join(name.id.to_string()),
        }
    }

    /// Returns the folders that objects of a kind lie in, as far as they exist.
    fn folders(&self, kind: ObjectKind) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.root.join(kind.name());
        if kind == ObjectKind::Proof {
            if !files::exists(&self.files, &folder)? {
                return Ok(Vec::new());
            }
            files::check_own_folder(&self.files, &folder)?;
        }
        if kind != ObjectKind::Pack {
            return Ok(vec![folder]);
        }
        let mut folders = Vec::new();
        for name in retried(|| self.files.list(&folder)).map_err(|source| missing_folder(&folder, source))? {
            if (0..=u8::MAX).any(|first| name == *format!("{first:02x}")) {
                let folder = folder.join(name);
                files::check_own_folder(&self.files, &folder)?;
                folders.push(folder);
            }
        }
        Ok(folders)
    }

    // A lock that is poisoned guards a queue that is whole all the same: entries are pushed and popped one by one.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the queue, unless the store takes no writes.
    fn writable_queue(&self) -> Result<MutexGuard<'_, Queue>, StoreError> {
        if self.access == Access::Read {
            return Err(errors::opened_for_reading(&self.location()));
        }
        let queue = self.queue();
        match &queue.failed {
            Some(failure) => Err(failure.again(&self.location())),
            None => Ok(queue),
        }
    }

    /// Notes in the store that something is about to change, before it does.
    fn mark(&self, queue: &mut Queue) -> Result<(), StoreError> {
        if queue.mark.is_none() {
            queue.mark = Some(files::create_temporary(&self.files, &self.root.join("mark"))?.1);
        }
        Ok(())
    }

    /// Opens an object for reading.
    fn open_object(&self, name: &ObjectName) -> Result<(Box<dyn OpenFile>, u64), StoreError> {
        files::open_object(&self.files, &self.path(name)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => errors::not_found(name),
            io::ErrorKind::InvalidData => {
                let message = format!("{source}, which no object is; run `check` to see what else is hurt");
                StoreError::new(StoreErrorKind::Damaged, name, message)
            }
            _ => StoreError::from_io(name, "opening the object", source),
        })
    }

    /// Writes the object's bytes under a temporary name, making the folder for it if need be.
    fn write_pending(&self, name: &ObjectName, bytes: &[u8]) -> Result<Pending, StoreError> {
        let outcome = Pending::write(&self.files, self.path(name), bytes);
        let is_made_when_needed = matches!(name.kind, ObjectKind::Pack | ObjectKind::Proof);
        if !is_made_when_needed || !outcome.as_ref().is_err_and(|error| error.kind == StoreErrorKind::NotFound) {
            return outcome;
        }
        let folder = self.folder(name);
        let above = folder.parent().unwrap_or(&self.root).to_owned();
        match retried(|| self.files.make_folder(&folder)) {
            // Another thread may have been quicker.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(&folder, "making the folder")(error));
            }
            _ => self.queue().folders.insert(above),
        };
        Pending::write(&self.files, self.path(name), bytes)
    }

    /// Makes a file durable and visible. After a failure the store takes no more writes.
    fn publish(&self, pending: Pending) -> Result<(), StoreError> {
        pending.publish().inspect_err(|error| self.queue().failed = Some(errors::Failure::of(error)))
    }
}

impl Store for DirectoryStore {
    fn location(&self) -> String {
        shown_path(&self.root)
    }

    fn pack_bytes(&self) -> usize {
        PACK_BYTES
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let _passing = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.mark(&mut *self.writable_queue()?)?;
        match retried(|| self.files.bytes(&self.path(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::from_io(name, "looking for an object of this name", source)),
            Ok(_) => return Err(errors::already_exists(name)),
        }
        let pending = self.write_pending(name, bytes)?;
        let mut queue = self.writable_queue()?;
        if queue.files.iter().any(|(queued, _)| queued == name) {
            return Err(errors::already_exists(name));
        }
        queue.folders.insert(self.folder(name));
        queue.files.push_back((*name, pending));
        if queue.files.len() <= PENDING_MAX {
            return Ok(());
        }
        let oldest = queue.files.pop_front();
        // Other threads may go on while this one waits for the disk.
        drop(queue);
        oldest.map_or(Ok(()), |(_, oldest)| self.publish(oldest))
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let _passing = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.mark(&mut *self.writable_queue()?)?;
        self.open_object(name)?;
        self.write_pending(name, bytes)?.replace()?;
        self.writable_queue()?.folders.insert(self.folder(name));
        Ok(())
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let (file, bytes) = self.open_object(name)?;
        let len = usize::try_from(bytes).ok().filter(|len| *len <= bytes_max);
        let len = len.ok_or_else(|| errors::too_large(name, bytes, bytes_max))?;
        let mut out = vec![0; len];
        file.read_exact_at(&mut out, 0).map_err(|source| StoreError::from_io(name, "reading the object", source))?;
        Ok(out)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let (file, bytes) = self.open_object(name)?;
        if offset.checked_add(len as u64).is_none_or(|end| end > bytes) {
            return Err(errors::too_short(name, bytes, offset, len));
        }
        // Not cleared first: only what is longer than before would have to be zeroed.
        out.resize(len, 0);
        file.read_exact_at(out, offset).map_err(|source| StoreError::from_io(name, "reading the object", source))
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        if kind == ObjectKind::Config {
            let path = self.path(&ObjectName::CONFIG);
            return match retried(|| self.files.bytes(&path)) {
                Ok(bytes) => Ok(vec![(ObjectName::CONFIG.id, bytes)]),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(source) => Err(io_error(&path, "looking for the config")(source)),
            };
        }
        let mut objects = Vec::new();
        for folder in self.folders(kind)? {
            for file_name in retried(|| self.files.list(&folder)).map_err(|source| missing_folder(&folder, source))? {
                let (path, id) = (folder.join(&file_name), file_name.to_str().and_then(ObjectId::from_hex));
                // A name in capitals, or in another pack's folder, is not one that `get` would find.
                let Some(id) = id.filter(|id| self.path(&ObjectName::new(kind, *id)) == path) else { continue };
                match retried(|| self.files.bytes(&path)) {
                    Ok(bytes) => objects.push((id, bytes)),
                    // Another thread deleted it just now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(io_error(&path, "looking up the length")(source)),
                }
            }
        }
        Ok(objects)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let _passing = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.writable_queue()?;
        // A disk may have no space even for an empty file, and to delete is how space is made.
        let is_marked = match self.mark(&mut queue) {
            Err(error) if error.kind != StoreErrorKind::NoSpace => return Err(error),
            outcome => outcome.is_ok(),
        };
        // One that is not yet visible is given up; its temporary file goes with it.
        queue.files.retain(|(queued, _)| queued != name);
        match retried(|| self.files.remove(&self.path(name))) {
            Ok(()) if !is_marked => files::sync_folder(&self.files, &self.folder(name)),
            Ok(()) => {
                queue.folders.insert(self.folder(name));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::from_io(name, "deleting the object", source)),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        if self.access == Access::Read {
            return Ok(());
        }
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let (pending, folders) = {
            let mut queue = self.writable_queue()?;
            (std::mem::take(&mut queue.files), std::mem::take(&mut queue.folders))
        };
        pending.into_iter().try_for_each(|(_, pending)| self.publish(pending))?;
        // In order of their names: a folder of packs comes after the folder of those folders, in which its own name is.
        let synced = folders.iter().try_for_each(|folder| files::sync_folder(&self.files, folder));
        synced.inspect_err(|error| self.queue().failed = Some(errors::Failure::of(error)))?;
        if let Some(mark) = self.queue().mark.take() {
            // One that stays costs the next writer some syncs.
            let _ = retried(|| self.files.remove(&mark));
        }
        Ok(())
    }
}

/// A folder that every store has is not there, or cannot be listed.
fn missing_folder(folder: &Path, source: io::Error) -> StoreError {
    if source.kind() == io::ErrorKind::NotFound || source.kind() == io::ErrorKind::NotADirectory {
        let message = "this folder is missing: not a daykeep repository, or a damaged one; check the path";
        return StoreError::new(StoreErrorKind::Damaged, shown_path(folder), message);
    }
    io_error(folder, "listing the folder")(source)
}
