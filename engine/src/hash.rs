//! Rank 2: chunk ids.

use crate::base::ChunkId;

/// Returns the keyed BLAKE3 hash of a chunk's bytes (<https://github.com/BLAKE3-team/BLAKE3-specs>). The key keeps
/// anyone who sees ids from testing which files they stand for.
pub fn chunk_id(key: &[u8; 32], bytes: &[u8]) -> ChunkId {
    ChunkId::from_bytes(*blake3::keyed_hash(key, bytes).as_bytes())
}
