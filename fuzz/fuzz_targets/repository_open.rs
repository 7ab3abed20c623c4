//! Any bytes as objects of a repository: it opens or is refused, and whatever opens can be listed, checked and restored
//! from without a panic, and without a file outside the target.
#![no_main]

use std::sync::Arc;

use daykeep_engine::internals::base::ChunkId;
use daykeep_engine::internals::chunk::DEFAULT_PARAMS;
use daykeep_engine::internals::crypt::{SlotSecret, make_slot};
use daykeep_engine::internals::format::config::Config;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::{ChunkKind, ChunkRecord, FrameTable, Index, PackRecord};
use daykeep_engine::internals::format::tree::Tree;
use daykeep_engine::internals::hash;
use daykeep_engine::{
    Access, CheckOptions, MemoryStore, ObjectKind, ObjectName, OpenOptions, ReadData, Repository, RestoreOptions,
    Secret, SnapshotPath, SnapshotRecord, Store, Timestamp,
};
use daykeep_fuzz::{Damage, build_pack, codec, master, name, recovery, scratch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Change {
    /// The object has these bytes.
    Bytes(Vec<u8>),
    /// These bytes follow the object's own header.
    BytesBehindHeader(Vec<u8>),
    /// The object is sealed as it should be, with this payload; a pack has this as its one tree chunk.
    Payload(Vec<u8>),
    /// The object is damaged.
    Damaged(Damage),
    /// The object is not there.
    Missing,
}

#[derive(Arbitrary, Debug)]
struct Input {
    changes: Vec<(u8, Change)>,
}

/// Returns a small repository's objects; its one tree is `tree`.
fn objects(tree: &[u8]) -> Option<Vec<(ObjectName, Vec<u8>)>> {
    let pack = build_pack(&[vec![(ChunkKind::Tree, tree.to_vec())]], 2 << 20)?;
    let short = |chunk: &ChunkRecord<ChunkId>| ChunkRecord {
        id: chunk.id.short(),
        kind: chunk.kind,
        bytes: chunk.bytes,
        delta: None,
    };
    let table = FrameTable { frames: pack.table.frames.clone(), chunks: pack.table.chunks.iter().map(short).collect() };
    let bytes = pack.as_bytes().len() as u32;
    let index = Index { packs: vec![PackRecord { id: name(ObjectKind::Pack).id, bytes, table }] };
    let id = hash::chunk_id(codec().keys.ids(ChunkKind::Tree), tree).short();
    let root = Content { level: 0, parts: vec![Part::Chunk { id, bytes: tree.len() as u64 }] };
    let snapshot = SnapshotRecord { root, ..SnapshotRecord::default() };
    let config =
        Config { created: Timestamp::default(), chunker: DEFAULT_PARAMS, shared_gear: None, parity_percent: 0 };
    let key = name(ObjectKind::Key);
    let header = codec().header(&key);
    let slot = make_slot(&master(), &SlotSecret::Recovery(&recovery()), &header, "", Timestamp::default()).ok()?;
    let sealed = |kind, payload: &[u8]| Some((name(kind), codec().seal_object(&name(kind), payload).ok()?));
    Some(vec![
        sealed(ObjectKind::Config, &config.encode())?,
        (key, [header.as_slice(), &slot.encode_body(), &slot.mac].concat()),
        (name(ObjectKind::Pack), pack.as_bytes().to_vec()),
        sealed(ObjectKind::Index, &index.encode())?,
        sealed(ObjectKind::Snapshot, &snapshot.encode())?,
    ])
}

fn run(input: &Input) {
    let tree = input.changes.iter().find_map(|(number, change)| match change {
        Change::Payload(payload) if number % 5 == 2 && !payload.is_empty() => Some(payload.clone()),
        _ => None,
    });
    let Some(mut objects) = objects(&tree.unwrap_or_else(|| Tree::default().encode())) else { return };
    for (number, change) in &input.changes {
        let (name, bytes) = &mut objects[usize::from(*number) % 5];
        match change {
            Change::Bytes(new) => bytes.clone_from(new),
            Change::BytesBehindHeader(new) => *bytes = [codec().header(name).as_slice(), new].concat(),
            Change::Payload(_) if matches!(name.kind, ObjectKind::Pack | ObjectKind::Key) => {}
            Change::Payload(payload) => *bytes = codec().seal_object(name, payload).expect("anything can be sealed"),
            Change::Damaged(damage) => *bytes = damage.apply(bytes),
            Change::Missing => bytes.clear(),
        }
    }
    let store = Arc::new(MemoryStore::new());
    for (name, bytes) in &objects {
        if !bytes.is_empty() {
            store.put(name, bytes).expect("memory takes it");
        }
    }
    let options = OpenOptions::default().memory_bytes(64 << 20);
    let opened = Repository::open_in(store, &Secret::Recovery(recovery()), Access::Read, &options);
    let repository = match opened {
        Ok(repository) => repository,
        Err(error) => {
            assert!(!input.changes.is_empty(), "a whole repository opens: {error}");
            return;
        }
    };
    let _ = repository.snapshots();
    let _ = repository.keys();
    let _ = repository.recovery_key();
    let mut check = CheckOptions::default();
    check.read_data = ReadData::All;
    check.threads = 1;
    let report = repository.check(&check);
    let root = scratch();
    let latest = SnapshotPath::parse(b"latest").expect("it names the newest");
    let _ = repository.restore(&latest, &root.join("target"), &RestoreOptions::default());
    let names = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().all(|name| name == "target"), "something was written outside the target");
    let _ = std::fs::remove_dir_all(root);
    if input.changes.is_empty() {
        let report = report.expect("a whole repository can be checked");
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
}

fuzz_target!(|input: Input| run(&input));
