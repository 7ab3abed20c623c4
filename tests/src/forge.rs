//! Writes repositories by hand, with the right key: for content that no honest program writes.

use std::sync::Arc;

use daykeep_engine::internals::base::{ChunkId, ShortId};
use daykeep_engine::internals::chunk::DEFAULT_PARAMS;
use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::crypt::{Keys, MasterKey, SlotSecret, make_slot};
use daykeep_engine::internals::format::codec::Writer;
use daykeep_engine::internals::format::config::{ChunkerParams, Config};
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::{
    ChunkKind, ChunkRecord, DeltaRecord, Encoding, FrameTable, Index, PackRecord,
};
use daykeep_engine::internals::hash;
use daykeep_engine::internals::pack::{Frame, PackBuilder};
use daykeep_engine::{MemoryStore, ObjectId, ObjectKind, ObjectName, RepositoryId, SnapshotRecord, Store, Timestamp};

use crate::place::key;

/// A repository in memory that is written object by object.
pub struct Forge {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// What seals it.
    pub codec: Codec,
    chunks: Vec<(ChunkRecord<ChunkId>, Vec<u8>)>,
    objects: u8,
}

/// The time of everything in it.
pub const TIME: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 5 };

impl Forge {
    /// Begins a repository.
    pub fn new() -> Self {
        Self::with_params(DEFAULT_PARAMS)
    }

    /// Begins one that cuts files in its own way.
    pub fn with_params(chunker: ChunkerParams) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_pack_bytes(2 << 20));
        let master = MasterKey::from_bytes([9; 32]);
        let repository = RepositoryId::from_bytes([3; 16]);
        let codec = Codec { repository, location: "forged".into(), keys: Keys::new(&master), parity_percent: 0 };
        let name = ObjectName::new(ObjectKind::Key, ObjectId::from_bytes([1; 32]));
        let header = codec.header(&name);
        let slot = make_slot(&master, &SlotSecret::Recovery(&key()), &header, "recovery key", TIME).unwrap();
        let object = [header.as_slice(), &slot.encode_body(), &slot.mac].concat();
        store.put(&name, &object).unwrap();
        let config = Config { created: TIME, chunker, shared_gear: None, parity_percent: 0 }.encode();
        store.put(&ObjectName::CONFIG, &codec.seal_object(&ObjectName::CONFIG, &config).unwrap()).unwrap();
        Self { store, codec, chunks: Vec::new(), objects: 1 }
    }

    /// Returns the name of a new object.
    pub fn name(&mut self, kind: ObjectKind) -> ObjectName {
        self.objects += 1;
        ObjectName::new(kind, ObjectId::from_bytes([self.objects; 32]))
    }

    /// Adds a chunk, of at most 1 MiB, and returns its id.
    pub fn chunk(&mut self, kind: ChunkKind, bytes: &[u8]) -> ShortId {
        let id = hash::chunk_id(self.codec.keys.ids(kind), bytes);
        self.add(ChunkRecord { id, kind, bytes: bytes.len() as u32, delta: None }, bytes);
        id.short()
    }

    /// Adds a data chunk with the id of `target` that is stored as `delta`, whatever that makes, and returns its part.
    pub fn delta(&mut self, target: &[u8], delta: &[u8], record: DeltaRecord) -> Part {
        let kind = ChunkKind::Data;
        let id = hash::chunk_id(self.codec.keys.ids(kind), target);
        let part = Part::Chunk { id: id.short(), bytes: u64::from(record.bytes) };
        self.add(ChunkRecord { id, kind, bytes: delta.len() as u32, delta: Some(Box::new(record)) }, delta);
        part
    }

    fn add(&mut self, chunk: ChunkRecord<ChunkId>, bytes: &[u8]) {
        if !self.chunks.iter().any(|(known, _)| known.id == chunk.id) {
            self.chunks.push((chunk, bytes.to_vec()));
        }
    }

    /// Adds a chunk and returns a part that stands for it.
    pub fn part(&mut self, kind: ChunkKind, bytes: &[u8]) -> Part {
        Part::Chunk { id: self.chunk(kind, bytes), bytes: bytes.len() as u64 }
    }

    /// Adds the bytes of a tree, whatever they are, and returns where they are.
    pub fn tree(&mut self, bytes: &[u8]) -> Content {
        let parts = bytes.chunks(1 << 20).map(|bytes| self.part(ChunkKind::Tree, bytes)).collect();
        Content { level: 0, parts }
    }

    /// Stores all chunks, the index that lists them, and a snapshot.
    pub fn snapshot(&mut self, root: Content) -> ObjectId {
        self.flush();
        let name = self.name(ObjectKind::Snapshot);
        let record =
            SnapshotRecord { started: TIME, ended: TIME, host: "forge".into(), root, ..SnapshotRecord::default() };
        let object = self.codec.seal_object(&name, &record.encode()).unwrap();
        self.store.put(&name, &object).unwrap();
        self.store.sync().unwrap();
        name.id
    }

    /// Stores all chunks and the index that lists them.
    pub fn flush(&mut self) {
        let mut index = Index::default();
        let chunks = std::mem::take(&mut self.chunks);
        let mut rest = chunks.as_slice();
        while !rest.is_empty() {
            let id = self.name(ObjectKind::Pack).id;
            let mut builder = PackBuilder::new(&self.codec, id, 2 << 20, Vec::new());
            while let Some((first, after)) = rest.split_first() {
                let chunks = std::slice::from_ref(&first.0);
                let frame = Frame { encoding: Encoding::Raw, body: &first.1, chunks };
                if !builder.fits(&frame) {
                    break;
                }
                builder.append(&frame).unwrap();
                rest = after;
            }
            let pack = builder.finish().unwrap();
            self.store.put(&ObjectName::new(ObjectKind::Pack, id), pack.as_bytes()).unwrap();
            index.packs.push(PackRecord { id, bytes: pack.as_bytes().len() as u32, table: shorten(&pack.table) });
        }
        let name = self.name(ObjectKind::Index);
        let object = self.codec.seal_object(&name, &index.encode()).unwrap();
        self.store.put(&name, &object).unwrap();
        self.store.sync().unwrap();
    }
}

