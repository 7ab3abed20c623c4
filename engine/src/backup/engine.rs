//! The state of one backup, and the walk over directories: they fork and join on rayon.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::backup::batch::Batches;
use crate::backup::capture::{self, Captures};
use crate::backup::options::{BackupOptions, Warning};
pub(super) use crate::base::DirPath;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{Event, FileState, ShortId, lock};
use crate::catalog::SketchStore;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::index::ChunkKind;
use crate::format::snapshot::Counts;
use crate::format::tree::{Entry, Metadata, Node, OwnerName, Timestamp, Tree};
use crate::repo::Repository;
use crate::source::{Dir, FileKind, Owners, Stat, is_cache_dir, same_file_state};
use crate::tree::{self, Outline, PieceWalk};

/// What is counted while many threads work.
#[derive(Default)]
pub(super) struct Tally {
    pub files: AtomicU64,
    pub directories: AtomicU64,
    pub bytes: AtomicU64,
    pub new: AtomicU64,
    pub changed: AtomicU64,
    pub unmodified: AtomicU64,
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
    fn of(entry: Option<Entry>, previous: Option<&Entry>) -> Self {
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

/// One backup at work.
pub(super) struct Engine<'a> {
    pub repo: &'a Repository,
    pub options: &'a BackupOptions,
    pub writer: ChunkWriter,
    pub reader: Arc<ChunkReader>,
    /// Where the looks of large files' chunks are kept; `None` without a cache.
    pub sketches: Option<SketchStore>,
    pub owners: Owners,
    /// Content of inodes with more than one link: each is read once.
    pub links: Mutex<HashMap<LinkedFile, Node>>,
    pub batches: Mutex<Batches>,
    /// Files changed at this time or later may have changed again right after the parent looked at them.
    pub racy_from: Timestamp,
    /// Set if the parent is in doubt: then its files are taken over only if the index lists all their chunks.
    pub doubts: Option<PieceWalk>,
    pub told_of_loss: AtomicBool,
    pub tally: Tally,
    pub captures: Captures,
    pub warnings: Mutex<Vec<Warning>>,
}

/// Device, inode, and what tells that there is still the same in it: length, and the times of content and metadata.
/// And for a database, what lies beside this name: its log is found by the name.
type LinkedFile = (u64, u64, u64, Timestamp, Timestamp, [u8; 16]);

fn linked_file(stat: &Stat, beside: [u8; 16]) -> Option<LinkedFile> {
    let of = &stat.metadata;
    Some((of.link_device?, of.inode, stat.size, of.mtime, of.ctime, beside))
}

/// The most inodes that are remembered for their other links; further ones are read again and found known.
const LINKS_MAX: usize = 200_000;

impl Engine<'_> {
    pub fn send(&self, event: &Event) {
        if let Some(observer) = &self.options.observer {
            observer.event(event);
        }
    }

    /// Notes a source that could not be read, or not in peace.
    pub fn warn(&self, path: PathBuf, message: String) {
        self.send(&Event::Warning { object: path.display().to_string(), message: message.clone() });
        lock(&self.warnings).push(Warning { path, message });
    }

