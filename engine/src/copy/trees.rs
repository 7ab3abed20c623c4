//! Trees and chunk lists name chunks by their ids, so they are written anew; as deltas of the last version where there is one.

use std::cell::RefCell;
use std::collections::HashSet;

use rayon::prelude::*;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{Event, ShortId};
use crate::chunks::{ChunkWriter, Sort};
use crate::copy::run::Copy;
use crate::error::{Error, Result};
use crate::format::content::{Content, Part};
use crate::format::index::ChunkKind;
use crate::format::tree::{Entry, Node, Tree, TreeHead};
use crate::tree::{self, ContentBuilder, Outline};

/// So many chunks are gathered before they are copied.
const BATCH_CHUNKS: usize = 64 * 1024;
/// The most parts of one file: a few chunk lists that repeat one another can stand for more than anyone can write.
const PARTS_MAX: u64 = 1 << 32;

/// Data chunks that are to be copied.
pub(super) struct Batch<'w> {
    writer: &'w ChunkWriter,
    chunks: Vec<(ShortId, Sort)>,
    taken: HashSet<ShortId>,
    bytes: u64,
    /// Those that have to wait for another writer.
    pub later: Vec<(ShortId, Sort)>,
}

impl<'w> Batch<'w> {
    pub fn new(writer: &'w ChunkWriter) -> Self {
        Self { writer, chunks: Vec::new(), taken: HashSet::new(), bytes: 0, later: Vec::new() }
    }

    fn add(&mut self, copy: &Copy<'_>, id: ShortId, bytes: u64, sort: Sort) -> Result<()> {
        if copy.known.chunk(&id)?.is_none() && self.taken.insert(id) {
            self.chunks.push((id, sort));
            self.bytes += bytes;
            if self.chunks.len() == BATCH_CHUNKS {
                return self.copy(copy);
            }
        }
        Ok(())
    }

