//! Restores one file, link or device.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::base::limits::MIB;
use crate::base::{Event, ShortId, lock};
use crate::chunks::Wanted;
use crate::error::{Error, Result};
use crate::format::content::{Content, Part};
use crate::format::index::ChunkKind;
use crate::format::tree::{CaptureKind, Class, Entry, Node};
use crate::restore::options::Overwrite;
use crate::restore::run::{Place, Restore};
use crate::restore::taker::{Output, Taker};
use crate::restore::target_dir::{LocalOwners, TargetDir};
use crate::source::{FileKind, Stat, data_extents, database};
use crate::tree;

/// Files up to this size are written by one thread, in one call if they have no holes.
const SMALL_BYTES_MAX: u64 = 2 * MIB as u64;
/// Chunks that lie one after the other are written together up to about this many bytes.
const RUN_BYTES: u64 = 512 * 1024;
/// How many runs of a large file wait for the workers at once.
const RUNS_MAX: usize = 256;
/// So many chunks of a file that may be of deltas are read at once, on all cores: what they stand on lies here and there.
const CHUNKS_AT_ONCE: usize = 128 * 1024;

/// Where something is restored: its path in the snapshot, the folder at the target, and who its owners are there.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    pub path: &'a dyn Fn() -> PathBuf,
    pub dir: &'a TargetDir,
    pub owners: &'a LocalOwners,
}

/// Chunks that lie one after the other in a file.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: u64,
    chunks: Vec<(ShortId, u64)>,
}

