//! Hash maps and sets of chunk ids.

use std::hash::{BuildHasherDefault, Hasher};

/// Takes eight bytes of an id as its hash: ids are hashes already.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        let len = bytes.len().min(8);
        word[..len].copy_from_slice(&bytes[..len]);
        self.0 ^= u64::from_le_bytes(word);
    }

    // The length prefix that comes before the bytes of an array says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// Hashes ids.
pub type IdHash = BuildHasherDefault<IdHasher>;
