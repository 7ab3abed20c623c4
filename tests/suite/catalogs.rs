//! Catalogs that are lost, of an earlier time, another repository's or damaged: whatever is with the one that a client keeps,
//! its backups skip nothing that is not stored, and what it restores is right.
//!
//! A seed draws what is done to the repository and to the catalog; it is told if the test fails, and `DAYKEEP_SEED=n` runs it
//! alone. Keys and ids are random all the same.

use std::fs;
use std::path::{Path, PathBuf};

use daykeep_engine::{
    Access, BackupOptions, CancelToken, Error, ForgetOptions, OpenOptions, PruneOptions, Repository, SqliteCapture,
    StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{Rng, Seed, random, sqlite, text};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, below, secret, temp, try_restore};

/// Names below the cache folder, and bytes.
type Cache = Vec<(PathBuf, Vec<u8>)>;

/// Returns the files of a place's catalog and its sketches. What the client has seen last stays out: it is no catalog.
fn cache_of(place: &Place) -> Cache {
    let root = place.path("cache");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.file_name().unwrap().as_encoded_bytes().starts_with(b"newest-seen") {
                files.push((path.strip_prefix(&root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// Does something that a damaged catalog may keep from being done, once: then it is begun anew.
fn again<T>(place: &Place, mut work: impl FnMut(&mut Repository) -> daykeep_engine::Result<T>) -> T {
    let outcome = work(&mut place.open());
    match outcome {
        Err(Error::Store(error)) if error.kind == StoreErrorKind::Damaged && error.object.starts_with("catalog") => {
            assert!(error.to_string().contains("run the command again"), "{error}");
            work(&mut place.open()).unwrap()
        }
        // What is not found in it may be missing, for all that a prune knows.
        Err(Error::Unprunable { .. }) => work(&mut place.open()).unwrap(),
        outcome => outcome.unwrap(),
    }
}

/// What is done to a repository, its client's catalog and its source.
struct World {
    rng: Rng,
    place: Place,
    source: PathBuf,
    kept: Vec<(String, Inventory)>,
    /// The catalog as it was at earlier times.
    earlier: Vec<Cache>,
    foreign: Vec<u8>,
}

impl World {
    fn new(seed: u64, foreign: &[u8]) -> Self {
        let mut rng = Rng::new(seed);
        let place = Place::new(Kind::ON_DISK[rng.below(2)]);
        let source = place.folder("source");
        fs::write(source.join("chats.db"), sqlite(rng.next(), 4096, 60 * 4096)).unwrap();
        fs::write(source.join("notes"), text(rng.next(), 30_000)).unwrap();
        let mut world = Self { rng, place, source, kept: Vec::new(), earlier: Vec::new(), foreign: foreign.to_vec() };
        world.back_up();
        world
    }

    /// Changes pages of the database and lines of the notes, and adds a file.
    fn change(&mut self) {
        let path = self.source.join("chats.db");
        let mut bytes = fs::read(&path).unwrap();
        for _ in 0..self.rng.below(20) {
            let at = 100 + self.rng.below(bytes.len() - 200);
            bytes[at..at + 40].copy_from_slice(&random(self.rng.next(), 40));
        }
        fs::write(&path, bytes).unwrap();
        let notes = [text(self.rng.next(), 50), fs::read(self.source.join("notes")).unwrap()].concat();
        fs::write(self.source.join("notes"), notes).unwrap();
        let photo = random(self.rng.next(), 1 + self.rng.below(20_000));
        fs::write(self.source.join(format!("photo-{}", self.rng.below(6))), photo).unwrap();
    }

    /// Puts something else in place of the catalog, and says what.
    fn hurt(&mut self) -> String {
        let now = cache_of(&self.place);
        if self.rng.below(3) == 0 {
            self.earlier.push(now.clone());
        }
        let catalog = |(path, _): &&(PathBuf, Vec<u8>)| path.ends_with("catalog.redb");
        let Some((path, bytes)) = now.iter().find(catalog) else { return "there was none".into() };
        let path = self.place.path("cache").join(path);
        let mut bytes = bytes.clone();
        let rng = &mut self.rng;
        let at = rng.below(bytes.len());
        let what = match rng.below(8) {
            0 => "nothing".into(),
            1 => {
                now.iter().for_each(|(path, _)| fs::remove_file(self.place.path("cache").join(path)).unwrap());
                return "lost".into();
            }
            2 if !self.earlier.is_empty() => {
                let number = rng.below(self.earlier.len());
                for (path, bytes) in &self.earlier[number] {
                    fs::write(self.place.path("cache").join(path), bytes).unwrap();
                }
                return format!("the one from before, number {number}");
            }
            3 => {
                bytes.clone_from(&self.foreign);
                "another repository's".into()
            }
            4 => {
                bytes.truncate(at);
                format!("cut to {at}")
            }
            5 => {
                let page = at / 4096 * 4096;
                let end = bytes.len().min(page + 4096);
                bytes[page..end].fill(0);
                format!("zeros at {page}")
            }
            _ => {
                let flips = 1 + rng.below(30);
                for _ in 0..flips {
                    let at = rng.below(bytes.len());
                    bytes[at] ^= 1 << rng.below(8);
                }
                format!("{flips} bits flipped")
            }
        };
        fs::write(&path, bytes).unwrap();
        what
    }

    fn back_up(&mut self) {
        let mut options = BackupOptions::default();
        // It only begins like a database.
        options.sqlite = SqliteCapture::Off;
        let back_up = |repository: &mut Repository| repository.backup(&[&self.source], &options);
        let mut report = again(&self.place, back_up);
        if !report.warnings.is_empty() {
            // Of the last snapshot not everything was found, so that all was read anew: once.
            report = again(&self.place, back_up);
            assert_eq!(report.warnings, []);
        }
        self.kept.push((report.snapshot.unwrap().to_string(), read(&self.source)));
    }

    /// Forgets all but the last few and gives their space back.
    fn prune(&mut self) {
        let mut policy = ForgetOptions::default();
        policy.policy.last = 1 + self.rng.below(3) as u32;
        let mut options = PruneOptions::default();
        options.unused_percent_max = 0;
        again(&self.place, |repository| {
            let plan = repository.forget_plan(&policy)?;
            repository.forget(&plan, &CancelToken::new())?;
            let gone: Vec<String> = plan.forgotten().map(|snapshot| snapshot.id.to_string()).collect();
            self.kept.retain(|(id, _)| !gone.contains(id));
            let plan = repository.prune_plan(&options)?;
            repository.prune(plan, &options)
        });
    }

    /// Restores one of the snapshots. A warning is allowed the first time.
    fn restore(&mut self) {
        let (id, wanted) = &self.kept[self.rng.below(self.kept.len())];
        let target = temp();
        let outcome = try_restore(&self.place.open(), id, target.path());
        if outcome.is_ok_and(|report| report.warnings.is_empty()) {
            assert_same(wanted, &read(&below(target.path(), &self.source)));
        } else {
            assert_restores(&self.place.open(), id, &self.source, wanted);
        }
    }

    fn step(&mut self) {
        self.change();
        let what = self.hurt();
        let drawn = self.rng.below(6);
        let said = Said(format!("the catalog: {what}; {}", if drawn == 0 { "a prune" } else { "a backup" }));
        match drawn {
            0 => self.prune(),
            1 => {
                self.restore();
                self.back_up();
            }
            _ => self.back_up(),
        }
        // Whoever has no catalog sees what is really there.
        let fresh = fresh(&self.place);
        assert_clean(&fresh);
        for (id, wanted) in [&self.kept[self.kept.len() - 1], &self.kept[self.rng.below(self.kept.len())]] {
            assert_restores(&fresh, id, &self.source, wanted);
        }
        drop(said);
    }
}

/// Says what was done if the test fails.
struct Said(String);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Opens a repository without the client's catalog.
fn fresh(place: &Place) -> Repository {
    let options = OpenOptions::default().memory_bytes(64 << 20);
    Repository::open(&place.location().unwrap(), &secret(), Access::Read, &options).unwrap()
}

/// Returns the catalog of some other repository.
fn foreign() -> Vec<u8> {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    fs::write(source.join("file"), random(1, 100_000)).unwrap();
    back_up(&place.open(), &source);
    let is_catalog = |(path, _): &(PathBuf, Vec<u8>)| path.ends_with(Path::new("catalog.redb"));
    cache_of(&place).into_iter().find(is_catalog).unwrap().1
}

#[test]
fn whatever_is_with_the_catalog_nothing_is_skipped_that_is_not_stored() {
    let foreign = foreign();
    let wanted = if is_long() { 1000 } else { 40 };
    let only = Seed::wanted();
    let (mut steps, mut seed) = (0, only.unwrap_or_else(Seed::first));
    while steps < wanted {
        let said = Seed(seed);
        let mut world = World::new(seed, &foreign);
        for _ in 0..10 {
            world.step();
            steps += 1;
        }
        drop(said);
        if only.is_some() {
            return;
        }
        seed += 1;
    }
    println!("{steps} steps, the last seed {}", seed - 1);
}
