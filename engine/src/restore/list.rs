//! `ls`: what a snapshot holds.

use crate::base::limits::TREE_DEPTH_MAX;
use crate::chunks::ChunkReader;
use crate::error::Result;
use crate::format::content::Content;
use crate::format::tree::{Entry, Node, OwnerName, Tree};
use crate::repo::Repository;
use crate::restore::options::{ListedEntry, ListedKind};
use crate::snapshot::SnapshotPath;
use crate::tree;

fn owner(names: &[OwnerName], id: u32) -> Option<String> {
    let found = names.iter().find(|owner| owner.id == id)?;
    Some(String::from_utf8_lossy(&found.name).into_owned())
}

fn listed(path: Vec<u8>, entry: &Entry, users: &[OwnerName], groups: &[OwnerName]) -> ListedEntry {
    let (kind, bytes) = match &entry.node {
        Node::File { content, .. } => (ListedKind::File, content.bytes()),
        Node::Directory { .. } => (ListedKind::Directory, 0),
        Node::Symlink { target } => (ListedKind::Symlink(target.clone()), 0),
        Node::Fifo => (ListedKind::Fifo, 0),
        Node::CharDevice { device } => (ListedKind::CharDevice(*device), 0),
        Node::BlockDevice { device } => (ListedKind::BlockDevice(*device), 0),
    };
    let meta = &entry.metadata;
    ListedEntry {
        path,
        kind,
        bytes,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        user: owner(users, meta.uid),
        group: owner(groups, meta.gid),
        mtime: meta.mtime,
    }
}

/// Calls `visit` for everything in the tree; returns whether to go on.
fn walk(
    reader: &ChunkReader,
    content: &Content,
    path: &[u8],
    depth: usize,
    visit: &mut dyn FnMut(&ListedEntry) -> bool,
) -> Result<bool> {
    if depth > TREE_DEPTH_MAX {
        return Err(tree::too_deep(String::from_utf8_lossy(path)));
    }
    let Tree { users, groups, entries, .. } = tree::load(reader, content)?;
    for entry in &entries {
        let path = [path, b"/", &entry.name].concat();
        if !visit(&listed(path.clone(), entry, &users, &groups)) {
            return Ok(false);
        }
        if let Node::Directory { content } = &entry.node
            && !walk(reader, content, &path, depth + 1, visit)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Repository {
    /// Calls `visit` for everything that a snapshot holds, or for everything in a folder of it, or for one file, in
    /// the order of their names. `visit` returns whether to go on.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `PathNotFound`, or damage.
    pub fn list(&self, what: &SnapshotPath, visit: &mut dyn FnMut(&ListedEntry) -> bool) -> Result<()> {
        let snapshot = self.snapshot(&what.snapshot)?;
        let reader = self.reader();
        let names = what.names();
        let path: Vec<u8> = names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect();
        match tree::find(&reader, &snapshot.record.root, &names, &what.snapshot)? {
            None => walk(&reader, &snapshot.record.root, b"", 0, visit)?,
            Some(Entry { node: Node::Directory { content }, .. }) => walk(&reader, &content, &path, 0, visit)?,
            Some(entry) => visit(&listed(path, &entry, &[], &[])),
        };
        Ok(())
    }

    /// Returns whether all that was in a folder when it was backed up is in the snapshot, but for what is missing in folders in
    /// it: nothing was excluded or of a kind that is not stored, and all could be read. A file is complete.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn is_complete(&self, what: &SnapshotPath) -> Result<bool> {
        let snapshot = self.snapshot(&what.snapshot)?;
        let reader = self.reader();
        let content = match tree::find(&reader, &snapshot.record.root, &what.names(), &what.snapshot)? {
            None => snapshot.record.root,
            Some(Entry { node: Node::Directory { content }, .. }) => content,
            Some(_) => return Ok(true),
        };
        Ok(!tree::load(&reader, &content)?.left_out)
    }
}
