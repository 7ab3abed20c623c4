//! What a check is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, ObjectId, Observer};
use crate::error::{Error, Result};
use crate::repo::GoneSnapshot;

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

/// Which files of which snapshots are restored into nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreTest {
    /// A random sample of so many percent of the files, 1 to 100, but of some twenty at least.
    pub percent: u8,
    /// The snapshots, each `latest` or the first digits of an id; none: the latest of each host and paths.
    pub snapshots: Vec<String>,
}

impl RestoreTest {
    /// Makes a test of so many percent of the files.
    pub const fn percent(percent: u8) -> Self {
        Self { percent, snapshots: Vec::new() }
    }
}

/// What a restore test found in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreTested {
    /// The snapshot.
    pub snapshot: ObjectId,
    /// Files that were restored.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Whether these were all files, or a sample.
    pub is_all: bool,
    /// SQLite databases that SQLite checked and found whole.
    pub databases: u64,
    /// Files that could not be restored, and databases that SQLite found damaged.
    pub problems: u64,
    /// How many of them could not be restored as they were saved: the repository is hurt.
    pub lost: u64,
    /// The first 1,000 of them, and what is the matter.
    pub problems_named: Vec<(String, String)>,
    /// Files that were restored as they were saved, but were perhaps broken before that: pictures and videos that do not
    /// begin as such, and databases that SQLite could not check.
    pub hints: u64,
    /// The first 1,000 of them, and why.
    pub hints_named: Vec<(String, String)>,
}

/// Options of [`Repository::check`](crate::Repository::check).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The packs of which every chunk is read, opened and hashed.
    pub read_data: ReadData,
    /// Give objects that are damaged, and that parity or their second copy heals, the bytes again that they had; of what this
    /// check reads. The repository has to be open for writing.
    pub repair: bool,
    /// Restore files into nothing: SQLite checks the databases among them, and pictures and videos are looked at. A record
    /// of it stays in the repository if that is open for writing; see [`Repository::proofs`](crate::Repository::proofs).
    pub restore_test: Option<RestoreTest>,
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
            _ => match &self.restore_test {
                Some(RestoreTest { percent, .. }) if !(1..=100).contains(percent) => {
                    let reason = format!("{percent} percent cannot be tested; give 1 to 100");
                    return Err(Error::InvalidOption { option: "restore-test", reason });
                }
                _ => return Ok(()),
            },
        };
        Err(Error::InvalidOption { option: "read-data-subset", reason })
    }

    /// Returns whether anything is left to chance.
    pub(super) fn draws(&self) -> bool {
        matches!(self.read_data, ReadData::Percent(_) | ReadData::Bytes(_))
            || self.restore_test.as_ref().is_some_and(|test| test.percent < 100)
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
    /// Objects that are damaged and that parity, or their second copy, heals. Nothing in them is lost. Each is among the errors.
    pub objects_healable: u64,
    /// Objects that were damaged and, by [`CheckOptions::repair`], are as they were again. Each is among the notes.
    pub objects_healed: u64,
    /// What samples were drawn by, if any were.
    pub seed: Option<u64>,
    /// The newest snapshot that this client had seen, if it is gone without having been forgotten here.
    pub gone_snapshot: Option<GoneSnapshot>,
    /// Files and folders that cannot be restored as they were, each once for all snapshots in which it is the same; no
    /// more than 1,000,000 are counted. Each is also told by an [`Event::Hurt`](crate::Event::Hurt).
    pub files_hurt: u64,
    /// What is wrong; empty: all is well. First what it means: the files that are hurt, each with the snapshots that have
    /// it, then what is behind it: the objects. Of more than 1,000 of either the last says how many more there are.
    pub errors: Vec<String>,
    /// What the restore test found, snapshot by snapshot. Its problems are among the errors, its hints among the notes.
    pub restore_tests: Vec<RestoreTested>,
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
    /// How much parity packs get, in percent of what it protects.
    pub parity_percent: u8,
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
