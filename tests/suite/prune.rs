//! Prune: what snapshots need stays, byte for byte, and the space of the rest comes back.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::internals::prune::{Fate, Limits, PackUse, decide};
use daykeep_engine::{
    Access, BackupOptions, CheckOptions, Error, MemoryStore, ObjectId, ObjectKind, ObjectName, OpenOptions,
    PruneFigures, PruneOptions, PruneReport, Repository, Store, StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{
    Kind, Place, assert_clean, assert_restores, back_up, below, key, restore, secret, temp, try_restore,
};
use daykeep_tests::stores::{FailingStore, objects, replace};
use proptest::prelude::*;

const PAGE: usize = 4096;

/// A source that changes from day to day: a database here and there, a text in its middle, photos that come and go. Some
/// pages of the database are every fourth day as they were at first, so that deltas between stand on nothing that stays.
pub struct Days {
    pub source: PathBuf,
    first: Vec<u8>,
    database: Vec<u8>,
    text: Vec<u8>,
    day: u64,
}

impl Days {
    pub fn new(source: PathBuf) -> Self {
        let first = noise::sqlite(1, PAGE as u16, 120 * PAGE);
        let mut days = Self { source, database: first.clone(), first, text: noise::text(2, 400_000), day: 0 };
        fs::create_dir_all(days.source.join("photos")).unwrap();
        for number in 0..40 {
            fs::write(days.source.join(format!("note-{number}")), noise::text(100 + number, 3000)).unwrap();
        }
        days.next();
        days
    }

    fn next(&mut self) {
        self.day += 1;
        let mut rng = Rng::new(self.day);
        for _ in 0..15 {
            let at = (1 + rng.below(109)) * PAGE + rng.below(PAGE - 24);
            self.database[at..at + 24].copy_from_slice(&noise::random(rng.below(1 << 30) as u64, 24));
        }
        for page in 110..120 {
            let at = page * PAGE + 100 * (self.day as usize % 4);
            match self.day % 4 {
                0 => self.database[page * PAGE..][..PAGE].copy_from_slice(&self.first[page * PAGE..][..PAGE]),
                _ => self.database[at..at + 24].copy_from_slice(&noise::random(self.day * 1000 + page as u64, 24)),
            }
        }
        let at = rng.below(self.text.len());
        self.text.splice(at..at, noise::text(1000 + self.day, 500));
        fs::write(self.source.join("chats.db"), &self.database).unwrap();
        fs::write(self.source.join("long.txt"), &self.text).unwrap();
        fs::write(self.source.join(format!("note-{}", self.day % 40)), noise::text(500 + self.day, 3000)).unwrap();
        let photo = |day| self.source.join(format!("photos/{day}.jpg"));
        let mut bytes = noise::random(2000 + self.day, 300_000);
        bytes[..4].copy_from_slice(b"\xff\xd8\xff\xe0");
        fs::write(photo(self.day), bytes).unwrap();
        if self.day > 1 {
            let _ = fs::remove_file(photo(self.day - 1));
        }
    }
}

pub type Snapshots = Vec<(ObjectId, Inventory)>;

pub fn back_up_days(repository: &Repository, days: &mut Days, count: usize) -> Snapshots {
    (0..count)
        .map(|_| {
            let id = back_up(repository, &days.source).snapshot.unwrap();
            let wanted = read(&days.source);
            days.next();
            (id, wanted)
        })
        .collect()
}

/// Deletes the snapshots that `is_kept` says nothing of, and returns the others.
pub fn forget(store: &dyn Store, snapshots: Snapshots, is_kept: impl Fn(usize) -> bool) -> Snapshots {
    let mut kept = Vec::new();
    for (number, (id, wanted)) in snapshots.into_iter().enumerate() {
        if is_kept(number) {
            kept.push((id, wanted));
        } else {
            store.delete(&ObjectName::new(ObjectKind::Snapshot, id)).unwrap();
        }
    }
    store.sync().unwrap();
    kept
}

/// Opens the store of a place that is not open. A process that another test starts has its lock
/// too until its program begins.
pub fn store_of(place: &Place) -> Box<dyn Store> {
    use daykeep_engine::{DirectoryStore, Location, RedbStore, StoreError};
    let open = || -> Result<Box<dyn Store>, StoreError> {
        Ok(match place.location() {
            Some(Location::Directory(path)) => Box::new(DirectoryStore::open(&path, Access::Write)?),
            Some(Location::File(path)) => Box::new(RedbStore::open(&path, Access::Write, 1 << 20)?),
            _ => unreachable!("memory has its own"),
        })
    };
    for _ in 0..100 {
        match open() {
            Err(error) if error.kind == StoreErrorKind::InUse => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            outcome => return outcome.unwrap(),
        }
    }
    open().unwrap()
}

fn prune_with(repository: &mut Repository, options: &PruneOptions) -> (PruneFigures, PruneReport) {
    let plan = repository.prune_plan(options).unwrap();
    let figures = plan.figures;
    (figures, repository.prune(plan, options).unwrap())
}

fn prune(repository: &mut Repository) -> (PruneFigures, PruneReport) {
    prune_with(repository, &PruneOptions::default())
}

pub fn thorough() -> PruneOptions {
    let mut options = PruneOptions::default();
    options.unused_percent_max = 0;
    options
}

#[track_caller]
pub fn all_restore(repository: &Repository, source: &Path, snapshots: &Snapshots) {
    for (id, wanted) in snapshots {
        assert_restores(repository, &id.to_string(), source, wanted);
    }
}

fn pack_bytes(repository: &Repository) -> u64 {
    let mut options = PruneOptions::default();
    options.unused_percent_max = 100;
    repository.prune_plan(&options).unwrap().figures.pack_bytes
}

#[test]
fn what_snapshots_need_stays_and_the_rest_goes() {
    for kind in Kind::ALL {
        let memory = Arc::new(MemoryStore::new());
        let place = if kind == Kind::Memory {
            let options = OpenOptions::default().memory_bytes(64 << 20);
            drop(Repository::create_in(memory.clone(), &key(), None, &options).unwrap());
            Place::of_store(memory.clone())
        } else {
            Place::new(kind)
        };
        let mut days = Days::new(place.folder("source"));
        let repository = place.open();
        let snapshots = back_up_days(&repository, &mut days, 14);
        assert!(repository.prune_plan(&thorough()).unwrap().figures.packs_deleted == 0, "{kind:?}");
        drop(repository);
        let is_kept = |number| number % 4 == 3 || number > 12;
        let kept = match kind {
            Kind::Memory => forget(memory.as_ref(), snapshots, is_kept),
            _ => forget(store_of(&place).as_ref(), snapshots, is_kept),
        };
        let mut repository = place.open();
        let before = pack_bytes(&repository);
        let (figures, report) = prune_with(&mut repository, &thorough());
        assert!(figures.packs_repacked > 0 && figures.bytes_saved() > before / 5, "{kind:?}: {figures:?}");
        assert!(figures.chunks_bases > 0, "{figures:?}");
        assert_eq!(figures.bytes_unused_left, 0);
        let saved = before - pack_bytes(&repository);
        assert!(
            saved * 10 > figures.bytes_saved() * 9 && saved * 9 < figures.bytes_saved() * 10,
            "{saved} of {figures:?}"
        );
        assert!(report.bytes_deleted > report.bytes_written, "{report:?}");
        // The same process, and the next one with the same catalog.
        all_restore(&repository, &days.source, &kept);
        assert_clean(&repository);
        assert!(repository.prune_plan(&thorough()).unwrap().is_empty(), "{kind:?}");
        drop(repository);
        let repository = place.open();
        all_restore(&repository, &days.source, &kept);
        // The catalog is as good as a new one.
        let chunks = repository.stats().unwrap().chunks;
        drop(repository);
        assert_eq!(chunks, fresh_chunks(&place), "{kind:?}");
        let repository = place.open();
        let more = back_up_days(&repository, &mut days, 3);
        drop(repository);
        fs::remove_dir_all(place.options().cache_dir.unwrap()).unwrap();
        let repository = place.open();
        all_restore(&repository, &days.source, &kept);
        all_restore(&repository, &days.source, &more);
        assert_clean(&repository);
    }
}

/// Returns how many chunks a catalog has that is begun anew.
fn fresh_chunks(place: &Place) -> u64 {
    let cache = place.options().cache_dir.unwrap();
    let aside = place.path("cache aside");
    fs::rename(&cache, &aside).unwrap();
    let chunks = place.try_open(Access::Read).unwrap().stats().unwrap().chunks;
    fs::remove_dir_all(&cache).unwrap();
    fs::rename(&aside, &cache).unwrap();
    chunks
}

#[test]
fn a_backup_after_a_prune_takes_over_what_did_not_change() {
    let place = Place::new(Kind::Directory);
    let mut days = Days::new(place.folder("source"));
    let snapshots = back_up_days(&place.open(), &mut days, 6);
    forget(store_of(&place).as_ref(), snapshots, |number| number >= 4);
    // It says since when nothing is in doubt.
    let begun_anew = || {
        let folder = fs::read_dir(place.options().cache_dir.unwrap()).unwrap().next().unwrap().unwrap().path();
        fs::metadata(folder.join("begun-anew")).unwrap().modified().unwrap()
    };
    let before = begun_anew();
    prune_with(&mut place.open(), &thorough());
    let repository = place.open();
    assert_eq!(before, begun_anew(), "the catalog is good as it is");
    let mut options = BackupOptions::default();
    options.dry_run = true;
    let report = repository.backup(&[&days.source], &options).unwrap();
    // What did not change since the last backup: the notes but one.
    assert!(report.counts.files_unmodified > 35, "{:?}", report.counts);
}

#[test]
fn a_lenient_prune_rewrites_less() {
    let place = Place::new(Kind::Directory);
    let mut days = Days::new(place.folder("source"));
    let snapshots = back_up_days(&place.open(), &mut days, 10);
    let kept = forget(store_of(&place).as_ref(), snapshots, |number| number % 4 == 3);
    place.forget_seen();
    let mut repository = place.open();
    let plan = |percent, most| {
        let mut options = PruneOptions::default();
        (options.unused_percent_max, options.repack_bytes_max) = (percent, most);
        repository.prune_plan(&options).unwrap().figures
    };
    let (none, some, all) = (plan(100, None), plan(5, None), plan(0, None));
    assert_eq!(none.packs_repacked, 0);
    assert!(some.packs_repacked <= all.packs_repacked && all.packs_repacked > 0);
    assert!(some.bytes_unused_left * 20 <= some.pack_bytes && none.bytes_unused_left > 0);
    let bounded = plan(0, Some(all.bytes_repacked / 2));
    assert!(bounded.bytes_repacked <= all.bytes_repacked / 2 && bounded.packs_repacked < all.packs_repacked);
    // Packs that stay hold deltas that nobody needs, on bases that go.
    let mut options = PruneOptions::default();
    options.repack_bytes_max = Some(0);
    let (figures, _) = prune_with(&mut repository, &options);
    assert_eq!(figures.packs_repacked, 0);
    all_restore(&repository, &days.source, &kept);
    assert_clean(&repository);
    drop(repository);
    let _ = fs::remove_dir_all(place.options().cache_dir.unwrap());
    let repository = place.open();
    all_restore(&repository, &days.source, &kept);
    assert!(repository.prune_plan(&options).unwrap().is_empty());
}

#[test]
fn many_small_packs_become_few() {
    let place = Place::new(Kind::Redb);
    let source = place.folder("source");
    let mut repository = place.open();
    for day in 0..40u64 {
        fs::write(source.join(format!("{day}")), noise::text(day, 5000)).unwrap();
        back_up(&repository, &source);
    }
    let wanted = read(&source);
    let before = repository.stats().unwrap();
    assert!(before.packs >= 80 && before.index_objects >= 40);
    prune(&mut repository);
    let after = repository.stats().unwrap();
    assert!(after.packs <= 3 && after.index_objects <= 2, "{after:?}");
    assert_eq!(after.chunks, before.chunks);
    assert!(repository.prune_plan(&PruneOptions::default()).unwrap().is_empty());
    assert_restores(&repository, "latest", &source, &wanted);
    assert_clean(&repository);
}

#[test]
fn a_redb_file_shrinks_when_asked() {
    let place = Place::new(Kind::Redb);
    let source = place.folder("source");
    fs::write(source.join("long"), noise::random(1, 40 << 20)).unwrap();
    let repository = place.open();
    let first = back_up(&repository, &source).snapshot.unwrap();
    fs::remove_file(source.join("long")).unwrap();
    fs::write(source.join("short"), noise::random(2, 1 << 20)).unwrap();
    back_up(&repository, &source);
    let wanted = read(&source);
    drop(repository);
    store_of(&place).delete(&ObjectName::new(ObjectKind::Snapshot, first)).unwrap();
    let store = store_of(&place);
    store.delete(&ObjectName::new(ObjectKind::Snapshot, first)).unwrap();
    store.sync().unwrap();
    drop(store);
    let bytes = || fs::metadata(place.path("repository.redb")).unwrap().len();
    let before = bytes();
    let mut options = PruneOptions::default();
    options.compact = true;
    let mut repository = place.open();
    let (figures, _) = prune_with(&mut repository, &options);
    assert!(figures.bytes_deleted > 39 << 20, "{figures:?}");
    assert!(bytes() < before / 4, "{} of {before} bytes", bytes());
    assert_restores(&repository, "latest", &source, &wanted);
    back_up(&repository, &source);
    drop(repository);
    let repository = place.open();
    assert_clean(&repository);
    assert_restores(&repository, "latest", &source, &wanted);
}

fn options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

fn open(store: &Arc<dyn Store>, cache: &Path) -> Result<Repository, Error> {
    Repository::open_in(Arc::clone(store), &secret(), Access::Write, &options().cache_dir(cache))
}

/// A repository in memory of which half of the snapshots are forgotten; its objects, to begin anew from.
struct Forgotten {
    dir: tempfile::TempDir,
    source: PathBuf,
    objects: Vec<(ObjectName, Vec<u8>)>,
    kept: Snapshots,
}

impl Forgotten {
    fn new() -> Self {
        let (dir, memory) = (temp(), Arc::new(MemoryStore::with_pack_bytes(2 << 20)));
        let repository = Repository::create_in(memory.clone(), &key(), None, &options()).unwrap();
        let mut days = Days::new(dir.path().join("source"));
        let mut snapshots = back_up_days(&repository, &mut days, 6);
        fs::copy(days.source.join("chats.db"), dir.path().join("older.db")).unwrap();
        snapshots.extend(back_up_days(&repository, &mut days, 3));
        fs::copy(days.source.join("chats.db"), dir.path().join("newest.db")).unwrap();
        let kept = forget(memory.as_ref(), snapshots, |number| number % 4 == 3);
        let objects = objects(memory.as_ref());
        Self { source: days.source, dir, objects, kept }
    }

    fn store(&self) -> Arc<MemoryStore> {
        let store = MemoryStore::with_pack_bytes(2 << 20);
        for (name, bytes) in &self.objects {
            store.put(name, bytes).unwrap();
        }
        Arc::new(store)
    }

    /// All that is kept restores, and another prune reclaims the rest.
    fn is_whole_after(&self, store: &Arc<dyn Store>, cache: &Path, what: &str) {
        let mut repository = open(store, cache).unwrap();
        let report = repository.check(&CheckOptions::default()).unwrap();
        assert_eq!(report.errors, [""; 0], "{what}");
        for (id, wanted) in &self.kept {
            let target = temp();
            let restored = restore(&repository, &id.to_string(), &self.source, target.path());
            assert_same(wanted, &read(&restored));
        }
        // What is used again must be all there: what the source was on the last, forgotten day, and on one before.
        for version in ["newest.db", "older.db"] {
            fs::copy(self.dir.path().join(version), self.source.join("chats.db")).unwrap();
            let wanted = read(&self.source);
            back_up(&repository, &self.source);
            assert_restores(&repository, "latest", &self.source, &wanted);
        }
        let wanted = read(&self.source);
        // What the interrupted one wrote twice may keep bases, which go with the copies that stand on them.
        prune_with(&mut repository, &thorough());
        prune_with(&mut repository, &thorough());
        let plan = repository.prune_plan(&thorough()).unwrap();
        assert!(plan.is_empty(), "{what}: {:?}", plan.figures);
        assert_clean(&repository);
        all_restore(&repository, &self.source, &self.kept);
        assert_restores(&repository, "latest", &self.source, &wanted);
    }
}

/// Nothing is rewritten but index objects.
fn sparing() -> PruneOptions {
    let mut options = PruneOptions::default();
    options.repack_bytes_max = Some(0);
    options
}

fn every_call_of_a_prune_may_fail(options: &PruneOptions, for_ever: bool, keeps_cache: bool) {
    let forgotten = Forgotten::new();
    let mut whats = HashSet::new();
    for call in 0.. {
        let failing = Arc::new(FailingStore::new(forgotten.store(), StoreErrorKind::Io));
        let store: Arc<dyn Store> = failing.clone();
        let cache = forgotten.dir.path().join(format!("cache-{call}"));
        let mut repository = open(&store, &cache).unwrap();
        failing.fail_after(call, for_ever);
        let outcome = repository.prune_plan(options).and_then(|plan| repository.prune(plan, options));
        let calls = failing.heal();
        let failed = failing.failed();
        assert_eq!(outcome.is_err(), failed.is_some(), "call {call} of {calls}: {failed:?} failed, {outcome:?}");
        let Some(failed) = failed else { break };
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("the test let it fail"), "call {call}: {text}");
        if !keeps_cache {
            drop(repository);
            fs::remove_dir_all(&cache).unwrap();
        } else {
            // The process may go on with what it has open.
            let wanted = read(&forgotten.source);
            back_up(&repository, &forgotten.source);
            assert_restores(&repository, "latest", &forgotten.source, &wanted);
            drop(repository);
        }
        forgotten.is_whole_after(&store, &cache, &format!("{failed} failed at call {call}"));
        whats.insert(failed);
    }
    for what in ["list", "get", "put", "sync", "delete"] {
        assert!(whats.contains(what), "{what} has failed");
    }
}

