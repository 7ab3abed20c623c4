//! The catalog on the disk it would lie on: entering chunks, and looking them up.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::limits::INDEX_FLUSH_CHUNKS;
use crate::base::{ObjectId, RepositoryId, ShortId};
use crate::catalog::{Catalog, CatalogEntry};
use crate::error::Result;
use crate::format::index::{ChunkKind, ChunkLocation, Encoding, FrameLocation, Reach};
use crate::measure::data::Random;
use crate::measure::report::{Stage, StageReport};
use crate::measure::run::Run;
use crate::measure::timing::{Rate, all_cores, one_core};

/// As many chunks at once as a backup enters at once, and at most so many times.
const ROUNDS_MAX: u32 = 4;
/// Entering is measured so many times as long as what needs no disk.
const ADD_TIMES: u32 = 4;
const CHUNKS_PER_PACK: usize = 128;

fn id_of<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// Measures a new catalog in the folder `place`.
///
/// # Errors
/// The catalog's; `Cancelled`.
pub(super) fn measure(run: &Run, place: &Path) -> Result<[StageReport; 2]> {
    run.begin(Stage::CatalogAdd);
    let repository = RepositoryId::from_bytes([1; RepositoryId::LEN]);
    let catalog = Catalog::open(Some(&place.join("catalog")), &repository, run.options.memory_bytes / 16)?;
    let mut random = Random::new(4);
    let mut ids = Vec::new();
    let mut spent = Duration::ZERO;
    for _ in 0..ROUNDS_MAX {
        run.options.check_cancel()?;
        let mut entries = entries(&mut random);
        ids.extend(entries.iter().map(|entry| entry.id));
        let begun = Instant::now();
        catalog.add(&ObjectId::from_bytes(id_of(&mut random)), &mut entries)?;
        spent += begun.elapsed();
        if spent >= run.options.stage_time * ADD_TIMES {
            break;
        }
    }
    let added = StageReport::new(Stage::CatalogAdd, Rate::of(ids.len() as u64, spent), None);

    run.begin(Stage::CatalogFind);
    // Half of what a backup asks for is new, on an ordinary day.
    ids.iter_mut().step_by(2).for_each(|id| *id = ShortId::from_bytes(id_of(&mut random)));
    let work = |(): &mut (), id: &ShortId| {
        std::hint::black_box(catalog.find(id)?);
        Ok(1)
    };
    let one = one_core(&run.options, &ids, &mut (), &work)?;
    let all = all_cores(&run.options, &run.pool, &ids, &|| Ok(()), &work)?;
    Ok([added, StageReport::new(Stage::CatalogFind, one, Some(all))])
}

fn entries(random: &mut Random) -> Vec<CatalogEntry> {
    let mut pack = ObjectId::from_bytes([0; ObjectId::LEN]);
    let entry = |number: usize| {
        if number.is_multiple_of(CHUNKS_PER_PACK) {
            pack = ObjectId::from_bytes(id_of(random));
        }
        let number = (number % CHUNKS_PER_PACK) as u32;
        let (sealed_bytes, plain_bytes) = (12_000, 32_768);
        let offset = 64 + number * sealed_bytes;
        let frame = FrameLocation { pack, offset, sealed_bytes, plain_bytes, encoding: Encoding::Zstd };
        let (stored_bytes, kind, reach) = (plain_bytes, ChunkKind::Data, Reach::default());
        let location = ChunkLocation { frame, offset: 0, stored_bytes, bytes: plain_bytes, kind, reach };
        CatalogEntry { id: ShortId::from_bytes(id_of(random)), location, bases: Box::default() }
    };
    (0..INDEX_FLUSH_CHUNKS).map(entry).collect()
}
