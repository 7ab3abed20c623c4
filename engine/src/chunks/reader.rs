//! Reads chunks by id; every byte handed out was opened and its id recomputed.

use std::sync::Arc;

use rayon::prelude::*;

use crate::base::limits::{FRAME_BYTES_MAX, KIB, MIB};
use crate::base::{Lease, MemoryBudget, ObjectKind, ObjectName, ShortId, Stock};
use crate::catalog::Catalog;
use crate::chunks::cache::FrameCache;
use crate::chunks::foresight::Foresight;
use crate::chunks::graph::{Graph, Rebuilt};
use crate::chunks::healer::Healer;
use crate::codec::{Codec, FrameDecoder};
use crate::error::{Error, Result};
use crate::format::index::{BasePrefix, ChunkKind, ChunkLocation, FrameLocation};
use crate::hash;
use crate::store::Store;

/// What the frames of chunks and their bases may take together while they are rebuilt, in caches of decoded frames. The
/// less it is, the more often frames are opened again.
const GRAPH_CACHES: usize = 4;
/// So many chunks are rebuilt at a time, so that what was made for them stays in the processor's cache.
pub(super) const CHUNKS_PER_REBUILD: usize = 64;
/// What a worker's buffers take, with the largest frames: sealed, decoded, and the decoder's own.
const WORKER_BYTES: usize = 2 * FRAME_BYTES_MAX + 256 * KIB;
/// Whoever reads chunks with what they stand on has so much in any case.
pub(super) const GRAPH_BYTES_MIN: usize = MIB;
/// The least that a cache of decoded frames has.
const CACHE_BYTES_MIN: usize = MIB;

/// Who does what can be shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// All threads of this one's pool. While it waits for them it takes up other work, in which it may come here again.
    AllCores,
    /// Only this thread, which takes up nothing else: for whoever holds what others wait for.
    Alone,
}

impl Crew {
    /// Whoever has much less memory than it `wanted` works alone, so that there is not more and more work that was begun.
    pub(super) const fn with(self, bytes: usize, wanted: usize) -> Self {
        if bytes < wanted / 4 { Self::Alone } else { self }
    }

    /// Returns how many items are one task's at least.
    pub(super) const fn min_len(self) -> usize {
        match self {
            Self::AllCores => 1,
            Self::Alone => usize::MAX,
        }
    }
}

struct Worker {
    decoder: FrameDecoder,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

/// Reads chunks of one repository. Used by many threads at once.
pub struct ChunkReader {
    codec: Arc<Codec>,
    pub(super) catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    healer: Arc<Healer>,
    pub(super) budget: Arc<MemoryBudget>,
    _cache_lease: Lease,
    cache: FrameCache,
    /// What the cache holds.
    pub(super) cache_bytes: usize,
    /// What deltas and all that they stand on may take together while they are rebuilt, at most.
    pub(super) graph_bytes: usize,
    workers: Stock<Worker>,
}

impl ChunkReader {
    /// Makes a reader that keeps at most `cache_bytes` of decoded frames, less if `budget` has no more.
    pub fn new(
        codec: Arc<Codec>,
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        healer: Arc<Healer>,
        budget: &Arc<MemoryBudget>,
        cache_bytes: usize,
    ) -> Self {
        let graph_bytes = GRAPH_CACHES * cache_bytes;
        let lease = budget.take_some(CACHE_BYTES_MIN, cache_bytes);
        let (cache, cache_bytes) = (FrameCache::new(lease.bytes()), lease.bytes());
        let (budget, workers) = (Arc::clone(budget), Stock::new(budget, WORKER_BYTES));
        Self { codec, catalog, store, healer, budget, _cache_lease: lease, cache, cache_bytes, graph_bytes, workers }
    }

    /// Takes the memory for chunks with what they stand on.
    pub(super) fn lease_graph(&self, most: usize) -> Lease {
        self.budget.take_some(GRAPH_BYTES_MIN.min(most), most)
    }

    /// Returns where a chunk lies.
    ///
    /// # Errors
    /// `Missing` if no index object lists it.
    pub fn locate(&self, id: &ShortId, kind: ChunkKind) -> Result<ChunkLocation> {
        self.locate_by(&Foresight::default(), id, kind)
    }

    /// As [`locate`](Self::locate), for a chunk that `foresight` may have.
    pub(super) fn locate_by(&self, foresight: &Foresight, id: &ShortId, kind: ChunkKind) -> Result<ChunkLocation> {
        match foresight.place(id).map_or_else(|| self.catalog.find(id), |place| Ok(Some(*place)))? {
            Some(location) if location.kind == kind => Ok(location),
            Some(location) => Err(Error::Damaged {
                object: format!("chunk {id}"),
                reason: format!("is a chunk of {:?} where one of {kind:?} is needed", location.kind),
            }),
            None => {
                self.catalog.doubt();
                Err(Error::Missing { object: format!("chunk {id}") })
            }
        }
    }

