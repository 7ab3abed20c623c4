//! What a directory store does with single files: temporary names, renames that replace nothing, syncs and the lock.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{StoreError, StoreErrorKind};
use crate::store::Access;

/// What every temporary name begins with. Objects are named by hexadecimal digits, so none looks like this.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";
/// The file whose lock keeps writers apart.
const LOCK_NAME: &str = "lock";

/// Makes the error for what the system said about `path`.
pub(super) fn io_error<'a>(path: &'a Path, doing: &'a str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::from_io(path.display(), doing, source)
}

/// A file that is written but neither durable nor visible under its name. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Pending {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_published: bool,
}

impl Pending {
    /// Writes `bytes` to a temporary file in the folder of `path`.
    pub(super) fn write(path: PathBuf, bytes: &[u8]) -> Result<Self, StoreError> {
        let (file, temporary) = create_temporary(&path)?;
        let mut pending = Self { file, temporary, path, is_published: false };
        pending.file.write_all(bytes).map_err(io_error(&pending.path, "writing"))?;
        Ok(pending)
    }

    /// Makes the file durable and gives it its name. The name is durable once its folder is synced.
    ///
    /// A failed fsync is final: the kernel may have dropped the bytes and a second one would succeed without them. So
    /// the file is removed, as after any other failure.
    pub(super) fn publish(self) -> Result<(), StoreError> {
        self.rename_by(rename_without_replacing)
    }

    /// As [`publish`](Self::publish), in place of the file that has the name.
    pub(super) fn replace(self) -> Result<(), StoreError> {
        self.rename_by(|from, to| fs::rename(from, to))
    }

    fn rename_by(mut self, rename: impl Fn(&Path, &Path) -> io::Result<()>) -> Result<(), StoreError> {
        // Sync before the rename: a crash between them would leave an object that is short or empty.
        self.file.sync_all().map_err(io_error(&self.path, "syncing"))?;
        rename(&self.temporary, &self.path).map_err(io_error(&self.path, "renaming into place"))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_published {
            // What remains is removed when the store is next opened for writing.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn create_temporary(path: &Path) -> Result<(File, PathBuf), StoreError> {
    loop {
        // The seed of std's hash maps: random enough, for a name that is taken is tried again.
        let random = RandomState::new().build_hasher().finish();
        let temporary = path.with_file_name(format!("{TEMPORARY_PREFIX}{random:016x}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error(path, "creating a temporary file beside it")(source)),
        }
    }
}

/// Renames `from` to `to`, or fails with `AlreadyExists` if there is such a name.
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag, or the kernel not the call. A link never replaces anything.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        outcome => Ok(outcome?),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder, "syncing the folder"))
}

/// Makes a folder that only its owner can enter.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

/// Opens an object for reading. Whatever else than a plain file stands at its name is refused.
pub(super) fn open_object(path: &Path) -> io::Result<(File, u64)> {
    // Without blocking, or opening a pipe would wait for somebody to write to it.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is a symbolic link"));
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file"));
    }
    Ok((file, metadata.len()))
}

/// Takes the lock of the store in `folder`, which is held until the file is dropped. `None` if there is no lock file
/// and none can be made, as on read-only media, where nobody can write either.
pub(super) fn lock(folder: &Path, access: Access) -> Result<Option<File>, StoreError> {
    let path = folder.join(LOCK_NAME);
    let open = |write: bool| OpenOptions::new().read(true).write(write).create(write).mode(0o600).open(&path);
    // A reader needs no right to write, and neither does a lock. A missing file is made if it can be, for a reader
    // without a lock would not keep a writer out.
    let opened = match access {
        Access::Write => open(true).or_else(|error| if is_refused(&error) { open(false) } else { Err(error) }),
        Access::Read => open(false).or_else(|_| open(true)),
    };
    let file = match (opened, access) {
        (Ok(file), _) => file,
        (Err(error), Access::Read) if is_refused(&error) => return Ok(None),
        (Err(source), _) => return Err(io_error(&path, "opening the lock file")(source)),
    };
    let operation = match access {
        Access::Write => FlockOperation::NonBlockingLockExclusive,
        Access::Read => FlockOperation::NonBlockingLockShared,
    };
    loop {
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => {
                let message = "in use by another process; wait until it is done";
                return Err(StoreError::new(StoreErrorKind::InUse, folder.display(), message));
            }
            Err(errno) => return Err(io_error(&path, "locking")(errno.into())),
        }
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Removes what an interrupted writer left in `folder` under temporary names.
pub(super) fn remove_temporaries(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(io_error(folder, "listing the folder"))? {
        let entry = entry.map_err(io_error(folder, "listing the folder"))?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(io_error(&path, "removing what an interrupted run left"))?;
        }
    }
    Ok(())
}
