//! What a prune is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, Observer};
use crate::error::{Error, Result};

/// Options of [`Repository::prune_plan`](crate::Repository::prune_plan) and [`prune`](crate::Repository::prune).
#[derive(Clone)]
#[non_exhaustive]
pub struct PruneOptions {
    /// So much of what stays may be unused, in percent of its bytes; less means that more is rewritten. 5 if not set.
    pub unused_percent_max: u8,
    /// Rewrite packs of at most so many bytes together.
    pub repack_bytes_max: Option<u64>,
    /// How long to wait between the writing of what replaces and the deletion of what is replaced: none if not set, since
    /// nobody else can be at work in a local store. If a snapshot is made meanwhile, nothing is deleted.
    pub grace: Duration,
    /// In the end let the store give free space back to the system, which may take long. Only a redb file keeps any.
    pub compact: bool,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the work at the next tree or pack; what was rewritten till then counts for nothing.
    pub cancel: CancelToken,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            unused_percent_max: 5,
            repack_bytes_max: None,
            grace: Duration::ZERO,
            compact: false,
            threads: 0,
            observer: None,
            cancel: CancelToken::new(),
        }
    }
}

impl PruneOptions {
    pub(super) fn check(&self) -> Result<()> {
        if self.unused_percent_max <= 100 {
            return Ok(());
        }
        let reason = format!("{} percent is more than all; give 0 to 100", self.unused_percent_max);
        Err(Error::InvalidOption { option: "max-unused", reason })
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What a plan found and would do. Bytes are sealed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneFigures {
    /// Snapshots, all of which were read.
    pub snapshots: u64,
    /// Chunks that they need.
    pub chunks_needed: u64,
    /// Those of them that no snapshot has, only deltas stand on them.
    pub chunks_bases: u64,
    /// Packs, and their bytes.
    pub packs: u64,
    /// Bytes of all packs.
    pub pack_bytes: u64,
    /// Packs that are deleted since nothing in them is needed, or no index object lists them.
    pub packs_deleted: u64,
    /// Bytes of the deleted packs.
    pub bytes_deleted: u64,
    /// Packs among the deleted ones that no index object lists: what an interrupted run left.
    pub packs_unlisted: u64,
    /// Packs that are written anew without what is not needed.
    pub packs_repacked: u64,
    /// Their bytes now.
    pub bytes_repacked: u64,
    /// Their bytes then, about.
    pub bytes_rewritten: u64,
    /// Bytes that are not needed and stay, about.
    pub bytes_unused_left: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Those that are replaced.
    pub index_objects_replaced: u64,
    /// How long it would take, about, in whole seconds: without the grace, and without compacting.
    pub estimated: Duration,
}

/// So many bytes of packs are read, opened, sealed anew and stored in a millisecond: what one core does where a disk keeps
/// up with it.
const BYTES_PER_MILLISECOND: u64 = 100_000;
/// A pack is deleted in about so many milliseconds.
const MILLISECONDS_PER_PACK: u64 = 1;

impl PruneFigures {
    /// Estimates how long it would take, after a plan that took so long itself: index objects are read anew then.
    pub(super) fn estimate(&mut self, planning: Duration) {
        let packs = (self.packs_deleted + self.packs_repacked) * MILLISECONDS_PER_PACK;
        let indexes = if self.index_objects_replaced > 0 { planning.as_millis() as u64 } else { 0 };
        let all = self.bytes_repacked.div_ceil(BYTES_PER_MILLISECOND) + packs + indexes;
        self.estimated = Duration::from_secs(all.div_ceil(1000));
    }

    /// Returns how many bytes packs will have less than now, about.
    pub const fn bytes_saved(&self) -> u64 {
        self.bytes_deleted + self.bytes_repacked.saturating_sub(self.bytes_rewritten)
    }
}

/// What a prune did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Packs deleted, rewritten ones among them.
    pub packs_deleted: u64,
    /// Index objects deleted.
    pub index_objects_deleted: u64,
    /// Sealed bytes of all that was deleted.
    pub bytes_deleted: u64,
    /// Packs written.
    pub packs_written: u64,
    /// Sealed bytes of packs and index objects written.
    pub bytes_written: u64,
    /// How long it took.
    pub duration: Duration,
}
