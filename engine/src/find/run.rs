//! Looks for what matches in all snapshots at once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::find::options::{FindOptions, FindReport, FoundEntry};
use crate::format::content::Content;
use crate::format::tree::{Entry, Node};
use crate::repo::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{Runs, VersionWalk, Visitor};

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
        let search = Search { options, snapshots: &snapshots, visit, goes_on: true, report };
        let mut walk = VersionWalk::new(&reader, &options.cancel, options.held_max, search);
        walk.run(snapshots.iter().map(|snapshot| &snapshot.record.root))?;
        let mut report = walk.visitor.report;
        report.trees_read = walk.trees_read;
        report.errors.truncate(ERRORS_MAX);
        Ok(report)
    }

    /// Returns the snapshots to look into, oldest first, and an error for each that cannot be read.
    fn chosen(&self, options: &FindOptions) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        let (mut snapshots, errors) = if options.snapshots.is_empty() {
            self.snapshots()?
        } else {
            (self.named(&options.snapshots)?, Vec::new())
        };
        snapshots.retain(|snapshot| options.host.as_ref().is_none_or(|host| *host == snapshot.record.host));
        let surplus = snapshots.len().saturating_sub(options.newest.unwrap_or(usize::MAX));
        snapshots.drain(..surplus);
        Ok((snapshots, errors))
    }
}

struct Search<'a> {
    options: &'a FindOptions,
    snapshots: &'a [Snapshot],
    visit: &'a mut dyn FnMut(&FoundEntry<'_>) -> bool,
    goes_on: bool,
    report: FindReport,
}

impl Visitor for Search<'_> {
    fn wants(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        let is_folder = matches!(entry.node, Node::Directory { .. });
        Ok(self.options.patterns.excludes(Path::new(OsStr::from_bytes(path)), is_folder))
    }

    fn enters(&mut self, _: &Content) -> Result<bool> {
        Ok(true)
    }

    /// Of a folder only the time counts: what lies in it is looked at by itself.
    fn is_same(&self, one: &Entry, other: &Entry) -> bool {
        let are_folders = matches!((&one.node, &other.node), (Node::Directory { .. }, Node::Directory { .. }));
        one.metadata.mtime == other.metadata.mtime && (are_folders || one.node.holds_same(&other.node))
    }

    fn tell(&mut self, path: &[u8], entry: &Entry, runs: &Runs) {
        self.report.found += 1;
        self.goes_on = (self.visit)(&FoundEntry {
            path,
            kind: entry.node.kind(),
            bytes: entry.node.file_bytes(),
            mtime: entry.metadata.mtime,
            snapshots: runs.numbers().filter_map(|at| self.snapshots.get(at)).collect(),
        });
    }

    /// Notes what kept a folder from being read, by the first snapshot that holds it.
    fn fail(&mut self, path: &[u8], error: Error, runs: &Runs) {
        if self.report.errors.len() < ERRORS_MAX {
            let found = runs.numbers().next().and_then(|at| self.snapshots.get(at));
            let id = found.map(|snapshot| snapshot.id.to_string()).unwrap_or_default();
            self.report.errors.push(error.in_folder(&[&id.as_bytes()[..id.len().min(8)], b":", path].concat()));
        }
    }

    fn goes_on(&self) -> bool {
        self.goes_on
    }
}
