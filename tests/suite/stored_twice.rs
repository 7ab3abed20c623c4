//! With parity, config, key slots, snapshots and proofs are stored twice: whatever happens to one copy, nothing is lost, a check
//! says so, and `check --repair` makes it good. And a pack or snapshot that the disk does not give out keeps nobody from the
//! others.

use std::collections::BTreeSet;
use std::sync::Arc;

use daykeep_engine::{
    Access, CheckOptions, CheckReport, Error, ObjectId, ObjectKind, ObjectName, OpenOptions, Repository, RestoreTest,
    Secret, Store,
};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{Rng, Seed, random};
use daykeep_tests::place::{back_up, below, check_all, key, secret, temp, try_restore};
use daykeep_tests::stores::{BadSectors, objects, replace};

use crate::repair::change;

const SECTOR_BYTES: usize = 4096;

struct World {
    dir: tempfile::TempDir,
    store: Arc<BadSectors>,
    objects: Vec<(ObjectName, Vec<u8>)>,
    wanted: Vec<(ObjectId, Inventory)>,
}

fn open_options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

impl World {
    fn new(percent: u8) -> Self {
        let (dir, store) = (temp(), Arc::new(BadSectors::new(2 << 20)));
        let source = dir.path().join("source");
        let made = open_options().parity_percent(percent);
        let repository = Repository::create_in(store.clone(), &key(), Some("a password"), &made).unwrap();
        let backed_up = |turn| {
            change(&source, turn);
            let id = back_up(&repository, &source).snapshot.unwrap();
            (id, read(&source))
        };
        let wanted = (0..3).map(backed_up).collect();
        let mut tested = CheckOptions::default();
        tested.restore_test = Some(RestoreTest::percent(100));
        // It leaves a proof. SQLite finds nothing in a database of noise.
        assert_eq!(repository.check(&tested).unwrap().errors.len(), 1);
        drop(repository);
        let mut world = Self { dir, store, objects: Vec::new(), wanted };
        world.objects = objects(&world.store.inner);
        world
    }

    fn small(&self) -> impl Iterator<Item = &(ObjectName, Vec<u8>)> {
        self.objects.iter().filter(|(name, _)| !matches!(name.kind, ObjectKind::Pack | ObjectKind::Index))
    }

    fn open(&self) -> Repository {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Repository, Error> {
        Repository::open_in(self.store.clone(), &secret(), Access::Write, &open_options())
    }

    /// Demands that an object that is not as it was written heals.
    fn assert_heals(&self, name: &ObjectName, what: &str) {
        let repository = self.open();
        assert_eq!(repository.snapshots().unwrap().0.len(), self.wanted.len(), "{what}");
        let report = check(&repository, false);
        assert_eq!((report.objects_healable, report.files_hurt), (1, 0), "{what}: {:?}", report.errors);
        assert_eq!(report.errors.len(), 1, "{what}: {:?}", report.errors);
        let told = &report.errors[0];
        assert!(told.starts_with(&format!("{name}: ")) && told.contains("check --repair"), "{what}: {told}");
        let report = check(&repository, true);
        assert_eq!((report.errors, report.objects_healed), (vec![], 1), "{what}");
        assert!(objects(&self.store.inner) == self.objects, "{what}: the bytes are not what they were");
    }

    /// Makes everything what it was.
    fn mend(&self) {
        self.store.bad.lock().unwrap().clear();
        for (name, _) in objects(&self.store.inner) {
            self.store.inner.delete(&name).unwrap();
        }
        self.objects.iter().for_each(|(name, bytes)| self.store.inner.put(name, bytes).unwrap());
    }
}

fn check(repository: &Repository, repair: bool) -> CheckReport {
    let mut options = CheckOptions::default();
    options.repair = repair;
    repository.check(&options).unwrap()
}

#[test]
fn whatever_happens_to_one_copy_the_other_is_there() {
    let world = World::new(5);
    let mut rng = Rng::new(Seed::first());
    let kinds: BTreeSet<ObjectKind> = world.small().map(|(name, _)| name.kind).collect();
    assert_eq!(kinds.len(), 4);
    for (name, bytes) in world.small().cloned().collect::<Vec<_>>() {
        let hurt_by = |hurt: Vec<u8>, what: &str| {
            replace(&world.store.inner, &name, &hurt);
            world.assert_heals(&name, &format!("{name}: {what}"));
        };
        // A flipped bit anywhere, in the zeros between the copies too.
        let step = if is_long() { 1 } else { 1 + bytes.len() / 40 };
        for at in (rng.below(step)..bytes.len()).step_by(step) {
            let mut hurt = bytes.clone();
            hurt[at] ^= 1 << rng.below(8);
            hurt_by(hurt, &format!("a bit at {at}"));
        }
        for sector in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let mut hurt = bytes.clone();
            let end = (sector + SECTOR_BYTES).min(hurt.len());
            hurt[sector..end].copy_from_slice(&random(rng.next(), end - sector));
            hurt_by(hurt, &format!("another sector at {sector}"));
        }
        let second = bytes.len() / 2 / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        assert_eq!(bytes[..bytes.len() - second], bytes[second..], "{name}");
        let first = bytes.len() - second;
        for len in [first, first + 1, second - 1, second, second + 1, bytes.len() - 1] {
            hurt_by(bytes[..len].to_vec(), &format!("cut to {len}"));
        }
        hurt_by([bytes.as_slice(), &random(rng.next(), 100)].concat(), "grown");
        hurt_by([bytes.as_slice(), bytes.as_slice()].concat(), "doubled");
        hurt_by([&vec![0; SECTOR_BYTES], bytes.as_slice()].concat(), "a sector too late");
    }
}

