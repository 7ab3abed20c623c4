//! How the bytes of a redb store lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const PACKS_PUT: u64 = 24;

fn allocated_bytes(store: &RedbStore) -> u64 {
    let handle = store.database.read().unwrap();
    let Some(Handle::Write(database)) = &*handle else { unreachable!() };
    let stats = database.begin_write().unwrap().stats().unwrap();
    stats.allocated_pages() * stats.page_size() as u64
}

/// Key slots, an index object and a snapshot lie around the packs, which must not share a leaf with them.
#[test]
fn a_pack_takes_four_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::create(&dir.path().join("store"), 32 * MIB).unwrap();
    let id = |n: u64| ObjectId::from_bytes([(n * 37) as u8; 32]);
    for kind in [ObjectKind::Config, ObjectKind::Key, ObjectKind::Snapshot] {
        store.put(&ObjectName::new(kind, id(1)), &[1; 300]).unwrap();
    }
    store.put(&ObjectName::new(ObjectKind::Index, id(1)), &[1; 60_000]).unwrap();
    store.sync().unwrap();
    let before = allocated_bytes(&store);
    for n in 0..PACKS_PUT {
        let name = ObjectName::new(ObjectKind::Pack, id(n));
        store.put_with(&name, store.pack_bytes(), &mut |bytes| bytes.fill(n as u8)).unwrap();
        if n % 10 == 0 {
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
    let grown = allocated_bytes(&store) - before;
    let ideal = PACKS_PUT * 4 * MIB as u64;
    assert!(grown >= ideal && grown < ideal + ideal / 50, "grew by {grown}, {ideal} would be ideal");
}
