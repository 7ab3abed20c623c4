//! Writes chunks that resemble known ones as deltas.

use rayon::prelude::*;

use crate::base::limits::{BASES_MAX, DELTA_CLOSURE_MAX};
use crate::base::{ChunkId, ShortId};
use crate::chunks::foresight::{Foresight, prefix};
use crate::chunks::graph::{Graph, Opened, Rebuilt};
use crate::chunks::reader::Crew;
use crate::chunks::writer::{ChunkWriter, Scratch, Sort, Stored, no_memory};
use crate::delta::{DeltaDecoder, DeltaEncoder};
use crate::error::{Error, Result};
use crate::format::index::{DeltaRecord, Reach};

/// What a delta costs beyond its bytes: more in its records, and more to read it.
const DELTA_OVERHEAD_BYTES: usize = 64;
/// The zstd level of deltas.
const LEVEL: i32 = 6;
/// So many chunks that lie near each other are one task's: their bases lie near each other too.
const CHUNKS_PER_TASK: usize = 64;
/// What they stand on is put together for so many bytes of chunks at a time: a task's own memory stays within its scratch's.
const BYTES_AT_ONCE: usize = 256 * 1024;

/// A chunk that was taken and is not stored yet.
pub struct Taken<'b> {
    /// Its id.
    pub id: ChunkId,
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Known chunks that may resemble it, the best first.
    pub bases: Vec<ShortId>,
}

/// Who stores many chunks.
pub enum Workers<'s> {
    /// All threads of this one's pool: only for whoever holds no scratch.
    AllCores,
    /// This thread, with its scratch.
    Alone(&'s mut Scratch),
}

/// How many chunks more a base beside the first may make a chunk need.
const BESIDE_NEEDS_MAX: usize = 8;

/// The bases that were chosen for one chunk, the best last, since near matches are the cheapest.
#[derive(Default)]
struct Bases {
    places: Vec<u32>,
    needs: Vec<u32>,
}

impl Bases {
    /// Chooses among `candidates`, the best first, those that a chunk can stand on together.
    ///
    /// Only the first may bring along what it stands on, so that the way down can be long. In place of others, and of a first
    /// that would bring too much, comes the whole chunk at the bottom: most often its oldest version. If that is no longer
    /// near, the new chunk is stored whole and a new way begins.
    fn choose(graph: &Graph, candidates: &[u32]) -> Self {
        let mut bases = Self::default();
        for &candidate in candidates {
            if bases.places.len() == BASES_MAX {
                break;
            }
            let more_max = if bases.places.is_empty() { usize::from(DELTA_CLOSURE_MAX) } else { BESIDE_NEEDS_MAX };
            let needs_max = usize::from(DELTA_CLOSURE_MAX).min(bases.needs.len() + more_max);
            for place in [candidate, graph.bottom(candidate)] {
                if bases.places.contains(&place) || graph.depth(place) >= DELTA_CLOSURE_MAX {
                    break;
                }
                if graph.add_needs(place, &mut bases.needs, needs_max) {
                    bases.places.insert(0, place);
                    break;
                }
            }
        }
        bases
    }

    fn record(&self, graph: &Graph, bytes: usize) -> DeltaRecord {
        let depth = self.places.iter().map(|&place| graph.depth(place) + 1).max().unwrap_or(0);
        let prefix = |&place: &u32| prefix(&graph.id(place));
        let reach = Reach { depth, closure: depth.max(self.needs.len() as u8) };
        DeltaRecord { bytes: bytes as u32, reach, bases: self.places.iter().map(prefix).collect() }
    }
}

