//! What lies where: the records that a pack's footer and the index objects share, and the index object itself.

use crate::base::limits::{
    BASES_MAX, CHUNK_BYTES_MAX, DELTA_CLOSURE_MAX, FRAME_BYTES_MAX, FRAME_CHUNKS_MAX, INDEX_CHUNKS_MAX, PACK_BYTES_MAX,
};
use crate::base::{ChunkId, ObjectId, ShortId};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::header::{HEADER_BYTES, TAG_BYTES};

/// How the plaintext of a frame was encoded before sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// As it is.
    Raw = 0,
    /// Zstandard (RFC 8878) without magic number, content size or checksum.
    Zstd = 1,
}

impl Encoding {
    /// Returns the stored number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the encoding of a stored number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// Bytes of files.
    Data = 1,
    /// Bytes of encoded trees.
    Tree = 2,
    /// A piece of a chunk list.
    List = 3,
}

impl ChunkKind {
    /// Returns the stored number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind of a stored number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            3 => Some(Self::List),
            _ => None,
        }
    }
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameLocation {
    /// In which pack.
    pub pack: ObjectId,
    /// At which byte of the pack; also the frame's nonce.
    pub offset: u32,
    /// How many bytes there, tag included.
    pub sealed_bytes: u32,
    /// How many bytes once opened and decoded.
    pub plain_bytes: u32,
    /// How to decode it.
    pub encoding: Encoding,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkLocation {
    /// In which frame.
    pub frame: FrameLocation,
    /// At which byte of the frame's plaintext.
    pub offset: u32,
    /// How many bytes there: those of the chunk, or of the delta that makes it.
    pub stored_bytes: u32,
    /// The chunk's length.
    pub bytes: u32,
    /// What it holds.
    pub kind: ChunkKind,
    /// How it is rebuilt.
    pub reach: Reach,
}

/// What a chunk needs to be rebuilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// How many deltas lie on the longest way down to whole chunks; 0 for a whole chunk.
    pub depth: u8,
    /// How many other chunks are needed, at most.
    pub closure: u8,
}

/// The id of a chunk as a record holds it: whole in a footer, short in an index object.
pub trait RecordId: Copy + PartialEq + std::fmt::Debug {
    /// Its length in bytes.
    const LEN: usize;
    /// What stands in place of the id of a chunk that is not to be used: zeros.
    const VOID: Self;
    /// Appends the id.
    fn write(&self, out: &mut Writer);
    /// Takes an id.
    ///
    /// # Errors
    /// If there are too few bytes.
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError>;
}

impl RecordId for ChunkId {
    const LEN: usize = Self::LEN;
    const VOID: Self = Self::from_bytes([0; Self::LEN]);

    fn write(&self, out: &mut Writer) {
        out.raw(self.as_bytes());
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self::from_bytes(input.array()?))
    }
}

impl RecordId for ShortId {
    const LEN: usize = Self::LEN;
    const VOID: Self = Self::from_bytes([0; Self::LEN]);

    fn write(&self, out: &mut Writer) {
        out.raw(self.as_bytes());
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self::from_bytes(input.array()?))
    }
}

/// The first 8 bytes of a base's id; the target's own id proves that the right base was found.
pub type BasePrefix = [u8; 8];

/// How a delta chunk is rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRecord {
    /// The chunk's length once rebuilt.
    pub bytes: u32,
    /// What it takes; a reader that trusts no one counts for itself.
    pub reach: Reach,
    /// Its bases, 1 to 4, in the order in which they form the zstd prefix.
    pub bases: Vec<BasePrefix>,
}

/// One chunk of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord<I> {
    /// Its id.
    pub id: I,
    /// What it holds.
    pub kind: ChunkKind,
    /// How many bytes of the frame's plaintext it takes.
    pub bytes: u32,
    /// Set if those bytes are a delta.
    pub delta: Option<Box<DeltaRecord>>,
}

impl<I: RecordId> ChunkRecord<I> {
    /// Returns whether it only takes its place in the frame: nobody needs it, and its bases may be gone.
    pub fn is_void(&self) -> bool {
        self.id == I::VOID
    }
}

/// One frame of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// How its plaintext was encoded.
    pub encoding: Encoding,
    /// Bytes in the pack, tag included.
    pub sealed_bytes: u32,
    /// Bytes of plaintext: the sum of its chunks' bytes.
    pub plain_bytes: u32,
    /// How many of the pack's chunks it holds.
    pub chunks: u32,
}

/// All frames of a pack and the chunks in them, both in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTable<I> {
    /// The frames; the first begins right after the pack's header.
    pub frames: Vec<FrameRecord>,
    /// The chunks of all frames.
    pub chunks: Vec<ChunkRecord<I>>,
}

impl<I> Default for FrameTable<I> {
    fn default() -> Self {
        Self { frames: Vec::new(), chunks: Vec::new() }
    }
}

const IS_DELTA: u8 = 0x80;

