//! Stores the trees of folders: whatever was found in one, its tree can be read.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use crate::backup::engine::Engine;
use crate::base::DirPath;
use crate::base::limits::TREE_BYTES_MAX;
use crate::error::{Error, Result};
use crate::format::codec::Writer;
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, OwnerName, TreeHead};
use crate::tree::{self, Outline};

/// An entry of a folder that is too large for a tree.
enum Fitting<'e> {
    AsItIs(&'e Entry),
    WithoutAttributes(Box<Entry>),
}

impl Borrow<Entry> for Fitting<'_> {
    fn borrow(&self) -> &Entry {
        match self {
            Self::AsItIs(entry) => entry,
            Self::WithoutAttributes(entry) => entry,
        }
    }
}

/// The first to go where a folder is too large: attributes of an entry that take more than this.
const ATTRIBUTES_BYTES_GO: usize = 4096;

/// Returns the first entries that fit into one tree, those with long attributes without these.
fn fitting<'e>(entries: &[&'e Entry]) -> Vec<Fitting<'e>> {
    let mut bytes = 0;
    let mut fitting = Vec::new();
    for entry in entries {
        let attributes: usize = entry.metadata.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        let entry = if attributes > ATTRIBUTES_BYTES_GO {
            let metadata = Metadata { xattrs: Vec::new(), ..entry.metadata.clone() };
            Fitting::WithoutAttributes(Box::new(Entry { metadata, ..(*entry).clone() }))
        } else {
            Fitting::AsItIs(entry)
        };
        let mut encoded = Writer::default();
        Borrow::<Entry>::borrow(&entry).write(&mut encoded);
        bytes += encoded.as_slice().len();
        // The names of the owners need a little too.
        if bytes > TREE_BYTES_MAX / 16 * 15 {
            break;
        }
        fitting.push(entry);
    }
    fitting
}

impl Engine<'_> {
    /// Stores a directory's entries. Whatever they are, the tree can be read: what it cannot hold is left out, and told.
    pub fn store_tree(
        &self,
        path: &DirPath<'_>,
        mut entries: Vec<&Entry>,
        mut left_out: bool,
        last: Option<&Content>,
    ) -> Result<Content> {
        // An encrypted file is called as the database inside.
        if !entries.is_sorted_by(|a, b| a.name < b.name) {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let mut last_name: Option<&[u8]> = None;
        entries.retain(|entry| {
            let checked = match last_name.replace(&entry.name) {
                Some(last) if last == entry.name => Err("one entry of this name"),
                _ => entry.check(),
            };
            if let Err(expected) = checked {
                left_out = true;
                self.warn(path.join(&entry.name), format!("cannot be stored: expected {expected}; left out"));
            }
            checked.is_ok()
        });
        match self.store_checked(&entries, left_out, last) {
            Err(Error::LimitExceeded { .. }) => {
                let fitting = fitting(&entries);
                for (entry, fitting) in entries.iter().zip(&fitting) {
                    if let Fitting::WithoutAttributes(_) = fitting {
                        self.warn(
                            path.join(&entry.name),
                            "is saved without its attributes: the folder is too large".into(),
                        );
                    }
                }
                if fitting.len() < entries.len() {
                    let message = "has more in it than the 1 GiB of names and metadata that one folder may have; the last \
                                   are left out. Move some of what is in it into other folders";
                    self.warn(path.join(b""), message.into());
                }
                self.store_checked(&fitting, true, None)
            }
            stored => stored,
        }
    }

    fn store_checked(&self, entries: &[impl Borrow<Entry>], left_out: bool, last: Option<&Content>) -> Result<Content> {
        type Name = Option<std::sync::Arc<[u8]>>;
        let owners = |id: fn(&Entry) -> u32, name: &dyn Fn(u32) -> Name| -> Vec<OwnerName> {
            let ids: BTreeSet<u32> = entries.iter().map(|entry| id(entry.borrow())).collect();
            let named = |id| Some(OwnerName { id, name: name(id)?.to_vec() });
            ids.into_iter().filter_map(named).collect()
        };
        let users = owners(|entry| entry.metadata.uid, &|id| self.owners.user(id));
        let groups = owners(|entry| entry.metadata.gid, &|id| self.owners.group(id));
        let mut scratch = self.writer.lend()?;
        let last = last.map_or_else(Outline::default, |last| Outline::of(&self.reader, last, usize::MAX));
        let head = TreeHead { users: &users, groups: &groups, left_out, ..TreeHead::default() };
        let entries = entries.iter().map(Borrow::borrow);
        let content = tree::store(&self.writer, &mut scratch, &self.repo.chunker, head, entries, last);
        self.writer.give_back(scratch);
        content
    }
}
