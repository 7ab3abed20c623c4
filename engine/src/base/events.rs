//! What an operation tells while it runs.

use std::path::PathBuf;

use crate::base::ObjectId;

/// What a backup found a file to be, compared with the parent snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// The parent snapshot does not have it.
    New,
    /// The parent snapshot has it with another size, time, inode or kind.
    Changed,
    /// As in the parent snapshot; the file was not opened.
    Unmodified,
}

/// One thing that happened. More kinds may follow.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// How much there is to do in all, as far as it is known now. May come again with better figures.
    Total {
        /// Files.
        files: u64,
        /// Bytes of content.
        bytes: u64,
    },
    /// More work is done: add these to what was done before.
    Progress {
        /// Files finished since the last event.
        files: u64,
        /// Bytes of content finished since the last event.
        bytes: u64,
    },
    /// A file was backed up.
    File {
        /// Its path as the user named it.
        path: PathBuf,
        /// What it was found to be.
        state: FileState,
    },
    /// A restore removed something that the snapshot has not; in a dry run, that it would.
    Deleted {
        /// Its path at the target.
        path: PathBuf,
    },
    /// Something was left out or is not as it should be; the operation goes on.
    Warning {
        /// What it is about: a path or an object, bytes that are not UTF-8 as `\xNN`.
        object: String,
        /// That path, byte for byte, if it is a path.
        path: Option<PathBuf>,
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// Something worth knowing that needs no action.
    Note {
        /// What it is about: a path or an object, bytes that are not UTF-8 as `\xNN`.
        object: String,
        /// That path, byte for byte, if it is a path.
        path: Option<PathBuf>,
        /// What happened.
        message: String,
    },
    /// A check found a file, or a folder with all in it, that cannot be restored as it was.
    Hurt {
        /// Its path from the snapshots' roots, that of a folder with a slash at its end.
        path: Vec<u8>,
        /// What is behind it.
        reason: String,
        /// The snapshots that hold it, oldest first.
        snapshots: Vec<ObjectId>,
    },
}

/// Receives events. Called from many threads at once; a slow observer slows the operation down.
///
/// Any `Fn(&Event) + Send + Sync` is an observer.
pub trait Observer: Send + Sync {
    /// Takes note of `event`.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
