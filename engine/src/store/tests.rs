//! What every store has to do, and what two of them do with damage and with each other's locks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use super::*;
use crate::base::limits::{MIB, PACK_BYTES_MIN};
use crate::error::StoreErrorKind;

const CACHE_BYTES: usize = 8 * MIB;

fn name(kind: ObjectKind, n: u8) -> ObjectName {
    if kind == ObjectKind::Config { ObjectName::CONFIG } else { ObjectName::new(kind, ObjectId::from_bytes([n; 32])) }
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ seed ^ (at >> 8)) as u8).collect()
}

fn kind_of<T>(outcome: Result<T, StoreError>) -> StoreErrorKind {
    outcome.map(drop).unwrap_err().kind
}

/// Runs `test` on a new store of each sort; `reopen` gives it back after a close.
fn each_store(test: impl Fn(&dyn Store)) {
    let dir = tempfile::tempdir().unwrap();
    test(&MemoryStore::new());
    test(&DirectoryStore::create(&dir.path().join("directory")).unwrap());
    test(&RedbStore::create(&dir.path().join("redb"), CACHE_BYTES).unwrap());
}

#[test]
fn what_is_put_can_be_read() {
    each_store(|store| {
        for kind in ObjectKind::ALL {
            for (n, len) in [(1, 0), (2, 1), (0xab, 5_000), (4, 300_000)] {
                if kind == ObjectKind::Config && n != 4 {
                    continue;
                }
                let (name, body) = (name(kind, n), bytes(n as usize, len));
                if n % 2 == 0 {
                    store.put(&name, &body).unwrap();
                } else {
                    store.put_with(&name, len, &mut |out| out.copy_from_slice(&body)).unwrap();
                }
            }
        }
        store.sync().unwrap();
        for kind in ObjectKind::ALL {
            let mut listed = store.list(kind).unwrap();
            listed.sort();
            if kind == ObjectKind::Config {
                assert_eq!(listed, [(ObjectName::CONFIG.id, 300_000)]);
                continue;
            }
            let ids = [(1, 0), (2, 1), (4, 300_000), (0xab, 5_000)];
            assert_eq!(listed, ids.map(|(n, len)| (ObjectId::from_bytes([n; 32]), len)), "{kind:?}");
            assert_eq!(store.get(&name(kind, 4), 300_000).unwrap(), bytes(4, 300_000));
            assert_eq!(store.get(&name(kind, 1), 0).unwrap(), []);
        }
        assert!(store.pack_bytes() >= PACK_BYTES_MIN);
        assert!(!store.location().is_empty());
    });
}

#[test]
fn a_range_is_read_or_refused() {
    each_store(|store| {
        let (name, body) = (name(ObjectKind::Pack, 7), bytes(7, 10_000));
        store.put(&name, &body).unwrap();
        store.sync().unwrap();
        let mut out = vec![1; 77];
        for (offset, len) in [(0, 10_000), (0, 0), (10_000, 0), (9_999, 1), (1_234, 4_096), (5, 10)] {
            store.get_range(&name, offset as u64, len, &mut out).unwrap();
            assert_eq!(out, body[offset..offset + len]);
        }
        for (offset, len) in [(0, 10_001), (10_000, 1), (10_001, 0), (u64::MAX, 1), (1, usize::MAX)] {
            assert_eq!(kind_of(store.get_range(&name, offset, len, &mut out)), StoreErrorKind::Damaged);
        }
    });
}

#[test]
fn what_cannot_be_done_says_why() {
    each_store(|store| {
        let (here, absent) = (name(ObjectKind::Index, 1), name(ObjectKind::Index, 2));
        store.put(&here, b"first").unwrap();
        assert_eq!(kind_of(store.put(&here, b"other")), StoreErrorKind::AlreadyExists);
        store.sync().unwrap();
        assert_eq!(kind_of(store.put(&here, b"other")), StoreErrorKind::AlreadyExists);
        assert_eq!(kind_of(store.put_with(&here, 5, &mut |_| {})), StoreErrorKind::AlreadyExists);
        store.sync().unwrap();
        assert_eq!(store.get(&here, 5).unwrap(), b"first");
        assert_eq!(kind_of(store.get(&here, 4)), StoreErrorKind::TooLarge);
        assert_eq!(kind_of(store.get(&absent, 100)), StoreErrorKind::NotFound);
        assert_eq!(kind_of(store.get_range(&absent, 0, 1, &mut Vec::new())), StoreErrorKind::NotFound);
        assert!(store.get(&absent, 100).unwrap_err().to_string().contains(&absent.to_string()));
        store.delete(&absent).unwrap();
    });
}

