//! The walk over the folders of a snapshot: they fork and join, and the metadata of a folder comes after all in it.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use crate::base::DirPath;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::error::Result;
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node, Tree};
use crate::restore::place::Place;
use crate::restore::run::Restore;
use crate::restore::target_dir::{LocalOwners, TargetDir};
use crate::source::Reach;
use crate::tree;

impl Restore<'_> {
    /// Returns what the patterns say of an entry in the folder at `path`, of which they said `above`.
    pub fn reach(&self, entry: &Entry, path: &DirPath<'_>, above: Reach) -> Reach {
        if self.selection.is_everything() {
            return above;
        }
        let is_dir = matches!(entry.node, Node::Directory { .. });
        self.selection.step(above, &path.join(&entry.name), is_dir)
    }

    /// Restores everything in a folder. `reach`: what the patterns say of the folder itself.
    pub fn folder(&self, tree: &Tree, place: &Place<'_>, reach: Reach) -> Result<()> {
        self.check_cancel()?;
        let owners = self.applier.local_owners(tree);
        let each = |entry: &Entry| {
            let outcome = self.entry(entry, place, reach, &owners);
            self.unless_fatal(|| place.join(&entry.name), outcome)
        };
        if place.wants_nursery() {
            let small = tree.entries.par_iter().filter(|entry| Place::is_for_nursery(entry)).try_for_each(each);
            // What is whole gets its name even if the restore ends here.
            let published = place.publish();
            small.and(published)?;
            tree.entries.par_iter().filter(|entry| !Place::is_for_nursery(entry)).try_for_each(each)?;
        } else {
            tree.entries.par_iter().try_for_each(each)?;
        }
        self.delete_extra(tree, place, reach)
    }

    /// Restores one entry, if it was chosen.
    pub fn entry(&self, entry: &Entry, place: &Place<'_>, above: Reach, owners: &LocalOwners) -> Result<()> {
        let reach = self.reach(entry, &place.path, above);
        match &entry.node {
            _ if reach == Reach::Excluded => Ok(()),
            Node::Directory { content } => self.sub_folder(entry, content, place, reach, owners),
            _ if reach == Reach::Selected => self.file_or_link(entry, place, owners),
            _ => Ok(()),
        }
    }

    fn sub_folder(
        &self,
        entry: &Entry,
        content: &Content,
        above: &Place<'_>,
        reach: Reach,
        owners: &LocalOwners,
    ) -> Result<()> {
        let loaded = if above.path.depth >= TREE_DEPTH_MAX {
            Err(tree::too_deep(above.join(&entry.name).display().to_string()))
        } else {
            tree::load(&self.reader, content)
        };
        let is_asked_for = above.is_selected() || self.is_asked_for(&above.join(&entry.name));
        let place = Place::below(above, entry, loaded.as_ref().ok(), reach == Reach::Selected && is_asked_for);
        if reach == Reach::Selected && self.taker.is_none() {
            place.enter()?;
        }
        if reach == Reach::Selected {
            self.directories.fetch_add(1, Ordering::Relaxed);
        }
        self.tell_if_hidden(&place);
        let outcome = loaded.as_ref().map_or(Ok(()), |tree| self.folder(tree, &place, reach));
        let published = place.publish();
        if let Some(dir) = place.made().filter(|_| !self.options.dry_run) {
            self.finish_folder(&dir, entry, &place, owners);
        }
        loaded.map(drop).and(outcome).and(published)
    }

    /// Gives a folder its metadata if it is to have it, and otherwise back what it had.
    fn finish_folder(&self, dir: &TargetDir, entry: &Entry, place: &Place<'_>, owners: &LocalOwners) {
        if place.gets_metadata() {
            self.apply_to_dir(dir, &entry.metadata, owners);
            self.set_flags_later(|| place.trail(), b"", entry.metadata.flags);
        } else if let Err(error) = dir.leave() {
            self.warn(dir.path(), error.to_string());
        }
    }

    pub fn apply_to_dir(&self, dir: &TargetDir, metadata: &Metadata, owners: &LocalOwners) {
        if dir.is_path_only() {
            self.warn(dir.path(), "its metadata could not be restored: it belongs to another user".into());
            return;
        }
        if metadata.flags != 0 {
            self.set_flags(dir.fd(), metadata.flags);
        }
        for problem in self.applier.dir(dir, metadata, owners) {
            self.warn(dir.path(), problem.to_string());
        }
    }

    /// Tells of a folder that a dry run cannot look into: a run may, since it may change its permissions.
    fn tell_if_hidden(&self, place: &Place<'_>) {
        if let Some(dir) = place.made().filter(|dir| self.options.dry_run && !dir.is_searchable()) {
            self.note(dir.path(), "its owner may not look into it, so what would be restored in it is counted as new");
        }
    }
}
