//! Copies of snapshots in another repository: the same files, no more space, deltas and all; whatever interrupts them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use daykeep_engine::{
    Access, BackupOptions, CheckOptions, Chunking, CopyOptions, CopyReport, MemoryStore, ObjectId, ObjectKind,
    ObjectName, OpenOptions, Patterns, Repository, RewriteOptions, Store, StoreErrorKind,
};
use daykeep_tests::inventory::read;
use daykeep_tests::is_long;
use daykeep_tests::killed::{open, open_in_child, run_and_kill};
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, key, secret};
use daykeep_tests::stores::{FailingStore, OBJECT_BYTES_MAX, replace};

use crate::prune::{Days, Snapshots, all_restore, back_up_days, forget, store_of, thorough};

fn copy(from: &Repository, to: &Repository) -> CopyReport {
    from.copy_to(to, &[], &CopyOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The snapshots of a copy, by those that were copied.
fn copied(report: &CopyReport, snapshots: &Snapshots) -> Snapshots {
    let find = |id: &ObjectId| report.copied.iter().find(|copied| copied.from == *id).unwrap().to;
    snapshots.iter().map(|(id, wanted)| (find(id), wanted.clone())).collect()
}

/// A place with a repository that cuts files as another does.
fn cutting_alike(kind: Kind, chunking: Option<Chunking>) -> Place {
    let place = Place::new(kind);
    let location = place.location().unwrap();
    let path = location.path();
    let _ = if kind == Kind::Redb { fs::remove_file(path) } else { fs::remove_dir_all(path) };
    let mut options = place.options();
    options.chunking = chunking;
    drop(Repository::create(&location, &key(), None, &options).unwrap());
    place
}

fn pack_bytes(repository: &Repository) -> u64 {
    repository.prune_plan(&Default::default()).unwrap().figures.pack_bytes
}

#[test]
fn a_copy_restores_the_same_and_takes_no_more() {
    for (from, to) in [(Kind::Directory, Kind::Redb), (Kind::Redb, Kind::Directory)] {
        let (from, to) = (Place::new(from), Place::new(to));
        let mut days = Days::new(from.folder("source"));
        let source = from.open();
        let snapshots = back_up_days(&source, &mut days, 10);
        let target = to.open();
        let report = copy(&source, &target);
        assert_eq!((report.copied.len(), report.skipped), (10, 0));
        all_restore(&target, &days.source, &copied(&report, &snapshots));
        let checked = assert_clean(&target);
        assert_eq!(checked.notes, [""; 0]);
        let (before, after) = (pack_bytes(&source), pack_bytes(&target));
        assert!(after * 100 <= before * 102, "{after} bytes instead of {before}");
        // What it says of itself is the same, but for ids.
        let (here, there) = (source.snapshots().unwrap().0, target.snapshots().unwrap().0);
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(there.record.original, Some(here.id));
            assert_eq!(
                (&there.record.host, &there.record.paths, there.record.counts, there.record.started),
                (&here.record.host, &here.record.paths, here.record.counts, here.record.started)
            );
        }
        assert_eq!((there[3].record.parent, there[2].first_id()), (Some(here[2].id), here[2].id));
        let again = copy(&source, &target);
        assert_eq!((again.copied.len(), again.skipped, again.bytes_stored), (0, 10, 0));
        // Later ones cost what is new in them.
        drop(target);
        let more = back_up_days(&source, &mut days, 2);
        let target = to.open();
        let later = copy(&source, &target);
        assert_eq!((later.copied.len(), later.skipped), (2, 10));
        assert!(later.bytes_stored * 3 < report.bytes_stored, "{later:?}");
        all_restore(&target, &days.source, &copied(&later, &more));
        assert_clean(&target);
        let (before, after) = (pack_bytes(&source), pack_bytes(&target));
        assert!(after * 100 <= before * 102, "{after} bytes instead of {before}");
    }
}

#[test]
fn only_what_is_named_is_copied_and_only_elsewhere() {
    let (from, to) = (Place::new(Kind::Directory), Place::new(Kind::Directory));
    let mut days = Days::new(from.folder("source"));
    let (source, target) = (from.open(), to.open());
    let snapshots = back_up_days(&source, &mut days, 4);
    let names = [snapshots[2].0.to_string(), "latest".into(), snapshots[2].0.to_string()[..10].into()];
    let report = source.copy_to(&target, &names, &CopyOptions::default()).unwrap();
    assert_eq!(report.copied.iter().map(|copied| copied.from).collect::<Vec<_>>(), [snapshots[2].0, snapshots[3].0]);
    all_restore(&target, &days.source, &copied(&report, &snapshots[2..].to_vec()));
    assert_clean(&target);
    assert!(source.copy_to(&source, &[], &CopyOptions::default()).unwrap_err().to_string().contains("same repository"));
    assert!(source.copy_to(&target, &["abcxyz".into()], &CopyOptions::default()).is_err());
    drop(target);
    let reading = to.try_open(Access::Read).unwrap();
    assert!(source.copy_to(&reading, &[], &CopyOptions::default()).is_err());
}

#[test]
fn with_shared_chunking_later_backups_find_what_was_copied() {
    let from = Place::new(Kind::Directory);
    let mut days = Days::new(from.folder("source"));
    let source = from.open();
    back_up_days(&source, &mut days, 3);
    back_up(&source, &days.source);
    let mut new = Vec::new();
    for chunking in [Some(source.chunking()), None] {
        let to = cutting_alike(Kind::Directory, chunking);
        copy(&source, &to.open());
        // Once more opened, so that what it knows comes from its config.
        let target = to.open();
        let mut options = BackupOptions::default();
        options.force = true;
        new.push(target.backup(&[&days.source], &options).unwrap().counts.bytes_new);
        assert_clean(&target);
    }
    // Where neither repository cuts the photo, it is found in both.
    assert!(new[0] < 20_000 && new[1] > 200_000, "new bytes with and without: {new:?}");
}

/// What stands on what may differ in both repositories, since each had backups of its own.
#[test]
fn copies_go_together_with_backups_of_the_other_repository() {
    let from = Place::new(Kind::Directory);
    let mut days = Days::new(from.folder("source"));
    let source = from.open();
    let to = cutting_alike(Kind::Redb, Some(source.chunking()));
    let target = to.open();
    let (mut snapshots, mut own) = (Snapshots::new(), Snapshots::new());
    for day in 0..16 {
        if day % 3 == 1 {
            own.push((back_up(&target, &days.source).snapshot.unwrap(), read(&days.source)));
        }
        if day == 9 {
            copy(&source, &target);
        }
        snapshots.extend(back_up_days(&source, &mut days, 1));
    }
    copy(&source, &target);
    assert_clean(&target);
    all_restore(&target, &days.source, &own);
    let there = target.snapshots().unwrap().0;
    for (id, wanted) in &snapshots {
        let copy = there.iter().find(|copy| copy.record.original == Some(*id)).unwrap();
        assert_restores(&target, &copy.id.to_string(), &days.source, wanted);
    }
    drop(target);
    fs::remove_dir_all(to.options().cache_dir.unwrap()).unwrap();
    assert_clean(&to.open());
}

/// After a prune, deltas stand on chunks that no snapshot has, level upon level.
#[test]
fn bases_that_no_snapshot_has_come_along() {
    let from = Place::new(Kind::Directory);
    let mut days = Days::new(from.folder("source"));
    let snapshots = back_up_days(&from.open(), &mut days, 14);
    let kept = forget(store_of(&from).as_ref(), snapshots, |number| number == 7 || number == 13);
    let mut source = from.open();
    let plan = source.prune_plan(&thorough()).unwrap();
    assert!(plan.figures.chunks_bases > 0);
    source.prune(plan, &thorough()).unwrap();
    let to = Place::new(Kind::Directory);
    let target = to.open();
    let report = copy(&source, &target);
    all_restore(&target, &days.source, &copied(&report, &kept));
    assert_clean(&target);
    let (before, after) = (pack_bytes(&source), pack_bytes(&target));
    assert!(after * 100 <= before * 105, "{after} bytes instead of {before}");
}

/// Whatever call of the other store fails, nothing there refers to what is missing, and the next copy goes on.
#[test]
fn a_copy_whose_store_fails_goes_on_the_next_time() {
    let from = Place::new(Kind::Memory);
    let mut days = Days::new(from.folder("source"));
    let source = from.open();
    let snapshots = back_up_days(&source, &mut days, 3);
    let options = OpenOptions::default().memory_bytes(64 << 20);
    let mut call = 0;
    loop {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::with_pack_bytes(2 << 20));
        let store = Arc::new(FailingStore::new(Arc::clone(&memory), StoreErrorKind::NoSpace));
        let target = Repository::create_in(store.clone(), &key(), None, &options).unwrap();
        store.fail_after(call, call % 2 == 0);
        let outcome = source.copy_to(&target, &[], &CopyOptions::default());
        let failed = store.failed();
        let has_failed = failed.is_some();
        store.heal();
        // A base that cannot be read at the moment is no base; whatever else fails ends the copy.
        let must_fail = failed.as_deref().is_some_and(|what| what != "get_range");
        assert!(outcome.is_err() || !must_fail, "call {call}, {failed:?}");
        drop(target);
        let target = Repository::open_in(memory, &secret(), Access::Write, &options).unwrap();
        assert_eq!(target.check(&CheckOptions::default()).unwrap().errors, [""; 0], "call {call}");
        let done = outcome.unwrap_or_else(|_| copy(&source, &target));
        assert_clean(&target);
        if call % 5 == 0 {
            let there = target.snapshots().unwrap().0;
            assert_eq!(there.len(), snapshots.len());
            let (id, wanted) = &snapshots[call as usize % snapshots.len()];
            let copy = there.iter().find(|copy| copy.record.original == Some(*id)).unwrap();
            assert_restores(&target, &copy.id.to_string(), &days.source, wanted);
        }
        if !has_failed {
            assert_eq!(done.copied.len(), 3);
            break;
        }
        call += 1;
    }
    assert!(call > 15, "{call} calls");
}

