//! Flags of inodes, as `chattr` sets them. What forbids changes comes at the very end.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use crate::base::lock;
use crate::restore::place::Trail;
use crate::restore::run::Restore;
use crate::restore::target_dir::{Opening, TargetDir};
use crate::source::{FileKind, inode_flags};

/// With these, a file could neither get its name nor another one, and nothing could be put into a folder.
const FORBIDDING: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Flags that are set when all else is done.
pub(super) struct LateFlags {
    trail: Arc<Trail>,
    /// Of a file; of the folder itself if it is empty.
    name: Vec<u8>,
    flags: u32,
}

impl Restore<'_> {
    /// Sets those flags of an open file or folder that forbid nothing. To be called while a file is empty: some can only be
    /// set then.
    pub fn set_flags(&self, file: impl AsFd, flags: u32) {
        self.note_flags(set(file, IFlags::from_bits_retain(flags).difference(FORBIDDING)));
    }

    /// Notes flags that forbid changes, if there are any, for the end.
    pub fn set_flags_later(&self, trail: impl FnOnce() -> Arc<Trail>, name: &[u8], flags: u32) {
        if IFlags::from_bits_retain(flags).intersects(FORBIDDING) {
            lock(&self.late_flags).push(LateFlags { trail: trail(), name: name.to_vec(), flags });
        }
    }

    /// Sets what was noted.
    pub fn set_late_flags(&self) {
        let Some(root) = &self.root else { return };
        for late in std::mem::take(&mut *lock(&self.late_flags)) {
            let outcome = match late.trail.open(root, Opening::Look) {
                Ok(Some(dir)) => set_late(&dir, &late),
                _ => Err(Errno::NOENT),
            };
            self.note_flags(outcome);
        }
    }

    fn note_flags(&self, outcome: Result<(), Errno>) {
        if let Err(error) = outcome
            && self.flags_failed.fetch_add(1, Ordering::Relaxed) == 0
        {
            let reason = match error {
                Errno::PERM | Errno::ACCESS => "this takes root's rights",
                Errno::NOTTY | Errno::NOTSUP | Errno::INVAL => "the file system does not have them",
                _ => "the system refused",
            };
            let message = format!("flags of files (as chattr sets them) could not all be restored: {reason}: {error}");
            *lock(&self.flags_problem) = Some(message);
        }
    }
}

fn set_late(dir: &TargetDir, late: &LateFlags) -> Result<(), Errno> {
    let flags = IFlags::from_bits_retain(late.flags);
    if late.name.is_empty() {
        return set(dir.fd(), flags);
    }
    let is_file = matches!(dir.stat(&late.name), Ok(Some(found)) if found.kind == FileKind::File);
    let file = dir.open_for_read(&late.name).ok().filter(|_| is_file).ok_or(Errno::ACCESS)?;
    set(&file, flags)
}

/// Sets flags, and takes away others that a user may set. How the file system stores the file stays as it is.
fn set(file: impl AsFd, flags: IFlags) -> Result<(), Errno> {
    let there = ioctl_getflags(&file)?;
    let wanted = there.difference(IFlags::from_bits_retain(inode_flags(&file))).union(flags);
    if wanted == there { Ok(()) } else { ioctl_setflags(&file, wanted) }
}
