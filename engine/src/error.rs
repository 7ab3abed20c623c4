//! What can go wrong, in types: each error names its object and says what to do next.

use std::io;
use std::path::PathBuf;

use crate::base::{ObjectName, shown, shown_path};

/// What kind of trouble a store had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such object, or no such store.
    NotFound,
    /// There is already an object of this name, or already a store.
    AlreadyExists,
    /// Another process has the store open.
    InUse,
    /// The store can be read but not written.
    ReadOnly,
    /// There is no space left.
    NoSpace,
    /// The object is longer than anything of its kind may be.
    TooLarge,
    /// What was read is not what a store of this kind holds.
    Damaged,
    /// Any other failure of the system below.
    Io,
}

/// A store's failure.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {message}")]
pub struct StoreError {
    /// What kind of trouble it was.
    pub kind: StoreErrorKind,
    /// The object or file it is about.
    pub object: String,
    /// What happened, and what to do next.
    pub message: String,
    /// What the system below said, if it said anything.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Makes an error without a cause below it.
    pub fn new(kind: StoreErrorKind, object: impl ToString, message: impl Into<String>) -> Self {
        Self { kind, object: object.to_string(), message: message.into(), source: None }
    }

    /// Makes an error of the system's, with the kind that its code implies.
    pub fn from_io(object: impl ToString, doing: &str, source: io::Error) -> Self {
        let (kind, next) = match source.kind() {
            io::ErrorKind::NotFound => (StoreErrorKind::NotFound, ""),
            io::ErrorKind::AlreadyExists => (StoreErrorKind::AlreadyExists, ""),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (StoreErrorKind::NoSpace, "; free some space there and run the command again")
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                (StoreErrorKind::ReadOnly, "; check the permissions and that the file system is mounted for writing")
            }
            _ => (StoreErrorKind::Io, ""),
        };
        let message = format!("{doing}: {source}{next}");
        Self { kind, object: object.to_string(), message, source: Some(Box::new(source)) }
    }
}

