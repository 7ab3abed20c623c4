//! Writes trees anew without some of their entries. What stays as it is, is not written again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{CancelToken, ChunkId, lock};
use crate::catalog::Catalog;
use crate::chunk::Chunker;
use crate::chunks::{ChunkReader, ChunkWriter, CommitCounts, WriterOptions};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::{Entry, Node, OwnerName, Tree, TreeHead};
use crate::hash;
use crate::repo::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{self, Outline};

/// Decides what stays. Asked once for each distinct tree at each path, by many threads at once.
pub(crate) trait Keep: Sync {
    /// Returns whether the entry at `path`, from the root with a `/` before each name, stays.
    ///
    /// # Errors
    /// Any ends the rewriting.
    fn keeps(&self, path: &[u8], entry: &Entry) -> Result<bool>;

    /// Is told that the tree of the folder at `path` cannot be read. If it returns no error, the folder becomes an empty
    /// one.
    ///
    /// # Errors
    /// Any ends the rewriting.
    fn lose(&self, path: &[u8], error: Error) -> Result<()>;
}

/// A tree after rewriting, and what is in it and below.
#[derive(Clone, Debug, Default)]
pub(crate) struct RewrittenTree {
    /// Where it is now; `None` if it is as it was.
    pub content: Option<Content>,
    /// Everything but directories.
    pub files: u64,
    /// Directories, itself not counted.
    pub directories: u64,
    /// Bytes of the files' content.
    pub bytes: u64,
    /// Entries that did not stay, and folders that were lost; of folders not what is in them.
    pub left_out: u64,
}

impl RewrittenTree {
    /// Returns the record of a copy of `before` whose root this is; `None` if it is as it was.
    pub fn record(&self, before: &Snapshot) -> Option<SnapshotRecord> {
        let mut record = SnapshotRecord { root: self.content.clone()?, ..before.record.clone() };
        record.original = record.original.or(Some(before.id));
        let counts = &mut record.counts;
        (counts.files, counts.bytes) = (self.files, self.bytes);
        counts.directories = self.directories.saturating_sub(directories_above(&record.paths));
        Some(record)
    }
}

/// What one remembered tree takes, about.
const KNOWN_BYTES: usize = 256;

/// Rewrites the trees of many snapshots: each distinct tree at a path once, since what stays depends on the path.
pub(crate) struct Trees<'a> {
    reader: Arc<ChunkReader>,
    writer: ChunkWriter,
    chunker: &'a Chunker,
    keep: &'a dyn Keep,
    cancel: &'a CancelToken,
    /// By a hash of path and content. Beyond its limit nothing more is remembered, and what is met again is written again
    /// to the same chunks.
    known: Mutex<HashMap<ChunkId, RewrittenTree>>,
    known_max: usize,
}

impl<'a> Trees<'a> {
    /// Begins. Chunks are found by `catalog`; a quarter of the memory budget is for packs, an eighth for what is
    /// remembered, a sixteenth for frames.
    ///
    /// # Errors
    /// If the thread that stores packs cannot be started.
    pub fn new(
        repo: &'a Repository,
        catalog: &Arc<Catalog>,
        keep: &'a dyn Keep,
        cancel: &'a CancelToken,
        dry_run: bool,
    ) -> Result<Self> {
        let (memory_bytes, threads) = (repo.memory_bytes / 4, rayon::current_num_threads());
        let options = WriterOptions { memory_bytes, threads, level: TREE_LEVEL, dry_run };
        let reader = Arc::new(repo.reader_by(catalog));
        let (codec, store) = (Arc::clone(&repo.codec), Arc::clone(&repo.store));
        let writer = ChunkWriter::new(codec, Arc::clone(catalog), store, Arc::clone(&reader), options)?;
        let known_max = repo.memory_bytes / 8 / KNOWN_BYTES;
        Ok(Self { reader, writer, chunker: &repo.chunker, keep, cancel, known: Mutex::default(), known_max })
    }

    /// Rewrites the trees below `root`.
    ///
    /// # Errors
    /// `Cancelled`, what [`Keep`] returned, or the store's own.
    pub fn root(&self, root: &Content) -> Result<RewrittenTree> {
        self.folder(root, &[], 0)
    }

    /// Ends after work of which `outcome` came. Returns once all new trees are safe, and how many bytes of chunks were new.
    ///
    /// # Errors
    /// The work's, or the first failure of the store.
    pub fn finish_after(&self, outcome: Result<()>) -> Result<(CommitCounts, u64)> {
        let ((), counts) = self.writer.finish_after(outcome)?;
        Ok((counts, self.writer.bytes_new()))
    }

