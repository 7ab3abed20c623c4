//! Any tree → backup → restore is the same tree, byte for byte and attribute for attribute, on every store.

use std::collections::BTreeMap;

use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, restore, temp};
use daykeep_tests::trees::{Bytes, Spec, Tree, What, acl};
use daykeep_tests::{is_long, is_root, noise};
use proptest::prelude::*;

const KIB: usize = 1024;
/// Lengths at which something changes: the least, average and greatest chunks of both classes, and frames.
const EDGES: [usize; 9] = [1, 4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 1024 * KIB, 2048 * KIB, 1200 * KIB];

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(0),
        8 => 1usize..3000,
        4 => 3000usize..300_000,
        4 => (prop::sample::select(&EDGES[..6]), 0usize..3).prop_map(|(edge, more)| edge - 1 + more),
        1 => (prop::sample::select(&EDGES[6..]), 0usize..3).prop_map(|(edge, more)| edge - 1 + more),
    ]
}

fn sparse() -> impl Strategy<Value = Bytes> {
    let runs = prop::collection::vec((0u64..600, 1usize..40_000), 0..5);
    (runs, 1u64..2_500_000, 0u64..2).prop_map(|(runs, len, aligned)| {
        let unit = if aligned == 1 { 4096 } else { 3777 };
        Bytes::Sparse(len, runs.into_iter().map(|(at, bytes)| (at * unit, bytes)).collect())
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    // Few seeds, so that files share content.
    prop_oneof![
        4 => (0u64..6, length()).prop_map(|(seed, len)| Bytes::Random(seed, len)),
        4 => (0u64..6, length()).prop_map(|(seed, len)| Bytes::Text(seed, len)),
        1 => length().prop_map(Bytes::Zeros),
        2 => (0u64..6, length()).prop_map(|(seed, len)| Bytes::Jpeg(seed, len)),
        1 => (0u64..6, prop::sample::select(&[512u16, 4096, 16_384, 1][..]), length())
            .prop_map(|(seed, page, len)| Bytes::Sqlite(seed, page, len)),
        2 => sparse(),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any = |len| {
        prop::collection::vec(any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'_' } else { byte }), len)
    };
    prop_oneof![6 => any(1..12), 2 => "[a-z]{1,8}\\.(jpg|txt)".prop_map(String::into_bytes), 1 => any(250..256)]
        .prop_filter("a name of its own", |name| name != b"." && name != b".." && !name.starts_with(b"hard-link-"))
}

fn xattrs() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let user = ("user\\.[a-z]{1,9}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..300));
    let access = (1000u32..1003).prop_map(|user| (b"system.posix_acl_access".to_vec(), acl(user)));
    let default = (1000u32..1003).prop_map(|user| (b"system.posix_acl_default".to_vec(), acl(user)));
    prop_oneof![
        5 => Just(BTreeMap::new()),
        2 => prop::collection::btree_map(user.0, user.1, 1..4),
        1 => access.prop_map(|pair| BTreeMap::from([pair])),
        1 => default.prop_map(|pair| BTreeMap::from([pair])),
    ]
}

fn dressed(what: impl Strategy<Value = What>) -> impl Strategy<Value = Spec> {
    let seconds = prop_oneof![Just(0), Just(-1), -2_000_000_000i64..-1, 1i64..2_000_000_000, Just(4_000_000_000)];
    let nanos = prop_oneof![Just(0i64), Just(1), Just(999_999_999), 0i64..1_000_000_000];
    let owner = prop_oneof![3 => Just((0u32, 0u32)), 1 => (0u32..70_000, 0u32..70_000)];
    let mode = prop_oneof![4 => Just(0o644u32), 4 => Just(0o755), 4 => 0u32..0o10000];
    (what, mode, (seconds, nanos), owner, xattrs()).prop_map(|(what, mode, mtime, owner, xattrs)| Spec {
        what,
        mode,
        mtime,
        owner,
        xattrs,
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    let leaf = prop_oneof![
        12 => bytes().prop_map(What::File),
        2 => prop::collection::vec(1u8..=255, 1..200).prop_map(What::Symlink),
        1 => Just(What::Fifo),
        1 => (any::<bool>(), 1u32..300, 0u32..300).prop_map(|(block, major, minor)| What::Device(block, major, minor)),
        2 => Just(What::Dir(BTreeMap::new())),
    ];
    dressed(leaf)
        .prop_recursive(4, 40, 8, |inner| dressed(prop::collection::btree_map(name(), inner, 0..8).prop_map(What::Dir)))
}

fn tree() -> impl Strategy<Value = Tree> {
    let root = dressed(prop::collection::btree_map(name(), spec(), 0..10).prop_map(What::Dir));
    let links = prop::collection::vec((0usize..1000, 0usize..1000), 0..4);
    (root, links).prop_map(|(root, links)| Tree { root, links })
}

fn round_trip(kind: Kind) {
    let cases = if is_long() { 400 } else { 24 };
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    proptest!(config, |(tree in tree())| {
        let place = Place::new(kind);
        let source = place.path("source");
        tree.make(&source);
        let wanted = read(&source);
        let repository = place.open();
        let report = back_up(&repository, &source);
        prop_assert_eq!(report.counts.files, wanted.values().filter(|item| item.kind != 'd').count() as u64);
        assert_same(&wanted, &read(&source));
        let restored = restore(&repository, "latest", &source, &place.path("target"));
        assert_same(&wanted, &read(&restored));
        // And once more through a repository that was closed in between, into a tree that is there already.
        drop(repository);
        let repository = place.open();
        let restored = restore(&repository, "latest", &source, &place.path("target"));
        assert_same(&wanted, &read(&restored));
        assert_clean(&repository);
    });
}

#[test]
fn any_tree_comes_back_from_a_directory() {
    round_trip(Kind::Directory);
}

#[test]
fn any_tree_comes_back_from_a_redb_file() {
    round_trip(Kind::Redb);
}

#[test]
fn any_tree_comes_back_from_memory() {
    round_trip(Kind::Memory);
}

/// Long files, which are read and written on all cores, with every kind of content, and more files in one directory
/// than one chunk of a tree holds.
#[test]
fn long_files_and_wide_folders_come_back() {
    let mut wide = BTreeMap::new();
    for number in 0..3000u64 {
        let spec = Spec::plain(What::File(Bytes::Text(number, (number % 50) as usize)));
        wide.insert(format!("{number:05}").into_bytes(), spec);
    }
    let long = [
        ("random", Bytes::Random(1, 9 << 20)),
        ("text", Bytes::Text(2, 20 << 20)),
        ("zeros", Bytes::Zeros((8 << 20) + 1)),
        ("jpeg", Bytes::Jpeg(3, 17 << 20)),
        ("database", Bytes::Sqlite(4, 4096, 13 << 20)),
        ("sparse", Bytes::Sparse(200 << 20, vec![(1 << 20, 10 << 20), (100 << 20, 5), (150 << 20, 9 << 20)])),
    ];
    let mut entries = BTreeMap::from([(b"wide".to_vec(), Spec::plain(What::Dir(wide)))]);
    entries.extend(long.map(|(name, bytes)| (name.as_bytes().to_vec(), Spec::plain(What::File(bytes)))));
    let tree = Tree { root: Spec::plain(What::Dir(entries)), links: Vec::new() };
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let source = place.path("source");
        tree.make(&source);
        let wanted = read(&source);
        let repository = place.open();
        let report = back_up(&repository, &source);
        // Zeros are one chunk again and again, and holes are none.
        assert!(report.counts.bytes_new < report.counts.bytes - (180 << 20));
        assert_restores(&repository, "latest", &source, &wanted);
        assert_clean(&repository);
    }
}

/// A file with every kind of metadata at once, on the usual file system beside the one in memory.
#[test]
fn metadata_comes_back_on_the_usual_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = Spec::plain(What::File(Bytes::Text(1, 100)));
    file.mode = 0o6755;
    file.mtime = (-1, 999_999_999);
    file.owner = (1234, 4321);
    file.xattrs = BTreeMap::from([
        (b"user.comment".to_vec(), b"\0\xff".to_vec()),
        (b"system.posix_acl_access".to_vec(), acl(1000)),
    ]);
    let sparse = Spec::plain(What::File(Bytes::Sparse(40 << 20, vec![(8 << 20, 4096)])));
    let entries = BTreeMap::from([(b"file".to_vec(), file), (b"sparse".to_vec(), sparse)]);
    let tree = Tree { root: Spec::plain(What::Dir(entries)), links: vec![(0, 0)] };
    let source = dir.path().join("source");
    tree.make(&source);
    let wanted = read(&source);
    if is_root() {
        assert_eq!(wanted[b"file".as_slice()].mode & 0o7000, 0o6000, "the tree is as hard as it should be");
    }
    let place = Place::new(Kind::Directory);
    let repository = place.open();
    back_up(&repository, &source);
    let restored = restore(&repository, "latest", &source, &dir.path().join("target"));
    assert_same(&wanted, &read(&restored));
}

/// Streams come back as files, with all bytes.
#[test]
fn readers_come_back() {
    use daykeep_engine::{BackupOptions, NamedReader};
    let place = Place::new(Kind::Redb);
    let repository = place.open();
    let contents =
        [("a/b/short", noise::text(1, 10)), ("empty", Vec::new()), ("a/long", noise::random(2, (9 << 20) + 3))];
    let readers =
        contents.iter().map(|(name, bytes)| NamedReader { name: (*name).into(), reader: Box::new(bytes.as_slice()) });
    let report = repository.backup_readers(readers.collect(), &BackupOptions::default()).unwrap();
    assert_eq!((report.counts.files, report.counts.errors), (3, 0));
    let target = temp();
    restore(&repository, "latest", "/".as_ref(), target.path());
    for (name, bytes) in contents {
        assert!(std::fs::read(target.path().join(name)).unwrap() == bytes, "{name}");
    }
}
