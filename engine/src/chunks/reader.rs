//! Reads chunks by id; every byte handed out was opened and its id recomputed.

use std::sync::{Arc, Mutex};

use crate::base::limits::FRAME_BYTES_MAX;
use crate::base::{ObjectKind, ObjectName, ShortId, lock};
use crate::catalog::Catalog;
use crate::chunks::cache::FrameCache;
use crate::codec::{Codec, FrameDecoder};
use crate::error::{Error, Result};
use crate::format::index::{ChunkKind, ChunkLocation, FrameLocation};
use crate::hash;
use crate::store::Store;

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

    /// Appends a chunk's bytes to `out`.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, or the store's own.
    pub fn read(&self, id: &ShortId, kind: ChunkKind, out: &mut Vec<u8>) -> Result<()> {
        let location = self.locate(id, kind)?;
        let start = out.len();
        let frame = location.frame;
        if frame.plain_bytes == location.bytes {
            out.resize(start + location.bytes as usize, 0);
            self.decode(&frame, &mut out[start..])?;
        } else {
            let plain = match self.cache.get(frame.pack, frame.offset) {
                Some(plain) => plain,
                None => {
                    if frame.plain_bytes as usize > FRAME_BYTES_MAX {
                        return Err(self.damaged(&frame, "names a frame beyond 1 MiB"));
                    }
                    let mut plain = vec![0; frame.plain_bytes as usize];
                    self.decode(&frame, &mut plain)?;
                    let plain = Arc::new(plain);
                    self.cache.insert(frame.pack, frame.offset, Arc::clone(&plain));
                    plain
                }
            };
            let from = location.offset as usize;
            let bytes = plain.get(from..from + location.bytes as usize);
            out.extend_from_slice(bytes.ok_or_else(|| self.damaged(&frame, "names a chunk beyond its frame"))?);
        }
        let found = hash::chunk_id(self.codec.keys.ids(kind), &out[start..]);
        if found.short() == *id {
            Ok(())
        } else {
            out.truncate(start);
            Err(self.damaged(&frame, &format!("chunk {id} has other bytes than its id says")))
        }
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
