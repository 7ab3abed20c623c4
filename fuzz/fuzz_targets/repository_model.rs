//! Whole repositories against a model: a map of files for each snapshot. Whatever the order of changes, backups, forgetting,
//! prunes and lost catalogs, each snapshot that stays restores what the model has.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::{
    Access, BackupOptions, CancelToken, CheckOptions, ForgetOptions, MemoryStore, ObjectId, OpenOptions, PruneOptions,
    ReadData, Repository, RestoreOptions, Secret, SnapshotPath, SqliteCapture,
};
use daykeep_fuzz::{plant_seeds, recovery, scratch};
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 24;
const FILE_BYTES_MAX: usize = 96 << 10;

type Files = BTreeMap<u8, Vec<u8>>;

#[derive(Debug)]
enum Step {
    /// A file has these bytes; some begin like databases.
    Write(u8, Vec<u8>),
    /// Bytes are put into a file.
    Insert(u8, u16, Vec<u8>),
    /// A file goes.
    Remove(u8),
    Backup,
    /// All but the last few snapshots go.
    Forget(u8),
    /// So much may stay unused, in percent.
    Prune(u8),
    Restore(u8),
    Check,
    Reopen,
    LoseCatalog,
}

/// Returns what three bytes each stand for: most sequences make sense, so that even short runs get far.
fn steps(bytes: &[u8]) -> Vec<Step> {
    let step = |&[op, a, b]: &[u8; 3]| match op % 16 {
        0..=3 => {
            let len = 1 + usize::from(a >> 3) * usize::from(b) * 8;
            let byte = |at: usize| (at * at >> 3) as u8 ^ (at as u8).wrapping_mul(b);
            Step::Write(a, (0..len).map(byte).collect())
        }
        4 | 5 => Step::Insert(a, u16::from(b) * 251, vec![a ^ b; 1 + usize::from(b % 50)]),
        6 => Step::Remove(a),
        7..=9 => Step::Backup,
        10 => Step::Forget(a),
        11 => Step::Prune(a),
        12 => Step::Restore(a),
        13 => Step::Check,
        14 => Step::Reopen,
        _ => Step::LoseCatalog,
    };
    bytes.as_chunks().0.iter().take(STEPS_MAX).map(step).collect()
}

struct World {
    root: PathBuf,
    store: Arc<MemoryStore>,
    repository: Option<Repository>,
    files: Files,
    snapshots: Vec<(ObjectId, Files)>,
}

fn options(root: &Path) -> OpenOptions {
    OpenOptions::default().cache_dir(root.join("cache")).memory_bytes(64 << 20)
}

impl World {
    fn new() -> Self {
        let root = scratch();
        fs::create_dir(root.join("source")).expect("the folder is empty");
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::create_in(store.clone(), &recovery(), None, &options(&root));
        let repository = Some(repository.expect("memory takes it"));
        Self { root, store, repository, files: Files::new(), snapshots: Vec::new() }
    }

    fn repository(&mut self) -> &mut Repository {
        let (root, store) = (&self.root, &self.store);
        self.repository.get_or_insert_with(|| {
            let secret = Secret::Recovery(recovery());
            Repository::open_in(store.clone(), &secret, Access::Write, &options(root)).expect("it opens again")
        })
    }

    fn write(&mut self, name: u8, mut bytes: Vec<u8>) {
        bytes.truncate(FILE_BYTES_MAX);
        fs::write(self.root.join("source").join(name.to_string()), &bytes).expect("it can be written");
        self.files.insert(name, bytes);
    }

    fn restores(&mut self, at: usize) {
        let target = self.root.join("target");
        let (id, files) = self.snapshots[at].clone();
        let path = SnapshotPath::parse(id.to_string().as_bytes()).expect("it is an id");
        let report = self.repository().restore(&path, &target, &RestoreOptions::default()).expect("it restores");
        assert_eq!(report.warnings, []);
        let below = target.join(self.root.join("source").strip_prefix("/").expect("it is absolute"));
        let mut found = Files::new();
        for entry in fs::read_dir(below).expect("the folder is there").flatten() {
            let name = entry.file_name().to_string_lossy().parse().expect("a name that was backed up");
            found.insert(name, fs::read(entry.path()).expect("it can be read"));
        }
        assert!(found == files, "snapshot {at} of {} is another", self.snapshots.len());
        fs::remove_dir_all(target).expect("it can be removed");
    }

    fn check(&mut self) {
        let mut check = CheckOptions::default();
        check.read_data = ReadData::All;
        check.threads = 1;
        let report = self.repository().check(&check).expect("it can be checked");
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(name, bytes) => {
                let head: &[u8] = if name % 3 == 0 { b"SQLite format 3\0\x10\0" } else { b"" };
                self.write(name % 8, [head, &bytes].concat());
            }
            Step::Insert(name, at, more) => {
                let Some(mut bytes) = self.files.get(&(name % 8)).cloned() else { return };
                let at = usize::from(at) % (bytes.len() + 1);
                bytes.splice(at..at, more);
                self.write(name % 8, bytes);
            }
            Step::Remove(name) => {
                if self.files.remove(&(name % 8)).is_some() {
                    let path = self.root.join("source").join((name % 8).to_string());
                    fs::remove_file(path).expect("it is there");
                }
            }
            Step::Backup => {
                let mut options = BackupOptions::default();
                options.sqlite = SqliteCapture::Off;
                options.threads = 1;
                let source = self.root.join("source");
                let report = self.repository().backup(&[&source], &options).expect("it can be backed up");
                assert_eq!(report.warnings, []);
                self.snapshots.push((report.snapshot.expect("it was no dry run"), self.files.clone()));
            }
            Step::Forget(last) => {
                let last = 1 + usize::from(last % 4);
                let mut options = ForgetOptions::default();
                options.policy.last = last as u32;
                let plan = self.repository().forget_plan(&options).expect("all snapshots can be read");
                self.repository().forget(&plan, &CancelToken::new()).expect("they can be forgotten");
                self.snapshots.drain(..self.snapshots.len().saturating_sub(last));
            }
            Step::Prune(percent) => {
                let mut options = PruneOptions::default();
                options.unused_percent_max = percent % 101;
                options.threads = 1;
                let plan = self.repository().prune_plan(&options).expect("nothing is missing");
                self.repository().prune(plan, &options).expect("it can be pruned");
            }
            Step::Restore(at) => {
                if !self.snapshots.is_empty() {
                    self.restores(usize::from(at) % self.snapshots.len());
                }
            }
            Step::Check => self.check(),
            Step::Reopen => self.repository = None,
            Step::LoseCatalog => {
                self.repository = None;
                let _ = fs::remove_dir_all(self.root.join("cache"));
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    steps.into_iter().for_each(|step| world.step(step));
    world.check();
    (0..world.snapshots.len()).for_each(|at| world.restores(at));
    world.repository = None;
    let _ = fs::remove_dir_all(world.root);
}

/// Long sequences, drawn, to begin with.
fn seeds() -> Vec<Vec<u8>> {
    let mut number = 1_u64;
    let mut byte = |_| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    };
    (0..64).map(|_| (0..3 * STEPS_MAX).map(&mut byte).collect()).collect()
}

fuzz_target!(init: plant_seeds(&seeds()), |bytes: &[u8]| run(steps(bytes)));
