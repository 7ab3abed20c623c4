//! What is left in a damaged redb file is saved, whatever redb says of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use daykeep_engine::{
    Access, CancelToken, CheckOptions, Error, Location, ObjectId, ObjectKind, OpenOptions, ReadData, RecoveryKey,
    RedbStore, Repository, RescueReport, Secret, Store,
};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, below, secret, temp, try_restore};
use daykeep_tests::stores::objects;

use crate::repair::{assert_all_but, change, options};

/// A repository in a redb file with three snapshots, and the file's bytes.
struct World {
    place: Place,
    bytes: Vec<u8>,
    wanted: Vec<(ObjectId, Inventory)>,
}

fn open_options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

impl World {
    fn new() -> Self {
        Self::with_parity(0)
    }

    fn with_parity(percent: u8) -> Self {
        let place = Place::with_parity(Kind::Redb, percent);
        let source = place.folder("source");
        let backed_up = |turn| {
            change(&source, turn);
            let id = back_up(&place.open(), &source).snapshot.unwrap();
            (id, read(&source))
        };
        let wanted = (0..3).map(backed_up).collect();
        place.open().add_password("a password", "a label").unwrap();
        let bytes = fs::read(place.location().unwrap().path()).unwrap();
        Self { place, bytes, wanted }
    }

    /// Writes a damaged file, and rescues it into a new place.
    fn rescue(&self, damaged: &[u8], to: &Location, secret: &Secret) -> Result<RescueReport, Error> {
        let path = self.place.path("damaged.redb");
        fs::write(&path, damaged).unwrap();
        let outcome = Repository::rescue(&path, secret, to, &open_options(), &CancelToken::new());
        assert!(fs::read(&path).unwrap() == damaged, "the damaged file is only read");
        outcome
    }

    fn to(&self, number: usize) -> (PathBuf, Location) {
        let path = self.place.path(format!("rescued-{number}"));
        (path.clone(), if number.is_multiple_of(2) { Location::File(path) } else { Location::Directory(path) })
    }

    /// Repairs what was rescued and demands that everything is there that is not named. Returns how much is lost.
    fn assert_rescued(&self, to: &Location, what: &str) -> u64 {
        let mut repository = Repository::open(to, &secret(), Access::Write, &open_options()).unwrap();
        let plan = repository.repair_plan(&options(true)).unwrap();
        let (hurt, lost, count) = (plan.snapshots.clone(), plan.lost.clone(), plan.figures.lost);
        let report = repository.repair(plan, &options(true)).unwrap();
        assert!(repository.repair_plan(&options(true)).unwrap().is_empty(), "{what}");
        let (snapshots, _) = repository.snapshots().unwrap();
        let source = self.place.path("source");
        let paths: BTreeSet<Vec<u8>> = lost.into_iter().map(|lost| lost.path).collect();
        for (id, wanted) in &self.wanted {
            if !snapshots.iter().any(|snapshot| snapshot.id == *id) {
                continue;
            }
            if !hurt.iter().any(|hurt| hurt.snapshot.id == *id) {
                assert_restores(&repository, &id.to_string(), &source, wanted);
                continue;
            }
            let Some((_, copy)) = report.copies.iter().find(|(from, _)| from == id) else { continue };
            let target = temp();
            let restored = try_restore(&repository, &copy.to_string(), target.path()).unwrap();
            assert_eq!(restored.warnings, [], "{what}");
            let found = below(target.path(), &source);
            let found = if found.exists() { read(&found) } else { Inventory::new() };
            assert_all_but(&source, &paths, wanted, &found, what);
        }
        count
    }
}

#[test]
fn a_file_whose_beginning_is_gone_is_rescued_whole() {
    let world = World::new();
    let mut damaged = world.bytes.clone();
    damaged[..8192].fill(0);
    for (number, secret) in [secret(), Secret::password("a password")].into_iter().enumerate() {
        let (_, to) = world.to(number);
        let report = world.rescue(&damaged, &to, &secret).unwrap();
        assert_eq!((report.snapshots, report.keys, report.is_config_new), (3, 2, false));
        assert_eq!(report.packs_without_footer, 0);
        assert_eq!(world.assert_rescued(&to, "no beginning"), 0);
        let repository = Repository::open(&to, &secret, Access::Write, &open_options()).unwrap();
        assert_clean(&repository);
        assert!(back_up(&repository, &world.place.path("source")).counts.bytes_new < 2000);
    }
}

#[test]
fn whatever_is_overwritten_or_cut_off_the_rest_is_rescued() {
    let world = World::new();
    let (mut rescued, mut hurt, mut without_key) = (0, 0, 0);
    for seed in 0..if is_long() { 300 } else { 24 } {
        let mut rng = Rng::new(seed);
        let mut damaged = world.bytes.clone();
        damaged[..4096].fill(0xa5);
        if rng.below(3) == 0 {
            damaged.truncate(damaged.len() / 4 + rng.below(damaged.len() / 4 * 3));
        }
        for _ in 0..rng.below(12) {
            let most = [16, 512, 4096, 100_000][rng.below(4)];
            let len = 1 + rng.below(most);
            let at = rng.below(damaged.len().saturating_sub(len).max(1));
            let end = (at + len).min(damaged.len());
            damaged[at..end].iter_mut().for_each(|byte| *byte = rng.next() as u8);
        }
        let (path, to) = world.to(seed as usize);
        match world.rescue(&damaged, &to, &secret()) {
            Ok(_) => {
                rescued += 1;
                hurt += u64::from(world.assert_rescued(&to, &format!("seed {seed}")) > 0);
            }
            Err(error) => {
                assert!(matches!(error, Error::WrongKey { .. } | Error::Damaged { .. }), "seed {seed}: {error}");
                assert!(!path.exists(), "nothing is left of a rescue that failed");
                without_key += 1;
            }
        }
    }
    assert!(rescued > without_key && hurt > 3, "{rescued} rescued, {hurt} hurt, {without_key} without a key");
}

