//! A copy from beginning to end: snapshot by snapshot, the oldest first, since later ones stand on earlier ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::base::{ObjectId, ShortId};
use crate::chunks::{ChunkReader, ChunkWriter, CommitCounts, Sort, WriterOptions};
use crate::copy::known::Known;
use crate::copy::options::{CopiedSnapshot, CopyOptions, CopyReport};
use crate::copy::trees::Batch;
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::snapshot::SnapshotRecord;
use crate::repo::{Repository, new_object_id};
use crate::snapshot::{self, Snapshot};
use crate::tree::PieceWalk;

/// One copy at work.
pub(super) struct Copy<'a> {
    pub to: &'a Repository,
    pub options: &'a CopyOptions,
    pub source: ChunkReader,
    pub target: Arc<ChunkReader>,
    pub known: Known,
    pub pieces: PieceWalk,
    threads: usize,
}

impl Repository {
    /// Copies snapshots to another repository, each named by `latest` or the first digits of its id; none: all. Those that
    /// it has already, under whatever tags, are passed over.
    ///
    /// Chunks get ids and seals of its own. What is stored as a delta stays one, and what it stands on is copied too, so
    /// that a copy takes no more space. A copied snapshot has a new id; [`SnapshotRecord::original`] keeps the first one.
    ///
    /// # Errors
    /// `InvalidOption` if `to` is open for reading, or is this repository; `SnapshotNotFound`, `SnapshotAmbiguous`;
    /// `Missing` or `Damaged` if a snapshot cannot be read in full; `Cancelled`; the stores' own. Snapshots that were copied
    /// till then are whole, and copying again goes on.
    pub fn copy_to(&self, to: &Self, wanted: &[String], options: &CopyOptions) -> Result<CopyReport> {
        let begun = Instant::now();
        to.check_writable("copy")?;
        if self.id() == to.id() {
            let reason = "both are the same repository; name another with --to".into();
            return Err(Error::InvalidOption { option: "to", reason });
        }
        crate::compress::check_level(options.level)?;
        let snapshots = self.to_copy(wanted)?;
        let mut there = to.snapshots()?.0;
        let pool = crate::pool::new(options.threads)?;
        let copy = Copy {
            to,
            options,
            source: self.reader(),
            target: Arc::new(to.reader()),
            known: Known::new(to.cache_dir.as_deref(), self.memory_bytes / 8),
            pieces: PieceWalk::default(),
            threads: pool.current_num_threads(),
        };
        let mut report = CopyReport::default();
        pool.install(|| -> Result<()> {
            let has: BTreeSet<ObjectId> = there.iter().map(Snapshot::first_id).collect();
            let (skipped, missing): (Vec<_>, Vec<_>) =
                snapshots.into_iter().partition(|snapshot| has.contains(&snapshot.first_id()));
            report.skipped = skipped.len() as u64;
            if !missing.is_empty() {
                copy.learn_from(&self.snapshots()?.0, &there)?;
            }
            missing.iter().try_for_each(|snapshot| copy.snapshot(snapshot, &mut there, &mut report))
        })?;
        to.gone_snapshot(&there)?;
        self.healer.tell(options.observer.as_ref());
        to.healer.tell(options.observer.as_ref());
        report.duration = begun.elapsed();
        Ok(report)
    }

    /// Returns the snapshots to copy, oldest first.
    fn to_copy(&self, wanted: &[String]) -> Result<Vec<Snapshot>> {
        if !wanted.is_empty() {
            return self.named(wanted);
        }
        let (all, mut unreadable) = self.snapshots()?;
        unreadable.pop().map_or(Ok(all), Err)
    }
}

impl Copy<'_> {
    /// Learns from the last copied snapshot of each host and paths what need not be read again.
    fn learn_from(&self, here: &[Snapshot], there: &[Snapshot]) -> Result<()> {
        let copies: HashMap<ObjectId, &Snapshot> = there.iter().map(|copy| (copy.first_id(), copy)).collect();
        let mut pairs = BTreeMap::new();
        for snapshot in here {
            if let Some(copy) = copies.get(&snapshot.first_id()) {
                pairs.insert((&snapshot.record.host, &snapshot.record.paths), (snapshot, *copy));
            }
        }
        for (snapshot, copy) in pairs.into_values() {
            self.learn(&snapshot.record.root, &copy.record.root, 0)?;
        }
        Ok(())
    }

    fn writer(&self) -> Result<ChunkWriter> {
        let options = WriterOptions {
            memory_bytes: self.to.memory_bytes / 2,
            threads: self.threads,
            level: self.options.level,
            dry_run: false,
        };
        let (codec, catalog) = (Arc::clone(&self.to.codec), Arc::clone(&self.to.catalog));
        ChunkWriter::new(codec, catalog, Arc::clone(&self.to.store), Arc::clone(&self.target), options)
    }

    /// Copies chunks, and returns those that have to wait for another writer.
    pub fn chunks(&self, writer: &ChunkWriter, chunks: &[(ShortId, Sort)]) -> Result<Vec<(ShortId, Sort)>> {
        writer.copy_from(&self.source, chunks, &mut |from, to| self.known.add_chunk(from, to))
    }

    fn snapshot(&self, snapshot: &Snapshot, there: &mut Vec<Snapshot>, report: &mut CopyReport) -> Result<()> {
        let record = &snapshot.record;
        let is_last = |copy: &&Snapshot| copy.record.host == record.host && copy.record.paths == record.paths;
        let last = there.iter().rev().find(is_last).map(|copy| copy.record.root.clone());
        let root = self.content(&record.root, last.as_ref(), report)?;
        let parent = record.parent.and_then(|parent| there.iter().find(|copy| copy.first_id() == parent));
        let record = SnapshotRecord {
            root,
            parent: parent.map(|copy| copy.id),
            original: Some(snapshot.first_id()),
            ..record.clone()
        };
        let id = new_object_id()?;
        report.bytes_stored += snapshot::store(self.to.store.as_ref(), &self.to.codec, id, &record)?;
        self.to.store.sync()?;
        report.copied.push(CopiedSnapshot { from: snapshot.id, to: id });
        there.push(Snapshot { id, record });
        Ok(())
    }

    /// Copies all below a root, and returns where its tree is in the other repository; all of it is listed then.
    fn content(&self, root: &Content, last: Option<&Content>, report: &mut CopyReport) -> Result<Content> {
        let mut writer = self.writer()?;
        let mut later = self.gather_all(&writer, root).map_err(|error| writer.finish_failed(error))?;
        while !later.is_empty() {
            count(report, &writer, &writer.finish()?);
            writer = self.writer()?;
            later = self.chunks(&writer, &later).map_err(|error| writer.finish_failed(error))?;
        }
        let content = self.tree(&writer, root, last, 0).map_err(|error| writer.finish_failed(error))?;
        count(report, &writer, &writer.finish()?);
        Ok(content)
    }

    fn gather_all(&self, writer: &ChunkWriter, root: &Content) -> Result<Vec<(ShortId, Sort)>> {
        let mut batch = Batch::new(writer);
        self.gather(&mut batch, root, 0)?;
        batch.copy(self)?;
        Ok(batch.later)
    }
}

fn count(report: &mut CopyReport, writer: &ChunkWriter, counts: &CommitCounts) {
    report.bytes_new += writer.bytes_new();
    report.bytes_stored += counts.bytes_stored;
}
