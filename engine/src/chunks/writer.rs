//! Writes chunks: takes each once, gathers and compresses, seals into open packs and hands full packs to the committer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::limits::{FRAME_BYTES_TARGET, MIB, PAGE_FRAME_BYTES_TARGET, TREE_FRAME_BYTES_TARGET};
use crate::base::{ChunkId, Lease, MemoryBudget, ObjectId, ShortId, Stock, lock};
use crate::catalog::Catalog;
use crate::chunks::commit::{CommitCounts, Committer};
use crate::chunks::frames::FrameBuffer;
use crate::chunks::reader::ChunkReader;
use crate::codec::Codec;
use crate::compress::{Compressor, looks_compressed_inside, looks_incompressible};
use crate::crypt;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::index::{ChunkKind, ChunkRecord, DeltaRecord, Encoding};
use crate::format::tree::Class;
use crate::hash;
use crate::pack::{self, Frame, PackBuilder, SealedPack};
use crate::parity;
use crate::store::Store;

/// Chunks from this length on are frames of their own: compressing neighbours with them would gain little.
const OWN_FRAME_BYTES_MIN: usize = 128 * 1024;
/// Incompressible chunks from this length on are frames of their own, sealed from where they were read.
const RAW_FRAME_BYTES_MIN: usize = crate::compress::SAMPLED_BYTES_MIN;
/// Packs that wait to be stored, and the one that is being stored.
const QUEUED_PACKS: usize = 3;
const DATA_SLOTS_MAX: usize = 8;
/// What a scratch takes beside its compressors: 2 MiB to read files into, the frames that are gathered and the one that is
/// compressed; and for a while a group of chunks beside what they resemble.
const SCRATCH_BYTES: usize = 6 * MIB;

/// How chunks are written.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// What open packs and the queue may take together.
    pub memory_bytes: usize,
    /// How many threads will write.
    pub threads: usize,
    /// The zstd level.
    pub level: i32,
    /// Count everything, store nothing.
    pub dry_run: bool,
}

/// A worker's own memory: a compressor, buffers, and the small chunks it has gathered.
pub struct Scratch {
    compressor: Compressor,
    /// For pages of databases; made when the first comes.
    page_compressor: Option<Compressor>,
    compressed: Vec<u8>,
    data: FrameBuffer,
    pages: FrameBuffer,
    media: FrameBuffer,
    meta: FrameBuffer,
    /// Deltas of data; those of trees and lists stand among `meta`'s chunks.
    deltas: FrameBuffer,
    /// Where the worker may read files into; the writer does not touch it.
    pub buffer: Vec<u8>,
}

/// What a chunk is, as far as its storing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Bytes of a file of some class.
    Data(Class),
    /// Bytes of an encoded tree.
    Tree,
    /// A piece of a chunk list.
    List,
}

impl Sort {
    pub(super) const fn kind(self) -> ChunkKind {
        match self {
            Self::Data(_) => ChunkKind::Data,
            Self::Tree => ChunkKind::Tree,
            Self::List => ChunkKind::List,
        }
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: ShortId,
    /// Whether the repository did not have it.
    pub is_new: bool,
}

/// Writes the chunks of one backup. Used by many threads at once.
pub struct ChunkWriter {
    codec: Arc<Codec>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) reader: Arc<ChunkReader>,
    committer: Committer,
    level: i32,
    /// What the frames of bases, and of what these stand on, may take together while a group of chunks is encoded.
    pub(super) graph_bytes: usize,
    pack_bytes: usize,
    data_slots: Vec<Mutex<Option<PackBuilder>>>,
    meta_slot: Mutex<Option<PackBuilder>>,
    scratches: Stock<Scratch>,
    budget: Arc<MemoryBudget>,
    /// For the memory of packs: what was one is used for the next.
    pack_leases: Mutex<Vec<Lease>>,
    /// What one takes with its parity.
    pack_memory_bytes: usize,
    bytes_new: AtomicU64,
}

