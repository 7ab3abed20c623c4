//! What the later versions of a file in fixed blocks cost as deltas, beside `zstd --patch-from`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::time::Instant;

use daykeep_engine::internals::crypt::{Keys, MasterKey};
use daykeep_engine::internals::delta::{DeltaEncoder, Similar, Sketch, decode};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::internals::hash::chunk_id;

use crate::Outcome;

type Id = [u8; 16];

struct Known {
    bytes: Vec<u8>,
    depth: u8,
    closure: HashSet<Id>,
    bases: Vec<Id>,
}


/// Prints, for each version, what is new and what it costs. `numbers`: block, depth, bases, level.
pub fn run(numbers: &[u64], files: &[&str]) -> Outcome {
    let [block, depth_max, bases_max, level] = [numbers[0] as usize, numbers[1] as usize, numbers[2] as usize, numbers[3] as usize];
    let env = |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (closure_max, shared_min, frame, frame_level) = (env("CLOSURE", 32), env("SHARED", 1), env("FRAME", 256) * 1024, env("FLEVEL", 1));
    let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
    let gear: &[u64; 256] = &std::array::from_fn(|i| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&chunk_id(&[3; 32], &[i as u8]).as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    });
    let mut known: HashMap<Id, Known> = HashMap::new();
    let mut previous: Vec<(Id, Sketch)> = Vec::new();
    let mut previous_file: Vec<u8> = Vec::new();
    let mut out = std::io::stdout().lock();
    let (mut sum, mut sum_patch) = (0, 0);
    for (number, file) in files.iter().enumerate() {
        let bytes = fs::read(file)?;
        let mut sketching = std::time::Duration::ZERO;
        let mut parts: Vec<(Id, Sketch)> = Vec::new();
        let mut fresh: Vec<(usize, Id, Sketch)> = Vec::new();
        let mut seen = HashSet::new();
        for (at, chunk) in bytes.chunks(block).enumerate() {
            let id = *chunk_id(keys.ids(ChunkKind::Data), chunk).short().as_bytes();
            if let Some((old, sketch)) = previous.get(at)
                && *old == id
            {
                parts.push((id, *sketch));
                continue;
            }
            let begun = Instant::now();
            let sketch = Sketch::of(gear, chunk);
            sketching += begun.elapsed();
            parts.push((id, sketch));
            if !known.contains_key(&id) && seen.insert(id) {
                fresh.push((at, id, sketch));
            }
        }
        let begun = Instant::now();
        let mut similar = Similar::new(&fresh.iter().map(|(_, _, sketch)| *sketch).collect::<Vec<_>>());
        for (old, (_, sketch)) in (0u32..).zip(&previous) {
            similar.show(old, sketch);
        }
        let candidates = similar.finish();
        let joining = begun.elapsed();
        // Choose bases.
        let mut chosen: Vec<Vec<Id>> = Vec::new();
        let mut arena = Vec::new();
        let mut ranges = Vec::new();
        for ((at, _, _), candidates) in fresh.iter().zip(&candidates) {
            let mut bases: Vec<Id> = Vec::new();
            let mut closure: HashSet<Id> = HashSet::new();
            let own = previous.get(*at).map(|(id, _)| *id);
            let others = candidates.iter().filter(|(_, shared)| usize::from(*shared) >= shared_min).map(|(old, _)| previous[*old as usize].0);
            let mut tried: Vec<Id> = own.into_iter().chain(others).collect();
            tried.reverse();
            let mut falls = env("FALLS", 0);
            while let Some(id) = tried.pop() {
                if bases.len() == bases_max || bases.contains(&id) {
                    continue;
                }
                let base = &known[&id];
                if usize::from(base.depth) >= depth_max {
                    if falls > 0 {
                        falls -= 1;
                        tried.extend(base.bases.iter().rev());
                    }
                    continue;
                }
                let mut union = closure.clone();
                union.extend(&base.closure);
                union.insert(id);
                if union.len() < closure_max {
                    closure = union;
                    bases.push(id);
                } else if falls > 0 {
                    falls -= 1;
                    tried.extend(base.bases.iter().rev());
                }
            }
            let start = arena.len();
            // The most similar last: near matches are cheaper.
            for id in bases.iter().rev() {
                arena.extend_from_slice(&known[id].bytes);
            }
            ranges.push(start..arena.len());
            chosen.push(bases);
        }
        let begun = Instant::now();
        let mut encoder = DeltaEncoder::new(level as i32)?;
        let (mut deltas, mut delta_bytes, mut base_count, mut closures) = (0, 0, 0, 0);
        let mut whole: Vec<u8> = Vec::new();
        let mut wholes = 0;
        let mut delta = Vec::new();
        let mut added = Vec::new();
        for (((at, id, _), bases), range) in fresh.iter().zip(&chosen).zip(ranges) {
            let chunk = &bytes[at * block..((at + 1) * block).min(bytes.len())];
            let alone = zstd::bulk::compress(chunk, 1)?.len();
            let mut entry = Known { bytes: chunk.to_vec(), depth: 0, closure: HashSet::new(), bases: Vec::new() };
            if !bases.is_empty() {
                encoder.encode(&arena[range.clone()], chunk, &mut delta)?;
            }
            if !bases.is_empty() && delta.len() + 60 < alone {
                let mut back = vec![0; chunk.len()];
                decode(&arena[range], &delta, &mut back)?;
                assert_eq!(back, chunk);
                deltas += 1;
                closures += closure_of(bases, &known);
                delta_bytes += delta.len();
                base_count += bases.len();
                entry.bases = bases.clone();
                entry.depth = bases.iter().map(|id| known[id].depth).max().unwrap_or(0) + 1;
                for id in bases {
                    entry.closure.extend(&known[id].closure);
                    entry.closure.insert(*id);
                }
            } else {
                wholes += 1;
                whole.extend_from_slice(chunk);
            }
            added.push((*id, entry));
        }
        known.extend(added);
        let encoding = begun.elapsed();
        let mut whole_bytes = 0;
        for frame in whole.chunks(frame) {
            whole_bytes += zstd::bulk::compress(frame, frame_level as i32)?.len();
        }
        let mut patch = 0;
        if number > 0 {
            let mut patcher = zstd::bulk::Compressor::new(3)?;
            patcher.set_parameter(zstd::zstd_safe::CParameter::EnableLongDistanceMatching(true))?;
            patcher.set_parameter(zstd::zstd_safe::CParameter::WindowLog(30))?;
            drop(patcher);
            let mut context = zstd::zstd_safe::CCtx::create();
            use zstd::zstd_safe::CParameter as P;
            for parameter in [P::CompressionLevel(3), P::EnableLongDistanceMatching(true), P::WindowLog(30)] {
                context.set_parameter(parameter).map_err(|_| "zstd")?;
            }
            context.ref_prefix(&previous_file).map_err(|_| "zstd")?;
            let mut buffer = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
            patch = context.compress2(&mut buffer, &bytes).map_err(|_| "zstd")?;
            sum += delta_bytes + whole_bytes;
            sum_patch += patch;
        }
        writeln!(
            out,
            "{file}: {} blocks, {} new: {deltas} deltas {:.3} MB ({:.2} bases, closure {:.1}), {wholes} whole {:.3} MB; bodies {:.3} MB; patch {:.3} MB; sketch {:.0?} join {:.0?} encode {:.0?}",
            parts.len(), fresh.len(), delta_bytes as f64 / 1e6, base_count as f64 / f64::from(deltas.max(1)), closures as f64 / f64::from(deltas.max(1)),
            whole_bytes as f64 / 1e6, (delta_bytes + whole_bytes) as f64 / 1e6, patch as f64 / 1e6, sketching, joining, encoding
        )?;
        previous = parts;
        previous_file = bytes;
    }
    writeln!(out, "later versions: bodies {:.3} MB, patches {:.3} MB", f64::from(sum as u32) / 1e6, sum_patch as f64 / 1e6)?;
    Ok(())
}

fn closure_of(bases: &[Id], known: &HashMap<Id, Known>) -> usize {
    let mut all: HashSet<Id> = bases.iter().copied().collect();
    for id in bases {
        all.extend(&known[id].closure);
    }
    all.len()
}
