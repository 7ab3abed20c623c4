//! Every encoded form comes back as it was, and any bytes at all are decoded or refused, in little memory.

use daykeep_engine::internals::base::limits::ARGON2_WORK_MAX;
use daykeep_engine::internals::base::limits::{BASES_MAX, DELTA_CLOSURE_MAX};
use daykeep_engine::internals::base::{ChunkId, ShortId};
use daykeep_engine::internals::crypt::DEFAULT_ARGON2;
use daykeep_engine::internals::format::codec::{Reader, Writer};
use daykeep_engine::internals::format::config::{CdcSizes, ChunkerParams, Config, GearKey};
use daykeep_engine::internals::format::content::{Content, Part, decode_list, encode_list};
use daykeep_engine::internals::format::extension::Extension;
use daykeep_engine::internals::format::header::Header;
use daykeep_engine::internals::format::index::{
    ChunkKind, ChunkRecord, DeltaRecord, Encoding, FrameRecord, FrameTable, Index, PackRecord, Reach,
};
use daykeep_engine::internals::format::key_slot::{Argon2Params, KeySlot, SlotKind};
use daykeep_engine::internals::format::pack::{Footer, Trailer, padme};
use daykeep_engine::internals::format::proof::{Proof, ProofRecord};
use daykeep_engine::internals::format::tree::{
    Capture, CaptureKind, Entry, Metadata, Node, OwnerName, Tree, is_valid_name,
};
use daykeep_engine::{Class, ObjectId, ObjectKind, ObjectName, RepositoryId, SnapshotRecord, Timestamp, Xattr};
use daykeep_tests::is_long;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::meter;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if is_long() { 20_000 } else { 200 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

fn part(max: u64) -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => (any::<[u8; 16]>(), 1..=max).prop_map(|(id, bytes)| Part::Chunk { id: ShortId::from_bytes(id), bytes }),
        1 => (1u64..1 << 50).prop_map(|bytes| Part::Hole { bytes }),
    ]
}

/// Parts of one level. Holes are on level 0, and no two of them meet.
fn parts(level: u8, count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Part>> {
    let is_hole = |part: &Part| matches!(part, Part::Hole { .. });
    vec(part(if level == 0 { 1 << 20 } else { 1 << 50 }), count).prop_map(move |mut parts| {
        parts.dedup_by(|next, last| is_hole(next) && is_hole(last));
        parts.retain(|part| level == 0 || !is_hole(part));
        parts
    })
}

fn content() -> impl Strategy<Value = Content> {
    (0u8..=6).prop_flat_map(|level| parts(level, 0..=16).prop_map(move |parts| Content { level, parts }))
}

fn node() -> impl Strategy<Value = Node> {
    let classes = &[Class::General, Class::Media, Class::Sqlite, Class::EncryptedPages][..];
    let class = prop::sample::select(classes);
    let kind = prop::sample::select(&[CaptureKind::Sqlite, CaptureKind::WhatsApp][..]);
    let capture = (kind, any::<[u8; 16]>()).prop_map(|(kind, state)| Capture { kind, state });
    prop_oneof![
        (content(), class, proptest::option::of(capture)).prop_map(|(content, class, capture)| Node::File {
            content,
            class,
            capture
        }),
        content().prop_map(|content| Node::Directory { content }),
        vec(any::<u8>(), 0..300).prop_map(|target| Node::Symlink { target }),
        Just(Node::Fifo),
        any::<u64>().prop_map(|device| Node::CharDevice { device }),
        any::<u64>().prop_map(|device| Node::BlockDevice { device }),
    ]
}

/// Sorts by a key, and leaves out what has the key of another.
fn sorted<T, K: Ord>(mut all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    all.sort_by_key(&key);
    all.dedup_by_key(|item| key(item));
    all
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattr = (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..80)).prop_map(|(name, value)| Xattr { name, value });
    (
        (0u16..0o10000, any::<[u32; 2]>(), time(), time()),
        (any::<u64>(), any::<Option<u64>>(), vec(xattr, 0..4)),
        (any::<u32>(), any::<bool>(), proptest::option::of(any::<i64>())),
        (proptest::option::of(vec(any::<u8>(), 0..300)), others()),
    )
        .prop_map(|(plain, (inode, link_device, xattrs), (flags, is_unknown, age), (crypt_header, other))| {
            let (mode, [uid, gid], mtime, ctime) = plain;
            let xattrs = sorted(xattrs, |xattr: &Xattr| xattr.name.clone());
            let crypt_header = crypt_header.map(Vec::into_boxed_slice);
            let birth = age.and_then(|age| before(mtime, age));
            let flags = if flags % 2 == 0 { 0 } else { flags };
            let links = Metadata { inode, link_device, xattrs, ..Metadata::default() };
            Metadata { mode, uid, gid, mtime, ctime, flags, is_unknown, birth, crypt_header, other, ..links }
        })
}