/// Of three snapshots one has lost a file; what the others share with it comes along nevertheless.
#[test]
fn what_cannot_be_read_is_named_and_the_others_are_copied() {
    let (from, to) = (Place::new(Kind::Memory), Place::new(Kind::Memory));
    let (source, store, target) = (from.open(), from.store(), to.open());
    let [lost, shared, whole] = ["lost", "shared", "whole"].map(|name| from.folder(name));
    fs::write(lost.join("noise"), noise::random(1, 300_000)).unwrap();
    fs::write(shared.join("text"), noise::text(2, 3000)).unwrap();
    fs::write(whole.join("text"), noise::text(3, 3000)).unwrap();
    back_up(&source, &shared);
    let before = store.list(ObjectKind::Pack).unwrap();
    let back_up_with = |other| {
        let report = source.backup(&[&shared, other], &BackupOptions::default()).unwrap();
        report.snapshot.unwrap()
    };
    let first = back_up_with(&lost);
    let data =
        store.list(ObjectKind::Pack).unwrap().into_iter().filter(|pack| !before.contains(pack) && pack.1 > 20_000);
    data.for_each(|(id, _)| store.delete(&ObjectName::new(ObjectKind::Pack, id)).unwrap());
    let second = back_up_with(&whole);
    let names = [first, second].map(|id| id.to_string());
    let report = source.copy_to(&target, &names, &CopyOptions::default()).unwrap();
    assert_eq!(report.copied.iter().map(|copied| copied.from).collect::<Vec<_>>(), [second], "{report:?}");
    let [(failed, reason)] = report.failed.as_slice() else { panic!("{report:?}") };
    assert!(*failed == first && reason.contains(&names[0][..8]), "{reason}");
    for folder in [&shared, &whole] {
        assert_restores(&target, &report.copied[0].to.to_string(), folder, &read(folder));
    }
    assert_eq!(target.snapshots().unwrap().0.len(), 1);
    assert_clean(&target);
    // And if the snapshot itself cannot be read.
    let name = ObjectName::new(ObjectKind::Snapshot, first);
    let mut bytes = store.get(&name, OBJECT_BYTES_MAX).unwrap();
    bytes[100] ^= 1;
    replace(store.as_ref(), &name, &bytes);
    let report = copy(&source, &target);
    assert_eq!((report.copied.len(), report.skipped, report.failed.len()), (1, 1, 1), "{report:?}");
    assert_clean(&target);
}

