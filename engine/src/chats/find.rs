//! Finds the databases in a snapshot.

use crate::base::CancelToken;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::tree::{Class, Entry, Node};
use crate::repo::Repository;
use crate::snapshot::SnapshotPath;
use crate::tree;

/// The most databases that one call looks into.
const DATABASES_MAX: usize = 10_000;

/// A file that begins as an SQLite database does.
pub struct Found {
    /// The path below what was asked for, beginning with `/`; empty if that is the database itself.
    pub below: Vec<u8>,
    /// The path from the snapshot's root.
    pub path: Vec<u8>,
    /// Where its bytes are.
    pub content: Content,
    /// What was saved beside it as SQLite's log and journal, by the ends of the names.
    pub beside: Vec<(&'static str, Content)>,
}

/// The ends of the names of what may hold a part of a database.
const BESIDE: [&str; 2] = ["-wal", "-journal"];

/// Returns what is saved beside the database `name` in its folder, unless that has it in it already.
fn beside(entries: &[Entry], database: &Entry) -> Vec<(&'static str, Content)> {
    let of = |suffix: &'static str| {
        let name = [&database.name, suffix.as_bytes()].concat();
        let at = entries.binary_search_by(|entry| entry.name.cmp(&name)).ok()?;
        match &entries.get(at)?.node {
            Node::File { content, .. } if content.bytes() > 0 => Some((suffix, content.clone())),
            _ => None,
        }
    };
    match database.node {
        Node::File { class: Class::Sqlite, capture: None, .. } => BESIDE.into_iter().filter_map(of).collect(),
        _ => Vec::new(),
    }
}

struct Search<'a> {
    reader: &'a ChunkReader,
    cancel: &'a CancelToken,
    /// The path that was asked for.
    start: Vec<u8>,
    found: Vec<Found>,
}

impl Search<'_> {
    fn folder(&mut self, content: &Content, below: &[u8], depth: usize) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if depth > TREE_DEPTH_MAX {
            return Err(tree::too_deep(String::from_utf8_lossy(below)));
        }
        let entries = tree::load(self.reader, content)?.entries;
        for entry in &entries {
            let below = [below, b"/", &entry.name].concat();
            match &entry.node {
                Node::Directory { content } => self.folder(content, &below, depth + 1)?,
                _ => self.file(entry, below, beside(&entries, entry))?,
            }
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry, below: Vec<u8>, beside: Vec<(&'static str, Content)>) -> Result<()> {
        if let Node::File { content, class: Class::Sqlite, .. } = &entry.node {
            if self.found.len() >= DATABASES_MAX {
                let object = String::from_utf8_lossy(&self.start).into_owned();
                let reason =
                    format!("there are more than {DATABASES_MAX} databases below it; name a folder further down");
                return Err(Error::LimitExceeded { object, reason });
            }
            let path = [self.start.as_slice(), &below].concat();
            self.found.push(Found { below, path, content: content.clone(), beside });
        }
        Ok(())
    }
}

/// Returns the databases at or below a path of a snapshot, in the order of their names.
///
/// # Errors
/// `NoDatabase` if there is none; `SnapshotNotFound`, `PathNotFound`, `Cancelled`, or damage.
pub fn find(
    repository: &Repository,
    reader: &ChunkReader,
    what: &SnapshotPath,
    cancel: &CancelToken,
) -> Result<Vec<Found>> {
    let snapshot = repository.snapshot(&what.snapshot)?;
    let names = what.names();
    let start: Vec<u8> = names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect();
    let mut search = Search { reader, cancel, start, found: Vec::new() };
    match tree::find(reader, &snapshot.record.root, &names, &what.snapshot)? {
        None => search.folder(&snapshot.record.root, b"", 0)?,
        Some(Entry { node: Node::Directory { content }, .. }) => search.folder(&content, b"", 0)?,
        Some(entry) => {
            let above = names.split_last().map_or(&[][..], |(_, above)| above);
            let entries = match tree::find(reader, &snapshot.record.root, above, &what.snapshot)? {
                None => tree::load(reader, &snapshot.record.root)?.entries,
                Some(Entry { node: Node::Directory { content }, .. }) => tree::load(reader, &content)?.entries,
                Some(_) => Vec::new(),
            };
            search.file(&entry, Vec::new(), beside(&entries, &entry))?;
        }
    }
    if search.found.is_empty() {
        let path = if names.is_empty() { b"/".to_vec() } else { search.start };
        let path = String::from_utf8_lossy(&path).into_owned();
        return Err(Error::NoDatabase { path, snapshot: what.snapshot.clone() });
    }
    Ok(search.found)
}
