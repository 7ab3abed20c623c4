//! Reads chunks by id; every byte handed out was opened and its id recomputed.

use std::sync::{Arc, Mutex};

use crate::base::limits::{DELTA_CLOSURE_MAX, DELTA_DEPTH_MAX, FRAME_BYTES_MAX};
use crate::base::{ObjectKind, ObjectName, ShortId, lock};
use crate::catalog::Catalog;
use crate::chunks::cache::FrameCache;
use crate::codec::{Codec, FrameDecoder};
use crate::delta;
use crate::error::{Error, Result};
use crate::format::index::{BasePrefix, ChunkKind, ChunkLocation, FrameLocation};
use crate::hash;
use crate::store::Store;

/// A chunk, for a delta to stand on.
pub struct Base {
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
    /// How many deltas lie below it.
    pub depth: u8,
    /// All chunks that it takes to have it, itself included.
    pub needs: Vec<ShortId>,
}

/// What was read on the way to one chunk, each once.
type Rebuilt = Vec<(ShortId, Arc<Vec<u8>>)>;

struct Worker {
    decoder: FrameDecoder,
    sealed: Vec<u8>,
}

/// Reads chunks of one repository. Used by many threads at once.
pub struct ChunkReader {
    codec: Arc<Codec>,
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    cache: FrameCache,
    workers: Mutex<Vec<Worker>>,
}

impl ChunkReader {
    /// Makes a reader that keeps at most `cache_bytes` of decoded frames.
    pub fn new(codec: Arc<Codec>, catalog: Arc<Catalog>, store: Arc<dyn Store>, cache_bytes: usize) -> Self {
        Self { codec, catalog, store, cache: FrameCache::new(cache_bytes), workers: Mutex::default() }
    }

    /// Returns where a chunk lies.
    ///
    /// # Errors
    /// `Missing` if no index object lists it.
    pub fn locate(&self, id: &ShortId, kind: ChunkKind) -> Result<ChunkLocation> {
        match self.catalog.find(id)? {
            Some(location) if location.kind == kind => Ok(location),
            Some(location) => Err(Error::Damaged {
                object: format!("chunk {id}"),
                reason: format!("is a chunk of {:?} where one of {kind:?} is needed", location.kind),
            }),
            None => Err(Error::Missing { object: format!("chunk {id}") }),
        }
    }

    /// Returns the chunk that a delta names as a base, and where it lies; `None` if no index object lists it.
    ///
    /// # Errors
    /// The catalog's own.
    pub fn locate_base(&self, base: &BasePrefix) -> Result<Option<(ShortId, ChunkLocation)>> {
        Ok(self.catalog.find_base(base)?)
    }

