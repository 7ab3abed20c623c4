//! Dedup against index size: what each average chunk size stores of a series of versions, and what listing it costs.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use daykeep_engine::internals::chunk::{Chunker, Cutter, DEFAULT_PARAMS};
use daykeep_engine::internals::crypt::{Keys, MasterKey};
use daykeep_engine::internals::format::config::{CdcSizes, ChunkerParams};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::internals::hash::chunk_id;

use crate::Outcome;

/// What a chunk costs beyond its bytes: its id in the footer (32), in the index (16) and in a list (16), and the records
/// around them.
const BYTES_PER_CHUNK: u64 = 32 + 16 + 16 + 8;
/// What a chunk takes in the catalog, which is not stored but kept on the local disk.
const CATALOG_BYTES_PER_CHUNK: u64 = 136;

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), found)?;
        } else if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Prints the curve for the files below `folder`, in the order of their paths.
pub fn run(folder: &Path) -> Outcome {
    let mut files = Vec::new();
    files_below(folder, &mut files)?;
    files.sort();
    let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
    let mut out = std::io::stdout().lock();
    writeln!(out, "| average | chunks | unique MB | stored MB (zstd 3) | with lists and index MB | catalog MB |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for bits in 12..=19 {
        let avg = 1u32 << bits;
        let sizes = CdcSizes { min: avg / 4, avg, max: (avg * 4).min(1 << 20) };
        let params = ChunkerParams { general: sizes, ..DEFAULT_PARAMS };
        let chunker = Chunker::new(params, keys.gear());
        let cutter = Cutter::Content(sizes);
        let mut known = HashSet::new();
        let (mut unique, mut stored, mut refs) = (0u64, 0u64, 0u64);
        let mut frame: Vec<u8> = Vec::new();
        let mut flush = |frame: &mut Vec<u8>| -> std::io::Result<()> {
            stored += zstd::bulk::compress(frame, 3)?.len() as u64;
            frame.clear();
            Ok(())
        };
        for file in &files {
            let bytes = fs::read(file)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(chunker.cut(&cutter, rest));
                rest = after;
                refs += 1;
                if known.insert(chunk_id(keys.ids(ChunkKind::Data), chunk).short()) {
                    unique += chunk.len() as u64;
                    // As the engine does: small neighbours are compressed together.
                    if !frame.is_empty() && frame.len() + chunk.len() > 128 * 1024 {
                        flush(&mut frame)?;
                    }
                    frame.extend_from_slice(chunk);
                }
            }
        }
        flush(&mut frame)?;
        let chunks = known.len() as u64;
        // New chunks stand in footer and index, every reference in a list, of which unchanged pieces are shared.
        let all = stored + chunks * BYTES_PER_CHUNK + (refs - chunks) * 2;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            out,
            "| {} KiB | {chunks} | {:.1} | {:.1} | {:.1} | {:.1} |",
            avg / 1024,
            megabytes(unique),
            megabytes(stored),
            megabytes(all),
            megabytes(chunks * CATALOG_BYTES_PER_CHUNK)
        )?;
    }
    Ok(())
}
