//! What index objects and footers say of packs, as far as it is true.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::base::limits::{DELTA_CLOSURE_MAX, INDEX_FLUSH_CHUNKS, PACK_BYTES_MAX};
use crate::base::{ObjectId, ObjectKind, ObjectName, ShortId};
use crate::catalog::{Catalog, CatalogEntry};
use crate::chunks::entries_of;
use crate::error::{Error, Result};
use crate::format::index::{BasePrefix, ChunkKind, ChunkRecord, FrameTable, Index, PackRecord, RecordId};
use crate::repair::options::{RepairFigures, RepairOptions};
use crate::repair::packs::{self, damage};
use crate::repo::{Repository, load_index};

/// A chunk of an index object takes so many bytes in memory, about.
const CHUNK_BYTES: usize = 64;
/// So many footers are read at once.
const FOOTERS_AT_ONCE: usize = 256;

/// Where records of packs come from.
enum Origin {
    /// An index object.
    Object(ObjectId),
    /// The footers of these packs, and their lengths.
    Footers(Vec<(ObjectId, u64)>),
}

/// Some packs that are listed together. What it says is read again and again, as far as it does not fit into memory.
pub struct Source {
    origin: Origin,
    kept: Option<Index>,
    chunks: usize,
    /// A bit for each depth that a chunk in it has.
    depths: u32,
    /// Whether its packs are to be listed by a new index object.
    pub is_replaced: bool,
}

/// What is known of a pack that is listed.
struct Listed {
    /// Which source lists it. Other listings of it are ignored.
    source: usize,
    /// Its length as it is listed.
    bytes: u64,
    voids: usize,
    is_condemned: bool,
}

/// All that a repository has, as far as it can be read.
pub struct Listing {
    pub sources: Vec<Source>,
    packs: HashMap<ObjectId, Listed>,
    /// Packs that are not as they should be, with their lengths now, and of each of their chunks whether it is lost.
    pub hurt: HashMap<ObjectId, (u64, Vec<bool>)>,
    /// Packs that no index object lists and whose footer cannot be read, and their lengths.
    unreadable: Vec<(ObjectId, u64)>,
    /// Index objects that cannot be read.
    pub damaged: Vec<ObjectId>,
    /// All index objects.
    pub index_objects: Vec<ObjectId>,
    /// What is wrong, in words.
    pub findings: Vec<String>,
    room: usize,
}

impl Listing {
    /// Reads all index objects, and the footers of packs that none lists.
    pub fn read(repo: &Repository, options: &RepairOptions, figures: &mut RepairFigures) -> Result<Self> {
        let stored: HashMap<ObjectId, u64> = repo.store.list(ObjectKind::Pack)?.into_iter().collect();
        let mut listing = Self {
            sources: Vec::new(),
            packs: HashMap::new(),
            hurt: HashMap::new(),
            unreadable: Vec::new(),
            damaged: Vec::new(),
            index_objects: repo.sorted_ids(ObjectKind::Index)?,
            findings: Vec::new(),
            room: repo.memory_bytes / 8 / CHUNK_BYTES,
        };
        figures.packs = stored.len() as u64;
        figures.index_objects = listing.index_objects.len() as u64;
        for id in listing.index_objects.clone() {
            options.check_cancel()?;
            match load_index(repo.store.as_ref(), &repo.codec, id) {
                Ok(index) => listing.add_object(id, index, options.rebuild_index),
                Err(error) => {
                    listing.findings.push(damage(error)?.to_string());
                    listing.damaged.push(id);
                }
            }
        }
        let missing: Vec<ObjectId> = listing.packs.keys().filter(|id| !stored.contains_key(id)).copied().collect();
        for id in missing {
            if let Some(listed) = listing.packs.remove(&id) {
                listing.sources[listed.source].is_replaced = true;
                listing.findings.push(format!("packs/{id}: missing; what is only there is lost"));
                figures.packs_missing += 1;
            }
        }
        let suspects = listing.add_footers(repo, &stored, options, figures)?;
        listing.examine(repo, &stored, &suspects, options, figures)?;
        listing.findings.sort();
        Ok(listing)
    }

