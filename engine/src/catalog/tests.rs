#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use super::*;
use crate::base::limits::MIB;
use crate::error::StoreErrorKind;
use crate::format::index::{ChunkKind, Encoding, FrameLocation, Reach};

const CACHE_BYTES: usize = 4 * MIB;
const REPOSITORY: RepositoryId = RepositoryId::from_bytes([5; 16]);

fn object(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 32])
}

fn chunk(n: u32) -> ShortId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B9).to_le_bytes());
    bytes[12..].copy_from_slice(&n.to_le_bytes());
    ShortId::from_bytes(bytes)
}

fn location(n: u32) -> ChunkLocation {
    let pack = object((n / 1000) as u8);
    let frame = FrameLocation { pack, offset: n, sealed_bytes: n + 1, plain_bytes: n + 2, encoding: Encoding::Zstd };
    let depth = u8::from(!bases(n).is_empty());
    let reach = Reach { depth, closure: 3 * depth };
    ChunkLocation { frame, offset: 3 * n, stored_bytes: 5 * n, bytes: 4 * n, kind: ChunkKind::Tree, reach }
}

/// Every third chunk has some.
fn bases(n: u32) -> Vec<BasePrefix> {
    let prefix = |n| chunk(n).as_bytes()[..8].try_into().unwrap();
    if n.is_multiple_of(3) { (n / 2..n / 2 + 2).map(prefix).collect() } else { Vec::new() }
}

fn entries(range: std::ops::Range<u32>) -> Vec<CatalogEntry> {
    range.map(|n| CatalogEntry { id: chunk(n), location: location(n), bases: bases(n).into() }).collect()
}

fn open(dir: &Path) -> Catalog {
    Catalog::open(Some(dir), &REPOSITORY, CACHE_BYTES).unwrap()
}

fn assert_has(catalog: &Catalog, range: std::ops::Range<u32>) {
    assert_eq!(catalog.chunks().unwrap(), u64::from(range.end));
    assert_eq!(catalog.is_empty(), range.is_empty());
    for n in range.clone() {
        assert_eq!(catalog.find(&chunk(n)).unwrap(), Some(location(n)));
        assert_eq!(catalog.bases(&chunk(n)).unwrap(), bases(n));
        let prefix = chunk(n).as_bytes()[..8].try_into().unwrap();
        assert_eq!(catalog.find_base(&prefix).unwrap(), Some((chunk(n), location(n))));
    }
    let prefixes: Vec<BasePrefix> =
        range.clone().chain([range.end]).map(|n| chunk(n).as_bytes()[..8].try_into().unwrap()).collect();
    let wanted: Vec<_> = entries(range.clone()).into_iter().map(Some).chain([None]).collect();
    assert_eq!(catalog.entries(&prefixes).unwrap(), wanted);
    assert_eq!(catalog.find(&chunk(range.end)).unwrap(), None);
    assert_eq!(catalog.find_base(&chunk(range.end).as_bytes()[..8].try_into().unwrap()).unwrap(), None);
}

#[test]
fn what_is_added_is_found_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/when/needed");
    let catalog = open(&dir);
    assert_has(&catalog, 0..0);
    assert_eq!(catalog.index_objects().unwrap(), []);
    catalog.add(&object(1), &mut entries(0..2500)).unwrap();
    assert_has(&catalog, 0..2500);
    catalog.add(&object(2), &mut entries(2000..7000)).unwrap();
    catalog.add(&object(3), &mut []).unwrap();
    assert_has(&catalog, 0..7000);
    drop(catalog);

    let catalog = open(&dir);
    assert_has(&catalog, 0..7000);
    assert_eq!(catalog.index_objects().unwrap(), [1, 2, 3].map(object));
    catalog.add(&object(4), &mut entries(7000..9000)).unwrap();
    assert_has(&catalog, 0..9000);
    catalog.clear().unwrap();
    assert_has(&catalog, 0..0);
    assert_eq!(catalog.index_objects().unwrap(), []);
    catalog.add(&object(5), &mut entries(0..10)).unwrap();
    drop(catalog);
    assert_has(&open(&dir), 0..10);
}

#[test]
fn another_repositorys_catalog_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&object(1), &mut entries(0..10)).unwrap();
    let other = Catalog::open(Some(dir.path()), &RepositoryId::from_bytes([6; 16]), CACHE_BYTES).unwrap();
    assert_has(&other, 0..0);
}

#[test]
fn a_catalog_in_use_or_nowhere_is_a_private_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    first.add(&object(1), &mut entries(0..10)).unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let second = open(dir.path());
    let no_folder = open(&dir.path().join("file"));
    let none = Catalog::open(None, &REPOSITORY, CACHE_BYTES).unwrap();
    for private in [&second, &no_folder, &none] {
        assert_has(private, 0..0);
        private.add(&object(1), &mut entries(0..5000)).unwrap();
        assert_has(private, 0..5000);
        private.clear().unwrap();
        assert_has(private, 0..0);
    }
    assert_has(&first, 0..10);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["catalog.open", "catalog.redb", "file"], "private files have no names");
    drop(first);
    assert_has(&open(dir.path()), 0..10);
}

