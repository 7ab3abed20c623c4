//! Writes what is needed of packs into new ones.

use std::sync::Arc;

use crate::base::limits::{FRAME_BYTES_TARGET, TREE_FRAME_BYTES_TARGET};
use crate::base::{CancelToken, ChunkId, ObjectId, ObjectKind, ObjectName};
use crate::catalog::Catalog;
use crate::chunks::{CommitCounts, Committer, FrameBuffer, Healer};
use crate::codec::{Codec, FrameDecoder};
use crate::compress::Compressor;
use crate::crypt::BadSeal;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::header::TAG_BYTES;
use crate::format::index::{ChunkKind, ChunkRecord, Encoding, FrameLocation, RecordId};
use crate::format::pack::Footer;
use crate::hash;
use crate::pack::{self, Frame, PackBuilder};
use crate::prune::plan::is_copied_whole;
use crate::repo::{Repository, new_object_id};

/// The zstd level for chunks that are compressed again: nobody waits for them, and pages of databases had no less.
const LEVEL: i32 = 3;
/// Packs that are filled: of data, and of trees and lists.
pub(super) const OPEN_PACKS: usize = 2;
/// Packs that wait to be stored, and the one that is being stored.
const QUEUED_PACKS: usize = 3;

/// What becomes of a chunk of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is needed.
    Needed,
    /// It may come along, and be used again.
    Unneeded,
    /// It may come along to fill its place; nobody may use it.
    Void,
}

/// Writes packs of copied frames.
pub struct Repacker {
    codec: Arc<Codec>,
    healer: Arc<Healer>,
    committer: Committer,
    pack_bytes: usize,
    packs: [Option<PackBuilder>; OPEN_PACKS],
    /// Chunks of frames of which too little is needed: of data, deltas of data, trees and lists.
    gathered: [FrameBuffer; 3],
    compressor: Compressor,
    compressed: Vec<u8>,
    decoder: FrameDecoder,
    opened: Vec<u8>,
}

impl Repacker {
    /// Begins; `catalog` is told what was written. A quarter of the memory budget is for packs.
    ///
    /// # Errors
    /// If zstd cannot have its memory or the thread that stores packs cannot be started.
    pub fn new(repo: &Repository, catalog: &Arc<Catalog>) -> Result<Self> {
        let no_memory = |error: std::io::Error| {
            let message = format!("{error}; close other programs and run the command again");
            StoreError::new(StoreErrorKind::Io, "zstd", message)
        };
        let store = Arc::clone(&repo.store);
        let most = repo.memory_bytes / 4 / (OPEN_PACKS + QUEUED_PACKS);
        let pack_bytes = pack::pack_bytes(most, store.pack_bytes(), repo.codec.parity_percent);
        Ok(Self {
            codec: Arc::clone(&repo.codec),
            healer: Arc::clone(&repo.healer),
            committer: Committer::start(&repo.codec, catalog, store, QUEUED_PACKS - 1, false)?,
            pack_bytes,
            packs: Default::default(),
            gathered: Default::default(),
            compressor: Compressor::new(LEVEL).map_err(no_memory)?,
            compressed: Vec::new(),
            decoder: FrameDecoder::new().map_err(no_memory)?,
            opened: Vec::new(),
        })
    }

    /// Copies what is needed of the pack `id`, whose whole object is `pack`. `uses` says it of each chunk of `footer`.
    ///
    /// # Errors
    /// `Damaged`, or the store's own.
    pub fn copy(&mut self, id: ObjectId, mut pack: Arc<Vec<u8>>, footer: &Footer, uses: &[Use]) -> Result<()> {
        let name = ObjectName::new(ObjectKind::Pack, id);
        let mut places = Vec::with_capacity(uses.len());
        footer.table.locate(id, |_, location| places.push(location));
        let healer = Arc::clone(&self.healer);
        let mut first = 0;
        for frame in &footer.table.frames {
            let range = first..first + frame.chunks as usize;
            first = range.end;
            let (chunks, uses) = (&footer.table.chunks[range.clone()], &uses[range.clone()]);
            let is_needed = |(use_, _): &(&Use, &ChunkRecord<ChunkId>)| **use_ == Use::Needed;
            let needed = uses.iter().zip(chunks).filter(is_needed).map(|(_, chunk)| u64::from(chunk.bytes)).sum();
            let location = places[range.start].frame;
            let sealed = location.offset as usize..(location.offset + location.sealed_bytes) as usize;
            let is_whole = is_copied_whole(needed, u64::from(frame.plain_bytes));
            let mut take = |pack: &[u8]| match is_whole {
                true => self.copy_frame(&name, &location, &pack[sealed.clone()], chunks, uses),
                false => self.take_apart(&name, &location, &pack[sealed.clone()], chunks, uses),
            };
            if needed == 0 {
                continue;
            }
            let Err(error) = take(&pack) else { continue };
            let healed = healer.heal(id).filter(|healed| healed.get(sealed.clone()) != pack.get(sealed.clone()));
            // Its seal did not open, so nothing of it was taken.
            pack = healed.ok_or(error)?;
            take(&pack)?;
        }
        Ok(())
    }

