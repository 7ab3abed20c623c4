//! Carries out a plan: what replaces is written and safe before what is replaced is deleted.

use std::sync::Arc;
use std::time::Instant;

use crate::base::limits::INDEX_FLUSH_CHUNKS;
use crate::base::{ChunkId, Event, ObjectId, ObjectKind, ObjectName, ShortId};
use crate::chunks::{ChunkReader, seal_index};
use crate::error::{Error, Result};
use crate::format::index::{ChunkRecord, FrameTable, Index, PackRecord, RecordId};
use crate::format::pack::Footer;
use crate::hash;
use crate::prune::{Repacker, Use};
use crate::repair::copies::copy_of;
use crate::repair::options::{RepairOptions, RepairReport};
use crate::repair::packs;
use crate::repair::plan::{RepairPlan, readable};
use crate::repo::{Repository, new_object_id};
use crate::rewrite::Trees;

impl Repository {
    /// Carries out a plan. Packs and snapshots are never deleted, index objects only once others have taken their place:
    /// so at whatever moment it is interrupted nothing is lost, and another repair does the rest.
    ///
    /// What can be read of hurt packs is stored in new ones; the hurt ones stay, marked as not to be used, until a prune.
    /// Snapshots that have lost something get a copy without it, with the tag `repaired` and
    /// [`original`](crate::SnapshotRecord::original), and stay too. What is lost is in no index object any more, so a backup
    /// that sees it again stores it again.
    ///
    /// # Errors
    /// `InvalidOption` if the repository has changed since the plan was made or was opened for reading; `Cancelled`; the
    /// store's own.
    pub fn repair(&mut self, plan: RepairPlan, options: &RepairOptions) -> Result<RepairReport> {
        let begun = Instant::now();
        self.check_writable("repair")?;
        let is_fresh = self.sorted_ids(ObjectKind::Snapshot)? == plan.known
            && self.sorted_ids(ObjectKind::Index)? == plan.listing.index_objects;
        if !is_fresh {
            let reason = "the repository has changed since the plan was made; nothing was done; make a new plan";
            return Err(Error::InvalidOption { option: "plan", reason: reason.into() });
        }
        let mut report = RepairReport::default();
        if !plan.is_empty() {
            crate::pool::within(self.memory_bytes, options.threads)?
                .install(|| self.carry_out(&plan, options, &mut report))?;
        }
        self.healer.tell(options.observer.as_ref());
        report.duration = begun.elapsed();
        Ok(report)
    }

    fn carry_out(&mut self, plan: &RepairPlan, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        self.salvage(plan, options, report)?;
        self.write_indexes(plan, options, report)?;
        for id in plan.listing.replaced() {
            self.store.delete(&ObjectName::new(ObjectKind::Index, id))?;
            report.index_objects_deleted += 1;
        }
        self.store.sync()?;
        // What the catalog had is not all true. It is begun anew, which lets the next backup look at all that it takes over.
        self.catalog.clear()?;
        self.catalog = Arc::clone(&plan.catalog);
        self.write_copies(plan, options, report)
    }

    /// Writes what can be read of hurt packs into new ones.
    fn salvage(&self, plan: &RepairPlan, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        if plan.listing.hurt.is_empty() {
            return Ok(());
        }
        let reader = self.reader_by(&plan.catalog);
        let mut repacker = Repacker::new(self, &plan.catalog)?;
        let copied = (0..plan.listing.sources.len()).try_for_each(|number| {
            if !plan.listing.sources[number].is_replaced {
                return Ok(());
            }
            for record in &plan.listing.load(self, number)?.packs {
                options.check_cancel()?;
                if plan.listing.hurt.contains_key(&record.id) {
                    self.salvage_pack(plan, &reader, &mut repacker, record)?;
                    if let Some(observer) = &options.observer {
                        observer.event(&Event::Progress { files: 0, bytes: record.bytes.into() });
                    }
                }
            }
            Ok(())
        });
        if let Err(error) = copied {
            return Err(repacker.why(error, &options.cancel));
        }
        let counts = repacker.finish()?;
        report.packs_written = counts.packs;
        report.bytes_written += counts.bytes_stored;
        Ok(())
    }

