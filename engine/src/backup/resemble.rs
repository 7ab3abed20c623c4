//! A changed file beside its last version: which chunks are as they were, and which known ones a new one resembles.
//!
//! A database's pages resemble those at their places, and others that sketches tell, which are kept from one backup to the
//! next. Any other file is read in order beside its last version: whatever was put in or taken out shifts what follows, so
//! a chunk that is found again tells where the next ones were.

use std::collections::HashMap;

use crate::backup::engine::Engine;
use crate::base::limits::{BASES_MAX, CHUNK_BYTES_MAX, MIB};
use crate::base::{ChunkId, Lease, ShortId, large};
use crate::chunks::{Scratch, Sort, Taken, Workers};
use crate::delta::{Similar, Sketch, likely_bases};
use crate::error::Result;
use crate::format::content::{Content, Part};
use crate::format::tree::Class;
use crate::tree::Outline;

/// Places and sketches of a file's chunks take some 120 bytes each: of a longer file than fits into a quarter of the memory
/// budget only the first chunks are compared with those at their place.
const BYTES_PER_CHUNK: usize = 128;
/// The shortest page of a database; other chunks are longer.
const CHUNK_BYTES_MIN: u64 = 512;
/// A file is not compared if less than this is left for it. Half is for its changed chunks.
const COMPARED_MEMORY_MIN: usize = 4 * MIB;
/// The least part of what a chunk takes alone that a delta has to save, if the chunk would lie in a frame with others that
/// it has much in common with: a quarter.
const GAIN_MIN_GENERAL: usize = 4;

/// By what old chunks are found that a new one resembles.
enum By {
    /// By sketches, kept under this name.
    Sketches(Vec<u8>),
    /// By where the last version's chunks began, and how far what follows the last one that was found again lies from where
    /// it was.
    Places { old: HashMap<ShortId, u64>, shift: i64 },
}

/// A file that is compared with its last version while it is read.
pub(super) struct Resemblance {
    by: By,
    _lease: Lease,
    /// How many chunks are kept at most.
    chunks_max: usize,
    /// Changed chunks wait until they are so many bytes: whatever waits together opens a frame of old ones once.
    waiting_bytes_max: usize,
    /// Whether there is nothing to compare it with; then it is only looked at for the next time.
    is_first: bool,
    /// Whether the chunks of the last version are certainly there.
    is_certain: bool,
    /// What the last version's chunks, or those of some version before, looked like.
    old: Vec<(ShortId, Sketch)>,
    new: Vec<(ShortId, Sketch)>,
    waiting: Vec<u8>,
    changed: Vec<Changed>,
}

/// A new chunk that waits to be stored.
struct Changed {
    id: ChunkId,
    sketch: Sketch,
    bytes: usize,
    /// Old chunks where it is, the best first.
    in_place: Vec<ShortId>,
}

/// What is found out about a chunk.
pub(super) struct Seen {
    /// Its part of the file's content.
    pub part: Part,
    sketch: Sketch,
    /// Set if it is new, and not stored yet.
    taken: Option<ChunkId>,
}

impl Resemblance {
    /// Returns how many chunks were noted.
    pub fn len(&self) -> usize {
        self.new.len()
    }
}

