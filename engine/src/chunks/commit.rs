//! Stores packs, and then the index objects that list them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::limits::{
    INDEX_BYTES_MAX, INDEX_FLUSH_BYTES, INDEX_FLUSH_CHUNKS, INDEX_FLUSH_SECONDS, INDEX_PLAIN_BYTES_MAX,
};
use crate::base::{ChunkId, ObjectId, ObjectKind, ObjectName, ShortId, lock};
use crate::catalog::{Catalog, CatalogEntry};
use crate::chunks::claims::Claims;
use crate::codec::Codec;
use crate::crypt;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::index::{ChunkRecord, FrameTable, Index, PackRecord};
use crate::pack::{self, SealedPack};
use crate::store::Store;

/// What a committer stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Packs.
    pub packs: u64,
    /// Sealed bytes of packs and index objects.
    pub bytes_stored: u64,
}

/// Full packs on their way into the store.
#[derive(Default)]
struct Queue {
    packs: VecDeque<SealedPack>,
    /// Memory of stored packs, for new ones.
    buffers: Vec<Vec<u8>>,
}

struct Shared {
    claims: Claims,
    queue: Mutex<Queue>,
    /// Notified when a pack leaves the queue.
    room: Condvar,
    /// Held by whoever stores packs. Never waited for while the queue is held.
    worker: Mutex<Worker>,
    failure: Mutex<Option<Error>>,
    has_failed: AtomicBool,
    /// Set when there is nothing more to come.
    is_over: AtomicBool,
    /// Notified when the thread has something to do: a pack waits that is its to store, or nothing more comes.
    work: Condvar,
}

/// Stores packs, and index objects in between.
///
/// To store a pack is a job for the workers' pool, taken up by whoever has nothing else to do: a thread that competes with
/// the workers for their cores leaves these idle for a tenth of the time, since the scheduler is slow to move threads. In
/// a store that takes long over a pack, though, a thread of its own is the lesser evil.
pub struct Committer {
    shared: Arc<Shared>,
    queued_max: usize,
    has_own_thread: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Begins. At most `queued_max` packs wait; then [`send`](Self::send) takes part in storing them.
    pub fn start(
        codec: &Arc<Codec>,
        catalog: &Arc<Catalog>,
        store: Arc<dyn Store>,
        queued_max: usize,
        dry_run: bool,
    ) -> Result<Self> {
        let has_own_thread = store.wants_thread();
        let worker = Worker {
            codec: Arc::clone(codec),
            catalog: Arc::clone(catalog),
            store,
            dry_run,
            pending: Index::default(),
            pending_bytes: 0,
            pending_chunks: 0,
            last_flush: Instant::now(),
            counts: CommitCounts::default(),
        };
        let shared = Arc::new(Shared {
            claims: Claims::new(),
            queue: Mutex::default(),
            room: Condvar::new(),
            worker: Mutex::new(worker),
            failure: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            work: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("daykeep-commit".into())
            .spawn(move || own.run_thread(has_own_thread))
            .map_err(|error| StoreError::from_io("a thread to store packs", "start", error))?;
        Ok(Self { shared, queued_max, has_own_thread, thread: Mutex::new(Some(thread)) })
    }

    /// Returns the chunks that are taken and not in the catalog yet.
    pub fn claims(&self) -> &Claims {
        &self.shared.claims
    }

    /// Returns the memory of a pack that was stored, for a new one.
    pub fn buffer(&self) -> Option<Vec<u8>> {
        lock(&self.shared.queue).buffers.pop()
    }

    /// Stores a pack at once and returns its memory.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn store(&self, pack: SealedPack) -> Result<Vec<u8>> {
        let memory = self.shared.store(&mut lock(&self.shared.worker), pack);
        if self.shared.has_failed.load(Ordering::Acquire) { Err(Error::Cancelled) } else { Ok(memory) }
    }

    /// Hands over a pack, to be stored soon; if too many wait, takes part in that.
    ///
    /// # Errors
    /// `Cancelled` if a pack could not be stored; [`finish`](Self::finish) says why.
    pub fn send(&self, pack: SealedPack) -> Result<()> {
        let mut pack = Some(pack);
        while pack.is_some() {
            if self.shared.has_failed.load(Ordering::Acquire) {
                return Err(Error::Cancelled);
            }
            let mut queue = lock(&self.shared.queue);
            if queue.packs.len() < self.queued_max {
                queue.packs.extend(pack.take());
            } else if !self.has_own_thread
                && let Ok(mut worker) = self.shared.worker.try_lock()
            {
                drop(queue);
                self.shared.store_next(&mut worker);
            } else {
                // Not for long: the other may have been just about to leave.
                drop(self.shared.room.wait_timeout(queue, Duration::from_millis(2)));
            }
        }
        if self.has_own_thread {
            self.shared.work.notify_all();
        } else if rayon::current_thread_index().is_none() {
            self.shared.store_next_unless_busy();
        } else {
            // Weak, so that a job that nobody has taken up keeps no repository open.
            let shared = Arc::downgrade(&self.shared);
            rayon::spawn(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.store_next_unless_busy();
                }
            });
        }
        Ok(())
    }

    /// Stores what waits, and the index that lists it, so that it can be read.
    ///
    /// # Errors
    /// `Cancelled` if that could not be done; [`finish`](Self::finish) says why.
    pub fn checkpoint(&self) -> Result<()> {
        let mut worker = lock(&self.shared.worker);
        while self.shared.store_next(&mut worker) {}
        if !self.shared.has_failed.load(Ordering::Acquire)
            && let Err(error) = worker.flush(&self.shared.claims)
        {
            self.shared.fail(error);
        }
        if self.shared.has_failed.load(Ordering::Acquire) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Returns once every pack and the index that lists it are safe.
    ///
    /// # Errors
    /// The first failure.
    pub fn finish(&self) -> Result<CommitCounts> {
        {
            let _queue = lock(&self.shared.queue);
            self.shared.is_over.store(true, Ordering::Release);
            self.shared.work.notify_all();
        }
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            return Err(StoreError::new(StoreErrorKind::Io, "commit thread", "it panicked; report this").into());
        }
        // A job that is at work ends as soon as nothing waits; until then it would keep the store open behind our back.
        while Arc::strong_count(&self.shared) > 1 {
            self.shared.store_next(&mut lock(&self.shared.worker));
            std::thread::yield_now();
        }
        let mut worker = lock(&self.shared.worker);
        while self.shared.store_next(&mut worker) {}
        // After a failure too: what was stored before is listed if that can still be done, and used by the next run.
        if let Err(error) = worker.flush(&self.shared.claims) {
            self.shared.fail(error);
        }
        match lock(&self.shared.failure).take() {
            Some(error) => Err(error),
            None => Ok(worker.counts),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // An operation that ended early still lists what it stored.
        let _ = self.finish();
    }
}