/// The time that lies so many nanoseconds before another.
fn before(time: Timestamp, nanos: i64) -> Option<Timestamp> {
    let all = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos) - i128::from(nanos);
    let seconds = i64::try_from(all.div_euclid(1_000_000_000)).ok()?;
    Some(Timestamp { seconds, nanos: all.rem_euclid(1_000_000_000) as u32 })
}

/// Extensions of a later version.
fn others() -> impl Strategy<Value = Vec<Extension>> {
    let other = (4u64..1 << 40, vec(any::<u8>(), 0..50));
    vec(other.prop_map(|(half, value)| Extension { code: half * 2, value }), 0..3)
        .prop_map(|others| sorted(others, |other: &Extension| other.code))
}

fn tree() -> impl Strategy<Value = Tree> {
    let name = vec(any::<u8>(), 1..40).prop_filter("a name", |name| is_valid_name(name));
    let entries = prop::collection::btree_map(name, (metadata(), node()), 0..12).prop_map(|entries| {
        entries.into_iter().map(|(name, (metadata, node))| Entry { name, metadata, node }).collect()
    });
    let owners = || vec((any::<u32>(), vec(any::<u8>(), 0..20)).prop_map(|(id, name)| OwnerName { id, name }), 0..4);
    (owners(), owners(), entries, any::<bool>(), others()).prop_map(|(users, groups, entries, left_out, other)| {
        let by_id = |owners| sorted(owners, |owner: &OwnerName| owner.id);
        Tree { users: by_id(users), groups: by_id(groups), left_out, other, entries }
    })
}

/// Entries as a careless writer could make them: one rule or two may be broken.
fn careless_entry() -> impl Strategy<Value = Entry> {
    let name = vec(any::<u8>(), 1..40).prop_filter("a name", |name| is_valid_name(name));
    (name, metadata(), node(), vec((0u8..16, any::<u16>()), 0..3)).prop_map(|(name, metadata, node, faults)| {
        let mut entry = Entry { name, metadata, node };
        for (fault, number) in faults {
            break_rule(&mut entry, fault, number);
        }
        entry
    })
}

fn break_rule(entry: &mut Entry, fault: u8, number: u16) {
    let meta = &mut entry.metadata;
    let xattr = |name: usize, value: usize| Xattr { name: vec![b'n'; name], value: vec![b'v'; value] };
    let many =
        |count: usize| (0..count).map(|at| Xattr { name: format!("{at:08}").into(), value: Vec::new() }).collect();
    let parts = match &mut entry.node {
        Node::File { content, .. } | Node::Directory { content } => Some(content),
        _ => None,
    };
    let near = usize::from(number % 3);
    match fault {
        0 => entry.name = [b"".as_slice(), b".", b"a/b"][near].to_vec(),
        1 => entry.name = vec![b'x'; 4095 + near],
        2 => meta.mode = number,
        3 => meta.mtime.nanos = 999_999_998 + u32::from(number % 3),
        4 => meta.ctime.nanos = 999_999_998 + u32::from(number % 3),
        5 => meta.xattrs = many(16_383 + near),
        6 => meta.xattrs = vec![xattr(4095 + near, 1)],
        7 => meta.xattrs = vec![xattr(1, 256 * 1024 - 1 + near)],
        8 => meta.xattrs = (1..=4).map(|name| xattr(name, 256 * 1024 - 4 + near)).collect(),
        9 => meta.xattrs = vec![xattr(near + 1, 0), xattr(2, 0)],
        10 => meta.birth = Some(Timestamp { seconds: i64::from(number) << 40, nanos: 1 }),
        11 => meta.crypt_header = Some(vec![0; 4095 + near].into()),
        12 => meta.other = vec![Extension { code: u64::from(number % 12), value: Vec::new() }],
        13 => {
            meta.other = (0..15 + near as u64).map(|at| Extension { code: 1000 + 2 * at, value: Vec::new() }).collect()
        }
        14 => entry.node = Node::Symlink { target: vec![b't'; 64 * 1024 - 1 + near] },
        _ => {
            let Some(content) = parts else { return };
            let chunk = |bytes| Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes };
            match number % 5 {
                0 => content.level = 7,
                1 => content.parts = vec![chunk(1); 15 + near],
                2 => content.parts.push(chunk((1 << 20) * near as u64)),
                3 => content.parts.extend([Part::Hole { bytes: 1 }; 2]),
                _ => content.parts = vec![chunk(1), Part::Hole { bytes: u64::MAX - 2 + near as u64 }],
            }
        }
    }
}