/// What a damaged index object lists counts as missing, and the catalog that lacks it is no reason to stop.
#[test]
fn a_damaged_index_object_keeps_nobody_from_the_others() {
    let (from, to) = (Place::new(Kind::Memory), Place::new(Kind::Memory));
    let (source, store) = (from.open(), from.store());
    let mut made = Vec::new();
    for name in ["first", "second", "third"] {
        let folder = from.folder(name);
        fs::write(folder.join("noise"), noise::random(made.len() as u64, 100_000)).unwrap();
        let before = store.list(ObjectKind::Index).unwrap();
        let id = back_up(&source, &folder).snapshot.unwrap();
        let index = store.list(ObjectKind::Index).unwrap().into_iter().find(|index| !before.contains(index)).unwrap();
        made.push((id, ObjectName::new(ObjectKind::Index, index.0)));
    }
    drop(source);
    let (hurt, index) = made[1];
    let mut bytes = store.get(&index, OBJECT_BYTES_MAX).unwrap();
    bytes[100] ^= 1;
    replace(store.as_ref(), &index, &bytes);
    let options = OpenOptions::default().memory_bytes(64 << 20);
    let source = Repository::open_in(store, &secret(), Access::Read, &options).unwrap();
    let target = to.open();
    let report = copy(&source, &target);
    assert!(report.failed.iter().any(|(id, _)| *id == hurt), "{report:?}");
    assert!(report.copied.iter().any(|copied| copied.from == made[0].0), "{report:?}");
    assert_eq!(report.copied.len() + report.failed.len(), 3);
    assert_clean(&target);
}