#[test]
fn what_is_deleted_is_gone_and_the_rest_stays() {
    each_store(|store| {
        for kind in ObjectKind::ALL {
            store.put(&name(kind, 1), b"one").unwrap();
        }
        store.put(&name(ObjectKind::Pack, 2), b"two").unwrap();
        store.put(&name(ObjectKind::Pack, 3), b"never seen").unwrap();
        store.delete(&name(ObjectKind::Pack, 3)).unwrap();
        store.sync().unwrap();
        store.delete(&name(ObjectKind::Pack, 1)).unwrap();
        store.delete(&name(ObjectKind::Key, 1)).unwrap();
        store.sync().unwrap();
        assert_eq!(store.list(ObjectKind::Pack).unwrap(), [(ObjectId::from_bytes([2; 32]), 3)]);
        assert_eq!(store.list(ObjectKind::Key).unwrap(), []);
        assert_eq!(store.list(ObjectKind::Snapshot).unwrap().len(), 1);
        assert_eq!(kind_of(store.get(&name(ObjectKind::Pack, 1), 9)), StoreErrorKind::NotFound);
        assert_eq!(
            kind_of(store.get_range(&name(ObjectKind::Pack, 1), 0, 1, &mut Vec::new())),
            StoreErrorKind::NotFound
        );
    });
}

#[test]
fn what_is_replaced_has_the_new_bytes_and_its_old_place() {
    let dir = tempfile::tempdir().unwrap();
    let (here, absent) = (name(ObjectKind::Pack, 1), name(ObjectKind::Pack, 2));
    each_store(|store| {
        assert_eq!(kind_of(store.replace(&here, b"new")), StoreErrorKind::NotFound);
        store.put(&here, b"old").unwrap();
        store.put(&name(ObjectKind::Pack, 3), b"another").unwrap();
        store.sync().unwrap();
        for body in [bytes(1, 3), bytes(2, 10_000), bytes(3, 1)] {
            store.replace(&here, &body).unwrap();
            store.sync().unwrap();
            assert_eq!(store.get(&here, 10_000).unwrap(), body);
            let mut range = Vec::new();
            store.get_range(&here, body.len() as u64 - 1, 1, &mut range).unwrap();
            assert_eq!(range, body[body.len() - 1..]);
            let mut listed = store.list(ObjectKind::Pack).unwrap();
            listed.sort_unstable();
            assert_eq!(listed, [(here.id, body.len() as u64), (ObjectId::from_bytes([3; 32]), 7)]);
        }
        assert_eq!(kind_of(store.replace(&absent, b"new")), StoreErrorKind::NotFound);
        assert_eq!(store.list(ObjectKind::Pack).unwrap().len(), 2);
    });
    // Whoever only reads replaces nothing.
    for kind in ["directory", "redb"] {
        let path = dir.path().join(kind);
        let open = |access| -> Box<dyn Store> {
            match (kind, path.exists()) {
                ("redb", false) => Box::new(RedbStore::create(&path, CACHE_BYTES).unwrap()),
                ("redb", true) => Box::new(RedbStore::open(&path, access, CACHE_BYTES).unwrap()),
                (_, false) => Box::new(DirectoryStore::create(&path).unwrap()),
                (_, true) => Box::new(DirectoryStore::open(&path, access).unwrap()),
            }
        };
        let store = open(Access::Write);
        store.put(&here, b"old").unwrap();
        store.sync().unwrap();
        drop(store);
        assert_eq!(kind_of(open(Access::Read).replace(&here, b"new")), StoreErrorKind::ReadOnly);
        let store = open(Access::Write);
        store.replace(&here, b"new").unwrap();
        store.sync().unwrap();
        drop(store);
        assert_eq!(open(Access::Read).get(&here, 3).unwrap(), b"new", "{kind}");
    }
}

