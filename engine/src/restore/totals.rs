//! How much a restore has to do: a walk of its own over the folders of the snapshot, by the same selection.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{DirPath, Event};
use crate::format::content::Content;
use crate::format::tree::{Entry, Node};
use crate::restore::run::Restore;
use crate::source::Reach;
use crate::tree;

/// Files and bytes that are selected.
#[derive(Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

impl Restore<'_> {
    /// Counts what is selected and tells of it, unless the restore ends first: it never waits for this.
    pub fn tell_total(&self, chosen: &Chosen<'_>, ended: &AtomicBool) {
        let mut sum = Sum::default();
        let path = DirPath::root(chosen.prefix);
        let is_whole = match chosen.what {
            What::Folder(content) => self.count(content, &path, chosen.reach, &mut sum, ended),
            What::Entry(entry) => self.count_entry(entry, &path, chosen.reach, &mut sum, ended),
        };
        if is_whole {
            self.send(&Event::Total { files: sum.files, bytes: sum.bytes });
        }
    }

    /// Returns whether it came to the end. What cannot be read is not counted.
    fn count(&self, content: &Content, path: &DirPath<'_>, reach: Reach, sum: &mut Sum, ended: &AtomicBool) -> bool {
        if ended.load(Ordering::Relaxed) || self.options.cancel.is_cancelled() {
            return false;
        }
        let Some(tree) = tree::load(&self.reader, content).ok().filter(|_| path.depth <= TREE_DEPTH_MAX) else {
            return true;
        };
        tree.entries.iter().all(|entry| self.count_entry(entry, path, reach, sum, ended))
    }

    fn count_entry(&self, entry: &Entry, path: &DirPath<'_>, above: Reach, sum: &mut Sum, ended: &AtomicBool) -> bool {
        let reach = self.reach(entry, path, above);
        match &entry.node {
            _ if reach == Reach::Excluded => true,
            Node::Directory { content } => self.count(content, &path.below(&entry.name), reach, sum, ended),
            node => {
                if reach == Reach::Selected {
                    sum.files += 1;
                    sum.bytes += node.file_bytes();
                }
                true
            }
        }
    }
}

/// What was chosen of a snapshot.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub what: What<'a>,
    /// The path of the folder, or of the one that the entry lies in.
    pub prefix: &'a [u8],
    pub reach: Reach,
}

#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Folder(&'a Content),
    Entry(&'a Entry),
}
