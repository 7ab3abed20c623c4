//! What the index objects say of packs: noted is only where it stands, and it is read again when it is needed. So memory does
//! not grow with the number of chunks.

use std::collections::{BTreeSet, HashMap};

use crate::base::ObjectId;
use crate::base::limits::INDEX_FLUSH_CHUNKS;
use crate::chunks::load_index;
use crate::error::Error;
use crate::format::index::PackRecord;
use crate::repo::Repository;

/// A pack.
pub(super) struct Place {
    /// Its length in the store, if it is there.
    pub stored_bytes: Option<u64>,
    /// Which index object lists it first.
    pub first: Option<Lister>,
}

/// An index object that lists a pack, and what it says.
pub(super) struct Lister {
    /// Its number among those that were read.
    number: u32,
    /// The pack's length.
    pub bytes: u32,
    /// How many chunks lie in it.
    chunks: u32,
}

/// All packs that are in the store or that an index object lists.
pub(super) struct Listed {
    pub packs: HashMap<ObjectId, Place>,
    /// The index objects that were read, in that order.
    indexes: Vec<ObjectId>,
    /// Those that list packs which another one listed before. An interrupted prune leaves such.
    again: HashMap<ObjectId, Vec<u32>>,
}

impl Listed {
    /// Makes one of the packs in the store, of which no index object was read yet.
    pub fn new(stored: Vec<(ObjectId, u64)>) -> Self {
        let place = |bytes| Place { stored_bytes: Some(bytes), first: None };
        let packs = stored.into_iter().map(|(id, bytes)| (id, place(bytes))).collect();
        Self { packs, indexes: Vec::new(), again: HashMap::new() }
    }

    /// Takes note of what an index object lists.
    pub fn add(&mut self, index: ObjectId, records: &[PackRecord]) {
        let number = self.indexes.len() as u32;
        self.indexes.push(index);
        for record in records {
            let place = self.packs.entry(record.id).or_insert(Place { stored_bytes: None, first: None });
            if place.first.is_some() {
                self.again.entry(record.id).or_default().push(number);
            } else {
                let chunks = record.table.chunks.len() as u32;
                place.first = Some(Lister { number, bytes: record.bytes, chunks });
            }
        }
    }

    /// Returns the packs that are listed more than once.
    pub fn again(&self) -> Vec<ObjectId> {
        self.again.keys().copied().collect()
    }

    /// Returns the packs in an order in which each index object need be read once, as far as it alone lists them, and in parts
    /// that have together no more chunks than a full index object, or are of one. Those that none lists come last.
    pub fn parts<'p>(&self, packs: &'p mut [ObjectId]) -> Vec<&'p [ObjectId]> {
        let first = |id: &ObjectId| self.packs.get(id).and_then(|place| place.first.as_ref());
        let number = |id: &ObjectId| first(id).map_or(u32::MAX, |lister| lister.number);
        packs.sort_by_key(number);
        let mut chunks = 0;
        let mut parts: Vec<&[ObjectId]> = Vec::new();
        let (mut rest, mut end) = (&*packs, 0);
        for of_one in packs.chunk_by(|a, b| number(a) == number(b)) {
            let more: usize = of_one.iter().filter_map(first).map(|lister| lister.chunks as usize).sum();
            if end > 0 && chunks + more > INDEX_FLUSH_CHUNKS {
                let (part, after) = rest.split_at(end);
                parts.push(part);
                (rest, end, chunks) = (after, 0, 0);
            }
            (end, chunks) = (end + of_one.len(), chunks + more);
        }
        parts.push(rest);
        parts
    }

    /// Reads what index objects say of `packs`, each object once: of each pack what the first says, but void is what any of
    /// them voids, since after an interrupted prune what only the older one needs may be gone. Calls `compare` with the index
    /// object, what it says, and what those before it said, for each that lists a pack again. Returns the errors of index
    /// objects that can no longer be read too.
    pub fn records(
        &self,
        repo: &Repository,
        packs: &[ObjectId],
        compare: &mut dyn FnMut(ObjectId, &PackRecord, &PackRecord),
    ) -> (HashMap<ObjectId, PackRecord>, Vec<Error>) {
        let wanted: BTreeSet<&ObjectId> = packs.iter().collect();
        let mut listers = BTreeSet::new();
        for id in packs {
            listers.extend(self.packs.get(id).and_then(|place| place.first.as_ref()).map(|lister| lister.number));
            listers.extend(self.again.get(id).into_iter().flatten());
        }
        let (mut records, mut errors) = (HashMap::<ObjectId, PackRecord>::new(), Vec::new());
        for number in listers {
            let index = self.indexes[number as usize];
            let packs = match load_index(repo.store.as_ref(), &repo.codec, index) {
                Ok(index) => index.packs,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for record in packs {
                if let Some(known) = records.get_mut(&record.id) {
                    compare(index, &record, known);
                    void_alike(known, &record);
                } else if wanted.contains(&record.id) {
                    records.insert(record.id, record);
                }
            }
        }
        (records, errors)
    }
}

/// Returns whether two index objects say the same of a pack, but for what either voids.
pub(super) fn is_same(one: &PackRecord, other: &PackRecord) -> bool {
    let mut voided = other.clone();
    void_alike(&mut voided, one);
    one.bytes == other.bytes && voided.table.agrees_with(&one.table)
}

/// Voids in `one` what is void in `other`.
fn void_alike(one: &mut PackRecord, other: &PackRecord) {
    for (chunk, other) in one.table.chunks.iter_mut().zip(&other.table.chunks) {
        if other.is_void() {
            chunk.id = other.id;
        }
    }
}