/// A copy that a rewrite or a repair made has the first id and the time of what it was made from.
#[test]
fn a_copy_without_some_files_does_not_stand_for_all_of_them() {
    for _ in 0..4 {
        let (from, to) = (Place::new(Kind::Memory), Place::new(Kind::Memory));
        let (folder, source, target) = (from.folder("source"), from.open(), to.open());
        fs::write(folder.join("letter.txt"), "to be kept").unwrap();
        fs::write(folder.join("secret.txt"), "not for everyone").unwrap();
        let (full, wanted) = (back_up(&source, &folder).snapshot.unwrap(), read(&folder));
        let mut options = RewriteOptions::default();
        options.exclude = Patterns::new(["secret.txt"]).unwrap();
        let reduced = source.rewrite(&[], &options).unwrap().snapshots[0].id.unwrap();
        assert_eq!(source.snapshot("latest").unwrap().id, reduced);
        let first = source.copy_to(&target, &[reduced.to_string()], &CopyOptions::default()).unwrap();
        assert_eq!((first.copied.len(), first.skipped), (1, 0));
        let second = copy(&source, &target);
        assert_eq!((second.copied.len(), second.skipped, second.copied[0].from), (1, 1, full));
        assert_restores(&target, &second.copied[0].to.to_string(), &folder, &wanted);
        assert_eq!(target.snapshot("latest").unwrap().id, first.copied[0].to);
        let again = copy(&source, &target);
        assert_eq!((again.copied.len(), again.skipped), (0, 2));
        assert_clean(&target);
    }
}

const FROM: &str = "DAYKEEP_TEST_KILL_COPY_FROM";

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let (Some(from), Some(to)) = (std::env::var_os(FROM), open_in_child()) else { return };
    copy(&open(&from, Access::Read), &to);
}

fn copy_and_kill(from: &Place, to: &Place, after: Option<Duration>) -> (Duration, bool) {
    let from = from.location().unwrap();
    run_and_kill("copying::kill_child", to, &[(FROM, from.path().as_os_str())], after)
}

/// Killed at any moment, a copy leaves what is whole, and backups there and the next copy go on from it.
#[test]
fn a_copy_that_is_killed_goes_on_the_next_time() {
    for kind in Kind::ON_DISK {
        let from = Place::new(Kind::Directory);
        let mut days = Days::new(from.folder("source"));
        let snapshots = back_up_days(&from.open(), &mut days, 6);
        let chunking = Some(from.open().chunking());
        let (span, _) = copy_and_kill(&from, &cutting_alike(kind, chunking), None);
        let (mut rng, mut killed) = (Rng::new(Seed::first()), 0);
        let kills = if is_long() { 200 } else { 12 };
        for turn in 0..kills {
            let to = cutting_alike(kind, chunking);
            let micros = rng.below(span.as_micros() as usize) as u64;
            killed += u64::from(copy_and_kill(&from, &to, Some(Duration::from_micros(micros))).1);
            let target = to.open();
            let report = target.check(&CheckOptions::default()).unwrap();
            assert_eq!(report.errors, [""; 0], "{kind:?}, turn {turn}, killed after {micros} µs");
            let own = match turn % 2 {
                0 => Some(back_up(&target, &days.source).snapshot.unwrap()),
                _ => None,
            };
            let report = copy(&from.open(), &target);
            assert_eq!(report.copied.len() as u64 + report.skipped, 6);
            assert_clean(&target);
            let there = target.snapshots().unwrap().0;
            for (id, wanted) in &snapshots {
                let copy = there.iter().find(|copy| copy.record.original == Some(*id)).unwrap();
                assert_restores(&target, &copy.id.to_string(), &days.source, wanted);
            }
            if let Some(own) = own {
                assert_restores(&target, &own.to_string(), &days.source, &read(&days.source));
            }
        }
        assert!(killed * 3 > kills, "only {killed} of {kills} came before the end");
    }
}
