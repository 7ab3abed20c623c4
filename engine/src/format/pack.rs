//! The end of a pack: the sealed footer that lists its frames, and the trailer in clear that finds the footer.

use crate::base::ChunkId;
use crate::base::limits::{FOOTER_BYTES_MAX, PACK_BYTES_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::header::HEADER_BYTES;
use crate::format::index::FrameTable;
use crate::format::parity::Geometry;

/// The bytes of a trailer, the very last of a pack.
pub const TRAILER_BYTES: usize = 16;
/// What every pack ends with.
pub const MAGIC: [u8; 8] = *b"dk-pack\x1a";

/// What a pack says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// Its frames and chunks, with their whole ids.
    pub table: FrameTable<ChunkId>,
    /// How many sealed zero bytes, tag not included, lie between the last frame and the footer; 0: no padding at all.
    pub padding_bytes: u32,
}

impl Footer {
    /// Returns the encoded footer, before sealing.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 + self.table.chunks.len() * (ChunkId::LEN + 4));
        out.u32(self.padding_bytes);
        self.table.write(&mut out);
        out.finish()
    }

    /// Decodes a footer.
    ///
    /// # Errors
    /// A [`FormatError`] that says where.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let start = input.clone();
        let padding_bytes = input.u32()?;
        if padding_bytes > PACK_BYTES_MAX as u32 {
            return Err(start.error("padding within a pack", padding_bytes));
        }
        let table = FrameTable::read(&mut input)?;
        input.finish()?;
        Ok(Self { table, padding_bytes })
    }
}

/// Finds the footer from a pack's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The sealed footer's bytes, tag included; it ends where the parity begins.
    pub footer_bytes: u32,
    /// Bytes of the parity section between footer and trailer.
    pub parity_bytes: u32,
}

impl Trailer {
    /// Returns the encoded trailer; it is associated data of the footer.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&self.footer_bytes.to_le_bytes());
        out[4..8].copy_from_slice(&self.parity_bytes.to_le_bytes());
        out[8..].copy_from_slice(&MAGIC);
        out
    }

    /// Decodes the last 16 bytes of a pack.
    ///
    /// # Errors
    /// A [`FormatError`] for another magic, or lengths beyond their limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let start = input.clone();
        let footer_bytes = input.u32()?;
        let parity_bytes = input.u32()?;
        if input.array::<8>()? != MAGIC {
            return Err(start.error("the magic that ends a pack", "other bytes"));
        }
        input.finish()?;
        if footer_bytes as usize > FOOTER_BYTES_MAX || parity_bytes as usize > PACK_BYTES_MAX {
            let found = format!("{footer_bytes} and {parity_bytes}");
            return Err(start.error("a footer of at most 16 MiB and parity within a pack", found));
        }
        Ok(Self { footer_bytes, parity_bytes })
    }

    /// Returns how a pack of `bytes` bytes with this trailer is divided, and where its footer begins; `None` if no pack of
    /// that length has such a trailer.
    pub fn place(&self, bytes: u64) -> Option<(Geometry, u64)> {
        let geometry = Geometry::of_trailer(bytes, self.parity_bytes)?;
        let footer_at = geometry.protected.checked_sub(TRAILER_BYTES + self.footer_bytes as usize)?;
        (footer_at >= HEADER_BYTES).then_some((geometry, footer_at as u64))
    }
}

/// Returns `bytes` rounded up by Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019):
/// at most 12 % more, at most 3.2 % for a megabyte and above, and only O(log log n) bits of the length are left to see.
pub fn padme(bytes: u64) -> u64 {
    if bytes < 2 {
        return bytes;
    }
    let exponent = bytes.ilog2();
    let kept_bits = exponent.ilog2().saturating_add(1);
    let mask = (1u64 << exponent.saturating_sub(kept_bits)) - 1;
    (bytes + mask) & !mask
}
