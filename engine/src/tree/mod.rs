//! Rank 6: directories and chunk lists as chunks.

mod content;

use crate::base::limits::TREE_BYTES_MAX;
use crate::chunk::{Chunker, sniff};
use crate::chunks::{ChunkReader, ChunkWriter, Scratch, Sort};
use crate::error::{Error, Result};
use crate::format::content::{Content, Part};
use crate::format::tree::{Entry, Node, Tree};

pub use content::{ContentBuilder, PieceWalk, check_length, for_each_part, read_all};

/// Stores a tree and returns where its bytes are.
///
/// # Errors
/// `LimitExceeded` beyond 256 MiB; otherwise as [`ChunkWriter::put`].
pub fn store(writer: &ChunkWriter, scratch: &mut Scratch, chunker: &Chunker, tree: &Tree) -> Result<Content> {
    let encoded = tree.encode();
    if encoded.len() > TREE_BYTES_MAX {
        let reason = format!("{} entries are more than a tree of 256 MiB holds; split the folder", tree.entries.len());
        return Err(Error::LimitExceeded { object: "a folder".into(), reason });
    }
    let cutter = chunker.cutter(sniff(&[]));
    let mut builder = ContentBuilder::default();
    let mut rest = encoded.as_slice();
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(chunker.cut(&cutter, rest));
        let stored = writer.put(scratch, Sort::Tree, bytes)?;
        builder.push(writer, scratch, Part::Chunk { id: stored.id, bytes: bytes.len() as u64 })?;
        rest = after;
    }
    builder.finish(writer, scratch)
}

/// Reads a tree.
///
/// # Errors
/// `Missing` or `Damaged`, naming what is hurt; a tree beyond 256 MiB is damaged too.
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
        let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
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
