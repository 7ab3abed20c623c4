//! Rewriting takes out what matches and nothing else, and nothing is lost whatever fails.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::{
    Access, Error, MemoryStore, ObjectKind, OpenOptions, Patterns, PruneOptions, Repository, RewriteOptions, Snapshot,
    StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, key, restore, temp};
use daykeep_tests::stores::{FailingStore, objects};

fn options(lines: &[&str]) -> RewriteOptions {
    let mut options = RewriteOptions::default();
    options.exclude = Patterns::new(lines.iter().copied()).unwrap();
    options
}

fn forgetting(lines: &[&str]) -> RewriteOptions {
    let mut options = options(lines);
    options.forget = true;
    options
}

fn snapshots(repository: &Repository) -> Vec<Snapshot> {
    let (snapshots, errors) = repository.snapshots().unwrap();
    assert!(errors.is_empty());
    snapshots
}

/// Writes a random tree: few names, so that patterns match at many depths, and few contents, so that trees are shared.
fn grow(folder: &Path, rng: &mut Rng, depth: usize) {
    fs::create_dir_all(folder).unwrap();
    for _ in 0..rng.below(6) {
        let name = ["a", "b", "c.tmp", "cache", "d.txt"][rng.below(5)];
        let path = folder.join(name);
        if path.exists() {
            continue;
        }
        if depth > 0 && rng.below(2) == 0 {
            grow(&path, rng, depth - 1);
        } else {
            fs::write(&path, noise::text(rng.below(8) as u64, 50 + rng.below(2000))).unwrap();
        }
    }
}

/// The oracle: what is left of a tree without what matches, asked path by path. `root` is where the tree lay.
fn without(all: &Inventory, root: &Path, patterns: &Patterns) -> Inventory {
    let is_out = |path: &Path, is_dir: bool| patterns.excludes(path, is_dir);
    let stays = |inner: &Vec<u8>| {
        let whole: PathBuf = root.join(OsStr::from_bytes(inner));
        let is_dir = all[inner].kind == 'd';
        !whole.ancestors().skip(1).any(|above| is_out(above, true)) && (inner.is_empty() || !is_out(&whole, is_dir))
    };
    all.iter().filter(|(path, _)| stays(path)).map(|(path, item)| (path.clone(), item.clone())).collect()
}

#[test]
fn what_matches_is_gone_and_all_else_is_as_it_was() {
    for seed in 0..12 {
        let kind = Kind::ALL[seed as usize % 3];
        let place = Place::new(kind);
        let (source, mut rng) = (place.folder("source"), Rng::new(seed));
        let repository = place.open();
        let mut wanted = Vec::new();
        for _ in 0..3 {
            grow(&source, &mut rng, 3);
            let id = back_up(&repository, &source).snapshot.unwrap();
            wanted.push((id, read(&source)));
        }
        let anchored = format!("{}/a/b", source.display());
        let choices = [vec!["*.tmp"], vec!["cache/", "!d.txt"], vec![anchored.as_str()], vec!["a"], vec!["none"]];
        let lines = choices[rng.below(5)].as_slice();
        let patterns = Patterns::new(lines.iter().copied()).unwrap();
        let before = snapshots(&repository);
        let mut dry = options(lines);
        dry.dry_run = true;
        let planned = repository.rewrite(&[], &dry).unwrap();
        assert_eq!(snapshots(&repository), before, "a dry run changes nothing");
        let report = repository.rewrite(&[], &forgetting(lines)).unwrap();
        assert_eq!(planned.left_out, report.left_out);
        for (rewritten, (id, all)) in report.snapshots.iter().zip(&wanted) {
            assert_eq!(rewritten.before.id, *id);
            let left = without(all, &source, &patterns);
            assert_eq!(rewritten.record.is_some(), left.len() < all.len(), "seed {seed}, {lines:?}");
            let found = rewritten.id.unwrap_or(*id).to_string();
            assert_restores(&repository, &found, &source, &left);
            let Some(record) = &rewritten.record else { continue };
            let files = left.values().filter(|item| item.kind != 'd').count() as u64;
            let counts = (record.counts.files, record.counts.directories);
            assert_eq!(counts, (files, left.len() as u64 - files), "seed {seed}");
            let bytes: u64 = left.values().filter_map(|item| item.content.as_ref()).map(|(bytes, _)| bytes).sum();
            assert_eq!((record.counts.bytes, record.original), (bytes, Some(*id)));
        }
        assert_clean(&repository);
        // To do it again changes nothing, and what a backup finds is compared with what is left.
        let again = repository.rewrite(&[], &forgetting(lines)).unwrap();
        assert!(again.snapshots.iter().all(|rewritten| rewritten.record.is_none()) && again.left_out.is_empty());
        drop(repository);
        let mut repository = place.open();
        let plan = repository.prune_plan(&PruneOptions::default()).unwrap();
        repository.prune(plan, &PruneOptions::default()).unwrap();
        for (rewritten, (_, all)) in report.snapshots.iter().zip(&wanted) {
            let id = rewritten.id.unwrap_or(rewritten.before.id).to_string();
            assert_restores(&repository, &id, &source, &without(all, &source, &patterns));
        }
        assert_clean(&repository);
    }
}

