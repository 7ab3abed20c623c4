//! A file that takes the place of another once it is whole.

use std::fs::File;

use rustix::fs::{AtFlags, FlockOperation, fstat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::Error;

/// A new file under a temporary name, in the directory of the file it is to replace. Dropped without
/// [`commit`](Self::commit), it is removed and the old file stays.
#[derive(Debug)]
pub struct Replacement<'a> {
    dir: &'a TargetDir,
    name: Vec<u8>,
    temporary: Vec<u8>,
    file: File,
    committed: bool,
}

impl TargetDir {
    /// Begins a file that replaces `name` when it is whole; until then the old one stays.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn create_replacement(&self, name: &[u8]) -> Result<Replacement<'_>, Error> {
        self.check(name)?;
        // Of the name, so that what a run left that was killed is found by the next that replaces the same file.
        let hash = blake3::hash(name).to_hex();
        for number in 0u64.. {
            let temporary = format!(".daykeep-{}-{number:x}.part", &hash[..16]).into_bytes();
            let mut made = self.create_file(&temporary)?;
            if made.is_none() && self.is_left(&temporary) {
                self.remove_non_dir(&temporary)?;
                made = self.create_file(&temporary)?;
            }
            if let Some(file) = made {
                // Where there are no such locks, what is left stays.
                let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                let new = Replacement { dir: self, name: name.to_vec(), temporary, file, committed: false };
                // Another restore may have taken it for what is left, before it was locked.
                if new.has_its_name() {
                    return Ok(new);
                }
            }
        }
        Err(self.error(name, "finding a temporary name beside it", Errno::EXIST))
    }

    /// Returns whether nobody writes a temporary file any more: its writer holds a lock on it.
    fn is_left(&self, temporary: &[u8]) -> bool {
        let opened = self.open_for_read(temporary);
        opened.is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    }
}

impl Replacement<'_> {
    /// Returns the new file, to be written and given its metadata before it is committed.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether the temporary name is still this file's.
    fn has_its_name(&self) -> bool {
        let named = statat(self.dir.fd(), self.temporary.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(&self.file);
        named.is_ok_and(|named| own.is_ok_and(|own| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)))
    }

    /// Puts the new file in the place of the old one, in one step. What stood there goes, be it a symbolic link; what
    /// that points to stays.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if a directory is in the way, or the new file is no longer there; it is removed then.
    pub fn commit(mut self) -> Result<(), Error> {
        if !self.has_its_name() {
            let reason = "another restore works on the same file: run one after the other";
            return Err(self.dir.unsafe_target(&self.name, reason));
        }
        match renameat(self.dir.fd(), self.temporary.as_slice(), self.dir.fd(), self.name.as_slice()) {
            Ok(()) => {
                self.committed = true;
                Ok(())
            }
            Err(Errno::ISDIR) => {
                let reason = "a folder is where a file is to be: remove it, or choose an empty target";
                Err(self.dir.unsafe_target(&self.name, reason))
            }
            Err(error) => Err(self.dir.error(&self.name, "putting the new file in its place", error)),
        }
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.committed && self.has_its_name() {
            // Nobody is left to tell if this fails; the name says whose file it was.
            let _ = unlinkat(self.dir.fd(), self.temporary.as_slice(), AtFlags::empty());
        }
    }
}
