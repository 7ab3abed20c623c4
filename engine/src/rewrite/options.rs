//! What a rewrite is told, and what it tells.

use std::time::Duration;

use crate::base::{CancelToken, ObjectId};
use crate::error::Error;
use crate::format::snapshot::SnapshotRecord;
use crate::snapshot::Snapshot;
use crate::source::Patterns;

/// Options of [`Repository::rewrite`](crate::Repository::rewrite).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RewriteOptions {
    /// What is taken out, matched against paths from the snapshots' roots as in a backup: a folder that matches goes with
    /// all that is in it.
    pub exclude: Patterns,
    /// Remove the old snapshots once the new ones are safe. Otherwise both stay, and the new ones get the tag `rewrite`.
    pub forget: bool,
    /// Do everything but store and remove.
    pub dry_run: bool,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Ends the work at the next folder; no snapshot has changed then.
    pub cancel: CancelToken,
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// It as it was.
    pub before: Snapshot,
    /// What it is without what was taken out; `None` if nothing in it matches.
    pub record: Option<SnapshotRecord>,
    /// The new snapshot's id; `None` if there is none, or in a dry run.
    pub id: Option<ObjectId>,
}

/// What a rewrite did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RewriteReport {
    /// The snapshots, oldest first.
    pub snapshots: Vec<Rewritten>,
    /// An error for each snapshot that cannot be read, if all were to be rewritten. They stay as they are.
    pub unreadable: Vec<Error>,
    /// The paths that were taken out, each once, sorted; of folders not what is in them. The first 10,000 of them.
    pub left_out: Vec<Vec<u8>>,
    /// How many more there are.
    pub left_out_more: u64,
    /// Bytes of chunks that the repository did not have, before compression.
    pub bytes_new: u64,
    /// How long it took.
    pub duration: Duration,
}