impl Default for Forge {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a footer's table with short ids.
pub fn shorten(table: &FrameTable<ChunkId>) -> FrameTable<ShortId> {
    let chunks = table.chunks.iter().map(|chunk| ChunkRecord {
        id: chunk.id.short(),
        kind: chunk.kind,
        bytes: chunk.bytes,
        delta: chunk.delta.clone(),
    });
    FrameTable { frames: table.frames.clone(), chunks: chunks.collect() }
}

/// Writes the beginning of a tree: no owners' names, no extensions.
pub fn tree_writer() -> Writer {
    let mut out = Writer::default();
    out.varint(0);
    out.varint(0);
    out.varint(0);
    out
}

/// Writes an entry with any name: kind and flags, then ordinary metadata. What the kind demands is for the caller.
pub fn entry(out: &mut Writer, name: &[u8], kind: u8) {
    out.bytes(name);
    out.u8(kind);
    // Who is not root must be able to look into a restored folder.
    out.varint(if kind & 0x0f == 2 { 0o755 } else { 0o644 });
    out.varint(0);
    out.varint(0);
    for _ in 0..2 {
        out.varint_signed(TIME.seconds);
        out.varint(u64::from(TIME.nanos));
    }
    out.varint(1);
}

/// Writes a content record, whatever it says.
pub fn content(out: &mut Writer, content: &Content) {
    out.u8(content.level);
    out.varint(content.parts.len() as u64);
    for part in &content.parts {
        out.varint(u64::from(matches!(part, Part::Hole { .. })));
        out.varint(part.bytes());
        out.varint(1);
    }
    for part in &content.parts {
        if let Part::Chunk { id, .. } = part {
            out.raw(id.as_bytes());
        }
    }
}

/// Writes a regular file.
pub fn file(out: &mut Writer, name: &[u8], of: &Content) {
    entry(out, name, 1);
    out.u8(0);
    content(out, of);
}

/// Writes a directory.
pub fn directory(out: &mut Writer, name: &[u8], of: &Content) {
    entry(out, name, 2);
    content(out, of);
}
