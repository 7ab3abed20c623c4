//! Walks the trees of all snapshots at once: a directory that many of them share is read once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::find::options::{FindOptions, FindReport, FoundEntry};
use crate::format::content::Content;
use crate::format::tree::{Entry, Node};
use crate::repo::Repository;
use crate::snapshot::Snapshot;
use crate::tree;

/// The most errors that are told.
const ERRORS_MAX: usize = 1000;

impl Repository {
    /// Calls `visit` for every version of everything that matches, with the snapshots that hold it, in the order of the
    /// names. `visit` returns whether to go on.
    ///
    /// A folder that is the same in many snapshots is read once. Where very much changed in a folder between very many
    /// snapshots, a version may be told in parts, each with other snapshots.
    ///
    /// # Errors
    /// `InvalidOption` if there is no pattern; `SnapshotNotFound`, `SnapshotAmbiguous` or damage for a snapshot that is
    /// named; `Cancelled`. Folders that cannot be read are in the report.
    pub fn find(&self, options: &FindOptions, visit: &mut dyn FnMut(&FoundEntry<'_>) -> bool) -> Result<FindReport> {
        if options.patterns.is_empty() {
            let reason =
                "there is nothing to look for; give a name or a pattern as in .gitignore, such as *.jpg".into();
            return Err(Error::InvalidOption { option: "find", reason });
        }
        let (snapshots, errors) = self.chosen(options)?;
        let report = FindReport { snapshots: snapshots.len() as u64, errors, ..FindReport::default() };
        let reader = self.reader();
        let mut versions = Vec::new();
        for (at, snapshot) in snapshots.iter().enumerate() {
            let root = &snapshot.record.root;
            add(&mut versions, |known: &Content| known == root, || root.clone(), &Runs::of(at));
        }
        let mut search = Search { reader: &reader, options, snapshots: &snapshots, visit, held: 0, report };
        search.folder(&versions, &mut Vec::new(), 0)?;
        search.report.errors.truncate(ERRORS_MAX);
        Ok(search.report)
    }

    /// Returns the snapshots to look into, oldest first, and an error for each that cannot be read.
    fn chosen(&self, options: &FindOptions) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        let (mut snapshots, errors) = if options.snapshots.is_empty() {
            self.snapshots()?
        } else {
            let named = options.snapshots.iter().map(|name| self.snapshot(name));
            (named.collect::<Result<Vec<_>>>()?, Vec::new())
        };
        snapshots.sort_by_key(|snapshot| (snapshot.record.started, snapshot.id));
        snapshots.dedup_by_key(|snapshot| snapshot.id);
        snapshots.retain(|snapshot| options.host.as_ref().is_none_or(|host| *host == snapshot.record.host));
        let surplus = snapshots.len().saturating_sub(options.newest.unwrap_or(usize::MAX));
        snapshots.drain(..surplus);
        Ok((snapshots, errors))
    }
}

/// Some of the snapshots, by their numbers: runs from one to before another, ascending.
#[derive(Clone, Default)]
struct Runs(Vec<(usize, usize)>);

impl Runs {
    fn of(at: usize) -> Self {
        Self(vec![(at, at + 1)])
    }

    /// Adds snapshots, most often later ones.
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

    fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(|&(from, to)| from..to)
    }
}

/// Something in its versions, and which snapshots hold each.
type Versions<T> = Vec<(T, Runs)>;

/// Adds snapshots to the version that `is_same`, or a new version. Returns by how much more is held then.
fn add<T>(versions: &mut Versions<T>, is_same: impl Fn(&T) -> bool, new: impl FnOnce() -> T, runs: &Runs) -> usize {
    // The same as in the last snapshot, most often.
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

struct Search<'a> {
    reader: &'a ChunkReader,
    options: &'a FindOptions,
    snapshots: &'a [Snapshot],
    visit: &'a mut dyn FnMut(&FoundEntry<'_>) -> bool,
    /// How much is held now.
    held: usize,
    report: FindReport,
}

