//! The catalog's records as bytes. Integers are little-endian; nothing here is sealed, and nothing here outlives a
//! change of [`FORMAT`](super::file::FORMAT).

use crate::base::{ObjectId, RepositoryId};
use crate::format::index::{BasePrefix, ChunkKind, ChunkLocation, Encoding, FrameLocation, Reach};

/// The length of an entry of a chunk that is no delta.
const ENTRY_BYTES: usize = 32;
/// The length of the record that says whose catalog this is.
pub(super) const META_BYTES: usize = 4 + RepositoryId::LEN;

/// Appends a place and the bases. `pack` is the number of its pack in this catalog: four bytes where the id would be 32.
pub(super) fn encode(pack: u32, location: &ChunkLocation, bases: &[BasePrefix], out: &mut Vec<u8>) {
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
    out.extend_from_slice(&entry);
    out.extend_from_slice(bases.as_flattened());
}

/// Returns the place that `entry` tells, or `None` if it tells none: its pack is not among `packs`, a code is unknown, or
/// it is too short.
pub(super) fn decode(entry: &[u8], packs: &[ObjectId]) -> Option<ChunkLocation> {
    let entry = entry.first_chunk::<ENTRY_BYTES>()?;
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&entry[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let frame = FrameLocation {
        pack: *packs.get(usize::try_from(number(0)).ok()?)?,
        offset: number(4),
        sealed_bytes: number(8),
        plain_bytes: number(12),
        encoding: Encoding::from_code(entry[28])?,
    };
    Some(ChunkLocation {
        frame,
        offset: number(16),
        stored_bytes: number(24),
        bytes: number(20),
        kind: ChunkKind::from_code(entry[29])?,
        reach: Reach { depth: entry[30], closure: entry[31] },
    })
}

/// Returns the bases in `entry`.
pub(super) fn bases(entry: &[u8]) -> &[BasePrefix] {
    entry.get(ENTRY_BYTES..).map_or(&[], |bases| bases.as_chunks().0)
}

/// Returns whether one entry's chunk may be a base of another's: it is of the same kind, and less deep.
pub(super) fn can_be_base(base: &[u8], of: &[u8]) -> bool {
    let head = |entry: &[u8]| entry.first_chunk::<ENTRY_BYTES>().map(|entry| (entry[29], entry[30]));
    matches!((head(base), head(of)), (Some((kind, depth)), Some((of_kind, of_depth))) if kind == of_kind && depth < of_depth)
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
        let (mut entry, prefixes) = (Vec::new(), [[1; 8], [2; 8]]);
        encode(1, &location, &prefixes, &mut entry);
        assert_eq!((decode(&entry, &packs).unwrap(), bases(&entry)), (location, &prefixes[..]));
        assert_eq!(decode(&entry[..31], &packs), None, "it is too short");
        assert_eq!(decode(&entry, &packs[..1]), None, "the pack is unknown");
        for at in [28, 29] {
            let mut unknown = entry.clone();
            unknown[at] = 200;
            assert_eq!(decode(&unknown, &packs), None, "the code at {at} is unknown");
        }
    }
}