impl<I: RecordId> FrameTable<I> {
    /// Appends the table: frames, then chunks, then ids in a column of their own.
    pub fn write(&self, out: &mut Writer) {
        out.varint(self.frames.len() as u64);
        for frame in &self.frames {
            out.u8(frame.encoding.code());
            out.varint(u64::from(frame.chunks));
            if frame.encoding != Encoding::Raw {
                out.varint(u64::from(frame.sealed_bytes));
            }
        }
        for chunk in &self.chunks {
            out.u8(chunk.kind.code() | if chunk.delta.is_some() { IS_DELTA } else { 0 });
            out.varint(u64::from(chunk.bytes));
            if let Some(delta) = &chunk.delta {
                out.varint(u64::from(delta.bytes));
                out.u8(delta.reach.depth);
                out.u8(delta.reach.closure);
                out.varint(delta.bases.len() as u64);
                delta.bases.iter().for_each(|base| out.raw(base));
            }
        }
        self.chunks.iter().for_each(|chunk| chunk.id.write(out));
    }

    /// Takes a table.
    ///
    /// # Errors
    /// A [`FormatError`] that says where: unknown encodings or kinds, frames beyond their limits, frames that together
    /// are longer than a pack may be.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        // The shortest frame of a footer takes two bytes, the shortest chunk two and an id: no count can ask for
        // more memory than a small multiple of the bytes that are there.
        let frame_count = input.length(input.remaining() / 2, "a count of frames that fits")?;
        let mut frames = Vec::with_capacity(frame_count);
        let mut chunk_count = 0usize;
        for _ in 0..frame_count {
            let start = input.clone();
            let code = input.u8()?;
            let encoding = Encoding::from_code(code).ok_or_else(|| start.error("an encoding of 0 or 1", code))?;
            let chunks = input.varint_u32(FRAME_CHUNKS_MAX as u32, "at most 4096 chunks in a frame")?;
            let sealed_bytes = match encoding {
                Encoding::Raw => 0,
                Encoding::Zstd => input.varint_u32(2 * FRAME_BYTES_MAX as u32, "a frame within its limit")?,
            };
            if chunks == 0 || (encoding != Encoding::Raw && sealed_bytes <= TAG_BYTES as u32) {
                return Err(start.error("a frame that holds something", "an empty one"));
            }
            chunk_count += chunks as usize;
            frames.push(FrameRecord { encoding, sealed_bytes, plain_bytes: 0, chunks });
        }
        if chunk_count > input.remaining() / (2 + I::LEN) {
            return Err(input.error("a record for each chunk", format!("{chunk_count} chunks in too few bytes")));
        }
        let mut chunks = Vec::with_capacity(chunk_count);
        let mut end = HEADER_BYTES as u64;
        let unset = I::read(&mut Reader::new(&[0; ChunkId::LEN]))?;
        for frame in &mut frames {
            let start = input.clone();
            let mut plain = 0u32;
            for _ in 0..frame.chunks {
                let chunk = read_chunk(input, unset)?;
                plain = plain.saturating_add(chunk.bytes);
                chunks.push(chunk);
            }
            if plain > FRAME_BYTES_MAX as u32 {
                return Err(start.error("a frame of at most 1 MiB", plain));
            }
            frame.plain_bytes = plain;
            if frame.encoding == Encoding::Raw {
                frame.sealed_bytes = plain + TAG_BYTES as u32;
            }
            end += u64::from(frame.sealed_bytes);
            if end > PACK_BYTES_MAX as u64 {
                return Err(start.error("frames within a pack of at most 64 MiB", end));
            }
        }
        for chunk in &mut chunks {
            chunk.id = I::read(input)?;
        }
        Ok(Self { frames, chunks })
    }

    /// Returns whether `whole` lists the same, but for chunks that are void here.
    pub fn agrees_with(&self, whole: &Self) -> bool {
        let agree = |(chunk, whole): (&ChunkRecord<I>, &ChunkRecord<I>)| {
            (chunk.id == whole.id || chunk.is_void())
                && (chunk.kind, chunk.bytes, &chunk.delta) == (whole.kind, whole.bytes, &whole.delta)
        };
        self.frames == whole.frames
            && self.chunks.len() == whole.chunks.len()
            && self.chunks.iter().zip(&whole.chunks).all(agree)
    }

    /// Calls `visit` with each chunk and its place in the pack `pack`.
    pub fn locate(&self, pack: ObjectId, mut visit: impl FnMut(&ChunkRecord<I>, ChunkLocation)) {
        let mut chunks = self.chunks.iter();
        let mut offset = HEADER_BYTES as u32;
        for frame in &self.frames {
            let location = FrameLocation {
                pack,
                offset,
                sealed_bytes: frame.sealed_bytes,
                plain_bytes: frame.plain_bytes,
                encoding: frame.encoding,
            };
            let mut in_frame = 0;
            for chunk in chunks.by_ref().take(frame.chunks as usize) {
                let (bytes, reach) =
                    chunk.delta.as_ref().map_or((chunk.bytes, Reach::default()), |delta| (delta.bytes, delta.reach));
                let (offset, stored_bytes, kind) = (in_frame, chunk.bytes, chunk.kind);
                visit(chunk, ChunkLocation { frame: location, offset, stored_bytes, bytes, kind, reach });
                in_frame += chunk.bytes;
            }
            offset += frame.sealed_bytes;
        }
    }

    /// Returns the byte of the pack after the last frame.
    pub fn end(&self) -> u64 {
        self.frames.iter().fold(HEADER_BYTES as u64, |end, frame| end + u64::from(frame.sealed_bytes))
    }
}