impl ChunkWriter {
    /// Begins to write to `store`.
    ///
    /// # Errors
    /// If the thread that stores packs cannot be started.
    pub fn new(
        codec: Arc<Codec>,
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        reader: Arc<ChunkReader>,
        options: WriterOptions,
    ) -> Result<Self> {
        let slots = options.threads.clamp(1, DATA_SLOTS_MAX);
        // Whoever closes a pack takes up to a quarter of its length more for parity.
        let (parity_packs, parity_bytes) = match codec.parity_percent {
            0 => (0, 0),
            _ => (slots.div_ceil(4), parity::TABLE_BYTES),
        };
        let budget = Arc::clone(&reader.budget);
        let memory_bytes = options.memory_bytes.min(budget.free() / 3 * 2);
        let most = memory_bytes.saturating_sub(parity_bytes) / (slots + 1 + QUEUED_PACKS + parity_packs);
        let pack_bytes = pack::pack_bytes(most, store.pack_bytes(), codec.parity_percent);
        let committer = Committer::start(&codec, &catalog, store, QUEUED_PACKS - 1, options.dry_run)?;
        Ok(Self {
            codec,
            catalog,
            reader,
            committer,
            level: options.level,
            graph_bytes: options.memory_bytes / 4 * 3,
            pack_bytes,
            data_slots: (0..slots).map(|_| Mutex::default()).collect(),
            meta_slot: Mutex::default(),
            scratches: Stock::new(&budget, SCRATCH_BYTES + zstd_bytes(options.level)),
            pack_leases: Mutex::default(),
            pack_memory_bytes: pack_bytes + parity_bytes + if parity_packs > 0 { pack_bytes / 4 } else { 0 },
            budget,
            bytes_new: AtomicU64::new(0),
        })
    }

    /// Lends a worker its memory; [`give_back`](Self::give_back) returns it. Nothing gathered in it is lost in between. What
    /// whoever holds it must not do is told at [`Stock`].
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn lend(&self) -> Result<Scratch> {
        self.scratches.lend(|| {
            let compressor = Compressor::new(self.level).map_err(|error| no_memory("zstd", &error))?;
            let empty = FrameBuffer::default;
            let (compressed, buffer) = (Vec::new(), Vec::new());
            let (data, pages, media, meta, deltas) = (empty(), empty(), empty(), empty(), empty());
            Ok(Scratch { compressor, page_compressor: None, compressed, data, pages, media, meta, deltas, buffer })
        })
    }

    /// Takes back what [`lend`](Self::lend) gave.
    pub fn give_back(&self, scratch: Scratch) {
        self.scratches.give_back(scratch);
    }

    /// Stores a chunk of at most [`CHUNK_BYTES_MAX`](crate::base::limits::CHUNK_BYTES_MAX) bytes, at least one, unless
    /// the repository has it or this run already took it.
    ///
    /// # Errors
    /// `Cancelled` if the committer failed; [`finish`](Self::finish) says why.
    pub fn put(&self, scratch: &mut Scratch, sort: Sort, bytes: &[u8]) -> Result<Stored> {
        let whole_id = self.id(sort, bytes);
        let id = whole_id.short();
        let is_new = self.claim(id, bytes.len())?;
        if is_new {
            self.put_claimed(scratch, sort, whole_id, bytes)?;
        }
        Ok(Stored { id, is_new })
    }

    /// Returns the id that a chunk has.
    pub fn id(&self, sort: Sort, bytes: &[u8]) -> ChunkId {
        hash::chunk_id(self.codec.keys.ids(sort.kind()), bytes)
    }

