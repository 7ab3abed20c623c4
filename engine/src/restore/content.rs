//! The bytes of one file: written, read back and compared.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::base::limits::MIB;
use crate::base::{Event, ShortId, lock};
use crate::chunks::Wanted;
use crate::error::{Error, Result};
use crate::format::content::{Content, Part};
use crate::format::index::ChunkKind;
use crate::format::tree::Class;
use crate::restore::run::Restore;
use crate::restore::taker::Output;
use crate::restore::target_dir::file_error;
use crate::source::data_extents;
use crate::tree;

/// Files up to this size are written by one thread, in one call if they have no holes.
const SMALL_BYTES_MAX: u64 = 2 * MIB as u64;
/// Chunks that lie one after the other are written together up to about this many bytes.
const RUN_BYTES: u64 = 512 * 1024;
/// How many runs of a large file wait for the workers at once.
const RUNS_MAX: usize = 256;
/// So many chunks of a file that may be of deltas are read at once, on all cores: what they stand on lies here and there.
const CHUNKS_AT_ONCE: usize = 128 * 1024;

/// Chunks that lie one after the other in a file.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: u64,
    chunks: Vec<(ShortId, u64)>,
}

impl Restore<'_> {
    /// Writes a content into an empty file and returns how many bytes it sent as progress on the way.
    pub fn write(&self, file: &dyn Output, content: &Content, class: Class, path: &Path) -> Result<u64> {
        let total = content.bytes();
        let failed = |source: std::io::Error| file_error(path.to_owned(), "write the file", source);
        let only_chunks = content.level == 0 && content.parts.iter().all(|part| matches!(part, Part::Chunk { .. }));
        if total <= SMALL_BYTES_MAX && only_chunks {
            let mut buffer = lock(&self.buffers).pop().unwrap_or_default();
            buffer.clear();
            let chunk = |part: &Part| match part {
                Part::Chunk { id, bytes } => Some((*id, *bytes)),
                Part::Hole { .. } => None,
            };
            let chunks: Vec<_> = content.parts.iter().filter_map(chunk).collect();
            let read = self.reader.read_run(&chunks, ChunkKind::Data, &mut buffer);
            let written = read
                .and_then(|()| if buffer.is_empty() { Ok(()) } else { file.write_all_at(&buffer, 0).map_err(failed) });
            lock(&self.buffers).push(buffer);
            return written.map(|()| 0);
        }
        // What is not written below stays a hole.
        file.set_len(total).map_err(failed)?;
        let told = AtomicU64::new(0);
        if class != Class::Media {
            self.scattered(content, &|at, bytes| {
                file.write_all_at(bytes, at).map_err(failed)?;
                told.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.send(&Event::Progress { files: 0, bytes: bytes.len() as u64 });
                Ok(())
            })?;
            return Ok(told.into_inner());
        }
        self.in_runs(content, &|run| {
            let mut buffer = lock(&self.buffers).pop().unwrap_or_default();
            buffer.clear();
            let read = self.reader.read_run(&run.chunks, ChunkKind::Data, &mut buffer);
            let written = read.and_then(|()| file.write_all_at(&buffer, run.offset).map_err(failed));
            lock(&self.buffers).push(buffer);
            told.fetch_add(run.bytes, Ordering::Relaxed);
            self.send(&Event::Progress { files: 0, bytes: run.bytes });
            written
        })?;
        Ok(told.into_inner())
    }

    /// Calls `sink` with all bytes of a content, in any order, many at once.
    fn scattered(&self, content: &Content, sink: &(dyn Fn(u64, &[u8]) -> Result<()> + Sync)) -> Result<()> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut at = 0;
        let scatter = |wanted: &mut Vec<Wanted>| {
            let outcome = self.reader.scatter(wanted, ChunkKind::Data, &|at, bytes| {
                self.check_cancel()?;
                sink(at, bytes)
            });
            wanted.clear();
            outcome
        };
        tree::for_each_part(&self.reader, content, &mut |part| {
            if let Part::Chunk { id, bytes } = part {
                wanted.push(Wanted { id, bytes, at });
                if wanted.len() == CHUNKS_AT_ONCE {
                    scatter(&mut wanted)?;
                }
            }
            at += part.bytes();
            Ok(())
        })?;
        scatter(&mut wanted)
    }

    /// Calls `work` with all runs of a content, many at once.
    fn in_runs(&self, content: &Content, work: &(dyn Fn(&Run) -> Result<()> + Sync)) -> Result<()> {
        let work = |runs: &mut Vec<Run>| {
            let outcome = runs.par_iter().try_for_each(|run| {
                self.check_cancel()?;
                work(run)
            });
            runs.clear();
            outcome
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut at = 0;
        tree::for_each_part(&self.reader, content, &mut |part| {
            if let Part::Chunk { id, bytes } = part {
                match runs.last_mut() {
                    Some(run) if run.offset + run.bytes == at && run.bytes + bytes <= RUN_BYTES => {
                        run.bytes += bytes;
                        run.chunks.push((id, bytes));
                    }
                    _ => {
                        if runs.len() >= RUNS_MAX {
                            work(&mut runs)?;
                        }
                        runs.push(Run { offset: at, bytes, chunks: vec![(id, bytes)] });
                    }
                }
            }
            at += part.bytes();
            Ok(())
        })?;
        work(&mut runs)
    }

    /// Compares a file with a content and warns if they differ; returns whether they do not.
    pub fn verify(&self, file: &File, content: &Content, path: &Path) -> Result<bool> {
        let difference = self.difference(file, content, path)?;
        let is_same = difference.is_none();
        if let Some(difference) = difference {
            self.warn(path, difference);
        } else {
            self.files_verified.fetch_add(1, Ordering::Relaxed);
        }
        Ok(is_same)
    }

    /// Compares a file that was just written with its content.
    ///
    /// # Errors
    /// If they differ: then it gets no name.
    pub fn verify_new(&self, file: &File, content: &Content, path: &Path) -> Result<()> {
        if let Some(difference) = self.difference(file, content, path)? {
            let source = std::io::Error::other(difference);
            return Err(Error::File { path: path.to_owned(), action: "read the restored file back", source });
        }
        self.files_verified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Compares a file with a content and says in what they differ.
    pub fn difference(&self, file: &File, content: &Content, path: &Path) -> Result<Option<String>> {
        let failed = |source| Error::File { path: path.to_owned(), action: "read the file back", source };
        let found = file.metadata().map_err(failed)?.len();
        let wanted = content.bytes();
        if found != wanted {
            return Ok(Some(format!("differs when read back: has {found} bytes instead of {wanted}")));
        }
        let differs = AtomicBool::new(false);
        self.scattered(content, &|at, wanted| {
            let mut found = lock(&self.buffers).pop().unwrap_or_default();
            found.resize(wanted.len(), 0);
            let outcome = file.read_exact_at(&mut found, at).map_err(failed);
            if outcome.is_ok() && found != wanted {
                differs.store(true, Ordering::Relaxed);
            }
            lock(&self.buffers).push(found);
            outcome
        })?;
        let message = "differs when read back; check the target's disk and restore again";
        let differs = differs.into_inner() || self.fills_holes(file, content, path)?;
        Ok(differs.then(|| message.to_owned()))
    }

    /// Returns whether a file has anything but zeros where a content has holes.
    fn fills_holes(&self, file: &File, content: &Content, path: &Path) -> Result<bool> {
        if content.level == 0 && content.parts.iter().all(|part| matches!(part, Part::Chunk { .. })) {
            return Ok(false);
        }
        let failed = |source| Error::File { path: path.to_owned(), action: "read the file back", source };
        let extents = data_extents(file, content.bytes()).map_err(failed)?;
        let (mut buffer, mut at, mut is_filled) = (vec![0; MIB], 0, false);
        tree::for_each_part(&self.reader, content, &mut |part| {
            let end = at + part.bytes();
            let first = extents.partition_point(|extent| extent.offset + extent.bytes <= at);
            let is_hole = matches!(part, Part::Hole { .. });
            for extent in extents[first..].iter().take_while(|extent| is_hole && extent.offset < end) {
                let (mut from, to) = (extent.offset.max(at), (extent.offset + extent.bytes).min(end));
                while from < to && !is_filled {
                    self.check_cancel()?;
                    let piece = &mut buffer[..(to - from).min(MIB as u64) as usize];
                    file.read_exact_at(piece, from).map_err(failed)?;
                    is_filled = piece.iter().any(|&byte| byte != 0);
                    from += piece.len() as u64;
                }
            }
            at = end;
            Ok(())
        })?;
        Ok(is_filled)
    }
}