fn delta() -> impl Strategy<Value = DeltaRecord> {
    (1u32..=1 << 20, 1u8..=DELTA_CLOSURE_MAX, vec(any::<[u8; 8]>(), 1..=BASES_MAX), any::<u8>()).prop_map(
        |(bytes, depth, bases, more)| {
            let least = depth.max(bases.len() as u8);
            let closure = least + more % (DELTA_CLOSURE_MAX - least + 1);
            DeltaRecord { bytes, reach: Reach { depth, closure }, bases }
        },
    )
}

/// Frames with one chunk more than zero each; plain lengths are the sums of their chunks', as the reader derives them.
fn table<I: Clone + std::fmt::Debug>(id: impl Strategy<Value = I> + Clone) -> impl Strategy<Value = FrameTable<I>> {
    let kind = prop::sample::select(&[ChunkKind::Data, ChunkKind::Tree, ChunkKind::List][..]);
    let chunk = (id, kind, 1u32..50_000, prop::option::weighted(0.3, delta()))
        .prop_map(|(id, kind, bytes, delta)| ChunkRecord { id, kind, bytes, delta: delta.map(Box::new) });
    let frame = (any::<bool>(), vec(chunk, 1..10), 17u32..100_000);
    vec(frame, 0..8).prop_map(|frames| {
        let mut table = FrameTable { frames: Vec::new(), chunks: Vec::new() };
        for (is_raw, chunks, sealed) in frames {
            let plain_bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
            let (encoding, sealed_bytes) =
                if is_raw { (Encoding::Raw, plain_bytes + 16) } else { (Encoding::Zstd, sealed) };
            table.frames.push(FrameRecord { encoding, sealed_bytes, plain_bytes, chunks: chunks.len() as u32 });
            table.chunks.extend(chunks);
        }
        table
    })
}

fn index() -> impl Strategy<Value = Index> {
    let table = table(any::<[u8; 16]>().prop_map(ShortId::from_bytes));
    let pack = (any::<[u8; 32]>(), table).prop_map(|(id, table)| PackRecord {
        id: ObjectId::from_bytes(id),
        bytes: table.end() as u32 + 100,
        table,
    });
    vec(pack, 0..4).prop_map(|packs| Index { packs })
}

fn snapshot() -> impl Strategy<Value = SnapshotRecord> {
    let texts = (".{0,40}", ".{0,40}", vec(".{0,20}", 0..4), vec(vec(any::<u8>(), 0..60), 0..4));
    let counts = any::<[u64; 8]>().prop_map(|c| daykeep_engine::Counts {
        files: c[0],
        directories: c[1],
        bytes: c[2],
        files_new: c[3],
        files_changed: c[4],
        files_unmodified: c[5],
        bytes_new: c[6],
        errors: c[7],
    });
    (time(), time(), texts, any::<[Option<[u8; 32]>; 2]>(), content(), counts).prop_map(
        |(started, ended, (host, user, tags, paths), [parent, original], root, counts)| SnapshotRecord {
            started,
            ended,
            host,
            user,
            program: "daykeep test".into(),
            tags: sorted(tags, Clone::clone),
            paths: sorted(paths, Clone::clone),
            parent: parent.map(ObjectId::from_bytes),
            original: original.map(ObjectId::from_bytes),
            root,
            counts,
        },
    )
}

fn key_slot() -> impl Strategy<Value = KeySlot> {
    let bytes48 = || vec(any::<u8>(), 48).prop_map(|bytes| <[u8; 48]>::try_from(bytes).unwrap());
    let kind = prop_oneof![
        (1u32..=64, 1u32..=64, 0u32..1_048_000).prop_map(|(lanes, passes, more)| {
            let memory_kib = (8 * lanes + more).min((ARGON2_WORK_MAX / u64::from(passes)) as u32);
            SlotKind::Password { argon2: Argon2Params { memory_kib, passes, lanes } }
        }),
        bytes48().prop_map(|sealed| SlotKind::Recovery { sealed }),
    ];
    (kind, time(), "[a-zäöü ]{0,60}", any::<[u8; 32]>(), bytes48(), any::<[u8; 32]>())
        .prop_map(|(kind, created, label, salt, wrapped, mac)| KeySlot { kind, created, label, salt, wrapped, mac })
}

