//! What a directory store does with single files: temporary names, renames that replace nothing, syncs and the lock.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::layer::{Files, OpenFile, retried};
use crate::base::shown_path;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Access;

/// What every temporary name begins with. Objects are named by hexadecimal digits, so none looks like this.
const TEMPORARY_PREFIX: &str = ".tmp-";
/// The file whose lock keeps writers apart.
const LOCK_NAME: &str = "lock";

/// Makes the error for what the system said about `path`.
pub(super) fn io_error<'a>(path: &'a Path, doing: &'a str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::from_io(shown_path(path), doing, source)
}

/// A file that is written but neither durable nor visible under its name. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Pending {
    files: Files,
    file: Box<dyn OpenFile>,
    temporary: PathBuf,
    path: PathBuf,
    is_published: bool,
}

impl Pending {
    /// Writes `bytes` to a temporary file in the folder of `path`.
    pub(super) fn write(files: &Files, path: PathBuf, bytes: &[u8]) -> Result<Self, StoreError> {
        let (file, temporary) = create_temporary(files, &path)?;
        let pending = Self { files: Files::clone(files), file, temporary, path, is_published: false };
        pending.file.write_all_at(bytes, 0).map_err(io_error(&pending.path, "writing"))?;
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
        self.rename_by(|files, from, to| retried(|| files.rename(from, to)))
    }

    fn rename_by(mut self, rename: impl Fn(&Files, &Path, &Path) -> io::Result<()>) -> Result<(), StoreError> {
        // Sync before the rename: a crash between them would leave an object that is short or empty.
        retried(|| self.file.sync()).map_err(io_error(&self.path, "syncing"))?;
        rename(&self.files, &self.temporary, &self.path).map_err(io_error(&self.path, "renaming into place"))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_published {
            // What remains is removed when the store is next opened for writing.
            let _ = retried(|| self.files.remove(&self.temporary));
        }
    }
}

/// Makes a file with a temporary name beside `path`, and returns that name.
pub(super) fn create_temporary(files: &Files, path: &Path) -> Result<(Box<dyn OpenFile>, PathBuf), StoreError> {
    loop {
        // The seed of std's hash maps: random enough, for a name that is taken is tried again.
        let random = RandomState::new().build_hasher().finish();
        let temporary = path.with_file_name(format!("{TEMPORARY_PREFIX}{random:016x}"));
        match retried(|| files.create(&temporary)) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error(path, "creating a temporary file beside it")(source)),
        }
    }
}

/// Renames `from` to `to`, or fails with `AlreadyExists` if there is such a name.
fn rename_without_replacing(files: &Files, from: &Path, to: &Path) -> io::Result<()> {
    let renamed = retried(|| files.rename_new(from, to));
    match renamed.as_ref().map_err(Errno::from_io_error) {
        // The file system does not know the flag, or the kernel not the call. A link never replaces anything.
        Err(Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) => {
            retried(|| files.link(from, to))?;
            retried(|| files.remove(from))
        }
        _ => renamed,
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(files: &Files, folder: &Path) -> Result<(), StoreError> {
    retried(|| files.sync_folder(folder)).map_err(io_error(folder, "syncing the folder"))
}

/// Returns whether there is anything at `path`.
pub(super) fn exists(files: &Files, path: &Path) -> Result<bool, StoreError> {
    match retried(|| files.bytes(path)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io_error(path, "opening the repository")(source)),
    }
}

/// Returns the folder that a path lies in.
pub(super) fn above(path: &Path) -> &Path {
    match path.parent() {
        None => path,
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
    }
}

/// Makes a folder and whichever is missing above it, each durable in the one above.
pub(super) fn make_folders(files: &Files, folder: &Path) -> Result<(), StoreError> {
    let above = above(folder);
    let mut made = retried(|| files.make_folder(folder));
    if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && above != folder {
        make_folders(files, above)?;
        made = retried(|| files.make_folder(folder));
    }
    made.map_err(io_error(folder, "making the folder"))?;
    sync_folder(files, above)
}

/// Opens an object for reading, and returns its length. Whatever else than a plain file stands at its name is refused.
pub(super) fn open_object(files: &Files, path: &Path) -> io::Result<(Box<dyn OpenFile>, u64)> {
    let file = match retried(|| files.open(path)) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is a symbolic link"));
        }
        opened => opened?,
    };
    match retried(|| file.plain_bytes())? {
        Some(bytes) => Ok((file, bytes)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file")),
    }
}

/// Takes the lock of the store in `folder`, which is held until the file is dropped. `None` if there is no lock file
/// and none can be made, as on read-only media, where nobody can write either.
pub(super) fn lock(files: &Files, folder: &Path, access: Access) -> Result<Option<Box<dyn OpenFile>>, StoreError> {
    let path = folder.join(LOCK_NAME);
    let open = |make: bool| retried(|| files.open_lock(&path, make));
    // A reader needs no right to write, and neither does a lock. A missing file is made if it can be, for a reader
    // without a lock would not keep a writer out.
    let opened = match access {
        Access::Write => open(true).or_else(|error| if is_refused(&error) { open(false) } else { Err(error) }),
        Access::Read => open(false).or_else(|_| open(true)),
    };
    let file = match (opened, access) {
        (Ok(file), _) => file,
        (Err(error), Access::Read) if is_refused(&error) => return Ok(None),
        (Err(error), _) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(foreign(&path, "a symbolic link"));
        }
        (Err(source), _) => return Err(io_error(&path, "opening the lock file")(source)),
    };
    if retried(|| file.plain_bytes()).map_err(io_error(&path, "looking at the lock file"))?.is_none() {
        return Err(foreign(&path, "no plain file"));
    }
    match retried(|| file.try_lock(access == Access::Write)) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let message = "in use by another process; wait until it is done";
            Err(StoreError::new(StoreErrorKind::InUse, shown_path(folder), message))
        }
        Err(source) => Err(io_error(&path, "locking")(source)),
    }
}

/// Returns the error for something in a repository that no daykeep puts there. Whoever keeps the repository could lead a
/// program elsewhere by it.
pub(super) fn foreign(path: &Path, what: &str) -> StoreError {
    let message =
        format!("is {what}, which daykeep never makes in a repository; remove it if you know where it is from");
    StoreError::new(StoreErrorKind::Damaged, shown_path(path), message)
}

/// Checks that a folder of the store is one, and not a link to another.
pub(super) fn check_own_folder(files: &Files, folder: &Path) -> Result<(), StoreError> {
    match retried(|| files.is_own_folder(folder)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(foreign(folder, "no folder, or a link to one")),
        Err(source) => Err(io_error(folder, "opening the repository")(source)),
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Returns what an interrupted writer left in `folder` under temporary names.
pub(super) fn temporaries(files: &Files, folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let names = retried(|| files.list(folder)).map_err(io_error(folder, "listing the folder"))?;
    let is_temporary = |name: &std::ffi::OsString| {
        let digits = name.as_encoded_bytes().strip_prefix(TEMPORARY_PREFIX.as_bytes());
        digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
    };
    Ok(names.into_iter().filter(is_temporary).map(|name| folder.join(name)).collect())
}

/// Removes what an interrupted writer left.
pub(super) fn remove_temporary(files: &Files, path: &Path) -> Result<(), StoreError> {
    retried(|| files.remove(path)).map_err(io_error(path, "removing what an interrupted run left"))
}