#[test]
fn every_call_of_a_prune_may_fail_once() {
    every_call_of_a_prune_may_fail(&thorough(), false, true);
    every_call_of_a_prune_may_fail(&sparing(), false, true);
}

#[test]
fn every_call_of_a_prune_may_be_the_last() {
    every_call_of_a_prune_may_fail(&thorough(), true, true);
    every_call_of_a_prune_may_fail(&sparing(), true, true);
}

#[test]
fn every_call_of_a_prune_may_be_the_last_and_the_cache_lost() {
    every_call_of_a_prune_may_fail(&thorough(), true, false);
    every_call_of_a_prune_may_fail(&sparing(), true, false);
}

#[test]
fn whatever_cannot_be_read_nothing_is_deleted() {
    let forgotten = Forgotten::new();
    let mut named = 0;
    for (name, bytes) in &forgotten.objects {
        if matches!(name.kind, ObjectKind::Config | ObjectKind::Key) {
            continue;
        }
        let memory = forgotten.store();
        let store: Arc<dyn Store> = memory.clone();
        let mut hurt = bytes.clone();
        let at = hurt.len() / 3;
        hurt[at] ^= 1;
        replace(store.as_ref(), name, &hurt);
        let before = objects(store.as_ref());
        let cache = temp();
        let mut repository = open(&store, cache.path()).unwrap();
        let outcome = repository.prune_plan(&thorough()).and_then(|plan| repository.prune(plan, &thorough()));
        match outcome {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("check"), "{name}: {text}");
                // What replaces may have been written.
                let after: HashSet<_> = objects(store.as_ref()).into_iter().collect();
                assert!(before.iter().all(|object| after.contains(object)), "{name}: {text}");
                named += 1;
            }
            // A pack whose hurt frames nobody needs, or that is not rewritten.
            Ok(_) => assert_eq!(name.kind, ObjectKind::Pack, "{name}"),
        }
    }
    assert!(named > 8, "only {named} objects matter");
}

