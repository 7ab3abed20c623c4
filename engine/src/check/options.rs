//! What a check is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, Observer};
use crate::error::{Error, Result};

/// Which packs a check reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadData {
    /// None: only the structure is checked.
    #[default]
    None,
    /// All.
    All,
    /// A random sample of so many percent of their bytes, 0 to 100.
    Percent(u8),
    /// A random sample of about so many bytes.
    Bytes(u64),
    /// One of several parts, told by the packs' ids: a check of each reads all.
    Part {
        /// Which, from 1 on.
        number: u32,
        /// How many parts there are.
        of: u32,
    },
}

/// Options of [`Repository::check`](crate::Repository::check).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The packs of which every chunk is read, opened and hashed.
    pub read_data: ReadData,
    /// What samples are drawn by, to draw the same ones again; `None`: another each time.
    pub seed: Option<u64>,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the check at the next pack or tree.
    pub cancel: CancelToken,
}

impl CheckOptions {
    pub(super) fn check(&self) -> Result<()> {
        let reason = match self.read_data {
            ReadData::Percent(percent) if percent > 100 => format!("{percent} percent is more than all; give 0 to 100"),
            ReadData::Part { number, of } if number == 0 || number > of => {
                format!("there is no part {number} of {of}; give 1/{of} to {of}/{of}")
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidOption { option: "read-data-subset", reason })
    }

    /// Returns whether anything is left to chance.
    pub(super) const fn draws(&self) -> bool {
        matches!(self.read_data, ReadData::Percent(_) | ReadData::Bytes(_))
    }
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
    /// Packs read and verified.
    pub packs_read: u64,
    /// Sealed bytes read and verified.
    pub bytes_read: u64,
    /// What samples were drawn by, if any were.
    pub seed: Option<u64>,
    /// Files and folders that cannot be restored as they were, each once for all snapshots in which it is the same; no
    /// more than 1,000,000 are counted. Each is also told by an [`Event::Hurt`](crate::Event::Hurt).
    pub files_hurt: u64,
    /// What is wrong; empty: all is well. First what it means: the files that are hurt, each with the snapshots that have
    /// it, then what is behind it: the objects. Of more than 1,000 of either the last says how many more there are.
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
