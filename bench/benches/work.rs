//! The stages of a backup as pieces of work that can be done any number of times: what `stages` times and `instructions`
//! counts. Everything is generated from fixed seeds, so that each run does the same.

use std::hint::black_box;
use std::path::PathBuf;

use daykeep_engine::internals::base::{ChunkId, ObjectId, ObjectKind, ObjectName, RepositoryId, ShortId};
use daykeep_engine::internals::catalog::{Catalog, CatalogEntry};
use daykeep_engine::internals::chunk::{Chunker, DEFAULT_PARAMS, sniff};
use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::compress::{Compressor, looks_compressed_inside, looks_incompressible};
use daykeep_engine::internals::crypt::{Keys, MasterKey};
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::header::TAG_BYTES;
use daykeep_engine::internals::format::index::{
    ChunkKind, ChunkLocation, ChunkRecord, Encoding, FrameLocation, FrameRecord, FrameTable, Index, PackRecord, Reach,
};
use daykeep_engine::internals::format::tree::{Class, Entry, Metadata, Node, Timestamp, Tree};
use daykeep_engine::internals::hash::chunk_id;
use daykeep_engine::internals::measure::data::{Language, Random, media};
use daykeep_engine::internals::pack::{Frame, PackBuilder, verify};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const FRAME_BYTES: usize = 256 * KIB;
const PACK_BYTES: usize = 2 * MIB;
const TREE_ENTRIES: u64 = 1000;
const INDEX_PACKS: u64 = 16;
const FRAMES_PER_PACK: u64 = 64;
const CHUNKS_PER_FRAME: u64 = 8;
const CATALOG_CHUNKS: usize = 4096;
/// The catalog is begun anew after so many additions, which costs a hundredth of them.
const CATALOG_ROUNDS: usize = 32;

/// Every piece of work, as `stage/variant`.
pub const NAMES: &[&str] = &[
    "chunk/text",
    "chunk/media",
    "chunk/sqlite",
    "id/4KiB",
    "id/32KiB",
    "id/256KiB",
    "compress/text",
    "compress/media",
    "compress/sqlite",
    "seal/4KiB",
    "seal/256KiB",
    "open/4KiB",
    "open/256KiB",
    "pack/write",
    "pack/read",
    "object/seal",
    "object/open",
    "catalog/insert",
    "catalog/look_up",
    "tree/encode",
    "tree/decode",
    "index/encode",
    "index/decode",
];

/// How much one round is.
#[derive(Clone, Copy)]
pub enum Amount {
    Bytes(u64),
    Items(u64),
}

/// A piece of work, prepared.
pub struct Work {
    pub amount: Amount,
    pub round: Box<dyn FnMut()>,
}

impl Work {
    fn bytes(bytes: usize, round: impl FnMut() + 'static) -> Self {
        Self { amount: Amount::Bytes(bytes as u64), round: Box::new(round) }
    }

    fn items(items: u64, round: impl FnMut() + 'static) -> Self {
        Self { amount: Amount::Items(items), round: Box::new(round) }
    }
}

/// Prepares the work of this name; `None` if there is none.
pub fn prepare(name: &str) -> Option<Work> {
    Some(match name {
        "chunk/text" => chunk(text(MIB)),
        "chunk/media" => chunk(photo(4 * MIB)),
        "chunk/sqlite" => chunk(pages(4 * MIB)),
        "id/4KiB" => id(4 * KIB),
        "id/32KiB" => id(32 * KIB),
        "id/256KiB" => id(256 * KIB),
        "compress/text" => compress(text(FRAME_BYTES), Class::General),
        "compress/media" => compress(photo(4 * MIB), Class::Media),
        "compress/sqlite" => compress(pages(FRAME_BYTES), Class::Sqlite),
        "seal/4KiB" => seal(4 * KIB),
        "seal/256KiB" => seal(256 * KIB),
        "open/4KiB" => open(4 * KIB),
        "open/256KiB" => open(256 * KIB),
        "pack/write" => pack_write(),
        "pack/read" => pack_read(),
        "object/seal" => object_seal(),
        "object/open" => object_open(),
        "catalog/insert" => catalog_insert(),
        "catalog/look_up" => catalog_look_up(),
        "tree/encode" => tree_encode(),
        "tree/decode" => tree_decode(),
        "index/encode" => index_encode(),
        "index/decode" => index_decode(),
        _ => return None,
    })
}

