//! Other tags for snapshots that are there: nothing else changes, and nothing is lost whatever fails.

use std::fs;
use std::sync::Arc;

use daykeep_engine::{
    Access, Error, ForgetOptions, MemoryStore, ObjectId, OpenOptions, Repository, Snapshot, StoreErrorKind, TagOptions,
};
use daykeep_tests::inventory::read;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, key};
use daykeep_tests::stores::FailingStore;

fn options(change: impl FnOnce(&mut TagOptions)) -> TagOptions {
    let mut options = TagOptions::default();
    change(&mut options);
    options
}

fn tags(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn back_up_twice(place: &Place) -> [ObjectId; 2] {
    let repository = place.open();
    let source = place.folder("source");
    ["first", "second"].map(|text| {
        fs::write(source.join("file"), text).unwrap();
        back_up(&repository, &source).snapshot.unwrap()
    })
}

fn snapshots(repository: &Repository) -> Vec<Snapshot> {
    let (snapshots, errors) = repository.snapshots().unwrap();
    assert!(errors.is_empty());
    snapshots
}

#[test]
fn a_snapshot_with_other_tags_is_the_same_but_for_its_name() {
    for kind in Kind::ALL {
        let place = Place::new(kind);
        let [first, second] = back_up_twice(&place);
        let wanted = read(&place.path("source"));
        let repository = place.open();
        let before = snapshots(&repository);
        let names = [first.to_string(), "latest".into(), second.to_string()];
        let done = repository.tag(&names, &options(|options| options.add = tags(&["b", "a", "b"]))).unwrap();
        assert_eq!(done.iter().map(|tagged| tagged.id_before).collect::<Vec<_>>(), [first, second]);
        drop(repository);
        let repository = place.open();
        let after = snapshots(&repository);
        assert_eq!(after, done.iter().map(|tagged| tagged.snapshot.clone()).collect::<Vec<_>>(), "{kind:?}");
        for (before, after) in before.iter().zip(&after) {
            assert_ne!(before.id, after.id);
            let mut record = before.record.clone();
            (record.tags, record.original) = (tags(&["a", "b"]), Some(before.id));
            assert_eq!(record, after.record);
        }
        // The first name stays, so that the second's parent is still known.
        let change = options(|options| (options.set, options.remove) = (Some(tags(&["c", "d"])), tags(&["d"])));
        let done = repository.tag(&[after[0].id.to_string()], &change).unwrap();
        assert_eq!(done[0].snapshot.record.tags, ["c"]);
        assert_eq!(done[0].snapshot.record.original, after[1].record.parent);
        let same = repository.tag(&[done[0].snapshot.id.to_string()], &change).unwrap();
        assert_eq!((same[0].id_before, &same[0].snapshot), (done[0].snapshot.id, &done[0].snapshot));
        assert_restores(&repository, "latest", &place.path("source"), &wanted);
        assert_clean(&repository);
        assert_eq!(back_up(&repository, &place.path("source")).parent, Some(after[1].id));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new(Kind::Directory);
    let names = [back_up_twice(&place)[0].to_string()];
    let repository = place.open();
    let add = options(|options| options.add = tags(&["a"]));
    for (names, options) in [(&names[..], &TagOptions::default()), (&[], &add)] {
        assert!(matches!(repository.tag(names, options), Err(Error::InvalidOption { option: "tag", .. })));
    }
    let long = options(|options| options.add = vec!["x".repeat(5000)]);
    assert!(repository.tag(&names, &long).unwrap_err().to_string().contains("too long"));
    let missing = [names[0].clone(), "0123456789".into()];
    assert!(matches!(repository.tag(&missing, &add), Err(Error::SnapshotNotFound { .. })));
    drop(repository);
    let repository = place.try_open(Access::Read).unwrap();
    assert!(repository.tag(&names, &add).unwrap_err().to_string().contains("opened for reading"));
    assert!(snapshots(&repository).iter().all(|snapshot| snapshot.record.tags.is_empty()));
}

#[test]
fn each_call_may_fail_and_doing_it_again_ends_well() {
    for call in 0.. {
        let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::new()), StoreErrorKind::Io));
        let open_options = OpenOptions::default().memory_bytes(64 << 20);
        drop(Repository::create_in(store.clone(), &key(), None, &open_options).unwrap());
        let place = Place::of_store(store.clone());
        let made = back_up_twice(&place);
        let repository = place.open();
        let names = made.map(|id| id.to_string());
        let change = options(|options| options.add = tags(&["a"]));
        store.fail_after(call, false);
        let outcome = repository.tag(&names, &change);
        store.heal();
        let failed = store.failed();
        // What only looks for twins that an earlier run left may fail.
        assert!(outcome.is_err() || matches!(failed.as_deref(), None | Some("get")), "{failed:?}");
        let left = snapshots(&repository);
        for id in made {
            let is_there = |snapshot: &Snapshot| snapshot.id == id || snapshot.record.original == Some(id);
            assert!(left.iter().any(is_there), "call {call}");
        }
        let all: Vec<String> = left.iter().map(|snapshot| snapshot.id.to_string()).collect();
        repository.tag(&all, &change).unwrap();
        let after = snapshots(&repository);
        assert_eq!(after.iter().map(|snapshot| snapshot.record.original).collect::<Vec<_>>(), made.map(Some));
        assert!(after.iter().all(|snapshot| snapshot.record.tags == ["a"]));
        if failed.is_none() {
            assert!(call > 8, "{call} calls");
            break;
        }
    }
}

/// A clock that was wrong is told by the parent, whatever that is called by now.
#[test]
fn forgetting_knows_a_parent_by_its_first_name() {
    let place = Place::new(Kind::Memory);
    let [first, second] = back_up_twice(&place);
    let repository = place.open();
    repository.tag(&[first.to_string()], &options(|options| options.add = tags(&["a"]))).unwrap();
    let mut all = snapshots(&repository);
    let second = all.iter_mut().find(|snapshot| snapshot.id == second).unwrap();
    second.record.started = daykeep_engine::Timestamp::default();
    let mut options = ForgetOptions::default();
    options.policy.last = 1;
    let later = daykeep_engine::Timestamp { seconds: 1 << 40, nanos: 0 };
    let groups = daykeep_engine::internals::forget::plan(all, &Default::default(), &options, later).unwrap();
    let decisions = &groups[0].decisions;
    assert_eq!(decisions[1].reasons, [daykeep_engine::KeepReason::Clock]);
    assert_eq!(decisions[0].snapshot.record.original, Some(first));
}
