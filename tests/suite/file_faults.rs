//! Calls that fail below a directory store and below a redb file, in any operation: it says so, what is acknowledged outlives
//! a power loss right after, nothing refers to what is missing, and without faults the same operation succeeds.
//!
//! A normal run takes some of the calls, drawn by a seed that is told: `DAYKEEP_SEED=n` takes the same ones again.
//! `DAYKEEP_LONG=1` takes all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use daykeep_engine::{
    Access, BackupOptions, CancelToken, CopyOptions, Error, ForgetOptions, ObjectId, ObjectKind, ObjectName,
    OpenOptions, PruneOptions, RepairOptions, Repository, Result, Store, StoreError,
};
use daykeep_tests::faults::{Call, Fault, Hits};
use daykeep_tests::inventory::{Inventory, differences, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{assert_clean, assert_restores, back_up, below, check_all, key, secret, temp, try_restore};
use daykeep_tests::power::{DirectoryDisk, Disk, RedbDisk};
use daykeep_tests::stores::objects;
use daykeep_tests::trees::set_mtime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Backup,
    Restore,
    Check,
    Forget,
    Prune,
    Repair,
    /// Faults below the other repository.
    Copy,
    /// Faults below the one that is copied from.
    CopyFrom,
}

impl Op {
    const ALL: [Self; 8] =
        [Self::Backup, Self::Restore, Self::Check, Self::Forget, Self::Prune, Self::Repair, Self::Copy, Self::CopyFrom];

    /// Returns whether it may succeed although a call failed: what only looks for something to compare with, or for a base,
    /// may do without; where many chunks could not be read at once they are read one by one; and a temporary name that stays is
    /// removed later.
    const fn may_bear(self, call: Call, for_ever: bool) -> bool {
        match call {
            Call::Remove => true,
            Call::Look | Call::Read => {
                matches!(self, Self::Backup | Self::Copy) || (matches!(self, Self::Check | Self::CopyFrom) && !for_ever)
            }
            Call::Write | Call::Name | Call::Sync => false,
        }
    }
}

/// Two repositories on disks, from which each case begins, and a source that has changed since.
struct World<D> {
    dir: tempfile::TempDir,
    here: D,
    there: D,
    /// What snapshots have.
    wanted: BTreeMap<ObjectId, Inventory>,
    newest: Inventory,
    rng: Rng,
    /// Whether redb may swallow a failure, once all it promised is safe.
    is_redb: bool,
}

fn options(cache: Option<&Path>) -> OpenOptions {
    let options = OpenOptions::default().memory_bytes(64 << 20);
    cache.map_or(options.clone(), |cache| options.cache_dir(cache))
}

fn open(disk: &dyn Disk, cache: Option<&Path>) -> Result<Repository> {
    Repository::open_in(disk.open()?, &secret(), Access::Write, &options(cache))
}