#[test]
fn a_file_that_is_no_catalog_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&object(1), &mut entries(0..3000)).unwrap();
    let path = files::path_in(dir.path());
    let whole = fs::read(&path).unwrap();
    let mut contents = vec![Vec::new(), b"garbage".to_vec(), vec![0; 100_000], vec![0xAB; 100_000]];
    contents.extend([9, 320, 4096, whole.len() / 2, whole.len() - 1].map(|len| whole[..len].to_vec()));
    for content in contents {
        fs::write(&path, &content).unwrap();
        let catalog = open(dir.path());
        assert_has(&catalog, 0..0);
        catalog.add(&object(1), &mut entries(0..100)).unwrap();
        drop(catalog);
        assert_has(&open(dir.path()), 0..100);
    }
}

#[test]
fn flipped_bits_never_panic_out_of_a_catalog() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&object(1), &mut entries(0..300)).unwrap();
    let path = files::path_in(dir.path());
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for round in 0..200_usize {
        let mut hurt = whole.clone();
        hurt[used[round * 7919 % used.len()]] ^= 1 << (round % 8);
        // A new file each time: after a panic the old one stays locked.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &hurt).unwrap();
        let catalog = open(dir.path());
        for n in 0..310 {
            if let Err(error) = catalog.find(&chunk(n)) {
                assert_eq!(error.kind, StoreErrorKind::Damaged);
                assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            }
        }
        let _ = catalog.index_objects();
        let _ = catalog.add(&object(2), &mut entries(200..900));
        catalog.clear().unwrap();
        catalog.add(&object(3), &mut entries(0..50)).unwrap();
        assert_has(&catalog, 0..50);
    }
}

#[test]
fn of_the_last_snapshots_it_is_known_that_they_are_sound_until_it_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = |n: u32| ObjectId::from_bytes(std::array::from_fn(|at| n.to_le_bytes()[at % 4]));
    let catalog = open(dir.path());
    for n in 0..300 {
        assert!(!catalog.is_sound(&snapshot(n)).unwrap());
        catalog.add_sound(&snapshot(n)).unwrap();
        assert!(catalog.is_sound(&snapshot(n)).unwrap() && catalog.is_sound(&snapshot(n.saturating_sub(255))).unwrap());
    }
    assert!(!catalog.is_sound(&snapshot(43)).unwrap(), "one that is so old is no parent");
    drop(catalog);
    let catalog = open(dir.path());
    assert!(catalog.is_sound(&snapshot(299)).unwrap());
    catalog.retain_sound(&|id| *id != snapshot(298)).unwrap();
    assert!(catalog.is_sound(&snapshot(299)).unwrap() && !catalog.is_sound(&snapshot(298)).unwrap());
    catalog.clear().unwrap();
    assert!(!catalog.is_sound(&snapshot(299)).unwrap());
}

/// Changes the first byte wherever the catalog's file has these bytes.
fn change(dir: &Path, bytes: &[u8]) {
    let path = files::path_in(dir);
    let before = fs::read(&path).unwrap();
    let mut after = before.clone();
    for at in (0..before.len() - bytes.len()).filter(|&at| before[at..].starts_with(bytes)) {
        after[at] ^= 1;
    }
    assert_ne!(after, before);
    fs::write(path, after).unwrap();
}

#[test]
fn what_a_disk_has_changed_is_noticed_and_the_next_one_begins_anew() {
    let hurt: [fn(&Path); 3] = [
        |dir| change(dir, location(1003).frame.pack.as_bytes()),
        |dir| change(dir, [1003u32, 1004, 1005].map(u32::to_le_bytes).as_flattened()),
        |dir| change(dir, chunk(1003).as_bytes()),
    ];
    for (number, hurt) in hurt.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).add(&object(9), &mut entries(1000..1100)).unwrap();
        hurt(dir.path());
        let catalog = open(dir.path());
        let found = catalog.find(&chunk(1003));
        if number == 2 {
            // One whose id was changed is not found. Whoever misses it says so.
            assert_eq!(found.unwrap(), None);
            catalog.doubt();
        } else {
            assert_eq!(found.unwrap_err().kind, StoreErrorKind::Damaged, "{number}");
        }
        drop(catalog);
        assert!(!files::path_in(dir.path()).exists(), "{number}");
        assert_has(&open(dir.path()), 0..0);
    }
}

#[test]
fn a_doubted_catalog_that_is_whole_stays() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&object(9), &mut entries(0..2000)).unwrap();
    let catalog = open(dir.path());
    assert_eq!(catalog.find(&chunk(3000)).unwrap(), None);
    catalog.doubt();
    drop(catalog);
    let catalog = open(dir.path());
    assert_has(&catalog, 0..2000);
    // One of another process's is not there to be removed.
    let private = open(dir.path());
    private.doubt();
    drop(private);
    assert!(files::path_in(dir.path()).exists());
}