    /// Copies what was gathered.
    pub fn copy(&mut self, copy: &Copy<'_>) -> Result<()> {
        copy.options.check_cancel()?;
        let later = copy.chunks(self.writer, &self.chunks)?;
        if let Some(observer) = &copy.options.observer {
            observer.event(&Event::Progress { files: 0, bytes: self.bytes });
        }
        self.later.extend(later);
        self.chunks.clear();
        self.taken.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Copy<'_> {
    /// Gathers the data chunks of a tree, and of all below it, that are not known to be copied.
    pub(super) fn gather(&self, batch: &mut Batch<'_>, content: &Content, depth: usize) -> Result<()> {
        self.options.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            return Err(tree::too_deep("a tree"));
        }
        if !self.known.visit(content)? {
            return Ok(());
        }
        for entry in tree::load(&self.source, content)?.entries {
            match &entry.node {
                Node::Directory { content } => self.gather(batch, content, depth + 1)?,
                Node::File { content, class, .. } => {
                    let batch = RefCell::new(&mut *batch);
                    let visit = |id: &ShortId, bytes| batch.borrow_mut().add(self, *id, bytes, Sort::Data(*class));
                    self.pieces.data_bytes(&self.source, content, &visit)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a tree whose data chunks are copied, and all below it. `last`: where its last version is in the other
    /// repository.
    pub(super) fn tree(
        &self,
        writer: &ChunkWriter,
        content: &Content,
        last: Option<&Content>,
        depth: usize,
    ) -> Result<Content> {
        self.options.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            return Err(tree::too_deep("a tree"));
        }
        if let Some(known) = self.known.tree(content)? {
            return Ok(known);
        }
        let Tree { users, groups, left_out, other, entries } = tree::load(&self.source, content)?;
        // It is there to resemble only, so that it cannot be read hurts nothing.
        let last_entries =
            last.and_then(|last| tree::load(&self.target, last).ok()).map_or_else(Vec::new, |t| t.entries);
        let entry = |mut entry: Entry| -> Result<Entry> {
            let at = last_entries.binary_search_by(|last| last.name.cmp(&entry.name)).ok();
            let last = at.and_then(|at| last_entries[at].node.content());
            match &mut entry.node {
                Node::Directory { content } => *content = self.tree(writer, content, last, depth + 1)?,
                Node::File { content, .. } => *content = self.file(writer, content, last)?,
                _ => {}
            }
            Ok(entry)
        };
        let entries: Vec<Entry> = entries.into_par_iter().map(entry).collect::<Result<_>>()?;
        let outline = last.map_or_else(Outline::default, |last| Outline::of(&self.target, last, usize::MAX));
        let mut scratch = writer.lend()?;
        let head = TreeHead { users: &users, groups: &groups, left_out, other: &other };
        let stored = tree::store(writer, &mut scratch, &self.to.chunker, head, entries.iter(), outline);
        writer.give_back(scratch);
        let stored = stored?;
        self.known.add_tree(content, &stored)?;
        Ok(stored)
    }

    /// Writes a file's chunk list with the ids of the other repository.
    fn file(&self, writer: &ChunkWriter, content: &Content, last: Option<&Content>) -> Result<Content> {
        if content.level == 0 {
            let parts = content.parts.iter().map(|part| self.part(*part)).collect::<Result<_>>()?;
            return Ok(Content { level: 0, parts });
        }
        let outline = last.map_or_else(Outline::default, |last| Outline::of(&self.target, last, usize::MAX));
        let mut builder = ContentBuilder::after(outline);
        let mut scratch = writer.lend()?;
        let mut count = 0;
        let pushed = tree::for_each_part(&self.source, content, &mut |part| {
            count += 1;
            if count > PARTS_MAX {
                let reason = format!("a file has more than {PARTS_MAX} chunks; leave its snapshot out");
                return Err(Error::LimitExceeded { object: "copy".into(), reason });
            }
            self.options.check_cancel()?;
            builder.push(writer, &mut scratch, self.part(part)?)
        });
        let written = pushed.and_then(|()| builder.finish(writer, &mut scratch));
        writer.give_back(scratch);
        written
    }

    fn part(&self, part: Part) -> Result<Part> {
        match part {
            Part::Hole { .. } => Ok(part),
            Part::Chunk { id, bytes } => match self.known.chunk(&id)? {
                Some(id) => Ok(Part::Chunk { id, bytes }),
                None => Err(Error::Missing { object: format!("chunk {id}") }),
            },
        }
    }

    /// Learns from a tree and its copy which chunks and trees are known, as far as the other repository still has them, and
    /// returns whether that is all of it.
    pub(super) fn learn(&self, from: &Content, to: &Content, depth: usize) -> Result<bool> {
        self.options.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            return Ok(false);
        }
        if self.known.tree(from)?.is_some() {
            return Ok(true);
        }
        let (Ok(from_tree), Ok(to_tree)) = (tree::load(&self.source, from), tree::load(&self.target, to)) else {
            return Ok(false);
        };
        let mut is_all = from_tree.entries.len() == to_tree.entries.len();
        for (from, to) in from_tree.entries.iter().zip(&to_tree.entries) {
            is_all &= from.name == to.name
                && match (&from.node, &to.node) {
                    (Node::Directory { content: from }, Node::Directory { content: to }) => {
                        self.learn(from, to, depth + 1)?
                    }
                    (Node::File { content: from, .. }, Node::File { content: to, .. }) => self.learn_file(from, to)?,
                    _ => true,
                };
        }
        if is_all {
            self.known.add_tree(from, to)?;
        }
        Ok(is_all)
    }

    fn learn_file(&self, from: &Content, to: &Content) -> Result<bool> {
        if from.bytes() != to.bytes() {
            return Ok(false);
        }
        let mut there = Vec::new();
        let listed = tree::for_each_part(&self.target, to, &mut |part| {
            self.options.check_cancel()?;
            there.push(part);
            Ok(())
        });
        let (mut at, mut is_all) = (0, listed.is_ok());
        let matched = tree::for_each_part(&self.source, from, &mut |part| {
            self.options.check_cancel()?;
            let (here, copy) = (part, there.get(at).copied());
            at += 1;
            match (here, copy) {
                (Part::Chunk { id, bytes }, Some(Part::Chunk { id: to, bytes: same })) if bytes == same => {
                    match self.target.locate(&to, ChunkKind::Data) {
                        Ok(_) => self.known.add_chunk(id, to)?,
                        Err(_) => is_all = false,
                    }
                }
                (Part::Hole { bytes }, Some(Part::Hole { bytes: same })) if bytes == same => {}
                _ => is_all = false,
            }
            Ok(())
        });
        self.options.check_cancel()?;
        Ok(is_all && matched.is_ok())
    }
}
