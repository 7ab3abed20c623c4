//! What a prune would do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::base::limits::{DELTA_CLOSURE_MAX, INDEX_FLUSH_CHUNKS, PACK_BYTES_MIN};
use crate::base::{ObjectId, ShortId};
use crate::catalog::{Marks, Proven};
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::index::{ChunkRecord, PackRecord};
use crate::prune::fate::{Fate, Limits, PackUse, decide};
use crate::prune::listing::{IndexNote, Listing, records};
use crate::prune::needs::{Needs, Place};
use crate::prune::options::{PruneFigures, PruneOptions};
use crate::prune::repack::OPEN_PACKS;
use crate::prune::walk::Walk;
use crate::repo::Repository;

/// So many small packs are written into few, and so many small index objects.
const SMALL_OBJECTS_MIN: usize = 32;
/// A pack is small below this part of a full one.
const SMALL_PART: usize = 4;
/// An index object is small below so many chunks.
const SMALL_INDEX_CHUNKS: usize = INDEX_FLUSH_CHUNKS / 8;
/// So many small index objects come about whenever any is replaced: the last for what stays, and the last for what moves.
const SMALL_INDEXES_NEW: usize = 2;
const _: () = assert!(OPEN_PACKS < SMALL_OBJECTS_MIN && SMALL_INDEXES_NEW < SMALL_OBJECTS_MIN);

/// What a prune would do: made by [`Repository::prune_plan`], carried out by [`Repository::prune`].
pub struct PrunePlan {
    /// What was found, and what would be done.
    pub figures: PruneFigures,
    pub(super) snapshots: Vec<ObjectId>,
    pub(super) listing: Listing,
    pub(super) needs: Needs,
    /// Whether a needed chunk lies in more than one place.
    pub(super) has_duplicates: bool,
}

impl PrunePlan {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.figures.packs_deleted == 0 && self.figures.packs_repacked == 0 && self.figures.index_objects_replaced == 0
    }
}

/// What was counted of a pack.
struct PackCount {
    id: ObjectId,
    is_used: bool,
    unused_bytes: u64,
}

impl Repository {
    /// Finds out what no snapshot needs, and decides what to do about it. Changes nothing.
    ///
    /// Every snapshot's trees are read, each once. It takes three quarters of the memory budget, two hundred bytes for each
    /// pack, and a file in the cache directory for what does not fit.
    ///
    /// # Errors
    /// `Unprunable` if a snapshot, a tree, a list or an index object cannot be read or something that a snapshot needs is
    /// missing; `InvalidOption`; `Cancelled`; the store's own.
    pub fn prune_plan(&self, options: &PruneOptions) -> Result<PrunePlan> {
        options.check()?;
        let begun = Instant::now();
        let (snapshots, mut unreadable) = self.snapshots()?;
        if let Some(source) = unreadable.pop() {
            return Err(Error::Unprunable { source: Box::new(source) });
        }
        let listing = Listing::read(self, options)?;
        let walk = Walk {
            reader: self.reader_with(Arc::clone(&self.catalog), self.memory_bytes / 8),
            needs: Mutex::new(Needs::new(Marks::new(self.cache_dir.as_deref(), self.memory_bytes / 2))),
            noted: Proven::new(self.memory_bytes / 8),
            options,
        };
        let pool = crate::pool::within(self.memory_bytes, options.threads)?;
        pool.install(|| snapshots.iter().try_for_each(|snapshot| walk.snapshot(snapshot)))?;
        let needs = walk.needs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<ObjectId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        ids.sort_unstable();
        let figures = PruneFigures { snapshots: ids.len() as u64, ..PruneFigures::default() };
        let mut plan = PrunePlan { figures, snapshots: ids, listing, needs, has_duplicates: false };
        plan.add_bases(self, options)?;
        let mut placed = plan.place(self, options, true)?;
        if plan.has_duplicates {
            plan.choose(self, options)?;
            placed = plan.place(self, options, false)?;
        }
        if placed != plan.needs.needed {
            // Of a chunk that lies in two packs the catalog says which one counts.
            self.catalog.doubt();
            return Err(Error::Unprunable { source: Box::new(missing(plan.needs.needed - placed)) });
        }
        plan.decide(self, options);
        plan.figures.estimate(begun.elapsed());
        Ok(plan)
    }
}