impl<D: Disk + Clone> World<D> {
    fn new(new: impl Fn() -> D, is_redb: bool, seed: u64) -> Self {
        let (dir, here, there) = (temp(), new(), new());
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let repository = Repository::create_in(here.open().unwrap(), &key(), None, &options(None)).unwrap();
        drop(Repository::create_in(there.open().unwrap(), &key(), None, &options(None)).unwrap());
        let mut world =
            Self { dir, here, there, wanted: BTreeMap::new(), newest: Inventory::new(), rng: Rng::new(seed), is_redb };
        let mut first = None;
        for turn in 0..3 {
            world.change(turn);
            let id = back_up(&repository, &source).snapshot.unwrap();
            first.get_or_insert(id);
            world.wanted.insert(id, read(&source));
        }
        world.change(3);
        world.newest = read(&source);
        drop(repository);
        // A prune has something to do.
        let first = first.unwrap();
        world.wanted.remove(&first);
        let store = world.here.open().unwrap();
        store.delete(&ObjectName::new(ObjectKind::Snapshot, first)).unwrap();
        store.sync().unwrap();
        world
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn change(&self, turn: u64) {
        let mut database = noise::sqlite(1, 4096, 20 * 4096);
        database[5000 + 4096 * turn as usize..][..24].copy_from_slice(&noise::random(turn, 24));
        let texts = [noise::text(turn, 500), noise::text(99, 20_000)].concat();
        for (name, bytes) in [("chats.db", database), ("text", texts), ("photo", noise::random(turn, 30_000))] {
            fs::write(self.source().join(name), bytes).unwrap();
            set_mtime(&self.source().join(name), (1_700_000_000 + turn as i64, 0));
        }
        set_mtime(&self.source(), (1_700_000_000 + turn as i64, 0));
    }

    /// Returns whether all of it was done.
    fn run(&self, op: Op, here: &D, there: &D, cache: Option<&Path>) -> Result<bool> {
        let mut repository = open(here, cache)?;
        match op {
            Op::Backup => {
                let report = repository.backup(&[self.source()], &BackupOptions::default())?;
                assert_eq!(report.warnings, []);
            }
            Op::Restore => {
                let target = temp();
                let is_whole = try_restore(&repository, "latest", target.path())?.warnings.is_empty();
                let restored = read(&below(target.path(), &self.source()));
                assert!(!is_whole || self.wanted.values().any(|wanted| differences(wanted, &restored).is_empty()));
                return Ok(is_whole);
            }
            Op::Check => return Ok(check_all(&repository)?.errors.is_empty()),
            Op::Forget => {
                let mut options = ForgetOptions::default();
                options.policy.last = 1;
                let plan = repository.forget_plan(&options)?;
                repository.forget(&plan, &CancelToken::new())?;
                return Ok(plan.unreadable.is_empty());
            }
            Op::Prune => {
                let mut options = PruneOptions::default();
                options.unused_percent_max = 0;
                let plan = repository.prune_plan(&options)?;
                repository.prune(plan, &options)?;
            }
            Op::Repair => {
                let mut options = RepairOptions::default();
                (options.read_data, options.rebuild_index) = (true, true);
                let plan = repository.repair_plan(&options)?;
                assert_eq!(plan.lost.len(), 0, "what cannot be read at the moment is not lost");
                let is_whole = plan.figures.snapshots_unreadable == 0;
                repository.repair(plan, &options)?;
                return Ok(is_whole);
            }
            Op::Copy | Op::CopyFrom => {
                repository.copy_to(&open(there, None)?, &[], &CopyOptions::default())?;
            }
        }
        Ok(true)
    }

    /// Asserts that all snapshots are whole that must be there, and with `done` that the operation's work is.
    fn settle(&self, op: Op, here: &D, there: &D, cache: Option<&Path>, done: bool, what: &str) {
        let repository = open(here, cache).unwrap_or_else(|error| panic!("{what}: {error}"));
        let is_hurt = op == Op::Repair && !done;
        if !is_hurt {
            assert_eq!(check_all(&repository).unwrap().errors, [""; 0], "{what}");
        }
        let (found, errors) = repository.snapshots().unwrap();
        assert!(errors.is_empty(), "{what}: {errors:?}");
        let ids: Vec<ObjectId> = found.iter().map(|snapshot| snapshot.id).collect();
        let mut made = 0;
        for id in &ids {
            let wanted = self.wanted.get(id).unwrap_or(&self.newest);
            made += usize::from(!self.wanted.contains_key(id));
            if !is_hurt {
                assert_restores(&repository, &id.to_string(), &self.source(), wanted);
            }
        }
        let kept = self.wanted.keys().filter(|id| ids.contains(id)).count();
        match (op, done) {
            (Op::Backup, true) => assert!(made > 0, "{what}: acknowledged, and gone"),
            (Op::Forget, true) => assert_eq!(ids.len(), 1, "{what}: forgotten, and there again"),
            (Op::Prune, true) => {
                let mut options = PruneOptions::default();
                options.unused_percent_max = 0;
                assert!(repository.prune_plan(&options).unwrap().is_empty(), "{what}");
            }
            _ => {}
        }
        assert!(op == Op::Forget || kept == self.wanted.len(), "{what}: a snapshot is gone");
        assert!(made == 0 || op == Op::Backup, "{what}: nobody made one");
        let there = open(there, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_clean(&there);
        let copies = there.snapshots().unwrap().0;
        for copy in &copies {
            assert_restores(&there, &copy.id.to_string(), &self.source(), &self.wanted[&copy.first_id()]);
        }
        if matches!(op, Op::Copy | Op::CopyFrom) && done {
            assert_eq!(copies.len(), self.wanted.len(), "{what}: acknowledged, and gone");
        }
    }

    /// Lets every `step`th call of an operation fail. Returns how many cases there were.
    fn every_call(&mut self, op: Op, fault: Fault, for_ever: bool, step: usize) -> u64 {
        if op == Op::Repair {
            // One index object less.
            let store = self.here.open().unwrap();
            let (id, _) = store.list(ObjectKind::Index).unwrap()[0];
            store.delete(&ObjectName::new(ObjectKind::Index, id)).unwrap();
            store.sync().unwrap();
        }
        let mut cases = 0;
        let mut at = self.rng.below(step) as u64;
        loop {
            let hits = if for_ever { Hits::From(at) } else { Hits::Once(at) };
            let what = format!("{op:?}, {fault:?}, {hits:?}");
            let (here, there) = (self.here.clone(), self.there.clone());
            let cache = temp();
            let cache = (cases % 2 == 0).then(|| cache.path());
            let failing = if op == Op::Copy { &there } else { &here };
            failing.faults().plan(fault, hits);
            let outcome = self.run(op, &here, &there, cache);
            let (_, failed) = failing.faults().heal();
            if let Err(error) = &outcome {
                let is_told = matches!(error, Error::Store(_) | Error::Unprunable { .. } | Error::Damaged { .. });
                assert!(is_told, "{what}: {error}");
            }
            let done = outcome.is_ok_and(|done| done);
            let Some(call) = failed else {
                assert!(done, "{what}: nothing failed");
                return cases;
            };
            // To delete must be possible on a disk that has no space for the mark.
            let deletes = matches!(op, Op::Forget | Op::Prune | Op::Repair);
            let is_mark = deletes && matches!((fault, call), (Fault::NoSpace, Call::Name));
            assert!(
                !done || self.is_redb || is_mark || op.may_bear(call, for_ever),
                "{what}: {call:?} failed, and nothing is said of it"
            );
            here.lose_power(&mut self.rng);
            there.lose_power(&mut self.rng);
            self.settle(op, &here, &there, cache, done, &what);
            let again = self.run(op, &here, &there, cache);
            assert!(again.unwrap_or_else(|error| panic!("{what}: once more: {error}")), "{what}: once more");
            self.settle(op, &here, &there, cache, true, &what);
            cases += 1;
            at += 1 + self.rng.below(2 * step - 1) as u64;
        }
    }
}

fn every_call_may_fail<D: Disk + Clone>(new: impl Fn() -> D, is_redb: bool, step: usize) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = Seed(Seed::wanted().unwrap_or_else(|| now().into()));
    let step = if is_long() { 1 } else { step };
    let mut cases = 0;
    for (number, op) in Op::ALL.into_iter().enumerate() {
        for (fault, for_ever) in [
            (Fault::Io, false),
            (Fault::Io, true),
            (Fault::NoSpace, false),
            (Fault::NoSpace, true),
            (Fault::Sync, false),
            (Fault::Sync, true),
        ] {
            let mut world = World::new(&new, is_redb, seed.0.wrapping_add(number as u64));
            // Syncs are few.
            cases += world.every_call(op, fault, for_ever, if fault == Fault::Sync { step.div_ceil(4) } else { step });
        }
    }
    println!("{cases} cases");
    assert!(cases > 60, "only {cases} cases");
}

#[test]
fn every_call_below_a_directory_may_fail() {
    every_call_may_fail(|| DirectoryDisk::new(true), false, 10);
}

#[test]
fn every_call_below_a_redb_file_may_fail() {
    every_call_may_fail(RedbDisk::default, true, 10);
}

/// Signals, and reads and writes that come to less than they were asked for, are no failures.
#[test]
fn what_is_interrupted_or_cut_short_below_a_directory_goes_on() {
    for (fault, hits) in [(Fault::Interrupted, Hits::EverySecond), (Fault::Short, Hits::From(0))] {
        for renames_new in [true, false] {
            for op in Op::ALL {
                let world = World::new(|| DirectoryDisk::new(renames_new), false, 1);
                world.here.faults().plan(fault, hits);
                world.there.faults().plan(fault, hits);
                assert!(world.run(op, &world.here, &world.there, None).unwrap(), "{op:?}, {fault:?}");
                let (calls, failed) = world.here.faults().heal();
                assert!(calls > 5 && failed.is_some(), "{op:?}, {fault:?}: {calls} calls");
                world.there.faults().heal();
                world.settle(op, &world.here, &world.there, None, true, &format!("{op:?}, {fault:?}"));
            }
        }
    }
}

/// A repository that was made is there, whatever failed meanwhile, or that it was not is said.
#[test]
fn every_call_may_fail_while_a_repository_is_made() {
    fn made(new: impl Fn() -> Box<dyn Disk>) {
        let mut rng = Rng::new(1);
        for fault in [Fault::Io, Fault::NoSpace, Fault::Sync, Fault::End] {
            for at in 0.. {
                let disk = new();
                let create =
                    || -> Result<()> { Repository::create_in(disk.open()?, &key(), None, &options(None)).map(drop) };
                disk.faults().plan(fault, Hits::Once(at));
                let is_made = create().is_ok();
                let (_, failed) = disk.faults().heal();
                assert!(is_made || failed.is_some(), "{fault:?} at {at}");
                disk.lose_power(&mut rng);
                if is_made {
                    assert_clean(&open(disk.as_ref(), None).unwrap());
                }
                if failed.is_none() {
                    break;
                }
            }
        }
    }
    made(|| Box::new(DirectoryDisk::new(true)));
    made(|| Box::new(DirectoryDisk::new(false)));
    made(|| Box::new(RedbDisk::default()));
}

/// What a store shows when it is opened stays, even if whoever put or deleted it was killed before its sync and the power is
/// lost later: by then others build upon it.
#[test]
fn what_a_killed_writer_left_outlives_a_later_power_loss() {
    fn of<D: Disk + Clone>(begun: &D) {
        let name = |kind, number| ObjectName::new(kind, ObjectId::from_bytes([number; 32]));
        let put = |store: &dyn Store, kind, number| store.put(&name(kind, number), &[number; 2000]);
        let store = begun.open().unwrap();
        for kind in [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot] {
            (0..3).for_each(|number| put(store.as_ref(), kind, number).unwrap());
        }
        store.sync().unwrap();
        drop(store);
        let work = |disk: &D| -> std::result::Result<(), StoreError> {
            let store = disk.open()?;
            put(store.as_ref(), ObjectKind::Pack, 8)?;
            put(store.as_ref(), ObjectKind::Proof, 8)?;
            store.delete(&name(ObjectKind::Snapshot, 0))?;
            store.sync()?;
            put(store.as_ref(), ObjectKind::Index, 9)?;
            store.delete(&name(ObjectKind::Index, 0))?;
            store.delete(&name(ObjectKind::Pack, 0))?;
            store.sync()
        };
        let mut rng = Rng::new(3);
        for at in 0.. {
            let mut is_done = false;
            for _ in 0..6 {
                let disk = begun.clone();
                disk.faults().plan(Fault::End, Hits::Once(at));
                is_done = work(&disk).is_ok();
                disk.faults().heal();
                let store = disk.open().unwrap();
                let shown = objects(store.as_ref());
                put(store.as_ref(), ObjectKind::Key, 7).unwrap();
                store.sync().unwrap();
                drop(store);
                disk.lose_power(&mut rng);
                let mut left = objects(disk.open().unwrap().as_ref());
                left.retain(|(object, _)| *object != name(ObjectKind::Key, 7));
                assert!(shown == left, "killed at call {at}");
            }
            if is_done {
                return;
            }
        }
    }
    of(&DirectoryDisk::new(true));
    of(&DirectoryDisk::new(false));
    of(&RedbDisk::default());
}