    /// Appends a chunk's bytes to `out`.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, or the store's own.
    pub fn read(&self, id: &ShortId, kind: ChunkKind, out: &mut Vec<u8>) -> Result<()> {
        let location = self.locate(id, kind)?;
        if location.reach.depth == 0 {
            return self.read_whole(id, &location, out);
        }
        let mut rebuilt = Rebuilt::default();
        let bytes = self.rebuild(id, &location, 0, &mut rebuilt)?;
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Returns a chunk that a new delta may have as a base, or `None` if no more deltas may stand on it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn base(&self, id: &ShortId, kind: ChunkKind) -> Result<Option<Base>> {
        let location = self.locate(id, kind)?;
        if location.reach.depth >= DELTA_DEPTH_MAX || location.reach.closure >= DELTA_CLOSURE_MAX {
            return Ok(None);
        }
        let mut rebuilt = Rebuilt::default();
        let bytes = self.rebuild(id, &location, 0, &mut rebuilt)?;
        let needs = rebuilt.iter().map(|(id, _)| *id).collect();
        Ok(Some(Base { bytes, depth: location.reach.depth, needs }))
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

    /// Returns a chunk whatever it takes, from its bases if it is a delta. `depth` deltas led here. No more than the
    /// format allows is read, whatever the records say.
    fn rebuild(
        &self,
        id: &ShortId,
        location: &ChunkLocation,
        depth: u8,
        rebuilt: &mut Rebuilt,
    ) -> Result<Arc<Vec<u8>>> {
        if let Some((_, bytes)) = rebuilt.iter().find(|(known, _)| known == id) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = Vec::new();
        if location.reach.depth == 0 {
            self.read_whole(id, location, &mut bytes)?;
        } else {
            if depth == DELTA_DEPTH_MAX {
                return Err(self.damaged(&location.frame, &format!("chunk {id} needs more than 8 deltas, or itself")));
            }
            let mut prefix = Vec::new();
            for base in self.catalog.bases(id)? {
                let found = self.locate_base(&base)?.filter(|(_, base)| base.kind == location.kind);
                let (base_id, base) = found.ok_or_else(|| {
                    let digits: String = base.iter().map(|byte| format!("{byte:02x}")).collect();
                    Error::Missing { object: format!("base {digits}… of chunk {id}") }
                })?;
                prefix.extend_from_slice(&self.rebuild(&base_id, &base, depth + 1, rebuilt)?);
            }
            let plain = self.plain(&location.frame)?;
            bytes.resize(location.bytes as usize, 0);
            delta::decode(&prefix, self.stored(location, &plain)?, &mut bytes)
                .map_err(|error| self.damaged(&location.frame, &format!("the delta of chunk {id} {error}")))?;
            self.check_id(id, location, &bytes)?;
        }
        if rebuilt.len() > usize::from(DELTA_CLOSURE_MAX) {
            return Err(self.damaged(&location.frame, &format!("chunk {id} is needed by one that needs more than 31")));
        }
        let bytes = Arc::new(bytes);
        rebuilt.push((*id, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Returns a frame's plaintext.
    fn plain(&self, frame: &FrameLocation) -> Result<Arc<Vec<u8>>> {
        if let Some(plain) = self.cache.get(frame.pack, frame.offset) {
            return Ok(plain);
        }
        if frame.plain_bytes as usize > FRAME_BYTES_MAX {
            return Err(self.damaged(frame, "names a frame beyond 1 MiB"));
        }
        let mut plain = vec![0; frame.plain_bytes as usize];
        self.decode(frame, &mut plain)?;
        let plain = Arc::new(plain);
        self.cache.insert(frame.pack, frame.offset, Arc::clone(&plain));
        Ok(plain)
    }

    /// Returns the bytes of a frame that are a chunk's, or its delta's.
    fn stored<'p>(&self, location: &ChunkLocation, plain: &'p [u8]) -> Result<&'p [u8]> {
        let from = location.offset as usize;
        let bytes = plain.get(from..from + location.stored_bytes as usize);
        bytes.ok_or_else(|| self.damaged(&location.frame, "names a chunk beyond its frame"))
    }

    fn check_id(&self, id: &ShortId, location: &ChunkLocation, bytes: &[u8]) -> Result<()> {
        if hash::chunk_id(self.codec.keys.ids(location.kind), bytes).short() == *id {
            return Ok(());
        }
        Err(self.damaged(&location.frame, &format!("chunk {id} has other bytes than its id says")))
    }

    fn damaged(&self, frame: &FrameLocation, reason: &str) -> Error {
        Error::damaged_object(&ObjectName::new(ObjectKind::Pack, frame.pack), reason)
    }

    /// Reads, opens and decodes a frame into `plain`.
    fn decode(&self, frame: &FrameLocation, plain: &mut [u8]) -> Result<()> {
        let name = ObjectName::new(ObjectKind::Pack, frame.pack);
        let mut worker = match lock(&self.workers).pop() {
            Some(worker) => worker,
            None => {
                let failed = |error: std::io::Error| Error::damaged_object(&name, format!("not read: {error}"));
                Worker { decoder: FrameDecoder::new().map_err(failed)?, sealed: Vec::new() }
            }
        };
        self.store.get_range(&name, u64::from(frame.offset), frame.sealed_bytes as usize, &mut worker.sealed)?;
        let (header, key) = (self.codec.header(&name), self.codec.keys.object(&name));
        let outcome = worker.decoder.decode(&key, &header, frame, &worker.sealed, plain);
        lock(&self.workers).push(worker);
        outcome.map_err(|error| Error::damaged(name, &error))
    }
}
