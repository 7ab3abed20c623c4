//! Copies of snapshots without what is lost.

use std::sync::Mutex;

use crate::base::{ObjectId, ShortId, lock};
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::index::ChunkKind;
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::{Entry, Node};
use crate::repair::packs::damage;
use crate::rewrite::{Keep, RewrittenTree};
use crate::snapshot::{REPAIRED_TAG, Snapshot};
use crate::tree::{self, PieceWalk};

/// So many lost files and folders are told one by one.
const LOST_MAX: usize = 10_000;

/// A file that cannot be restored, or a folder of which nothing can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LostEntry {
    /// The path from the snapshot's root, beginning with `/`; the root itself is empty.
    pub path: Vec<u8>,
    /// The first snapshot in which it was met. Others that share it are not named again.
    pub snapshot: ObjectId,
    /// Why.
    pub reason: String,
}

/// A snapshot that cannot be restored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HurtSnapshot {
    /// It as it is; it stays.
    pub snapshot: Snapshot,
    /// The copy without what is lost; `None` if its root cannot be read and so nothing of it.
    pub copy: Option<SnapshotRecord>,
    /// The copy's id, if an earlier repair has made it.
    pub copy_id: Option<ObjectId>,
    /// How many files and folders are lost.
    pub lost: u64,
}

/// Keeps what can be read, and notes what cannot.
pub struct Readable {
    reader: ChunkReader,
    pieces: PieceWalk,
    /// The snapshot at hand.
    snapshot: Mutex<ObjectId>,
    lost: Mutex<(Vec<LostEntry>, u64)>,
}

impl Readable {
    pub fn new(reader: ChunkReader) -> Self {
        let snapshot = Mutex::new(ObjectId::from_bytes([0; ObjectId::LEN]));
        Self { reader, pieces: PieceWalk::default(), snapshot, lost: Mutex::default() }
    }

    /// Takes note of whose trees come next.
    pub fn begin(&self, snapshot: ObjectId) {
        *lock(&self.snapshot) = snapshot;
    }

    fn note(&self, path: &[u8], error: &Error) {
        let snapshot = *lock(&self.snapshot);
        let (lost, count) = &mut *lock(&self.lost);
        *count += 1;
        if lost.len() < LOST_MAX {
            lost.push(LostEntry { path: path.to_vec(), snapshot, reason: error.to_string() });
        }
    }

    /// Returns what is lost, sorted, at most 10,000 entries, and how many there are in all.
    pub fn lost(self) -> (Vec<LostEntry>, u64) {
        let (mut lost, count) = self.lost.into_inner().unwrap_or_default();
        lost.sort();
        (lost, count)
    }
}

impl Keep for Readable {
    fn keeps(&self, path: &[u8], entry: &Entry) -> Result<bool> {
        let Node::File { content, .. } = &entry.node else { return Ok(true) };
        let visit = |id: &ShortId, bytes| {
            let location = self.reader.locate(id, ChunkKind::Data)?;
            tree::check_length(id, u64::from(location.bytes), bytes)
        };
        match self.pieces.data_bytes(&self.reader, content, &visit) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.note(path, &damage(error)?);
                Ok(false)
            }
        }
    }

    fn lose(&self, path: &[u8], error: Error) -> Result<()> {
        let error = damage(error)?;
        self.note(path, &error);
        // Of a snapshot without a root there is nothing to copy.
        if path.is_empty() { Err(error) } else { Ok(()) }
    }
}

/// Returns the record of a copy whose trees were rewritten.
pub fn copy_of(snapshot: &Snapshot, tree: &RewrittenTree) -> Option<SnapshotRecord> {
    let mut copy = tree.record(snapshot)?;
    copy.add_tag(REPAIRED_TAG);
    Some(copy)
}