impl PrunePlan {
    /// Adds what needed deltas stand on. Bases are less deep than what stands on them, so each depth takes one pass.
    fn add_bases(&mut self, repo: &Repository, options: &PruneOptions) -> Result<()> {
        let Self { listing, needs, .. } = self;
        for depth in (1..=DELTA_CLOSURE_MAX).rev() {
            listing.indexes.for_each(
                repo,
                |note| note.has_depth(depth),
                |number, index| {
                    options.check_cancel()?;
                    let mut chunks =
                        records(&listing.packs, number, index).flat_map(|(record, _)| &record.table.chunks);
                    chunks.try_for_each(|chunk| needs.add_bases(&repo.catalog, chunk, depth))
                },
            )?;
        }
        Ok(())
    }

    /// Chooses one of the copies of each chunk.
    fn choose(&mut self, repo: &Repository, options: &PruneOptions) -> Result<()> {
        let Self { listing, needs, .. } = self;
        let packs = &mut listing.packs;
        listing.indexes.for_each(
            repo,
            |_| true,
            |number, index| {
                options.check_cancel()?;
                let mut shares = Vec::new();
                for (record, _) in records(packs, number, index) {
                    let (mut needed, mut all) = (0, 1);
                    for chunk in &record.table.chunks {
                        let bytes = u64::from(chunk.bytes);
                        needed += if needs.would_do(&repo.catalog, chunk)? { bytes } else { 0 };
                        all += bytes;
                    }
                    shares.push((record.id, 1 + (needed * 254 / all) as u8));
                }
                for (id, share) in shares {
                    packs.entry(id).and_modify(|note| note.share = share);
                }
                Ok(())
            },
        )?;
        listing.indexes.for_each(
            repo,
            |_| true,
            |number, index| {
                options.check_cancel()?;
                records(packs, number, index).try_for_each(|(record, note)| {
                    let chunks = &record.table.chunks;
                    chunks.iter().try_for_each(|chunk| needs.choose(&repo.catalog, chunk, note.share))
                })
            },
        )
    }

    /// Counts what of each pack is needed, each chunk in one place, and returns how many chunks were found.
    fn place(&mut self, repo: &Repository, options: &PruneOptions, is_first: bool) -> Result<u64> {
        let Self { listing, needs, has_duplicates, .. } = self;
        let packs = &mut listing.packs;
        let mut with_new_voids = Vec::new();
        let mut placed = 0;
        listing.indexes.for_each(
            repo,
            |_| true,
            |number, index| {
                options.check_cancel()?;
                let mut counts = Vec::new();
                for (record, note) in records(packs, number, index) {
                    let is_here = |needs: &mut Needs, chunk: &ChunkRecord<ShortId>| {
                        let place = match is_first {
                            true => needs.place_first(&repo.catalog, chunk)?,
                            false => needs.place_best(&repo.catalog, chunk, note.share)?,
                        };
                        *has_duplicates |= place == Place::Elsewhere;
                        placed += u64::from(place == Place::Here);
                        Ok(place == Place::Here)
                    };
                    counts.push(count(needs, record, is_here)?);
                    for chunk in record.table.chunks.iter().filter(|chunk| !chunk.is_void()) {
                        if needs.is_void(&repo.catalog, chunk)? {
                            with_new_voids.push(number);
                            break;
                        }
                    }
                }
                for PackCount { id, is_used, unused_bytes } in counts {
                    packs.entry(id).and_modify(|note| (note.is_used, note.unused_bytes) = (is_used, unused_bytes));
                }
                Ok(())
            },
        )?;
        with_new_voids.into_iter().for_each(|number| listing.indexes.notes[number as usize].is_replaced = true);
        Ok(placed)
    }

