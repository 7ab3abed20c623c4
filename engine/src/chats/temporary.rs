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
use crate::source::database::{self, NotCaptured};
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
        let made = Self::empty(repository, content.bytes())?;
        let out = made.file.try_clone().map_err(|source| made.failed(source))?;
        made.write(out, reader, content, cancel)?;
        Ok(made)
    }

    /// Writes what was saved beside the database, and lets SQLite bring it into that.
    ///
    /// # Errors
    /// As [`of`](Self::of); `Database`, under the name `name`, if SQLite cannot do that.
    pub fn bring_in(
        &self,
        reader: &ChunkReader,
        beside: &[(&'static str, Content)],
        name: &[u8],
        cancel: &CancelToken,
    ) -> Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path).to_owned();
        for (suffix, content) in beside {
            // It is brought into the database, which may double what is taken.
            check_fits(&folder, content.bytes().saturating_mul(2))?;
            let path = database::path_beside(&self.path, suffix);
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(|source| self.failed(source))?;
            let out = file.try_clone().map_err(|source| self.failed(source))?;
            self.write(out, reader, content, cancel)?;
            // A user's file may be called so.
            if !database::is_companion(suffix.as_bytes(), &file).map_err(|source| self.failed(source))? {
                std::fs::remove_file(&path).map_err(|source| self.failed(source))?;
            }
        }
        match database::settle(&self.path, cancel) {
            Ok(()) => Ok(()),
            Err(NotCaptured::Cancelled) => Err(Error::Cancelled),
            Err(NotCaptured::Why(why)) => {
                let path = String::from_utf8_lossy(name).into_owned();
                let reason = format!("what was saved beside it cannot be brought into it: {why}");
                Err(Error::Database { path, reason })
            }
        }
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

    fn write(&self, mut out: File, reader: &ChunkReader, content: &Content, cancel: &CancelToken) -> Result<()> {
        let (mut run, mut run_bytes) = (Vec::new(), 0);
        tree::for_each_part(reader, content, &mut |part| match part {
            Part::Chunk { id, bytes } => {
                run.push((id, bytes));
                run_bytes += bytes;
                if run_bytes < RUN_BYTES {
                    return Ok(());
                }
                run_bytes = 0;
                self.write_run(&mut out, reader, &mut run, cancel)
            }
            Part::Hole { bytes } => {
                run_bytes = 0;
                self.write_run(&mut out, reader, &mut run, cancel)?;
                io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut out)
                    .map(drop)
                    .map_err(|source| self.failed(source))
            }
        })?;
        self.write_run(&mut out, reader, &mut run, cancel)
    }

    fn write_run(
        &self,
        out: &mut File,
        reader: &ChunkReader,
        run: &mut Vec<(ShortId, u64)>,
        cancel: &CancelToken,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut bytes = Vec::new();
        reader.read_run(run, ChunkKind::Data, &mut bytes)?;
        run.clear();
        out.write_all(&bytes).map_err(|source| self.failed(source))
    }

    /// Returns the error for something that failed with the file.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::File { path: self.path.clone(), action: "write the database to a temporary file", source }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // There is nobody to tell; the next one to look here removes it.
        remove(&self.path);
    }
}

/// Removes a file and what SQLite made beside it.
fn remove(path: &Path) {
    for suffix in database::SUFFIXES {
        let _ = std::fs::remove_file(database::path_beside(path, suffix));
    }
    let _ = std::fs::remove_file(path);
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
            remove(&entry.path());
        }
    }
}
