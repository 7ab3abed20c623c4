//! Assembles a pack: frames are sealed straight into its buffer.

use crate::base::limits::{FRAME_BYTES_MAX, PACK_BYTES_MAX, PACK_BYTES_MIN, WRITTEN_PACK_BYTES_MAX};
use crate::base::{ChunkId, ObjectId, ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::crypt::{BadSeal, ObjectKey};
use crate::error::{Error, Result};
use crate::format::header::{HEADER_BYTES, TAG_BYTES};
use crate::format::index::{BasePrefix, ChunkRecord, Encoding, FrameRecord, FrameTable};
use crate::format::pack::{Footer, TRAILER_BYTES, Trailer, padme};
use crate::format::parity::Geometry;
use crate::parity;

/// A frame before sealing.
pub struct Frame<'a> {
    /// How `body` is encoded.
    pub encoding: Encoding,
    /// The encoded bytes.
    pub body: &'a [u8],
    /// The chunks whose plaintexts or deltas, one after the other, the frame holds.
    pub chunks: &'a [ChunkRecord<ChunkId>],
}

/// Bytes that a footer takes at most beyond its chunks: counts, padding length, tag and the trailer.
const FOOTER_OVERHEAD: usize = 64 + 2 * TAG_BYTES + TRAILER_BYTES;

/// Returns how many bytes of a pack the chunks of one frame take at most beyond the frame's body.
fn frame_overhead(chunks: &[ChunkRecord<ChunkId>]) -> usize {
    let delta = |chunk: &ChunkRecord<ChunkId>| {
        chunk.delta.as_ref().map_or(0, |delta| 3 + 2 + 1 + delta.bases.len() * size_of::<BasePrefix>())
    };
    let deltas: usize = chunks.iter().map(delta).sum();
    TAG_BYTES + 1 + 3 + 4 + chunks.len() * (ChunkId::LEN + 1 + 3) + deltas
}

/// Returns how long packs are to be: as long as a store likes best, but at most `most` bytes; and long enough in any case
/// for the longest frame, beside the parity that there is so much of.
pub fn pack_bytes(most: usize, liked: usize, parity_percent: u8) -> usize {
    let least = Geometry::of_protected(FRAME_BYTES_MAX / 2 * 3, parity_percent).bytes().max(PACK_BYTES_MIN);
    most.clamp(least, liked.min(WRITTEN_PACK_BYTES_MAX).max(least))
}

/// A pack that is being filled.
pub struct PackBuilder {
    name: ObjectName,
    header: [u8; HEADER_BYTES],
    key: ObjectKey,
    /// As long as the longest pack, so that sealing needs no memory cleared before it writes.
    buffer: Vec<u8>,
    used: usize,
    table: FrameTable<ChunkId>,
    overhead: usize,
    /// The most bytes that may come before the parity, the trailer among them.
    protected_max: usize,
    parity_percent: u8,
}

/// A pack that is ready to be stored.
pub struct SealedPack {
    /// Its name.
    pub id: ObjectId,
    /// What lies in it.
    pub table: FrameTable<ChunkId>,
    buffer: Vec<u8>,
    used: usize,
}

impl SealedPack {
    /// Returns the whole object.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// Gives the memory back for the next pack.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl PackBuilder {
    /// Begins a pack of at most `bytes_max` bytes under a new name, in the memory of `buffer`.
    pub fn new(codec: &Codec, id: ObjectId, bytes_max: usize, mut buffer: Vec<u8>) -> Self {
        let name = ObjectName::new(ObjectKind::Pack, id);
        let header = codec.header(&name);
        let bytes_max = bytes_max.min(PACK_BYTES_MAX);
        buffer.resize(bytes_max, 0);
        buffer[..HEADER_BYTES].copy_from_slice(&header);
        let (key, used, table) = (codec.keys.object(&name), HEADER_BYTES, FrameTable::default());
        let parity_percent = codec.parity_percent;
        let protected_max = Geometry::within(bytes_max, parity_percent).protected;
        Self { name, header, key, buffer, used, table, overhead: FOOTER_OVERHEAD, protected_max, parity_percent }
    }

    /// Returns whether `frame` fits.
    pub fn fits(&self, frame: &Frame<'_>) -> bool {
        self.used + self.overhead + frame.body.len() + frame_overhead(frame.chunks) <= self.protected_max
    }

