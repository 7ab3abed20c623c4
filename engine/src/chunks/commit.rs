//! The one thread that stores packs and then the index objects that list them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::limits::{INDEX_FLUSH_BYTES, INDEX_FLUSH_CHUNKS, INDEX_FLUSH_SECONDS};
use crate::base::{ChunkId, ObjectId, ObjectKind, ObjectName, ShortId, lock};
use crate::catalog::Catalog;
use crate::chunks::claims::Claims;
use crate::codec::Codec;
use crate::crypt;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::index::{ChunkLocation, ChunkRecord, FrameTable, Index, PackRecord};
use crate::pack::SealedPack;
use crate::store::Store;

/// What a committer stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Packs.
    pub packs: u64,
    /// Sealed bytes of packs and index objects.
    pub bytes_stored: u64,
}

#[derive(Default)]
struct Shared {
    /// Memory of stored packs, for new ones.
    buffers: Mutex<Vec<Vec<u8>>>,
    failure: Mutex<Option<Error>>,
    has_failed: AtomicBool,
}

/// Stores packs in the background, and index objects in between.
pub struct Committer {
    claims: Arc<Claims>,
    shared: Arc<Shared>,
    queue: Mutex<Option<SyncSender<SealedPack>>>,
    thread: Mutex<Option<JoinHandle<CommitCounts>>>,
}

impl Committer {
    /// Starts the thread. At most `queued` packs wait for it; then [`send`](Self::send) blocks.
    pub fn start(
        codec: &Arc<Codec>,
        catalog: &Arc<Catalog>,
        store: Arc<dyn Store>,
        queued: usize,
        dry_run: bool,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(queued);
        let claims = Arc::new(Claims::new());
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            codec: Arc::clone(codec),
            catalog: Arc::clone(catalog),
            store,
            claims: Arc::clone(&claims),
            shared: Arc::clone(&shared),
            dry_run,
            pending: Index::default(),
            pending_bytes: 0,
            pending_chunks: 0,
            last_flush: Instant::now(),
            counts: CommitCounts::default(),
        };
        let thread = std::thread::Builder::new()
            .name("daykeep-commit".into())
            .spawn(move || worker.run(&receiver))
            .map_err(|error| StoreError::from_io("a thread to store packs", "start", error))?;
        Ok(Self { claims, shared, queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Returns the chunks that are taken and not in the catalog yet.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns memory for a new pack, used before if there is any.
    pub fn buffer(&self) -> Vec<u8> {
        lock(&self.shared.buffers).pop().unwrap_or_default()
    }

    /// Hands over a pack; blocks while too many wait.
    ///
    /// # Errors
    /// `Cancelled` if the thread has failed.
    pub fn send(&self, pack: SealedPack) -> Result<()> {
        if self.shared.has_failed.load(Ordering::Acquire) {
            return Err(Error::Cancelled);
        }
        // The sender is cloned so that the lock is not held while the queue is full.
        let queue = lock(&self.queue).clone().ok_or(Error::Cancelled)?;
        queue.send(pack).map_err(|_| Error::Cancelled)
    }

    /// Waits until every pack and the index that lists it are safe.
    ///
    /// # Errors
    /// The first failure.
    pub fn finish(&self) -> Result<CommitCounts> {
        drop(lock(&self.queue).take());
        let thread = lock(&self.thread).take();
        let counts = thread.map_or(Ok(CommitCounts::default()), |thread| {
            thread.join().map_err(|_| StoreError::new(StoreErrorKind::Io, "commit thread", "it panicked; report this"))
        })?;
        match self.failure() {
            Some(error) => Err(error),
            None => Ok(counts),
        }
    }

    /// Takes the first failure, if there was one.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.shared.failure).take()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // An operation that ended early still waits for the thread, so that what was stored is listed.
        let _ = self.finish();
    }
}

struct Worker {
    codec: Arc<Codec>,
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    claims: Arc<Claims>,
    shared: Arc<Shared>,
    dry_run: bool,
    pending: Index,
    pending_bytes: u64,
    pending_chunks: usize,
    last_flush: Instant,
    counts: CommitCounts,
}

impl Worker {
    fn run(mut self, queue: &Receiver<SealedPack>) -> CommitCounts {
        let period = Duration::from_secs(INDEX_FLUSH_SECONDS);
        loop {
            let outcome = match queue.recv_timeout(period.saturating_sub(self.last_flush.elapsed())) {
                Ok(pack) => self.store_pack(pack),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = outcome {
                self.fail(error);
                // What was stored before is listed if that can still be done; the next run then uses it.
                let _ = self.flush();
                // Senders that wait for room must not wait for ever.
                while queue.recv().is_ok() {}
                return self.counts;
            }
        }
        if let Err(error) = self.flush() {
            self.fail(error);
        }
        self.counts
    }

    fn fail(&self, error: Error) {
        lock(&self.shared.failure).get_or_insert(error);
        self.shared.has_failed.store(true, Ordering::Release);
    }

    fn store_pack(&mut self, pack: SealedPack) -> Result<()> {
        let bytes = pack.as_bytes().len();
        if !self.dry_run {
            self.store.put(&ObjectName::new(ObjectKind::Pack, pack.id), pack.as_bytes())?;
        }
        self.counts.packs += 1;
        self.counts.bytes_stored += bytes as u64;
        self.pending_bytes += bytes as u64;
        self.pending_chunks += pack.table.chunks.len();
        self.pending.packs.push(PackRecord { id: pack.id, bytes: bytes as u32, table: shorten(&pack.table) });
        lock(&self.shared.buffers).push(pack.into_buffer());
        let is_due = self.pending_bytes >= INDEX_FLUSH_BYTES
            || self.pending_chunks >= INDEX_FLUSH_CHUNKS
            || self.last_flush.elapsed() >= Duration::from_secs(INDEX_FLUSH_SECONDS);
        if is_due { self.flush() } else { Ok(()) }
    }

    /// Packs durable, then the index object durable, then the catalog.
    fn flush(&mut self) -> Result<()> {
        self.last_flush = Instant::now();
        if self.pending.packs.is_empty() {
            return Ok(());
        }
        let random = crypt::random().map_err(|error| StoreError::from_io("random numbers", "ask for them", error))?;
        let id = ObjectId::from_bytes(random);
        let name = ObjectName::new(ObjectKind::Index, id);
        let object = self.codec.seal_object(&name, &self.pending.encode())?;
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
            entries.iter().for_each(|(id, _)| self.claims.release(id));
        }
        self.pending_bytes = 0;
        self.pending_chunks = 0;
        Ok(())
    }
}

/// Returns the catalog entries of an index object.
pub fn entries_of(index: &Index) -> Vec<(ShortId, ChunkLocation)> {
    let mut entries = Vec::with_capacity(index.packs.iter().map(|pack| pack.table.chunks.len()).sum());
    for pack in &index.packs {
        pack.table.locate(pack.id, |chunk, location| entries.push((chunk.id, location)));
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
