//! Where a repository's objects lie: one small trait, and the stores that have it.
//!
//! Everything above this module is the same for every store.

use crate::base::limits::SECTOR_BYTES;
use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::error::{StoreError, StoreErrorKind};

mod directory;
mod errors;
mod memory;
mod redb_store;

pub use directory::DirectoryStore;
#[cfg(feature = "internals")]
pub use directory::{FileLayer, OpenFile};
pub use memory::MemoryStore;
pub use redb_store::RedbStore;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only. Many processes may read at once; nothing in the store is changed.
    Read,
    /// Reads and writes, alone: nobody else has the store open at the same time.
    Write,
}

/// A place for objects, each written once, whole, under a name that is never used again. What damaged one may be undone.
///
/// All calls may come from many threads at once. What [`put`](Self::put) took is visible to the other calls and safe
/// from a crash once [`sync`](Self::sync) has returned, and may be neither before. But what a store shows when it is opened
/// for writing stays, even if whoever put it there never came to a sync: new objects refer to it.
pub trait Store: Send + Sync {
    /// Returns what the user would call this store, for messages: its path, most often.
    fn location(&self) -> String;

    /// Returns the length in bytes of the packs that this store likes best, at least
    /// [`PACK_BYTES_MIN`](crate::base::limits::PACK_BYTES_MIN).
    fn pack_bytes(&self) -> usize;

    /// Stores `bytes` under `name`.
    ///
    /// # Errors
    /// `AlreadyExists` if there is an object of this name (it stays as it is); `NoSpace`, `ReadOnly` or `Io` if the
    /// store cannot take it, in which case no object of this name appears.
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError>;

    /// Stores `len` bytes under `name`, which `fill` writes straight into the store's buffer where it has one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn put_with(&self, name: &ObjectName, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), StoreError> {
        let mut bytes = vec![0; len];
        fill(&mut bytes);
        self.put(name, &bytes)
    }

    /// Gives an object that is hurt the bytes again that it had: after a crash it is as it was before or as it is to be,
    /// and until the next [`sync`](Self::sync) either may be read.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; `NoSpace`, `ReadOnly` or `Io` if the store cannot take it, in which case
    /// the object is as before.
    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError>;

    /// Returns the object.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; `TooLarge` if it has more than `bytes_max` bytes, before any memory
    /// is set aside; `Damaged` or `Io` if it cannot be read.
    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError>;

    /// Replaces the content of `out` by the `len` bytes of the object that begin at `offset`.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Damaged` if the object is shorter than `offset + len`.
    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError>;

    /// Returns id and length of every object of a kind, in no order.
    ///
    /// # Errors
    /// Whatever kept the list from being complete: a list that fails is an error, never "empty".
    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError>;

    /// Removes an object. To remove one that is not there is no error.
    ///
    /// # Errors
    /// `ReadOnly` or `Io` if the object is still there.
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;

    /// Returns whether what is put later never appears without what was put before, even after a crash. Then objects
    /// that must not be seen before others may share one [`sync`](Self::sync) with them.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Returns whether packs are better stored by a thread of their own than by the workers that fill them: because one
    /// [`put`](Self::put) takes long and keeps others waiting.
    fn wants_thread(&self) -> bool {
        false
    }

    /// Gives the space of deleted objects back to the system, where that does not happen by itself. Takes long, and
    /// nothing else may be at work with the store meanwhile.
    ///
    /// # Errors
    /// `InUse` if something is; `NoSpace` or `Io` if it could not be done. All objects are as they were.
    fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns once everything put or deleted before is visible and safe from a crash.
    ///
    /// # Errors
    /// Whatever kept it from being so; then nothing may be said of what was put since the last `sync` that succeeded.
    fn sync(&self) -> Result<(), StoreError>;
}

/// Returns the first `bytes` bytes of an object of which the disk does not give out all, with zeros in place of what it does
/// not; `None` if that is more than `gaps_max` pieces of 4 KiB, since a failing disk may take seconds for each.
pub fn read_around(store: &dyn Store, name: &ObjectName, bytes: usize, gaps_max: usize) -> Option<Vec<u8>> {
    let mut gaps_left = gaps_max;
    let (mut found, mut piece) = (vec![0; bytes], Vec::new());
    for (number, out) in found.chunks_mut(SECTOR_BYTES).enumerate() {
        match store.get_range(name, (number * SECTOR_BYTES) as u64, out.len(), &mut piece) {
            Ok(()) => out.copy_from_slice(&piece),
            Err(_) => gaps_left = gaps_left.checked_sub(1)?,
        }
    }
    Some(found)
}

/// Returns an object, with zeros where the disk does not give it out, so that it counts as damaged and not as a store that
/// fails: as long as half of its pieces of 4 KiB can be read.
///
/// # Errors
/// As [`Store::get`].
pub fn get_around(store: &dyn Store, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
    store.get(name, bytes_max).or_else(|error| {
        let around = || {
            let (_, bytes) = store.list(name.kind).ok()?.into_iter().find(|(id, _)| *id == name.id)?;
            let bytes = usize::try_from(bytes).ok().filter(|bytes| (SECTOR_BYTES + 1..=bytes_max).contains(bytes))?;
            read_around(store, name, bytes, bytes.div_ceil(SECTOR_BYTES) / 2)
        };
        if error.kind == StoreErrorKind::Io { around().ok_or(error) } else { Err(error) }
    })
}

#[cfg(test)]
mod tests;