    /// Returns whether a chunk of `bytes` bytes is new; then the caller has to store it.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn claim(&self, id: ShortId, bytes: usize) -> Result<bool> {
        if !self.committer.claims().claim(id) {
            return Ok(false);
        }
        // The claim comes first: a chunk leaves the claims only after it has come into the catalog.
        if !self.catalog.is_empty() && self.catalog.find(&id)?.is_some() {
            self.committer.claims().release(&id);
            return Ok(false);
        }
        self.bytes_new.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(true)
    }

    /// Stores a chunk that was claimed, as it is.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_claimed(&self, scratch: &mut Scratch, sort: Sort, id: ChunkId, bytes: &[u8]) -> Result<()> {
        let kind = sort.kind();
        let chunk = ChunkRecord { id, kind, bytes: bytes.len() as u32, delta: None };
        if bytes.len() >= RAW_FRAME_BYTES_MIN && is_kept_raw(sort, bytes) {
            self.append(kind, &Frame { encoding: Encoding::Raw, body: bytes, chunks: &[chunk] })
        } else if bytes.len() >= OWN_FRAME_BYTES_MIN {
            self.append_compressed(scratch, sort, bytes, &[chunk])
        } else {
            if gathered(scratch, sort).is_full_for(bytes.len(), frame_target(sort)) {
                self.flush(scratch, sort)?;
            }
            gathered(scratch, sort).push(chunk, bytes);
            Ok(())
        }
    }

    /// Returns how many bytes a chunk takes without any base.
    pub(super) fn alone_bytes(&self, scratch: &mut Scratch, bytes: &[u8]) -> Result<usize> {
        let Scratch { compressor, compressed, .. } = scratch;
        let pays = compressor.compress(bytes, compressed).map_err(|error| no_memory("zstd", &error))?;
        Ok(if pays { compressed.len() } else { bytes.len() })
    }

    /// Stores a chunk that was taken as `delta`, which makes it.
    pub(super) fn put_delta(
        &self,
        scratch: &mut Scratch,
        sort: Sort,
        id: ChunkId,
        record: DeltaRecord,
        delta: &[u8],
    ) -> Result<()> {
        let chunk = ChunkRecord { id, kind: sort.kind(), bytes: delta.len() as u32, delta: Some(Box::new(record)) };
        match sort {
            Sort::Data(_) => {
                if scratch.deltas.is_full_for(delta.len(), FRAME_BYTES_TARGET) {
                    self.flush_deltas(scratch)?;
                }
                scratch.deltas.push(chunk, delta);
            }
            Sort::Tree | Sort::List => {
                if scratch.meta.is_full_for(delta.len(), frame_target(sort)) {
                    self.flush(scratch, sort)?;
                }
                scratch.meta.push(chunk, delta);
            }
        }
        Ok(())
    }

    /// Appends the gathered deltas of data as one frame. Each is compressed already, but by itself.
    fn flush_deltas(&self, scratch: &mut Scratch) -> Result<()> {
        self.flush_buffer(scratch, Sort::Data(Class::Sqlite), |scratch, _| &mut scratch.deltas)
    }

    /// Compresses what was gathered and appends it as one frame.
    fn flush(&self, scratch: &mut Scratch, sort: Sort) -> Result<()> {
        self.flush_buffer(scratch, sort, gathered)
    }

    fn flush_buffer(
        &self,
        scratch: &mut Scratch,
        sort: Sort,
        buffer: fn(&mut Scratch, Sort) -> &mut FrameBuffer,
    ) -> Result<()> {
        let mut frame = std::mem::take(buffer(scratch, sort));
        if !frame.chunks.is_empty() {
            self.append_compressed(scratch, sort, &frame.plain, &frame.chunks)?;
        }
        frame.clear();
        *buffer(scratch, sort) = frame;
        Ok(())
    }

    fn append_compressed(
        &self,
        scratch: &mut Scratch,
        sort: Sort,
        plain: &[u8],
        chunks: &[ChunkRecord<ChunkId>],
    ) -> Result<()> {
        let failed = |error: std::io::Error| no_memory("zstd", &error);
        let Scratch { compressor, page_compressor, compressed, .. } = scratch;
        let compressor = match (sort, &mut *page_compressor) {
            (Sort::Data(Class::Sqlite), Some(compressor)) => compressor,
            (Sort::Data(Class::Sqlite), none) => none.insert(Compressor::for_pages(self.level).map_err(failed)?),
            _ => compressor,
        };
        let pays = compressor.compress(plain, compressed).map_err(failed)?;
        let (encoding, body) = if pays { (Encoding::Zstd, compressed.as_slice()) } else { (Encoding::Raw, plain) };
        self.append(sort.kind(), &Frame { encoding, body, chunks })
    }

    /// Seals a frame into an open pack, the first that no other thread is busy with.
    fn append(&self, kind: ChunkKind, frame: &Frame<'_>) -> Result<()> {
        let mut slot = match kind {
            ChunkKind::Data => {
                let free = self.data_slots.iter().find_map(|slot| slot.try_lock().ok());
                free.unwrap_or_else(|| {
                    let index = rayon::current_thread_index().unwrap_or(0) % self.data_slots.len();
                    lock(&self.data_slots[index])
                })
            }
            ChunkKind::Tree | ChunkKind::List => lock(&self.meta_slot),
        };
        let mut memory = None;
        if slot.is_none() {
            memory = self.pack_memory();
            // Where there is no room for one more pack, all go into the first.
            if memory.is_none() && kind == ChunkKind::Data {
                drop(slot);
                slot = lock(&self.data_slots[0]);
            } else if memory.is_none() {
                // Nobody who holds a pack of data waits for that of trees.
                let data = lock(&self.data_slots[0]).take();
                memory = data.map(|data| self.committer.store(data.finish()?)).transpose()?;
            }
        }
        if slot.as_ref().is_some_and(|pack| !pack.fits(frame))
            && let Some(full) = slot.take()
        {
            memory = Some(self.hand_over(full.finish()?)?);
        }
        let pack = match &mut *slot {
            Some(pack) => pack,
            none => {
                let memory = memory.unwrap_or_else(|| {
                    lock(&self.pack_leases).push(self.budget.take_anyway(self.pack_memory_bytes));
                    Vec::new()
                });
                let id = ObjectId::from_bytes(crypt::random().map_err(|error| no_memory("random numbers", &error))?);
                none.insert(PackBuilder::new(&self.codec, id, self.pack_bytes, memory))
            }
        };
        pack.append(frame)
    }

    /// Returns the memory for one more pack, if there is room for one.
    fn pack_memory(&self) -> Option<Vec<u8>> {
        self.committer.buffer().or_else(|| {
            let lease = self.budget.take(self.pack_memory_bytes, self.budget.bytes() / 8)?;
            lock(&self.pack_leases).push(lease);
            Some(Vec::new())
        })
    }

    /// Hands over a full pack and returns the memory for the next one: that of the full one, once it is stored, if there is no
    /// other.
    fn hand_over(&self, full: SealedPack) -> Result<Vec<u8>> {
        match self.pack_memory() {
            Some(memory) => self.committer.send(full).map(|()| memory),
            None => self.committer.store(full),
        }
    }

    /// Stores everything that was given back, so that it can be read while the run goes on.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn checkpoint(&self) -> Result<()> {
        self.flush_all()?;
        self.committer.checkpoint()
    }

    /// Stores everything gathered and every open pack, and returns once the index that lists them is safe.
    ///
    /// # Errors
    /// The first failure of the store.
    pub fn finish(&self) -> Result<CommitCounts> {
        let flushed = self.flush_all();
        // The committer knows why it took no more packs; here there is only word that it did not.
        let counts = self.committer.finish()?;
        flushed.map(|()| counts)
    }

    /// As [`finish`](Self::finish), after work of which `outcome` came. Whatever that is, what was stored is listed, so that
    /// the next run finds it.
    ///
    /// # Errors
    /// The work's, or the first failure of the store.
    pub fn finish_after<T>(&self, outcome: Result<T>) -> Result<(T, CommitCounts)> {
        match outcome {
            Ok(value) => Ok((value, self.finish()?)),
            Err(error) => Err(self.finish_failed(error)),
        }
    }

    /// Lists what was stored before work failed, and returns why it failed: where a pack could not be stored the work only
    /// has word that it was not.
    pub fn finish_failed(&self, error: Error) -> Error {
        match (error, self.finish()) {
            (Error::Cancelled, Err(failure)) => failure,
            (error, _) => error,
        }
    }

    fn flush_all(&self) -> Result<()> {
        let mut scratches = std::mem::take(&mut *self.scratches.idle());
        for scratch in &mut scratches {
            for sort in [Sort::Data(Class::General), Sort::Data(Class::Sqlite), Sort::Data(Class::Media), Sort::Tree] {
                self.flush(scratch, sort)?;
            }
            self.flush_deltas(scratch)?;
        }
        scratches.into_iter().for_each(|scratch| self.give_back(scratch));
        for slot in self.data_slots.iter().chain([&self.meta_slot]) {
            if let Some(pack) = lock(slot).take() {
                self.committer.send(pack.finish()?)?;
            }
        }
        Ok(())
    }

    /// Returns how many bytes of chunks the repository did not have so far, before compression.
    pub fn bytes_new(&self) -> u64 {
        self.bytes_new.load(Ordering::Relaxed)
    }
}

