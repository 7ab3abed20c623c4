//! Walks many versions of one tree at once: a directory that several of them share is read once.

use std::collections::BTreeMap;

use crate::base::CancelToken;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::tree::{Entry, Node};
use crate::tree;

/// Some of the versions, by their numbers: runs from one to before another, ascending.
#[derive(Clone, Default)]
pub struct Runs(Vec<(usize, usize)>);

impl Runs {
    fn of(at: usize) -> Self {
        Self(vec![(at, at + 1)])
    }

    /// Adds versions, most often later ones.
    fn add(&mut self, more: &Self) {
        let is_later = self.0.last().zip(more.0.first()).is_none_or(|(last, first)| last.1 <= first.0);
        self.0.extend_from_slice(&more.0);
        if !is_later {
            self.0.sort_unstable();
        }
        self.0.dedup_by(|next, last| {
            let meets = next.0 <= last.1;
            last.1 = if meets { last.1.max(next.1) } else { last.1 };
            meets
        });
    }

    /// Returns the numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(|&(from, to)| from..to)
    }
}

/// Something in its versions, and which of the trees hold each.
type Versions<T> = Vec<(T, Runs)>;

/// Adds trees to the version that `is_same`, or a new version. Returns by how much more is held then.
fn add<T>(versions: &mut Versions<T>, is_same: impl Fn(&T) -> bool, new: impl FnOnce() -> T, runs: &Runs) -> usize {
    // The same as in the last tree, most often.
    match versions.iter_mut().rev().find(|(known, _)| is_same(known)) {
        Some((_, known)) => {
            let before = known.0.len();
            known.add(runs);
            known.0.len().saturating_sub(before)
        }
        None => {
            versions.push((new(), runs.clone()));
            1 + runs.0.len()
        }
    }
}

/// What one name in a folder stands for.
#[derive(Default)]
struct Named {
    found: Versions<Entry>,
    folders: Versions<Content>,
}

/// What a walk looks for.
pub trait Visitor {
    /// Returns whether to tell of an entry.
    ///
    /// # Errors
    /// Whatever shall end the walk.
    fn wants(&mut self, path: &[u8], entry: &Entry) -> Result<bool>;

    /// Returns whether to look into a folder.
    ///
    /// # Errors
    /// Whatever shall end the walk.
    fn enters(&mut self, content: &Content) -> Result<bool>;

    /// Returns whether two wanted entries of one path are one version.
    fn is_same(&self, one: &Entry, other: &Entry) -> bool;

    /// Is told of a version of a wanted entry, and which trees hold it.
    fn tell(&mut self, path: &[u8], entry: &Entry, runs: &Runs);

    /// Is told of a version of a folder that cannot be read.
    fn fail(&mut self, path: &[u8], error: Error, runs: &Runs);

    /// Returns whether to go on.
    fn goes_on(&self) -> bool;
}

/// A walk over all versions at once, in the order of the names.
pub struct VersionWalk<'a, V> {
    reader: &'a ChunkReader,
    cancel: &'a CancelToken,
    /// So much is held at once; what is beyond is looked at in parts, so that folders are read more than once.
    held_max: usize,
    /// How much is held now.
    held: usize,
    /// Looks at what is found.
    pub visitor: V,
    /// How many directories were read.
    pub trees_read: u64,
}

impl<'a, V: Visitor> VersionWalk<'a, V> {
    /// Makes a walk that holds at most `held_max` versions of entries, and runs of trees that hold them, in all folders that
    /// are open; a single version of a folder with more is held all the same.
    pub fn new(reader: &'a ChunkReader, cancel: &'a CancelToken, held_max: usize, visitor: V) -> Self {
        Self { reader, cancel, held_max, held: 0, visitor, trees_read: 0 }
    }

    /// Walks the trees below these roots, whose numbers are their places here.
    ///
    /// # Errors
    /// `Cancelled`, or what the visitor returned. Folders that cannot be read are told to the visitor.
    pub fn run<'r>(&mut self, roots: impl Iterator<Item = &'r Content>) -> Result<()> {
        let mut versions = Vec::new();
        for (at, root) in roots.enumerate() {
            if self.visitor.enters(root)? {
                add(&mut versions, |known: &Content| known == root, || root.clone(), &Runs::of(at));
            }
        }
        self.folder(&versions, &mut Vec::new(), 0)
    }

    /// Looks into all versions of the folder at `path`.
    fn folder(&mut self, versions: &[(Content, Runs)], path: &mut Vec<u8>, depth: usize) -> Result<()> {
        if versions.is_empty() || !self.visitor.goes_on() {
            return Ok(());
        }
        if depth > TREE_DEPTH_MAX {
            versions.iter().for_each(|(_, runs)| self.visitor.fail(path, tree::too_deep("tree"), runs));
            return Ok(());
        }
        let before = self.held;
        let Some(names) = self.gather(versions, path)? else {
            self.held = before;
            let (first, second) = versions.split_at(versions.len() / 2);
            self.folder(first, path, depth)?;
            return self.folder(second, path, depth);
        };
        let len = path.len();
        for (name, Named { found, folders }) in names {
            path.push(b'/');
            path.extend_from_slice(&name);
            for (entry, runs) in &found {
                if self.visitor.goes_on() {
                    self.visitor.tell(path, entry, runs);
                }
            }
            self.folder(&folders, path, depth + 1)?;
            path.truncate(len);
        }
        self.held = before;
        Ok(())
    }

    /// Reads all versions of a folder, one after the other, and keeps of them what is wanted and the folders in it. `None`:
    /// that is too much, and fewer versions would do.
    fn gather(&mut self, versions: &[(Content, Runs)], path: &[u8]) -> Result<Option<BTreeMap<Vec<u8>, Named>>> {
        let mut names: BTreeMap<Vec<u8>, Named> = BTreeMap::new();
        for (content, runs) in versions {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let entries = match tree::load(self.reader, content) {
                Ok(tree) => tree.entries,
                Err(error @ (Error::Damaged { .. } | Error::Missing { .. } | Error::Store(_))) => {
                    self.visitor.fail(path, error, runs);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.trees_read += 1;
            for entry in entries {
                self.held += self.keep(&mut names, entry, path, runs)?;
            }
            if self.held > self.held_max && versions.len() > 1 {
                return Ok(None);
            }
        }
        Ok(Some(names))
    }

    /// Keeps an entry as far as it is needed, and returns by how much more is held then.
    fn keep(
        &mut self,
        names: &mut BTreeMap<Vec<u8>, Named>,
        entry: Entry,
        folder: &[u8],
        runs: &Runs,
    ) -> Result<usize> {
        let is_wanted = self.visitor.wants(&[folder, b"/", &entry.name].concat(), &entry)?;
        let inner = match &entry.node {
            Node::Directory { content } if self.visitor.enters(content)? => Some(content),
            _ => None,
        };
        if !is_wanted && inner.is_none() {
            return Ok(0);
        }
        let named = names.entry(entry.name.clone()).or_default();
        let mut more = 0;
        if let Some(content) = inner {
            more += add(&mut named.folders, |known| known == content, || content.clone(), runs);
        }
        if is_wanted {
            more += add(&mut named.found, |known| self.visitor.is_same(known, &entry), || entry.clone(), runs);
        }
        Ok(more)
    }
}
