//! Carries out a plan: first what replaces is written, then what is replaced is deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::limits::{INDEX_FLUSH_CHUNKS, PACK_BYTES_MAX};
use crate::base::{Event, ObjectId, ObjectKind, ObjectName, ShortId};
use crate::chunks::{CommitCounts, entries_of, seal_index, shorten};
use crate::error::{Error, Result};
use crate::format::index::{ChunkRecord, Index, PackRecord, RecordId};
use crate::pack;
use crate::prune::fate::Fate;
use crate::prune::listing::{Listing, records};
use crate::prune::needs::Needs;
use crate::prune::options::{PruneOptions, PruneReport};
use crate::prune::plan::PrunePlan;
use crate::prune::repack::{Repacker, Use};
use crate::repo::{Repository, load_index, new_object_id};

/// Objects in whose place others are, or that nobody needs.
struct Condemned {
    /// The outranked ones first.
    indexes: Vec<(ObjectId, u64)>,
    /// How many of them are outranked.
    outranked: usize,
    packs: Vec<(ObjectId, u64)>,
}

impl Repository {
    /// Carries out a plan. At whatever moment it is interrupted, every snapshot is whole, and another prune does the rest.
    /// It takes the repository for itself: a backup meanwhile could use what is about to be deleted.
    ///
    /// # Errors
    /// `InvalidOption` if the repository has changed since the plan was made; `Damaged` if what is to be copied cannot be
    /// read, before anything is deleted; `Cancelled`; the store's own.
    pub fn prune(&mut self, mut plan: PrunePlan, options: &PruneOptions) -> Result<PruneReport> {
        let begun = Instant::now();
        self.check_writable("prune")?;
        self.check_fresh(&plan, true)?;
        let mut report = PruneReport::default();
        if !plan.is_empty() {
            let condemned = self.replace(&mut plan, options, &mut report)?;
            if !options.grace.is_zero() {
                wait(options)?;
                self.check_fresh(&plan, false)?;
            }
            self.delete_all(&condemned, &mut report)?;
            self.healer.tell(options.observer.as_ref());
        }
        if options.compact {
            self.store.compact()?;
        }
        report.duration = begun.elapsed();
        Ok(report)
    }

    /// Checks that there are no other snapshots, and with `all` no other index objects, than those that the plan knows.
    fn check_fresh(&self, plan: &PrunePlan, all: bool) -> Result<()> {
        let known: Vec<ObjectId> = plan.listing.indexes.notes.iter().map(|note| note.id).collect();
        if self.sorted_ids(ObjectKind::Snapshot)? == plan.snapshots
            && (!all || self.sorted_ids(ObjectKind::Index)? == known)
        {
            return Ok(());
        }
        let reason = "the repository has changed since the plan was made; nothing was deleted; make a new plan";
        Err(Error::InvalidOption { option: "plan", reason: reason.into() })
    }

