//! The catalog's records as bytes. Integers are little-endian; nothing here is sealed, and nothing here outlives a
//! change of [`FORMAT`](super::file::FORMAT). A CRC-32 over an entry and the ids of its chunk and its pack tells what a disk has
//! changed: by a wrong place, a chunk that is well would seem damaged.

use crate::base::{ObjectId, RepositoryId, ShortId};
use crate::format::index::{BasePrefix, ChunkKind, ChunkLocation, Encoding, FrameLocation, Reach};

/// The length of an entry of a chunk that is no delta.
const ENTRY_BYTES: usize = 36;
/// Where its checksum is, behind what is always there.
const SUM: std::ops::Range<usize> = 32..36;
/// The length of the record that says whose catalog this is.
pub(super) const META_BYTES: usize = 4 + RepositoryId::LEN;

/// Returns the checksum of a chunk's entry.
fn sum(id: &ShortId, pack: &ObjectId, entry: &[u8; ENTRY_BYTES], bases: &[BasePrefix]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id.as_bytes());
    hasher.update(pack.as_bytes());
    hasher.update(&entry[..SUM.start]);
    hasher.update(bases.as_flattened());
    hasher.finalize().to_le_bytes()
}

/// Appends the place and the bases of a chunk. `pack` is the number of its pack in this catalog: four bytes where the id would
/// be 32.
pub(super) fn encode(id: &ShortId, pack: u32, location: &ChunkLocation, bases: &[BasePrefix], out: &mut Vec<u8>) {
    let frame = &location.frame;
    let mut entry = [0; ENTRY_BYTES];
    entry[0..4].copy_from_slice(&pack.to_le_bytes());
    entry[4..8].copy_from_slice(&frame.offset.to_le_bytes());
    entry[8..12].copy_from_slice(&frame.sealed_bytes.to_le_bytes());
    entry[12..16].copy_from_slice(&frame.plain_bytes.to_le_bytes());
    entry[16..20].copy_from_slice(&location.offset.to_le_bytes());
    entry[20..24].copy_from_slice(&location.bytes.to_le_bytes());
    entry[24..28].copy_from_slice(&location.stored_bytes.to_le_bytes());
    entry[28] = frame.encoding.code();
    entry[29] = location.kind.code();
    entry[30] = location.reach.depth;
    entry[31] = location.reach.closure;
    let sum = sum(id, &frame.pack, &entry, bases);
    entry[SUM].copy_from_slice(&sum);
    out.extend_from_slice(&entry);
    out.extend_from_slice(bases.as_flattened());
}

/// Returns the place and the bases of a chunk that `record` tells, or `None` if it tells none: it was changed or cut short, or
/// its pack is not among `packs`.
pub(super) fn decode<'r>(
    id: &ShortId,
    record: &'r [u8],
    packs: &[ObjectId],
) -> Option<(ChunkLocation, &'r [BasePrefix])> {
    let (entry, bases) = record.split_first_chunk::<ENTRY_BYTES>()?;
    let (bases, []) = bases.as_chunks() else { return None };
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&entry[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let pack = *packs.get(usize::try_from(number(0)).ok()?)?;
    if entry[SUM] != sum(id, &pack, entry, bases) {
        return None;
    }
    let frame = FrameLocation {
        pack,
        offset: number(4),
        sealed_bytes: number(8),
        plain_bytes: number(12),
        encoding: Encoding::from_code(entry[28])?,
    };
    let location = ChunkLocation {
        frame,
        offset: number(16),
        stored_bytes: number(24),
        bytes: number(20),
        kind: ChunkKind::from_code(entry[29])?,
        reach: Reach { depth: entry[30], closure: entry[31] },
    };
    Some((location, bases))
}

/// Encodes whose catalog it is and how its records are laid out.
pub(super) fn encode_meta(format: u32, repository: &RepositoryId) -> [u8; META_BYTES] {
    let mut meta = [0; META_BYTES];
    meta[..4].copy_from_slice(&format.to_le_bytes());
    meta[4..].copy_from_slice(repository.as_bytes());
    meta
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_field_survives() {
        let packs = [ObjectId::from_bytes([7; 32]), ObjectId::from_bytes([9; 32])];
        let frame =
            FrameLocation { pack: packs[1], offset: 1, sealed_bytes: 2, plain_bytes: 3, encoding: Encoding::Zstd };
        let reach = Reach { depth: 6, closure: 7 };
        let kind = ChunkKind::List;
        let location = ChunkLocation { frame, offset: u32::MAX, stored_bytes: 4, bytes: 5, kind, reach };
        let (mut entry, prefixes, id) = (Vec::new(), [[1; 8], [2; 8]], ShortId::from_bytes([3; 16]));
        encode(&id, 1, &location, &prefixes, &mut entry);
        assert_eq!(decode(&id, &entry, &packs).unwrap(), (location, &prefixes[..]));
        assert_eq!(decode(&id, &entry, &packs[..1]), None, "the pack is unknown");
        assert_eq!(decode(&id, &entry, &[packs[0]; 2]), None, "it is another pack's");
        assert_eq!(decode(&ShortId::from_bytes([4; 16]), &entry, &packs), None, "it is another chunk's");
        for len in 0..entry.len() {
            assert_eq!(decode(&id, &entry[..len], &packs), None, "cut to {len}");
        }
        for bit in 0..8 * entry.len() {
            let mut changed = entry.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&id, &changed, &packs), None, "bit {bit} is another");
        }
    }
}
