//! Writes chunks that resemble known ones as deltas.

use rayon::prelude::*;

use crate::base::limits::{BASES_MAX, DELTA_CLOSURE_MAX};
use crate::base::{ChunkId, ShortId};
use crate::chunks::reader::Base;
use crate::chunks::writer::{ChunkWriter, Scratch, Sort, Stored, no_memory};
use crate::delta::{self, DeltaEncoder};
use crate::error::{Error, Result};
use crate::format::index::{BasePrefix, DeltaRecord, Reach};

/// What a delta costs beyond its bytes: more in its records, and more to read it.
const DELTA_OVERHEAD_BYTES: usize = 64;
/// The zstd level of deltas.
const LEVEL: i32 = 3;
/// So many chunks that lie near each other are one task's: their bases lie near each other too.
const CHUNKS_PER_TASK: usize = 64;

/// A chunk that was taken and is not stored yet.
pub struct Taken<'b> {
    /// Its id.
    pub id: ChunkId,
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Known chunks that may resemble it, the best first.
    pub bases: Vec<ShortId>,
}

/// The bases that were found for one chunk.
#[derive(Default)]
struct Bases {
    prefix: Vec<u8>,
    record: Vec<BasePrefix>,
    depth: u8,
    needs: Vec<ShortId>,
}

impl Bases {
    /// Adds a base unless the chunk would need too many others then.
    fn add(&mut self, id: &ShortId, base: &Base) {
        let new: Vec<ShortId> = base.needs.iter().filter(|id| !self.needs.contains(id)).copied().collect();
        if self.needs.len() + new.len() > usize::from(DELTA_CLOSURE_MAX) {
            return;
        }
        self.needs.extend(new);
        self.depth = self.depth.max(base.depth + 1);
        let mut prefix = BasePrefix::default();
        prefix.copy_from_slice(&id.as_bytes()[..size_of::<BasePrefix>()]);
        // The best comes last, since near matches are the cheapest.
        self.record.insert(0, prefix);
        self.prefix.splice(..0, base.bytes.iter().copied());
    }

    fn into_record(self, bytes: usize) -> DeltaRecord {
        let reach = Reach { depth: self.depth, closure: self.needs.len() as u8 };
        DeltaRecord { bytes: bytes as u32, reach, bases: self.record }
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
        if stored.is_new {
            let bases = base.filter(|base| *base != stored.id).into_iter().collect();
            self.put_some(scratch, sort, &[Taken { id, bytes, bases }])?;
        }
        Ok(stored)
    }

    /// Stores chunks that were claimed, on all cores.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_taken(&self, sort: Sort, chunks: &[Taken<'_>]) -> Result<()> {
        chunks.par_chunks(CHUNKS_PER_TASK).try_for_each(|chunks| {
            let mut scratch = self.lend()?;
            let outcome = self.put_some(&mut scratch, sort, chunks);
            self.give_back(scratch);
            outcome
        })
    }

    fn put_some(&self, scratch: &mut Scratch, sort: Sort, chunks: &[Taken<'_>]) -> Result<()> {
        let found: Vec<Bases> = chunks.iter().map(|chunk| self.bases(sort, chunk)).collect::<Result<_>>()?;
        let prefixes: Vec<&[u8]> = found.iter().map(|bases| bases.prefix.as_slice()).collect();
        let failed = |error: std::io::Error| no_memory("zstd", &error);
        let mut encoder = DeltaEncoder::new(LEVEL).map_err(failed)?;
        let (mut delta, mut back, mut choices) = (Vec::new(), Vec::new(), Vec::with_capacity(chunks.len()));
        for (chunk, prefix) in chunks.iter().zip(prefixes) {
            if prefix.is_empty() {
                choices.push(None);
                continue;
            }
            encoder.encode(prefix, chunk.bytes, &mut delta).map_err(failed)?;
            let cost = delta.len() + DELTA_OVERHEAD_BYTES;
            back.resize(chunk.bytes.len(), 0);
            // What is so short need not be compared with what the chunk takes alone.
            let pays = (cost < chunk.bytes.len() / 8 || cost < self.alone_bytes(scratch, chunk.bytes)?)
                && delta::decode(prefix, &delta, &mut back).is_ok()
                && back == chunk.bytes;
            choices.push(pays.then(|| delta.clone()));
        }
        drop(encoder);
        for ((chunk, choice), bases) in chunks.iter().zip(choices).zip(found) {
            match choice {
                Some(delta) => self.put_delta(scratch, sort, chunk.id, bases.into_record(chunk.bytes.len()), &delta)?,
                None => self.put_claimed(scratch, sort, chunk.id, chunk.bytes)?,
            }
        }
        Ok(())
    }

    /// Reads the bases that a chunk can stand on. What cannot be read is no base; the chunk is stored whole then.
    fn bases(&self, sort: Sort, chunk: &Taken<'_>) -> Result<Bases> {
        let mut bases = Bases::default();
        for id in &chunk.bases {
            if bases.record.len() == BASES_MAX {
                break;
            }
            match self.reader.base(id, sort.kind()) {
                Ok(Some(base)) => bases.add(id, &base),
                Ok(None) | Err(Error::Missing { .. } | Error::Damaged { .. } | Error::Store(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bases)
    }
}