#[test]
fn a_missing_pack_keeps_everything() {
    let forgotten = Forgotten::new();
    let mut refused = 0;
    for (name, _) in forgotten.objects.iter().filter(|(name, _)| name.kind == ObjectKind::Pack) {
        let store: Arc<dyn Store> = forgotten.store();
        store.delete(name).unwrap();
        let cache = temp();
        let mut repository = open(&store, cache.path()).unwrap();
        match repository.prune_plan(&thorough()) {
            Err(error) => {
                assert!(matches!(error, Error::Unprunable { .. }), "{error}");
                refused += 1;
            }
            Ok(plan) => {
                repository.prune(plan, &thorough()).unwrap();
                assert_clean(&repository);
                all_restore(&repository, &forgotten.source, &forgotten.kept);
            }
        }
    }
    assert!(refused >= 2);
}

#[test]
fn a_plan_is_good_only_while_nothing_changes() {
    let forgotten = Forgotten::new();
    let store: Arc<dyn Store> = forgotten.store();
    let cache = temp();
    let mut repository = open(&store, cache.path()).unwrap();
    let plan = repository.prune_plan(&thorough()).unwrap();
    back_up(&repository, &forgotten.source);
    let error = repository.prune(plan, &thorough()).unwrap_err();
    assert!(error.to_string().contains("make a new plan"), "{error}");
    forgotten.is_whole_after(&store, cache.path(), "a plan that was late");
}