impl<I> ChunkRecord<I> {
    /// Checks what a reader checks of a chunk's record beyond its encoding.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(1..=CHUNK_BYTES_MAX as u32).contains(&self.bytes) {
            return Err("a chunk of 1 byte to 1 MiB");
        }
        let Some(DeltaRecord { bytes, reach, bases }) = self.delta.as_deref() else { return Ok(()) };
        if !(1..=CHUNK_BYTES_MAX as u32).contains(bytes) || !(1..=BASES_MAX).contains(&bases.len()) {
            return Err("a delta of something, with one to four bases");
        }
        // Each delta on the way down needs one more chunk at least, and each base is one.
        let least = reach.depth.max(bases.len() as u8);
        if reach.depth == 0 || !(least..=DELTA_CLOSURE_MAX).contains(&reach.closure) {
            return Err("a delta that needs at most 31 chunks, one on each level at least");
        }
        Ok(())
    }
}

fn read_chunk<I>(input: &mut Reader<'_>, unset: I) -> Result<ChunkRecord<I>, FormatError> {
    let start = input.clone();
    let code = input.u8()?;
    let kind = ChunkKind::from_code(code & !IS_DELTA).ok_or_else(|| start.error("a chunk kind of 1 to 3", code))?;
    let bytes = input.varint_u32(CHUNK_BYTES_MAX as u32, "a chunk of at most 1 MiB")?;
    let mut delta = None;
    if code & IS_DELTA != 0 {
        let bytes = input.varint_u32(CHUNK_BYTES_MAX as u32, "a chunk of at most 1 MiB")?;
        let reach = Reach { depth: input.u8()?, closure: input.u8()? };
        let count = input.length(BASES_MAX, "at most four bases")?;
        let bases = (0..count).map(|_| input.array()).collect::<Result<_, _>>()?;
        delta = Some(Box::new(DeltaRecord { bytes, reach, bases }));
    }
    let chunk = ChunkRecord { id: unset, kind, bytes, delta };
    chunk.check().map_err(|expected| start.error(expected, format!("{bytes} bytes, {:?}", chunk.delta)))?;
    Ok(chunk)
}

/// One pack in an index object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// The pack's name.
    pub id: ObjectId,
    /// The length of the whole object in bytes.
    pub bytes: u32,
    /// What lies in it.
    pub table: FrameTable<ShortId>,
}

impl PackRecord {
    /// Returns whether it says that nothing in the pack is to be used, since it is hurt.
    pub const fn is_condemned(&self) -> bool {
        self.table.frames.is_empty()
    }
}

/// An index object: some packs and what lies in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The packs, in the order in which they were written.
    pub packs: Vec<PackRecord>,
}

impl Index {
    /// Returns the encoded index.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.varint(self.packs.len() as u64);
        for pack in &self.packs {
            out.raw(pack.id.as_bytes());
            out.varint(u64::from(pack.bytes));
            pack.table.write(&mut out);
        }
        out.finish()
    }

    /// Checks what a reader checks of an index beyond its encoding.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        let mut chunks = 0;
        for pack in &self.packs {
            let table = &pack.table;
            if !table.frames.is_empty() && table.end() > u64::from(pack.bytes) {
                return Err("frames within their pack");
            }
            chunks += table.chunks.len();
            table.chunks.iter().try_for_each(ChunkRecord::check)?;
        }
        if chunks > INDEX_CHUNKS_MAX { Err("at most 2,097,152 chunks in an index object") } else { Ok(()) }
    }

    /// Decodes an index.
    ///
    /// # Errors
    /// A [`FormatError`] that says where.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let count = input.length(bytes.len() / ObjectId::LEN, "a count of packs that fits")?;
        let mut packs = Vec::with_capacity(count);
        let mut chunks = 0;
        for _ in 0..count {
            let id = ObjectId::from_bytes(input.array()?);
            let bytes = input.varint_u32(PACK_BYTES_MAX as u32, "a pack of at most 64 MiB")?;
            let table = FrameTable::read(&mut input)?;
            if !table.frames.is_empty() && table.end() > u64::from(bytes) {
                return Err(input.error("frames within their pack", format!("{} of {bytes} bytes", table.end())));
            }
            chunks += table.chunks.len();
            if chunks > INDEX_CHUNKS_MAX {
                return Err(input.error("at most 2,097,152 chunks in an index object", chunks));
            }
            packs.push(PackRecord { id, bytes, table });
        }
        input.finish()?;
        Ok(Self { packs })
    }
}
