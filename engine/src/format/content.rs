//! What a file or a tree consists of: references to chunks in order, holes between them, and for long content
//! references to chunks that hold such references.

use crate::base::ShortId;
use crate::base::limits::{CHUNK_BYTES_MAX, INLINE_REFS_MAX, LIST_ENTRIES_MAX, LIST_LEVELS_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};

/// A run of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes that lie in a chunk; on a level above 0, bytes listed by a chunk.
    Chunk {
        /// Which chunk.
        id: ShortId,
        /// How many bytes of the file.
        bytes: u64,
    },
    /// Bytes that are zero and take no space on disk.
    Hole {
        /// How many.
        bytes: u64,
    },
}

impl Part {
    /// Returns how many bytes of the file it stands for.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } | Self::Hole { bytes } => *bytes,
        }
    }
}

/// All bytes of one file or encoded tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// 0: the parts are chunks of the content. n: the parts are pieces of a chunk list whose parts have level n − 1.
    pub level: u8,
    /// The parts in order, at most [`INLINE_REFS_MAX`].
    pub parts: Vec<Part>,
}

/// Writes parts in columns: runs of equal lengths first, then the ids, so that a page-aligned database's list is little
/// more than its ids.
fn write_parts(out: &mut Writer, parts: &[Part]) {
    out.varint(parts.len() as u64);
    let mut rest = parts;
    while let Some(first) = rest.first() {
        let (key, run) = run_of(first, rest);
        out.varint(key.0);
        out.varint(key.1);
        out.varint(run as u64);
        rest = &rest[run..];
    }
    for part in parts {
        if let Part::Chunk { id, .. } = part {
            out.raw(id.as_bytes());
        }
    }
}

/// Returns (is a hole, bytes) of the first part and how many parts from there on share both.
fn run_of(first: &Part, parts: &[Part]) -> ((u64, u64), usize) {
    let key = |part: &Part| (u64::from(matches!(part, Part::Hole { .. })), part.bytes());
    let wanted = key(first);
    (wanted, parts.iter().take_while(|part| key(part) == wanted).count())
}

fn read_parts(input: &mut Reader<'_>, level: u8, max: usize) -> Result<Vec<Part>, FormatError> {
    let count = input.length(max, "a count of parts within its limit")?;
    let mut parts = Vec::with_capacity(count);
    let unset = ShortId::from_bytes([0; ShortId::LEN]);
    let chunk_max = if level == 0 { CHUNK_BYTES_MAX as u64 } else { u64::MAX };
    let mut total = 0u64;
    while parts.len() < count {
        let start = input.clone();
        let hole = input.varint_max(1, "0 for a chunk or 1 for a hole")? == 1;
        let bytes = input.varint()?;
        let run = input.length(count - parts.len(), "a run within the count of parts")?;
        if run == 0 || bytes == 0 || (!hole && bytes > chunk_max) {
            return Err(start.error("a run of parts of 1 byte to 1 MiB each", format!("{run} parts of {bytes} bytes")));
        }
        if hole && (level > 0 || run > 1 || matches!(parts.last(), Some(Part::Hole { .. }))) {
            return Err(start.error("holes on level 0, with chunks between them", format!("{run} of level {level}")));
        }
        total = bytes
            .checked_mul(run as u64)
            .and_then(|sum| sum.checked_add(total))
            .ok_or_else(|| start.error("less than 2^64 bytes in all", "more"))?;
        let part = if hole { Part::Hole { bytes } } else { Part::Chunk { id: unset, bytes } };
        parts.resize(parts.len() + run, part);
    }
    for part in &mut parts {
        if let Part::Chunk { id, .. } = part {
            *id = ShortId::from_bytes(input.array()?);
        }
    }
    Ok(parts)
}

impl Content {
    /// Returns how many bytes it is, holes included.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Checks what a reader checks of a content beyond its encoding.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.level > LIST_LEVELS_MAX {
            return Err("a level of 0 to 6");
        }
        check_parts(self.level, &self.parts, INLINE_REFS_MAX)
    }

    /// Appends the content's record.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(self.level);
        write_parts(out, &self.parts);
    }

    /// Takes a content's record.
    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let start = input.clone();
        let level = input.u8()?;
        if level > LIST_LEVELS_MAX {
            return Err(start.error("a level of 0 to 6", level));
        }
        Ok(Self { level, parts: read_parts(input, level, INLINE_REFS_MAX)? })
    }
}

/// Checks parts as [`read_parts`] does.
fn check_parts(level: u8, parts: &[Part], max: usize) -> Result<(), &'static str> {
    let chunk_max = if level == 0 { CHUNK_BYTES_MAX as u64 } else { u64::MAX };
    let (mut total, mut after_hole) = (0u64, false);
    for part in parts {
        let is_hole = matches!(part, Part::Hole { .. });
        if part.bytes() == 0 || (!is_hole && part.bytes() > chunk_max) {
            return Err("parts of 1 byte to 1 MiB each");
        }
        if is_hole && (level > 0 || after_hole) {
            return Err("holes on level 0, with chunks between them");
        }
        after_hole = is_hole;
        total = total.checked_add(part.bytes()).ok_or("less than 2^64 bytes in all")?;
    }
    if parts.len() > max { Err("a count of parts within its limit") } else { Ok(()) }
}

/// Returns one encoded piece of a chunk list. `level` is that of its parts.
pub fn encode_list(level: u8, parts: &[Part]) -> Vec<u8> {
    let mut out = Writer::with_capacity(16 + parts.len() * (ShortId::LEN + 2));
    out.u8(level);
    write_parts(&mut out, parts);
    out.finish()
}

/// Decodes one piece of a chunk list whose parts must have `level`.
///
/// # Errors
/// A [`FormatError`] that says where: another level, too many parts, parts of no length.
pub fn decode_list(level: u8, bytes: &[u8]) -> Result<Vec<Part>, FormatError> {
    let mut input = Reader::new(bytes);
    let start = input.clone();
    let found = input.u8()?;
    if found != level {
        return Err(start.error("a list of the level that its parent names", found));
    }
    let parts = read_parts(&mut input, level, LIST_ENTRIES_MAX)?;
    input.finish()?;
    Ok(parts)
}
