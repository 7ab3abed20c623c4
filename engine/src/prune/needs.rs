//! Which chunks are needed, and which copy of each.

use crate::base::ShortId;
use crate::base::limits::DELTA_CLOSURE_MAX;
use crate::catalog::{Catalog, MARK_BYTES, Marks};
use crate::error::Result;
use crate::format::index::{ChunkRecord, Reach};

/// More than any depth: what snapshots have may be stored in any way.
const ANY_DEPTH: u8 = DELTA_CLOSURE_MAX + 1;

/// What is known of a needed chunk.
///
/// A chunk may be stored more than once, as after an interrupted prune, and as different deltas. Of its copies one of the
/// least depth is taken, then of the least closure: so whatever stands on it, as its own depth counts, still reaches whole
/// chunks, and never itself.
#[derive(Clone, Copy)]
pub struct Need {
    /// Its depth must be less.
    below: u8,
    /// Whether it was found in a pack.
    is_placed: bool,
    /// Whether a pack that stays has it.
    is_settled: bool,
    /// Depth and closure of the copy that is taken.
    reach: Reach,
    /// How many of 255 bytes of its pack are needed.
    share: u8,
}

const BELOW: u8 = 0x3f;
const IS_PLACED: u8 = 0x40;
const IS_SETTLED: u8 = 0x80;
const _: () = assert!(ANY_DEPTH <= BELOW);

impl Need {
    const fn new(below: u8) -> Self {
        let reach = Reach { depth: u8::MAX, closure: u8::MAX };
        Self { below, is_placed: false, is_settled: false, reach, share: 0 }
    }

    fn encode(self) -> [u8; MARK_BYTES] {
        let flags = if self.is_placed { IS_PLACED } else { 0 } | if self.is_settled { IS_SETTLED } else { 0 };
        [self.below | flags, self.reach.depth, self.reach.closure, self.share]
    }

    /// Returns what `mark` says, or `None` if it is that of a tree or piece that was visited.
    fn decode(mark: [u8; MARK_BYTES]) -> Option<Self> {
        let [flags, depth, closure, share] = mark;
        (flags & BELOW != 0).then_some(Self {
            below: flags & BELOW,
            is_placed: flags & IS_PLACED != 0,
            is_settled: flags & IS_SETTLED != 0,
            reach: Reach { depth, closure },
            share,
        })
    }
}

/// Where a chunk counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nobody needs it, or not this copy.
    NotNeeded,
    /// Here.
    Here,
    /// In another place.
    Elsewhere,
}

const VISITED: [u8; MARK_BYTES] = [0; MARK_BYTES];

/// All needed chunks.
pub struct Needs {
    marks: Marks,
    /// How many there are.
    pub needed: u64,
    /// How many of them only deltas need.
    pub bases: u64,
    /// Whether a delta was found that stands on nothing. Then each is looked at again before it is taken.
    has_unfounded: bool,
}

/// Returns a chunk's depth and closure as its record names them.
pub fn reach<I>(chunk: &ChunkRecord<I>) -> Reach {
    chunk.delta.as_ref().map_or(Reach::default(), |delta| delta.reach)
}

impl Needs {
    pub fn new(marks: Marks) -> Self {
        Self { marks, needed: 0, bases: 0, has_unfounded: false }
    }

    /// Notes that a snapshot has these chunks.
    pub fn add(&mut self, ids: impl IntoIterator<Item = ShortId>) -> Result<()> {
        for id in ids {
            if self.marks.get(&id)?.is_none() {
                self.marks.set(id, Need::new(ANY_DEPTH).encode())?;
                self.needed += 1;
            }
        }
        Ok(())
    }

    /// Notes a visit to a tree or list piece, and returns whether it was the first.
    pub fn visit(&mut self, fingerprint: ShortId) -> Result<bool> {
        let is_first = self.marks.get(&fingerprint)?.is_none();
        if is_first {
            self.marks.set(fingerprint, VISITED)?;
        }
        Ok(is_first)
    }

    /// Returns what is known of a chunk, or `None` if it is not needed.
    pub fn get(&self, id: &ShortId) -> Result<Option<Need>> {
        Ok(self.marks.get(id)?.and_then(Need::decode))
    }

