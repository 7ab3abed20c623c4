#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::FindOptions;
use crate::base::ObjectId;
use crate::crypt::RecoveryKey;
use crate::repo::{OpenOptions, Repository};
use crate::source::Patterns;
use crate::store::MemoryStore;

type Found = BTreeMap<(Vec<u8>, u64), BTreeSet<ObjectId>>;

fn find(repository: &Repository, held_max: usize) -> (Found, u64) {
    let patterns = Patterns::new(["*.txt", "folder*"]).unwrap();
    let options = FindOptions { patterns, held_max, ..FindOptions::default() };
    let mut found = Found::new();
    let report = repository.find(&options, &mut |entry| {
        let snapshots = found.entry((entry.path.to_vec(), entry.bytes)).or_default();
        for snapshot in &entry.snapshots {
            assert!(snapshots.insert(snapshot.id), "no snapshot is told twice");
        }
        true
    });
    let report = report.unwrap();
    assert!(report.errors.is_empty());
    (found, report.trees_read)
}

#[test]
fn what_is_looked_at_in_parts_is_found_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let key = RecoveryKey::from_bytes([7; 32]);
    let repository = Repository::create_in(store, &key, None, &OpenOptions::default()).unwrap();
    for version in 0..7 {
        for folder in 0..6 {
            let path = dir.path().join(format!("folder {folder}"));
            std::fs::create_dir_all(&path).unwrap();
            // Each has its own rhythm of changes.
            std::fs::write(path.join("a.txt"), "x".repeat(1 + version / (folder + 1))).unwrap();
            std::fs::write(path.join(format!("{}.txt", version % (folder + 1))), "other").unwrap();
        }
        repository.backup(&[dir.path()], &Default::default()).unwrap();
    }
    let (wanted, trees_read) = find(&repository, usize::MAX);
    assert!(wanted.len() > 30);
    for held_max in [0, 5, 20, 60] {
        let (found, read_again) = find(&repository, held_max);
        assert_eq!(found, wanted, "{held_max}");
        assert!(read_again > trees_read, "{held_max}: {read_again} of {trees_read}");
    }
}