fn text(bytes: usize) -> Vec<u8> {
    Language::default().text(&mut Random::new(1), bytes)
}

fn pages(bytes: usize) -> Vec<u8> {
    // What is cut and compressed page by page need not differ from page to page.
    let block = Language::default().pages(&mut Random::new(1), FRAME_BYTES.min(bytes));
    block.iter().copied().cycle().take(bytes).collect()
}

fn photo(bytes: usize) -> Vec<u8> {
    media(&mut Random::new(1), bytes)
}

fn codec() -> Codec {
    let repository = RepositoryId::from_bytes([1; RepositoryId::LEN]);
    Codec {
        repository,
        location: "a benchmark".into(),
        keys: Keys::new(&MasterKey::from_bytes([7; 32])),
        parity_percent: 0,
    }
}

fn random_id<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

fn name(kind: ObjectKind) -> ObjectName {
    ObjectName::new(kind, ObjectId::from_bytes([3; ObjectId::LEN]))
}

fn chunk(data: Vec<u8>) -> Work {
    let chunker = Chunker::new(DEFAULT_PARAMS, codec().keys.gear());
    let cutter = chunker.cutter(sniff(&data));
    Work::bytes(data.len(), move || {
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            rest = &rest[black_box(chunker.cut(&cutter, rest))..];
        }
    })
}

fn id(chunk_bytes: usize) -> Work {
    let (codec, data) = (codec(), photo(MIB));
    Work::bytes(data.len(), move || {
        for chunk in data.chunks(chunk_bytes) {
            black_box(chunk_id(codec.keys.ids(ChunkKind::Data), chunk));
        }
    })
}

fn compress(data: Vec<u8>, class: Class) -> Work {
    let mut compressor = Compressor::new(1).unwrap();
    let mut out = Vec::new();
    Work::bytes(data.len(), move || {
        for frame in data.chunks(FRAME_BYTES) {
            let is_kept = match class {
                Class::Media => looks_compressed_inside(frame),
                _ => looks_incompressible(frame),
            };
            if !is_kept {
                black_box(compressor.compress(frame, &mut out).unwrap());
            }
        }
    })
}

fn seal(frame_bytes: usize) -> Work {
    let (codec, data) = (codec(), photo(MIB));
    let name = name(ObjectKind::Pack);
    let (key, header) = (codec.keys.object(&name), codec.header(&name));
    let mut out = vec![0; frame_bytes + TAG_BYTES];
    Work::bytes(data.len(), move || {
        for (position, frame) in data.chunks(frame_bytes).enumerate() {
            key.seal(position as u64, &header, frame, &mut out).unwrap();
        }
        black_box(&out);
    })
}

fn open(frame_bytes: usize) -> Work {
    let (codec, data) = (codec(), photo(MIB));
    let name = name(ObjectKind::Pack);
    let (key, header) = (codec.keys.object(&name), codec.header(&name));
    let sealed: Vec<Vec<u8>> = data
        .chunks(frame_bytes)
        .enumerate()
        .map(|(position, frame)| {
            let mut out = vec![0; frame_bytes + TAG_BYTES];
            key.seal(position as u64, &header, frame, &mut out).unwrap();
            out
        })
        .collect();
    let mut out = vec![0; frame_bytes];
    Work::bytes(data.len(), move || {
        for (position, frame) in sealed.iter().enumerate() {
            key.open(position as u64, &header, frame, &mut out).unwrap();
        }
        black_box(&out);
    })
}