    /// Notes what the chunk stands on, if it is needed and a delta of this depth. To be called for all deltas of the
    /// greatest depth first, then for those of the next and so on.
    ///
    /// What stands beside a better copy counts too. Its bases stay until the next prune, when no index object lists it any
    /// more: so an interrupted one leaves no copy of a needed chunk that cannot be rebuilt.
    pub fn add_bases(&mut self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>, depth: u8) -> Result<()> {
        let Some(delta) = chunk.delta.as_ref().filter(|delta| delta.reach.depth == depth) else { return Ok(()) };
        if chunk.is_void() || self.get(&chunk.id)?.is_none_or(|need| depth >= need.below) {
            return Ok(());
        }
        for base in &delta.bases {
            let Some((id, _)) = catalog.find_base(base)?.filter(|(_, location)| location.kind == chunk.kind) else {
                self.has_unfounded = true;
                return Ok(());
            };
            let known = self.get(&id)?;
            if known.is_none() {
                self.needed += 1;
                self.bases += 1;
            }
            let need = known.unwrap_or(Need::new(ANY_DEPTH));
            if depth < need.below {
                self.marks.set(id, Need { below: depth, ..need }.encode())?;
            }
        }
        Ok(())
    }

    /// Returns what is known of a chunk if it is needed and this copy of it would do.
    fn candidate(&self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<Option<Need>> {
        if chunk.is_void() {
            return Ok(None);
        }
        let Some(need) = self.get(&chunk.id)?.filter(|need| reach(chunk).depth < need.below) else { return Ok(None) };
        if self.has_unfounded {
            for base in chunk.delta.iter().flat_map(|delta| &delta.bases) {
                if catalog.find_base(base)?.is_none_or(|(_, location)| location.kind != chunk.kind) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(need))
    }

    /// Counts the chunk in this place if it is needed and not counted yet.
    pub fn place_first(&mut self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<Place> {
        let Some(need) = self.candidate(catalog, chunk)? else { return Ok(Place::NotNeeded) };
        if need.is_placed {
            return Ok(Place::Elsewhere);
        }
        self.marks.set(chunk.id, Need { reach: reach(chunk), is_placed: true, ..need }.encode())?;
        Ok(Place::Here)
    }

    /// Returns whether a copy of the chunk would do, though others may do better.
    pub fn would_do(&self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<bool> {
        Ok(self.candidate(catalog, chunk)?.is_some())
    }

    /// Takes this copy, if it is better than the one taken so far: less deep, of a smaller closure, or in a pack of which
    /// more is needed.
    pub fn choose(&mut self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>, share: u8) -> Result<()> {
        let Some(need) = self.candidate(catalog, chunk)? else { return Ok(()) };
        let reach = reach(chunk);
        if (reach.depth, reach.closure, !share) < (need.reach.depth, need.reach.closure, !need.share) {
            self.marks.set(chunk.id, Need { reach, share, is_placed: false, ..need }.encode())?;
        }
        Ok(())
    }

    /// Counts the chunk in this place if it is needed and this is the first of those as good as the one that was taken.
    pub fn place_best(&mut self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>, share: u8) -> Result<Place> {
        let Some(need) = self.candidate(catalog, chunk)? else { return Ok(Place::NotNeeded) };
        if need.is_placed || need.reach != reach(chunk) || need.share != share {
            return Ok(Place::Elsewhere);
        }
        self.marks.set(chunk.id, Need { is_placed: true, ..need }.encode())?;
        Ok(Place::Here)
    }

    /// Returns whether the chunk is needed and this copy as good as the one taken, and none is settled yet.
    pub fn is_wanted(&self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<bool> {
        let need = self.candidate(catalog, chunk)?;
        Ok(need.is_some_and(|need| need.reach == reach(chunk) && !need.is_settled))
    }

    /// Notes that a pack that stays has the chunk.
    pub fn settle(&mut self, id: &ShortId) -> Result<()> {
        match self.get(id)? {
            Some(need) => Ok(self.marks.set(*id, Need { is_settled: true, ..need }.encode())?),
            None => Ok(()),
        }
    }

    /// Returns whether nobody may use this copy of a chunk any more: it is a delta that is not needed, and so may be what
    /// it stands on not to be there for long; or one beside which a better copy was taken.
    pub fn is_void(&self, catalog: &Catalog, chunk: &ChunkRecord<ShortId>) -> Result<bool> {
        let Some(delta) = &chunk.delta else { return Ok(chunk.is_void()) };
        if chunk.is_void() {
            return Ok(true);
        }
        if self.get(&chunk.id)?.is_some() {
            return Ok(self.candidate(catalog, chunk)?.is_none_or(|need| need.reach != delta.reach));
        }
        for base in &delta.bases {
            let found = catalog.find_base(base)?.filter(|(_, location)| location.kind == chunk.kind);
            let Some((id, _)) = found else { return Ok(true) };
            if self.get(&id)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