impl Engine<'_> {
    /// Begins to compare the file called `name` with its last version, if its class is one for which that pays, or with
    /// another that is called `like`; `previous` is that one's content. Returns its outline too.
    pub fn resemblance(
        &self,
        (name, like): (Vec<u8>, Option<Vec<u8>>),
        previous: Option<&Content>,
        bytes_expected: Option<u64>,
        class: Class,
    ) -> Option<(Box<Resemblance>, Outline)> {
        let is_compared = match class {
            Class::Sqlite => true,
            Class::General => previous.is_some(),
            Class::Media | Class::EncryptedPages => false,
        };
        if !is_compared {
            return None;
        }
        let bytes = bytes_expected.unwrap_or(u64::MAX).max(previous.map_or(0, Content::bytes));
        let (places_wanted, waiting_wanted) = (self.repo.memory_bytes / 4, self.repo.memory_bytes / 16 * 3);
        let chunks = usize::try_from(bytes / CHUNK_BYTES_MIN).unwrap_or(usize::MAX);
        let places_wanted = places_wanted.min(chunks.saturating_mul(BYTES_PER_CHUNK));
        let waiting_wanted = waiting_wanted.min(usize::try_from(bytes).unwrap_or(usize::MAX)) + CHUNK_BYTES_MAX;
        let wanted = (places_wanted + waiting_wanted).max(COMPARED_MEMORY_MIN);
        let lease = self.repo.budget.take_some_or_none(COMPARED_MEMORY_MIN, wanted)?;
        let places_bytes = places_wanted.min(lease.bytes() / 2);
        let chunks_max = places_bytes / BYTES_PER_CHUNK;
        let outline = || previous.map_or_else(Outline::default, |last| Outline::of(&self.reader, last, chunks_max));
        let (by, outline, old) = match class {
            Class::Sqlite => {
                let load = |name: &Vec<u8>| {
                    self.sketches.as_ref().map_or_else(Vec::new, |sketches| sketches.load(name, chunks_max))
                };
                let mut old = load(&name);
                if let Some(like) = like.filter(|_| old.is_empty()) {
                    old = load(&like);
                }
                (By::Sketches(name), outline(), old)
            }
            _ => {
                let outline = outline();
                (By::Places { old: outline.starts().collect(), shift: 0 }, outline, Vec::new())
            }
        };
        let is_first = outline.chunks() == 0 && old.is_empty();
        let (new, waiting, changed) = (Vec::with_capacity(old.len()), Vec::new(), Vec::new());
        let is_certain = self.doubts.is_none();
        let waiting_bytes_max = lease.bytes() - places_bytes - CHUNK_BYTES_MAX;
        let resemblance = Resemblance {
            by,
            is_first,
            is_certain,
            _lease: lease,
            chunks_max,
            waiting_bytes_max,
            old,
            new,
            waiting,
            changed,
        };
        Some((Box::new(resemblance), outline))
    }

    /// Looks at the chunk at byte `at`, the `index`th of the file.
    pub fn look(
        &self,
        (resemblance, outline): (&Resemblance, &Outline),
        scratch: &mut Scratch,
        sort: Sort,
        (index, at): (usize, u64),
        bytes: &[u8],
    ) -> Result<Seen> {
        let id = self.writer.id(sort, bytes);
        let part = Part::Chunk { id: id.short(), bytes: bytes.len() as u64 };
        let sketch = match resemblance.by {
            By::Sketches(_) => {
                let known = resemblance.old.get(index).filter(|(old, _)| *old == id.short());
                known.map_or_else(|| Sketch::of(self.repo.chunker.gear(), bytes), |(_, sketch)| *sketch)
            }
            By::Places { .. } => Sketch::NONE,
        };
        let is_in_place = resemblance.is_certain && outline.chunk(at) == Some(id.short());
        let mut taken = None;
        if !is_in_place && self.writer.claim(id.short(), bytes.len())? {
            if resemblance.is_first {
                self.writer.put_claimed(scratch, sort, id, bytes)?;
            } else {
                taken = Some(id);
            }
        }
        Ok(Seen { part, sketch, taken })
    }

    /// Takes note of a chunk of `bytes` at byte `at` that was looked at. Returns whether it is time to
    /// [store](Self::store_changed) what waits.
    pub fn note(
        &self,
        (resemblance, outline): (&mut Resemblance, &Outline),
        (at, bytes): (u64, &[u8]),
        seen: &Seen,
    ) -> bool {
        let Part::Chunk { id: short, .. } = seen.part else { return false };
        let in_place = match &mut resemblance.by {
            By::Sketches(_) => {
                if resemblance.new.len() < resemblance.chunks_max {
                    resemblance.new.push((short, seen.sketch));
                }
                outline.chunk(at).into_iter().collect()
            }
            By::Places { old, shift } => {
                if let Some(&was) = old.get(&short) {
                    *shift = was as i64 - at as i64;
                }
                match seen.taken {
                    Some(_) => places(outline, at.saturating_add_signed(*shift), bytes.len() as u64),
                    None => Vec::new(),
                }
            }
        };
        let Some(id) = seen.taken else { return false };
        if resemblance.waiting.capacity() == 0 {
            // At once, since a vector that grows takes twice as much. Only what is written of it takes memory.
            resemblance.waiting = large::room(resemblance.waiting_bytes_max + CHUNK_BYTES_MAX);
        }
        resemblance.waiting.extend_from_slice(bytes);
        resemblance.changed.push(Changed { id, sketch: seen.sketch, bytes: bytes.len(), in_place });
        resemblance.waiting.len() >= resemblance.waiting_bytes_max
    }

    /// As [`store_changed`](Self::store_changed), on all cores if no other stream has these: whoever has them may take up any
    /// other file while it waits, and that one must not do so again.
    pub fn store_waiting(
        &self,
        resemblance: &mut Resemblance,
        scratch: &mut Option<Scratch>,
        sort: Sort,
    ) -> Result<()> {
        if resemblance.waiting.is_empty() {
            return Ok(());
        }
        match self.batches.try_lock() {
            Ok(mut batches) => {
                self.release(scratch);
                // What waits has been copied, and its bases need the memory.
                batches.free();
                self.store_changed(resemblance, Workers::AllCores, sort)
            }
            Err(_) => self.store_changed(resemblance, Workers::Alone(self.hold(scratch)?), sort),
        }
    }

    /// Stores what waits.
    pub fn store_changed(&self, resemblance: &mut Resemblance, workers: Workers<'_>, sort: Sort) -> Result<()> {
        let sketches: Vec<Sketch> = resemblance.changed.iter().map(|changed| changed.sketch).collect();
        let mut similar = Similar::new(&sketches);
        for (old, (_, sketch)) in (0..).zip(&resemblance.old) {
            similar.show(old, sketch);
        }
        let mut rest = resemblance.waiting.as_slice();
        let taken: Vec<Taken<'_>> = (resemblance.changed.iter().zip(similar.finish()))
            .map(|(changed, candidates)| {
                let (bytes, after) = rest.split_at(changed.bytes);
                rest = after;
                let old = |index: u32| resemblance.old[index as usize].0;
                let bases = likely_bases(&changed.in_place, &candidates, old, BASES_MAX);
                Taken { id: changed.id, bytes, bases }
            })
            .collect();
        let gain_min = match resemblance.by {
            By::Sketches(_) => None,
            By::Places { .. } => Some(GAIN_MIN_GENERAL),
        };
        self.writer.put_taken(workers, sort, &taken, gain_min)?;
        drop(taken);
        resemblance.waiting.clear();
        resemblance.changed.clear();
        Ok(())
    }

    /// Stores the rest and keeps the sketches for the next time.
    pub fn finish_resemblance(
        &self,
        mut resemblance: Box<Resemblance>,
        scratch: &mut Option<Scratch>,
        sort: Sort,
    ) -> Result<()> {
        self.store_waiting(&mut resemblance, scratch, sort)?;
        if let (Some(sketches), By::Sketches(name)) = (&self.sketches, &resemblance.by)
            && !self.options.dry_run
            && resemblance.new != resemblance.old
        {
            // Without them the next backup finds fewer bases, that is all.
            let _ = sketches.save(name, &resemblance.new);
            sketches.trim();
        }
        Ok(())
    }
}

/// Returns the old chunks that hold the beginning, the middle and the end of `bytes` bytes from `at` on.
fn places(outline: &Outline, at: u64, bytes: u64) -> Vec<ShortId> {
    let mut found: Vec<ShortId> = Vec::new();
    for byte in [at, at + bytes / 2, at + bytes.saturating_sub(1)] {
        found.extend(outline.chunk(byte).filter(|id| !found.contains(id)));
    }
    found
}
