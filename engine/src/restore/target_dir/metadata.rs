//! Owner, attributes, permissions and times, in the one order in which none undoes another.
//!
//! Changing the owner clears set-id bits and file capabilities, so it comes first. Attributes need the right to write,
//! which the permissions may take away, and an ACL changes the permissions, so attributes come before those. All of it
//! leaves traces in the times, which come last.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::TargetDir;
use super::dir::chmod_named;
use super::owners::{LocalOwners, OwnerNumbers};
use crate::error::Error;
use crate::format::tree::{Metadata, Timestamp, Tree};
use crate::source::Stat;

/// Something about an entry that is not as it was; the entry itself is restored.
#[derive(Debug)]
pub struct Problem {
    /// What is not restored, such as `the owner` or `the attribute user.comment`.
    pub what: String,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be restored: {}", self.what, self.source)
    }
}

/// What a file has that was just made: what need not be set again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    uid: u32,
    gid: u32,
    mode: u16,
}

impl Fresh {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { uid: stat.metadata.uid, gid: stat.metadata.gid, mode: stat.metadata.mode }
    }
}

/// The set-user-id and set-group-id bits.
const SET_ID_BITS: u16 = 0o6000;

/// Applies metadata to what was restored. One for a whole restore, used by all its threads.
#[derive(Debug)]
pub struct Applier {
    numeric_owner: bool,
    set_id: bool,
    user: u32,
    group: u32,
    numbers: OwnerNumbers,
}

impl Applier {
    /// Begins for the calling user. Owners go by name where the name exists here, or by number if `numeric_owner`;
    /// unless root restores, everything belongs to the caller. Set-id bits come only with root or `set_id`.
    pub fn new(numeric_owner: bool, set_id: bool) -> Self {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { numeric_owner, set_id, user, group, numbers: OwnerNumbers::default() }
    }

    fn is_root(&self) -> bool {
        self.user == 0
    }

    /// Returns what the owners named in `tree` are here, for all entries of that tree.
    pub fn local_owners(&self, tree: &Tree) -> LocalOwners {
        if self.numeric_owner || !self.is_root() { LocalOwners::default() } else { self.numbers.of(tree) }
    }

    /// Returns whether what was `found` belongs to whom it would belong if it were restored.
    pub fn is_owner(&self, found: &Metadata, wanted: &Metadata, owners: &LocalOwners) -> bool {
        if self.is_root() {
            (found.uid, found.gid) == (owners.user(wanted.uid), owners.group(wanted.gid))
        } else {
            found.uid == self.user
        }
    }

    /// Applies metadata to a file that [`create_file`](TargetDir::create_file) or a replacement made in `dir`, and that
    /// is written. Saves the calls that would set what such a file has anyway.
    pub fn new_file(&self, dir: &TargetDir, file: &File, meta: &Metadata, owners: &LocalOwners) -> Vec<Problem> {
        self.apply_open(file.as_fd(), dir.fresh(file), false, meta, owners)
    }

    /// Applies metadata to a directory in which nothing is to be made any more. `owners` are those of the tree that has
    /// it as an entry.
    pub fn dir(&self, dir: &TargetDir, meta: &Metadata, owners: &LocalOwners) -> Vec<Problem> {
        self.apply_open(dir.fd(), None, true, meta, owners)
    }

