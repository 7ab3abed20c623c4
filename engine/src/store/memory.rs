//! A store in memory, for tests and for repositories that need not outlive the process.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Store, errors};
use crate::base::limits::{MIB, PACK_BYTES_MIN};
use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::error::StoreError;

/// What packs are made of, if the constructor is not told otherwise.
const PACK_BYTES_DEFAULT: usize = 4 * MIB;

type Objects = HashMap<ObjectName, Vec<u8>>;

/// Keeps objects in memory. What is put is visible at once, and gone with the store.
#[derive(Debug)]
pub struct MemoryStore {
    objects: RwLock<Objects>,
    pack_bytes: usize,
}

impl MemoryStore {
    /// Makes an empty store that likes packs of 4 MiB.
    pub fn new() -> Self {
        Self::with_pack_bytes(PACK_BYTES_DEFAULT)
    }

    /// Makes an empty store that likes packs of `pack_bytes` bytes, which are raised to the shortest allowed.
    pub fn with_pack_bytes(pack_bytes: usize) -> Self {
        Self { objects: RwLock::default(), pack_bytes: pack_bytes.max(PACK_BYTES_MIN) }
    }

    // A lock that is poisoned guards a map that is whole all the same: each change to it is one insert, remove or assignment.
    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn pack_bytes(&self) -> usize {
        self.pack_bytes
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.write();
        if objects.contains_key(name) {
            return Err(errors::already_exists(name));
        }
        objects.insert(*name, bytes.to_vec());
        Ok(())
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.write();
        *objects.get_mut(name).ok_or_else(|| errors::not_found(name))? = bytes.to_vec();
        Ok(())
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let objects = self.read();
        let bytes = objects.get(name).ok_or_else(|| errors::not_found(name))?;
        if bytes.len() > bytes_max {
            return Err(errors::too_large(name, bytes.len() as u64, bytes_max));
        }
        Ok(bytes.clone())
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let objects = self.read();
        let bytes = objects.get(name).ok_or_else(|| errors::not_found(name))?;
        let range = errors::slice_of(bytes, offset, len)
            .ok_or_else(|| errors::too_short(name, bytes.len() as u64, offset, len))?;
        out.clear();
        out.extend_from_slice(range);
        Ok(())
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        let objects = self.read();
        let of_kind = objects.iter().filter(|(name, _)| name.kind == kind);
        Ok(of_kind.map(|(name, bytes)| (name.id, bytes.len() as u64)).collect())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.write().remove(name);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
