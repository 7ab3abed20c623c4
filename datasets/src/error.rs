//! What can go wrong while data sets are written and checked.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate; its message names the object and says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}; check that it exists, that you may access it and that the disk has space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file already where one is to be made.
    #[error("{}: exists already; name another one or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A database could not be read or written.
    #[error("{}: {source}; if it was not made by this program or was changed since, make it anew", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The target of a data set holds something already.
    #[error("{}: is not an empty folder; name another one or empty it first", path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// An object cannot be part of a data set, or is not what is expected.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The object.
        path: PathBuf,
        /// Why, and what to do next.
        reason: String,
    },
}

impl Error {
    /// Returns what turns an error of the system at `path` into one of this crate.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => Error::Io { path: path.to_owned(), source },
        }
    }

    /// Returns what turns an error of SQLite at `path` into one of this crate.
    pub fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
        move |source| Error::Database { path: path.to_owned(), source }
    }

    /// Returns an error that says why `path` is refused and what to do next.
    pub fn refused(path: &Path, reason: impl Into<String>) -> Error {
        Error::Refused { path: path.to_owned(), reason: reason.into() }
    }
}
