//! What a repair is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, ObjectId, Observer};
use crate::error::{Error, Result};

/// Options of [`Repository::repair_plan`](crate::Repository::repair_plan) and [`repair`](crate::Repository::repair).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RepairOptions {
    /// List all packs anew by their footers, whatever the index objects say.
    pub rebuild_index: bool,
    /// Read, open and hash every chunk of every pack. Otherwise a pack counts as whole if it is there and as long as it
    /// should be, and what is hurt inside is not seen.
    pub read_data: bool,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the work at the next pack or tree.
    pub cancel: CancelToken,
}

impl RepairOptions {
    pub(super) fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What a plan found and would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairFigures {
    /// Packs in the store.
    pub packs: u64,
    /// Packs that an index object lists and that are not there.
    pub packs_missing: u64,
    /// Packs that are not as they were written. What can be read in them is stored anew.
    pub packs_hurt: u64,
    /// Packs that were in no index object and are to be listed.
    pub packs_found: u64,
    /// Packs in no index object whose footer cannot be read: nothing can be had from them.
    pub packs_unreadable: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Index objects that are replaced, damaged ones among them.
    pub index_objects_replaced: u64,
    /// Index objects that cannot be read.
    pub index_objects_damaged: u64,
    /// Chunks that can be read.
    pub chunks: u64,
    /// Snapshots that can be read.
    pub snapshots: u64,
    /// Snapshots that cannot.
    pub snapshots_unreadable: u64,
    /// Files and folders that are lost, at each path of each distinct folder counted once.
    pub lost: u64,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Index objects written in place of others, or for packs that none listed.
    pub index_objects_written: u64,
    /// Index objects deleted, since others took their place.
    pub index_objects_deleted: u64,
    /// Packs written with what could be read in hurt ones.
    pub packs_written: u64,
    /// Sealed bytes of packs, index objects and trees written.
    pub bytes_written: u64,
    /// The new copies of snapshots: what each was made from, and its id.
    pub copies: Vec<(ObjectId, ObjectId)>,
    /// How long it took.
    pub duration: Duration,
}
