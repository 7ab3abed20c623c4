//! Where a repository lies, as users write it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result, StoreError};
use crate::store::{Access, DirectoryStore, RedbStore, Store};

/// A place for a repository: one redb file, or a directory of objects. Other kinds may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// One redb file that holds everything.
    File(PathBuf),
    /// A directory with a file for each object.
    Directory(PathBuf),
}

impl Location {
    /// Reads a place as the command line takes it: a path that ends in `/` or names an existing directory is a
    /// directory, any other path is a file.
    ///
    /// # Errors
    /// `InvalidOption` for an empty text and for a URL, which no store here understands yet.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |reason: String| Err(Error::InvalidOption { option: "repository", reason });
        if text.is_empty() {
            return refused("the path is empty; name a file such as photos.redb, or a directory".into());
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return refused(format!("{text}: stores of the kind {scheme} are not supported; name a local path"));
        }
        let path = PathBuf::from(text);
        let is_directory = text.ends_with('/') || path.is_dir();
        Ok(if is_directory { Self::Directory(path) } else { Self::File(path) })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }

    pub(crate) fn create(&self, cache_bytes: usize) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::File(path) => Arc::new(RedbStore::create(path, cache_bytes)?),
            Self::Directory(path) => Arc::new(DirectoryStore::create(path)?),
        })
    }

    pub(super) fn open(&self, access: Access, cache_bytes: usize) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::File(path) => Arc::new(RedbStore::open(path, access, cache_bytes)?),
            Self::Directory(path) => Arc::new(DirectoryStore::open(path, access)?),
        })
    }

    /// Takes away a store that was made just now and could not be filled, so that the next try finds the place free.
    pub(crate) fn remove_new(&self) {
        // If that fails too, the first error is the one to tell.
        let _ = match self {
            Self::File(path) => std::fs::remove_file(path),
            Self::Directory(path) => std::fs::remove_dir_all(path),
        };
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}
