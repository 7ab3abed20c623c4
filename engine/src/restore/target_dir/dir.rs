//! An open directory of the target and what can be made in it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::file_error;
use super::metadata::Fresh;
use crate::error::Error;
use crate::format::tree::is_valid_name;
use crate::source::{FileKind, Stat};

/// An open directory at or below the target of a restore.
///
/// Every `name` is one path component; anything else is refused with [`Error::UnsafeTarget`] before the system hears of
/// it. Where something is in the way, the calls that make something say so and change nothing.
#[derive(Debug)]
pub struct TargetDir {
    fd: OwnedFd,
    /// For messages only; nothing is opened by it.
    path: PathBuf,
    /// What a file has that was just made here, learnt from the first one.
    fresh: OnceLock<Option<Fresh>>,
}

/// What a folder was before something in it was changed.
#[derive(Debug)]
pub struct Before {
    times: rustix::fs::Timestamps,
    /// Only if they had to be changed.
    mode: Option<Mode>,
}

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opening must neither follow a link, nor wait for a pipe, nor make a terminal ours.
pub(super) const OPEN_FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// New files belong to their owner alone until they are whole and have their metadata.
pub(super) const NEW_FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

impl TargetDir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path, fresh: OnceLock::new() }
    }

    /// Opens the same directory a second time.
    ///
    /// # Errors
    /// [`Error::File`] if the system has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd =
            self.fd.try_clone().map_err(|source| file_error(self.path.clone(), "open the folder again", source))?;
        Ok(Self::new(fd, self.path.clone()))
    }

    /// Returns the path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of `name` in this directory, for messages.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Makes the error for something that failed with `name`, for instance writing a file that was made here; it says
    /// what to do if the disk is full.
    pub fn error(&self, name: &[u8], action: &'static str, source: impl Into<std::io::Error>) -> Error {
        file_error(self.path_of(name), action, source)
    }

    pub(super) fn unsafe_target(&self, name: &[u8], reason: &str) -> Error {
        Error::UnsafeTarget { path: self.path_of(name), reason: reason.to_owned() }
    }

    /// Refuses what is no single path component.
    pub(super) fn check(&self, name: &[u8]) -> Result<(), Error> {
        if is_valid_name(name) {
            return Ok(());
        }
        let reason =
            format!("the name {:?} is no single path component and was not restored", String::from_utf8_lossy(name));
        Err(Error::UnsafeTarget { path: self.path.clone(), reason })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns how many bytes the file system has that the folder lies in, used and free; `None` if it does not say.
    pub fn disk_bytes(&self) -> Option<u64> {
        let system = rustix::fs::fstatvfs(&self.fd).ok()?;
        let bytes = system.f_blocks.saturating_mul(system.f_frsize);
        (bytes > 0).then_some(bytes)
    }

    /// Lets something be changed in a folder that has its metadata already. Returns what the folder was, for
    /// [`end_change`](Self::end_change).
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn begin_change(&self) -> Result<Before, Error> {
        let failed = |error| file_error(self.path.clone(), "looking at the folder", error);
        let stat = rustix::fs::fstat(&self.fd).map_err(failed)?;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the types of these fields differ from architecture to architecture"
        )]
        let at = |seconds, nanos| rustix::fs::Timespec { tv_sec: seconds as i64, tv_nsec: nanos as _ };
        let times = rustix::fs::Timestamps {
            last_access: at(stat.st_atime, stat.st_atime_nsec),
            last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
        };
        Ok(Before { times, mode: self.make_writable() })
    }

    /// Makes the folder again what it was before a change.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn end_change(&self, before: &Before) -> Result<(), Error> {
        if let Some(mode) = before.mode {
            let failed = |error| file_error(self.path.clone(), "setting the folder's permissions", error);
            rustix::fs::fchmod(&self.fd, mode).map_err(failed)?;
        }
        let failed = |error| file_error(self.path.clone(), "setting the folder's times", error);
        rustix::fs::futimens(&self.fd, &before.times).map_err(failed)
    }

    /// Returns what files have that were just made here; `file` is one of them. `None` if that differs from file to
    /// file or is not known, as where a default ACL gives new files an ACL of their own.
    pub(super) fn fresh(&self, file: &File) -> Option<Fresh> {
        *self.fresh.get_or_init(|| {
            let mut nothing: [u8; 0] = [];
            let has_acl = rustix::fs::fgetxattr(&self.fd, "system.posix_acl_default", &mut nothing).is_ok();
            let stat = rustix::fs::fstat(file).ok().filter(|_| !has_acl)?;
            Some(Fresh::of(&Stat::of(&stat)))
        })
    }

    /// Makes the directory `name`, or opens the one that is there. Returns it, and whether it was made.
    ///
    /// One that is made has the mode 0700 until its metadata is applied, when all in it is done. One that is there and
    /// belongs to the caller is made writable for the caller, since files are to be made in it.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if something else is in the way, even a symbolic link to a directory.
    pub fn make_dir(&self, name: &[u8]) -> Result<(Self, bool), Error> {
        self.check(name)?;
        let created = match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(self.error(name, "making the folder", error)),
        };
        let Some(dir) = self.open_dir(name)? else {
            return Err(self.error(name, "opening the folder just made", Errno::NOENT));
        };
        if !created {
            dir.make_writable();
        }
        Ok((dir, created))
    }

    /// Gives the owner all rights if the owner is the caller and is no superuser, who needs none. That it fails shows
    /// when a file is made. Returns the permissions of before if they were others.
    fn make_writable(&self) -> Option<Mode> {
        let user = rustix::process::geteuid();
        if user.is_root() {
            return None;
        }
        let stat = rustix::fs::fstat(&self.fd).ok()?;
        if stat.st_uid != user.as_raw() || stat.st_mode & Mode::RWXU.as_raw_mode() == Mode::RWXU.as_raw_mode() {
            return None;
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::fchmod(&self.fd, mode | Mode::RWXU).ok().map(|()| mode)
    }

    /// Opens the directory `name`; `None` if there is nothing of that name.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if it is something else, even a symbolic link to a directory.
    pub fn open_dir(&self, name: &[u8]) -> Result<Option<Self>, Error> {
        self.check(name)?;
        match retry_on_intr(|| rustix::fs::openat(&self.fd, name, OPEN_DIR, Mode::empty())) {
            Ok(fd) => Ok(Some(Self::new(fd, self.path_of(name)))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(self.unsafe_target(name, self.what_is_in_the_way(name))),
            Err(error) => Err(self.error(name, "opening the folder", error)),
        }
    }

    fn what_is_in_the_way(&self, name: &[u8]) -> &'static str {
        match self.stat(name) {
            Ok(Some(Stat { kind: FileKind::Symlink, .. })) => {
                "a symbolic link is where a folder is to be; it was not followed: remove it, or choose an empty target"
            }
            _ => "a file is where a folder is to be: remove it, or choose an empty target",
        }
    }

    /// Tells about `name`, and about a symbolic link itself; `None` if there is nothing of that name.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Error> {
        self.check(name)?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(raw) => Ok(Some(Stat::of(&raw))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error(name, "looking at it", error)),
        }
    }

    /// Makes the file `name`, which nobody else may read yet; `None` if something of that name is there.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn create_file(&self, name: &[u8]) -> Result<Option<File>, Error> {
        self.check(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OPEN_FILE;
        match retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, NEW_FILE_MODE)) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(self.error(name, "making the file", error)),
        }
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if it is no regular file.
    pub fn open_for_read(&self, name: &[u8]) -> Result<File, Error> {
        self.check(name)?;
        let fd = match retry_on_intr(|| rustix::fs::openat(&self.fd, name, OFlags::RDONLY | OPEN_FILE, Mode::empty())) {
            Err(Errno::LOOP) => return Err(self.unsafe_target(name, "a symbolic link, which is not followed")),
            other => other.map_err(|error| self.error(name, "opening the file", error))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.error(name, "looking at it", error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            _ => Err(self.unsafe_target(name, "not a regular file")),
        }
    }

    /// Makes the symbolic link `name` to `target`, byte for byte. Returns `false` if something of that name is there.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn symlink(&self, name: &[u8], target: &[u8]) -> Result<bool, Error> {
        self.check(name)?;
        self.made(name, "making the symbolic link", rustix::fs::symlinkat(target, &self.fd, name))
    }

    /// Makes the named pipe `name`, for its owner alone. Returns `false` if something of that name is there.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn make_fifo(&self, name: &[u8]) -> Result<bool, Error> {
        self.check(name)?;
        self.made(name, "making the named pipe", rustix::fs::mkfifoat(&self.fd, name, NEW_FILE_MODE))
    }

    /// Makes the character or block device `name` with the number `rdev`, for its owner alone. Returns `false` if
    /// something of that name is there.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses, which is every device unless root asks.
    pub fn make_device(&self, name: &[u8], is_block: bool, rdev: u64) -> Result<bool, Error> {
        self.check(name)?;
        let file_type = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
        let result = rustix::fs::mknodat(&self.fd, name, file_type, NEW_FILE_MODE, rdev);
        self.made(name, "making the device, which only root may do", result)
    }

    /// Makes `name` another name of the file `first_name` in `first_dir`, a symbolic link being a file like any other.
    /// Returns `false` if something of that name is there.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses, for instance where the file system has no hard links.
    pub fn link(&self, name: &[u8], first_dir: &Self, first_name: &[u8]) -> Result<bool, Error> {
        self.check(name)?;
        first_dir.check(first_name)?;
        let result = rustix::fs::linkat(&first_dir.fd, first_name, &self.fd, name, AtFlags::empty());
        self.made(name, "making the hard link", result)
    }

    fn made(&self, name: &[u8], action: &'static str, result: Result<(), Errno>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(self.error(name, action, error)),
        }
    }

    /// Removes `name`, which must be no directory; a symbolic link goes, not what it points to. Nothing happens if there
    /// is nothing of that name.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] for a directory.
    pub fn remove_non_dir(&self, name: &[u8]) -> Result<(), Error> {
        self.check(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                Err(self.unsafe_target(name, "a folder is where a file is to be: remove it, or choose an empty target"))
            }
            Err(error) => Err(self.error(name, "removing it", error)),
        }
    }
}