/// Fills a pack: frames of one large chunk, and one frame of many small ones.
fn fill_pack(codec: &Codec, data: &[u8], chunks: &[Vec<ChunkRecord<ChunkId>>], buffer: Vec<u8>) -> Vec<u8> {
    let mut pack = PackBuilder::new(codec, name(ObjectKind::Pack).id, PACK_BYTES, buffer);
    for (body, chunks) in data.chunks(FRAME_BYTES).zip(chunks) {
        pack.append(&Frame { encoding: Encoding::Raw, body, chunks }).unwrap();
    }
    let sealed = pack.finish().unwrap();
    black_box(sealed.as_bytes());
    let len = sealed.as_bytes().len();
    let mut buffer = sealed.into_buffer();
    buffer.truncate(len);
    buffer
}

type FrameChunks = Vec<Vec<ChunkRecord<ChunkId>>>;

fn pack_parts(codec: &Codec) -> (Vec<u8>, FrameChunks) {
    let data = photo(6 * FRAME_BYTES);
    let key = codec.keys.ids(ChunkKind::Data);
    let of_frame = |(index, frame): (usize, &[u8])| {
        let chunk_bytes = if index == 0 { 4 * KIB } else { FRAME_BYTES };
        let record = |chunk: &[u8]| {
            let (id, kind, bytes) = (chunk_id(key, chunk), ChunkKind::Data, chunk.len() as u32);
            ChunkRecord { id, kind, bytes, delta: None }
        };
        frame.chunks(chunk_bytes).map(record).collect()
    };
    let chunks = data.chunks(FRAME_BYTES).enumerate().map(of_frame).collect();
    (data, chunks)
}

fn pack_write() -> Work {
    let codec = codec();
    let (data, chunks) = pack_parts(&codec);
    let mut buffer = Vec::new();
    Work::bytes(data.len(), move || buffer = fill_pack(&codec, &data, &chunks, std::mem::take(&mut buffer)))
}

fn pack_read() -> Work {
    let codec = codec();
    let (data, chunks) = pack_parts(&codec);
    let pack = fill_pack(&codec, &data, &chunks, Vec::new());
    Work::bytes(data.len(), move || {
        black_box(verify(&codec, &name(ObjectKind::Pack), &pack).unwrap());
    })
}

fn object_seal() -> Work {
    let (codec, payload) = (codec(), index().encode());
    Work::bytes(payload.len(), move || {
        black_box(codec.seal_object(&name(ObjectKind::Index), &payload).unwrap());
    })
}

fn object_open() -> Work {
    let (codec, payload) = (codec(), index().encode());
    let object = codec.seal_object(&name(ObjectKind::Index), &payload).unwrap();
    Work::bytes(payload.len(), move || {
        black_box(codec.open_object(&name(ObjectKind::Index), &object, payload.len()).unwrap());
    })
}

/// A folder in memory, where the system offers that, so that no disk is measured.
fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn catalog() -> (tempfile::TempDir, Catalog) {
    let folder = temp();
    let path: PathBuf = folder.path().join("catalog");
    let catalog = Catalog::open(Some(&path), &RepositoryId::from_bytes([1; RepositoryId::LEN]), 8 * MIB).unwrap();
    (folder, catalog)
}

fn catalog_entries(random: &mut Random) -> Vec<CatalogEntry> {
    let frame = FrameLocation {
        pack: ObjectId::from_bytes(random_id(random)),
        offset: 64,
        sealed_bytes: 100_000,
        plain_bytes: FRAME_BYTES as u32,
        encoding: Encoding::Zstd,
    };
    let (stored_bytes, kind, reach) = (4096, ChunkKind::Data, Reach::default());
    let location = ChunkLocation { frame, offset: 0, stored_bytes, bytes: 4096, kind, reach };
    let entry = |_| CatalogEntry { id: ShortId::from_bytes(random_id(random)), location, bases: Box::default() };
    (0..CATALOG_CHUNKS).map(entry).collect()
}