proptest! {
    #![proptest_config(config())]

    /// What passes the check of the writer can be read, and what could not be read does not pass.
    #[test]
    fn an_entry_passes_the_check_exactly_if_it_can_be_read(entry in careless_entry()) {
        let mut out = Writer::default();
        entry.write(&mut out);
        let encoded = out.finish();
        let read = Entry::read(&mut Reader::new(&encoded));
        prop_assert_eq!(entry.check().is_ok(), read.as_ref() == Ok(&entry), "{:?} {:?}", entry.check(), read);
    }
}

/// Decodes bytes as everything there is. None of it may panic or take memory beyond a multiple of the input.
fn decode_all(bytes: &[u8]) {
    // Fixed tables, such as the parts of one list, may be set aside for a count before its bytes are there.
    let allowed = 64 * bytes.len() + 256 * 1024;
    let peak = meter::peak_of(|| {
        let _ = Tree::decode(bytes);
        let _ = Index::decode(bytes);
        let _ = Footer::decode(bytes);
        let _ = SnapshotRecord::decode(bytes);
        let _ = Config::decode(bytes);
        let _ = ProofRecord::decode(bytes);
        let _ = KeySlot::decode(bytes);
        let _ = Header::decode(bytes);
        let _ = Trailer::decode(bytes);
        (0..=8).for_each(|level| drop(decode_list(level, bytes)));
    });
    assert!(peak <= allowed, "{peak} bytes of memory for {} bytes", bytes.len());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn trees_come_back(tree in tree()) {
        prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
    }

    #[test]
    fn lists_come_back((level, parts) in (0u8..6).prop_flat_map(|level| (Just(level), parts(level, 0..=600)))) {
        prop_assert_eq!(decode_list(level, &encode_list(level, &parts)).unwrap(), parts.clone());
        prop_assert!(decode_list(level + 1, &encode_list(level, &parts)).is_err());
    }

    #[test]
    fn indexes_come_back(index in index()) {
        prop_assert_eq!(Index::decode(&index.encode()).unwrap(), index);
    }

    #[test]
    fn footers_come_back(table in table(any::<[u8; 32]>().prop_map(ChunkId::from_bytes)), padding_bytes in 0u32..1 << 26) {
        let footer = Footer { table, padding_bytes };
        prop_assert_eq!(Footer::decode(&footer.encode()).unwrap(), footer);
    }

    #[test]
    fn snapshots_come_back(snapshot in snapshot()) {
        prop_assert_eq!(SnapshotRecord::decode(&snapshot.encode()).unwrap(), snapshot);
    }

    #[test]
    fn proofs_come_back(proofs in prop::collection::btree_map(any::<[u8; 32]>(), (time(), any::<[u64; 3]>(), any::<bool>()), 0..5)) {
        let proof = |(id, (time, [files, bytes, problems], is_all)): ([u8; 32], (Timestamp, [u64; 3], bool))| {
            let mut proof = Proof::default();
            (proof.time, proof.files, proof.bytes, proof.problems, proof.is_all) = (time, files, bytes, problems, is_all);
            (ObjectId::from_bytes(id), proof)
        };
        let record = ProofRecord { proofs: proofs.into_iter().map(proof).collect() };
        prop_assert_eq!(ProofRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn key_slots_come_back(slot in key_slot()) {
        prop_assert_eq!(KeySlot::decode(&[slot.encode_body(), slot.mac.to_vec()].concat()).unwrap(), slot);
    }

    #[test]
    fn configs_come_back(created in time(), bits in 10u32..20, below in 1u32..400, above in 1u32..100, block in 9u32..=16, shared in any::<Option<[u8; 32]>>(), parity_percent in 0u8..=100) {
        let sizes = CdcSizes { min: (1 << bits) - 2 * below, avg: 1 << bits, max: (1 << bits) + 2 * above };
        let config = Config { created, chunker: ChunkerParams { general: sizes, media: sizes, sqlite_block_min: 1 << block }, shared_gear: shared.map(GearKey::from_bytes), parity_percent };
        prop_assert_eq!(Config::decode(&config.encode()).unwrap(), config);
    }

    #[test]
    fn headers_come_back(repository in any::<[u8; 16]>(), id in any::<[u8; 32]>(), kind in prop::sample::select(&ObjectKind::ALL[..])) {
        let header = Header::new(RepositoryId::from_bytes(repository), ObjectName::new(kind, ObjectId::from_bytes(id)));
        prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..3000)) {
        decode_all(&bytes);
    }

    /// Bytes that are nearly right reach further than random ones.
    #[test]
    fn nearly_right_bytes_are_decoded_or_refused(
        tree in tree(), index in index(), snapshot in snapshot(), slot in key_slot(), edits in vec((any::<usize>(), any::<u8>()), 1..4), cut in any::<usize>(),
    ) {
        for encoded in [tree.encode(), index.encode(), snapshot.encode(), slot.encode_body()] {
            let mut bytes = encoded.clone();
            decode_all(&bytes[..cut % (bytes.len() + 1)]);
            for (at, value) in &edits {
                let at = at % bytes.len();
                bytes[at] = *value;
            }
            decode_all(&bytes);
        }
    }

    #[test]
    fn padding_tells_little_and_costs_little(bytes in 0u64..1 << 40, more in 0u64..1 << 20) {
        let padded = padme(bytes);
        prop_assert!(padded >= bytes);
        prop_assert!((padded - bytes) as f64 <= 0.12 * bytes as f64, "{bytes} becomes {padded}");
        prop_assert!(padme(bytes + more) >= padded);
        prop_assert_eq!(padme(padded), padded);
        if bytes >= 1 << 20 {
            prop_assert!((padded - bytes) as f64 <= 0.032 * bytes as f64);
        }
    }
}

/// Every number's padding up to a limit, and how few lengths are left to see.
#[test]
fn padding_leaves_few_lengths() {
    let mut lengths = std::collections::BTreeSet::new();
    let mut last = 0;
    for bytes in 0..300_000u64 {
        let padded = padme(bytes);
        assert!(padded >= bytes.max(last) && padded * 100 <= bytes * 112, "{bytes} becomes {padded}");
        last = padded;
        lengths.insert(padded);
    }
    assert!(lengths.len() < 400, "{} lengths", lengths.len());
}

/// Counts that ask for everything, behind nothing.
#[test]
fn counts_without_bytes_take_no_memory() {
    let count = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for before in 0..6 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(&count);
        decode_all(&bytes);
        for small in [0x10u8, 0x7f] {
            bytes.truncate(before);
            bytes.extend_from_slice(&[0xff, 0xff, small]);
            decode_all(&bytes);
        }
    }
}