    /// Writes what replaces: packs, then index objects, then the catalog; all of it is safe when this returns.
    fn replace(&self, plan: &mut PrunePlan, options: &PruneOptions, report: &mut PruneReport) -> Result<Condemned> {
        if plan.has_duplicates {
            self.settle(plan)?;
        }
        let mut repacker = Repacker::new(self, &self.catalog)?;
        let mut kept = Index::default();
        let (mut kept_chunks, mut new_indexes) = (0, Vec::new());
        if let Some(observer) = &options.observer {
            observer.event(&Event::Total { files: 0, bytes: plan.figures.bytes_repacked });
        }
        let PrunePlan { listing, needs, has_duplicates, .. } = plan;
        let Listing { indexes, packs, unlisted, .. } = listing;
        let written = indexes.for_each(
            self,
            |note| note.is_replaced,
            |number, index| {
                for (record, note) in records(packs, number, index) {
                    options.check_cancel()?;
                    match note.fate {
                        Fate::Delete => {}
                        Fate::Keep => {
                            kept_chunks += record.table.chunks.len();
                            kept.packs.push(self.voided(record, needs)?);
                            if kept_chunks >= INDEX_FLUSH_CHUNKS {
                                new_indexes.push(self.put_index(&mut kept, report)?);
                                kept_chunks = 0;
                            }
                        }
                        Fate::Repack => {
                            self.repack(record, needs, &mut repacker, *has_duplicates)?;
                            if let Some(observer) = &options.observer {
                                observer.event(&Event::Progress { files: 0, bytes: note.bytes });
                            }
                        }
                    }
                }
                Ok(())
            },
        );
        if let Err(error) = written {
            return Err(repacker.why(error, &options.cancel));
        }
        if !kept.packs.is_empty() {
            new_indexes.push(self.put_index(&mut kept, report)?);
        }
        let CommitCounts { packs: packs_written, bytes_stored, .. } = repacker.finish()?;
        report.packs_written = packs_written;
        report.bytes_written += bytes_stored;
        self.store.sync()?;
        let mut replaced: Vec<_> = indexes.notes.iter().filter(|note| note.is_replaced).collect();
        replaced.sort_by_key(|note| !note.is_outranked);
        let condemned = Condemned {
            indexes: replaced.iter().map(|note| (note.id, note.bytes)).collect(),
            outranked: replaced.iter().filter(|note| note.is_outranked).count(),
            packs: (packs.iter().filter(|(_, note)| note.fate != Fate::Keep).map(|(id, note)| (*id, note.bytes)))
                .chain(unlisted.iter().copied())
                .collect(),
        };
        self.renew_catalog(plan, &condemned, &new_indexes)?;
        Ok(condemned)
    }

    /// Notes what the packs that stay have, so that no other copy of it is written.
    fn settle(&self, plan: &mut PrunePlan) -> Result<()> {
        let PrunePlan { listing, needs, .. } = plan;
        listing.indexes.for_each(
            self,
            |_| true,
            |number, index| {
                for (record, note) in records(&listing.packs, number, index) {
                    for chunk in record.table.chunks.iter().filter(|_| note.fate == Fate::Keep) {
                        if needs.is_wanted(&self.catalog, chunk)? {
                            needs.settle(&chunk.id)?;
                        }
                    }
                }
                Ok(())
            },
        )
    }

    /// Returns the record of a pack that stays, in which is void what nobody may use any more.
    fn voided(&self, record: &PackRecord, needs: &Needs) -> Result<PackRecord> {
        let mut record = record.clone();
        for chunk in &mut record.table.chunks {
            if needs.is_void(&self.catalog, chunk)? {
                chunk.id = ShortId::VOID;
            }
        }
        Ok(record)
    }

    /// Copies what is needed of a pack.
    fn repack(
        &self,
        record: &PackRecord,
        needs: &mut Needs,
        repacker: &mut Repacker,
        has_duplicates: bool,
    ) -> Result<()> {
        let name = ObjectName::new(ObjectKind::Pack, record.id);
        let read = self.store.get(&name, PACK_BYTES_MAX).map_err(Error::from);
        let read = read.and_then(|bytes| Ok((pack::read_footer(&self.codec, &name, &bytes)?, Arc::new(bytes))));
        let (footer, bytes) = read.or_else(|error| {
            let Some(bytes) = self.healer.heal(record.id) else { return Err(error) };
            Ok((pack::read_footer(&self.codec, &name, &bytes)?, bytes))
        })?;
        if !record.table.agrees_with(&shorten(&footer.table)) {
            return Err(Error::damaged_object(&name, "its footer and the index list other chunks"));
        }
        let use_of = |chunk: &ChunkRecord<ShortId>| -> Result<Use> {
            if needs.is_wanted(&self.catalog, chunk)? {
                if has_duplicates {
                    needs.settle(&chunk.id)?;
                }
                return Ok(Use::Needed);
            }
            Ok(if needs.is_void(&self.catalog, chunk)? { Use::Void } else { Use::Unneeded })
        };
        let uses: Vec<Use> = record.table.chunks.iter().map(use_of).collect::<Result<_>>()?;
        repacker.copy(record.id, bytes, &footer, &uses)
    }

