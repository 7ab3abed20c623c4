//! Prune: what snapshots need stays, byte for byte, and the space of the rest comes back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::{
    Access, BackupOptions, Error, MemoryStore, ObjectId, ObjectKind, ObjectName, OpenOptions, PruneFigures,
    PruneOptions, PruneReport, Repository, Store, StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, below, key, temp, try_restore};

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

pub fn prune_with(repository: &mut Repository, options: &PruneOptions) -> (PruneFigures, PruneReport) {
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
        assert!(figures.estimated.as_secs() > 0 && figures.estimated.subsec_nanos() == 0, "{figures:?}");
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
    let catalog = || {
        let folder = fs::read_dir(place.options().cache_dir.unwrap()).unwrap().next().unwrap().unwrap().path();
        fs::metadata(folder.join("catalog.redb")).unwrap().ino()
    };
    let before = catalog();
    prune_with(&mut place.open(), &thorough());
    let repository = place.open();
    assert_eq!(before, catalog(), "the catalog is good as it is");
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
    let plan = repository.prune_plan(&PruneOptions::default()).unwrap();
    assert!(plan.is_empty() && plan.figures.estimated.is_zero());
    assert_restores(&repository, "latest", &source, &wanted);
    assert_clean(&repository);
}

/// What a prune writes are small packs and index objects too. They must not be what makes them many, or the next prune
/// would write them again.
#[test]
fn a_prune_leaves_nothing_to_the_next_one() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let (stays, goes) = (|day| source.join(format!("stays-{day}")), |day| source.join(format!("goes-{day}")));
    let mut repository = place.open();
    let mut most = 0;
    for day in 0..40u64 {
        fs::write(stays(day), noise::random(day, 5000)).unwrap();
        fs::write(goes(day), noise::random(1000 + day, 9000)).unwrap();
        let first = back_up(&repository, &source).snapshot.unwrap();
        fs::remove_file(goes(day)).unwrap();
        back_up(&repository, &source);
        place.store().delete(&ObjectName::new(ObjectKind::Snapshot, first)).unwrap();
        prune_with(&mut repository, &thorough());
        let figures = repository.prune_plan(&thorough()).unwrap().figures;
        let left = (figures.packs_deleted, figures.packs_repacked, figures.index_objects_replaced);
        assert_eq!(left, (0, 0, 0), "day {day}: {figures:?}");
        most = most.max(figures.packs);
    }
    assert!(most > 25, "only {most} packs");
    assert_restores(&repository, "latest", &source, &read(&source));
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
