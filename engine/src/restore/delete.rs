//! `restore --delete`: what the target has and the snapshot has not.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::base::Event;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::error::Result;
use crate::format::tree::{CaptureKind, Node, Tree};
use crate::restore::place::Place;
use crate::restore::run::Restore;
use crate::restore::target_dir::{Opening, TargetDir};
use crate::source::{FileKind, Reach, database};

/// A folder that is where something else is to be.
#[derive(Debug)]
pub(super) struct Displaced {
    pub name: Vec<u8>,
}

impl Restore<'_> {
    /// Removes from a folder what the snapshot has not, if that was asked for and the folder is part of what is restored.
    pub fn delete_extra(&self, tree: &Tree, place: &Place<'_>, reach: Reach) -> Result<()> {
        let is_asked = self.options.delete && reach == Reach::Selected && place.is_selected() && !place.is_new();
        let Some(dir) = place.made().filter(|_| is_asked) else { return Ok(()) };
        let mut extra = Vec::new();
        dir.for_each_name(&mut |name| {
            if !is_known(tree, name) && !TargetDir::is_temporary(name) {
                extra.push(name.to_vec());
            }
            Ok(())
        })?;
        extra.sort_unstable();
        if extra.is_empty() {
            return Ok(());
        }
        if tree.left_out && !self.options.delete_excluded {
            self.folders_spared.fetch_add(1, Ordering::Relaxed);
            let reason = "nothing was removed in this folder, since the backup left something out in it; to remove what \
                          the snapshot has not even so, use --delete-excluded";
            self.note(dir.path(), reason);
            return Ok(());
        }
        for name in extra {
            self.check_cancel()?;
            let is_dir = dir.stat(&name)?.is_some_and(|found| found.kind == FileKind::Directory);
            let path = place.join(&name);
            if self.selection.step(reach, &path, is_dir) == Reach::Selected {
                let outcome = self.remove(&dir, &name, 0).map(drop);
                self.unless_fatal(|| path, outcome)?;
            }
        }
        Ok(())
    }

    /// Removes the folder that is where something else is to be.
    pub fn remove_displaced(&self, dir: &TargetDir, displaced: &Displaced) -> Result<()> {
        self.remove(dir, &displaced.name, 0).map(drop)
    }

    /// Removes `name` with all in it, but for mount points and daykeep's own files. Returns whether it is gone.
    fn remove(&self, dir: &TargetDir, name: &[u8], depth: usize) -> Result<bool> {
        self.check_cancel()?;
        let Some(found) = dir.stat(name)? else { return Ok(true) };
        let path = dir.path_of(name);
        let spared = if self.own_files.contains(&found.identity()) {
            Some("not removed: the repository or its cache")
        } else if dir.is_mount_point(name) {
            Some("not removed: something is mounted here")
        } else if depth > TREE_DEPTH_MAX {
            Some("not removed: folders lie too deep in one another")
        } else {
            None
        };
        if let Some(reason) = spared {
            self.note(&path, reason);
            return Ok(false);
        }
        let is_dry = self.options.dry_run;
        if found.kind == FileKind::Directory {
            let opening = if is_dry { Opening::Look } else { Opening::Enter };
            let Some(folder) = dir.open_dir(name, opening)? else { return Ok(true) };
            if !is_dry {
                folder.make_writable();
            }
            let mut names = Vec::new();
            folder.for_each_name(&mut |name| {
                names.push(name.to_vec());
                Ok(())
            })?;
            let mut is_empty = true;
            for name in names {
                is_empty &= self.remove(&folder, &name, depth + 1)?;
            }
            if !is_empty || !is_dry && !dir.remove_empty_dir(name)? {
                folder.leave()?;
                return Ok(false);
            }
        } else if !is_dry {
            dir.remove_non_dir(name)?;
        }
        self.deleted(&path);
        Ok(true)
    }

    fn deleted(&self, path: &Path) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
        self.send(&Event::Deleted { path: path.to_path_buf() });
    }
}

/// Returns whether a name belongs to what the snapshot has in a folder: it is there itself, or is the log of a database or
/// the encrypted form of a file that is.
fn is_known(tree: &Tree, name: &[u8]) -> bool {
    let entry = |name: &[u8]| {
        let found = tree.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name));
        found.ok().and_then(|at| tree.entries.get(at))
    };
    let is_file = |name: &[u8]| entry(name).is_some_and(|entry| matches!(entry.node, Node::File { .. }));
    let is_decrypted = |name: &[u8]| {
        let capture = entry(name).and_then(|entry| entry.node.capture());
        capture.is_some_and(|capture| capture.kind == CaptureKind::WhatsApp)
    };
    let without_number = name.strip_suffix(b"12").or(name.strip_suffix(b"14")).or(name.strip_suffix(b"15"));
    entry(name).is_some()
        || database::database_of(name).is_some_and(is_file)
        || without_number.and_then(|name| name.strip_suffix(b".crypt")).is_some_and(is_decrypted)
}
