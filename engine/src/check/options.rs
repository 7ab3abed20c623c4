//! What a check is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, Observer};

/// Options of [`Repository::check`](crate::Repository::check).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Read, open and hash every chunk of every pack, not only the structure.
    pub read_data: bool,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the check at the next pack or tree.
    pub cancel: CancelToken,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Distinct trees.
    pub trees: u64,
    /// Packs.
    pub packs: u64,
    /// Chunks listed by the index.
    pub chunks: u64,
    /// Sealed bytes read and verified.
    pub bytes_read: u64,
    /// What is wrong, each naming its object and the files that need it; empty: all is well. A file that several
    /// snapshots share is named once. Of very many errors the last one says how many more there were.
    pub errors: Vec<String>,
    /// What is odd but hurts nothing, such as packs that an interrupted backup left without an index.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// What a repository holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Snapshots.
    pub snapshots: u64,
    /// Packs.
    pub packs: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Distinct chunks.
    pub chunks: u64,
    /// Bytes of those chunks before compression.
    pub chunk_bytes: u64,
    /// Sealed bytes of all objects.
    pub bytes_stored: u64,
    /// Bytes of all files of all snapshots, as if each were restored.
    pub snapshot_bytes: u64,
}