    /// As [`locate_by`](Self::locate_by), of a chunk that must have so many bytes.
    pub(super) fn locate_exactly(
        &self,
        foresight: &Foresight,
        (id, bytes): (&ShortId, u64),
        kind: ChunkKind,
    ) -> Result<ChunkLocation> {
        let location = self.locate_by(foresight, id, kind)?;
        if u64::from(location.bytes) == bytes {
            return Ok(location);
        }
        let reason = format!("has {} bytes where {bytes} are named", location.bytes);
        Err(Error::Damaged { object: format!("chunk {id}"), reason })
    }

    /// Returns the chunk that a delta names as a base, and where it lies; `None` if no index object lists it.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn locate_base(&self, base: &BasePrefix) -> Result<Option<(ShortId, ChunkLocation)>> {
        Ok(self.catalog.find_base(base)?)
    }

    /// Appends a chunk's bytes to `out`. All of it is done on this thread.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, or the store's own.
    pub fn read(&self, id: &ShortId, kind: ChunkKind, out: &mut Vec<u8>) -> Result<()> {
        let location = self.locate(id, kind)?;
        if location.reach.depth == 0 {
            return self.read_whole(id, &location, out);
        }
        self.read_run_by(Crew::Alone, &[(*id, u64::from(location.bytes))], kind, out)
    }

