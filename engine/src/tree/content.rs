//! Chunk lists: long content is a list of chunks that is stored in pieces, which are chunks themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::base::limits::{INLINE_REFS_MAX, LIST_ENTRIES_MAX, LIST_LEVELS_MAX};
use crate::base::{ChunkId, ShortId, lock};
use crate::chunks::{ChunkReader, ChunkWriter, Scratch, Sort};
use crate::error::{Error, Result};
use crate::format::content::{Content, Part, decode_list, encode_list};
use crate::format::index::ChunkKind;
use crate::hash;

/// A piece has at least this many parts …
const PIECE_PARTS_MIN: usize = 128;
/// … at most this many …
const PIECE_PARTS_MAX: usize = 2048;
/// … and ends after a chunk whose id has these bits zero: one in 512. So an insertion changes one piece or two, which are
/// stored as deltas; smaller pieces would cost more in records of their own than they save.
const PIECE_END_MASK: u16 = 0x1ff;

const _: () = assert!(PIECE_PARTS_MIN > INLINE_REFS_MAX && PIECE_PARTS_MAX <= LIST_ENTRIES_MAX);

/// Collects the parts of one file or tree in order.
#[derive(Default)]
pub struct ContentBuilder {
    levels: Vec<Level>,
    last: Arc<Outline>,
}

#[derive(Default)]
struct Level {
    parts: Vec<Part>,
    /// How many bytes of the content lie before them.
    start: u64,
}

/// Where the chunks and the list pieces of a content lie, level by level: each with the byte at which it ends.
#[derive(Default)]
pub struct Outline {
    levels: Vec<Vec<(u64, ShortId)>>,
}

impl Outline {
    /// Reads the lists of `content`, as far as there are at most `chunks_max` chunks; what cannot be read is left out.
    pub fn of(reader: &ChunkReader, content: &Content, chunks_max: usize) -> Self {
        let mut outline = Self { levels: vec![Vec::new(); usize::from(content.level) + 1] };
        // Whatever is wrong with the lists, the worst is that less of the content is found in them.
        let _ = outline.add(reader, content.level, &content.parts, 0, chunks_max);
        outline
    }

    fn add(&mut self, reader: &ChunkReader, level: u8, parts: &[Part], start: u64, chunks_max: usize) -> Result<()> {
        let mut end = start;
        for part in parts {
            let begin = end;
            end += part.bytes();
            let Part::Chunk { id, bytes } = part else { continue };
            if self.levels[0].len() >= chunks_max {
                break;
            }
            self.levels[usize::from(level)].push((end, *id));
            if level > 0 {
                self.add(reader, level - 1, &read_piece(reader, level, id, *bytes)?, begin, chunks_max)?;
            }
        }
        Ok(())
    }

    /// Returns the chunk (level 0) or list piece that holds the byte at `at`; past the end, the last.
    pub fn find(&self, level: usize, at: u64) -> Option<ShortId> {
        let level = self.levels.get(level)?;
        holding(level, at).or(level.last().map(|&(_, id)| id))
    }

    /// Returns the chunk that holds the byte at `at`, or `None` past the end.
    pub fn chunk(&self, at: u64) -> Option<ShortId> {
        holding(self.levels.first()?, at)
    }

    /// Returns the chunks with the bytes at which they begin, the first for one that comes again; holes between them are
    /// taken for a part of what follows.
    pub fn starts(&self) -> impl Iterator<Item = (ShortId, u64)> {
        let chunks = self.levels.first().map_or(&[][..], Vec::as_slice);
        let start = |index: usize| index.checked_sub(1).map_or(0, |before| chunks[before].0);
        (0..chunks.len()).rev().map(move |index| (chunks[index].1, start(index)))
    }

    /// Returns how many chunks it knows.
    pub fn chunks(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }
}

/// Returns what ends first after the byte at `at`.
fn holding(level: &[(u64, ShortId)], at: u64) -> Option<ShortId> {
    let index = level.partition_point(|&(end, _)| end <= at);
    level.get(index).map(|&(_, id)| id)
}

impl ContentBuilder {
    /// Makes a builder for the next version of a content: pieces of its list that changed little are stored as deltas.
    pub fn after(last: Outline) -> Self {
        Self { levels: Vec::new(), last: Arc::new(last) }
    }

    /// Returns the last version's outline.
    pub const fn last(&self) -> &Arc<Outline> {
        &self.last
    }