    fn salvage_pack(
        &self,
        plan: &RepairPlan,
        reader: &ChunkReader,
        repacker: &mut Repacker,
        record: &PackRecord,
    ) -> Result<()> {
        let record = plan.listing.amended(&plan.catalog, record)?;
        let (mut chunks, mut uses, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in &record.table.chunks {
            bytes.clear();
            let is_read = !chunk.is_void()
                && match reader.read(&chunk.id, chunk.kind, &mut bytes) {
                    Ok(()) => true,
                    Err(error) => packs::damage(error).map(|_| false)?,
                };
            let id = if is_read { hash::chunk_id(self.codec.keys.ids(chunk.kind), &bytes) } else { ChunkId::VOID };
            chunks.push(ChunkRecord { id, kind: chunk.kind, bytes: chunk.bytes, delta: chunk.delta.clone() });
            let is_here = || Ok::<_, Error>(plan.catalog.find(&chunk.id)?.is_some_and(|at| at.frame.pack == record.id));
            uses.push(match is_read {
                false => Use::Void,
                true if is_here()? => Use::Needed,
                true => Use::Unneeded,
            });
        }
        let voided = record.table.chunks.iter().zip(&uses).filter(|(_, use_)| **use_ == Use::Void);
        let mut unreadable: Vec<ShortId> = voided.map(|(chunk, _)| chunk.id).collect();
        plan.catalog.remove(&mut unreadable, &|pack| *pack == record.id)?;
        let is_needed: Vec<bool> = uses.iter().map(|use_| *use_ == Use::Needed).collect();
        let image = packs::image(self, &record, &is_needed)?;
        let table = FrameTable { frames: record.table.frames.clone(), chunks };
        repacker.copy(record.id, Arc::new(image), &Footer { table, padding_bytes: 0 }, &uses)
    }

    /// Writes the index objects that take the place of others, or list packs that none lists.
    fn write_indexes(&self, plan: &RepairPlan, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        let mut condemned = plan.listing.condemned();
        while condemned.len() > INDEX_FLUSH_CHUNKS {
            let rest = condemned.split_off(INDEX_FLUSH_CHUNKS);
            self.write_index(Index { packs: std::mem::replace(&mut condemned, rest) }, report)?;
        }
        let (mut index, mut chunks) = (Index { packs: condemned }, 0);
        for number in (0..plan.listing.sources.len()).filter(|number| plan.listing.sources[*number].is_replaced) {
            for record in &plan.listing.load(self, number)?.packs {
                options.check_cancel()?;
                if plan.listing.hurt.contains_key(&record.id) {
                    continue;
                }
                chunks += record.table.chunks.len();
                index.packs.push(plan.listing.amended(&plan.catalog, record)?);
                if chunks >= INDEX_FLUSH_CHUNKS {
                    self.write_index(std::mem::take(&mut index), report)?;
                    chunks = 0;
                }
            }
        }
        if !index.packs.is_empty() {
            self.write_index(index, report)?;
        }
        Ok(self.store.sync()?)
    }

    fn write_index(&self, index: Index, report: &mut RepairReport) -> Result<ObjectId> {
        let name = ObjectName::new(ObjectKind::Index, new_object_id()?);
        let object = seal_index(&self.codec, &name, &index)?;
        self.store.put(&name, &object)?;
        report.index_objects_written += 1;
        report.bytes_written += object.len() as u64;
        Ok(name.id)
    }

    /// Stores the copies of snapshots, all of them at once when their trees are safe.
    fn write_copies(&self, plan: &RepairPlan, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        if plan.copies().next().is_none() {
            return Ok(());
        }
        let readable = readable(self, &self.catalog);
        let trees = Trees::new(self, &self.catalog, &readable, &options.cancel, false)?;
        let mut copies = Vec::new();
        let outcome = plan.copies().try_for_each(|hurt| {
            let tree = trees.root(&hurt.snapshot.record.root)?;
            copies.extend(copy_of(&hurt.snapshot, &tree).map(|copy| (hurt.snapshot.id, copy)));
            Ok(())
        });
        report.bytes_written += trees.finish_after(outcome)?.0.bytes_stored;
        let (known, _) = self.snapshots()?;
        for (id, copy) in copies {
            report.copies.push((id, self.store_once(&known, &copy)?));
        }
        Ok(self.store.sync()?)
    }
}