    /// Seals a frame into the pack.
    ///
    /// # Errors
    /// If the frame does not fit, which is for the caller to ask before.
    pub fn append(&mut self, frame: &Frame<'_>) -> Result<()> {
        if !self.fits(frame) {
            return Err(Error::damaged_object(&self.name, "a frame was given that does not fit"));
        }
        // What is recorded can be read: a footer that no reader takes would cost the whole pack.
        if let Err(expected) = frame.chunks.iter().try_for_each(ChunkRecord::check) {
            let reason = format!("a chunk was given that no reader takes: expected {expected}");
            return Err(Error::damaged_object(&self.name, reason));
        }
        let plain_bytes = frame.chunks.iter().map(|chunk| chunk.bytes).sum();
        let sealed_bytes = (frame.body.len() + TAG_BYTES) as u32;
        self.seal(frame.body, &[])?;
        let chunks = frame.chunks.len() as u32;
        self.table.frames.push(FrameRecord { encoding: frame.encoding, sealed_bytes, plain_bytes, chunks });
        self.table.chunks.extend_from_slice(frame.chunks);
        self.overhead += frame_overhead(frame.chunks) - TAG_BYTES;
        Ok(())
    }

    /// Seals `plain` at the end of the buffer; its position is its nonce. The header is associated with everything.
    fn seal(&mut self, plain: &[u8], also_associated: &[u8]) -> Result<()> {
        let at = self.used;
        let mut associated = [0; HEADER_BYTES + TRAILER_BYTES];
        associated[..HEADER_BYTES].copy_from_slice(&self.header);
        associated[HEADER_BYTES..][..also_associated.len()].copy_from_slice(also_associated);
        let associated = &associated[..HEADER_BYTES + also_associated.len()];
        self.used += plain.len() + TAG_BYTES;
        let out = self.buffer.get_mut(at..self.used);
        out.ok_or(BadSeal)
            .and_then(|out| self.key.seal(at as u64, associated, plain, out))
            .map_err(|BadSeal| Error::damaged_object(&self.name, "could not be sealed"))
    }

    /// Closes the pack: padding, footer, parity, trailer.
    ///
    /// # Errors
    /// If sealing or coding fails, which it does only for want of memory.
    pub fn finish(mut self) -> Result<SealedPack> {
        let footer = Footer { table: std::mem::take(&mut self.table), padding_bytes: 0 };
        let footer_bytes = footer.encode().len();
        let bare = self.used + footer_bytes + TAG_BYTES + TRAILER_BYTES;
        let padding_bytes = padding_for(bare, self.protected_max);
        if padding_bytes > 0 {
            self.seal(&vec![0; padding_bytes], &[])?;
        }
        let footer = Footer { padding_bytes: padding_bytes as u32, ..footer };
        let encoded = footer.encode();
        let footer_bytes = encoded.len() + TAG_BYTES;
        let geometry = Geometry::of_protected(self.used + footer_bytes + TRAILER_BYTES, self.parity_percent);
        let parity_bytes = geometry.section_bytes();
        let trailer = Trailer { footer_bytes: footer_bytes as u32, parity_bytes: parity_bytes as u32 }.encode();
        self.seal(&encoded, &trailer)?;
        let (trailer_at, end) = (self.used + parity_bytes, geometry.bytes());
        debug_assert!(geometry.protected <= self.protected_max, "the overhead was counted in full");
        self.buffer[trailer_at..end].copy_from_slice(&trailer);
        parity::write(&mut self.buffer[..end], &geometry)
            .map_err(|error| Error::damaged_object(&self.name, format!("got no parity: {error}")))?;
        Ok(SealedPack { id: self.name.id, table: footer.table, buffer: self.buffer, used: end })
    }
}

/// Returns how many zero bytes, sealed with a tag of their own, bring a pack of `bare` bytes to a length that tells
/// little; 0 if it has one already, or has no room for any.
fn padding_for(bare: usize, bytes_max: usize) -> usize {
    if padme(bare as u64) == bare as u64 {
        return 0;
    }
    let padded = (padme((bare + TAG_BYTES + 1) as u64) as usize).min(bytes_max);
    padded.saturating_sub(bare + TAG_BYTES)
}
