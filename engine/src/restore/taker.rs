//! What is restored without a target: the same way, into whatever takes it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Result;
use crate::format::tree::Entry;

/// What a file's content is written to: in any order, by many threads at once. What is not written is zeros.
pub trait Output: Sync {
    /// Is told the length before anything is written, where it may have holes or is long.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Takes bytes that begin at `at`.
    ///
    /// # Errors
    /// What the system says.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
}

impl Output for File {
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }
}

/// Takes the files of a restore in place of a target folder. Many threads call it at once.
pub trait Taker: Sync {
    /// Takes a file, of whose content `data_bytes` are not holes, by giving `write` something to write it to; or leaves it.
    ///
    /// # Errors
    /// Whatever becomes the restore's warning of this file, most often what `write` returned.
    fn take(
        &self,
        path: &Path,
        entry: &Entry,
        data_bytes: u64,
        write: &dyn Fn(&dyn Output) -> Result<()>,
    ) -> Result<()>;
}