    fn add_object(&mut self, id: ObjectId, index: Index, is_replaced: bool) {
        let number = self.sources.len();
        let mut source = Source::new(Origin::Object(id), &index);
        source.is_replaced = is_replaced;
        for record in &index.packs {
            let voids = record.table.chunks.iter().filter(|chunk| chunk.is_void()).count();
            let listed =
                Listed { source: number, bytes: record.bytes.into(), voids, is_condemned: record.is_condemned() };
            match self.packs.get_mut(&record.id) {
                None => drop(self.packs.insert(record.id, listed)),
                // Two list it, as after an interruption. A pack that was condemned stays so; what one of them voids may be
                // needed again since.
                Some(known) => {
                    let rank = |listed: &Listed| (!listed.is_condemned, listed.voids);
                    let is_better = rank(&listed) < rank(known);
                    let other = if is_better { std::mem::replace(known, listed) } else { listed };
                    match other.source {
                        other if other == number => source.is_replaced = true,
                        other => self.sources[other].is_replaced = true,
                    }
                }
            }
        }
        self.push(source, index);
    }

    fn push(&mut self, mut source: Source, index: Index) {
        if source.chunks <= self.room {
            self.room -= source.chunks;
            source.kept = Some(index);
        }
        self.sources.push(source);
    }

    /// Reads the footers of packs that no index object lists; with `rebuild_index` of all. Returns those that are listed
    /// and whose footer cannot be read.
    fn add_footers(
        &mut self,
        repo: &Repository,
        stored: &HashMap<ObjectId, u64>,
        options: &RepairOptions,
        figures: &mut RepairFigures,
    ) -> Result<HashSet<ObjectId>> {
        let is_wanted = |(id, _): &(ObjectId, u64)| match self.packs.get(id) {
            None => true,
            Some(listed) => options.rebuild_index && !listed.is_condemned,
        };
        let mut wanted: Vec<(ObjectId, u64)> =
            stored.iter().map(|(id, bytes)| (*id, *bytes)).filter(is_wanted).collect();
        wanted.sort_unstable();
        let (mut suspects, mut index, mut packs, mut chunks) = (HashSet::new(), Index::default(), Vec::new(), 0);
        for some in wanted.chunks(FOOTERS_AT_ONCE) {
            options.check_cancel()?;
            let read: Vec<_> = some.par_iter().map(|(id, bytes)| packs::record_of(repo, *id, *bytes)).collect();
            for ((id, bytes), outcome) in some.iter().zip(read) {
                match outcome {
                    Ok(record) => {
                        figures.packs_found += u64::from(!self.packs.contains_key(id));
                        chunks += record.table.chunks.len();
                        packs.push((*id, *bytes));
                        index.packs.push(record);
                    }
                    Err(error) => {
                        self.findings.push(damage(error)?.to_string());
                        if self.packs.contains_key(id) {
                            suspects.insert(*id);
                        } else {
                            figures.packs_unreadable += 1;
                            self.unreadable.push((*id, *bytes));
                        }
                    }
                }
                if chunks >= INDEX_FLUSH_CHUNKS {
                    self.add_found(std::mem::take(&mut packs), std::mem::take(&mut index));
                    chunks = 0;
                }
            }
        }
        if !packs.is_empty() {
            self.add_found(packs, index);
        }
        Ok(suspects)
    }

    fn add_found(&mut self, packs: Vec<(ObjectId, u64)>, index: Index) {
        for (id, bytes) in &packs {
            let listed = Listed { source: self.sources.len(), bytes: *bytes, voids: 0, is_condemned: false };
            self.packs.insert(*id, listed);
        }
        let mut source = Source::new(Origin::Footers(packs), &index);
        source.is_replaced = true;
        self.push(source, index);
    }

