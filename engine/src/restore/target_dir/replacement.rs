//! A file that takes the place of another once it is whole.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::Error;

/// Tells the temporary names of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

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
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let process = rustix::process::getpid().as_raw_nonzero();
            let temporary = format!(".daykeep-{process:x}-{number:x}.part").into_bytes();
            // A run that was killed may have left a file of this name; then the next number is tried.
            if let Some(file) = self.create_file(&temporary)? {
                return Ok(Replacement { dir: self, name: name.to_vec(), temporary, file, committed: false });
            }
        }
    }
}

impl Replacement<'_> {
    /// Returns the new file, to be written and given its metadata before it is committed.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts the new file in the place of the old one, in one step. What stood there goes, be it a symbolic link; what
    /// that points to stays.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if a directory is in the way; the new file is removed then.
    pub fn commit(mut self) -> Result<(), Error> {
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
        if !self.committed {
            // Nobody is left to tell if this fails; the name says whose file it was.
            let _ = unlinkat(self.dir.fd(), self.temporary.as_slice(), AtFlags::empty());
        }
    }
}
