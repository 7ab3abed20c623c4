//! Rank 6: snapshots in a store.

mod path;
pub mod proofs;

use crate::base::limits::SMALL_OBJECT_BYTES_MAX;
use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotRecord;
use crate::store::Store;

pub use path::SnapshotPath;

/// The longest snapshot once decompressed: paths and tags are all it can be long of.
const PLAIN_BYTES_MAX: usize = 64 * SMALL_OBJECT_BYTES_MAX;

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
}

/// Stores a snapshot; it is safe once the store is synced.
///
/// # Errors
/// The store's own.
pub fn store(store: &dyn Store, codec: &Codec, id: ObjectId, record: &SnapshotRecord) -> Result<u64> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let object = codec.seal_object(&name, &record.encode())?;
    store.put(&name, &object)?;
    Ok(object.len() as u64)
}

/// Reads one snapshot.
///
/// # Errors
/// `Damaged`, `NewerFormat`, or the store's own.
pub fn load(store: &dyn Store, codec: &Codec, id: ObjectId) -> Result<Snapshot> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let object = store.get(&name, PLAIN_BYTES_MAX)?;
    let payload = codec.open_object(&name, &object, PLAIN_BYTES_MAX)?;
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
    snapshots.sort_by_key(|snapshot| (snapshot.record.started, snapshot.id));
    Ok((snapshots, errors))
}