    /// Looks into packs that are not as long as they should be, into the `suspects`, and with `read_data` into all.
    fn examine(
        &mut self,
        repo: &Repository,
        stored: &HashMap<ObjectId, u64>,
        suspects: &HashSet<ObjectId>,
        options: &RepairOptions,
        figures: &mut RepairFigures,
    ) -> Result<()> {
        let mut is_looked_into = vec![options.read_data; self.sources.len()];
        for (id, listed) in &self.packs {
            is_looked_into[listed.source] |= suspects.contains(id) || stored.get(id) != Some(&listed.bytes);
        }
        for number in (0..self.sources.len()).filter(|number| is_looked_into[*number]) {
            let index = self.load(repo, number)?;
            let look = |record: &PackRecord| -> Result<Option<_>> {
                options.check_cancel()?;
                if record.is_condemned() {
                    return Ok(None);
                }
                let bytes = stored.get(&record.id).copied().unwrap_or_default();
                let error = if bytes != u64::from(record.bytes) {
                    let reason = format!("has {bytes} bytes where an index object names {}", record.bytes);
                    Some(Error::damaged_object(&ObjectName::new(ObjectKind::Pack, record.id), reason))
                } else if options.read_data {
                    // What the disk does not give out may heal, too.
                    let error = packs::verify(repo, record).err().filter(|_| !packs::heals(repo, record));
                    error.map(damage).transpose()?
                } else {
                    None
                };
                if error.is_none() && !suspects.contains(&record.id) || packs::heals(repo, record) {
                    return Ok(None);
                }
                let lost = packs::lost_chunks(repo, record.id, &record.table)?;
                Ok(Some((record.id, bytes, lost, error)))
            };
            let found: Vec<_> = index.packs.par_iter().map(look).collect::<Result<_>>()?;
            drop(index);
            for (id, bytes, lost, error) in found.into_iter().flatten() {
                self.findings.extend(error.map(|error| error.to_string()));
                self.hurt.insert(id, (bytes, lost));
                self.sources[number].is_replaced = true;
                // It is kept without what is lost from now on.
                self.sources[number].kept = None;
                figures.packs_hurt += 1;
            }
        }
        Ok(())
    }