fn catalog_insert() -> Work {
    let (folder, catalog) = catalog();
    let mut random = Random::new(2);
    let mut rounds = 0;
    Work::items(CATALOG_CHUNKS as u64, move || {
        let _in_use = &folder;
        if rounds == CATALOG_ROUNDS {
            catalog.clear().unwrap();
            rounds = 0;
        }
        rounds += 1;
        catalog.add(&ObjectId::from_bytes(random_id(&mut random)), &mut catalog_entries(&mut random)).unwrap();
    })
}

fn catalog_look_up() -> Work {
    let (folder, catalog) = catalog();
    let mut random = Random::new(2);
    let mut entries = catalog_entries(&mut random);
    catalog.add(&ObjectId::from_bytes([1; ObjectId::LEN]), &mut entries).unwrap();
    // Every other one is not there.
    let ids: Vec<ShortId> =
        entries.iter().step_by(4).flat_map(|entry| [entry.id, ShortId::from_bytes(random_id(&mut random))]).collect();
    Work::items(ids.len() as u64, move || {
        let _in_use = &folder;
        for id in &ids {
            black_box(catalog.find(id).unwrap());
        }
    })
}

fn tree() -> Tree {
    let mut random = Random::new(2);
    let entry = |number: u64| {
        let time = Timestamp { seconds: 1_700_000_000 + number as i64, nanos: 123_456_789 };
        let metadata = Metadata {
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            mtime: time,
            ctime: time,
            inode: number,
            ..Metadata::default()
        };
        let part = |_| Part::Chunk { id: ShortId::from_bytes(random_id(&mut random)), bytes: 30_000 + number };
        let content = Content { level: 0, parts: (0..=number % 4).map(part).collect() };
        let node = Node::File { content, class: Class::General, capture: None };
        Entry { name: format!("IMG-20240101-WA{number:04}.jpg").into_bytes(), metadata, node }
    };
    Tree { entries: (0..TREE_ENTRIES).map(entry).collect(), ..Tree::default() }
}

fn tree_encode() -> Work {
    let tree = tree();
    Work::items(TREE_ENTRIES, move || {
        black_box(tree.encode());
    })
}

fn tree_decode() -> Work {
    let encoded = tree().encode();
    Work::items(TREE_ENTRIES, move || {
        black_box(Tree::decode(&encoded).unwrap());
    })
}

fn index() -> Index {
    let mut random = Random::new(2);
    let pack = |_| {
        let chunk = |_| ChunkRecord {
            id: ShortId::from_bytes(random_id(&mut random)),
            kind: ChunkKind::Data,
            bytes: 4096,
            delta: None,
        };
        let chunks = (0..FRAMES_PER_PACK * CHUNKS_PER_FRAME).map(chunk).collect();
        let frame = |_| FrameRecord {
            encoding: Encoding::Zstd,
            sealed_bytes: 12_000,
            plain_bytes: 4096 * CHUNKS_PER_FRAME as u32,
            chunks: CHUNKS_PER_FRAME as u32,
        };
        let table = FrameTable { frames: (0..FRAMES_PER_PACK).map(frame).collect(), chunks };
        PackRecord { id: ObjectId::from_bytes(random_id(&mut random)), bytes: PACK_BYTES as u32, table }
    };
    Index { packs: (0..INDEX_PACKS).map(pack).collect() }
}

fn index_encode() -> Work {
    let index = index();
    Work::items(INDEX_PACKS * FRAMES_PER_PACK * CHUNKS_PER_FRAME, move || {
        black_box(index.encode());
    })
}

fn index_decode() -> Work {
    let encoded = index().encode();
    Work::items(INDEX_PACKS * FRAMES_PER_PACK * CHUNKS_PER_FRAME, move || {
        black_box(Index::decode(&encoded).unwrap());
    })
}