#[test]
fn a_sector_of_them_that_cannot_be_read_heals() {
    let world = World::new(5);
    for (name, bytes) in world.small().cloned().collect::<Vec<_>>() {
        for sector in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let range = sector as u64..(sector + SECTOR_BYTES).min(bytes.len()) as u64;
            world.store.bad.lock().unwrap().push((name, range));
            world.assert_heals(&name, &format!("{name}: no sector at {sector}"));
        }
    }
}

#[test]
fn a_password_opens_by_either_copy_of_its_slot() {
    let world = World::new(1);
    let all: Vec<_> = world.small().filter(|(name, _)| name.kind == ObjectKind::Key).cloned().collect();
    let second = SECTOR_BYTES;
    // The parts of a slot: its header, what Argon2 is told, salt, wrapped key, MAC.
    for at in [20, 66, 120, 150, 200, second + 20, second + 120] {
        for (name, bytes) in &all {
            let mut hurt = bytes.clone();
            hurt[at] ^= 4;
            replace(&world.store.inner, name, &hurt);
        }
        for secret in [Secret::password("a password"), secret()] {
            let repository = Repository::open_in(world.store.clone(), &secret, Access::Write, &open_options()).unwrap();
            let (keys, errors) = repository.keys().unwrap();
            assert!(keys.len() == 2 && errors.is_empty() && keys.iter().all(|key| key.is_intact), "{at}: {errors:?}");
        }
        let wrong = Secret::password("another");
        let error = Repository::open_in(world.store.clone(), &wrong, Access::Write, &open_options());
        assert!(matches!(error.err(), Some(Error::WrongKey { .. })), "{at}");
        world.mend();
    }
}

/// Once both copies are gone it is as without parity.
#[test]
fn what_both_copies_have_lost_is_named() {
    let world = World::new(5);
    for (name, bytes) in world.small().cloned().collect::<Vec<_>>() {
        let second = bytes.len() / 2 / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        let mut hurt = bytes.clone();
        hurt[80] ^= 1;
        hurt[second + 90] ^= 1;
        replace(&world.store.inner, &name, &hurt);
        match world.try_open() {
            Ok(repository) => {
                let report = check(&repository, true);
                assert_eq!((report.objects_healable, report.objects_healed), (0, 0), "{name}");
                assert!(report.errors.iter().any(|error| error.contains(&name.to_string())), "{:?}", report.errors);
            }
            Err(error) => {
                assert!(matches!(name.kind, ObjectKind::Config | ObjectKind::Key), "{name}: {error}");
                assert!(error.to_string().contains(&name.to_string()), "{error}");
            }
        }
        world.mend();
    }
}

/// With and without parity. That an index object cannot be read at the moment is no reason to do without.
#[test]
fn an_object_that_cannot_be_read_at_all_costs_only_what_is_in_it() {
    for percent in [0, 5] {
        let world = World::new(percent);
        let source = world.dir.path().join("source");
        for (name, _) in world.objects.clone() {
            let what = format!("{percent} %, {name}");
            world.store.bad.lock().unwrap().push((name, 0..u64::MAX));
            let repository = match world.try_open() {
                Ok(repository) => repository,
                Err(error) => {
                    let is_needed = matches!(name.kind, ObjectKind::Config | ObjectKind::Key | ObjectKind::Index);
                    assert!(is_needed && error.to_string().contains(&name.to_string()), "{what}: {error}");
                    world.mend();
                    continue;
                }
            };
            assert!(!matches!(name.kind, ObjectKind::Config | ObjectKind::Index), "{what}");
            let report = check_all(&repository).unwrap();
            let named = report.errors.iter().any(|error| error.contains(&name.to_string()));
            assert!(named, "{what}: {:?}", report.errors);
            let mut restored_whole = 0;
            for (id, wanted) in &world.wanted {
                let target = temp();
                let Ok(restored) = try_restore(&repository, &id.to_string(), target.path()) else {
                    // Or the tree that all others hang from.
                    let is_pack = name.kind == ObjectKind::Pack;
                    assert!(is_pack || name == ObjectName::new(ObjectKind::Snapshot, *id), "{what}");
                    continue;
                };
                let below = below(target.path(), &source);
                let found = if below.exists() { read(&below) } else { Inventory::new() };
                let is_whole = found == *wanted;
                assert_eq!(is_whole, restored.warnings.is_empty(), "{what}: {:?}", restored.warnings);
                restored_whole += usize::from(is_whole);
            }
            assert!(restored_whole > 0 || name.kind == ObjectKind::Pack, "{what}");
            world.mend();
        }
    }
}

/// Without parity they are stored once, and what follows them is damage.
#[test]
fn without_parity_there_is_one_copy() {
    let world = World::new(0);
    let twice = World::new(1);
    for (name, bytes) in world.small().cloned().collect::<Vec<_>>() {
        assert!(bytes.len() < SECTOR_BYTES, "{name}");
        let mut stored = bytes.clone();
        stored.resize(SECTOR_BYTES, 0);
        stored.extend_from_slice(&bytes);
        replace(&world.store.inner, &name, &stored);
        match world.try_open() {
            Ok(repository) => {
                let errors = check(&repository, false).errors;
                assert!(errors.iter().any(|error| error.contains(&name.to_string())), "{name}: {errors:?}");
            }
            Err(error) => assert!(error.to_string().contains("config"), "{name}: {error}"),
        }
        world.mend();
    }
    let total = |world: &World| world.small().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let count = world.small().count();
    assert!((total(&world) + count * SECTOR_BYTES).abs_diff(total(&twice)) < total(&world) + count * 512);
    assert_eq!(check_all(&twice.open()).unwrap().errors, [""; 0]);
}