    /// Returns what a source says of packs that are there and that no other source counts for. What is lost in hurt packs
    /// is void.
    ///
    /// # Errors
    /// If it cannot be read any more.
    pub fn load(&self, repo: &Repository, number: usize) -> Result<Cow<'_, Index>> {
        let source = &self.sources[number];
        let counts = |record: &PackRecord| self.packs.get(&record.id).is_some_and(|listed| listed.source == number);
        if let Some(kept) = &source.kept {
            if kept.packs.iter().all(counts) {
                return Ok(Cow::Borrowed(kept));
            }
            let packs = kept.packs.iter().filter(|record| counts(record)).cloned().collect();
            return Ok(Cow::Owned(Index { packs }));
        }
        let mut index = match &source.origin {
            Origin::Object(id) => load_index(repo.store.as_ref(), &repo.codec, *id)?,
            Origin::Footers(packs) => {
                let read = packs.par_iter().map(|(id, bytes)| packs::record_of(repo, *id, *bytes));
                Index { packs: read.collect::<Result<_>>()? }
            }
        };
        index.packs.retain(counts);
        for record in &mut index.packs {
            let Some((_, lost)) = self.hurt.get(&record.id) else { continue };
            for (chunk, _) in record.table.chunks.iter_mut().zip(lost).filter(|(_, is_lost)| **is_lost) {
                chunk.id = ShortId::VOID;
            }
        }
        Ok(Cow::Owned(index))
    }

    /// Enters all chunks that can be read. Of the copies of one those of the least depth count: so whatever stands on it
    /// reaches whole chunks, and never itself.
    ///
    /// # Errors
    /// If a source cannot be read any more; the catalog's own.
    pub fn enter(&self, repo: &Repository, catalog: &Catalog, options: &RepairOptions) -> Result<()> {
        // The catalog is this repair's alone; nobody asks it for its index objects.
        let add =
            |entries: &mut Vec<CatalogEntry>| catalog.add(&ObjectName::CONFIG.id, entries).map(|()| entries.clear());
        // Each addition touches all pages of the table, since ids are random: so there are few.
        let batch_max = repo.memory_bytes / 4 / size_of::<CatalogEntry>();
        let mut batch = Vec::new();
        for depth in 0..=DELTA_CLOSURE_MAX {
            for number in (0..self.sources.len()).filter(|number| self.sources[*number].depths & 1 << depth != 0) {
                options.check_cancel()?;
                for entry in entries_of(self.load(repo, number)?.as_ref()) {
                    let (reach, kind) = (entry.location.reach, entry.location.kind);
                    let is_taken = reach.depth == depth
                        && (depth == 0
                            || catalog.find(&entry.id)?.is_none() && is_founded(catalog, &entry.bases, kind, depth)?);
                    if is_taken {
                        batch.push(entry);
                    }
                }
                if batch.len() >= batch_max {
                    add(&mut batch)?;
                }
            }
            if !batch.is_empty() {
                add(&mut batch)?;
            }
        }
        Ok(())
    }

    /// Returns the record of a pack as it is to be listed: deltas are void that stand on nothing, or beside which a copy of
    /// the same chunk of less depth is used.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn amended(&self, catalog: &Catalog, record: &PackRecord) -> Result<PackRecord> {
        let mut record = record.clone();
        for chunk in &mut record.table.chunks {
            if !chunk.is_void() && !is_usable(catalog, chunk)? {
                chunk.id = ShortId::VOID;
            }
        }
        Ok(record)
    }

    /// Marks the index objects that say what is not so.
    ///
    /// # Errors
    /// If a source cannot be read any more; the catalog's own.
    pub fn compare(&mut self, repo: &Repository, catalog: &Catalog, options: &RepairOptions) -> Result<()> {
        for number in 0..self.sources.len() {
            // Whole chunks are as they are listed, or were seen to be hurt.
            if self.sources[number].is_replaced || self.sources[number].depths <= 1 {
                continue;
            }
            options.check_cancel()?;
            let mut is_true = true;
            for record in &self.load(repo, number)?.packs {
                is_true = is_true && self.amended(catalog, record)? == *record;
            }
            self.sources[number].is_replaced = !is_true;
        }
        Ok(())
    }

    /// Returns how packs are listed from now on of which nothing is to be used: hurt ones, and those that were in no index
    /// object and cannot be. Longer ones than any pack may be are not listed.
    pub fn condemned(&self) -> Vec<PackRecord> {
        let hurt = self.hurt.iter().map(|(id, (bytes, _))| (*id, *bytes));
        let all = hurt.chain(self.unreadable.iter().copied()).filter(|(_, bytes)| *bytes <= PACK_BYTES_MAX as u64);
        all.map(|(id, bytes)| PackRecord { id, bytes: bytes as u32, table: FrameTable::default() }).collect()
    }

    /// Returns whether the index objects say all that is so, and nothing else.
    pub fn is_true(&self) -> bool {
        self.replaced().is_empty()
            && !self.sources.iter().any(|source| source.is_replaced)
            && self.condemned().is_empty()
    }

    /// Returns the index objects in whose place others are to be.
    pub fn replaced(&self) -> Vec<ObjectId> {
        let object = |source: &Source| match source.origin {
            Origin::Object(id) if source.is_replaced => Some(id),
            _ => None,
        };
        self.sources.iter().filter_map(object).chain(self.damaged.iter().copied()).collect()
    }
}

impl Source {
    fn new(origin: Origin, index: &Index) -> Self {
        let (mut chunks, mut depths) = (0, 0);
        for record in &index.packs {
            chunks += record.table.chunks.len();
            for chunk in &record.table.chunks {
                depths |= 1 << chunk.delta.as_ref().map_or(0, |delta| delta.reach.depth);
            }
        }
        Self { origin, kept: None, chunks, depths, is_replaced: false }
    }
}

/// Returns whether all that a delta stands on is there, and less deep than itself.
fn is_founded(catalog: &Catalog, bases: &[BasePrefix], kind: ChunkKind, depth: u8) -> Result<bool> {
    for base in bases {
        let found = catalog.find_base(base)?;
        if found.is_none_or(|(_, base)| base.kind != kind || base.reach.depth >= depth) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether a chunk may be used as its record says.
fn is_usable(catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<bool> {
    let Some(delta) = &chunk.delta else { return Ok(true) };
    let depth = delta.reach.depth;
    let is_taken = catalog.find(&chunk.id)?.is_some_and(|found| found.reach.depth == depth && found.kind == chunk.kind);
    Ok(is_taken && is_founded(catalog, &delta.bases, chunk.kind, depth)?)
}
