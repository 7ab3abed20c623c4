//! What takes the place of something else once it is whole.

use std::fs::File;

use rustix::fs::{AtFlags, FlockOperation, fstat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::Error;
use crate::source::{FileKind, Stat};

/// Something new under a temporary name, in the directory of what it is to replace: a `File`, or whatever else has a name.
/// Dropped without [`commit`](Self::commit), it is removed and the old one stays.
#[derive(Debug)]
pub struct Replacement<'a, T> {
    dir: &'a TargetDir,
    name: Vec<u8>,
    temporary: Vec<u8>,
    /// Device and inode.
    id: (u64, u64),
    new: T,
}

impl TargetDir {
    /// Begins a file that replaces `name` when it is whole; until then the old one stays.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn create_replacement(&self, name: &[u8]) -> Result<Replacement<'_, File>, Error> {
        self.replacement(name, |temporary| {
            let Some(file) = self.create_file(temporary)? else { return Ok(None) };
            // Where there are no such locks, what is left stays.
            let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            let stat = fstat(&file).map_err(|error| self.error(name, "looking at the file just made", error))?;
            Ok(Some((Stat::of(&stat).identity(), file)))
        })
    }

    /// Makes something other than a new file that replaces `name`; until it is committed the old one stays. `make` makes
    /// it under the name that it is given, or returns `false` if something of that name is there.
    ///
    /// # Errors
    /// What `make` returns, and [`Error::File`] for what the system refuses.
    pub fn make_replacement(
        &self,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<Replacement<'_, ()>, Error> {
        self.replacement(name, |temporary| {
            let found = if make(temporary)? { self.stat(temporary)? } else { None };
            Ok(found.map(|found| (found.identity(), ())))
        })
    }

    fn replacement<T>(
        &self,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<Option<((u64, u64), T)>, Error>,
    ) -> Result<Replacement<'_, T>, Error> {
        self.check(name)?;
        // Of the name, so that what a run left that was killed is found by the next that replaces the same file.
        let hash = blake3::hash(name).to_hex();
        for number in 0u64.. {
            let temporary = format!(".daykeep-{}-{number:x}.part", &hash[..16]).into_bytes();
            let mut made = make(&temporary)?;
            if made.is_none() && self.is_left(&temporary) {
                self.remove_non_dir(&temporary)?;
                made = make(&temporary)?;
            }
            if let Some((id, new)) = made {
                let new = Replacement { dir: self, name: name.to_vec(), temporary, id, new };
                // Another restore may have taken it for what is left, before it was locked.
                if new.has_its_name() {
                    return Ok(new);
                }
            }
        }
        Err(self.error(name, "finding a temporary name beside it", Errno::EXIST))
    }

    /// Returns whether nobody is at work with what has a temporary name: who writes a file holds a lock on it, and anything
    /// else has such a name for a moment only.
    fn is_left(&self, temporary: &[u8]) -> bool {
        match self.stat(temporary) {
            Ok(Some(Stat { kind: FileKind::File, .. })) => {
                let opened = self.open_for_read(temporary);
                opened.is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
            }
            Ok(Some(found)) => found.kind != FileKind::Directory,
            _ => false,
        }
    }
}

impl Replacement<'_, File> {
    /// Returns the new file, to be written and given its metadata before it is committed.
    pub fn file(&self) -> &File {
        &self.new
    }
}

impl<T> Replacement<'_, T> {
    /// Returns the temporary name, by which it is given its metadata before it is committed.
    pub fn temporary(&self) -> &[u8] {
        &self.temporary
    }

    /// Returns whether the temporary name is still the one of what was made.
    fn has_its_name(&self) -> bool {
        let named = statat(self.dir.fd(), self.temporary.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        named.is_ok_and(|named| Stat::of(&named).identity() == self.id)
    }

    /// Puts the new one in the place of the old one, in one step. What stood there goes, be it a symbolic link; what that
    /// points to stays.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if a directory is in the way, or the new one is no longer there; it is removed then.
    pub fn commit(self) -> Result<(), Error> {
        if !self.has_its_name() {
            let reason = "another restore works on the same file: run one after the other";
            return Err(self.dir.unsafe_target(&self.name, reason));
        }
        match renameat(self.dir.fd(), self.temporary.as_slice(), self.dir.fd(), self.name.as_slice()) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR) => {
                let reason = "a folder is where a file is to be: remove it, or choose an empty target";
                Err(self.dir.unsafe_target(&self.name, reason))
            }
            Err(error) => Err(self.dir.error(&self.name, "putting the new file in its place", error)),
        }
    }
}

impl<T> Drop for Replacement<'_, T> {
    fn drop(&mut self) {
        // It has that name after a commit too if old and new are one file: then the system renames nothing.
        if self.has_its_name() {
            // Nobody is left to tell if this fails; the name says whose file it was.
            let _ = unlinkat(self.dir.fd(), self.temporary.as_slice(), AtFlags::empty());
        }
    }
}
