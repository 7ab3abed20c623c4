//! Remembers chunks that were looked at, so that the next snapshot that has them need not do it again: the catalog of millions
//! of chunks, and marks on as many, are mostly on disk.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::ShortId;

/// So many chunks that fall into the same place are remembered.
const WAYS: usize = 4;

/// Chunks with their lengths, the last few that fall into each place. Used by many threads at once.
pub struct Proven {
    places: Vec<[AtomicU64; WAYS]>,
}

impl Proven {
    /// Makes one of at most `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let count = (bytes / size_of::<[AtomicU64; WAYS]>()).max(1);
        Self { places: std::iter::repeat_with(Default::default).take(count).collect() }
    }

    /// Returns the place of a chunk and what stands there for it: the first half of its id tells the one, the second half
    /// the other, so that two chunks are never taken for one another.
    fn find(&self, id: &ShortId, bytes: u64) -> (&[AtomicU64; WAYS], u64) {
        let number = u128::from_le_bytes(*id.as_bytes());
        let place = ((u128::from(number as u64) * self.places.len() as u128) >> 64) as usize;
        // A zero is an empty place.
        (&self.places[place], ((number >> 64) as u64 ^ bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// Returns whether a chunk of this length was looked at, as far as that is still known.
    pub fn has(&self, id: &ShortId, bytes: u64) -> bool {
        let (place, wanted) = self.find(id, bytes);
        place.iter().any(|found| found.load(Ordering::Relaxed) == wanted)
    }

    /// Takes note of a chunk.
    pub fn add(&self, id: &ShortId, bytes: u64) {
        let (place, new) = self.find(id, bytes);
        let free = place.iter().position(|found| found.load(Ordering::Relaxed) == 0);
        place[free.unwrap_or((new >> 1) as usize % WAYS)].store(new, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_what_was_added_is_found_and_with_its_length_only() {
        let id = |n: u64| ShortId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap());
        for bytes in [0, 4096, 1 << 20] {
            let proven = Proven::new(bytes);
            for n in 0..20_000 {
                assert!(!proven.has(&id(n), n), "{n}");
                proven.add(&id(n), n);
                assert!(proven.has(&id(n), n) && !proven.has(&id(n), n + 1), "{n}");
            }
            let kept = (0..20_000).filter(|&n| proven.has(&id(n), n)).count();
            assert!(
                kept <= proven.places.len() * WAYS && (bytes < 1 << 20 || kept > 19_900),
                "{kept} of {bytes} bytes"
            );
        }
    }
}
