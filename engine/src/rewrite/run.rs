//! Takes what patterns match out of snapshots.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::{ObjectKind, ObjectName, lock};
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::{Entry, Node};
use crate::repo::Repository;
use crate::rewrite::options::{RewriteOptions, RewriteReport, Rewritten};
use crate::rewrite::trees::{Keep, Trees};
use crate::snapshot::{self, REWRITE_TAG, Snapshot};

/// So many paths are told one by one.
const PATHS_MAX: usize = 10_000;

/// Keeps what no pattern matches, and notes the paths of the rest.
struct Excluded<'a> {
    options: &'a RewriteOptions,
    paths: Mutex<(BTreeSet<Vec<u8>>, u64)>,
}

impl Keep for Excluded<'_> {
    fn keeps(&self, path: &[u8], entry: &Entry) -> Result<bool> {
        let is_directory = matches!(entry.node, Node::Directory { .. });
        let is_excluded = self.options.exclude.excludes(Path::new(OsStr::from_bytes(path)), is_directory);
        if is_excluded {
            let mut paths = lock(&self.paths);
            if paths.0.len() < PATHS_MAX {
                paths.0.insert(path.to_vec());
            } else if !paths.0.contains(path) {
                paths.1 += 1;
            }
        }
        Ok(!is_excluded)
    }

    fn lose(&self, path: &[u8], error: Error) -> Result<()> {
        Err(error.in_folder(path))
    }
}

impl Repository {
    /// Takes what [`RewriteOptions::exclude`] matches out of snapshots, each named by `latest` or the first digits of its
    /// id; out of all if none is named.
    ///
    /// A snapshot in which something matches is stored anew without it, under a new id, with
    /// [`SnapshotRecord::original`] and everything else as it was; its counts of files, directories and bytes are corrected.
    /// Folders in which nothing matches are taken over as they are. The space of what was taken out is given back by a
    /// prune, once no snapshot has it any more and no delta stands on it.
    ///
    /// # Errors
    /// `InvalidOption` without a pattern, if a tag is one too many, or if the repository was opened for reading;
    /// `SnapshotNotFound`, `SnapshotAmbiguous`; `Damaged` or `Missing` for a folder that cannot be read; `Cancelled`; the
    /// store's own. Then all snapshots are there still, and doing it again ends well.
    pub fn rewrite(&self, wanted: &[String], options: &RewriteOptions) -> Result<RewriteReport> {
        let begun = Instant::now();
        if !options.dry_run {
            self.check_writable("rewrite")?;
        }
        if options.exclude.is_empty() {
            let reason = "give at least one pattern of what is to be taken out".into();
            return Err(Error::InvalidOption { option: "exclude", reason });
        }
        let mut report = RewriteReport::default();
        let (known, unreadable) = self.snapshots()?;
        let chosen = match wanted {
            [] => {
                report.unreadable = unreadable;
                known.clone()
            }
            _ => self.named(wanted)?,
        };
        let keep = Excluded { options, paths: Mutex::default() };
        crate::pool::within(self.memory_bytes, options.threads)?.install(|| -> Result<()> {
            let trees = Trees::new(self, &self.catalog, &keep, &options.cancel, options.dry_run)?;
            let outcome = chosen.into_iter().try_for_each(|before| {
                let record = rewritten(&trees, &before, options)?;
                report.snapshots.push(Rewritten { before, record, id: None });
                Ok(())
            });
            report.bytes_new = trees.finish_after(outcome)?.1;
            Ok(())
        })?;
        if !options.dry_run {
            self.store_rewritten(&known, &mut report, options)?;
        }
        let (paths, more) = keep.paths.into_inner().unwrap_or_else(PoisonError::into_inner);
        (report.left_out, report.left_out_more) = (paths.into_iter().collect(), more);
        report.duration = begun.elapsed();
        Ok(report)
    }

    /// Stores the new snapshots, then removes the old ones if that is wanted.
    fn store_rewritten(&self, known: &[Snapshot], report: &mut RewriteReport, options: &RewriteOptions) -> Result<()> {
        for rewritten in &mut report.snapshots {
            if let Some(record) = &rewritten.record {
                rewritten.id = Some(self.store_once(known, record)?);
            }
        }
        self.store.sync()?;
        if options.forget {
            for old in report.snapshots.iter().filter(|rewritten| rewritten.record.is_some()) {
                self.store.delete(&ObjectName::new(ObjectKind::Snapshot, old.before.id))?;
            }
            self.store.sync()?;
        }
        Ok(())
    }
}

/// Rewrites the trees of a snapshot and returns its new record, or `None` if nothing in it matches.
fn rewritten(trees: &Trees<'_>, before: &Snapshot, options: &RewriteOptions) -> Result<Option<SnapshotRecord>> {
    let tree = trees.root(&before.record.root)?;
    let Some(mut record) = tree.record(before) else { return Ok(None) };
    if !options.forget {
        record.add_tag(REWRITE_TAG);
    }
    snapshot::encode(&record)?;
    Ok(Some(record))
}