#[test]
fn a_snapshot_made_during_the_grace_keeps_everything() {
    let forgotten = Forgotten::new();
    let store: Arc<dyn Store> = forgotten.store();
    let cache = temp();
    let mut repository = open(&store, cache.path()).unwrap();
    let mut options = thorough();
    options.grace = std::time::Duration::from_millis(600);
    let plan = repository.prune_plan(&options).unwrap();
    let before: HashSet<_> = objects(store.as_ref()).into_iter().collect();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            // Another writer's; what it is does not matter.
            let (name, bytes) = before.iter().find(|(name, _)| name.kind == ObjectKind::Snapshot).unwrap();
            store.put(&ObjectName::new(name.kind, ObjectId::from_bytes([77; 32])), bytes).unwrap();
        });
        repository.prune(plan, &options)
    });
    assert!(outcome.unwrap_err().to_string().contains("has changed"));
    let after: HashSet<_> = objects(store.as_ref()).into_iter().collect();
    assert!(before.is_subset(&after));
}

#[test]
fn a_reader_may_plan_and_not_prune() {
    let place = Place::new(Kind::Directory);
    let mut days = Days::new(place.folder("source"));
    back_up_days(&place.open(), &mut days, 2);
    let mut repository = place.try_open(Access::Read).unwrap();
    let plan = repository.prune_plan(&PruneOptions::default()).unwrap();
    assert!(matches!(repository.prune(plan, &PruneOptions::default()), Err(Error::InvalidOption { .. })));
    let mut options = PruneOptions::default();
    options.unused_percent_max = 101;
    assert!(matches!(repository.prune_plan(&options), Err(Error::InvalidOption { .. })));
    let target = temp();
    assert_eq!(try_restore(&repository, "latest", target.path()).unwrap().warnings, []);
    assert!(below(target.path(), &days.source).join("chats.db").exists());
}