    /// Applies metadata to a symbolic link, pipe or device that was made in `dir`.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if `name` is no single path component.
    pub fn other(
        &self,
        dir: &TargetDir,
        name: &[u8],
        meta: &Metadata,
        owners: &LocalOwners,
        is_symlink: bool,
    ) -> Result<Vec<Problem>, Error> {
        dir.check(name)?;
        let mut problems = Vec::new();
        let fd = dir.fd();
        let owned = self.set_owner(&mut problems, None, meta, owners, |user, group| {
            rustix::fs::chownat(fd, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
        });
        if !is_symlink || !meta.xattrs.is_empty() {
            // No call takes a directory and a name before Linux 6.13, so the path leads through /proc.
            let path = [format!("/proc/self/fd/{}/", fd.as_raw_fd()).as_bytes(), name].concat();
            if !is_symlink {
                remove_acls(meta, |name| rustix::fs::lremovexattr(path.as_slice(), name));
            }
            self.set_xattrs(&mut problems, meta, |name, value| {
                rustix::fs::lsetxattr(path.as_slice(), name, value, XattrFlags::empty())
            });
        }
        if !is_symlink {
            let mode = self.restored_mode(&mut problems, meta.mode, owned);
            note(&mut problems, "the permissions", chmod_unfollowed(fd, name, mode));
        }
        let times = timestamps(meta.mtime);
        let set = rustix::fs::utimensat(fd, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        note(&mut problems, "the time of change", set);
        Ok(problems)
    }

    fn apply_open(
        &self,
        fd: BorrowedFd<'_>,
        fresh: Option<Fresh>,
        is_dir: bool,
        meta: &Metadata,
        owners: &LocalOwners,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let owned =
            self.set_owner(&mut problems, fresh, meta, owners, |user, group| rustix::fs::fchown(fd, user, group));
        if fresh.is_none() {
            // What was there before, or was made where a default ACL holds, may let in whom the snapshot does not.
            remove_acls(meta, |name| rustix::fs::fremovexattr(fd, name));
        }
        self.set_xattrs(&mut problems, meta, |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()));
        // On a directory the bits only say which group new files in it belong to.
        let mode = if is_dir { meta.mode } else { self.restored_mode(&mut problems, meta.mode, owned) };
        // An ACL among the attributes has changed the permissions of a fresh file too.
        if fresh.is_none_or(|fresh| fresh.mode != mode || !meta.xattrs.is_empty()) {
            note(&mut problems, "the permissions", rustix::fs::fchmod(fd, Mode::from_raw_mode(u32::from(mode))));
        }
        note(&mut problems, "the time of change", rustix::fs::futimens(fd, &timestamps(meta.mtime)));
        problems
    }

    /// Sets the owner if root restores. Returns whether the file now belongs to whom it belonged.
    fn set_owner(
        &self,
        problems: &mut Vec<Problem>,
        fresh: Option<Fresh>,
        meta: &Metadata,
        owners: &LocalOwners,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> bool {
        let (user, group) = (owners.user(meta.uid), owners.group(meta.gid));
        if fresh.is_some_and(|fresh| (fresh.uid, fresh.gid) == (user, group)) {
            return true;
        }
        if !self.is_root() {
            return fresh.is_none() && (user, group) == (self.user, self.group);
        }
        // The greatest number means "leave it" to the system and is nobody's.
        let user = (user != u32::MAX).then(|| Uid::from_raw(user));
        let group = (group != u32::MAX).then(|| Gid::from_raw(group));
        let known = user.is_some() && group.is_some();
        note(problems, "the owner", chown(user, group)) && known
    }

    /// Returns the permissions to set: without the set-id bits if the file belongs to another than it did, who would lend
    /// his own rights to everyone who runs it. A user's number may be anybody's in somebody else's repository, so it proves
    /// nothing unless the user says so.
    fn restored_mode(&self, problems: &mut Vec<Problem>, mode: u16, owned: bool) -> u16 {
        if mode & SET_ID_BITS == 0 || owned && (self.is_root() || self.set_id) {
            return mode & 0o7777;
        }
        let reason = if owned {
            "only root gives it back, unless --set-id says that the snapshot is to be trusted"
        } else {
            "the file does not belong to its former owner and group"
        };
        let source = io::Error::new(io::ErrorKind::PermissionDenied, reason);
        problems.push(Problem { what: "the set-user-id or set-group-id bit".to_owned(), source });
        mode & 0o7777 & !SET_ID_BITS
    }

    fn set_xattrs(
        &self,
        problems: &mut Vec<Problem>,
        meta: &Metadata,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) {
        for xattr in &meta.xattrs {
            let result = set(&xattr.name, &xattr.value);
            // Labels and capabilities are root's to give, like owners; that others do not get them is no news.
            let is_roots = xattr.name.starts_with(b"security.") || xattr.name.starts_with(b"trusted.");
            if let Err(error) = result
                && (self.is_root() || !is_roots)
            {
                let what = format!("the attribute {}", String::from_utf8_lossy(&xattr.name));
                problems.push(Problem { what, source: error.into() });
            }
        }
    }
}

/// Removes the ACLs that are not among the attributes to set. Most often there are none.
fn remove_acls(meta: &Metadata, remove: impl Fn(&[u8]) -> Result<(), Errno>) {
    for name in [b"system.posix_acl_access".as_slice(), b"system.posix_acl_default"] {
        if meta.xattrs.iter().all(|xattr| xattr.name != name) {
            let _ = remove(name);
        }
    }
}

/// Returns whether it worked, and notes if it did not.
fn note(problems: &mut Vec<Problem>, what: &str, result: Result<(), Errno>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            problems.push(Problem { what: what.to_owned(), source: error.into() });
            false
        }
    }
}

/// Keeps the time of last access, which a snapshot does not have.
fn timestamps(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// Sets the permissions of `name` itself. The call that would not follow a link came with Linux 6.6, so the very file is
/// held by a descriptor that only names it, and changed through that.
fn chmod_unfollowed(dir: BorrowedFd<'_>, name: &[u8], mode: u16) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    chmod_named(held.as_fd(), Mode::from_raw_mode(u32::from(mode)))
}
