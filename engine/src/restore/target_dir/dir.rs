//! An open directory of the target and what can be made in it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use super::file_error;
use super::metadata::Fresh;
use crate::base::shown;
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
    /// The permissions before they were changed to let the caller in.
    mode_before: OnceLock<Mode>,
    /// Set if the descriptor only names the folder: it may be gone through, but neither be listed nor changed.
    is_path_only: bool,
}

/// What may be done to open a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing: it is only looked at.
    Look,
    /// Its owner may be given the right to read and write it.
    Enter,
}

/// What a folder was before something in it was changed.
#[derive(Debug)]
pub struct Before {
    times: rustix::fs::Timestamps,
}

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const RWXU: u32 = Mode::RWXU.as_raw_mode();
/// Opening must neither follow a link, nor wait for a pipe, nor make a terminal ours.
pub(super) const OPEN_FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// New files belong to their owner alone until they are whole and have their metadata.
pub(super) const NEW_FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

impl TargetDir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path, fresh: OnceLock::new(), mode_before: OnceLock::new(), is_path_only: false }
    }

    fn path_only(fd: OwnedFd, path: PathBuf) -> Self {
        Self { is_path_only: true, ..Self::new(fd, path) }
    }

    /// Returns whether the caller may look at what has a name in the folder.
    pub fn is_searchable(&self) -> bool {
        !matches!(rustix::fs::statat(&self.fd, c"./.", AtFlags::empty()), Err(Errno::ACCESS))
    }

    pub(super) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Returns whether the folder can be gone through only.
    pub fn is_path_only(&self) -> bool {
        self.is_path_only
    }

    /// Gives a folder back the permissions that it had before the caller was let in.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn leave(&self) -> Result<(), Error> {
        let Some(&mode) = self.mode_before.get() else { return Ok(()) };
        let failed = |error| file_error(self.path.clone(), "setting the folder's permissions", error);
        rustix::fs::fchmod(&self.fd, mode).map_err(failed)
    }

    /// Opens the same directory a second time.
    ///
    /// # Errors
    /// [`Error::File`] if the system has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd =
            self.fd.try_clone().map_err(|source| file_error(self.path.clone(), "open the folder again", source))?;
        Ok(Self { is_path_only: self.is_path_only, ..Self::new(fd, self.path.clone()) })
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

    /// Returns the descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns how many bytes the file system has that the folder lies in, used and free; `None` if it does not say.
    pub fn disk_bytes(&self) -> Option<u64> {
        let system = rustix::fs::fstatvfs(&self.fd).ok()?;
        let bytes = system.f_blocks.saturating_mul(system.f_frsize);
        (bytes > 0).then_some(bytes)
    }

    /// Brings to disk what was written on the file system that the folder lies on.
    ///
    /// # Errors
    /// [`Error::File`] if the disk does not take it.
    pub fn sync(&self) -> Result<(), Error> {
        match rustix::fs::syncfs(&self.fd) {
            Ok(()) => Ok(()),
            // The descriptor only names the folder.
            Err(Errno::BADF) => {
                rustix::fs::sync();
                Ok(())
            }
            Err(error) => Err(file_error(self.path.clone(), "bringing restored files to disk", error)),
        }
    }

    /// Returns whether `name` is where another file system, or another part of this one, is mounted.
    pub fn is_mount_point(&self, name: &[u8]) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let is_root = rustix::fs::statx(&self.fd, name, flags, StatxFlags::BASIC_STATS)
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        let device = |stat: Result<rustix::fs::Stat, Errno>| stat.map(|stat| stat.st_dev).ok();
        let here = device(rustix::fs::fstat(&self.fd));
        is_root || here != device(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Locks the folder for one restore, until it is closed; returns `false` if another has it.
    pub fn lock(&self) -> bool {
        rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
    }

    /// Removes the empty folder `name`. Returns `false` if something is in it.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn remove_empty_dir(&self, name: &[u8]) -> Result<bool, Error> {
        self.check(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) => Err(self.error(name, "removing the folder", error)),
        }
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
        self.make_writable();
        Ok(Before { times })
    }

    /// Makes the folder again what it was before a change.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn end_change(&self, before: &Before) -> Result<(), Error> {
        self.leave()?;
        if self.is_path_only {
            // It is another's, who sees that something was changed in it.
            return Ok(());
        }
        match rustix::fs::futimens(&self.fd, &before.times) {
            // As above.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(error) => Err(file_error(self.path.clone(), "setting the folder's times", error)),
        }
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
    /// One that is made has `mode`, which should be 0700, until its metadata is applied, when all in it is done. One that is
    /// there and belongs to the caller is made writable for the caller, since files are to be made in it.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if something else is in the way, even a symbolic link to a directory.
    pub fn make_dir(&self, name: &[u8], mode: Mode) -> Result<(Self, bool), Error> {
        self.check(name)?;
        let created = match rustix::fs::mkdirat(&self.fd, name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(self.error(name, "making the folder", error)),
        };
        let Some(dir) = self.open_dir(name, Opening::Enter)? else {
            return Err(self.error(name, "opening the folder just made", Errno::NOENT));
        };
        if !created {
            dir.make_writable();
        }
        Ok((dir, created))
    }

    /// Gives the owner all rights if the owner is the caller and is no superuser, who needs none. That it fails shows
    /// when a file is made.
    pub fn make_writable(&self) {
        let user = rustix::process::geteuid();
        let Ok(stat) = rustix::fs::fstat(&self.fd) else { return };
        if user.is_root() || stat.st_uid != user.as_raw() || stat.st_mode & RWXU == RWXU {
            return;
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        if rustix::fs::fchmod(&self.fd, mode | Mode::RWXU).is_ok() {
            let _ = self.mode_before.set(mode);
        }
    }

    /// Opens the directory `name`; `None` if there is nothing of that name. One that the caller may not read is made
    /// readable first if it is the caller's and `opening` allows that; if not, it can be gone through only.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if it is something else, even a symbolic link to a directory.
    pub fn open_dir(&self, name: &[u8], opening: Opening) -> Result<Option<Self>, Error> {
        self.open_dir_as(name, opening, OFlags::NOFOLLOW)
    }

    /// As [`open_dir`](Self::open_dir), but follows `name` if it is a symbolic link to a directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir).
    pub fn follow_dir(&self, name: &[u8], opening: Opening) -> Result<Option<Self>, Error> {
        self.open_dir_as(name, opening, OFlags::empty())
    }

    fn open_dir_as(&self, name: &[u8], opening: Opening, follow: OFlags) -> Result<Option<Self>, Error> {
        self.check(name)?;
        match retry_on_intr(|| rustix::fs::openat(&self.fd, name, OPEN_DIR | follow, Mode::empty())) {
            Ok(fd) => Ok(Some(Self::new(fd, self.path_of(name)))),
            Err(Errno::NOENT) if follow.is_empty() && self.is_symlink(name) => {
                Err(self.unsafe_target(name, &self.what_is_in_the_way(name)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(self.unsafe_target(name, &self.what_is_in_the_way(name))),
            Err(error @ Errno::ACCESS) => self
                .open_unreadable(name, opening, follow)
                .map(Some)
                .map_err(|_| self.error(name, "opening the folder", error)),
            Err(error) => Err(self.error(name, "opening the folder", error)),
        }
    }

    fn open_unreadable(&self, name: &[u8], opening: Opening, follow: OFlags) -> Result<Self, Errno> {
        let path = self.path_of(name);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
        Self::of_named(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?, path, opening)
    }

    /// Opens a folder that a descriptor names. One that the caller may not read is made readable if it is the caller's and
    /// `opening` allows that; if not, it can be gone through only.
    pub(super) fn of_named(named: OwnedFd, path: PathBuf, opening: Opening) -> Result<Self, Errno> {
        match rustix::fs::openat(&named, c".", OPEN_DIR, Mode::empty()) {
            Err(Errno::ACCESS) => {}
            opened => return opened.map(|fd| Self::new(fd, path)),
        }
        let stat = rustix::fs::fstat(&named)?;
        if opening == Opening::Look || stat.st_uid != rustix::process::geteuid().as_raw() {
            return Ok(Self::path_only(named, path));
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        chmod_named(named.as_fd(), mode | Mode::RWXU)?;
        let dir = Self::new(rustix::fs::openat(&named, c".", OPEN_DIR, Mode::empty())?, path);
        let _ = dir.mode_before.set(mode);
        Ok(dir)
    }

    fn is_symlink(&self, name: &[u8]) -> bool {
        matches!(self.stat(name), Ok(Some(Stat { kind: FileKind::Symlink, .. })))
    }

    fn what_is_in_the_way(&self, name: &[u8]) -> String {
        if !self.is_symlink(name) {
            return "a file is where a folder is to be: remove it, or choose an empty target".to_owned();
        }
        match std::fs::canonicalize(self.path_of(name)) {
            Ok(real) if real.is_dir() => format!(
                "a symbolic link is where a folder is to be; it was not followed. It leads to {real}: restore the content \
                 of this folder with that as the target, or let links above what is restored be followed \
                 (--follow-target-links)",
                real = shown(real.as_os_str().as_bytes())
            ),
            _ => {
                "a symbolic link is where a folder is to be, and it leads to no folder: remove it, or choose an empty \
                  target"
                    .to_owned()
            }
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

    /// Opens the regular file `name` for reading; one that the caller owns, whatever its permissions are.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if it is no regular file.
    pub fn open_for_read(&self, name: &[u8]) -> Result<File, Error> {
        self.check(name)?;
        let open = || retry_on_intr(|| rustix::fs::openat(&self.fd, name, OFlags::RDONLY | OPEN_FILE, Mode::empty()));
        let fd = match open() {
            Err(Errno::LOOP) => return Err(self.unsafe_target(name, "a symbolic link, which is not followed")),
            Err(Errno::ACCESS) => {
                self.open_own_unreadable(name).map_err(|error| self.error(name, "opening the file", error))?
            }
            other => other.map_err(|error| self.error(name, "opening the file", error))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.error(name, "looking at it", error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            _ => Err(self.unsafe_target(name, "not a regular file")),
        }
    }

    /// Opens a file that its owner, the caller, has forbidden himself to read; it is readable for a moment.
    fn open_own_unreadable(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let named = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&named)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::ACCESS);
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        chmod_named(named.as_fd(), mode | Mode::RUSR)?;
        let opened = rustix::fs::openat(&self.fd, name, OFlags::RDONLY | OPEN_FILE, Mode::empty());
        chmod_named(named.as_fd(), mode)?;
        opened
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

/// Sets the permissions of what a descriptor only names.
pub(super) fn chmod_named(named: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", named.as_raw_fd()), mode)
}
