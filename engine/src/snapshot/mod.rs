//! Rank 6: snapshots in a store.

mod path;
pub mod proofs;

use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::Timestamp;
use crate::small;
use crate::store::Store;

pub use path::SnapshotPath;

/// The tag of copies that `repair` makes.
pub const REPAIRED_TAG: &str = "repaired";
/// The tag of copies that `rewrite` makes, where the old ones stay.
pub const REWRITE_TAG: &str = "rewrite";

/// A snapshot and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its random id; users see and type its first digits.
    pub id: ObjectId,
    /// What it says.
    pub record: SnapshotRecord,
}

impl Snapshot {
    /// Returns the id under which it was made, which it keeps when its tags change.
    pub fn first_id(&self) -> ObjectId {
        self.record.original.unwrap_or(self.id)
    }

    /// Returns whether it is tagged as a copy without some of the files.
    pub(crate) fn is_tagged_reduced(&self) -> bool {
        self.record.tags.iter().any(|tag| [REPAIRED_TAG, REWRITE_TAG].contains(&tag.as_str()))
    }

    /// Returns what snapshots are sorted by, oldest first: a copy without some of the files comes after what it was made
    /// from, so that the latest one is what can be restored, or what is to be.
    pub(crate) fn order(&self) -> (Timestamp, bool, ObjectId) {
        (self.record.started, self.record.original.is_some() && self.is_tagged_reduced(), self.id)
    }
}

/// Maximum bytes of an encoded snapshot that is written: sealed and padded, it is within what a reader takes of each copy.
const WRITTEN_BYTES_MAX: usize = small::PLAIN_BYTES_MAX / 2;

/// Returns the encoded record, after a reader's own checks: what is recorded can be read.
///
/// # Errors
/// `LimitExceeded` for what no reader would take.
pub fn encode(record: &SnapshotRecord) -> Result<Vec<u8>> {
    let refused = |reason: String| Err(Error::LimitExceeded { object: "a snapshot".into(), reason });
    let encoded = record.encode();
    if encoded.len() > WRITTEN_BYTES_MAX {
        return refused(
            "its tags and paths take more than 32 MiB; name folders instead of files, or fewer tags".into(),
        );
    }
    match SnapshotRecord::decode(&encoded) {
        Ok(_) => Ok(encoded),
        Err(error) => {
            let (expected, found) = (error.expected, error.found);
            refused(format!("too long or too many for a snapshot: expected {expected}, found {found}"))
        }
    }
}

/// Stores a snapshot; it is safe once the store is synced.
///
/// # Errors
/// As [`encode`]; the store's own.
pub fn store(store: &dyn Store, codec: &Codec, id: ObjectId, record: &SnapshotRecord) -> Result<u64> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let object = codec.seal_object(&name, &encode(record)?)?;
    Ok(small::put(store, codec, &name, &object)?)
}

/// Reads one snapshot.
///
/// # Errors
/// `Damaged`, `NewerFormat`, or the store's own.
pub fn load(store: &dyn Store, codec: &Codec, id: ObjectId) -> Result<Snapshot> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let payload = small::load(store, codec, &name, small::PLAIN_BYTES_MAX)?;
    let record = SnapshotRecord::decode(&payload).map_err(|error| Error::damaged(name, &error))?;
    Ok(Snapshot { id, record })
}

/// Reads all snapshots, oldest first. Those that cannot be read come back as errors beside the others.
///
/// # Errors
/// If the list itself cannot be had.
pub fn load_all(store: &dyn Store, codec: &Codec) -> Result<(Vec<Snapshot>, Vec<Error>)> {
    let mut snapshots = Vec::new();
    let mut errors = Vec::new();
    for (id, _) in store.list(ObjectKind::Snapshot)? {
        match load(store, codec, id) {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(error) => errors.push(error),
        }
    }
    snapshots.sort_by_key(Snapshot::order);
    Ok((snapshots, errors))
}