    fn folder(&self, content: &Content, path: &[u8], depth: usize) -> Result<RewrittenTree> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let key = key_of(content, path);
        let known = lock(&self.known).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let loaded =
            if depth > TREE_DEPTH_MAX { Err(tree::too_deep("tree")) } else { tree::load(&self.reader, content) };
        let rewritten = match loaded {
            Ok(tree) => self.tree(tree, path, depth)?,
            Err(error) => {
                self.keep.lose(path, error)?;
                let content = Some(self.store(&Tree { left_out: true, ..Tree::default() })?);
                RewrittenTree { content, left_out: 1, ..RewrittenTree::default() }
            }
        };
        let mut known = lock(&self.known);
        if known.len() < self.known_max {
            known.insert(key, rewritten.clone());
        }
        Ok(rewritten)
    }

    fn tree(&self, mut tree: Tree, path: &[u8], depth: usize) -> Result<RewrittenTree> {
        let look = |entry: &mut Entry| -> Result<Option<RewrittenTree>> {
            let path = [path, b"/", &entry.name].concat();
            if !self.keep.keeps(&path, entry)? {
                return Ok(None);
            }
            let Node::Directory { content } = &mut entry.node else { return Ok(Some(RewrittenTree::default())) };
            if depth + 1 > TREE_DEPTH_MAX {
                // An empty folder in its place would be too deep as well.
                self.keep.lose(&path, tree::too_deep("tree"))?;
                return Ok(None);
            }
            let mut below = self.folder(content, &path, depth + 1)?;
            let is_changed = below.content.is_some();
            if let Some(changed) = below.content.take() {
                *content = changed;
            }
            // Here it only says whether the entry is another.
            below.content = is_changed.then(Content::default);
            Ok(Some(below))
        };
        let outcomes: Vec<Option<RewrittenTree>> = tree.entries.par_iter_mut().map(look).collect::<Result<_>>()?;
        let mut sum = RewrittenTree::default();
        let mut is_changed = false;
        for (entry, outcome) in tree.entries.iter().zip(&outcomes) {
            let Some(below) = outcome else {
                (is_changed, sum.left_out) = (true, sum.left_out + 1);
                continue;
            };
            is_changed |= below.content.is_some();
            let is_directory = matches!(entry.node, Node::Directory { .. });
            // A hostile tree may name any length any number of times.
            sum.bytes = sum.bytes.saturating_add(below.bytes).saturating_add(entry.node.file_bytes());
            sum.directories += below.directories + u64::from(is_directory);
            sum.files += below.files + u64::from(!is_directory);
            sum.left_out += below.left_out;
        }
        if is_changed {
            let mut stays = outcomes.iter().map(Option::is_some);
            tree.entries.retain(|_| stays.next().unwrap_or(true));
            tree.left_out |= tree.entries.len() < outcomes.len();
            sum.content = Some(self.store(&tree)?);
        }
        Ok(sum)
    }

    /// Stores a tree, with the names of those owners that are left.
    fn store(&self, tree: &Tree) -> Result<Content> {
        let named = |owners: &[OwnerName], id: fn(&Entry) -> u32| -> Vec<OwnerName> {
            let ids: BTreeSet<u32> = tree.entries.iter().map(id).collect();
            owners.iter().filter(|owner| ids.contains(&owner.id)).cloned().collect()
        };
        let users = named(&tree.users, |entry| entry.metadata.uid);
        let groups = named(&tree.groups, |entry| entry.metadata.gid);
        let mut scratch = self.writer.lend()?;
        // No delta: the tree as it was would stay as its base, with the names of what was taken out.
        let last = Outline::default();
        let head = TreeHead { users: &users, groups: &groups, ..tree.head() };
        let content = tree::store(&self.writer, &mut scratch, self.chunker, head, tree.entries.iter(), last);
        self.writer.give_back(scratch);
        content
    }
}

/// The zstd level of rewritten trees.
const TREE_LEVEL: i32 = 3;

fn key_of(content: &Content, path: &[u8]) -> ChunkId {
    hash::chunk_id(&[2; 32], &[tree::fingerprint(content).as_bytes().as_slice(), path].concat())
}

/// Returns how many directories lie above the paths of a snapshot: a backup does not count them.
fn directories_above(paths: &[Vec<u8>]) -> u64 {
    let is_within = |folder: &[u8]| {
        let within = |path: &Vec<u8>| folder.strip_prefix(path.as_slice()).is_some_and(is_end_of_name);
        paths.iter().any(within)
    };
    let mut above = BTreeSet::new();
    for path in paths {
        let ends = (1..path.len()).filter(|&end| path[end] == b'/' && path[end - 1] != b'/');
        above.extend(ends.map(|end| &path[..end]).filter(|folder| !is_within(folder)));
    }
    above.len() as u64
}

fn is_end_of_name(rest: &[u8]) -> bool {
    rest.is_empty() || rest[0] == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_the_paths_are_counted_once() {
        let count = |paths: &[&str]| {
            let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            directories_above(&paths)
        };
        assert_eq!(count(&["/home/me"]), 1);
        assert_eq!(count(&["/home/me/a", "/home/me/b", "/srv/x"]), 3);
        assert_eq!(count(&["/home", "/home/me/a"]), 0);
        assert_eq!(count(&["stdin"]), 0);
        assert_eq!(count(&["a/b/stdin", "/"]), 2);
    }
}
