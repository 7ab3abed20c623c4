//! What the later versions of a file in blocks of equal length take as deltas, beside `zstd --patch-from`.
//!
//! The engine's own way to find bases and to make deltas, without a repository: bodies only, without ids, lists and
//! index. So block length, depth, closure and level can be chosen from measured curves.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use daykeep_datasets::random::Random;
use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::delta::{Candidate, DeltaEncoder, Similar, Sketch, likely_bases};
use daykeep_engine::internals::hash::chunk_id;
use zstd::zstd_safe::{self, CCtx, CParameter};

use crate::Outcome;

/// How deltas are made.
#[derive(Debug, Args)]
pub struct Options {
    /// The versions, the oldest first
    #[arg(required = true, value_name = "FILE")]
    versions: Vec<PathBuf>,
    /// The length of a block in bytes
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(512..=65_536))]
    block: u32,
    /// The most other blocks that one needs
    #[arg(long, default_value_t = 31)]
    closure: usize,
    /// The most bases of a block
    #[arg(long, default_value_t = 4)]
    bases: usize,
    /// How many blocks more a base beside the first may make one need
    #[arg(long, default_value_t = 8)]
    beside: usize,
    /// zstd's level for deltas
    #[arg(long, default_value_t = 6)]
    level: i32,
    /// The length of the frames in KiB in which new blocks are compressed together
    #[arg(long, default_value_t = 1024)]
    frame: usize,
    /// zstd's level for frames
    #[arg(long, default_value_t = 3)]
    frame_level: i32,
}

/// A delta takes so much more in its records.
const OVERHEAD_BYTES: usize = 64;

/// A stored block.
struct Known {
    bytes: Vec<u8>,
    /// The nearest last.
    bases: Vec<ShortId>,
    /// What it stands on, bases of bases included.
    needs: HashSet<ShortId>,
}

/// What one version took.
#[derive(Default)]
struct Taken {
    deltas: usize,
    delta_bytes: usize,
    bases: usize,
    needs: usize,
    wholes: usize,
    whole_bytes: usize,
}

#[derive(Default)]
struct Series {
    known: HashMap<ShortId, Known>,
    /// The last version's blocks.
    last: Vec<(ShortId, Sketch)>,
}

/// Prints a line for each version, and the sums of the later ones.
pub fn run(options: &Options) -> Outcome {
    let mut random = Random(5);
    let gear: [u64; 256] = std::array::from_fn(|_| random.next());
    let mut series = Series::default();
    let mut last_file: Vec<u8> = Vec::new();
    let (mut sum, mut sum_of_patches) = (0, 0);
    let mut out = std::io::stdout().lock();
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    for version in &options.versions {
        let file = fs::read(version).map_err(|error| format!("{}: {error}", version.display()))?;
        let is_first = last_file.is_empty();
        let taken = series.add(options, &gear, &file)?;
        let patch = if is_first { 0 } else { patch_bytes(&last_file, &file)? };
        let share = |count: usize| count as f64 / taken.deltas.max(1) as f64;
        writeln!(
            out,
            "{}: {} deltas of {:.2} bases and {:.1} chunks, {:.3} MB; {} whole, {:.3} MB; together {:.3} MB; patch {:.3} MB",
            version.display(),
            taken.deltas,
            share(taken.bases),
            share(taken.needs),
            megabytes(taken.delta_bytes),
            taken.wholes,
            megabytes(taken.whole_bytes),
            megabytes(taken.delta_bytes + taken.whole_bytes),
            megabytes(patch),
        )?;
        if !is_first {
            sum += taken.delta_bytes + taken.whole_bytes;
            sum_of_patches += patch;
        }
        last_file = file;
    }
    writeln!(out, "later versions: {:.3} MB, patches {:.3} MB", megabytes(sum), megabytes(sum_of_patches))?;
    Ok(())
}