impl Shared {
    /// Stores one pack if one waits and no other thread is at it.
    fn store_next_unless_busy(&self) {
        if let Ok(mut worker) = self.worker.try_lock() {
            self.store_next(&mut worker);
        }
    }

    /// Stores one pack, or drops it after a failure, and returns whether one waited.
    fn store_next(&self, worker: &mut Worker) -> bool {
        let next = lock(&self.queue).packs.pop_front();
        let Some(pack) = next else { return false };
        self.room.notify_one();
        let memory = self.store(worker, pack);
        lock(&self.queue).buffers.push(memory);
        true
    }

    /// Stores a pack, unless after a failure, and returns its memory.
    fn store(&self, worker: &mut Worker, pack: SealedPack) -> Vec<u8> {
        if !self.has_failed.load(Ordering::Acquire) {
            let stored = worker.store_pack(&pack).and_then(|()| worker.flush_if_due(&self.claims));
            if let Err(error) = stored {
                self.fail(error);
            }
        }
        pack.into_buffer()
    }

    fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.has_failed.store(true, Ordering::Release);
    }

    /// Stores packs if it `is_storing`; lists what was stored a minute ago though no pack has come since, as from a slow
    /// stream.
    fn run_thread(&self, is_storing: bool) {
        let period = Duration::from_secs(INDEX_FLUSH_SECONDS);
        while !self.is_over.load(Ordering::Acquire) {
            let mut queue = lock(&self.queue);
            if (!is_storing || queue.packs.is_empty()) && !self.is_over.load(Ordering::Acquire) {
                (queue, _) = self.work.wait_timeout(queue, period).unwrap_or_else(PoisonError::into_inner);
            }
            drop(queue);
            let mut worker = lock(&self.worker);
            if is_storing {
                while self.store_next(&mut worker) {}
            }
            if !self.has_failed.load(Ordering::Acquire)
                && let Err(error) = worker.flush_if_due(&self.claims)
            {
                self.fail(error);
            }
        }
    }
}

struct Worker {
    codec: Arc<Codec>,
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    dry_run: bool,
    pending: Index,
    pending_bytes: u64,
    pending_chunks: usize,
    last_flush: Instant,
    counts: CommitCounts,
}

impl Worker {
    fn store_pack(&mut self, pack: &SealedPack) -> Result<()> {
        let bytes = pack.as_bytes().len();
        if !self.dry_run {
            self.store.put(&ObjectName::new(ObjectKind::Pack, pack.id), pack.as_bytes())?;
        }
        self.counts.packs += 1;
        self.counts.bytes_stored += bytes as u64;
        self.pending_bytes += bytes as u64;
        self.pending_chunks += pack.table.chunks.len();
        self.pending.packs.push(PackRecord { id: pack.id, bytes: bytes as u32, table: shorten(&pack.table) });
        Ok(())
    }

