//! The disk of the repository: packs written to a new store of each kind, and synced.

use std::path::Path;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::crypt::random;
use crate::error::{Result, StoreError};
use crate::measure::data::Random;
use crate::measure::report::{Stage, StageReport};
use crate::measure::run::Run;
use crate::measure::timing::{Rate, processor_time};
use crate::store::{DirectoryStore, RedbStore, Store};

/// Packs that are written before the first sync; after each sync twice as many, so that a slow disk is found out early.
const FIRST_ROUND: usize = 4;
/// Writing is measured so many times as long as what needs no disk.
const WRITE_TIMES: u32 = 6;
/// What part of the disk space allowed one run may fill.
const SPACE_PARTS: u64 = 8;

/// What the stores say.
pub(super) struct Stores {
    pub stages: [StageReport; 2],
    /// What part of all cores' time storing takes from processing, in a directory and in one file: all of it in memory,
    /// little of it where a slow disk is waited for.
    pub busy_shares: [f64; 2],
}

/// Measures a directory in the folder `place`, on one core and on all, and one file there.
///
/// # Errors
/// The store's; `Cancelled`.
pub(super) fn measure(run: &Run, place: &Path) -> Result<Stores> {
    run.begin(Stage::StoreDirectory);
    let path = place.join("directory");
    let store = DirectoryStore::create(&path)?;
    let (one, _) = write(run, &store, &run.one)?;
    let (all, directory_busy) = write(run, &store, &run.pool)?;
    drop(store);
    remove(&path)?;
    let directory = StageReport::new(Stage::StoreDirectory, one, Some(all));

    run.begin(Stage::StoreFile);
    let path = place.join("file");
    std::fs::create_dir(&path).map_err(|source| StoreError::from_io(path.display(), "making the folder", source))?;
    let store = RedbStore::create(&path.join("store.redb"), run.options.memory_bytes / 16 * 3)?;
    // One thread stores packs in redb, however many cores there are.
    let (one, file_busy) = write(run, &store, &run.one)?;
    drop(store);
    remove(&path)?;
    let file = StageReport::new(Stage::StoreFile, one, None);
    Ok(Stores { stages: [directory, file], busy_shares: [directory_busy, file_busy] })
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path)
        .map_err(|source| StoreError::from_io(path.display(), "removing what was measured with", source).into())
}

/// Writes packs of bytes that nothing compresses, as sealed ones are. Returns how fast that is, and what part of the time
/// of all of the run's threads the processor was busy with it.
fn write(run: &Run, store: &dyn Store, threads: &ThreadPool) -> Result<(Rate, f64)> {
    let mut pack = vec![0; store.pack_bytes()];
    Random::new(3).fill(&mut pack);
    let bytes_max = run.options.disk_bytes / SPACE_PARTS;
    let (begun, processor) = (Instant::now(), processor_time());
    let (mut bytes, mut count) = (0, FIRST_ROUND);
    loop {
        threads.install(|| (0..count).into_par_iter().try_for_each(|_| put(run, store, &pack)))?;
        store.sync()?;
        bytes += (count * pack.len()) as u64;
        count *= 2;
        let is_full = bytes + (count * pack.len()) as u64 > bytes_max;
        if is_full || begun.elapsed() >= run.options.stage_time * WRITE_TIMES {
            let span = begun.elapsed();
            let used = processor_time().saturating_sub(processor).as_secs_f64();
            let busy = used / (span.as_secs_f64().max(1e-9) * run.threads as f64);
            return Ok((Rate::of(bytes, span), busy.clamp(0.0, 1.0)));
        }
    }
}

fn put(run: &Run, store: &dyn Store, pack: &[u8]) -> Result<()> {
    run.options.check_cancel()?;
    let id = random().map_err(|error| StoreError::from_io("random numbers", "ask the system for them", error))?;
    Ok(store.put(&ObjectName::new(ObjectKind::Pack, ObjectId::from_bytes(id)), pack)?)
}
