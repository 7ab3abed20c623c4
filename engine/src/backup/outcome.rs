//! One name in a folder, and what becomes of it.

use std::ffi::CStr;
use std::path::PathBuf;

use crate::backup::rules::Devices;
use crate::base::DirPath;
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node};
use crate::source::{FileKind, Stat};

/// One name in a folder that is backed up.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub name: &'a CStr,
    /// The folder, as the user named it.
    pub path: &'a DirPath<'a>,
    pub devices: Devices,
    /// The parent's entry of this name.
    pub previous: Option<&'a Entry>,
    /// Whether no other entry of the tree would have the name of the database in it, if it is an encrypted file.
    pub may_open: bool,
}

impl Spot<'_> {
    pub fn full_path(&self) -> PathBuf {
        self.path.join(self.name.to_bytes())
    }

    /// Returns what became of a folder of this name.
    pub fn folder(&self, metadata: Metadata, content: Content) -> Outcome {
        let entry = Entry { name: self.name.to_bytes().to_vec(), metadata, node: Node::Directory { content } };
        Outcome::of(Some(entry), self.previous)
    }
}

/// What became of an entry.
pub(super) enum Outcome {
    /// It is as the parent's entry.
    Same,
    /// It was read.
    Read(Box<Entry>),
    /// It is not backed up.
    LeftOut,
}

impl Outcome {
    pub fn of(entry: Option<Entry>, previous: Option<&Entry>) -> Self {
        match entry {
            Some(entry) if previous == Some(&entry) => Self::Same,
            Some(entry) => Self::Read(Box::new(entry)),
            None => Self::LeftOut,
        }
    }

    /// Returns the entry, if there is one; `previous` is the parent's.
    pub fn entry<'e>(&'e self, previous: Option<&'e Entry>) -> Option<&'e Entry> {
        match self {
            Self::Same => previous,
            Self::Read(entry) => Some(entry),
            Self::LeftOut => None,
        }
    }
}

/// Returns the content of a folder's entry.
pub(super) fn content_of(entry: Option<&Entry>) -> Option<&Content> {
    match entry.map(|entry| &entry.node) {
        Some(Node::Directory { content }) => Some(content),
        _ => None,
    }
}

/// Returns what becomes of an unmodified entry.
///
/// On many systems a device has another number after each start, and to read all files of several names again for that would
/// be too much. But an old number must not stay: it may be another device's today, and names that are found elsewhere now
/// would no longer be seen to be of the same file. So the entry is taken over with the number of today.
pub(super) fn unmodified(previous: Option<&Entry>, stat: &Stat) -> Outcome {
    let link_device = stat.metadata.link_device;
    match previous {
        Some(previous) if previous.metadata.link_device != link_device => {
            let metadata = Metadata { link_device, ..previous.metadata.clone() };
            Outcome::Read(Box::new(Entry { metadata, ..previous.clone() }))
        }
        _ => Outcome::Same,
    }
}

pub(super) const fn stat_bytes(stat: &Stat) -> u64 {
    match stat.kind {
        FileKind::File => stat.size,
        _ => 0,
    }
}

/// Returns the entry of this name: at `near` most often, since most folders stay as they are.
pub(super) fn find_near<'a>(entries: &'a [Entry], near: usize, name: &[u8]) -> Option<&'a Entry> {
    match entries.get(near) {
        Some(entry) if entry.name == name => Some(entry),
        _ => find(entries, name),
    }
}

/// Returns the entry of this name.
pub(super) fn find<'a>(entries: &'a [Entry], name: &[u8]) -> Option<&'a Entry> {
    let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()?;
    entries.get(at)
}
