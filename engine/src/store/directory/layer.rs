//! The system calls that a directory store makes, one method each, so that a test can put its own in their place.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags};

/// A file that is open.
pub trait OpenFile: FileExt + Debug + Send + Sync {
    /// Returns its length in bytes, or `None` if it is no plain file.
    fn plain_bytes(&self) -> io::Result<Option<u64>>;

    /// Makes its bytes durable.
    fn sync(&self) -> io::Result<()>;

    /// Locks it, or fails with `WouldBlock`; the lock is held until the file is dropped.
    fn try_lock(&self, alone: bool) -> io::Result<()>;
}

/// What the system does with files and folders. Each method may be interrupted, and reads and writes may come to less than
/// they were asked for.
pub trait FileLayer: Debug + Send + Sync {
    /// Makes a file that only its owner can read, for writing; there must be nothing at its name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// Opens a file for reading, neither following a link nor waiting for whoever is at the other end of a pipe.
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// Opens the file whose lock counts, neither following a link nor waiting; with `make`, it is made if it is not there.
    fn open_lock(&self, path: &Path, make: bool) -> io::Result<Box<dyn OpenFile>>;

    /// Returns whether there is a folder, and not something else.
    fn is_folder(&self, path: &Path) -> io::Result<bool>;

    /// As [`is_folder`](Self::is_folder), without following a link.
    fn is_own_folder(&self, path: &Path) -> io::Result<bool> {
        self.is_folder(path)
    }

    /// Returns the length of whatever is at this name.
    fn bytes(&self, path: &Path) -> io::Result<u64>;

    /// Returns all names in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Makes a folder that only its owner can enter.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file another name, or fails with `AlreadyExists` if there is such a name. Not every file system can.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name, or fails with `AlreadyExists` if there is such a name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The system's own files.
#[derive(Debug)]
struct SystemFiles;

impl OpenFile for File {
    fn plain_bytes(&self) -> io::Result<Option<u64>> {
        let metadata = self.metadata()?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn try_lock(&self, alone: bool) -> io::Result<()> {
        let operation = match alone {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        Ok(rustix::fs::flock(self, operation)?)
    }
}

impl FileLayer for SystemFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        Ok(Box::new(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    fn open_lock(&self, path: &Path, make: bool) -> io::Result<Box<dyn OpenFile>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(make).create(make).mode(0o600).custom_flags(flags);
        Ok(Box::new(options.open(path)?))
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.is_dir())
    }

    fn is_own_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(path)?.is_dir())
    }

    fn bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::symlink_metadata(path)?.len())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// A layer that many may hold.
pub(super) type Files = Arc<dyn FileLayer>;

/// Returns the system's own files.
pub(super) fn system() -> Files {
    Arc::new(SystemFiles)
}

/// Makes a call, again and again as long as a signal interrupts it.
pub(super) fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
