//! A copy from beginning to end: snapshot by snapshot, the oldest first, since later ones stand on earlier ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::base::{ObjectId, ObjectKind, ShortId};
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
    from: &'a Repository,
    pub to: &'a Repository,
    pub options: &'a CopyOptions,
    pub source: ChunkReader,
    pub target: Arc<ChunkReader>,
    pub known: Known,
    pub pieces: PieceWalk,
    threads: usize,
}

/// A snapshot, and why it cannot be copied.
type Failure = (ObjectId, String);

/// What tells a snapshot from others of the same first id, which lack some of its files: that, whether it is tagged as such
/// a copy, and how many files, directories and bytes it has. Other tags do not matter.
type Identity = (ObjectId, bool, [u64; 3]);

fn identity(snapshot: &Snapshot) -> Identity {
    let counts = &snapshot.record.counts;
    (snapshot.first_id(), snapshot.is_tagged_reduced(), [counts.files, counts.directories, counts.bytes])
}

impl Repository {
    /// Copies snapshots to another repository, each named by `latest` or the first digits of its id; none: all. Those that
    /// it has already, under whatever tags, are passed over; a copy there without some of the files does not stand for one
    /// that has them.
    ///
    /// Chunks get ids and seals of its own. What is stored as a delta stays one, and what it stands on is copied too, so
    /// that a copy takes no more space. A copied snapshot has a new id; [`SnapshotRecord::original`] keeps the first one.
    /// Snapshots of which something is damaged or missing are named in [`CopyReport::failed`], and the others are copied.
    ///
    /// # Errors
    /// `InvalidOption` if `to` is open for reading, or is this repository; `SnapshotNotFound`, `SnapshotAmbiguous`;
    /// `Cancelled`; the stores' own. Snapshots that were copied till then are whole, and copying again goes on.
    pub fn copy_to(&self, to: &Self, wanted: &[String], options: &CopyOptions) -> Result<CopyReport> {
        let begun = Instant::now();
        to.check_writable("copy")?;
        if self.id() == to.id() {
            let reason = "both are the same repository; name another with --to".into();
            return Err(Error::InvalidOption { option: "to", reason });
        }
        crate::compress::check_level(options.level)?;
        let (snapshots, failed) = self.to_copy(wanted)?;
        let mut there = to.snapshots()?.0;
        let pool = crate::pool::within(self.memory_bytes, options.threads)?;
        let mut copy = Copy {
            from: self,
            to,
            options,
            source: self.reader(),
            target: Arc::new(to.reader()),
            known: Known::new(to.cache_dir.as_deref(), self.memory_bytes / 8),
            pieces: PieceWalk::default(),
            threads: pool.current_num_threads(),
        };
        let mut report = CopyReport { failed, ..CopyReport::default() };
        pool.install(|| -> Result<()> {
            let has: BTreeSet<Identity> = there.iter().map(identity).collect();
            let (skipped, missing): (Vec<_>, Vec<_>) =
                snapshots.into_iter().partition(|snapshot| has.contains(&identity(snapshot)));
            report.skipped = skipped.len() as u64;
            if !missing.is_empty() {
                copy.learn_from(&self.snapshots()?.0, &there)?;
            }
            for snapshot in &missing {
                if let Some(error) = copy.snapshot(snapshot, &mut there, &mut report)? {
                    report.failed.push(failure(snapshot.id, &error));
                    // What was gathered for it and not copied is to be gathered again.
                    copy.known.forget_visits();
                    copy.pieces = PieceWalk::default();
                }
            }
            Ok(())
        })?;
        to.gone_snapshot(&there)?;
        self.healer.tell(options.observer.as_ref());
        to.healer.tell(options.observer.as_ref());
        report.duration = begun.elapsed();
        Ok(report)
    }