#[test]
fn the_old_snapshots_stay_unless_they_are_to_go() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    ["keep", "secret"].iter().for_each(|name| fs::write(source.join(name), name).unwrap());
    let repository = place.open();
    let first = back_up(&repository, &source).snapshot.unwrap();
    let wanted = read(&source);
    let report = repository.rewrite(&["latest".into()], &options(&["secret"])).unwrap();
    let new = report.snapshots[0].id.unwrap();
    assert_eq!(report.snapshots[0].record.as_ref().unwrap().tags, ["rewrite"]);
    assert_eq!(report.left_out, [[source.as_os_str().as_bytes(), b"/secret"].concat()]);
    assert_restores(&repository, &first.to_string(), &source, &wanted);
    let target = temp();
    let restored = restore(&repository, &new.to_string(), &source, target.path());
    assert!(restored.join("keep").exists() && !restored.join("secret").exists());
    // Again: the copy is there already.
    let again = repository.rewrite(&[], &options(&["secret"])).unwrap();
    assert_eq!(snapshots(&repository).len(), 2);
    let done: Vec<_> = again.snapshots.iter().filter_map(|rewritten| rewritten.id).collect();
    assert_eq!(done, [new]);
}

/// A name that was taken out is nowhere in what a prune leaves: no tree stands on the one that had it.
#[test]
fn no_tree_that_stays_stands_on_one_that_goes() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for number in 0..300 {
        fs::write(source.join(format!("file-{number:03}")), noise::text(number, 20)).unwrap();
    }
    let mut repository = place.open();
    back_up(&repository, &source);
    repository.rewrite(&[], &forgetting(&["file-150"])).unwrap();
    let plan = repository.prune_plan(&PruneOptions::default()).unwrap();
    assert_eq!(plan.figures.chunks_bases, 0);
    repository.prune(plan, &PruneOptions::default()).unwrap();
    assert_clean(&repository);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    fs::write(source.join("a"), "a").unwrap();
    let repository = place.open();
    back_up(&repository, &source);
    assert!(matches!(repository.rewrite(&[], &options(&[])), Err(Error::InvalidOption { option: "exclude", .. })));
    let missing = repository.rewrite(&["0123456789".into()], &options(&["a"]));
    assert!(matches!(missing, Err(Error::SnapshotNotFound { .. })));
    drop(repository);
    let repository = place.try_open(Access::Read).unwrap();
    assert!(repository.rewrite(&[], &options(&["a"])).unwrap_err().to_string().contains("opened for reading"));
    let mut dry = options(&["a"]);
    dry.dry_run = true;
    assert_eq!(repository.rewrite(&[], &dry).unwrap().left_out.len(), 1);
    let token = dry.cancel.clone();
    token.cancel();
    assert!(matches!(repository.rewrite(&[], &dry), Err(Error::Cancelled)));
}

#[test]
fn a_folder_that_cannot_be_read_ends_it_and_all_stays() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("a"), noise::random(1, 100_000)).unwrap();
    back_up(&place.open(), &source);
    let before = objects(place.store().as_ref());
    let pack = before.iter().filter(|(name, _)| name.kind == ObjectKind::Pack).min_by_key(|(_, bytes)| bytes.len());
    place.store().delete(&pack.unwrap().0).unwrap();
    let error = place.open().rewrite(&[], &forgetting(&["a"])).unwrap_err();
    assert!(matches!(&error, Error::Store(_) | Error::Missing { .. }), "{error}");
    assert_eq!(place.store().list(ObjectKind::Snapshot).unwrap().len(), 1);
}

#[test]
fn each_call_may_fail_and_doing_it_again_ends_well() {
    for call in 0.. {
        let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::new()), StoreErrorKind::Io));
        let open_options = OpenOptions::default().memory_bytes(64 << 20);
        drop(Repository::create_in(store.clone(), &key(), None, &open_options).unwrap());
        let place = Place::of_store(store.clone());
        let source = place.folder("source");
        let repository = place.open();
        let mut left = Vec::new();
        for text in ["first", "second"] {
            ["keep", "secret"].iter().for_each(|name| fs::write(source.join(name), text).unwrap());
            back_up(&repository, &source);
            left.push(without(&read(&source), &source, &options(&["secret"]).exclude));
        }
        store.fail_after(call, false);
        let outcome = repository.rewrite(&[], &forgetting(&["secret"]));
        store.heal();
        let failed = store.failed();
        // One that cannot be read is named in the report.
        let is_told = outcome.as_ref().is_ok_and(|report| !report.unreadable.is_empty());
        assert!(outcome.is_err() || failed.is_none() || is_told, "{failed:?}");
        assert!(snapshots(&repository).len() >= 2, "call {call}");
        repository.rewrite(&[], &forgetting(&["secret"])).unwrap();
        let after = snapshots(&repository);
        assert_eq!(after.len(), 2, "call {call}");
        for (snapshot, left) in after.iter().zip(&left) {
            let target = temp();
            let restored = restore(&repository, &snapshot.id.to_string(), &source, target.path());
            assert_same(left, &read(&restored));
        }
        assert_clean(&repository);
        if failed.is_none() {
            assert!(call > 10, "{call} calls");
            break;
        }
    }
}

/// A copy may go and the snapshot stay, so a backup that is compared with the copy names the snapshot: `forget` tells by it
/// which was made first.
#[test]
fn a_backup_upon_a_copy_names_the_snapshot_it_was_made_from() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("a"), "a").unwrap();
    fs::write(source.join("b.tmp"), "b").unwrap();
    let repository = place.open();
    let first = back_up(&repository, &source).snapshot.unwrap();
    let copy = repository.rewrite(&[], &forgetting(&["*.tmp"])).unwrap().snapshots[0].id;
    let report = back_up(&repository, &source);
    assert_eq!(report.parent, copy);
    let made = repository.snapshot(&report.snapshot.unwrap().to_string()).unwrap();
    assert_eq!(made.record.parent, Some(first));
}
