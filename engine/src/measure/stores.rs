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
use crate::measure::timing::Rate;
use crate::store::{DirectoryStore, RedbStore, Store};

/// Packs that are written before the first sync; after each sync twice as many, so that a slow disk is found out early.
const FIRST_ROUND: usize = 4;
/// Writing is measured so many times as long as what needs no disk.
const WRITE_TIMES: u32 = 6;
/// What part of the disk space allowed one run may fill.
const SPACE_PARTS: u64 = 8;

/// Measures a directory in the folder `place`, on one core and on all, and one file there.
///
/// # Errors
/// The store's; `Cancelled`.
pub(super) fn measure(run: &Run, place: &Path) -> Result<[StageReport; 2]> {
    run.begin(Stage::StoreDirectory);
    let path = place.join("directory");
    let store = DirectoryStore::create(&path)?;
    let one = write(run, &store, &run.one)?;
    let all = write(run, &store, &run.pool)?;
    drop(store);
    remove(&path)?;
    let directory = StageReport::new(Stage::StoreDirectory, one, Some(all));

    run.begin(Stage::StoreFile);
    let path = place.join("file");
    std::fs::create_dir(&path).map_err(|source| StoreError::from_io(path.display(), "making the folder", source))?;
    let store = RedbStore::create(&path.join("store.redb"), run.options.memory_bytes / 16 * 3)?;
    // One thread stores packs in redb, however many cores there are.
    let one = write(run, &store, &run.one)?;
    drop(store);
    remove(&path)?;
    Ok([directory, StageReport::new(Stage::StoreFile, one, None)])
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path)
        .map_err(|source| StoreError::from_io(path.display(), "removing what was measured with", source).into())
}

/// Writes packs of bytes that nothing compresses, as sealed ones are.
fn write(run: &Run, store: &dyn Store, threads: &ThreadPool) -> Result<Rate> {
    let mut pack = vec![0; store.pack_bytes()];
    Random::new(3).fill(&mut pack);
    let bytes_max = run.options.disk_bytes / SPACE_PARTS;
    let begun = Instant::now();
    let (mut bytes, mut count) = (0, FIRST_ROUND);
    loop {
        threads.install(|| (0..count).into_par_iter().try_for_each(|_| put(run, store, &pack)))?;
        store.sync()?;
        bytes += (count * pack.len()) as u64;
        count *= 2;
        let is_full = bytes + (count * pack.len()) as u64 > bytes_max;
        if is_full || begun.elapsed() >= run.options.stage_time * WRITE_TIMES {
            return Ok(Rate::of(bytes, begun.elapsed()));
        }
    }
}

fn put(run: &Run, store: &dyn Store, pack: &[u8]) -> Result<()> {
    run.options.check_cancel()?;
    let id = random().map_err(|error| StoreError::from_io("random numbers", "ask the system for them", error))?;
    Ok(store.put(&ObjectName::new(ObjectKind::Pack, ObjectId::from_bytes(id)), pack)?)
}