    /// Returns the snapshots to copy, oldest first, and why others cannot be read.
    fn to_copy(&self, wanted: &[String]) -> Result<(Vec<Snapshot>, Vec<Failure>)> {
        let id_of = |wanted: &String| match wanted.as_str() {
            "latest" => self.snapshot(wanted).map(|found| found.id),
            digits => self.snapshot_id(digits),
        };
        let ids: BTreeSet<ObjectId> = match wanted {
            [] => self.sorted_ids(ObjectKind::Snapshot)?.into_iter().collect(),
            _ => wanted.iter().map(id_of).collect::<Result<_>>()?,
        };
        let (mut snapshots, mut failed) = (Vec::new(), Vec::new());
        for id in ids {
            match snapshot::load(self.store.as_ref(), &self.codec, id) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) if is_of_content(&error) => failed.push(failure(id, &error)),
                Err(error) => return Err(error),
            }
        }
        snapshots.sort_by_key(Snapshot::order);
        Ok((snapshots, failed))
    }
}

/// Returns whether an error is about something that is to be read, and not about the store that has it.
fn is_of_content(error: &Error) -> bool {
    error.is_damage() || matches!(error, Error::LimitExceeded { .. })
}

fn failure(id: ObjectId, error: &Error) -> Failure {
    (id, format!("snapshot {}: {error}", &id.to_string()[..8]))
}

impl Copy<'_> {
    /// Learns from the last copied snapshot of each host and paths what need not be read again.
    fn learn_from(&self, here: &[Snapshot], there: &[Snapshot]) -> Result<()> {
        let copies: HashMap<Identity, &Snapshot> = there.iter().map(|copy| (identity(copy), copy)).collect();
        let mut pairs = BTreeMap::new();
        for snapshot in here {
            if let Some(copy) = copies.get(&identity(snapshot)) {
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

    /// Copies a snapshot; returns what of it cannot be read, if so.
    fn snapshot(
        &self,
        snapshot: &Snapshot,
        there: &mut Vec<Snapshot>,
        report: &mut CopyReport,
    ) -> Result<Option<Error>> {
        let record = &snapshot.record;
        let is_last = |copy: &&Snapshot| copy.record.host == record.host && copy.record.paths == record.paths;
        let last = there.iter().rev().find(is_last).map(|copy| copy.record.root.clone());
        let root = match self.content(&record.root, last.as_ref(), report)? {
            Ok(root) => root,
            Err(error) => return Ok(Some(error)),
        };
        // Its parent is named by the id that it was made under, which its copy has too.
        let record = SnapshotRecord { root, original: Some(snapshot.first_id()), ..record.clone() };
        let id = new_object_id()?;
        report.bytes_stored += snapshot::store(self.to.store.as_ref(), &self.to.codec, id, &record)?;
        self.to.store.sync()?;
        report.copied.push(CopiedSnapshot { from: snapshot.id, to: id });
        there.push(Snapshot { id, record });
        Ok(None)
    }

    /// Copies all below a root, and returns where its tree is in the other repository; all of it is listed then. The inner
    /// error is about what cannot be read of it.
    fn content(&self, root: &Content, last: Option<&Content>, report: &mut CopyReport) -> Result<Result<Content>> {
        let mut writer = self.writer()?;
        let mut outcome = self.gather_all(&writer, root);
        loop {
            match outcome {
                Ok(later) if later.is_empty() => break,
                Ok(later) => {
                    count(report, &writer, &writer.finish()?);
                    writer = self.writer()?;
                    outcome = self.chunks(&writer, &later);
                }
                Err(error) => return self.ended(&writer, Err(error), report),
            }
        }
        let tree = self.tree(&writer, root, last, 0);
        self.ended(&writer, tree, report)
    }

    /// Ends a writer after work of which `outcome` came. What was stored is listed, whatever that is. The inner error is
    /// about what cannot be read of one snapshot: others may be well.
    fn ended(
        &self,
        writer: &ChunkWriter,
        outcome: Result<Content>,
        report: &mut CopyReport,
    ) -> Result<Result<Content>> {
        // If the other repository has failed, that is what counts.
        count(report, writer, &writer.finish()?);
        match outcome {
            Err(error) if !self.is_of_source(&error) => Err(error),
            outcome => Ok(outcome),
        }
    }

    /// Returns whether an error is about something of the first repository. Of the other one nothing is read here that must
    /// be read, but for its catalog.
    fn is_of_source(&self, error: &Error) -> bool {
        is_of_content(error) && !self.from.catalog.is_damaged() && !self.to.catalog.is_damaged()
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