#[test]
fn without_its_config_a_repository_gets_a_new_one() {
    let world = World::with_parity(40);
    let mut damaged = world.bytes.clone();
    let header = [b"daykeep\x1a".as_slice(), &[1, 0, 1, 0, 0, 0, 0, 0]].concat();
    let places: Vec<usize> = (0..damaged.len() - 16).filter(|at| damaged[*at..*at + 16] == header).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| damaged[at + 70] ^= 1);
    let (_, to) = world.to(0);
    assert!(world.rescue(&damaged, &to, &secret()).unwrap().is_config_new);
    assert_eq!(world.assert_rescued(&to, "no config"), 0);
    let repository = Repository::open(&to, &secret(), Access::Write, &open_options()).unwrap();
    assert!(back_up(&repository, &world.place.path("source")).counts.bytes_new < 2000);
    assert_clean(&repository);
    drop(repository);
    // It has parity as before, and what has parity heals, whatever percentage was made out.
    let Location::File(path) = &to else { unreachable!("an even number is a file") };
    let store = RedbStore::open(path, Access::Write, 8 << 20).unwrap();
    for (name, mut bytes) in objects(&store).into_iter().filter(|(name, _)| name.kind == ObjectKind::Pack) {
        bytes[80..2000].fill(0);
        store.replace(&name, &bytes).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let repository = Repository::open(&to, &secret(), Access::Write, &open_options()).unwrap();
    assert!((30..=40).contains(&repository.parity_percent()), "{}", repository.parity_percent());
    let mut check = CheckOptions::default();
    (check.read_data, check.repair) = (ReadData::All, true);
    let report = repository.check(&check).unwrap();
    assert_eq!((report.errors, report.objects_healed), (Vec::new(), report.packs));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = World::new();
    let (path, to) = world.to(0);
    let wrong = Secret::Recovery(RecoveryKey::from_bytes([8; 32]));
    assert!(matches!(world.rescue(&world.bytes, &to, &wrong), Err(Error::WrongKey { .. })));
    assert!(matches!(world.rescue(&[0; 10_000], &to, &secret()), Err(Error::Damaged { .. })));
    assert!(matches!(world.rescue(&[], &to, &secret()), Err(Error::Damaged { .. })));
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    assert!(matches!(world.rescue(&world.bytes, &to, &secret()), Err(Error::RepositoryExists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let folder = world.place.folder("folder");
    let outcome = Repository::rescue(&folder, &secret(), &to, &open_options(), &CancelToken::new());
    assert!(matches!(outcome, Err(Error::Damaged { .. })), "{outcome:?}");
    let outcome = Repository::rescue(Path::new("/dev/null"), &secret(), &to, &open_options(), &CancelToken::new());
    assert!(matches!(outcome, Err(Error::InvalidOption { .. })), "{outcome:?}");
}

/// The files of a directory are looked through as the bytes of a redb file are.
#[test]
fn a_directory_without_its_config_is_rescued() {
    for percent in [0, 5] {
        let place = Place::with_parity(Kind::Directory, percent);
        let source = place.folder("source");
        let backed_up = |turn| {
            change(&source, turn);
            (back_up(&place.open(), &source).snapshot.unwrap(), read(&source))
        };
        let wanted: Vec<(ObjectId, Inventory)> = (0..3).map(backed_up).collect();
        let repository = place.path("repository");
        for how in ["lost", "emptied", "overwritten"] {
            let config = repository.join("config");
            let saved = fs::read(&config).unwrap();
            match how {
                "lost" => fs::remove_file(&config).unwrap(),
                "emptied" => fs::write(&config, []).unwrap(),
                _ => fs::write(&config, noise::random(3, saved.len())).unwrap(),
            }
            assert!(place.try_open(Access::Read).is_err(), "{how}");
            let to = Location::Directory(place.path(format!("rescued-{how}")));
            let rescued = Repository::rescue(&repository, &secret(), &to, &open_options(), &CancelToken::new());
            let report = rescued.unwrap();
            assert_eq!((report.snapshots, report.is_config_new, report.left), (3, true, 0), "{how}");
            // Two configs differ in the id by which their keys are drawn: no key seals two of them.
            let id = |config: &[u8]| config[32..64].to_vec();
            let made = fs::read(to.path().join("config")).unwrap();
            assert_ne!(id(&made), id(&saved), "{how}");
            let rescued = Repository::open(&to, &secret(), Access::Read, &open_options()).unwrap();
            assert_eq!(rescued.parity_percent(), percent);
            assert_clean(&rescued);
            for (id, wanted) in &wanted {
                assert_restores(&rescued, &id.to_string(), &source, wanted);
            }
            fs::write(&config, saved).unwrap();
        }
    }
}
