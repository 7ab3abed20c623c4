//! Power lost at any call of any operation: what was acknowledged is there, byte for byte, the same operation succeeds the
//! next time, and in the end no space is left that nobody accounts for.
//!
//! A seed draws the operations, the moments, what of the unsynced is left, the clock, and what became of the cache. Ids and
//! keys are random all the same, so a seed that failed may need some runs to fail again: `DAYKEEP_SEED=n` runs it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use daykeep_engine::{
    Access, BackupOptions, CancelToken, CopyOptions, Error, ForgetOptions, ObjectId, ObjectKind, ObjectName,
    OpenOptions, Patterns, PruneOptions, RepairOptions, Repository, Result, RewriteOptions, Snapshot, Timestamp,
};
use daykeep_tests::faults::{Fault, Hits};
use daykeep_tests::inventory::{Inventory, differences, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{assert_clean, key, restore, secret, temp};
use daykeep_tests::power::{DirectoryDisk, Disk, Habits, RedbDisk, StoreDisk};
use daykeep_tests::trees::set_mtime;

/// What is taken out of snapshots.
const EXCLUDED: &str = "*.tmp";
/// In microseconds, as the clock counts.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    Backup,
    Forget(u32),
    Prune(u8),
    Repair { read_data: bool, rebuild_index: bool },
    Copy,
    Rewrite { forget: bool },
}

impl Op {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0..4 => Self::Backup,
            4 => Self::Forget(1 + rng.below(3) as u32),
            5 | 6 => Self::Prune([0, 5, 100][rng.below(3)]),
            7 => Self::Repair { read_data: rng.below(2) == 0, rebuild_index: rng.below(2) == 0 },
            8 => Self::Copy,
            _ => Self::Rewrite { forget: rng.below(2) == 0 },
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Forget(_) => "forget",
            Self::Prune(_) => "prune",
            Self::Repair { .. } => "repair",
            Self::Copy => "copy",
            Self::Rewrite { .. } => "rewrite",
        }
    }
}

/// What must be there of one backup. Rewritten copies of a snapshot count as the same one.
#[derive(Clone)]
struct Kept {
    wanted: Inventory,
    /// It was acknowledged, and nobody was told to forget it.
    must: bool,
    /// One is there with all that was in it.
    must_be_full: bool,
    may_be_full: bool,
    may_be_bare: bool,
}

/// Returns what a rewrite leaves.
fn bare(wanted: &Inventory) -> Inventory {
    wanted
        .iter()
        .filter(|(path, _)| !path.ends_with(b".tmp"))
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect()
}

struct World {
    rng: Rng,
    dir: tempfile::TempDir,
    make: fn(&mut Rng) -> Box<dyn Disk>,
    here: Box<dyn Disk>,
    there: Box<dyn Disk>,
    clock: Arc<AtomicI64>,
    has_cache: bool,
    tears: bool,
    /// By the id that a snapshot was made under.
    kept: BTreeMap<ObjectId, Kept>,
    /// The order in which they were made.
    made: Vec<ObjectId>,
    /// What a backup that was not acknowledged had before it.
    pending: Option<Inventory>,
    /// What snapshots in the other repository must and may be.
    copied: BTreeSet<ObjectId>,
    ever: BTreeMap<ObjectId, Inventory>,
    calls: BTreeMap<&'static str, u64>,
    changes: u64,
}

