//! What the index objects and the store say of packs.

use std::collections::{HashMap, HashSet};

use crate::base::{ObjectId, ObjectKind};
use crate::error::{Error, Result};
use crate::format::index::{Index, PackRecord};
use crate::prune::fate::Fate;
use crate::prune::options::PruneOptions;
use crate::repo::{Repository, load_index};

/// What is known of an index object.
pub struct IndexNote {
    /// Its name.
    pub id: ObjectId,
    /// Its length.
    pub bytes: u64,
    /// How many chunks it lists.
    pub chunks: usize,
    /// A bit for each depth that a delta in it has.
    depths: u32,
    /// Whether other index objects take its place.
    pub is_replaced: bool,
    /// Whether another one lists a pack of it, and that listing counts.
    pub is_outranked: bool,
}

/// All index objects. They are read again and again, since together they may be longer than memory; the first ones stay.
pub struct Indexes {
    pub notes: Vec<IndexNote>,
    kept: Vec<Option<Index>>,
}

/// What is known of a pack that is there as an index object lists it.
pub struct PackNote {
    /// Its length.
    pub bytes: u64,
    /// Which index object lists it, and at which place in that. Other listings of it are ignored.
    listing: (u32, u32),
    /// Whether a repair has condemned it: nothing in it is to be used.
    is_condemned: bool,
    /// How many chunks in it are void.
    voids: u32,
    /// How many of 255 bytes in it are needed, should other packs have none of them.
    pub share: u8,
    /// Whether anything in it is needed.
    pub is_used: bool,
    /// How many bytes less it would have if it were written anew.
    pub unused_bytes: u64,
    /// What becomes of it.
    pub fate: Fate,
}

/// All packs that are there as an index object lists them.
pub type Packs = HashMap<ObjectId, PackNote>;

/// What a repository has.
pub struct Listing {
    /// The index objects.
    pub indexes: Indexes,
    /// The packs that they list.
    pub packs: Packs,
    /// Packs that are listed and not there, or not with the length that they should have.
    pub missing: HashSet<ObjectId>,
    /// Packs that none lists, or not with the length that they have, and their lengths.
    pub unlisted: Vec<(ObjectId, u64)>,
}

/// A chunk of an index object takes so many bytes in memory, about.
const CHUNK_BYTES: usize = 64;

impl Listing {
    /// Reads all index objects.
    ///
    /// # Errors
    /// `Unprunable` if one cannot be read: what it lists would pass for unlisted.
    pub fn read(repo: &Repository, options: &PruneOptions) -> Result<Self> {
        let stored: HashMap<ObjectId, u64> = repo.store.list(ObjectKind::Pack)?.into_iter().collect();
        let (mut notes, mut kept) = (Vec::<IndexNote>::new(), Vec::new());
        let (mut packs, mut missing) = (Packs::new(), HashSet::new());
        let mut room = repo.memory_bytes / 8 / CHUNK_BYTES;
        let mut listed = repo.store.list(ObjectKind::Index)?;
        listed.sort_unstable();
        for (number, (id, bytes)) in (0u32..).zip(listed) {
            options.check_cancel()?;
            let index = load_index(repo.store.as_ref(), &repo.codec, id)
                .map_err(|source| Error::Unprunable { source: Box::new(source) })?;
            let mut note = IndexNote { id, bytes, chunks: 0, depths: 0, is_replaced: false, is_outranked: false };
            for (position, record) in (0u32..).zip(&index.packs) {
                let chunks = &record.table.chunks;
                note.chunks += chunks.len();
                chunks.iter().flat_map(|chunk| &chunk.delta).for_each(|delta| note.depths |= 1 << delta.reach.depth);
                let bytes = u64::from(record.bytes);
                if stored.get(&record.id) != Some(&bytes) {
                    // If anything in it were needed, that would show.
                    note.is_replaced = true;
                    missing.insert(record.id);
                    continue;
                }
                let pack = PackNote::new(bytes, (number, position), record);
                match packs.get_mut(&record.id) {
                    None => drop(packs.insert(record.id, pack)),
                    // Two list it, as after an interrupted prune or repair. What was condemned stays so: all of it that
                    // could be read lies elsewhere. What one of them voids may be needed again since.
                    Some(known) => {
                        let is_better = pack.rank() < known.rank();
                        let other = if is_better { std::mem::replace(known, pack) } else { pack };
                        // Were it to stay, it would list the pack once that is gone.
                        let outranked = notes.get_mut(other.index()).unwrap_or(&mut note);
                        (outranked.is_replaced, outranked.is_outranked) = (true, true);
                    }
                }
            }
            let is_kept = note.chunks <= room;
            room -= if is_kept { note.chunks } else { 0 };
            notes.push(note);
            kept.push(is_kept.then_some(index));
        }
        let unlisted = stored.into_iter().filter(|(id, _)| !packs.contains_key(id)).collect();
        Ok(Self { indexes: Indexes { notes, kept }, packs, missing, unlisted })
    }

    /// Returns whether two index objects list the same pack.
    pub fn has_rivals(&self) -> bool {
        self.indexes.notes.iter().any(|note| note.is_outranked)
    }
}

impl Indexes {
    /// Calls `visit` with number and content of each index object of which `is_wanted` says so.
    ///
    /// # Errors
    /// If one cannot be read any more, or what `visit` returns.
    pub fn for_each(
        &self,
        repo: &Repository,
        is_wanted: impl Fn(&IndexNote) -> bool,
        mut visit: impl FnMut(u32, &Index) -> Result<()>,
    ) -> Result<()> {
        for (number, (note, kept)) in (0u32..).zip(self.notes.iter().zip(&self.kept)) {
            if !is_wanted(note) {
                continue;
            }
            match kept {
                Some(index) => visit(number, index)?,
                None => visit(number, &load_index(repo.store.as_ref(), &repo.codec, note.id)?)?,
            }
        }
        Ok(())
    }
}

impl IndexNote {
    /// Returns whether it lists a delta of this depth.
    pub const fn has_depth(&self, depth: u8) -> bool {
        self.depths & 1 << depth != 0
    }
}

impl PackNote {
    fn new(bytes: u64, listing: (u32, u32), record: &PackRecord) -> Self {
        let voids = record.table.chunks.iter().filter(|chunk| chunk.is_void()).count() as u32;
        let (is_condemned, fate) = (record.is_condemned(), Fate::Keep);
        Self { bytes, listing, is_condemned, voids, share: 0, is_used: false, unused_bytes: 0, fate }
    }

    /// Of two listings of the same pack the lower one counts.
    const fn rank(&self) -> (bool, u32) {
        (!self.is_condemned, self.voids)
    }

    /// Returns which index object lists it.
    pub const fn index(&self) -> usize {
        self.listing.0 as usize
    }
}

/// Returns the records of an index object that count.
pub fn records<'i>(
    packs: &'i Packs,
    number: u32,
    index: &'i Index,
) -> impl Iterator<Item = (&'i PackRecord, &'i PackNote)> {
    (0u32..).zip(&index.packs).filter_map(move |(position, record)| {
        let note = packs.get(&record.id)?;
        (note.listing == (number, position)).then_some((record, note))
    })
}
