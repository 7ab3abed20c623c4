//! Walks all snapshots and notes the chunks that they have: each distinct tree and list piece once.

use std::sync::Mutex;

use rayon::prelude::*;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{ShortId, lock, shown};
use crate::catalog::Proven;
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::codec::Writer;
use crate::format::content::{Content, Part};
use crate::format::tree::{Entry, Node};
use crate::hash;
use crate::prune::needs::Needs;
use crate::prune::options::PruneOptions;
use crate::snapshot::Snapshot;
use crate::tree;

/// What it tells of where something is that cannot be read.
type Path<'p> = dyn Fn() -> String + Sync + 'p;

/// A walk over snapshots.
pub struct Walk<'a> {
    pub reader: ChunkReader,
    pub needs: Mutex<Needs>,
    /// Chunks that are in there already.
    pub noted: Proven,
    pub options: &'a PruneOptions,
}

impl Walk<'_> {
    /// Notes all chunks of a snapshot, but not what deltas among them stand on.
    ///
    /// # Errors
    /// `Unprunable` if a tree or a list cannot be read.
    pub fn snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let name = snapshot.id.to_string();
        self.tree(&snapshot.record.root, &|| format!("snapshot {}:", &name[..8]), 0)
    }

    fn tree(&self, content: &Content, path: &Path<'_>, depth: usize) -> Result<()> {
        self.options.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            return Err(unreadable(path, tree::too_deep("tree")));
        }
        if !lock(&self.needs).visit(tree::fingerprint(content).short())? {
            return Ok(());
        }
        self.parts(content.level, &content.parts).map_err(|error| unreadable(path, error))?;
        let tree = tree::load(&self.reader, content).map_err(|error| unreadable(path, error))?;
        let mut ids = Vec::new();
        for entry in &tree.entries {
            if let Node::File { content: Content { level: 0, parts }, .. } = &entry.node {
                ids.extend(chunks(parts));
            }
        }
        self.note(ids)?;
        tree.entries.par_iter().try_for_each(|entry: &Entry| {
            let path = || format!("{}/{}", path(), shown(&entry.name));
            match &entry.node {
                Node::Directory { content } => self.tree(content, &path, depth + 1),
                Node::File { content, .. } if content.level > 0 => {
                    self.parts(content.level, &content.parts).map_err(|error| unreadable(&path, error))
                }
                _ => Ok(()),
            }
        })
    }

    /// Notes chunks: most of them are those of another snapshot.
    fn note(&self, mut ids: Vec<ShortId>) -> Result<()> {
        ids.retain(|id| !self.noted.has(id, 0));
        lock(&self.needs).add(ids.iter().copied())?;
        ids.iter().for_each(|id| self.noted.add(id, 0));
        Ok(())
    }

    /// Notes the chunks of parts, and what the pieces among them list.
    fn parts(&self, level: u8, parts: &[Part]) -> Result<()> {
        self.options.check_cancel()?;
        self.note(chunks(parts).collect())?;
        if level == 0 {
            return Ok(());
        }
        for part in parts {
            if let Part::Chunk { id, bytes } = part
                && lock(&self.needs).visit(piece_fingerprint(level, id, *bytes))?
            {
                self.parts(level - 1, &tree::read_piece(&self.reader, level, id, *bytes)?)?;
            }
        }
        Ok(())
    }
}

fn chunks(parts: &[Part]) -> impl Iterator<Item = ShortId> {
    parts.iter().filter_map(|part| match part {
        Part::Chunk { id, .. } => Some(*id),
        Part::Hole { .. } => None,
    })
}

/// Returns a hash of how a piece is named: a chunk may be a good piece on one level and of one length only.
fn piece_fingerprint(level: u8, id: &ShortId, bytes: u64) -> ShortId {
    let mut name = Writer::default();
    name.u8(level);
    name.raw(id.as_bytes());
    name.varint(bytes);
    hash::chunk_id(&[1; 32], name.as_slice()).short()
}

fn unreadable(path: &Path<'_>, error: Error) -> Error {
    let source = match error {
        Error::Cancelled | Error::Unprunable { .. } => return error,
        Error::Damaged { object, reason } => Error::Damaged { object: format!("{} {object}", path()), reason },
        Error::Missing { object } => Error::Missing { object: format!("{} {object}", path()) },
        other => other,
    };
    Error::Unprunable { source: Box::new(source) }
}
