//! Rank 6: directories and chunk lists as chunks.

mod content;
#[cfg(test)]
mod tests;
mod versions;

use std::borrow::Borrow;

use crate::base::limits::{CHUNK_BYTES_MAX, TREE_BYTES_MAX, TREE_DEPTH_MAX};
use crate::base::shown;
use crate::chunk::{Chunker, sniff};
use crate::chunks::{ChunkReader, ChunkWriter, Scratch, Sort};
use crate::error::{Error, Result};
use crate::format::codec::Writer;
use crate::format::content::{Content, Part};
use crate::format::tree::{Entry, Node, Tree, TreeHead};

pub use content::{ContentBuilder, Outline, PieceWalk, check_length, fingerprint, for_each_part, read_all, read_piece};
pub use versions::{Runs, VersionWalk, Visitor};

/// A tree is encoded this far ahead of what is cut; at least the longest chunk.
const AHEAD_BYTES: usize = CHUNK_BYTES_MAX;
/// What an entry takes, more or less.
const ENTRY_BYTES: usize = 96;

/// Stores a tree and returns where its bytes are. The entries are sorted by name; `last` is the outline of the directory's
/// last tree, whose chunks those of this one may resemble.
///
/// They are encoded and cut little by little, since a large folder's tree in one piece would double what it takes.
///
/// # Errors
/// `LimitExceeded` beyond 1 GiB, or for an entry that a reader would refuse; otherwise as [`ChunkWriter::put`].
pub fn store(
    writer: &ChunkWriter,
    scratch: &mut Scratch,
    chunker: &Chunker,
    head: TreeHead<'_>,
    entries: impl Iterator<Item = impl Borrow<Entry>>,
    last: Outline,
) -> Result<Content> {
    let cutter = chunker.cutter(sniff(&[]));
    let mut builder = ContentBuilder::after(last);
    let room = entries.size_hint().1.map_or(0, |count| count.saturating_mul(ENTRY_BYTES).min(AHEAD_BYTES));
    let mut encoded = Writer::with_capacity(room);
    head.check().map_err(|expected| unstorable("the head of a folder", expected))?;
    head.write(&mut encoded);
    let mut entries = entries.peekable();
    let mut stored = 0;
    let mut last_name = Vec::new();
    loop {
        while encoded.as_slice().len() < AHEAD_BYTES
            && let Some(entry) = entries.next()
        {
            let entry = entry.borrow();
            check_storable(entry, &last_name)?;
            last_name.clone_from(&entry.name);
            entry.write(&mut encoded);
        }
        let is_end = entries.peek().is_none();
        let bytes = encoded.as_slice();
        if stored + bytes.len() > TREE_BYTES_MAX {
            let reason = "its names and metadata take more than the 1 GiB that one folder may; move some of what is in \
                          it into other folders";
            return Err(Error::LimitExceeded { object: "a folder".into(), reason: reason.into() });
        }
        let mut at = 0;
        while at < bytes.len() && (is_end || bytes.len() - at >= cutter.max()) {
            let len = chunker.cut(&cutter, &bytes[at..]);
            let near = builder.last().find(0, (stored + at) as u64);
            let chunk = writer.put_near(scratch, Sort::Tree, &bytes[at..at + len], near)?;
            builder.push(writer, scratch, Part::Chunk { id: chunk.id, bytes: len as u64 })?;
            at += len;
        }
        if is_end {
            return builder.finish(writer, scratch);
        }
        encoded.remove_front(at);
        stored += at;
    }
}

/// Checks that a reader would take `entry` after the entry `last_name`: what is recorded can be read. Callers make sure of
/// that for each entry, so a failure is a fault of theirs; to store the tree would lose the whole folder.
fn check_storable(entry: &Entry, last_name: &[u8]) -> Result<()> {
    let is_after = last_name < entry.name.as_slice();
    let checked = if is_after { entry.check() } else { Err("names in ascending order, none twice") };
    checked.map_err(|expected| unstorable(&shown(&entry.name), expected))
}

fn unstorable(object: &str, expected: &str) -> Error {
    let reason = format!("cannot be stored, since no reader would take it: expected {expected}");
    Error::LimitExceeded { object: object.to_owned(), reason }
}

/// Returns the error of a tree that lies deeper than any may.
pub fn too_deep(object: impl Into<String>) -> Error {
    Error::Damaged { object: object.into(), reason: format!("is nested deeper than {TREE_DEPTH_MAX} folders") }
}

/// Reads a tree.
///
/// # Errors
/// `Missing` or `Damaged`, naming what is hurt; a tree beyond 1 GiB is damaged too.
pub fn load(reader: &ChunkReader, content: &Content) -> Result<Tree> {
    let encoded = read_all(reader, content, TREE_BYTES_MAX)?;
    Tree::decode(&encoded).map_err(|error| Error::damaged("a tree", &error))
}

/// Returns the entry at `path`, whose components are names from the root down; `None` for the root itself.
///
/// # Errors
/// `PathNotFound`, or as [`load`].
pub fn find(reader: &ChunkReader, root: &Content, path: &[&[u8]], snapshot: &str) -> Result<Option<Entry>> {
    let shown = || {
        let names: Vec<_> = path.iter().map(|name| shown(name)).collect();
        format!("/{}", names.join("/"))
    };
    let mut found: Option<Entry> = None;
    for name in path {
        let missing = || Error::PathNotFound { path: shown(), snapshot: snapshot.to_owned() };
        let content = match &found {
            None => root,
            Some(Entry { node: Node::Directory { content }, .. }) => content,
            Some(_) => return Err(missing()),
        };
        let mut tree = load(reader, content)?;
        let at = tree.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).map_err(|_| missing())?;
        found = Some(tree.entries.swap_remove(at));
    }
    Ok(found)
}