/// Decides as `decide` does, by looking at everything again for each step.
fn decide_slowly(packs: &[PackUse], limits: &Limits) -> Vec<Fate> {
    let mut fates = vec![Fate::Keep; packs.len()];
    let mut refused = vec![false; packs.len()];
    for (fate, pack) in fates.iter_mut().zip(packs) {
        if !pack.is_used {
            *fate = Fate::Delete;
        }
    }
    let repacked = |fates: &[Fate]| -> u64 {
        packs.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Repack).map(|(pack, _)| pack.bytes).sum()
    };
    loop {
        let (mut all, mut unused) = (0u128, 0u128);
        for (pack, fate) in packs.iter().zip(&fates) {
            match fate {
                Fate::Keep => (all, unused) = (all + u128::from(pack.bytes), unused + u128::from(pack.unused_bytes)),
                Fate::Repack => all += u128::from(pack.bytes - pack.unused_bytes),
                Fate::Delete => {}
            }
        }
        if unused * 100 <= all * u128::from(limits.unused_percent_max) {
            break;
        }
        let mut best: Option<usize> = None;
        for (at, pack) in packs.iter().enumerate() {
            let is_open = fates[at] == Fate::Keep && !refused[at] && pack.unused_bytes > 0;
            let is_better = |other: usize| {
                u128::from(pack.unused_bytes) * u128::from(packs[other].bytes)
                    > u128::from(packs[other].unused_bytes) * u128::from(pack.bytes)
            };
            if is_open && best.is_none_or(is_better) {
                best = Some(at);
            }
        }
        let Some(best) = best else { break };
        if repacked(&fates) + packs[best].bytes > limits.repack_bytes_max {
            refused[best] = true;
        } else {
            fates[best] = Fate::Repack;
        }
    }
    let is_small = |at: &usize| fates[*at] == Fate::Keep && packs[*at].bytes < limits.small_bytes;
    let small: Vec<usize> = (0..packs.len()).filter(is_small).collect();
    if small.len() >= limits.small_packs_min {
        for at in small {
            if repacked(&fates) + packs[at].bytes <= limits.repack_bytes_max {
                fates[at] = Fate::Repack;
            }
        }
    }
    fates
}

