//! Times whole operations on a small generated folder, on all cores, with a repository in memory and one in a directory:
//! `cargo bench -p daykeep-bench --bench operations [-- FILTER]`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use daykeep_engine::internals::measure::data::{Language, Random, write_tree};
use daykeep_engine::{
    BackupOptions, CheckOptions, DirectoryStore, MemoryStore, OpenOptions, ReadData, RecoveryKey, Repository,
    RestoreOptions, SnapshotPath, Store,
};
use tempfile::TempDir;

const TREE_BYTES: u64 = 32 << 20;
/// Files that change from day to day, of some thousand.
const CHANGED_FILES: u64 = 20;

#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Directory,
}

/// A folder in memory, where the system offers that, so that no disk is measured. Restores want a path without links.
fn temp() -> TempDir {
    let standard = std::env::temp_dir().canonicalize().unwrap();
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir_in(standard)).unwrap()
}

/// A new repository; dropped, it is gone.
struct Place {
    repository: Repository,
    _folder: TempDir,
}

impl Place {
    fn new(kind: Kind) -> Self {
        let folder = temp();
        let store: Arc<dyn Store> = match kind {
            Kind::Memory => Arc::new(MemoryStore::new()),
            Kind::Directory => Arc::new(DirectoryStore::create(&folder.path().join("repository")).unwrap()),
        };
        let options = OpenOptions::default().cache_dir(folder.path().join("cache"));
        let repository = Repository::create_in(store, &RecoveryKey::from_bytes([7; 32]), None, &options).unwrap();
        Self { repository, _folder: folder }
    }

    fn filled(kind: Kind, source: &Path) -> Self {
        let place = Self::new(kind);
        place.back_up(source);
        place
    }

    fn back_up(&self, source: &Path) {
        let report = self.repository.backup(&[source], &BackupOptions::default()).unwrap();
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
}

fn texts(source: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    texts.sort();
    texts
}

/// Makes every file look an hour old: one that changed just now is read again.
fn age(paths: impl IntoIterator<Item = PathBuf>) {
    let time = SystemTime::now() - Duration::from_secs(3600);
    paths.into_iter().for_each(|path| File::options().write(true).open(path).unwrap().set_modified(time).unwrap());
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let source = temp();
    write_tree(source.path(), TREE_BYTES, &|| Ok(())).unwrap();
    age(fs::read_dir(source.path()).unwrap().map(|entry| entry.unwrap().path()));
    for (name, kind) in [("memory", Kind::Memory), ("directory", Kind::Directory)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(TREE_BYTES));
        operations(&mut group, kind, source.path());
        group.finish();
    }
    criterion.final_summary();
}

fn operations(group: &mut BenchmarkGroup<'_, WallTime>, kind: Kind, source: &Path) {
    group.bench_function("first_backup", |bencher| {
        bencher.iter_batched(|| Place::new(kind), |place| place.back_up(source), BatchSize::PerIteration);
    });
    let place = Place::filled(kind, source);
    group.bench_function("unchanged", |bencher| bencher.iter(|| place.back_up(source)));
    group.bench_function("check", |bencher| {
        let mut options = CheckOptions::default();
        options.read_data = ReadData::All;
        bencher.iter(|| assert!(place.repository.check(&options).unwrap().errors.is_empty()));
    });
    let latest = SnapshotPath::parse(b"latest").unwrap();
    group.bench_function("restore", |bencher| {
        let restore = |target: TempDir| {
            let options = RestoreOptions::default();
            let report = place.repository.restore(&latest, target.path(), &options).unwrap();
            assert!(report.warnings.is_empty(), "{:?}", report.warnings);
            // Taken back, so that removing it is not timed.
            target
        };
        bencher.iter_batched(temp, restore, BatchSize::PerIteration);
    });
    let place = Place::filled(kind, source);
    let (mut random, language) = (Random::new(9), Language::default());
    let texts = texts(source);
    group.bench_function("daily_backup", |bencher| {
        let change = || {
            for _ in 0..CHANGED_FILES {
                let path = &texts[random.below(texts.len() as u64) as usize];
                fs::write(path, language.text(&mut random, 4000)).unwrap();
                age([path.clone()]);
            }
        };
        bencher.iter_batched(change, |()| place.back_up(source), BatchSize::PerIteration);
    });
}