#[test]
fn many_threads_may_put_and_read() {
    each_store(|store| {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    for n in 0..40 {
                        let name = name(ObjectKind::Pack, thread * 40 + n);
                        store.put(&name, &bytes(n as usize, 20_000)).unwrap();
                        if n % 13 == 0 {
                            store.sync().unwrap();
                            assert_eq!(store.get(&name, 20_000).unwrap(), bytes(n as usize, 20_000));
                        }
                    }
                });
            }
        });
        store.sync().unwrap();
        assert_eq!(store.list(ObjectKind::Pack).unwrap().len(), 160);
    });
}

#[test]
fn a_reopened_store_has_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [dir.path().join("directory"), dir.path().join("redb")];
    for path in &paths {
        let is_redb = path.ends_with("redb");
        let open = |access| -> Result<Box<dyn Store>, StoreError> {
            Ok(if is_redb {
                Box::new(RedbStore::open(path, access, CACHE_BYTES)?)
            } else {
                Box::new(DirectoryStore::open(path, access)?)
            })
        };
        assert_eq!(kind_of(open(Access::Read)), StoreErrorKind::NotFound);
        assert_eq!(kind_of(open(Access::Write)), StoreErrorKind::NotFound);
        let store: Box<dyn Store> = if is_redb {
            Box::new(RedbStore::create(path, CACHE_BYTES).unwrap())
        } else {
            Box::new(DirectoryStore::create(path).unwrap())
        };
        let again =
            if is_redb { kind_of(RedbStore::create(path, CACHE_BYTES)) } else { kind_of(DirectoryStore::create(path)) };
        assert_eq!(again, StoreErrorKind::AlreadyExists);
        store.put(&name(ObjectKind::Pack, 1), b"synced").unwrap();
        store.sync().unwrap();
        store.put(&name(ObjectKind::Pack, 2), b"not synced").unwrap();
        assert_eq!(kind_of(open(Access::Read)), StoreErrorKind::InUse);
        assert_eq!(kind_of(open(Access::Write)), StoreErrorKind::InUse);
        drop(store);

        let reader = open(Access::Read).unwrap();
        let other = open(Access::Read).unwrap();
        assert_eq!(kind_of(open(Access::Write)), StoreErrorKind::InUse);
        for reader in [&reader, &other] {
            assert_eq!(reader.list(ObjectKind::Pack).unwrap(), [(ObjectId::from_bytes([1; 32]), 6)]);
            assert_eq!(reader.get(&name(ObjectKind::Pack, 1), 6).unwrap(), b"synced");
            assert_eq!(kind_of(reader.put(&name(ObjectKind::Pack, 3), b"")), StoreErrorKind::ReadOnly);
            assert_eq!(kind_of(reader.delete(&name(ObjectKind::Pack, 1))), StoreErrorKind::ReadOnly);
            reader.sync().unwrap();
        }
        drop((reader, other));
        let store = open(Access::Write).unwrap();
        assert_eq!(kind_of(store.get(&name(ObjectKind::Pack, 2), 99)), StoreErrorKind::NotFound);
        store.put(&name(ObjectKind::Pack, 2), b"synced now").unwrap();
        store.sync().unwrap();
        assert_eq!(store.get(&name(ObjectKind::Pack, 2), 99).unwrap(), b"synced now");
    }
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    fn check(path: &Path) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let directory = DirectoryStore::create(&dir.path().join("directory")).unwrap();
    let redb = RedbStore::create(&dir.path().join("redb"), CACHE_BYTES).unwrap();
    for store in [&directory as &dyn Store, &redb] {
        store.put(&name(ObjectKind::Config, 0), b"config").unwrap();
        store.put(&name(ObjectKind::Pack, 0), b"pack").unwrap();
        store.sync().unwrap();
    }
    check(&dir.path().join("directory"));
    check(&dir.path().join("redb"));
}

