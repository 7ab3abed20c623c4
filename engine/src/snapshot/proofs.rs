//! Proofs in a store: one object tells of all snapshots; several, if a run was killed between the new one and the old.

use std::collections::BTreeMap;

use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::format::proof::{PROOFS_MAX, Proof, ProofRecord};
use crate::small;
use crate::store::Store;

/// What a snapshot takes in a proof object, at most, more or less.
const PROOF_BYTES_MAX: usize = 96;
/// The longest proof object once decompressed.
const OBJECT_BYTES_MAX: usize = PROOFS_MAX * PROOF_BYTES_MAX;

/// The last test of each snapshot, by the id under which that was made.
pub type Proofs = BTreeMap<ObjectId, Proof>;

/// Reads all proofs, the last of each snapshot. Objects that cannot be read come back as errors beside them.
///
/// # Errors
/// If the list itself cannot be had.
pub fn load(store: &dyn Store, codec: &Codec) -> Result<(Proofs, Vec<Error>)> {
    let (mut proofs, mut errors) = (Proofs::new(), Vec::new());
    for (id, _) in store.list(ObjectKind::Proof)? {
        match load_one(store, codec, id) {
            Ok(record) => record.proofs.into_iter().for_each(|(id, proof)| add(&mut proofs, id, proof)),
            Err(error) => errors.push(error),
        }
    }
    Ok((proofs, errors))
}

fn load_one(store: &dyn Store, codec: &Codec, id: ObjectId) -> Result<ProofRecord> {
    let name = ObjectName::new(ObjectKind::Proof, id);
    let payload = small::load(store, codec, &name, OBJECT_BYTES_MAX)?;
    ProofRecord::decode(&payload).map_err(|error| Error::damaged(name, &error))
}

/// Adds a proof unless there is a later one.
fn add(proofs: &mut Proofs, id: ObjectId, proof: Proof) {
    let known = proofs.entry(id).or_insert(proof);
    if known.time < proof.time {
        *known = proof;
    }
}

/// Stores proofs as the new object `id`, and removes those that it replaces once it is safe: all others, but for those
/// that cannot be read.
///
/// # Errors
/// The store's own; then what was known before is still there.
pub fn replace(store: &dyn Store, codec: &Codec, id: ObjectId, proofs: &Proofs) -> Result<()> {
    let mut replaced = Vec::new();
    for (id, _) in store.list(ObjectKind::Proof)? {
        if load_one(store, codec, id).is_ok() {
            replaced.push(id);
        }
    }
    // Beyond the limit those go that were tested longest ago.
    let mut latest: Vec<_> = proofs.iter().map(|(id, proof)| (*id, *proof)).collect();
    latest.sort_by_key(|(_, proof)| std::cmp::Reverse(proof.time));
    latest.truncate(PROOFS_MAX);
    latest.sort_by_key(|(id, _)| *id);
    let name = ObjectName::new(ObjectKind::Proof, id);
    let object = codec.seal_object(&name, &ProofRecord { proofs: latest }.encode())?;
    small::put(store, codec, &name, &object)?;
    store.sync()?;
    for id in replaced {
        store.delete(&ObjectName::new(ObjectKind::Proof, id))?;
    }
    Ok(store.sync()?)
}
