//! Gathers small chunks so that neighbours are compressed together.

use crate::base::ChunkId;
use crate::base::limits::FRAME_CHUNKS_MAX;
use crate::format::index::ChunkRecord;

/// A frame that is being gathered.
#[derive(Default)]
pub struct FrameBuffer {
    /// The chunks' bytes, or their deltas, one after the other.
    pub plain: Vec<u8>,
    /// The chunks.
    pub chunks: Vec<ChunkRecord<ChunkId>>,
}

impl FrameBuffer {
    /// Returns whether a chunk of `bytes` bytes should rather begin the next frame, if frames shall have `target` bytes.
    pub fn is_full_for(&self, bytes: usize, target: usize) -> bool {
        !self.chunks.is_empty() && (self.plain.len() + bytes > target || self.chunks.len() >= FRAME_CHUNKS_MAX)
    }

    /// Adds a chunk, whose bytes in the frame are `bytes`.
    pub fn push(&mut self, chunk: ChunkRecord<ChunkId>, bytes: &[u8]) {
        debug_assert!(chunk.bytes as usize == bytes.len(), "the record says how many bytes there are");
        self.plain.extend_from_slice(bytes);
        self.chunks.push(chunk);
    }

    /// Empties it; the memory stays.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.chunks.clear();
    }
}