    /// Decides what becomes of each pack and index object.
    fn decide(&mut self, repo: &Repository, options: &PruneOptions) {
        let Self { figures, listing, needs, .. } = self;
        let mut ids: Vec<ObjectId> = listing.packs.keys().copied().collect();
        ids.sort_unstable();
        let use_of = |id: &ObjectId| {
            let note = &listing.packs[id];
            PackUse { bytes: note.bytes, unused_bytes: note.unused_bytes.min(note.bytes), is_used: note.is_used }
        };
        let uses: Vec<PackUse> = ids.iter().map(use_of).collect();
        let limits = Limits {
            unused_percent_max: options.unused_percent_max,
            repack_bytes_max: options.repack_bytes_max.unwrap_or(u64::MAX),
            small_bytes: (repo.store.pack_bytes().max(PACK_BYTES_MIN) / SMALL_PART) as u64,
            small_packs_min: SMALL_OBJECTS_MIN,
            small_packs_new: OPEN_PACKS,
        };
        let notes = &mut listing.indexes.notes;
        for ((id, use_), fate) in ids.iter().zip(&uses).zip(decide(&uses, &limits)) {
            match fate {
                Fate::Keep => figures.bytes_unused_left += use_.unused_bytes,
                Fate::Delete => {
                    figures.packs_deleted += 1;
                    figures.bytes_deleted += use_.bytes;
                }
                Fate::Repack => {
                    figures.packs_repacked += 1;
                    figures.bytes_repacked += use_.bytes;
                    figures.bytes_rewritten += use_.bytes - use_.unused_bytes;
                }
            }
            if let Some(note) = listing.packs.get_mut(id) {
                note.fate = fate;
                notes[note.index()].is_replaced |= fate != Fate::Keep;
            }
            figures.packs += 1;
            figures.pack_bytes += use_.bytes;
        }
        // Those that will come count too, as with packs.
        let is_small = |note: &IndexNote| note.chunks < SMALL_INDEX_CHUNKS && !note.is_replaced;
        let new = if notes.iter().any(|note| note.is_replaced) { SMALL_INDEXES_NEW } else { 0 };
        if notes.iter().filter(|note| is_small(note)).count() + new >= SMALL_OBJECTS_MIN {
            notes.iter_mut().for_each(|note| note.is_replaced |= is_small(note));
        }
        for (_, bytes) in &listing.unlisted {
            figures.packs += 1;
            figures.pack_bytes += bytes;
            figures.packs_deleted += 1;
            figures.packs_unlisted += 1;
            figures.bytes_deleted += bytes;
        }
        figures.index_objects = notes.len() as u64;
        figures.index_objects_replaced = notes.iter().filter(|note| note.is_replaced).count() as u64;
        figures.chunks_needed = needs.needed;
        figures.chunks_bases = needs.bases;
    }
}

/// Makes the error for so many needed chunks that no pack has.
fn missing(chunks: u64) -> Error {
    let noun = if chunks == 1 { "chunk" } else { "chunks" };
    let message = "missing from the repository; `daykeep check` names the files, `daykeep repair --read-data` makes copies \
                   of their snapshots without them; then forget the hurt ones";
    StoreError::new(StoreErrorKind::NotFound, format!("{chunks} {noun} that snapshots need"), message).into()
}

/// Counts what of a pack is needed: frame by frame, as repacking copies them.
fn count(
    needs: &mut Needs,
    record: &PackRecord,
    mut is_here: impl FnMut(&mut Needs, &ChunkRecord<ShortId>) -> Result<bool>,
) -> Result<PackCount> {
    let mut count = PackCount { id: record.id, is_used: false, unused_bytes: 0 };
    let mut chunks = record.table.chunks.iter();
    for frame in &record.table.frames {
        let mut needed = 0;
        for chunk in chunks.by_ref().take(frame.chunks as usize) {
            needed += if is_here(needs, chunk)? { u64::from(chunk.bytes) } else { 0 };
        }
        count.is_used |= needed > 0;
        let (plain, sealed) = (u64::from(frame.plain_bytes), u64::from(frame.sealed_bytes));
        if !is_copied_whole(needed, plain) {
            count.unused_bytes += sealed - sealed * needed / plain.max(1);
        }
    }
    Ok(count)
}

/// Returns whether a frame is copied as it is if `needed` of its `plain` bytes are needed.
pub(super) const fn is_copied_whole(needed: u64, plain: u64) -> bool {
    needed > 0 && needed * 2 >= plain
}
