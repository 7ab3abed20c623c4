//! The stages that need nothing but the processor: cutting, hashing, compressing, sealing.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::limits::{FRAME_BYTES_MAX, FRAME_BYTES_TARGET};
use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::chunk::sniff;
use crate::compress::{Compressor, looks_compressed_inside, looks_incompressible};
use crate::crypt::BadSeal;
use crate::error::{Error, Result, StoreError};
use crate::format::header::TAG_BYTES;
use crate::format::index::ChunkKind;
use crate::format::tree::Class;
use crate::hash;
use crate::measure::report::{Stage, StageReport};
use crate::measure::run::Run;
use crate::measure::sample::Loaded;
use crate::measure::timing::{Rate, all_cores, one_core};

/// A run of bytes that is compressed or kept as one frame.
struct Frame<'a> {
    bytes: &'a [u8],
    class: Class,
    is_raw: bool,
}

/// What the stages of the processor say.
pub(super) struct Cpu {
    pub stages: Vec<StageReport>,
    /// What is left of a byte, at the level asked for and at the other one.
    pub stored_shares: [f64; 2],
    pub chunk_bytes_mean: f64,
}

/// Measures all of them.
///
/// # Errors
/// `Cancelled`; if memory is short.
pub(super) fn measure(run: &Run, loaded: &[Loaded<'_>]) -> Result<Cpu> {
    let mut stages = vec![measure_chunk(run, loaded)?];
    let cut: Vec<(&Loaded<'_>, Vec<Range<usize>>)> =
        loaded.iter().map(|piece| (piece, chunks_of(run, piece))).collect();
    let chunks: Vec<&[u8]> =
        cut.iter().flat_map(|(piece, ranges)| ranges.iter().map(|range| &piece.bytes[range.clone()])).collect();
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let chunk_bytes_mean = bytes as f64 / chunks.len().max(1) as f64;
    stages.push(measure_hash(run, &chunks)?);
    let frames: Vec<Frame<'_>> = cut.iter().flat_map(|(piece, ranges)| frames_of(piece, ranges)).collect();
    let (own, other) = (run.options.level, run.options.other_level());
    let (stage, share) = measure_compress(run, Stage::Compress, own, &frames)?;
    let (other_stage, other_share) = measure_compress(run, Stage::CompressOther, other, &frames)?;
    stages.extend([stage, other_stage, measure_seal(run, &frames)?]);
    Ok(Cpu { stages, stored_shares: [share, other_share], chunk_bytes_mean })
}

/// Measures one stage on one core and on all.
fn both<T: Sync, S>(
    run: &Run,
    stage: Stage,
    items: &[T],
    new_state: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S, &T) -> Result<u64> + Sync,
) -> Result<StageReport> {
    run.begin(stage);
    let one = one_core(&run.options, items, &mut new_state()?, &work)?;
    let all = all_cores(&run.options, &run.pool, items, &new_state, &work)?;
    Ok(StageReport::new(stage, one, Some(all)))
}

fn chunks_of(run: &Run, piece: &Loaded<'_>) -> Vec<Range<usize>> {
    let chunker = &run.repository.chunker;
    let cutter = chunker.cutter(sniff(piece.head()));
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < piece.bytes.len() {
        let end = at + chunker.cut(&cutter, &piece.bytes[at..]);
        chunks.push(at..end);
        at = end;
    }
    chunks
}

fn measure_chunk(run: &Run, loaded: &[Loaded<'_>]) -> Result<StageReport> {
    both(
        run,
        Stage::Chunk,
        loaded,
        || Ok(()),
        |(), piece| {
            std::hint::black_box(chunks_of(run, piece));
            Ok(piece.bytes.len() as u64)
        },
    )
}

fn measure_hash(run: &Run, chunks: &[&[u8]]) -> Result<StageReport> {
    let key = run.repository.codec.keys.ids(ChunkKind::Data);
    both(
        run,
        Stage::Hash,
        chunks,
        || Ok(()),
        |(), chunk| {
            std::hint::black_box(hash::chunk_id(key, chunk));
            Ok(chunk.len() as u64)
        },
    )
}

fn is_kept_raw(class: Class, bytes: &[u8]) -> bool {
    match class {
        Class::Media => looks_compressed_inside(bytes),
        Class::General | Class::Sqlite | Class::EncryptedPages => looks_incompressible(bytes),
    }
}

/// Gathers neighbours that look compressible into frames, as the chunk writer does.
fn frames_of<'a>(piece: &Loaded<'a>, chunks: &[Range<usize>]) -> Vec<Frame<'a>> {
    let class = piece.class();
    let mut frames: Vec<(Range<usize>, bool)> = Vec::new();
    for chunk in chunks {
        let is_raw = is_kept_raw(class, &piece.bytes[chunk.clone()]);
        match frames.last_mut() {
            Some((range, false)) if !is_raw && chunk.end - range.start <= FRAME_BYTES_TARGET => range.end = chunk.end,
            _ => frames.push((chunk.clone(), is_raw)),
        }
    }
    frames.into_iter().map(|(range, is_raw)| Frame { bytes: &piece.bytes[range], class, is_raw }).collect()
}

/// Decides of each frame whether to compress it, and does. The rate is that of all bytes, also of those that are kept as
/// they are.
fn measure_compress(run: &Run, stage: Stage, level: i32, frames: &[Frame<'_>]) -> Result<(StageReport, f64)> {
    let (plain, stored) = (AtomicU64::new(0), AtomicU64::new(0));
    let no_memory = |error| Error::from(StoreError::from_io("zstd", "ask for memory", error));
    let new_state = || Ok((Compressor::new(level).map_err(no_memory)?, Vec::new()));
    let report = both(run, stage, frames, new_state, |(compressor, out), frame: &Frame<'_>| {
        let mut stored_bytes = frame.bytes.len();
        // The decision is part of the cost; what it says was noted before.
        let decided = std::hint::black_box(is_kept_raw(frame.class, frame.bytes));
        if !frame.is_raw && (compressor.compress(frame.bytes, out).map_err(no_memory)? || decided) {
            stored_bytes = out.len().min(stored_bytes);
        }
        plain.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
        stored.fetch_add(stored_bytes as u64, Ordering::Relaxed);
        Ok(frame.bytes.len() as u64)
    })?;
    Ok((report, stored.into_inner() as f64 / plain.into_inner().max(1) as f64))
}

fn measure_seal(run: &Run, frames: &[Frame<'_>]) -> Result<StageReport> {
    let codec = &run.repository.codec;
    let new_state = || {
        let name = ObjectName::new(ObjectKind::Pack, ObjectId::from_bytes([1; 32]));
        Ok((codec.keys.object(&name), codec.header(&name), 0u64, vec![0; FRAME_BYTES_MAX + TAG_BYTES]))
    };
    both(run, Stage::Seal, frames, new_state, |(key, header, position, out), frame: &Frame<'_>| {
        let out = &mut out[..frame.bytes.len() + TAG_BYTES];
        let failed = |BadSeal| Error::LimitExceeded { object: "a frame".into(), reason: "could not be sealed".into() };
        key.seal(*position, header, frame.bytes, out).map_err(failed)?;
        *position += out.len() as u64;
        Ok(frame.bytes.len() as u64)
    })
}

impl StageReport {
    /// Puts the rates of a stage together.
    pub(super) fn new(stage: Stage, one: Rate, all: Option<Rate>) -> Self {
        Self {
            stage,
            one_core: one.per_second,
            all_cores: all.map(|rate| rate.per_second),
            amount: one.amount + all.map_or(0, |rate| rate.amount),
        }
    }
}
