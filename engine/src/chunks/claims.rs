//! The chunks that this run has taken on itself to store and that the catalog does not have yet.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use crate::base::{IdHash, ShortId, lock};

const SHARDS: usize = 64;

type Shard = HashSet<ShortId, IdHash>;

/// A set of ids that many threads use at once.
pub struct Claims {
    shards: Vec<Mutex<Shard>>,
}

impl Claims {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, id: &ShortId) -> MutexGuard<'_, Shard> {
        // The last byte, since the first ones are the hash within the shard.
        let index = usize::from(id.as_bytes()[ShortId::LEN - 1]) % SHARDS;
        lock(&self.shards[index])
    }

    /// Adds an id and returns whether it was not there: whoever is told so stores the chunk.
    pub fn claim(&self, id: ShortId) -> bool {
        self.shard(&id).insert(id)
    }

    /// Takes an id out again, since the catalog has it.
    pub fn release(&self, id: &ShortId) {
        self.shard(id).remove(id);
    }
}