fn pack_use() -> impl Strategy<Value = PackUse> {
    (1u64..1000, 0u64..1000, prop::bool::weighted(0.8)).prop_map(|(bytes, unused, is_used)| PackUse {
        bytes,
        unused_bytes: if is_used { unused * bytes / 1000 } else { bytes },
        is_used,
    })
}

proptest! {
    #[test]
    fn a_decision_is_that_of_the_slow_way_and_within_its_limits(
        packs in prop::collection::vec(pack_use(), 0..60),
        unused_percent_max in 0u8..=100,
        repack_bytes_max in prop_oneof![Just(u64::MAX), 0u64..20_000],
        small_bytes in 0u64..600,
        small_packs_min in 1usize..30,
    ) {
        let limits = Limits { unused_percent_max, repack_bytes_max, small_bytes, small_packs_min };
        let fates = decide(&packs, &limits);
        prop_assert_eq!(&fates, &decide_slowly(&packs, &limits));
        let (mut all, mut unused, mut repacked) = (0, 0, 0);
        for (pack, fate) in packs.iter().zip(&fates) {
            prop_assert_eq!(*fate == Fate::Delete, !pack.is_used, "what is needed is never deleted");
            match fate {
                Fate::Keep => (all, unused) = (all + pack.bytes, unused + pack.unused_bytes),
                Fate::Repack => (all, repacked) = (all + pack.bytes - pack.unused_bytes, repacked + pack.bytes),
                Fate::Delete => {}
            }
        }
        prop_assert!(repacked <= repack_bytes_max);
        if repack_bytes_max == u64::MAX {
            prop_assert!(unused * 100 <= all * u64::from(unused_percent_max));
        }
    }
}