    /// Stores an index object, empties `index` and returns the object's name. The packs in it are safe already.
    fn put_index(&self, index: &mut Index, report: &mut PruneReport) -> Result<ObjectId> {
        let name = ObjectName::new(ObjectKind::Index, new_object_id()?);
        let object = seal_index(&self.codec, &name, &std::mem::take(index))?;
        self.store.put(&name, &object)?;
        report.bytes_written += object.len() as u64;
        Ok(name.id)
    }

    /// Brings the catalog in line with what the store will have.
    fn renew_catalog(&self, plan: &mut PrunePlan, condemned: &Condemned, new_indexes: &[ObjectId]) -> Result<()> {
        let has_rivals = plan.listing.has_rivals();
        let PrunePlan { listing, needs, has_duplicates, .. } = plan;
        let Listing { indexes, packs, missing, .. } = listing;
        let is_condemned = |id: &ObjectId| condemned.indexes.iter().any(|(other, _)| id == other);
        if *has_duplicates || has_rivals {
            // An entry may name any of a chunk's places, or one that only a listing has that does not count.
            self.catalog.clear()?;
            for id in self.sorted_ids(ObjectKind::Index)?.into_iter().filter(|id| !is_condemned(id)) {
                let index = load_index(self.store.as_ref(), &self.codec, id)?;
                self.catalog.add(&id, &mut entries_of(&index))?;
            }
            return Ok(());
        }
        // First: were this to be interrupted, what is condemned and still there would be entered again.
        let forgotten: Vec<ObjectId> = condemned.indexes.iter().map(|(id, _)| *id).collect();
        self.catalog.forget(&forgotten)?;
        indexes.for_each(
            self,
            |note| note.is_replaced,
            |number, index| {
                let (mut gone, mut void) = (Vec::new(), Vec::new());
                for record in index.packs.iter().filter(|record| missing.contains(&record.id)) {
                    gone.extend(record.table.chunks.iter().map(|chunk| chunk.id));
                }
                for (record, note) in records(packs, number, index) {
                    for chunk in record.table.chunks.iter().filter(|chunk| !chunk.is_void()) {
                        if note.fate != Fate::Keep {
                            gone.push(chunk.id);
                        } else if needs.is_void(&self.catalog, chunk)? {
                            void.push(chunk.id);
                        }
                    }
                }
                // What was moved is entered in its new place.
                let is_gone = |pack: &ObjectId| match packs.get(pack) {
                    Some(note) => note.fate != Fate::Keep,
                    None => missing.contains(pack),
                };
                self.catalog.remove(&mut gone, &is_gone)?;
                Ok(self.catalog.remove(&mut void, &|_| true)?)
            },
        )?;
        // What they list is in already.
        new_indexes.iter().try_for_each(|id| Ok(self.catalog.add(id, &mut [])?))
    }

    /// Deletes index objects, then packs: so none ever lists a pack that is not there. Outranked index objects go first:
    /// one that was left alone beside the new ones could outrank them, though it voids what they have.
    fn delete_all(&self, condemned: &Condemned, report: &mut PruneReport) -> Result<()> {
        let (outranked, indexes) = condemned.indexes.split_at(condemned.outranked);
        let packs = condemned.packs.as_slice();
        let all = [(ObjectKind::Index, outranked), (ObjectKind::Index, indexes), (ObjectKind::Pack, packs)];
        for (kind, objects) in all.into_iter().filter(|(_, objects)| !objects.is_empty()) {
            for (id, bytes) in objects {
                self.store.delete(&ObjectName::new(kind, *id))?;
                report.bytes_deleted += bytes;
            }
            self.store.sync()?;
        }
        report.index_objects_deleted = condemned.indexes.len() as u64;
        report.packs_deleted = condemned.packs.len() as u64;
        Ok(())
    }
}

/// Waits until the grace is over.
fn wait(options: &PruneOptions) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < options.grace {
        options.check_cancel()?;
        std::thread::sleep(Duration::from_millis(100).min(options.grace));
    }
    Ok(())
}
