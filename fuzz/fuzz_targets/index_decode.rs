//! Any bytes as an index object's payload, as a pack's footer, and as its trailer.
#![no_main]

use daykeep_engine::ObjectId;
use daykeep_engine::internals::base::{ChunkId, ShortId, limits};
use daykeep_engine::internals::format::index::{
    ChunkKind, ChunkRecord, DeltaRecord, Encoding, FrameRecord, FrameTable, Index, PackRecord, Reach, RecordId,
};
use daykeep_engine::internals::format::pack::{Footer, TRAILER_BYTES, Trailer};
use libfuzzer_sys::fuzz_target;

fn table<I: RecordId>(id: I) -> FrameTable<I> {
    let chunk = |kind, bytes| ChunkRecord { id, kind, bytes, delta: None };
    let delta =
        Some(Box::new(DeltaRecord { bytes: 4096, reach: Reach { depth: 2, closure: 5 }, bases: vec![[1; 8], [2; 8]] }));
    FrameTable {
        frames: vec![
            FrameRecord { encoding: Encoding::Raw, sealed_bytes: 5016, plain_bytes: 5000, chunks: 1 },
            FrameRecord { encoding: Encoding::Zstd, sealed_bytes: 300, plain_bytes: 1200, chunks: 3 },
        ],
        chunks: vec![
            chunk(ChunkKind::Data, 5000),
            chunk(ChunkKind::Tree, 1000),
            chunk(ChunkKind::List, 100),
            ChunkRecord { delta, ..chunk(ChunkKind::Data, 100) },
        ],
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let pack =
        PackRecord { id: ObjectId::from_bytes([8; 32]), bytes: 9000, table: table(ShortId::from_bytes([1; 16])) };
    let footer = Footer { table: table(ChunkId::from_bytes([2; 32])), padding_bytes: 100 };
    let trailer = Trailer { footer_bytes: 200, parity_bytes: 0 };
    let index = Index { packs: vec![pack.clone(), pack] };
    vec![index.encode(), Index::default().encode(), footer.encode(), trailer.encode().to_vec()]
}

/// Checks that all places lie within the pack and follow each other.
fn check_table<I: RecordId>(table: &FrameTable<I>) {
    let mut count = 0;
    let mut end = 0;
    table.locate(ObjectId::from_bytes([0; 32]), |_, place| {
        let frame = place.frame;
        assert!(place.offset + place.stored_bytes <= frame.plain_bytes, "a chunk lies in its frame");
        assert!(frame.plain_bytes as usize <= limits::FRAME_BYTES_MAX);
        assert!(u64::from(frame.offset) >= end, "frames follow each other");
        if place.offset + place.stored_bytes == frame.plain_bytes {
            end = u64::from(frame.offset) + u64::from(frame.sealed_bytes);
        }
        count += 1;
    });
    assert_eq!(count, table.chunks.len(), "every chunk has a place");
    assert!(table.frames.is_empty() || end == table.end(), "the last frame ends the frames");
    assert!(table.end() <= limits::PACK_BYTES_MAX as u64);
}

fuzz_target!(init: daykeep_fuzz::plant_seeds(&seeds()), |bytes: &[u8]| {
    if let Ok(index) = Index::decode(bytes) {
        index.packs.iter().for_each(|pack| check_table(&pack.table));
        let encoded = index.encode();
        assert!(encoded.len() <= bytes.len(), "nothing is written longer than it was read");
        assert_eq!(Index::decode(&encoded), Ok(index));
    }
    if let Ok(footer) = Footer::decode(bytes) {
        check_table(&footer.table);
        assert_eq!(footer.encode(), bytes, "a footer has one encoding");
    }
    if let Ok(trailer) = Trailer::decode(&bytes[..bytes.len().min(TRAILER_BYTES)]) {
        assert_eq!(trailer.encode(), bytes[..TRAILER_BYTES]);
    }
});