/// A store that can forget, as a power loss does, some of what was done since the last sync.
struct Unsynced {
    now: MemoryStore,
    safe: std::sync::Mutex<Vec<(ObjectName, Vec<u8>)>>,
    since: std::sync::Mutex<Vec<(ObjectName, Option<Vec<u8>>)>>,
    /// How many more calls change anything.
    left: std::sync::atomic::AtomicU64,
}

impl Unsynced {
    fn new(objects: &[(ObjectName, Vec<u8>)], calls: u64) -> Self {
        let now = MemoryStore::with_pack_bytes(2 << 20);
        objects.iter().for_each(|(name, bytes)| now.put(name, bytes).unwrap());
        let safe = std::sync::Mutex::new(objects.to_vec());
        Self { now, safe, since: std::sync::Mutex::default(), left: calls.into() }
    }

    fn call(&self) -> Result<(), daykeep_engine::StoreError> {
        use std::sync::atomic::Ordering;
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let gone = || daykeep_engine::StoreError::new(StoreErrorKind::Io, "store", "the power is gone");
        left.map(drop).map_err(|_| gone())
    }

    /// What is left after the power was lost: all that was synced, and of the rest whatever happened to be written.
    fn after_the_loss(&self, rng: &mut Rng) -> Arc<dyn Store> {
        let left = MemoryStore::with_pack_bytes(2 << 20);
        self.safe.lock().unwrap().iter().for_each(|(name, bytes)| left.put(name, bytes).unwrap());
        for (name, bytes) in self.since.lock().unwrap().iter().filter(|_| rng.below(2) == 0) {
            match bytes {
                Some(bytes) => left.put(name, bytes).unwrap(),
                None => left.delete(name).unwrap(),
            }
        }
        Arc::new(left)
    }
}