    pub fn warn_io(&self, path: PathBuf, doing: &str, error: &io::Error) {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "vanished while it was being backed up; left out".to_owned(),
            io::ErrorKind::PermissionDenied => format!("{doing}: {error}; left out. Run as a user who may read it"),
            _ => format!("{doing}: {error}; left out"),
        };
        self.warn(path, message);
    }

    pub fn check_cancel(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub fn counts(&self) -> Counts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            files: get(&self.tally.files),
            directories: get(&self.tally.directories),
            bytes: get(&self.tally.bytes),
            files_new: get(&self.tally.new),
            files_changed: get(&self.tally.changed),
            files_unmodified: get(&self.tally.unmodified),
            bytes_new: self.writer.bytes_new(),
            errors: lock(&self.warnings).len() as u64,
        }
    }

    /// Reads the parent's tree. Damage there costs time, not safety: everything below is read again.
    pub fn parent_tree(&self, content: Option<&Content>) -> Option<Tree> {
        let content = content?;
        match tree::load(&self.reader, content) {
            Ok(tree) => Some(tree),
            Err(error) => {
                self.tell_of_loss(&error);
                None
            }
        }
    }

    fn tell_of_loss(&self, error: &Error) {
        let message = format!("{error}; what this backup needs of it is read and stored again");
        self.send(&Event::Warning { object: "the parent snapshot".into(), message });
    }

    /// Backs up everything in `dir` and returns its stored tree; `None` if it cannot be listed.
    pub fn directory(
        &self,
        dir: &Dir,
        path: &DirPath<'_>,
        device: u64,
        parent: Option<&Content>,
    ) -> Result<Option<Content>> {
        self.check_cancel()?;
        if path.depth > TREE_DEPTH_MAX {
            self.warn(path.join(b""), format!("is nested deeper than {TREE_DEPTH_MAX} folders; left out"));
            return Ok(None);
        }
        let names = match dir.names() {
            Ok(names) => names,
            Err(error) => {
                self.warn_io(path.join(b""), "list the folder", &error);
                return Ok(None);
            }
        };
        let parent_tree = self.parent_tree(parent);
        let old_entries = parent_tree.as_ref().map_or(&[][..], |tree| &tree.entries);
        let back_up = |index: usize| {
            let name = names.get(index);
            let previous = capture::previous(old_entries, index, name.to_bytes());
            let outcome = self.entry(dir, name, names.kind(index), path, device, previous)?;
            Ok((previous, outcome))
        };
        // What lies beside a database waits until it is known how that was saved.
        let companions = self.captures.companions(&names);
        let wait = |index: usize| companions.binary_search_by_key(&index, |(companion, _)| *companion).is_ok();
        let mut outcomes: Vec<(Option<&Entry>, Outcome)> = (0..names.len())
            .into_par_iter()
            .map(|index| if wait(index) { Ok((None, Outcome::LeftOut)) } else { back_up(index) })
            .collect::<Result<_>>()?;
        for (companion, database) in companions {
            let (previous, outcome) = &outcomes[database];
            let (name, of) = (names.get(companion), path.join(names.get(database).to_bytes()));
            if self.captures.is_companion(dir, name, outcome.entry(*previous), &of) {
                lock(&self.captures.companions).push(path.join(name.to_bytes()));
            } else {
                outcomes[companion] = back_up(companion)?;
            }
        }
        outcomes.retain(|(_, outcome)| !matches!(outcome, Outcome::LeftOut));
        // An encrypted file is called as the database inside.
        let by_name = |(a_previous, a): &(Option<&Entry>, Outcome), (b_previous, b): &(Option<&Entry>, Outcome)| {
            let (a, b) = (a.entry(*a_previous), b.entry(*b_previous));
            a.map(|entry| &entry.name).cmp(&b.map(|entry| &entry.name))
        };
        if !outcomes.is_sorted_by(|a, b| by_name(a, b).is_lt()) {
            outcomes.sort_unstable_by(by_name);
        }
        self.tally.directories.fetch_add(1, Ordering::Relaxed);
        let all_same = outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Same));
        if let Some(parent) = parent
            && all_same
            && parent_tree.is_some()
            && outcomes.len() == old_entries.len()
        {
            return Ok(Some(parent.clone()));
        }
        match self.store_tree(outcomes.iter().filter_map(|(previous, outcome)| outcome.entry(*previous)), parent) {
            Err(Error::LimitExceeded { reason, .. }) => {
                self.warn(path.join(b""), format!("left out with all that is in it: {reason}"));
                Ok(None)
            }
            stored => stored.map(Some),
        }
    }

    /// Stores a directory's entries, which are sorted by name.
    pub fn store_tree<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry> + Clone,
        last: Option<&Content>,
    ) -> Result<Content> {
        type Name = Option<std::sync::Arc<[u8]>>;
        let owners = |id: fn(&Entry) -> u32, name: &dyn Fn(u32) -> Name| -> Vec<OwnerName> {
            let ids: BTreeSet<u32> = entries.clone().map(id).collect();
            let named = |id| Some(OwnerName { id, name: name(id)?.to_vec() });
            ids.into_iter().filter_map(named).collect()
        };
        let users = owners(|entry| entry.metadata.uid, &|id| self.owners.user(id));
        let groups = owners(|entry| entry.metadata.gid, &|id| self.owners.group(id));
        let mut scratch = self.writer.lend()?;
        let last = last.map_or_else(Outline::default, |last| Outline::of(&self.reader, last, usize::MAX));
        let owners = (users.as_slice(), groups.as_slice());
        let content = tree::store(&self.writer, &mut scratch, &self.repo.chunker, owners, entries, last);
        self.writer.give_back(scratch);
        content
    }

    /// Backs up one entry of `dir`. `kind` is what the directory says it is; `previous` is the parent's entry of the
    /// same name.
    pub fn entry(
        &self,
        dir: &Dir,
        name: &CStr,
        kind: Option<FileKind>,
        path: &DirPath<'_>,
        device: u64,
        previous: Option<&Entry>,
    ) -> Result<Outcome> {
        // A new file is opened in any case, and then tells all about itself.
        if previous.is_none() && kind == Some(FileKind::File) {
            if self.is_excluded(path, name, false) {
                return Ok(Outcome::LeftOut);
            }
            self.check_cancel()?;
            let entry = self.file(dir, name, path, None, None)?;
            return Ok(self.outcome(entry, name, path, None));
        }
        let stat = match dir.stat(name) {
            Ok(stat) => stat,
            Err(error) => {
                self.warn_io(path.join(name.to_bytes()), "look at it", &error);
                return Ok(Outcome::LeftOut);
            }
        };
        let is_dir = stat.kind == FileKind::Directory;
        if stat.kind == FileKind::Socket || self.is_own(&stat) || self.is_excluded(path, name, is_dir) {
            return Ok(Outcome::LeftOut);
        }
        if is_dir {
            let entry = self.sub_directory(dir, name, path, device, stat, previous)?;
            return Ok(Outcome::of(entry, previous));
        }
        let is_unmodified = |previous: &Entry| {
            self.is_unmodified(previous, &stat)
                && self.captures.is_unmodified((dir, name), previous, &stat, self.racy_from)
                && self.is_whole(previous)
        };
        if previous.is_some_and(is_unmodified) {
            self.count(path, name.to_bytes(), FileState::Unmodified, stat_bytes(&stat));
            self.send(&Event::Progress { files: 1, bytes: stat_bytes(&stat) });
            return Ok(unmodified(previous, &stat));
        }
        self.check_cancel()?;
        let entry = match stat.kind {
            FileKind::File => self.file(dir, name, path, Some(&stat), previous)?,
            _ => self.special(dir, name, path, &stat),
        };
        Ok(self.outcome(entry, name, path, previous))
    }

    pub fn is_excluded(&self, path: &DirPath<'_>, name: &CStr, is_dir: bool) -> bool {
        !self.options.exclude.is_empty() && self.options.exclude.excludes(&path.join(name.to_bytes()), is_dir)
    }

    /// Returns whether this is the repository itself or the cache.
    pub fn is_own(&self, stat: &Stat) -> bool {
        self.repo.own_files.contains(&stat.identity())
    }

    /// Counts what was read and compares it with what the parent has.
    fn outcome(&self, entry: Option<Entry>, name: &CStr, path: &DirPath<'_>, previous: Option<&Entry>) -> Outcome {
        let outcome = Outcome::of(entry, previous);
        let (state, bytes) = match (&outcome, previous) {
            (Outcome::LeftOut, _) => return outcome,
            (Outcome::Same, _) => (FileState::Unmodified, previous.and_then(|entry| entry.node.content())),
            (Outcome::Read(entry), None) => (FileState::New, entry.node.content()),
            (Outcome::Read(entry), Some(_)) => (FileState::Changed, entry.node.content()),
        };
        self.count(path, name.to_bytes(), state, bytes.map_or(0, Content::bytes));
        self.send(&Event::Progress { files: 1, bytes: 0 });
        outcome
    }

    /// Returns whether the parent's entry tells all there is to know: then the file is not opened.
    fn is_unmodified(&self, previous: &Entry, stat: &Stat) -> bool {
        let (old, new) = (&previous.metadata, &stat.metadata);
        let same_kind = match (&previous.node, stat.kind) {
            (Node::File { content, capture, .. }, FileKind::File) => capture.is_some() || content.bytes() == stat.size,
            (Node::Symlink { target }, FileKind::Symlink) => target.len() as u64 == stat.size,
            (Node::Fifo, FileKind::Fifo) => true,
            (Node::CharDevice { device }, FileKind::CharDevice)
            | (Node::BlockDevice { device }, FileKind::BlockDevice) => *device == stat.rdev,
            _ => false,
        };
        same_kind
            && !self.options.force
            && old.mtime == new.mtime
            && old.ctime == new.ctime
            && old.inode == new.inode
            && old.link_device.is_some() == new.link_device.is_some()
            && new.mtime < self.racy_from
    }

    /// Returns whether everything is there that an entry of the parent refers to, if that is in doubt.
    fn is_whole(&self, previous: &Entry) -> bool {
        let (Some(pieces), Node::File { content, .. }) = (&self.doubts, &previous.node) else { return true };
        let is_listed = |id: &ShortId, _| self.reader.locate(id, ChunkKind::Data).map(drop);
        let Err(error) = pieces.data_bytes(&self.reader, content, &is_listed) else { return true };
        if !self.told_of_loss.swap(true, Ordering::Relaxed) {
            self.tell_of_loss(&error);
        }
        false
    }

    fn count(&self, path: &DirPath<'_>, name: &[u8], state: FileState, bytes: u64) {
        let by_state = match state {
            FileState::New => &self.tally.new,
            FileState::Changed => &self.tally.changed,
            FileState::Unmodified => &self.tally.unmodified,
        };
        by_state.fetch_add(1, Ordering::Relaxed);
        self.tally.files.fetch_add(1, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.options.file_events {
            self.send(&Event::File { path: path.join(name), state });
        }
    }

    fn sub_directory(
        &self,
        dir: &Dir,
        name: &CStr,
        path: &DirPath<'_>,
        device: u64,
        stat: Stat,
        previous: Option<&Entry>,
    ) -> Result<Option<Entry>> {
        let own_path = path.below(name.to_bytes());
        let opened = dir.open_child(name).and_then(|child| Ok((child.xattrs_self()?, child)));
        let (xattrs, child) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.warn_io(path.join(name.to_bytes()), "open the folder", &error);
                return Ok(None);
            }
        };
        let is_left_empty = (self.options.one_file_system && stat.device != device)
            || (self.options.exclude_caches && is_cache_dir(&child));
        let content = if is_left_empty {
            self.tally.directories.fetch_add(1, Ordering::Relaxed);
            self.store_tree(std::iter::empty(), None)?
        } else {
            let previous = previous.and_then(|entry| match &entry.node {
                Node::Directory { content } => Some(content),
                _ => None,
            });
            match self.directory(&child, &own_path, device, previous)? {
                Some(content) => content,
                None => return Ok(None),
            }
        };
        let mut metadata = stat.metadata;
        metadata.xattrs = xattrs;
        Ok(Some(Entry { name: name.to_bytes().to_vec(), metadata, node: Node::Directory { content } }))
    }

    /// Backs up a link, pipe or device.
    fn special(&self, dir: &Dir, name: &CStr, path: &DirPath<'_>, stat: &Stat) -> Option<Entry> {
        let node = match stat.kind {
            FileKind::Symlink => dir.read_link(name).map(|target| Node::Symlink { target }),
            FileKind::Fifo => Ok(Node::Fifo),
            FileKind::CharDevice => Ok(Node::CharDevice { device: stat.rdev }),
            FileKind::BlockDevice => Ok(Node::BlockDevice { device: stat.rdev }),
            FileKind::File | FileKind::Directory | FileKind::Socket => return None,
        };
        let node_and_xattrs = node.and_then(|node| Ok((node, dir.xattrs(name)?)));
        match node_and_xattrs {
            Ok((node, xattrs)) => {
                let mut metadata = stat.metadata.clone();
                metadata.xattrs = xattrs;
                Some(Entry { name: name.to_bytes().to_vec(), metadata, node })
            }
            Err(error) => {
                self.warn_io(path.join(name.to_bytes()), "read it", &error);
                None
            }
        }
    }

    /// Returns what another link to the same inode is, if one was read.
    pub fn linked(&self, stat: &Stat, beside: [u8; 16]) -> Option<Node> {
        let file = linked_file(stat, beside)?;
        lock(&self.links).get(&file).cloned()
    }

    /// Remembers what an inode with more than one link is, unless it changed while it was read.
    pub fn remember_link(&self, stat: &Stat, beside: [u8; 16], node: &Node, file: &std::fs::File) {
        if let Some(linked) = linked_file(stat, beside)
            && capture::is_of_any_name(node)
            && Stat::of_file(file).is_ok_and(|after| same_file_state(stat, &after))
        {
            let mut links = lock(&self.links);
            if links.len() < LINKS_MAX {
                links.insert(linked, node.clone());
            }
        }
    }
}

/// Returns what becomes of an unmodified entry.
///
/// On many systems a device has another number after each start, and to read all files of several names again for that would
/// be too much. But an old number must not stay: it may be another device's today, and names that are found elsewhere now
/// would no longer be seen to be of the same file. So the entry is taken over with the number of today.
fn unmodified(previous: Option<&Entry>, stat: &Stat) -> Outcome {
    let link_device = stat.metadata.link_device;
    match previous {
        Some(previous) if previous.metadata.link_device != link_device => {
            let metadata = Metadata { link_device, ..previous.metadata.clone() };
            Outcome::Read(Box::new(Entry { metadata, ..previous.clone() }))
        }
        _ => Outcome::Same,
    }
}

const fn stat_bytes(stat: &Stat) -> u64 {
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
