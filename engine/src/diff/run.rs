//! Walks two trees at once. Equal contents have equal ids, so what is the same in both is never read.

use std::cmp::Ordering;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::chunks::ChunkReader;
use crate::diff::options::{Change, DiffEntry, DiffOptions, DiffReport, DiffSide, DiffSum};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node};
use crate::repo::Repository;
use crate::snapshot::SnapshotPath;
use crate::tree;

impl Repository {
    /// Calls `visit` for everything that differs between a snapshot, or a path in it, and another, in the order of the
    /// names; a folder that only one of them has is followed by all that lies in it. `visit` returns whether to go on.
    ///
    /// Compared are kind, content, permissions, numeric owner, time of the last change, and attributes; of a folder not
    /// the time, which changes with its entries. Memory is needed for the folders above the one that is looked at.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `PathNotFound`, `Cancelled`, or damage to a folder, which is named.
    pub fn diff(
        &self,
        before: &SnapshotPath,
        after: &SnapshotPath,
        options: &DiffOptions,
        visit: &mut dyn FnMut(&DiffEntry) -> bool,
    ) -> Result<DiffReport> {
        let reader = self.reader();
        let (from, to) = (self.start(&reader, before)?, self.start(&reader, after)?);
        let report = DiffReport::default();
        let mut walk = Walk { reader: &reader, options, starts: [spelled(before), spelled(after)], visit, report };
        match (&from.node, &to.node) {
            (Node::Directory { content: from }, Node::Directory { content: to }) => {
                walk.folders(from, to, &mut Vec::new(), 0)?
            }
            _ => walk.both(&from, &to, &mut Vec::new(), 0)?,
        };
        Ok(walk.report)
    }

    /// Returns the entry to begin at; of a snapshot's root, one without a name.
    fn start(&self, reader: &ChunkReader, what: &SnapshotPath) -> Result<Entry> {
        let root = self.snapshot(&what.snapshot)?.record.root;
        let found = tree::find(reader, &root, &what.names(), &what.snapshot)?;
        let whole = || Entry {
            name: Vec::new(),
            metadata: Metadata::default(),
            node: Node::Directory { content: root.clone() },
        };
        Ok(found.unwrap_or_else(whole))
    }
}

fn spelled(what: &SnapshotPath) -> Vec<u8> {
    what.names().iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect()
}

struct Walk<'a> {
    reader: &'a ChunkReader,
    options: &'a DiffOptions,
    /// The paths that were asked for.
    starts: [Vec<u8>; 2],
    visit: &'a mut dyn FnMut(&DiffEntry) -> bool,
    report: DiffReport,
}