#[test]
fn a_directory_is_cleaned_of_what_an_interrupted_run_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = DirectoryStore::create(&path).unwrap();
    for n in 0..100 {
        store.put(&name(ObjectKind::Pack, n), &[n; 10]).unwrap();
    }
    // The oldest are complete, so that the number of open files is bounded.
    assert_eq!(store.list(ObjectKind::Pack).unwrap().len(), 36);
    let left = ["packs/05/.tmp-0123456789abcdef", "index/.tmp-0000000000000002", ".tmp-fedcba9876543210"];
    let left = left.map(|name| path.join(name));
    store.sync().unwrap();
    drop(store);
    left.iter().for_each(|path| fs::write(path, b"left").unwrap());
    fs::write(path.join("packs/05/notes.txt"), b"not ours").unwrap();
    fs::write(path.join("packs/05/.tmp-important"), b"not ours").unwrap();
    fs::write(path.join(format!("packs/05/{}", ObjectId::from_bytes([6; 32]))), b"in the wrong folder").unwrap();
    let store = DirectoryStore::open(&path, Access::Read).unwrap();
    assert_eq!(store.list(ObjectKind::Pack).unwrap().len(), 100);
    assert!(left.iter().all(|path| path.exists()));
    drop(store);
    drop(DirectoryStore::open(&path, Access::Write).unwrap());
    assert!(!left.iter().any(|path| path.exists()));
    assert!(path.join("packs/05/notes.txt").exists() && path.join("packs/05/.tmp-important").exists());
}

#[test]
fn a_directory_that_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::create_dir(&path).unwrap();
    assert_eq!(kind_of(DirectoryStore::open(&path, Access::Write)), StoreErrorKind::NotFound);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing was written to it");
    let store = DirectoryStore::create(&path).unwrap();
    store.put(&name(ObjectKind::Snapshot, 1), b"snapshot").unwrap();
    store.sync().unwrap();
    fs::remove_dir(path.join("index")).unwrap();
    assert_eq!(kind_of(store.list(ObjectKind::Index)), StoreErrorKind::Damaged);
    let object = path.join(name(ObjectKind::Snapshot, 1).to_string());
    fs::remove_file(&object).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &object).unwrap();
    assert_eq!(kind_of(store.get(&name(ObjectKind::Snapshot, 1), MIB)), StoreErrorKind::Damaged);
    drop(store);
    assert_eq!(kind_of(DirectoryStore::open(&path, Access::Read)), StoreErrorKind::Damaged);
    fs::write(dir.path().join("file"), b"").unwrap();
    assert_eq!(kind_of(DirectoryStore::open(&dir.path().join("file"), Access::Read)), StoreErrorKind::Damaged);
    assert_eq!(kind_of(DirectoryStore::create(&dir.path().join("file"))), StoreErrorKind::AlreadyExists);
}

#[test]
fn a_directory_can_be_read_without_a_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(DirectoryStore::create(&path).unwrap());
    fs::remove_file(path.join("lock")).unwrap();
    let reader = DirectoryStore::open(&path, Access::Read).unwrap();
    assert_eq!(kind_of(DirectoryStore::open(&path, Access::Write)), StoreErrorKind::InUse);
    assert_eq!(reader.list(ObjectKind::Pack).unwrap(), []);
}

/// A new redb file with an object of each kind, and two more packs.
fn small_redb(path: &Path) {
    let store = RedbStore::create(path, CACHE_BYTES).unwrap();
    for kind in ObjectKind::ALL {
        store.put(&name(kind, 1), &bytes(1, 700)).unwrap();
    }
    store.sync().unwrap();
    store.put(&name(ObjectKind::Pack, 2), &bytes(2, 9_000)).unwrap();
    store.put(&name(ObjectKind::Pack, 3), &bytes(3, 100)).unwrap();
    store.sync().unwrap();
}

#[test]
fn a_file_that_is_no_redb_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let foreign = redb::Database::create(dir.path().join("foreign")).unwrap();
    let transaction = foreign.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u32, u32>::new("names")).unwrap();
    transaction.commit().unwrap();
    drop(foreign);
    let whole = {
        small_redb(&dir.path().join("whole"));
        fs::read(dir.path().join("whole")).unwrap()
    };
    let foreign = fs::read(dir.path().join("foreign")).unwrap();
    let mut contents = vec![
        Vec::new(),
        b"re".to_vec(),
        b"a letter to grandmother".to_vec(),
        vec![0; 200_000],
        bytes(1, 90_000),
        foreign,
    ];
    contents.extend([9, 64, 320, 4096, 8192, whole.len() / 2, whole.len() - 1].map(|len| whole[..len].to_vec()));
    for content in contents {
        for access in [Access::Read, Access::Write] {
            fs::write(&path, &content).unwrap();
            let text = RedbStore::open(&path, access, CACHE_BYTES).map(drop).unwrap_err();
            assert_eq!(text.kind, StoreErrorKind::Damaged, "{} bytes, {access:?}: {text}", content.len());
            if !whole.starts_with(&content) || content.len() < 9 {
                assert!(text.to_string().contains("not a daykeep repository"), "{text}");
                assert_eq!(fs::read(&path).unwrap(), content);
            }
        }
    }
    assert_eq!(kind_of(RedbStore::open(dir.path(), Access::Write, CACHE_BYTES)), StoreErrorKind::Damaged);
}