    /// Adds a part; holes that meet become one.
    ///
    /// # Errors
    /// As [`ChunkWriter::put`].
    pub fn push(&mut self, writer: &ChunkWriter, scratch: &mut Scratch, part: Part) -> Result<()> {
        if part.bytes() == 0 {
            return Ok(());
        }
        if self.levels.is_empty() {
            self.levels.push(Level { parts: Vec::with_capacity(1), start: 0 });
        }
        if let (Part::Hole { bytes }, Some(Part::Hole { bytes: last })) = (part, self.levels[0].parts.last_mut()) {
            *last += bytes;
            return Ok(());
        }
        self.push_at(writer, scratch, 0, part)
    }

    fn push_at(&mut self, writer: &ChunkWriter, scratch: &mut Scratch, level: usize, part: Part) -> Result<()> {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let parts = &mut self.levels[level].parts;
        parts.push(part);
        let ends = match part {
            Part::Chunk { id, .. } => {
                let bytes = id.as_bytes();
                u16::from_le_bytes([bytes[0], bytes[1]]) & PIECE_END_MASK == 0
            }
            Part::Hole { .. } => false,
        };
        if (ends && parts.len() >= PIECE_PARTS_MIN) || parts.len() >= PIECE_PARTS_MAX {
            self.close_piece(writer, scratch, level)?;
        }
        Ok(())
    }

    fn close_piece(&mut self, writer: &ChunkWriter, scratch: &mut Scratch, level: usize) -> Result<()> {
        let Level { parts, start } = &mut self.levels[level];
        let parts = std::mem::take(parts);
        if parts.is_empty() {
            return Ok(());
        }
        let bytes = parts.iter().map(Part::bytes).sum();
        let last = self.last.find(level + 1, *start);
        *start += bytes;
        let stored = writer.put_near(scratch, Sort::List, &encode_list(level as u8, &parts), last)?;
        self.push_at(writer, scratch, level + 1, Part::Chunk { id: stored.id, bytes })
    }

    /// Ends the content.
    ///
    /// # Errors
    /// As [`ChunkWriter::put`].
    pub fn finish(mut self, writer: &ChunkWriter, scratch: &mut Scratch) -> Result<Content> {
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = level + 1 == self.levels.len();
            if is_top && self.levels[level].parts.len() <= INLINE_REFS_MAX {
                return Ok(Content { level: level as u8, parts: std::mem::take(&mut self.levels[level].parts) });
            }
            self.close_piece(writer, scratch, level)?;
            level += 1;
        }
        Ok(Content::default())
    }
}

/// Calls `visit` with each part of level 0 in order. `visit` stops the walk by an error.
///
/// # Errors
/// `Missing` or `Damaged`, or what `visit` returned.
pub fn for_each_part(reader: &ChunkReader, content: &Content, visit: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
    debug_assert!(content.level <= LIST_LEVELS_MAX, "the format's reader checks it");
    let mut after_hole = false;
    walk(reader, content.level, &content.parts, &mut |part| {
        let is_hole = matches!(part, Part::Hole { .. });
        if is_hole && after_hole {
            return Err(holes_meet());
        }
        after_hole = is_hole;
        visit(part)
    })
}

/// Were holes allowed to meet, a few pieces that list one another would make a walk endless without a byte of data.
fn holes_meet() -> Error {
    Error::Damaged { object: "a chunk list".into(), reason: "has two holes that meet".into() }
}

fn walk(reader: &ChunkReader, level: u8, parts: &[Part], visit: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
    for &part in parts {
        match part {
            Part::Chunk { id, bytes } if level > 0 => {
                walk(reader, level - 1, &read_piece(reader, level, &id, bytes)?, visit)?;
            }
            _ => visit(part)?,
        }
    }
    Ok(())
}

/// Returns the parts of a piece of a chunk list that stands as a part of `level` and of `bytes` bytes.
///
/// # Errors
/// `Missing` or `Damaged`.
pub fn read_piece(reader: &ChunkReader, level: u8, id: &ShortId, bytes: u64) -> Result<Vec<Part>> {
    let mut piece = Vec::new();
    reader.read(id, ChunkKind::List, &mut piece)?;
    let object = || format!("chunk list {id}");
    let parts = decode_list(level - 1, &piece).map_err(|error| Error::damaged(object(), &error))?;
    let listed: u64 = parts.iter().map(Part::bytes).sum();
    if listed == bytes {
        return Ok(parts);
    }
    let reason = format!("lists {listed} bytes where its parent names {bytes}");
    Err(Error::Damaged { object: object(), reason })
}