    fn flush_if_due(&mut self, claims: &Claims) -> Result<()> {
        let is_due = self.pending_bytes >= INDEX_FLUSH_BYTES
            || self.pending_chunks >= INDEX_FLUSH_CHUNKS
            || self.last_flush.elapsed() >= Duration::from_secs(INDEX_FLUSH_SECONDS);
        if is_due { self.flush(claims) } else { Ok(()) }
    }

    /// Packs durable, then the index object durable, then the catalog.
    fn flush(&mut self, claims: &Claims) -> Result<()> {
        self.last_flush = Instant::now();
        if self.pending.packs.is_empty() {
            return Ok(());
        }
        let random = crypt::random().map_err(|error| StoreError::from_io("random numbers", "ask for them", error))?;
        let id = ObjectId::from_bytes(random);
        let name = ObjectName::new(ObjectKind::Index, id);
        let object = seal_index(&self.codec, &name, &self.pending)?;
        self.counts.bytes_stored += object.len() as u64;
        if self.dry_run {
            // The claims stay, since no catalog will know these chunks; they are what a dry run remembers.
            self.pending = Index::default();
        } else {
            if !self.store.keeps_order() {
                self.store.sync()?;
            }
            self.store.put(&name, &object)?;
            self.store.sync()?;
            let index = std::mem::take(&mut self.pending);
            let mut entries = entries_of(&index);
            drop(index);
            self.catalog.add(&id, &mut entries)?;
            entries.iter().for_each(|entry| claims.release(&entry.id));
        }
        self.pending_bytes = 0;
        self.pending_chunks = 0;
        Ok(())
    }
}

/// Seals an index object, after a reader's own checks: what is recorded can be read.
///
/// # Errors
/// `LimitExceeded` for what no reader would take.
pub fn seal_index(codec: &Codec, name: &ObjectName, index: &Index) -> Result<Vec<u8>> {
    let refused = |expected: &str| {
        let reason = format!("cannot be stored, since no reader would take it: expected {expected}");
        Err(Error::LimitExceeded { object: name.to_string(), reason })
    };
    if let Err(expected) = index.check() {
        return refused(expected);
    }
    let plain = index.encode();
    if plain.len() > INDEX_PLAIN_BYTES_MAX {
        return refused("at most 128 MiB");
    }
    let object = codec.seal_object(name, &plain)?;
    if object.len() > INDEX_BYTES_MAX { refused("at most 64 MiB sealed") } else { Ok(object) }
}

/// Returns the catalog entries of an index object: none for what is void.
pub fn entries_of(index: &Index) -> Vec<CatalogEntry> {
    let mut entries = Vec::with_capacity(index.packs.iter().map(|pack| pack.table.chunks.len()).sum());
    for pack in &index.packs {
        pack.table.locate(pack.id, |chunk, location| {
            if chunk.is_void() {
                return;
            }
            let bases = chunk.delta.as_ref().map_or_else(Box::default, |delta| delta.bases.as_slice().into());
            entries.push(CatalogEntry { id: chunk.id, location, bases });
        });
    }
    entries
}

/// Returns a footer's table as an index object holds it: with short ids.
pub fn shorten(table: &FrameTable<ChunkId>) -> FrameTable<ShortId> {
    let short = |chunk: &ChunkRecord<ChunkId>| ChunkRecord {
        id: chunk.id.short(),
        kind: chunk.kind,
        bytes: chunk.bytes,
        delta: chunk.delta.clone(),
    };
    FrameTable { frames: table.frames.clone(), chunks: table.chunks.iter().map(short).collect() }
}

/// Reads an index object.
///
/// # Errors
/// `Damaged`, or the store's own.
pub fn load_index(store: &dyn Store, codec: &Codec, id: ObjectId) -> Result<Index> {
    let name = ObjectName::new(ObjectKind::Index, id);
    let object = store.get(&name, INDEX_BYTES_MAX)?;
    let payload = codec.open_object(&name, &object, INDEX_PLAIN_BYTES_MAX)?;
    Index::decode(&payload).map_err(|error| Error::damaged(name, &error))
}

/// Proves every byte of a pack, and that an index object says of it what its footer does, if `record` is what it says.
///
/// # Errors
/// `Damaged` for the first thing that is not as it was written.
pub fn verify_pack(codec: &Codec, name: &ObjectName, bytes: &[u8], record: Option<&PackRecord>) -> Result<()> {
    let footer = pack::verify(codec, name, bytes)?;
    match record {
        Some(record) if !record.table.agrees_with(&shorten(&footer.table)) => {
            Err(Error::damaged_object(name, "its footer and the index list other chunks"))
        }
        _ => Ok(()),
    }
}
