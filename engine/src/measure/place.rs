//! The temporary folder: where it goes, that there is room for it, and that it is gone afterwards.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::crypt::random;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::repo::Location;

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, action, source }
}

/// A folder that only the user may look into, and that is removed with all that is in it when this is dropped.
pub(super) struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    /// Makes a new folder in `parent`.
    ///
    /// # Errors
    /// `File` if it cannot be made.
    pub fn create(parent: &Path) -> Result<Self> {
        let tail = random().map(u64::from_le_bytes).map_err(failed(parent, "ask the system for a random name"))?;
        let path = parent.join(format!(".daykeep-benchmark-{tail:016x}"));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path, "make a temporary folder"))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Nobody is left to be told; the name says whose it is.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Returns the folder on whose disk the stores are measured: the one that the repository lies in.
///
/// # Errors
/// `File` if it is not there; `InvalidOption` if the repository is a file system's uppermost folder, beside which nothing
/// lies on the same disk.
pub(super) fn beside(location: Option<&Location>) -> Result<PathBuf> {
    let Some(location) = location else { return Ok(std::env::temp_dir()) };
    let action = "find the repository's disk there";
    let path = match location.path().canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(location.path()).map_err(failed(location.path(), action))?
        }
        Err(source) => return Err(failed(location.path(), action)(source)),
    };
    let parent = path.parent().unwrap_or(&path);
    let folder = parent.metadata().map_err(failed(parent, action))?;
    if path.metadata().is_ok_and(|own| own.dev() != folder.dev()) || path == parent {
        let reason = format!(
            "{}: is the uppermost folder of a disk, and nothing is written into a repository; name a place on that disk \
             that has a folder above it",
            path.display()
        );
        return Err(Error::InvalidOption { option: "repository", reason });
    }
    Ok(parent.to_owned())
}

/// Checks that `bytes` bytes are free below `folder`.
///
/// # Errors
/// `NoSpace` if not; `File` if the system does not tell.
pub(super) fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    let told =
        rustix::fs::statvfs(folder).map_err(|error| failed(folder, "ask how much space is free")(error.into()))?;
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let message = format!(
        "the measurement needs {} MiB for a moment and {} MiB are free; make room there, or name a repository on another \
         disk",
        bytes >> 20,
        free >> 20
    );
    Err(StoreError::new(StoreErrorKind::NoSpace, folder.display(), message).into())
}