impl Search<'_> {
    /// Looks into all versions of the folder at `path`; returns whether to go on.
    fn folder(&mut self, versions: &[(Content, Runs)], path: &mut Vec<u8>, depth: usize) -> Result<bool> {
        if depth > TREE_DEPTH_MAX {
            let reason = format!("is nested deeper than {TREE_DEPTH_MAX} folders");
            self.fail(Error::Damaged { object: "tree".into(), reason }, versions, path);
            return Ok(true);
        }
        let before = self.held;
        let Some(names) = self.gather(versions, path)? else {
            self.held = before;
            let (first, second) = versions.split_at(versions.len() / 2);
            return Ok(self.folder(first, path, depth)? && self.folder(second, path, depth)?);
        };
        let len = path.len();
        for (name, Named { found, folders }) in names {
            path.push(b'/');
            path.extend_from_slice(&name);
            let goes_on = self.tell(path, &found) && self.folder_if_any(&folders, path, depth)?;
            path.truncate(len);
            if !goes_on {
                return Ok(false);
            }
        }
        self.held = before;
        Ok(true)
    }

    fn folder_if_any(&mut self, versions: &[(Content, Runs)], path: &mut Vec<u8>, depth: usize) -> Result<bool> {
        if versions.is_empty() { Ok(true) } else { self.folder(versions, path, depth + 1) }
    }

    /// Reads all versions of a folder, one after the other, and keeps of them what matches and the folders in it. `None`:
    /// that is too much, and fewer versions would do.
    fn gather(&mut self, versions: &[(Content, Runs)], path: &[u8]) -> Result<Option<BTreeMap<Vec<u8>, Named>>> {
        let mut names: BTreeMap<Vec<u8>, Named> = BTreeMap::new();
        for version @ (content, runs) in versions {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let entries = match tree::load(self.reader, content) {
                Ok(tree) => tree.entries,
                Err(error @ (Error::Damaged { .. } | Error::Missing { .. } | Error::Store(_))) => {
                    self.fail(error, std::slice::from_ref(version), path);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.report.trees_read += 1;
            for entry in entries {
                self.held += self.keep(&mut names, entry, path, runs);
            }
            if self.held > self.options.held_max && versions.len() > 1 {
                return Ok(None);
            }
        }
        Ok(Some(names))
    }

    /// Keeps an entry as far as it is needed, and returns by how much more is held then.
    fn keep(&self, names: &mut BTreeMap<Vec<u8>, Named>, entry: Entry, folder: &[u8], runs: &Runs) -> usize {
        let is_folder = matches!(entry.node, Node::Directory { .. });
        let path = [folder, b"/", &entry.name].concat();
        let matches = self.options.patterns.excludes(Path::new(OsStr::from_bytes(&path)), is_folder);
        if !matches && !is_folder {
            return 0;
        }
        let named = names.entry(entry.name.clone()).or_default();
        let mut more = 0;
        if let Node::Directory { content } = &entry.node {
            more += add(&mut named.folders, |known| known == content, || content.clone(), runs);
        }
        if matches {
            let is_same = |known: &Entry| is_same_version(known, &entry);
            more += add(&mut named.found, is_same, || entry.clone(), runs);
        }
        more
    }

    /// Tells of all versions of what is at `path`; returns whether to go on.
    fn tell(&mut self, path: &[u8], found: &[(Entry, Runs)]) -> bool {
        found.iter().all(|(entry, runs)| {
            self.report.found += 1;
            (self.visit)(&FoundEntry {
                path,
                kind: entry.node.kind(),
                bytes: entry.node.file_bytes(),
                mtime: entry.metadata.mtime,
                snapshots: runs.numbers().filter_map(|at| self.snapshots.get(at)).collect(),
            })
        })
    }

    /// Notes what kept a folder from being read, by the first snapshot that holds it.
    fn fail(&mut self, error: Error, versions: &[(Content, Runs)], path: &[u8]) {
        if self.report.errors.len() < ERRORS_MAX {
            let number = versions.first().and_then(|(_, runs)| runs.numbers().next());
            let id = number.and_then(|at| self.snapshots.get(at)).map(|snapshot| snapshot.id.to_string());
            let id = id.unwrap_or_default();
            self.report.errors.push(error.in_folder(&[&id.as_bytes()[..id.len().min(8)], b":", path].concat()));
        }
    }
}

/// Of a folder only the time counts: what lies in it is looked at by itself.
fn is_same_version(one: &Entry, other: &Entry) -> bool {
    let are_folders = matches!((&one.node, &other.node), (Node::Directory { .. }, Node::Directory { .. }));
    one.metadata.mtime == other.metadata.mtime && (are_folders || one.node.holds_same(&other.node))
}