impl Store for Unsynced {
    fn location(&self) -> String {
        "unsynced".into()
    }

    fn pack_bytes(&self) -> usize {
        self.now.pack_bytes()
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().push((*name, Some(bytes.to_vec())));
        self.now.put(name, bytes)
    }

    fn replace(&self, name: &ObjectName, _: &[u8]) -> Result<(), daykeep_engine::StoreError> {
        unreachable!("a prune heals nothing, and yet {name} is replaced")
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, daykeep_engine::StoreError> {
        self.now.get(name, bytes_max)
    }

    fn get_range(
        &self,
        name: &ObjectName,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), daykeep_engine::StoreError> {
        self.now.get_range(name, offset, len, out)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, daykeep_engine::StoreError> {
        self.now.list(kind)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().push((*name, None));
        self.now.delete(name)
    }

    fn sync(&self) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().clear();
        *self.safe.lock().unwrap() = objects(&self.now);
        Ok(())
    }
}

#[test]
fn the_power_may_be_lost_at_any_call() {
    the_power_may_be_lost(&thorough());
    the_power_may_be_lost(&sparing());
}

fn the_power_may_be_lost(options: &PruneOptions) {
    let forgotten = Forgotten::new();
    let mut rng = Rng::new(5);
    for calls in 0.. {
        let store = Arc::new(Unsynced::new(&forgotten.objects, calls));
        let cache = forgotten.dir.path().join(format!("cache-{calls}"));
        let mut repository = open(&(store.clone() as Arc<dyn Store>), &cache).unwrap();
        let outcome = repository.prune_plan(options).and_then(|plan| repository.prune(plan, options));
        drop(repository);
        let turns = if daykeep_tests::is_long() { 10 } else { 2 };
        for turn in 0..turns {
            // The cache outlives the loss, or is older than it.
            let own = forgotten.dir.path().join(format!("cache-{calls}-{turn}"));
            let _ = fs::create_dir(&own);
            if turn % 2 == 0 {
                for folder in fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()) {
                    let copy = own.join(folder.file_name().unwrap());
                    fs::create_dir(&copy).unwrap();
                    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
                    }
                }
            }
            forgotten.is_whole_after(&store.after_the_loss(&mut rng), &own, &format!("loss after {calls} calls"));
        }
        if outcome.is_ok() {
            break;
        }
        assert!(outcome.unwrap_err().to_string().contains("the power is gone"));
    }
}