    /// Appends the bytes of chunks that lie one after the other in a content, each with the length that it must have.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_run(&self, chunks: &[(ShortId, u64)], kind: ChunkKind, out: &mut Vec<u8>) -> Result<()> {
        self.read_run_by(Crew::AllCores, chunks, kind, out)
    }

    fn read_run_by(&self, crew: Crew, chunks: &[(ShortId, u64)], kind: ChunkKind, out: &mut Vec<u8>) -> Result<()> {
        let unforeseen = Foresight::default();
        let locate = |(id, bytes): &(ShortId, u64)| self.locate_exactly(&unforeseen, (id, *bytes), kind);
        let locations: Vec<ChunkLocation> = chunks.iter().map(locate).collect::<Result<_>>()?;
        if locations.iter().all(|location| location.reach.depth == 0) {
            return chunks
                .iter()
                .zip(&locations)
                .try_for_each(|((id, _), location)| self.read_whole(id, location, out));
        }
        let lease = self.lease_graph(self.graph_bytes);
        let crew = crew.with(lease.bytes(), self.graph_bytes);
        let foresight = self.foresee(crew, chunks.iter().map(|(id, _)| *id));
        let mut done = 0;
        while done < chunks.len() {
            let (mut graph, mut places) = (Graph::default(), Vec::new());
            for (id, _) in &chunks[done..] {
                if !places.is_empty() && !graph.bytes_at_most(lease.bytes()) {
                    break;
                }
                places.push(self.explore(&mut graph, &foresight, id, kind)?);
            }
            let opened = self.read_graph(crew, &graph, places.iter().copied())?;
            let start = out.len();
            let bytes: u64 = chunks[done..done + places.len()].iter().map(|(_, bytes)| bytes).sum();
            out.resize(start + bytes as usize, 0);
            let mut tasks = Vec::new();
            let mut free = &mut out[start..];
            for places in places.chunks(CHUNKS_PER_REBUILD) {
                let bytes: u64 = chunks[done..done + places.len()].iter().map(|(_, bytes)| bytes).sum();
                let (task_out, after) = free.split_at_mut(bytes as usize);
                (free, done) = (after, done + places.len());
                tasks.push((places, task_out));
            }
            tasks.into_par_iter().with_min_len(crew.min_len()).try_for_each(|(places, mut out)| {
                let mut rebuilt = Rebuilt::default();
                self.rebuild(&graph, &opened, places, &mut rebuilt)?;
                for &place in places {
                    let bytes = rebuilt.get(&graph, &opened, place);
                    let (here, after) = out.split_at_mut(bytes.len());
                    here.copy_from_slice(bytes);
                    out = after;
                }
                Ok::<(), Error>(())
            })?;
        }
        Ok(())
    }

    /// Appends a chunk that is stored as it is.
    fn read_whole(&self, id: &ShortId, location: &ChunkLocation, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let frame = &location.frame;
        if frame.plain_bytes == location.bytes {
            out.resize(start + location.bytes as usize, 0);
            self.decode(frame, &mut out[start..])?;
        } else {
            out.extend_from_slice(self.stored(location, &self.plain(frame)?)?);
        }
        let outcome = self.check_id(id, location, &out[start..]);
        if outcome.is_err() {
            out.truncate(start);
        }
        outcome
    }

    /// Returns the bases of a delta chunk and where they lie.
    pub(super) fn bases_of(
        &self,
        foresight: &Foresight,
        id: &ShortId,
        location: &ChunkLocation,
    ) -> Result<Vec<(ShortId, ChunkLocation)>> {
        if let Some(bases) = foresight.bases(id)
            && bases.iter().all(|(_, base)| base.kind == location.kind)
        {
            return Ok(bases);
        }
        let found = self.catalog.bases(id)?.into_iter().map(|base| {
            let found = self.locate_base(&base)?.filter(|(_, base)| base.kind == location.kind);
            found.ok_or_else(|| {
                self.catalog.doubt();
                let digits: String = base.iter().map(|byte| format!("{byte:02x}")).collect();
                Error::Missing { object: format!("base {digits}… of chunk {id}") }
            })
        });
        found.collect()
    }

    /// Returns a frame's plaintext.
    pub(super) fn plain(&self, frame: &FrameLocation) -> Result<Arc<Vec<u8>>> {
        if let Some(plain) = self.cache.get(frame.pack, frame.offset) {
            return Ok(plain);
        }
        let mut plain = vec![0; self.plain_bytes(frame)?];
        self.decode(frame, &mut plain)?;
        let plain = Arc::new(plain);
        self.cache.insert(frame.pack, frame.offset, Arc::clone(&plain));
        Ok(plain)
    }

    /// Calls `work` with a frame's plaintext, which is not kept: for those that are wanted once.
    pub(super) fn with_plain(&self, frame: &FrameLocation, work: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Some(plain) = self.cache.get(frame.pack, frame.offset) {
            return work(&plain);
        }
        let bytes = self.plain_bytes(frame)?;
        let mut worker = self.worker(frame)?;
        let mut plain = std::mem::take(&mut worker.plain);
        // Not cleared first: only what is longer than before would have to be zeroed.
        plain.resize(bytes.max(plain.len()), 0);
        let outcome = self.decode_with(&mut worker, frame, &mut plain[..bytes]).and_then(|()| work(&plain[..bytes]));
        worker.plain = plain;
        self.workers.give_back(worker);
        outcome
    }

    fn plain_bytes(&self, frame: &FrameLocation) -> Result<usize> {
        let bytes = frame.plain_bytes as usize;
        if bytes > FRAME_BYTES_MAX { Err(self.damaged(frame, "names a frame beyond 1 MiB")) } else { Ok(bytes) }
    }

    /// Returns the bytes of a frame that are a chunk's, or its delta's.
    pub(super) fn stored<'p>(&self, location: &ChunkLocation, plain: &'p [u8]) -> Result<&'p [u8]> {
        let from = location.offset as usize;
        let bytes = plain.get(from..from + location.stored_bytes as usize);
        bytes.ok_or_else(|| self.damaged(&location.frame, "names a chunk beyond its frame"))
    }

    pub(super) fn check_id(&self, id: &ShortId, location: &ChunkLocation, bytes: &[u8]) -> Result<()> {
        if hash::chunk_id(self.codec.keys.ids(location.kind), bytes).short() == *id {
            return Ok(());
        }
        Err(self.damaged(&location.frame, &format!("chunk {id} has other bytes than its id says")))
    }

    pub(super) fn damaged(&self, frame: &FrameLocation, reason: &str) -> Error {
        Error::damaged_object(&ObjectName::new(ObjectKind::Pack, frame.pack), reason)
    }

    /// Reads, opens and decodes a frame into `plain`.
    pub(super) fn decode(&self, frame: &FrameLocation, plain: &mut [u8]) -> Result<()> {
        let mut worker = self.worker(frame)?;
        let outcome = self.decode_with(&mut worker, frame, plain);
        self.workers.give_back(worker);
        outcome
    }

    fn worker(&self, frame: &FrameLocation) -> Result<Worker> {
        self.workers.lend(|| {
            let decoder = FrameDecoder::new().map_err(|error| self.damaged(frame, &format!("not read: {error}")))?;
            Ok(Worker { decoder, sealed: Vec::new(), plain: Vec::new() })
        })
    }

    fn decode_with(&self, worker: &mut Worker, frame: &FrameLocation, plain: &mut [u8]) -> Result<()> {
        let name = ObjectName::new(ObjectKind::Pack, frame.pack);
        let (header, key) = (self.codec.header(&name), self.codec.keys.object(&name));
        let (offset, len) = (frame.offset as usize, frame.sealed_bytes as usize);
        let read = self.store.get_range(&name, offset as u64, len, &mut worker.sealed);
        let outcome = read.map_err(Error::from).and_then(|()| {
            let decoded = worker.decoder.decode(&key, &header, frame, &worker.sealed, plain);
            decoded.map_err(|error| Error::damaged(name, &error))
        });
        outcome.or_else(|error| {
            let Some(pack) = self.healer.heal(frame.pack) else { return Err(error) };
            let Some(sealed) = pack.get(offset..offset.saturating_add(len)) else { return Err(error) };
            let decoded = worker.decoder.decode(&key, &header, frame, sealed, plain);
            decoded.map_err(|error| Error::damaged(name, &error))
        })
    }
}