impl World {
    fn new(seed: u64, make: fn(&mut Rng) -> Box<dyn Disk>, tears: bool) -> Self {
        let mut rng = Rng::new(seed);
        let (here, there) = (make(&mut rng), make(&mut rng));
        let has_cache = rng.below(3) > 0;
        let world = Self {
            rng,
            dir: temp(),
            make,
            here,
            there,
            clock: Arc::new(AtomicI64::new(1_800_000_000 * SECOND)),
            has_cache,
            tears,
            kept: BTreeMap::new(),
            made: Vec::new(),
            pending: None,
            copied: BTreeSet::new(),
            ever: BTreeMap::new(),
            calls: BTreeMap::new(),
            changes: 0,
        };
        fs::create_dir_all(world.source().join("folder")).unwrap();
        for disk in [&world.here, &world.there] {
            drop(Repository::create_in(disk.open().unwrap(), &key(), None, &world.options()).unwrap());
        }
        world
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn options(&self) -> OpenOptions {
        let clock = Arc::clone(&self.clock);
        // A little goes by between any two looks at it.
        let now = move || {
            let micros = clock.fetch_add(1, Ordering::Relaxed);
            Timestamp { seconds: micros / SECOND, nanos: (micros % SECOND) as u32 * 1000 }
        };
        let options = OpenOptions::default().memory_bytes(64 << 20).clock(now);
        if self.has_cache { options.cache_dir(self.cache()) } else { options }
    }

    fn open(&self, disk: &dyn Disk) -> Result<Repository> {
        Repository::open_in(disk.open()?, &secret(), Access::Write, &self.options())
    }

    /// Lets time go by, now and then by years and in the wrong direction.
    fn tick(&mut self) {
        let now = self.clock.load(Ordering::Relaxed);
        let then = match self.rng.below(10) {
            0 => now + 3650 * DAY,
            1 => now - 3650 * DAY,
            2 => now - 3600 * SECOND,
            _ => now + self.rng.below(2 * DAY as usize) as i64,
        };
        self.clock.store(then.max(DAY), Ordering::Relaxed);
    }

    /// Changes the source: new, changed and removed files, pages of a database, and what rewrites take out.
    fn change(&mut self) {
        self.changes += 1;
        let (turn, source) = (self.changes, self.source());
        let write = |name: &str, bytes: &[u8]| {
            let path = source.join(name);
            fs::write(&path, bytes).unwrap();
            // No two states of a file look alike, however quickly they follow one another.
            set_mtime(&path, (1_700_000_000 + turn as i64, turn as i64));
        };
        let mut pages = fs::read(source.join("chats.db")).unwrap_or_else(|_| noise::sqlite(1, 4096, 24 * 4096));
        let at = 4096 + self.rng.below(20 * 4096);
        pages[at..at + 24].copy_from_slice(&noise::random(turn, 24));
        write("chats.db", &pages);
        write("text", &[noise::text(turn, 2000), noise::text(99, 30_000)].concat());
        write(&format!("folder/photo-{turn}"), &noise::random(turn, 20_000));
        write(&format!("folder/note-{turn}.tmp"), &noise::text(turn, 300));
        if self.rng.below(20) == 0 {
            write("long", &noise::random(turn, 5 << 20));
        }
        let gone = turn.saturating_sub(4);
        for name in [format!("photo-{gone}"), format!("note-{gone}.tmp")] {
            let _ = fs::remove_file(source.join("folder").join(name));
        }
        set_mtime(&source.join("folder"), (1_700_000_000 + turn as i64, 0));
        set_mtime(&source, (1_700_000_000 + turn as i64, 0));
    }

    /// Does it, and takes note of what it promises, first what may happen and last what must have.
    fn run(&mut self, op: Op) -> Result<()> {
        let mut repository = self.open(self.here.as_ref())?;
        match op {
            Op::Backup => self.back_up(&repository),
            Op::Forget(last) => self.forget(&repository, last),
            Op::Prune(percent) => prune(&mut repository, percent),
            Op::Repair { read_data, rebuild_index } => {
                let mut options = RepairOptions::default();
                (options.read_data, options.rebuild_index) = (read_data, rebuild_index);
                repair(&mut repository, &options)
            }
            Op::Copy => self.copy(&repository),
            Op::Rewrite { forget } => self.rewrite(&repository, forget),
        }
    }

    fn back_up(&mut self, repository: &Repository) -> Result<()> {
        let wanted = read(&self.source());
        self.pending = Some(wanted.clone());
        let mut options = BackupOptions::default();
        options.threads = self.rng.below(3);
        let report = repository.backup(&[self.source()], &options)?;
        assert_eq!(report.warnings, []);
        self.adopt(report.snapshot.unwrap(), wanted);
        Ok(())
    }

    fn adopt(&mut self, id: ObjectId, wanted: Inventory) {
        self.ever.insert(id, wanted.clone());
        self.made.push(id);
        let kept = Kept { wanted, must: true, must_be_full: true, may_be_full: true, may_be_bare: false };
        self.kept.insert(id, kept);
    }

    fn forget(&mut self, repository: &Repository, last: u32) -> Result<()> {
        let mut options = ForgetOptions::default();
        options.policy.last = last;
        let plan = repository.forget_plan(&options)?;
        let decisions = || plan.groups.iter().flat_map(|group| &group.decisions);
        let stays: BTreeSet<ObjectId> = decisions()
            .filter(|decision| !decision.reasons.is_empty())
            .map(|decision| decision.snapshot.first_id())
            .collect();
        // Copies take places too; where there are none, the last that were made stay, whatever the clock said.
        let times: BTreeMap<ObjectId, Timestamp> =
            decisions().map(|decision| (decision.snapshot.first_id(), decision.snapshot.record.started)).collect();
        if times.len() == decisions().count() && self.is_order_known(&times) {
            let newest = self.made.iter().rev().filter(|id| times.contains_key(id)).take(last as usize);
            newest.for_each(|id| assert!(stays.contains(id), "{id} was made last and goes: {plan:?}"));
        }
        for snapshot in plan.forgotten() {
            let kept = self.kept.get_mut(&snapshot.first_id()).unwrap();
            (kept.must, kept.must_be_full) = (stays.contains(&snapshot.first_id()), false);
        }
        repository.forget(&plan, &CancelToken::new())?;
        self.kept.retain(|_, kept| kept.must);
        Ok(())
    }

    /// Returns whether the order in which snapshots were made can be known: not of two that were both made after one with a
    /// later time, if the clock went back between them as well.
    fn is_order_known(&self, times: &BTreeMap<ObjectId, Timestamp>) -> bool {
        let (mut newest, mut newest_behind) = (Timestamp::default(), Timestamp::default());
        self.made.iter().filter_map(|id| times.get(id)).all(|&time| {
            if time > newest {
                newest = time;
                return true;
            }
            let is_later = time > newest_behind;
            newest_behind = time;
            is_later
        })
    }

    fn rewrite(&mut self, repository: &Repository, forget: bool) -> Result<()> {
        for kept in self.kept.values_mut() {
            kept.may_be_bare = true;
            kept.must_be_full &= !forget;
        }
        let mut options = RewriteOptions::default();
        (options.exclude, options.forget) = (Patterns::new([EXCLUDED]).unwrap(), forget);
        repository.rewrite(&[], &options)?;
        self.kept.values_mut().for_each(|kept| kept.may_be_full &= !forget);
        Ok(())
    }

    fn copy(&mut self, repository: &Repository) -> Result<()> {
        let there = self.open(self.there.as_ref())?;
        repository.copy_to(&there, &[], &CopyOptions::default())?;
        self.copied.extend(self.kept.keys());
        Ok(())
    }

    /// Runs an operation that ends anywhere, and switches the power off. Returns whether it ended before its time.
    fn crash_in(&mut self, op: Op) -> bool {
        let usual = self.calls.get(op.name()).copied().unwrap_or(8) as usize;
        let calls = self.rng.below(usual * 11 / 10 + 1) as u64;
        let aside = self.dir.path().join("cache aside");
        copy_folder(&self.cache(), &aside);
        self.ending(op).faults().plan(Fault::End, Hits::Once(calls));
        let outcome = self.run(op);
        self.ending(op).faults().heal();
        if let Err(error) = &outcome {
            assert!(matches!(error, Error::Store(_) | Error::Cancelled | Error::Unprunable { .. }), "{op:?}: {error}");
        }
        self.here.crash(&mut self.rng);
        self.there.crash(&mut self.rng);
        match self.rng.below(4) {
            0 => drop(fs::remove_dir_all(self.cache())),
            1 => {
                let _ = fs::remove_dir_all(self.cache());
                copy_folder(&aside, &self.cache());
            }
            _ => {}
        }
        let _ = fs::remove_dir_all(aside);
        outcome.is_err()
    }

    /// Returns the disk whose calls are counted.
    fn ending(&self, op: Op) -> &dyn Disk {
        if op == Op::Copy { self.there.as_ref() } else { self.here.as_ref() }
    }

    /// Compares both repositories with what must and may be there.
    fn settle(&mut self) {
        let repository = self.open(self.here.as_ref()).unwrap();
        assert_clean(&repository);
        let source = self.source();
        let mut found = BTreeMap::<ObjectId, Vec<bool>>::new();
        for snapshot in snapshots(&repository) {
            let id = snapshot.first_id();
            if !self.kept.contains_key(&id) {
                // A backup that was not acknowledged may have come to its end.
                let wanted = self.pending.take().unwrap_or_else(|| panic!("{id} is nobody's, or was forgotten"));
                self.adopt(id, wanted);
            }
            let kept = &self.kept[&id];
            let is_full = is_full(&repository, &snapshot, &source, &kept.wanted);
            assert!(if is_full { kept.may_be_full } else { kept.may_be_bare }, "{id}: what a rewrite takes out");
            found.entry(id).or_default().push(is_full);
        }
        self.pending = None;
        for (id, kept) in &mut self.kept {
            let found = found.get(id);
            assert!(found.is_some() || !kept.must, "{id} was acknowledged and is gone");
            assert!(!kept.must_be_full || found.is_some_and(|found| found.contains(&true)), "{id} is gone as it was");
            kept.must = true;
        }
        self.kept.retain(|id, _| found.contains_key(id));
        self.made.retain(|id| found.contains_key(id));
        self.settle_there();
    }

    fn settle_there(&self) {
        let there = self.open(self.there.as_ref()).unwrap();
        assert_clean(&there);
        let mut missing = self.copied.clone();
        for snapshot in snapshots(&there) {
            is_full(&there, &snapshot, &self.source(), &self.ever[&snapshot.first_id()]);
            missing.remove(&snapshot.first_id());
        }
        assert!(missing.is_empty(), "copies were acknowledged and are gone: {missing:?}");
    }

    /// Brings in order what was torn: snapshots that nobody can read go, all else is the work of a repair.
    fn mend(&self, disk: &dyn Disk) {
        let mut repository = self.open(disk).unwrap();
        let readable: BTreeSet<ObjectId> = repository.snapshots().unwrap().0.iter().map(|found| found.id).collect();
        let store = disk.open().unwrap();
        for (id, _) in store.list(ObjectKind::Snapshot).unwrap().iter().filter(|(id, _)| !readable.contains(id)) {
            store.delete(&ObjectName::new(ObjectKind::Snapshot, *id)).unwrap();
        }
        store.sync().unwrap();
        let mut options = RepairOptions::default();
        options.read_data = true;
        repair(&mut repository, &options).unwrap();
    }

    /// One operation that is cut off, what it leaves, and the same once more.
    fn step(&mut self) -> bool {
        let mut op = Op::draw(&mut self.rng);
        if self.kept.len() > 5 {
            op = Op::Forget(2);
        } else if self.kept.is_empty() {
            op = Op::Backup;
        }
        self.tick();
        if op == Op::Backup {
            self.change();
        }
        let was_cut = self.crash_in(op);
        if self.tears {
            self.mend(self.here.as_ref());
            self.mend(self.there.as_ref());
        }
        self.settle();
        self.ending(op).faults().plan(Fault::End, Hits::Once(u64::MAX));
        self.run(op).unwrap_or_else(|error| panic!("{op:?} once more: {error}"));
        let (calls, _) = self.ending(op).faults().heal();
        self.calls.insert(op.name(), calls);
        self.settle();
        if op == Op::Copy && self.rng.below(4) == 0 {
            self.there = (self.make)(&mut self.rng);
            drop(Repository::create_in(self.there.open().unwrap(), &key(), None, &self.options()).unwrap());
            self.copied.clear();
        }
        was_cut
    }

    /// In the end a prune leaves what the snapshots need; and if they go, nothing.
    fn account(&mut self) {
        let mut repository = self.open(self.here.as_ref()).unwrap();
        prune(&mut repository, 0).unwrap();
        let plan = repository.prune_plan(&prune_options(0)).unwrap();
        assert!(plan.is_empty() && plan.figures.bytes_unused_left == 0, "{:?}", plan.figures);
        assert_eq!(assert_clean(&repository).notes, [""; 0]);
        drop(repository);
        self.settle();
        let store = self.here.open().unwrap();
        for (id, _) in store.list(ObjectKind::Snapshot).unwrap() {
            store.delete(&ObjectName::new(ObjectKind::Snapshot, id)).unwrap();
        }
        store.sync().unwrap();
        drop(store);
        prune(&mut self.open(self.here.as_ref()).unwrap(), 5).unwrap();
        let store = self.here.open().unwrap();
        for kind in [ObjectKind::Pack, ObjectKind::Index] {
            assert_eq!(store.list(kind).unwrap(), [], "{} that nobody needs", kind.name());
        }
    }
}

fn prune_options(percent: u8) -> PruneOptions {
    let mut options = PruneOptions::default();
    options.unused_percent_max = percent;
    options
}

fn prune(repository: &mut Repository, percent: u8) -> Result<()> {
    let options = prune_options(percent);
    let plan = repository.prune_plan(&options)?;
    repository.prune(plan, &options).map(drop)
}

fn repair(repository: &mut Repository, options: &RepairOptions) -> Result<()> {
    let plan = repository.repair_plan(options)?;
    assert_eq!(plan.lost.len(), 0, "a power loss costs no file");
    repository.repair(plan, options).map(drop)
}

fn snapshots(repository: &Repository) -> Vec<Snapshot> {
    let (snapshots, errors) = repository.snapshots().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    snapshots
}

/// Restores a snapshot and returns whether it has all that was in it; otherwise it has what a rewrite leaves.
fn is_full(repository: &Repository, snapshot: &Snapshot, source: &Path, wanted: &Inventory) -> bool {
    let target = temp();
    let restored = read(&restore(repository, &snapshot.id.to_string(), source, target.path()));
    let lines = differences(wanted, &restored);
    let is_bare = !lines.is_empty() && differences(&bare(wanted), &restored).is_empty();
    assert!(lines.is_empty() || is_bare, "{}: {}", snapshot.id, lines.join("\n"));
    lines.is_empty()
}

fn copy_folder(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries.map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs worlds until there were so many crashes within an operation.
fn survives(crashes_wanted: u64, make: fn(&mut Rng) -> Box<dyn Disk>, tears: bool) {
    let only = Seed::wanted();
    let (begun, mut crashes, mut operations, mut seed) = (Instant::now(), 0, 0, only.unwrap_or_else(Seed::first));
    while crashes < crashes_wanted {
        let said = Seed(seed);
        let mut world = World::new(seed, make, tears);
        for _ in 0..12 {
            crashes += u64::from(world.step());
            operations += 1;
        }
        world.account();
        drop(said);
        if only.is_some() {
            return;
        }
        if is_long() && seed % 50 == 0 {
            println!("seed {seed}: {crashes} crashes in {operations} operations, {:?}", begun.elapsed());
        }
        seed += 1;
    }
    println!("{crashes} crashes in {operations} operations, the last seed {}, {:?}", seed - 1, begun.elapsed());
    assert!(crashes * 3 > operations, "only {crashes} of {operations} operations were cut off");
}

fn crashes(short: u64) -> u64 {
    if is_long() { 10_000 } else { short }
}

fn volatile(rng: &mut Rng, tears: bool) -> Box<dyn Disk> {
    let keeps_order = rng.below(2) == 0 && !tears;
    Box::new(StoreDisk::new(Habits { keeps_order, shows_unsynced: rng.below(2) == 0, tears }))
}

#[test]
fn any_store_that_keeps_the_contract_survives_power_losses() {
    survives(crashes(60), |rng| volatile(rng, false), false);
}

/// No store of the engine does that: but if one does, a repair brings it in order.
#[test]
fn a_store_that_leaves_torn_objects_can_be_mended() {
    survives(crashes(40), |rng| volatile(rng, true), true);
}

#[test]
fn a_redb_file_survives_power_losses() {
    survives(crashes(40), |_| Box::new(RedbDisk::default()), false);
}

#[test]
fn a_directory_survives_power_losses() {
    survives(crashes(40), |rng| Box::new(DirectoryDisk::new(rng.below(4) > 0)), false);
}
