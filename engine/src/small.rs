//! Rank 4: config, key slots, snapshots and proofs in a store. Where packs have parity, these are stored twice, each copy in
//! sectors of its own: whatever happens to one of them, the other is still whole. Index objects are not, since packs tell
//! all that is in them.

use crate::base::limits::{SECTOR_BYTES, SMALL_OBJECT_BYTES_MAX};
use crate::base::{ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::error::{Error, Result, StoreError};
use crate::format::header::{HEADER_BYTES, Header};
use crate::format::twice::{copies, twice};
use crate::store::{Store, get_around};

/// What is stored twice.
pub const KINDS: [ObjectKind; 4] = [ObjectKind::Config, ObjectKind::Key, ObjectKind::Snapshot, ObjectKind::Proof];
/// The longest of them once decompressed: a snapshot's paths and tags are all it can be long of.
pub const PLAIN_BYTES_MAX: usize = 64 * SMALL_OBJECT_BYTES_MAX;

/// Stores an object, and returns how long what is stored of it is.
///
/// # Errors
/// The store's own.
pub fn put(store: &dyn Store, codec: &Codec, name: &ObjectName, object: &[u8]) -> Result<u64, StoreError> {
    if codec.parity_percent == 0 {
        store.put(name, object)?;
        return Ok(object.len() as u64);
    }
    let stored = twice(object);
    store.put(name, &stored)?;
    Ok(stored.len() as u64)
}

/// Returns what is stored of an object of at most `bytes_max` bytes.
///
/// # Errors
/// The store's own.
pub fn get(store: &dyn Store, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
    get_around(store, name, 2 * bytes_max + SECTOR_BYTES)
}

/// Returns the payload, of at most `payload_max` bytes, of a sealed object that has no more.
///
/// # Errors
/// The store's own; as [`Codec::open_object`], of the first copy, if none is whole.
pub fn load(store: &dyn Store, codec: &Codec, name: &ObjectName, payload_max: usize) -> Result<Vec<u8>> {
    let stored = get(store, name, payload_max)?;
    if codec.parity_percent == 0 {
        return codec.open_object(name, &stored, payload_max);
    }
    open_copy(codec, name, &stored, payload_max).map(|(_, payload)| payload)
}

/// Returns the name under which a copy was sealed. That of the config is in its header alone, with a random id: it is stored
/// under a fixed name.
fn sealed_name(name: &ObjectName, copy: &[u8]) -> ObjectName {
    let header = copy.get(..HEADER_BYTES).filter(|_| name.kind == ObjectKind::Config).map(Header::decode);
    match header {
        Some(Ok(header)) if header.name.kind == ObjectKind::Config => header.name,
        _ => *name,
    }
}

/// Returns the first copy that is whole of a sealed object, and its payload.
///
/// # Errors
/// As [`Codec::open_object`], of the first copy, if none is whole.
pub fn open_copy<'a>(
    codec: &Codec,
    name: &ObjectName,
    stored: &'a [u8],
    payload_max: usize,
) -> Result<(&'a [u8], Vec<u8>)> {
    let mut outcomes = copies(stored).map(|copy| {
        let name = &sealed_name(name, copy);
        let bytes = codec.peek_length(name, copy).and_then(|bytes| usize::try_from(bytes).ok());
        // One that is cut short is opened for the error.
        let object = bytes.and_then(|bytes| copy.get(..bytes)).unwrap_or(copy);
        codec.open_object(name, object, payload_max).map(|payload| (object, payload))
    });
    let first = outcomes.next().unwrap_or_else(|| Err(Error::damaged_object(name, "empty")));
    first.or_else(|error| outcomes.find_map(Result::ok).ok_or(error))
}