/// What is missing, damaged or cannot be read is no base; any other error ends the backup.
fn readable<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Error::Missing { .. } | Error::Damaged { .. } | Error::Store(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl ChunkWriter {
    /// As [`put`](Self::put), as a delta against `base` if that is clearly smaller.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_near(&self, scratch: &mut Scratch, sort: Sort, bytes: &[u8], base: Option<ShortId>) -> Result<Stored> {
        let id = self.id(sort, bytes);
        let stored = Stored { id: id.short(), is_new: self.claim(id.short(), bytes.len())? };
        match base.filter(|base| *base != stored.id) {
            _ if !stored.is_new => {}
            None => self.put_claimed(scratch, sort, id, bytes)?,
            Some(base) => {
                let chunk = Taken { id, bytes, bases: vec![base] };
                let mut graph = Graph::default();
                let bases = self.choose(&mut graph, &Foresight::default(), sort, &chunk)?;
                let opened = readable(self.reader.read_graph(Crew::Alone, &graph, bases.places.iter().copied()))?;
                let known = opened.as_ref().map(|opened| (&graph, opened));
                self.put_chosen(scratch, sort, &[(&chunk, bases)], known, None)?;
            }
        }
        Ok(stored)
    }

    /// Stores chunks that were claimed. `gain_min`: deltas have to be smaller than the chunk alone by one part
    /// in so many.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_taken(
        &self,
        mut workers: Workers<'_>,
        sort: Sort,
        chunks: &[Taken<'_>],
        gain_min: Option<usize>,
    ) -> Result<()> {
        let crew = match workers {
            Workers::AllCores => Crew::AllCores,
            Workers::Alone(_) => Crew::Alone,
        };
        let lease = self.reader.lease_graph(self.graph_bytes);
        let foresight = self.reader.foresee(crew, chunks.iter().flat_map(|chunk| &chunk.bases).copied());
        let mut rest = chunks;
        while !rest.is_empty() {
            let mut graph = Graph::default();
            let mut chosen = Vec::new();
            while let Some((chunk, after)) = rest.split_first()
                && (chosen.is_empty() || graph.bytes_at_most(lease.bytes()))
            {
                chosen.push((chunk, self.choose(&mut graph, &foresight, sort, chunk)?));
                rest = after;
            }
            // Without them all of the group is stored whole.
            let wanted = chosen.iter().flat_map(|(_, bases): &(_, Bases)| bases.places.iter().copied());
            let opened = readable(self.reader.read_graph(crew, &graph, wanted))?;
            let known = opened.as_ref().map(|opened| (&graph, opened));
            match &mut workers {
                Workers::Alone(scratch) => chosen
                    .chunks(CHUNKS_PER_TASK)
                    .try_for_each(|chosen| self.put_chosen(scratch, sort, chosen, known, gain_min))?,
                Workers::AllCores => chosen.par_chunks(CHUNKS_PER_TASK).try_for_each(|chosen| {
                    let mut scratch = self.lend()?;
                    let outcome = self.put_chosen(&mut scratch, sort, chosen, known, gain_min);
                    self.give_back(scratch);
                    outcome
                })?,
            }
        }
        Ok(())
    }

    /// Chooses a chunk's bases. What is not there, or hurt, is no base.
    fn choose(&self, graph: &mut Graph, foresight: &Foresight, sort: Sort, chunk: &Taken<'_>) -> Result<Bases> {
        let mut candidates = Vec::with_capacity(chunk.bases.len());
        for id in &chunk.bases {
            // Sketches outlive their chunks: one that is gone is no reason to doubt the catalog.
            let is_known = foresight.place(id).is_some() || self.catalog.find(id).is_ok_and(|found| found.is_some());
            if !is_known {
                continue;
            }
            candidates.extend(readable(self.reader.explore(graph, foresight, id, sort.kind()))?);
        }
        Ok(Bases::choose(graph, &candidates))
    }

    fn put_chosen(
        &self,
        scratch: &mut Scratch,
        sort: Sort,
        mut chosen: &[(&Taken<'_>, Bases)],
        known: Option<(&Graph, &Opened)>,
        gain_min: Option<usize>,
    ) -> Result<()> {
        while !chosen.is_empty() {
            let mut bytes = 0;
            let fit = chosen.iter().take_while(|(chunk, _)| {
                bytes += chunk.bytes.len();
                bytes <= BYTES_AT_ONCE
            });
            let (now, after) = chosen.split_at(fit.count().max(1));
            self.put_few(scratch, sort, now, known, gain_min)?;
            chosen = after;
        }
        Ok(())
    }

    fn put_few(
        &self,
        scratch: &mut Scratch,
        sort: Sort,
        chosen: &[(&Taken<'_>, Bases)],
        known: Option<(&Graph, &Opened)>,
        gain_min: Option<usize>,
    ) -> Result<()> {
        let mut rebuilt = Rebuilt::default();
        let mut wanted: Vec<u32> = chosen.iter().flat_map(|(_, bases)| bases.places.iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let known = known.filter(|(graph, opened)| self.reader.rebuild(graph, opened, &wanted, &mut rebuilt).is_ok());
        let failed = |error: std::io::Error| no_memory("zstd", &error);
        let prefix = |bases: &Bases| -> Vec<u8> {
            let slices = |(graph, opened)| -> Vec<&[u8]> {
                bases.places.iter().map(|&place| rebuilt.get(graph, opened, place)).collect()
            };
            known.map_or_else(Vec::new, slices).concat()
        };
        let prefixes: Vec<Vec<u8>> = chosen.iter().map(|(_, bases)| prefix(bases)).collect();
        let (mut encoder, mut decoder) =
            (DeltaEncoder::new(LEVEL).map_err(failed)?, DeltaDecoder::new().map_err(failed)?);
        let (mut delta, mut back) = (Vec::new(), Vec::new());
        let at_most = |alone: usize| alone - gain_min.map_or(0, |parts| alone / parts);
        for ((chunk, bases), prefix) in chosen.iter().zip(&prefixes) {
            if prefix.is_empty() {
                self.put_claimed(scratch, sort, chunk.id, chunk.bytes)?;
                continue;
            }
            encoder.encode(prefix, chunk.bytes, &mut delta).map_err(failed)?;
            let cost = delta.len() + DELTA_OVERHEAD_BYTES;
            back.resize(chunk.bytes.len(), 0);
            // What is so short need not be compared with what the chunk takes alone.
            let pays = (cost < chunk.bytes.len() / 8 || cost < at_most(self.alone_bytes(scratch, chunk.bytes)?))
                && decoder.decode(prefix, &delta, &mut back).is_ok()
                && back == chunk.bytes;
            match known {
                Some((graph, _)) if pays => {
                    let record = bases.record(graph, chunk.bytes.len());
                    self.put_delta(scratch, sort, chunk.id, record, &delta)?;
                }
                _ => self.put_claimed(scratch, sort, chunk.id, chunk.bytes)?,
            }
        }
        Ok(())
    }
}