/// The store's keeper can write any parameters into a slot: none may take more than a few seconds to try.
#[test]
fn argon2_parameters_beyond_their_limits_are_refused() {
    let decodes = |memory_kib, passes, lanes| {
        let kind = SlotKind::Password { argon2: Argon2Params { memory_kib, passes, lanes } };
        let (created, label) = (Timestamp::default(), String::new());
        let slot = KeySlot { kind, created, label, salt: [1; 32], wrapped: [2; 48], mac: [3; 32] };
        KeySlot::decode(&[slot.encode_body(), slot.mac.to_vec()].concat()).is_ok()
    };
    let Argon2Params { memory_kib, passes, lanes } = DEFAULT_ARGON2;
    assert!(decodes(memory_kib, passes, lanes));
    assert!(decodes(4 * memory_kib, 4 * passes, lanes), "sixteen times a new slot's work");
    assert!(!decodes(4 * memory_kib, 4 * passes + 1, lanes));
    let gib = 1 << 20;
    for (memory_kib, passes, lanes, is_fine) in [
        (gib, 3, 64, true),
        (gib, 4, 64, false),
        (gib + 1, 1, 1, false),
        (49_152, 64, 1, true),
        (49_153, 64, 1, false),
        (8, 65, 1, false),
        (u32::MAX, u32::MAX, 1, false),
        (8, 0, 1, false),
        (8, 1, 0, false),
        (15, 1, 2, false),
        (16, 1, 2, true),
        (8 * 65, 1, 65, false),
    ] {
        assert_eq!(decodes(memory_kib, passes, lanes), is_fine, "{memory_kib} KiB, {passes} passes, {lanes} lanes");
    }
}