/// Returns what zstd takes, more or less, to compress a frame at `level`.
const fn zstd_bytes(level: i32) -> usize {
    match level {
        ..=3 => MIB,
        4..=8 => 4 * MIB,
        9..=12 => 10 * MIB,
        _ => 20 * MIB,
    }
}

/// Returns whether zstd is not even tried.
fn is_kept_raw(sort: Sort, bytes: &[u8]) -> bool {
    match sort {
        Sort::Data(Class::Media) => looks_compressed_inside(bytes),
        // Pages are read by the hundred: what takes a frame of its own takes longer to open than to copy.
        Sort::Data(Class::Sqlite | Class::EncryptedPages) => false,
        _ => looks_incompressible(bytes),
    }
}

/// Returns how many bytes the gathered chunks of a frame shall have.
const fn frame_target(sort: Sort) -> usize {
    match sort {
        Sort::Data(Class::Sqlite) => PAGE_FRAME_BYTES_TARGET,
        Sort::Tree | Sort::List => TREE_FRAME_BYTES_TARGET,
        Sort::Data(_) => FRAME_BYTES_TARGET,
    }
}

fn gathered(scratch: &mut Scratch, sort: Sort) -> &mut FrameBuffer {
    match sort {
        Sort::Data(Class::General) => &mut scratch.data,
        Sort::Data(Class::Sqlite) => &mut scratch.pages,
        Sort::Data(Class::Media | Class::EncryptedPages) => &mut scratch.media,
        Sort::Tree | Sort::List => &mut scratch.meta,
    }
}

pub(super) fn no_memory(object: &str, error: &std::io::Error) -> Error {
    StoreError::new(StoreErrorKind::Io, object, format!("{error}; close other programs and run the command again"))
        .into()
}

const _: () = assert!(OWN_FRAME_BYTES_MIN < MIB);
