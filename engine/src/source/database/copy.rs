//! Copies of a database and what lies beside it, in slices.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::base::CancelToken;
use crate::base::limits::MIB;
use crate::source::database::NotCaptured;
use crate::source::database::beside::{JOURNAL_MAGIC, SUFFIXES};

/// After so many bytes it is asked whether to go on.
const SLICE_BYTES: usize = MIB;
/// What has to stay free beside a copy, in bytes.
const SPARE_BYTES: u64 = 16 << 20;
/// The longest name of a super-journal, in bytes.
const SUPER_NAME_BYTES_MAX: u64 = 4096;

/// A folder for one copy and what SQLite puts beside it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(above: &Path) -> io::Result<Self> {
        if !above.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        }
        // The system's folder for temporary files is everybody's: a name that nobody can know, and nothing there before.
        let path = above.join(format!("daykeep-capture-{:016x}", u64::from_le_bytes(crate::crypt::random()?)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join("database")
    }

    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        path_beside(&self.database(), suffix)
    }

    /// Removes what a try left.
    pub(super) fn empty(&self) {
        let _ = fs::remove_file(self.database());
        for suffix in SUFFIXES {
            let _ = fs::remove_file(self.beside(suffix));
        }
    }

    /// Refuses what there is no room for, before the disk is filled.
    pub(super) fn check_space(&self, bytes: u64) -> Result<(), NotCaptured> {
        let disk = rustix::fs::statvfs(&self.0).map_err(io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= bytes.saturating_add(SPARE_BYTES) {
            return Ok(());
        }
        let folder = self.0.parent().unwrap_or(&self.0).display();
        let why = format!("the copy needs {bytes} bytes and {folder} has {free} left; free some space there");
        Err(NotCaptured::Why(why))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the next backup begins.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the path of what is called like the file at `path` with a further ending.
pub fn path_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Calls `take` with each slice of a file, up to `bytes` bytes of it.
fn each_slice(
    file: &File,
    bytes: u64,
    cancel: &CancelToken,
    take: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> Result<(), NotCaptured> {
    let mut buffer = vec![0; SLICE_BYTES.min(usize::try_from(bytes).unwrap_or(SLICE_BYTES))];
    let mut at = 0;
    while at < bytes {
        if cancel.is_cancelled() {
            return Err(NotCaptured::Cancelled);
        }
        let wanted = usize::try_from(bytes - at).unwrap_or(SLICE_BYTES).min(buffer.len());
        match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => break,
            Ok(count) => {
                take(&buffer[..count], at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies a file as long as it is when this begins, and returns the hash of what was read.
pub(super) fn copy(from: &File, to: &Path, cancel: &CancelToken) -> Result<blake3::Hash, NotCaptured> {
    let bytes = from.metadata()?.len();
    let out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut hasher = blake3::Hasher::new();
    each_slice(from, bytes, cancel, &mut |slice, at| {
        hasher.update(slice);
        // What is not written stays a hole.
        if slice.iter().any(|&byte| byte != 0) { out.write_all_at(slice, at) } else { Ok(()) }
    })?;
    out.set_len(bytes.min(from.metadata()?.size()))?;
    Ok(hasher.finalize())
}

/// Returns the hash of a file.
pub(super) fn hash(file: &File, cancel: &CancelToken) -> Result<blake3::Hash, NotCaptured> {
    let mut hasher = blake3::Hasher::new();
    each_slice(file, file.metadata()?.len(), cancel, &mut |slice, _| {
        hasher.update(slice);
        Ok(())
    })?;
    Ok(hasher.finalize())
}

/// Looks at the copy of a journal before SQLite does, and returns whether there is anything to roll back by it; then the
/// database is to have `bytes_max` bytes at most.
///
/// A transaction over several databases ends its journal with the name of a super-journal, and is over as soon as that is
/// gone. SQLite would remove a super-journal that nobody refers to, wherever its name leads: so no name is left to it.
pub(super) fn prepare_journal(journal: &Path, bytes_max: u64) -> Result<bool, NotCaptured> {
    let file = File::options().read(true).write(true).open(journal)?;
    let mut head = [0; 28];
    let bytes = file.metadata()?.len();
    if bytes < head.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut head, 0)?;
    let number = |at: usize| u64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    if number(16).saturating_mul(number(24)) > bytes_max {
        return Err(too_long("journal"));
    }
    let Some(super_journal) = super_journal(&file, bytes)? else { return Ok(true) };
    file.write_all_at(&[0; JOURNAL_MAGIC.len()], bytes - JOURNAL_MAGIC.len() as u64)?;
    Ok(fs::symlink_metadata(super_journal).is_ok())
}

/// Returns the name of the super-journal at the end of a journal of `bytes` bytes: name, its length, a sum of its bytes,
/// the magic.
fn super_journal(file: &File, bytes: u64) -> io::Result<Option<PathBuf>> {
    let mut tail = [0; 16];
    let Some(end) = bytes.checked_sub(tail.len() as u64) else { return Ok(None) };
    file.read_exact_at(&mut tail, end)?;
    let length = u64::from(u32::from_be_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if tail[8..] != JOURNAL_MAGIC || length == 0 || length > SUPER_NAME_BYTES_MAX.min(end) {
        return Ok(None);
    }
    let mut name = vec![0; length as usize];
    file.read_exact_at(&mut name, end - length)?;
    Ok(Some(OsString::from_vec(name).into()))
}

/// Makes the error for a log or journal that names more pages than there can be.
pub(super) fn too_long(what: &str) -> NotCaptured {
    NotCaptured::Why(format!(
        "its {what} names more pages than all its files have; it is damaged or made to fill a disk"
    ))
}