/// Bytes that are not what the format says, at a place in an object. Rank 1 and 2 make these; the layers above add
/// the object's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: expected {expected}, found {found}")]
pub struct FormatError {
    /// Where, in bytes from the start of what was decoded.
    pub offset: u64,
    /// What the format demands there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

/// An operation's failure. Each names its object; the text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no repository at this place.
    #[error("{repository}: there is no repository here; make one with `init`, or check the path")]
    RepositoryNotFound {
        /// Where it was looked for.
        repository: String,
    },
    /// There is already something at the place where a repository was to be made.
    #[error("{repository}: there is already a repository or another file here; nothing was changed")]
    RepositoryExists {
        /// Where it was to be made.
        repository: String,
    },
    /// Another process has the repository open.
    #[error("{repository}: in use by another process; wait until it is done, or use --wait")]
    RepositoryInUse {
        /// Which repository.
        repository: String,
    },
    /// The repository was made by a later version.
    #[error("{repository}: has format version {found}, this program reads up to {supported}; use a newer daykeep")]
    NewerFormat {
        /// Which repository.
        repository: String,
        /// The version it has.
        found: u16,
        /// The newest version that is understood.
        supported: u16,
    },
    /// Neither password nor key opens any key slot.
    #[error("{repository}: wrong password or key: it opens none of the {slots} key slots")]
    WrongKey {
        /// Which repository.
        repository: String,
        /// How many slots were tried.
        slots: usize,
    },
    /// No password and no key was given where one is needed.
    #[error("{object}: not a usable key: {reason}")]
    InvalidKey {
        /// The key, its file or its slot.
        object: String,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// An object's bytes are not what was written.
    #[error(
        "{object}: damaged: {reason}; `daykeep check --read-data` shows what else is hurt, `daykeep repair --read-data` saves the rest"
    )]
    Damaged {
        /// The object.
        object: String,
        /// Where and how it differs.
        reason: String,
    },
    /// Something that is referred to is not in the repository.
    #[error("{object}: missing from the repository; run `check` to see which files are hurt")]
    Missing {
        /// What is missing.
        object: String,
    },
    /// A prune cannot tell what is still needed.
    #[error(
        "{source}; prune has to read every snapshot, tree and list to know what is still needed, so nothing was deleted. \
         `check` names what is hurt: bring it back, or forget the snapshots concerned"
    )]
    Unprunable {
        /// What could not be read.
        #[source]
        source: Box<Error>,
    },
    /// No snapshot matches.
    #[error("{wanted}: no such snapshot; `snapshots` lists them")]
    SnapshotNotFound {
        /// What was asked for.
        wanted: String,
    },
    /// More than one snapshot matches.
    #[error("{wanted}: {matches} snapshots begin with this; give more digits")]
    SnapshotAmbiguous {
        /// What was asked for.
        wanted: String,
        /// How many match.
        matches: usize,
    },
    /// A path is not in the snapshot.
    #[error("{path}: not in snapshot {snapshot}; `ls` shows what is")]
    PathNotFound {
        /// The path.
        path: String,
        /// The snapshot.
        snapshot: String,
    },
    /// There is no database to look into.
    #[error(
        "{path}: there is no SQLite database at or below this path of snapshot {snapshot}; `ls` shows what is. One that \
         is encrypted cannot be looked into"
    )]
    NoDatabase {
        /// The path.
        path: String,
        /// The snapshot.
        snapshot: String,
    },
    /// A database in a snapshot cannot be read, though its bytes are what was backed up.
    #[error("{path}: {reason}")]
    Database {
        /// Where it is in the snapshot.
        path: String,
        /// Why, and what would do.
        reason: String,
    },
    /// An option has a value that cannot be used.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// Which option.
        option: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// Something is larger than the format can hold.
    #[error("{object}: {reason}")]
    LimitExceeded {
        /// What is too large.
        object: String,
        /// Which limit it is beyond, and what would do.
        reason: String,
    },
    /// A file or folder outside the repository could not be read or written.
    #[error("{}: {action}: {source}", shown_path(path))]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A restore would leave its target, or cannot be done there.
    #[error("{}: {reason}", shown_path(path))]
    UnsafeTarget {
        /// Where.
        path: PathBuf,
        /// Why it is refused, and what would do.
        reason: String,
    },
    /// A backup found nothing that it could read.
    #[error("{path}: nothing could be backed up: {reason}")]
    NothingToBackUp {
        /// What was asked for.
        path: String,
        /// Why it could not be.
        reason: String,
    },
    /// The operation was stopped by its cancel token; what it had stored stays and is used by the next run.
    #[error("interrupted; what was done so far stays, and running the command again goes on from there")]
    Cancelled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// Returns whether one object is not as it was written, though its store may be well.
    pub(crate) fn is_of_object(&self) -> bool {
        use StoreErrorKind as Kind;
        match self {
            Self::Damaged { .. } => true,
            Self::Store(error) => matches!(error.kind, Kind::Damaged | Kind::TooLarge),
            _ => false,
        }
    }

    /// Returns whether it tells that something is damaged or missing. What a disk does not give out now it may give out later.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Store(error) if error.kind == StoreErrorKind::NotFound => true,
            error => error.is_of_object(),
        }
    }

    /// Makes the error for bytes of an object that break the format.
    pub fn damaged(object: impl ToString, source: &FormatError) -> Self {
        Self::Damaged { object: object.to_string(), reason: source.to_string() }
    }

    /// Adds the folder of a snapshot in which damage was met.
    pub fn in_folder(self, path: &[u8]) -> Self {
        let named = |object| format!("{}/: {object}", shown(path));
        match self {
            Self::Damaged { object, reason } => Self::Damaged { object: named(object), reason },
            Self::Missing { object } => Self::Missing { object: named(object) },
            Self::Store(error) => Self::Store(StoreError { object: named(error.object), ..error }),
            other => other,
        }
    }

    /// Makes the error for an object of the store that is not what was written.
    pub fn damaged_object(name: &ObjectName, reason: impl Into<String>) -> Self {
        Self::Damaged { object: name.to_string(), reason: reason.into() }
    }
}

/// What an operation returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