/// Each of these returns whether to go on; `below` is the path from the start.
impl Walk<'_> {
    fn folders(&mut self, before: &Content, after: &Content, below: &mut Vec<u8>, depth: usize) -> Result<bool> {
        if before == after {
            return Ok(true);
        }
        let mut old = self.entries(before, 0, below, depth)?.into_iter().peekable();
        let mut new = self.entries(after, 1, below, depth)?.into_iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(true),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.name.cmp(&new.name),
            };
            let old = if order == Ordering::Greater { None } else { old.next() };
            let new = if order == Ordering::Less { None } else { new.next() };
            let Some(name) = old.as_ref().or(new.as_ref()).map(|entry| &entry.name) else { return Ok(true) };
            let len = below.len();
            below.push(b'/');
            below.extend_from_slice(name);
            let goes_on = match (&old, &new) {
                (Some(old), Some(new)) => self.both(old, new, below, depth)?,
                (Some(old), None) => self.one(&old.node, Change::Removed, below, depth)?,
                (_, Some(new)) => self.one(&new.node, Change::Added, below, depth)?,
                (None, None) => true,
            };
            below.truncate(len);
            if !goes_on {
                return Ok(false);
            }
        }
    }

    /// Reads a folder of the first (0) or second (1) snapshot.
    fn entries(&mut self, content: &Content, side: usize, below: &[u8], depth: usize) -> Result<Vec<Entry>> {
        if self.options.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let path = || [&self.starts[side], below].concat();
        if depth > TREE_DEPTH_MAX {
            return Err(tree::too_deep("tree").in_folder(&path()));
        }
        let tree = tree::load(self.reader, content).map_err(|error| error.in_folder(&path()))?;
        self.report.trees_read += 1;
        Ok(tree.entries)
    }

    fn both(&mut self, old: &Entry, new: &Entry, below: &mut Vec<u8>, depth: usize) -> Result<bool> {
        if old.node.kind() != new.node.kind() {
            return Ok(self.tell(Change::Kind, Some(&old.node), Some(&new.node), below)
                && self.all_in(&old.node, Change::Removed, below, depth)?
                && self.all_in(&new.node, Change::Added, below, depth)?);
        }
        let is_folder = matches!(new.node, Node::Directory { .. });
        let change = if !is_folder && !old.node.holds_same(&new.node) {
            Some(Change::Content)
        } else if has_same_metadata(&old.metadata, &new.metadata, is_folder) {
            None
        } else {
            Some(Change::Metadata)
        };
        if change.is_some_and(|change| !self.tell(change, Some(&old.node), Some(&new.node), below)) {
            return Ok(false);
        }
        match (&old.node, &new.node) {
            (Node::Directory { content: old }, Node::Directory { content: new }) => {
                self.folders(old, new, below, depth + 1)
            }
            _ => Ok(true),
        }
    }

    /// Tells of something that only one of them has, and of all that lies in it.
    fn one(&mut self, node: &Node, change: Change, below: &mut Vec<u8>, depth: usize) -> Result<bool> {
        let (old, new) = if change == Change::Removed { (Some(node), None) } else { (None, Some(node)) };
        Ok(self.tell(change, old, new, below) && self.all_in(node, change, below, depth)?)
    }

    fn all_in(&mut self, node: &Node, change: Change, below: &mut Vec<u8>, depth: usize) -> Result<bool> {
        let Node::Directory { content } = node else { return Ok(true) };
        let side = usize::from(change != Change::Removed);
        for entry in self.entries(content, side, below, depth + 1)? {
            let len = below.len();
            below.push(b'/');
            below.extend_from_slice(&entry.name);
            let goes_on = self.one(&entry.node, change, below, depth + 1)?;
            below.truncate(len);
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn tell(&mut self, change: Change, old: Option<&Node>, new: Option<&Node>, below: &[u8]) -> bool {
        let side = |node: &Node| DiffSide { kind: node.kind(), bytes: node.file_bytes() };
        let (before, after) = (old.map(side), new.map(side));
        let report = &mut self.report;
        match change {
            Change::Added => add(&mut report.added, after),
            Change::Removed => add(&mut report.removed, before),
            Change::Metadata => report.metadata += 1,
            Change::Content | Change::Kind => {
                *(if change == Change::Kind { &mut report.kind } else { &mut report.content }) += 1;
                report.bytes_before = report.bytes_before.saturating_add(before.map_or(0, |side| side.bytes));
                report.bytes_after = report.bytes_after.saturating_add(after.map_or(0, |side| side.bytes));
            }
        }
        let start = &self.starts[usize::from(change != Change::Removed)];
        let mut path = [start, below].concat();
        if path.is_empty() {
            path.push(b'/');
        }
        (self.visit)(&DiffEntry { path, change, before, after })
    }
}

fn add(sum: &mut DiffSum, side: Option<DiffSide>) {
    let Some(side) = side else { return };
    let count =
        if side.kind == crate::format::tree::EntryKind::Directory { &mut sum.directories } else { &mut sum.files };
    *count += 1;
    // A hostile tree may name any length any number of times.
    sum.bytes = sum.bytes.saturating_add(side.bytes);
}

fn has_same_metadata(old: &Metadata, new: &Metadata, is_folder: bool) -> bool {
    let compared = |meta: &Metadata| (meta.mode, meta.uid, meta.gid);
    compared(old) == compared(new) && old.xattrs == new.xattrs && (is_folder || old.mtime == new.mtime)
}