#[test]
fn a_redb_file_that_was_not_closed_is_repaired_even_for_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = RedbStore::create(&path, CACHE_BYTES).unwrap();
    store.put(&name(ObjectKind::Pack, 1), &bytes(1, MIB)).unwrap();
    store.sync().unwrap();
    for n in 2..20 {
        store.put(&name(ObjectKind::Pack, n), &bytes(1, MIB)).unwrap();
    }
    fs::copy(&path, &copy).unwrap();
    for access in [Access::Read, Access::Write] {
        let copy = RedbStore::open(&copy, access, CACHE_BYTES).unwrap();
        assert_eq!(copy.list(ObjectKind::Pack).unwrap(), [(ObjectId::from_bytes([1; 32]), MIB as u64)]);
        assert_eq!(copy.get(&name(ObjectKind::Pack, 1), MIB).unwrap(), bytes(1, MIB));
    }
}

#[test]
fn a_panic_of_the_caller_closes_a_redb_store_for_writing_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    small_redb(&path);
    let store = RedbStore::open(&path, Access::Write, CACHE_BYTES).unwrap();
    let panicking = name(ObjectKind::Pack, 9);
    let no_bytes: [u8; 0] = [];
    let outcome = store.put_with(&panicking, 10, &mut |out| out[0] = no_bytes[out.len()]);
    assert_eq!(kind_of(outcome), StoreErrorKind::Damaged);
    assert_eq!(kind_of(store.put(&name(ObjectKind::Pack, 8), b"8")), StoreErrorKind::Damaged);
    assert_eq!(kind_of(store.delete(&name(ObjectKind::Pack, 1))), StoreErrorKind::Damaged);
    assert_eq!(kind_of(store.sync()), StoreErrorKind::Damaged);
    assert_eq!(store.get(&name(ObjectKind::Pack, 3), 100).unwrap(), bytes(3, 100));
    drop(store);
}

/// Bits are flipped where redb keeps its structure and where the small objects are. Whatever comes of it, it is an
/// error or an answer: no panic leaves the store.
#[test]
fn flipped_bits_never_panic_out_of_a_redb_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    small_redb(&path);
    let whole = fs::read(&path).unwrap();
    // Most of the file is unused; what is in use is what is not zero.
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut noticed, mut fine) = (0, 0);
    for _ in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut hurt = whole.clone();
        hurt[used[(random >> 33) as usize % used.len()]] ^= 1 << (random >> 30 & 7);
        for access in [Access::Read, Access::Write] {
            // A file of its own each time: after a panic the store keeps its lock.
            let path = dir.path().join(format!("hurt-{random}-{access:?}"));
            fs::write(&path, &hurt).unwrap();
            match exercise(&path, access) {
                Err(_) => noticed += 1,
                Ok(()) => fine += 1,
            }
            fs::remove_file(&path).unwrap();
        }
    }
    assert!(noticed > 0 && fine > 0, "{noticed} were noticed, {fine} not");
}

fn exercise(path: &Path, access: Access) -> Result<(), StoreError> {
    let store = RedbStore::open(path, access, CACHE_BYTES)?;
    let mut outcome = Ok(());
    for kind in ObjectKind::ALL {
        match store.list(kind) {
            Ok(listed) => {
                for (id, _) in listed {
                    let name = ObjectName::new(kind, id);
                    outcome = outcome.and(store.get(&name, MIB).map(drop));
                    outcome = outcome.and(store.get_range(&name, 10, 50, &mut Vec::new()));
                }
            }
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    if access == Access::Write {
        outcome = outcome.and(store.put(&name(ObjectKind::Pack, 9), &bytes(9, 20_000)));
        outcome = outcome.and(store.delete(&name(ObjectKind::Pack, 1)));
        outcome = outcome.and(store.sync());
    }
    outcome
}