/// Returns a hash of a content's whole record: contents that agree in it are the same.
pub fn fingerprint(content: &Content) -> ChunkId {
    hash::chunk_id(&[0; 32], &encode_list(content.level, &content.parts))
}

/// What a part stands for.
#[derive(Clone, Copy)]
struct Stretch {
    data_bytes: u64,
    begins_with_hole: bool,
    ends_with_hole: bool,
}

/// Walks many contents and each piece of their chunk lists once, since six levels of lists that repeat one piece stand
/// for more chunks than anyone can visit. So a walk takes as long as what is stored, not as what it stands for.
#[derive(Default)]
pub struct PieceWalk {
    /// The pieces in which all was well, by id, level and bytes. There are at most as many as list chunks: a chunk is a
    /// good piece on one level and of one length only.
    known: Mutex<HashMap<(ShortId, u8, u64), Stretch>>,
}

impl PieceWalk {
    /// Calls `visit` with id and length of each chunk of a content, but not again for pieces in which all was well
    /// before. Returns how many bytes of the content are not holes.
    ///
    /// # Errors
    /// `Missing` or `Damaged`, or what `visit` returned.
    pub fn data_bytes(
        &self,
        reader: &ChunkReader,
        content: &Content,
        visit: &dyn Fn(&ShortId, u64) -> Result<()>,
    ) -> Result<u64> {
        Ok(self.parts(reader, content.level, &content.parts, visit)?.data_bytes)
    }

    fn parts(
        &self,
        reader: &ChunkReader,
        level: u8,
        parts: &[Part],
        visit: &dyn Fn(&ShortId, u64) -> Result<()>,
    ) -> Result<Stretch> {
        let mut all: Option<Stretch> = None;
        for part in parts {
            let next = match part {
                Part::Hole { .. } => Stretch { data_bytes: 0, begins_with_hole: true, ends_with_hole: true },
                Part::Chunk { id, bytes } if level == 0 => {
                    visit(id, *bytes)?;
                    Stretch { data_bytes: *bytes, begins_with_hole: false, ends_with_hole: false }
                }
                Part::Chunk { id, bytes } => self.piece(reader, level, id, *bytes, visit)?,
            };
            if next.begins_with_hole && all.is_some_and(|all| all.ends_with_hole) {
                return Err(holes_meet());
            }
            let before = all.unwrap_or(Stretch { data_bytes: 0, ..next });
            all = Some(Stretch {
                data_bytes: before.data_bytes + next.data_bytes,
                ends_with_hole: next.ends_with_hole,
                ..before
            });
        }
        Ok(all.unwrap_or(Stretch { data_bytes: 0, begins_with_hole: false, ends_with_hole: false }))
    }

    fn piece(
        &self,
        reader: &ChunkReader,
        level: u8,
        id: &ShortId,
        bytes: u64,
        visit: &dyn Fn(&ShortId, u64) -> Result<()>,
    ) -> Result<Stretch> {
        let key = (*id, level, bytes);
        let known = lock(&self.known).get(&key).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.parts(reader, level - 1, &read_piece(reader, level, id, bytes)?, visit)?;
        lock(&self.known).insert(key, found);
        Ok(found)
    }
}

/// Returns the bytes of an encoded tree, which may have at most `bytes_max`.
///
/// # Errors
/// `Missing` or `Damaged`.
pub fn read_all(reader: &ChunkReader, content: &Content, bytes_max: usize) -> Result<Vec<u8>> {
    let total = content.bytes();
    if total > bytes_max as u64 {
        let reason = format!("has {total} bytes, more than {bytes_max}");
        return Err(Error::Damaged { object: "a tree".into(), reason });
    }
    let mut out = Vec::new();
    for_each_part(reader, content, &mut |part| match part {
        Part::Chunk { id, bytes } => {
            let before = out.len();
            reader.read(&id, ChunkKind::Tree, &mut out)?;
            check_length(&id, (out.len() - before) as u64, bytes)
        }
        Part::Hole { .. } => Err(Error::Damaged { object: "a tree".into(), reason: "has holes".into() }),
    })?;
    Ok(out)
}

/// Checks that a chunk is as long as the part says that refers to it.
///
/// # Errors
/// `Damaged`.
pub fn check_length(id: &ShortId, found: u64, named: u64) -> Result<()> {
    if found == named {
        return Ok(());
    }
    let reason = format!("has {found} bytes where {named} are named");
    Err(Error::Damaged { object: format!("chunk {id}"), reason })
}
