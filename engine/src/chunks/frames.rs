//! Gathers small chunks so that neighbours are compressed together.

use crate::base::ChunkId;
use crate::base::limits::{FRAME_BYTES_TARGET, FRAME_CHUNKS_MAX};
use crate::format::index::ChunkKind;

/// The plaintext of a frame that is being gathered.
#[derive(Default)]
pub struct FrameBuffer {
    /// The chunks' bytes, one after the other.
    pub plain: Vec<u8>,
    /// The chunks: id, kind and bytes.
    pub chunks: Vec<(ChunkId, ChunkKind, u32)>,
}

impl FrameBuffer {
    /// Returns whether a chunk of `bytes` bytes should rather begin the next frame.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        !self.chunks.is_empty()
            && (self.plain.len() + bytes > FRAME_BYTES_TARGET || self.chunks.len() >= FRAME_CHUNKS_MAX)
    }

    /// Adds a chunk.
    pub fn push(&mut self, id: ChunkId, kind: ChunkKind, bytes: &[u8]) {
        self.plain.extend_from_slice(bytes);
        self.chunks.push((id, kind, bytes.len() as u32));
    }

    /// Empties it; the memory stays.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.chunks.clear();
    }
}