    /// Seals a frame anew, as it is encoded.
    fn copy_frame(
        &mut self,
        name: &ObjectName,
        location: &FrameLocation,
        sealed: &[u8],
        chunks: &[ChunkRecord<ChunkId>],
        uses: &[Use],
    ) -> Result<()> {
        let mut opened = std::mem::take(&mut self.opened);
        opened.resize(sealed.len().saturating_sub(TAG_BYTES), 0);
        let header = self.codec.header(name);
        let opening = self.codec.keys.object(name).open(u64::from(location.offset), &header, sealed, &mut opened);
        opening.map_err(|BadSeal| {
            Error::damaged_object(name, format!("the seal of the frame at byte {} does not fit", location.offset))
        })?;
        let mut chunks = chunks.to_vec();
        for (chunk, use_) in chunks.iter_mut().zip(uses) {
            if *use_ == Use::Void {
                chunk.id = ChunkId::VOID;
            }
        }
        let outcome = self.append(&Frame { encoding: location.encoding, body: &opened, chunks: &chunks });
        self.opened = opened;
        outcome
    }

    /// Gathers the needed chunks of a frame.
    fn take_apart(
        &mut self,
        name: &ObjectName,
        location: &FrameLocation,
        sealed: &[u8],
        chunks: &[ChunkRecord<ChunkId>],
        uses: &[Use],
    ) -> Result<()> {
        let mut plain = vec![0; location.plain_bytes as usize];
        let (header, key) = (self.codec.header(name), self.codec.keys.object(name));
        let decoded = self.decoder.decode(&key, &header, location, sealed, &mut plain);
        decoded.map_err(|error| Error::damaged(name, &error))?;
        let mut at = 0;
        for (chunk, use_) in chunks.iter().zip(uses) {
            let bytes = &plain[at..at + chunk.bytes as usize];
            at += bytes.len();
            if *use_ != Use::Needed {
                continue;
            }
            if chunk.delta.is_none() && hash::chunk_id(self.codec.keys.ids(chunk.kind), bytes) != chunk.id {
                return Err(Error::damaged_object(
                    name,
                    format!("chunk {} has other bytes than its id says", chunk.id),
                ));
            }
            let sort = match (chunk.kind, &chunk.delta) {
                (ChunkKind::Data, None) => 0,
                (ChunkKind::Data, Some(_)) => 1,
                (ChunkKind::Tree | ChunkKind::List, _) => 2,
            };
            let target = if sort == 2 { TREE_FRAME_BYTES_TARGET } else { FRAME_BYTES_TARGET };
            if self.gathered[sort].is_full_for(bytes.len(), target) {
                self.flush(sort)?;
            }
            self.gathered[sort].push(chunk.clone(), bytes);
        }
        Ok(())
    }

    /// Appends what was gathered as one frame. Deltas of data are compressed already.
    fn flush(&mut self, sort: usize) -> Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered[sort]);
        if gathered.chunks.is_empty() {
            return Ok(());
        }
        let mut compressed = std::mem::take(&mut self.compressed);
        let pays = sort != 1
            && self.compressor.compress(&gathered.plain, &mut compressed).map_err(|error| {
                StoreError::new(StoreErrorKind::Io, "zstd", format!("{error}; close other programs and try again"))
            })?;
        let (encoding, body) =
            if pays { (Encoding::Zstd, compressed.as_slice()) } else { (Encoding::Raw, gathered.plain.as_slice()) };
        let outcome = self.append(&Frame { encoding, body, chunks: &gathered.chunks });
        gathered.clear();
        self.gathered[sort] = gathered;
        self.compressed = compressed;
        outcome
    }

    /// Seals a frame into an open pack.
    fn append(&mut self, frame: &Frame<'_>) -> Result<()> {
        let is_data = frame.chunks.first().is_some_and(|chunk| chunk.kind == ChunkKind::Data);
        let slot = &mut self.packs[usize::from(!is_data)];
        if slot.as_ref().is_some_and(|pack| !pack.fits(frame))
            && let Some(full) = slot.take()
        {
            self.committer.send(full.finish()?)?;
        }
        let pack = match slot {
            Some(pack) => pack,
            none => {
                let memory = self.committer.buffer().unwrap_or_default();
                none.insert(PackBuilder::new(&self.codec, new_object_id()?, self.pack_bytes, memory))
            }
        };
        pack.append(frame)
    }

    /// Returns once all new packs and the index objects that list them are safe.
    ///
    /// # Errors
    /// The first failure of the store.
    pub fn finish(mut self) -> Result<CommitCounts> {
        let flushed = self.flush_all();
        // The committer knows why it took no more packs; here there is only word that it did not.
        let counts = self.committer.finish()?;
        flushed.map(|()| counts)
    }

    /// Returns why work failed: where a pack could not be stored the work only has word that it was not.
    pub fn why(self, error: Error, cancel: &CancelToken) -> Error {
        match error {
            Error::Cancelled if !cancel.is_cancelled() => self.finish().err().unwrap_or(error),
            error => error,
        }
    }

    fn flush_all(&mut self) -> Result<()> {
        (0..self.gathered.len()).try_for_each(|sort| self.flush(sort))?;
        for slot in &mut self.packs {
            if let Some(pack) = slot.take() {
                self.committer.send(pack.finish()?)?;
            }
        }
        Ok(())
    }
}
