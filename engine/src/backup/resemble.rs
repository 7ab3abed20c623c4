//! A changed file beside its last version: which chunks are as they were, and which known ones a new one resembles.

use crate::backup::engine::Engine;
use crate::base::{ChunkId, ShortId};
use crate::chunks::{Scratch, Sort, Taken};
use crate::delta::{Similar, Sketch};
use crate::error::Result;
use crate::format::content::{Content, Part};
use crate::format::tree::Class;
use crate::tree::Outline;

/// Places and sketches of a file's chunks take some 120 bytes each: of a longer file than fits into a quarter of the memory
/// budget only the first chunks are compared with those at their place.
const MEMORY_PER_CHUNK: usize = 4 * 128;
/// The most bases that are tried for a chunk, the one at its own place included.
const BASES_TRIED_MAX: usize = 6;

/// A file that is compared with its last version while it is read.
pub(super) struct Resemblance {
    /// What its sketches are kept under.
    name: Vec<u8>,
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
    in_place: Option<ShortId>,
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
    /// Begins to compare the file called `name` with its last version, if its class is one for which that pays. Returns
    /// that version's outline too.
    pub fn resemblance(
        &self,
        name: Vec<u8>,
        previous: Option<&Content>,
        class: Class,
    ) -> Option<(Box<Resemblance>, Outline)> {
        if class != Class::Sqlite {
            return None;
        }
        let chunks_max = self.repo.memory_bytes / MEMORY_PER_CHUNK;
        let outline = previous.map_or_else(Outline::default, |content| Outline::of(&self.reader, content, chunks_max));
        let old = self.sketches.as_ref().map_or_else(Vec::new, |sketches| sketches.load(&name, chunks_max));
        let is_first = outline.chunks() == 0 && old.is_empty();
        let (new, waiting, changed) = (Vec::with_capacity(old.len()), Vec::new(), Vec::new());
        let is_certain = self.doubts.is_none();
        let waiting_bytes_max = self.repo.memory_bytes / 16 * 3;
        let resemblance =
            Resemblance { name, is_first, is_certain, chunks_max, waiting_bytes_max, old, new, waiting, changed };
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
        let known = resemblance.old.get(index).filter(|(old, _)| *old == id.short());
        let sketch = known.map_or_else(|| Sketch::of(self.repo.chunker.gear(), bytes), |(_, sketch)| *sketch);
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

    /// Takes note of a chunk that was looked at.
    pub fn note(
        &self,
        (resemblance, outline): (&mut Resemblance, &Outline),
        sort: Sort,
        at: u64,
        seen: &Seen,
        bytes: &[u8],
    ) -> Result<()> {
        if let Part::Chunk { id, .. } = seen.part
            && resemblance.new.len() < resemblance.chunks_max
        {
            resemblance.new.push((id, seen.sketch));
        }
        let Some(id) = seen.taken else { return Ok(()) };
        let in_place = outline.chunk(at);
        resemblance.waiting.extend_from_slice(bytes);
        resemblance.changed.push(Changed { id, sketch: seen.sketch, bytes: bytes.len(), in_place });
        if resemblance.waiting.len() >= resemblance.waiting_bytes_max {
            self.store_changed(resemblance, sort)
        } else {
            Ok(())
        }
    }

    /// Stores what waits.
    pub fn store_changed(&self, resemblance: &mut Resemblance, sort: Sort) -> Result<()> {
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
                let mut bases: Vec<ShortId> = changed.in_place.into_iter().collect();
                for (old, _) in candidates {
                    let (id, _) = resemblance.old[old as usize];
                    if bases.len() < BASES_TRIED_MAX && !bases.contains(&id) {
                        bases.push(id);
                    }
                }
                Taken { id: changed.id, bytes, bases }
            })
            .collect();
        self.writer.put_taken(sort, &taken)?;
        drop(taken);
        resemblance.waiting.clear();
        resemblance.changed.clear();
        Ok(())
    }

    /// Stores the rest and keeps the sketches for the next time.
    pub fn finish_resemblance(&self, mut resemblance: Box<Resemblance>, sort: Sort) -> Result<()> {
        if !resemblance.waiting.is_empty()
            && let Ok(mut batches) = self.batches.try_lock()
        {
            // What waits has been copied, and its bases need the memory.
            batches.free();
        }
        self.store_changed(&mut resemblance, sort)?;
        if let Some(sketches) = &self.sketches
            && !self.options.dry_run
            && resemblance.new != resemblance.old
        {
            // Without them the next backup finds fewer bases, that is all.
            let _ = sketches.save(&resemblance.name, &resemblance.new);
            sketches.trim();
        }
        Ok(())
    }
}
