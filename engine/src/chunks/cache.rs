//! The frames decoded last, since neighbouring chunks are read one after the other.

use std::sync::{Arc, Mutex};

use crate::base::{ObjectId, lock};

type Key = (ObjectId, u32);

struct Entry {
    key: Key,
    plain: Arc<Vec<u8>>,
    used: u64,
}

#[derive(Default)]
struct Shard {
    entries: Vec<Entry>,
    bytes: usize,
    clock: u64,
}

const SHARDS: usize = 8;

/// Decoded frames by place, within a budget; the least recently used leave first.
pub struct FrameCache {
    shards: [Mutex<Shard>; SHARDS],
    bytes_max: usize,
}

impl FrameCache {
    /// Makes an empty cache of at most `bytes_max` bytes of plaintext.
    pub fn new(bytes_max: usize) -> Self {
        Self { shards: Default::default(), bytes_max: bytes_max / SHARDS }
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        // Frames are some 2^14 bytes apart or more, which the multiplication spreads over the high bits.
        let mixed = (key.1 ^ u32::from(key.0.as_bytes()[0])).wrapping_mul(0x9e37_79b1) >> 16;
        &self.shards[mixed as usize % SHARDS]
    }

    /// Returns the frame at `offset` of `pack` if it is here.
    pub fn get(&self, pack: ObjectId, offset: u32) -> Option<Arc<Vec<u8>>> {
        let key = (pack, offset);
        let mut shard = lock(self.shard(&key));
        shard.clock += 1;
        let clock = shard.clock;
        let entry = shard.entries.iter_mut().find(|entry| entry.key == key)?;
        entry.used = clock;
        Some(Arc::clone(&entry.plain))
    }

    /// Adds a frame.
    pub fn insert(&self, pack: ObjectId, offset: u32, plain: Arc<Vec<u8>>) {
        let key = (pack, offset);
        let mut shard = lock(self.shard(&key));
        if shard.entries.iter().any(|entry| entry.key == key) {
            return;
        }
        shard.clock += 1;
        shard.bytes += plain.len();
        let used = shard.clock;
        shard.entries.push(Entry { key, plain, used });
        while shard.bytes > self.bytes_max && shard.entries.len() > 1 {
            let oldest = (0..shard.entries.len()).min_by_key(|&at| shard.entries[at].used).unwrap_or(0);
            let left = shard.entries.swap_remove(oldest);
            shard.bytes -= left.plain.len();
        }
    }
}