impl Series {
    fn add(&mut self, options: &Options, gear: &[u64; 256], file: &[u8]) -> std::io::Result<Taken> {
        let block = options.block as usize;
        let mut blocks = Vec::new();
        let mut new: Vec<(usize, ShortId, Sketch)> = Vec::new();
        let mut seen = HashSet::new();
        for (at, bytes) in file.chunks(block).enumerate() {
            let id = chunk_id(&[1; 32], bytes).short();
            let sketch = Sketch::of(gear, bytes);
            blocks.push((id, sketch));
            if !self.known.contains_key(&id) && seen.insert(id) {
                new.push((at, id, sketch));
            }
        }
        let sketches: Vec<Sketch> = new.iter().map(|(.., sketch)| *sketch).collect();
        let mut similar = Similar::new(&sketches);
        (0..).zip(&self.last).for_each(|(old, (_, sketch))| similar.show(old, sketch));
        let mut taken = Taken::default();
        let (mut whole, mut added) = (Vec::new(), Vec::new());
        for ((at, id, _), candidates) in new.iter().zip(similar.finish()) {
            let bytes = &file[at * block..file.len().min((at + 1) * block)];
            let chosen = self.choose(options, &self.candidates(options, *at, &candidates));
            let mut known = Known { bytes: bytes.to_vec(), bases: Vec::new(), needs: HashSet::new() };
            match self.delta(options, &chosen.bases, bytes)? {
                Some(delta) => {
                    taken.deltas += 1;
                    taken.delta_bytes += delta;
                    taken.bases += chosen.bases.len();
                    taken.needs += chosen.needs.len();
                    known = Known { bytes: known.bytes, ..chosen };
                }
                None => {
                    taken.wholes += 1;
                    whole.extend_from_slice(bytes);
                }
            }
            added.push((*id, known));
        }
        self.known.extend(added);
        self.last = blocks;
        for frame in whole.chunks(options.frame * 1024) {
            taken.whole_bytes += zstd::bulk::compress(frame, options.frame_level)?.len();
        }
        Ok(taken)
    }

    /// Returns what the block at `at` may stand on, the best first.
    fn candidates(&self, options: &Options, at: usize, candidates: &[Candidate]) -> Vec<ShortId> {
        let in_place = self.last.get(at).map(|(id, _)| *id);
        likely_bases(in_place.as_slice(), candidates, |old| self.last[old as usize].0, options.bases)
    }

    /// Chooses among `candidates`, the best first, what a block can stand on together.
    fn choose(&self, options: &Options, candidates: &[ShortId]) -> Known {
        let mut chosen = Known { bytes: Vec::new(), bases: Vec::new(), needs: HashSet::new() };
        for &candidate in candidates {
            if chosen.bases.len() == options.bases {
                break;
            }
            let more_max = if chosen.bases.is_empty() { options.closure } else { options.beside };
            let needs_max = options.closure.min(chosen.needs.len() + more_max);
            for id in [candidate, self.bottom(candidate)] {
                if chosen.bases.contains(&id) {
                    break;
                }
                let needs: HashSet<ShortId> =
                    chosen.needs.iter().chain(&self.known[&id].needs).chain([&id]).copied().collect();
                if needs.len() <= needs_max {
                    chosen.needs = needs;
                    chosen.bases.insert(0, id);
                    break;
                }
            }
        }
        chosen
    }

    /// Returns the whole block at the bottom of the way down from `id`.
    fn bottom(&self, mut id: ShortId) -> ShortId {
        while let Some(&base) = self.known[&id].bases.last() {
            id = base;
        }
        id
    }

    /// Returns how long the delta is, if that is clearly less than the block takes alone.
    fn delta(&self, options: &Options, bases: &[ShortId], bytes: &[u8]) -> std::io::Result<Option<usize>> {
        if bases.is_empty() {
            return Ok(None);
        }
        let prefix: Vec<u8> = bases.iter().flat_map(|id| self.known[id].bytes.iter().copied()).collect();
        let mut delta = Vec::new();
        DeltaEncoder::new(options.level)?.encode(&prefix, bytes, &mut delta)?;
        let alone = zstd::bulk::compress(bytes, options.frame_level)?.len();
        Ok(Some(delta.len()).filter(|delta| delta + OVERHEAD_BYTES < alone))
    }
}

/// Returns how long the patch is that `zstd -3 --long=31 --patch-from` makes.
fn patch_bytes(before: &[u8], after: &[u8]) -> Result<usize, Box<dyn std::error::Error>> {
    let failed = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
    let mut context = CCtx::try_create().ok_or("zstd cannot have its memory")?;
    let window = CParameter::WindowLog((before.len() + after.len()).max(2).ilog2().clamp(20, 30) + 1);
    for parameter in [CParameter::CompressionLevel(3), CParameter::EnableLongDistanceMatching(true), window] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(before).map_err(failed)?;
    let mut patch = Vec::with_capacity(zstd_safe::compress_bound(after.len()));
    Ok(context.compress2(&mut patch, after).map_err(failed)?)
}
