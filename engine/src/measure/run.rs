//! A measurement from beginning to end.

use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;

use crate::crypt::RecoveryKey;
use crate::error::{Error, Result, StoreError};
use crate::format::tree::Class;
use crate::measure::options::MeasureOptions;
use crate::measure::place::{TempFolder, beside, check_space};
use crate::measure::report::{Measurement, SampleReport, Stage};
use crate::measure::sample::{Found, Loaded};
use crate::measure::{catalog, cpu, data, files, first_backup, stores};
use crate::repo::{OpenOptions, Repository};
use crate::store::MemoryStore;

/// What part of the memory budget the sample may take, and of the disk space the generated files.
const LOADED_PARTS: u64 = 4;
const GENERATED_PARTS: u64 = 8;

/// What all stages need.
pub(super) struct Run {
    pub options: MeasureOptions,
    /// In memory, and nothing is ever stored in it: it has the keys, the chunker, and takes the dry backups.
    pub repository: Repository,
    pub pool: Arc<ThreadPool>,
    /// A pool of one thread.
    pub one: Arc<ThreadPool>,
    pub threads: usize,
}

impl Run {
    fn new(options: &MeasureOptions) -> Result<Self> {
        let no_random = |error| Error::from(StoreError::from_io("random numbers", "ask the system for them", error));
        let key = RecoveryKey::generate().map_err(no_random)?;
        let open = OpenOptions::default().memory_bytes(options.memory_bytes);
        let repository = Repository::create_in(Arc::new(MemoryStore::new()), &key, None, &open)?;
        let (pool, one) = (Arc::new(crate::pool::new(options.threads)?), Arc::new(crate::pool::new(1)?));
        let threads = pool.current_num_threads();
        Ok(Self { options: options.clone(), repository, pool, one, threads })
    }

    /// Tells that a stage begins.
    pub fn begin(&self, stage: Stage) {
        if let Some(observer) = &self.options.observer {
            observer(stage);
        }
    }
}

/// Measures every stage of a backup on this machine.
///
/// With the options' times it takes less than a minute. What it writes lies in a temporary folder beside the repository,
/// and one in the cache's folder, which are removed also if it fails or is cancelled. The user's files are only read.
///
/// # Errors
/// `NothingToBackUp` if the sample has nothing to read; `File` if it, or the place for the temporary folder, is not
/// there or cannot be written; `NoSpace` if there is too little room; `InvalidOption`; `Cancelled`.
pub fn measure(options: &MeasureOptions) -> Result<Measurement> {
    options.check()?;
    let begun = Instant::now();
    let parent = beside(options.location.as_ref())?;
    check_space(&parent, options.disk_bytes)?;
    let run = Run::new(options)?;
    // The user's files are looked for before there is a temporary folder that may lie among them.
    let named = options.sample.as_deref().map(|path| Found::list(path, options)).transpose()?;
    let temp = TempFolder::create(&parent)?;
    let generated = temp.path().join("sample");
    let found = match named {
        Some(found) => found,
        None => generate(options, &generated)?,
    };

    let mut stages = vec![files::measure_open(&run, &found)?];
    let (read, cached_share) = files::measure_read(&run, &found)?;
    stages.push(read);
    // In one piece, which an allocator gives back; of a thousand small ones glibc's would keep most.
    let mut buffer = Vec::new();
    let loaded = found.load(options.memory_bytes as u64 / LOADED_PARTS, &mut buffer, options)?;
    let cpu = cpu::measure(&run, &loaded)?;
    stages.extend(cpu.stages);
    let bytes_by_class = bytes_by_class(&loaded);
    drop(buffer);
    // Both on the thread that backs up alone in the end: glibc keeps for each thread what it freed.
    let stores = run.one.install(|| stores::measure(&run, temp.path()))?;
    stages.extend(stores.stages);
    let cache = options.cache_dir.as_deref().filter(|dir| dir.is_dir());
    let cache = cache.map(TempFolder::create).transpose()?;
    let place = cache.as_ref().unwrap_or(&temp).path();
    stages.extend(run.one.install(|| catalog::measure(&run, place))?);
    drop(cache);
    // What the user named may hold the temporary folder.
    let kept = options.sample.is_none().then_some(temp);
    let (backup, done) = first_backup::measure(&run, options.sample.as_deref().unwrap_or(&generated))?;
    stages.push(backup);
    drop(kept);

    Ok(Measurement {
        stages,
        sample: SampleReport {
            path: options.sample.clone(),
            files: found.files.len() as u64,
            bytes: found.bytes,
            is_whole: found.is_whole,
            unreadable: found.unreadable,
            bytes_by_class,
            backup_files: done.files,
            backup_bytes: done.bytes,
        },
        place: parent,
        is_directory: options.is_directory(),
        threads: run.threads,
        cores: std::thread::available_parallelism().map_or(run.threads, usize::from),
        memory_bytes: options.memory_bytes,
        level: options.level,
        other_level: options.other_level(),
        stored_share: cpu.stored_shares[0],
        stored_share_other: cpu.stored_shares[1],
        busy_share_directory: stores.busy_shares[0],
        busy_share_file: stores.busy_shares[1],
        chunk_bytes_mean: cpu.chunk_bytes_mean,
        cached_share,
        features: features(),
        duration: begun.elapsed(),
    })
}

fn generate(options: &MeasureOptions, root: &std::path::Path) -> Result<Found> {
    let failed = |source| Error::File { path: root.to_owned(), action: "write generated data there", source };
    std::fs::create_dir(root).map_err(failed)?;
    let bytes = options.sample_bytes.min(options.disk_bytes / GENERATED_PARTS);
    data::write_tree(root, bytes, &|| options.check_cancel())?;
    // Or it would go to the disk while the stores are measured. If it cannot be asked for, it does that.
    #[cfg(target_os = "linux")]
    let _ = std::fs::File::open(root).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    Found::list(root, options)
}

fn bytes_by_class(loaded: &[Loaded<'_>]) -> [u64; 3] {
    let of = |class| loaded.iter().filter(|piece| piece.class() == class).map(|piece| piece.bytes.len() as u64).sum();
    [of(Class::General), of(Class::Media), of(Class::Sqlite)]
}

/// Returns which instructions the processor has that sealing and hashing use.
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look {
        ($detected:ident, $($feature:tt),*) => {
            $(if std::arch::$detected!($feature) { found.push($feature); })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    look!(is_x86_feature_detected, "aes", "vaes", "avx2", "avx512f");
    #[cfg(target_arch = "aarch64")]
    look!(is_aarch64_feature_detected, "aes", "neon");
    found
}