impl Restore<'_> {
    /// Returns whether a file that is at the target already stays.
    pub fn keeps(&self, existing: &Stat, entry: &Entry) -> bool {
        match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::Always => false,
            Overwrite::IfChanged => {
                let bytes = entry.node.content().map_or(0, Content::bytes);
                // Of a database in use, length and time tell less than what lay beside it.
                let is_file = matches!(entry.node, Node::File { capture: None, .. });
                is_file
                    && existing.kind == FileKind::File
                    && existing.size == bytes
                    && existing.metadata.mtime == entry.metadata.mtime
            }
        }
    }

    /// Restores anything but a directory. Returns whether what the snapshot has is known to be at the target now; it is
    /// not if what was there stayed.
    pub fn leaf(&self, entry: &Entry, place: &Place<'_>, owners: &LocalOwners) -> Result<bool> {
        let bytes = entry.node.content().map_or(0, Content::bytes);
        if self.options.dry_run {
            self.done(bytes, 0);
            return Ok(false);
        }
        if let Some(taker) = self.taker {
            return self.give(taker, entry, place).map(|()| false);
        }
        self.put(entry, Spot { path: &|| place.join(&entry.name), dir: place.make()?.as_ref(), owners })
    }

    /// Restores anything but a directory into a folder. Returns the same as [`leaf`](Self::leaf).
    pub fn put(&self, entry: &Entry, spot: Spot<'_>) -> Result<bool> {
        match &entry.node {
            Node::File { content, class, .. } => self.file(entry, (content, *class), spot),
            _ => self.special(entry, spot),
        }
    }

    /// Gives a file to a taker; anything else is well if its tree could be read.
    fn give(&self, taker: &dyn Taker, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let Node::File { content, class, .. } = &entry.node else { return Ok(()) };
        let path = place.join(&entry.name);
        let data_bytes = self.pieces.data_bytes(&self.reader, content, &|_, _| self.check_cancel())?;
        taker.take(&path, entry, data_bytes, &|output| {
            let told = self.write(output, content, *class, &path)?;
            self.done(content.bytes(), told);
            Ok(())
        })
    }

    /// Counts a file of `bytes` bytes, of which `told` were sent as progress before.
    pub fn done(&self, bytes: u64, told: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes: bytes.saturating_sub(told) });
    }

    pub fn kept(&self, bytes: u64) {
        self.files_kept.fetch_add(1, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes });
    }

    fn file(
        &self,
        entry: &Entry,
        (content, class): (&Content, Class),
        Spot { path, dir, owners }: Spot<'_>,
    ) -> Result<bool> {
        let name = entry.name.as_slice();
        self.check_fits(content, dir, path)?;
        if let Some(seal) = self.seal_of(entry)
            && self.sealed(entry, (content, class), Spot { path, dir, owners }, &seal)?
        {
            return Ok(true);
        }
        let mut is_written = true;
        let apply = |file: &File| {
            for problem in self.applier.new_file(dir, file, &entry.metadata, owners) {
                self.warn(&path(), problem.to_string());
            }
        };
        if let Some(file) = dir.create_file(name)? {
            let told = match self.write(&file, content, class, &path()) {
                Ok(told) => told,
                Err(error) => {
                    // Half a file under a whole file's name would be worse than none.
                    let _ = dir.remove_non_dir(name);
                    return Err(error);
                }
            };
            apply(&file);
            self.remove_companions(entry, dir)?;
            self.done(content.bytes(), told);
        } else {
            let existing = dir.stat(name)?;
            if existing.is_some_and(|existing| self.keeps(&existing, entry)) {
                self.kept(content.bytes());
                is_written = false;
            } else {
                let replacement = dir.create_replacement(name)?;
                let told = self.write(replacement.file(), content, class, &path())?;
                apply(replacement.file());
                replacement.commit()?;
                self.remove_companions(entry, dir)?;
                self.done(content.bytes(), told);
            }
        }
        if self.options.verify && !self.verify(&dir.open_for_read(name)?, content, &path())? {
            return Ok(false);
        }
        Ok(is_written)
    }

    /// Removes SQLite's own files beside a database that was just put in its place: they belong to another state, and
    /// SQLite would change the restored one by them. Where nothing may be overwritten they stay, which is told.
    pub fn remove_companions(&self, entry: &Entry, dir: &TargetDir) -> Result<()> {
        if entry.node.capture().is_none_or(|capture| capture.kind != CaptureKind::Sqlite) {
            return Ok(());
        }
        for suffix in database::SUFFIXES {
            let name = [&entry.name, suffix.as_bytes()].concat();
            if dir.stat(&name)?.is_none_or(|found| found.kind != FileKind::File)
                || !database::is_companion(&name, &dir.open_for_read(&name)?)
                    .map_err(|error| dir.error(&name, "look at it", error))?
            {
                continue;
            }
            if self.options.overwrite == Overwrite::Never {
                let message = "stays, since nothing is to be overwritten, but belongs to another state of the restored \
                               database beside it, which SQLite would change by it; move it away";
                self.warn(&dir.path_of(&name), message.into());
            } else {
                dir.remove_non_dir(&name)?;
            }
        }
        Ok(())
    }

    /// Refuses a file that the target's file system could not hold if it were empty: a few chunk lists that repeat one
    /// another can stand for more than all the disks there are, and would fill this one before that shows.
    fn check_fits(&self, content: &Content, dir: &TargetDir, path: &dyn Fn() -> PathBuf) -> Result<()> {
        // Without lists there are 16 MiB of data at most.
        if content.level == 0 {
            return Ok(());
        }
        let Some(disk) = dir.disk_bytes().filter(|&disk| disk < content.bytes()) else { return Ok(()) };
        let bytes = self.pieces.data_bytes(&self.reader, content, &|_, _| self.check_cancel())?;
        if bytes <= disk {
            return Ok(());
        }
        let reason = format!(
            "holds {bytes} bytes of data, more than the {disk} bytes of the target's whole file system; not restored. \
             Restore it to a larger one"
        );
        Err(Error::LimitExceeded { object: path().display().to_string(), reason })
    }

    fn special(&self, entry: &Entry, Spot { path, dir, owners }: Spot<'_>) -> Result<bool> {
        let name = entry.name.as_slice();
        let make = |name: &[u8]| match &entry.node {
            Node::Symlink { target } => dir.symlink(name, target),
            Node::Fifo => dir.make_fifo(name),
            Node::CharDevice { device } => dir.make_device(name, false, *device),
            Node::BlockDevice { device } => dir.make_device(name, true, *device),
            Node::File { .. } | Node::Directory { .. } => Ok(false),
        };
        let apply = |name: &[u8]| -> Result<()> {
            let is_symlink = matches!(entry.node, Node::Symlink { .. });
            for problem in self.applier.other(dir, name, &entry.metadata, owners, is_symlink)? {
                self.warn(&path(), problem.to_string());
            }
            Ok(())
        };
        match dir.stat(name)? {
            Some(existing) if self.keeps(&existing, entry) => {
                self.kept(0);
                return Ok(false);
            }
            Some(_) => {
                let replacement = dir.make_replacement(name, make)?;
                apply(replacement.temporary())?;
                replacement.commit()?;
            }
            None if make(name)? => apply(name)?,
            None => return Err(Self::in_the_way(path())),
        }
        self.done(0, 0);
        Ok(true)
    }

    /// Makes the error for something that was not there a moment ago.
    pub fn in_the_way(path: PathBuf) -> Error {
        let reason = "something was put in its place during the restore; run it again".into();
        Error::UnsafeTarget { path, reason }
    }

    /// Writes a content into an empty file and returns how many bytes it sent as progress on the way.
    pub fn write(&self, file: &dyn Output, content: &Content, class: Class, path: &Path) -> Result<u64> {
        let total = content.bytes();
        let failed = |source| Error::File { path: path.to_owned(), action: "write the file", source };
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
    fn verify(&self, file: &File, content: &Content, path: &Path) -> Result<bool> {
        let difference = self.difference(file, content, path)?;
        let is_same = difference.is_none();
        if let Some(difference) = difference {
            self.warn(path, difference);
        } else {
            self.files_verified.fetch_add(1, Ordering::Relaxed);
        }
        Ok(is_same)
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
