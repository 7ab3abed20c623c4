//! What a search is told, and what it tells.

use crate::base::CancelToken;
use crate::error::Error;
use crate::format::tree::{EntryKind, Timestamp};
use crate::snapshot::Snapshot;
use crate::source::Patterns;

/// Options of [`Repository::find`](crate::Repository::find).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FindOptions {
    /// What is looked for, matched against paths from the snapshots' roots. What lies in a folder that matches does not
    /// match for that.
    pub patterns: Patterns,
    /// Look only into these snapshots, each `latest` or the first digits of an id; none: into all.
    pub snapshots: Vec<String>,
    /// Look only into snapshots of this machine.
    pub host: Option<String>,
    /// Of those, look only into the newest so many.
    pub newest: Option<usize>,
    /// Ends the search at the next folder.
    pub cancel: CancelToken,
    /// How many versions of entries, and runs of snapshots that hold them, are kept at once in all folders that are open.
    /// What is beyond is looked at in parts, so that folders are read more than once; tests use less.
    pub(super) held_max: usize,
}

impl Default for FindOptions {
    fn default() -> Self {
        let (patterns, cancel) = (Patterns::default(), CancelToken::new());
        Self { patterns, snapshots: Vec::new(), host: None, newest: None, cancel, held_max: 200_000 }
    }
}

/// A version of something that matches: the same kind, content and time at the same path.
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundEntry<'a> {
    /// The path from the snapshots' roots, beginning with `/`.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content, 0 for anything but a file.
    pub bytes: u64,
    /// When the content last changed.
    pub mtime: Timestamp,
    /// The snapshots that hold it, oldest first.
    pub snapshots: Vec<&'a Snapshot>,
}

/// What a search did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FindReport {
    /// Snapshots looked into.
    pub snapshots: u64,
    /// Versions found.
    pub found: u64,
    /// How many directories were read; the same one in many snapshots counts once.
    pub trees_read: u64,
    /// Snapshots and folders that could not be read, each named: nothing is known of what they hold. At most 1,000.
    pub errors: Vec<Error>,
}
