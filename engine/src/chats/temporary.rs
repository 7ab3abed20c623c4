//! A database's bytes in a file of its own, for SQLite to open.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::base::limits::MIB;
use crate::base::{CancelToken, ShortId};
use crate::chunks::ChunkReader;
use crate::crypt::random;
use crate::error::{Error, Result};
use crate::format::content::{Content, Part};
use crate::format::index::ChunkKind;
use crate::repo::{Repository, no_random};
use crate::tree;

/// So much is read at once, on all cores: what deltas stand on lies here and there.
const RUN_BYTES: u64 = 16 * MIB as u64;
const NAME: (&str, &str) = ("chats-", ".db");

/// A file that only its owner can read, gone when dropped. While there is one it is locked, so that what a killed
/// process left can be told from what a living one needs.
pub struct TemporaryFile {
    path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// Writes `content` to a new file in the cache directory, or in the system's folder for temporary files if the
    /// repository has none.
    ///
    /// # Errors
    /// `LimitExceeded` if it would not fit there, `File`, `Cancelled`, or damage.
    pub fn of(repository: &Repository, reader: &ChunkReader, content: &Content, cancel: &CancelToken) -> Result<Self> {
        let mut made = Self::empty(repository, content.bytes())?;
        made.write(reader, content, cancel)?;
        Ok(made)
    }

    /// Makes an empty one, in a place with room for `bytes` bytes.
    ///
    /// # Errors
    /// `LimitExceeded` if there is no such room, or `File`.
    pub fn empty(repository: &Repository, bytes: u64) -> Result<Self> {
        let folder = match &repository.cache_dir {
            Some(folder) => {
                remove_leftovers(folder);
                folder.clone()
            }
            None => std::env::temp_dir(),
        };
        check_fits(&folder, bytes)?;
        Self::create(&folder)
    }

    /// Returns the file, open for writing.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn create(folder: &Path) -> Result<Self> {
        let number = u128::from_le_bytes(random().map_err(no_random)?);
        let path = folder.join(format!("{}{number:032x}{}", NAME.0, NAME.1));
        let failed = |source| Error::File { path: path.clone(), action: "make a temporary file", source };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        // Where locks are not to be had, the worst is that another process takes this file for a leftover.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { path, file })
    }

    fn write(&mut self, reader: &ChunkReader, content: &Content, cancel: &CancelToken) -> Result<()> {
        let (mut run, mut run_bytes) = (Vec::new(), 0);
        tree::for_each_part(reader, content, &mut |part| match part {
            Part::Chunk { id, bytes } => {
                run.push((id, bytes));
                run_bytes += bytes;
                if run_bytes < RUN_BYTES {
                    return Ok(());
                }
                run_bytes = 0;
                self.write_run(reader, &mut run, cancel)
            }
            Part::Hole { bytes } => {
                run_bytes = 0;
                self.write_run(reader, &mut run, cancel)?;
                io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut self.file)
                    .map(drop)
                    .map_err(|source| self.failed(source))
            }
        })?;
        self.write_run(reader, &mut run, cancel)
    }

    fn write_run(&mut self, reader: &ChunkReader, run: &mut Vec<(ShortId, u64)>, cancel: &CancelToken) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut bytes = Vec::new();
        reader.read_run(run, ChunkKind::Data, &mut bytes)?;
        run.clear();
        self.file.write_all(&bytes).map_err(|source| self.failed(source))
    }

    /// Returns the error for something that failed with the file.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::File { path: self.path.clone(), action: "write the database to a temporary file", source }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // There is nobody to tell; the next one to look here removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Refuses what the file system of `folder` has no room for, before it is filled.
fn check_fits(folder: &Path, bytes: u64) -> Result<()> {
    let failed = |source: rustix::io::Errno| Error::File {
        path: folder.to_owned(),
        action: "see how much room there is",
        source: source.into(),
    };
    let disk = statvfs(folder).map_err(failed)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if bytes <= free {
        return Ok(());
    }
    let reason = format!("has room for {free} bytes, but the database has {bytes}; free some, or use --cache-dir");
    Err(Error::LimitExceeded { object: folder.display().to_string(), reason })
}

/// Removes the files of processes that were killed.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        if is_ours
            && let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
