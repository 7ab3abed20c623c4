//! The state of one backup, and the walk over directories: they fork and join on rayon.

use std::ffi::CStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use rustix::io::Errno;

use crate::backup::batch::Batches;
use crate::backup::capture::{self, Captures};
use crate::backup::links::Links;
use crate::backup::options::{BackupOptions, Warning};
use crate::backup::outcome::{Outcome, Spot, content_of, stat_bytes, unmodified};
use crate::backup::roots::Root;
use crate::backup::rules::{Devices, Emptied, Rules};
pub(super) use crate::base::DirPath;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{Event, FileState, ShortId, lock, shown};
use crate::catalog::SketchStore;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::index::ChunkKind;
use crate::format::snapshot::Counts;
use crate::format::tree::{Entry, Metadata, Node, Timestamp, Tree, Xattr};
use crate::repo::Repository;
use crate::source::names::Names;
use crate::source::{Dir, FileKind, Owners, Stat, Xattrs, inode_flags};
use crate::tree::{self, PieceWalk};

/// What is counted while many threads work.
#[derive(Default)]
pub(super) struct Tally {
    pub files: AtomicU64,
    pub directories: AtomicU64,
    pub bytes: AtomicU64,
    pub new: AtomicU64,
    pub changed: AtomicU64,
    pub unmodified: AtomicU64,
    pub sockets: AtomicU64,
}

/// One backup at work.
pub(super) struct Engine<'a> {
    pub repo: &'a Repository,
    pub options: &'a BackupOptions,
    pub rules: Arc<Rules>,
    pub writer: ChunkWriter,
    pub reader: Arc<ChunkReader>,
    /// Where the looks of large files' chunks are kept; `None` without a cache.
    pub sketches: Option<SketchStore>,
    pub owners: Owners,
    pub links: Links,
    pub batches: Mutex<Batches>,
    /// Files changed at this time or later may have changed again right after the parent looked at them.
    pub racy_from: Timestamp,
    /// Set if the parent is in doubt: then its files are taken over only if the index lists all their chunks.
    pub doubts: Option<PieceWalk>,
    pub told_of_loss: AtomicBool,
    pub told_of_files: AtomicBool,
    pub tally: Tally,
    pub captures: Captures,
    pub warnings: Mutex<Vec<Warning>>,
    pub notes: Mutex<Vec<Warning>>,
}

impl Engine<'_> {
    pub fn send(&self, event: &Event) {
        if let Some(observer) = &self.options.observer {
            observer.event(event);
        }
    }

    /// Notes a source that could not be read, or not in peace.
    pub fn warn(&self, path: PathBuf, message: String) {
        let object = shown(path.as_os_str().as_bytes());
        self.send(&Event::Warning { object, path: Some(path.clone()), message: message.clone() });
        lock(&self.warnings).push(Warning { path, message });
    }

    /// Notes something that needs no action.
    pub fn tell(&self, path: PathBuf, message: String) {
        let object = shown(path.as_os_str().as_bytes());
        self.send(&Event::Note { object, path: Some(path.clone()), message: message.clone() });
        lock(&self.notes).push(Warning { path, message });
    }

    pub fn warn_io(&self, path: PathBuf, doing: &str, error: &io::Error) {
        let is_out_of_files = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
        let message = match error.kind() {
            // What to do is said once, for it is the same for all of them.
            _ if is_out_of_files && self.told_of_files.swap(true, Ordering::Relaxed) => {
                format!("{doing}: {error}; left out")
            }
            _ if is_out_of_files => {
                format!("{doing}: {error}; left out. Raise the limit of open files (ulimit -n) and back up again")
            }
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
        self.send(&Event::Warning { object: "the parent snapshot".into(), path: None, message });
    }

    /// Backs up everything in `dir` and returns its stored tree; `None` if there is nothing to store of it. `named` tells which
    /// paths in it are named.
    pub fn directory(
        &self,
        dir: &Dir,
        path: &DirPath<'_>,
        devices: Devices,
        parent: Option<&Content>,
        named: Option<&Root>,
    ) -> Result<Option<Content>> {
        self.check_cancel()?;
        if self.is_too_deep(path) {
            return Ok(None);
        }
        let names = match dir.names() {
            Ok(names) => names,
            Err(error) => {
                self.warn_io(path.join(b""), "list the folder", &error);
                return named.map_or(Ok(None), |root| self.above(root, path, parent));
            }
        };
        let names = match named {
            Some(root) => root.names(names),
            None => names,
        };
        self.folder(Some(dir), &names, path, devices, parent, named)
    }

    fn is_too_deep(&self, path: &DirPath<'_>) -> bool {
        let is_too_deep = path.depth > TREE_DEPTH_MAX;
        if is_too_deep {
            self.warn(path.join(b""), format!("is nested deeper than {TREE_DEPTH_MAX} folders; left out"));
        }
        is_too_deep
    }

    /// Backs up these names of a folder and returns its stored tree. Without `dir`, only what is `named`; then there is no
    /// tree if nothing of that could be saved.
    pub fn folder(
        &self,
        dir: Option<&Dir>,
        names: &Names,
        path: &DirPath<'_>,
        devices: Devices,
        parent: Option<&Content>,
        named: Option<&Root>,
    ) -> Result<Option<Content>> {
        let parent_tree = self.parent_tree(parent);
        let old_entries = parent_tree.as_ref().map_or(&[][..], |tree| &tree.entries);
        let child = |name: &CStr| named.and_then(|root| root.child(name.to_bytes()));
        let back_up = |index: usize| {
            let name = names.get(index);
            let previous = capture::previous(old_entries, index, name.to_bytes());
            let may_open = !capture::is_taken(name.to_bytes(), |other| names.position(other).is_some());
            if !may_open && !self.options.whatsapp_keys.is_empty() {
                let message = "another file has the name that the database inside would have, or would have it too; saved \
                               as it is, encrypted";
                self.tell(path.join(name.to_bytes()), message.into());
            }
            let spot = Spot { name, path, devices, previous, may_open };
            let outcome = match (child(name), dir) {
                (Some(root), dir) => self.rooted(root, dir, spot)?,
                (None, Some(dir)) => self.entry(dir, spot, names.kind(index), None)?,
                (None, None) => Outcome::LeftOut,
            };
            Ok((previous, outcome))
        };
        // What lies beside a database waits until it is known how that was saved.
        let companions = self.captures.companions(names);
        // Nightly copies of one database resemble each other: one after the other, each is compared with the one before.
        let is_copy = |index: usize| self.captures.may_open(names.get(index).to_bytes());
        let wait = |index: usize| {
            is_copy(index) || companions.binary_search_by_key(&index, |(companion, _)| *companion).is_ok()
        };
        let mut outcomes: Vec<(Option<&Entry>, Outcome)> = (0..names.len())
            .into_par_iter()
            .map(|index| if wait(index) { Ok((None, Outcome::LeftOut)) } else { back_up(index) })
            .collect::<Result<_>>()?;
        for index in (0..names.len()).filter(|&index| is_copy(index)) {
            outcomes[index] = back_up(index)?;
            let (previous, outcome) = &outcomes[index];
            let is_new = matches!(outcome, Outcome::Read(_));
            self.captures.note_sibling(path, names.get(index), outcome.entry(*previous), is_new);
        }
        self.captures.forget_siblings(path);
        let mut inside_databases = 0;
        for (companion, database) in companions {
            let (previous, outcome) = &outcomes[database];
            let (name, of) = (names.get(companion), path.join(names.get(database).to_bytes()));
            let opened = if dir.is_none() { Dir::open(&path.join(b"")).ok() } else { None };
            let is_companion = |dir| self.captures.is_companion(dir, name, outcome.entry(*previous), &of);
            if dir.or(opened.as_ref()).is_some_and(is_companion) {
                lock(&self.captures.companions).push(path.join(name.to_bytes()));
                inside_databases += 1;
            } else {
                outcomes[companion] = back_up(companion)?;
            }
        }
        outcomes.retain(|(_, outcome)| !matches!(outcome, Outcome::LeftOut));
        if dir.is_none() && outcomes.is_empty() {
            return Ok(None);
        }
        // What is in a database is not missing; an encrypted file is, under the name that it has on disk.
        let is_renamed = |name: &[u8]| names.position(name).is_none();
        let all_entries = outcomes.iter().filter_map(|(previous, outcome)| outcome.entry(*previous));
        let left_out = dir.is_none()
            || outcomes.len() + inside_databases < names.len()
            || all_entries.clone().any(|entry| is_renamed(&entry.name));
        if dir.is_some() {
            self.tally.directories.fetch_add(1, Ordering::Relaxed);
        }
        let all_same = outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Same));
        if let (Some(parent), Some(tree)) = (parent, &parent_tree)
            && all_same
            && left_out == tree.left_out
            && outcomes.len() == old_entries.len()
        {
            return Ok(Some(parent.clone()));
        }
        self.store_tree(path, all_entries.collect(), left_out, parent).map(Some)
    }

    /// Backs up one entry of `dir`. `kind` is what the directory says it is; `named` is set if something in it is named.
    pub fn entry(&self, dir: &Dir, spot: Spot<'_>, kind: Option<FileKind>, named: Option<&Root>) -> Result<Outcome> {
        let Spot { name, path, previous, .. } = spot;
        // A new file is opened in any case, and then tells all about itself.
        if previous.is_none() && kind == Some(FileKind::File) {
            if self.rules.excludes(path, name, false) {
                return Ok(Outcome::LeftOut);
            }
            self.check_cancel()?;
            let entry = self.file(dir, spot, None)?;
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
        if stat.kind == FileKind::Socket {
            self.tally.sockets.fetch_add(1, Ordering::Relaxed);
            return Ok(Outcome::LeftOut);
        }
        if self.rules.excludes(path, name, is_dir) {
            return Ok(Outcome::LeftOut);
        }
        if self.rules.is_own(&stat) {
            self.tell(path.join(name.to_bytes()), "is this repository itself, or its cache; left out".into());
            return Ok(Outcome::LeftOut);
        }
        if is_dir {
            return self.sub_directory(dir, spot, stat, named);
        }
        self.unruled_entry(dir, spot, &stat)
    }

    /// Backs up an entry, no directory, that no rule leaves out by its name.
    pub fn unruled_entry(&self, dir: &Dir, spot: Spot<'_>, stat: &Stat) -> Result<Outcome> {
        let Spot { name, path, previous, .. } = spot;
        let is_unmodified = |previous: &Entry| {
            self.is_unmodified(previous, stat)
                && self.captures.is_unmodified((dir, name), previous, stat, self.racy_from)
                && self.is_whole(previous)
        };
        if previous.is_some_and(is_unmodified) {
            self.count(path, name.to_bytes(), FileState::Unmodified, stat_bytes(stat));
            self.send(&Event::Progress { files: 1, bytes: stat_bytes(stat) });
            return Ok(unmodified(previous, stat));
        }
        self.check_cancel()?;
        let entry = match stat.kind {
            FileKind::File => self.file(dir, spot, Some(stat))?,
            _ => self.special(dir, name, path, stat),
        };
        Ok(self.outcome(entry, name, path, previous))
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
            && (self.options.ignore_ctime || old.ctime == new.ctime)
            && (self.options.ignore_inode || old.inode == new.inode)
            && old.link_device.is_some() == new.link_device.is_some()
            && new.mtime < self.racy_from
            // One that took its place with its times kept has another ctime, but for a change within the same tick.
            && (self.options.ignore_ctime || new.ctime < self.racy_from)
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

    fn sub_directory(&self, dir: &Dir, spot: Spot<'_>, stat: Stat, named: Option<&Root>) -> Result<Outcome> {
        let Spot { name, path, previous, .. } = spot;
        let own_path = path.below(name.to_bytes());
        if self.is_too_deep(&own_path) {
            return Ok(Outcome::LeftOut);
        }
        if self.rules.is_elsewhere(&stat, spot.devices) {
            // It is not even opened: a file system on a network may hang.
            let content = self.emptied(&own_path, named, content_of(previous))?;
            return Ok(spot.folder(stat.metadata, content));
        }
        let child = match dir.open_child(name) {
            Ok(child) => child,
            Err(error) => {
                self.warn_io(path.join(name.to_bytes()), "open the folder", &error);
                return Ok(Outcome::LeftOut);
            }
        };
        let previous = content_of(previous);
        let emptied = self.rules.empties(&child, &stat, spot.devices);
        if let Some(Emptied::KernelInterface(interface)) = emptied {
            let message = format!("is {interface}, an interface of the kernel and no folder of files; left empty");
            self.tell(own_path.join(b""), message);
        }
        let content = match (emptied, named) {
            (Some(_), named) => Some(self.emptied(&own_path, named, previous)?),
            (None, named) => self.directory(&child, &own_path, spot.devices.below(stat.device), previous, named)?,
        };
        let Some(content) = content else { return Ok(Outcome::LeftOut) };
        let metadata = self.directory_metadata(&child, stat.metadata, || own_path.join(b""));
        Ok(spot.folder(metadata, content))
    }

    /// Returns the tree of a folder of which nothing is saved but what is named in it.
    fn emptied(&self, path: &DirPath<'_>, named: Option<&Root>, previous: Option<&Content>) -> Result<Content> {
        self.tally.directories.fetch_add(1, Ordering::Relaxed);
        let content = named.map_or(Ok(None), |root| self.above(root, path, previous))?;
        content.map_or_else(|| self.store_tree(path, Vec::new(), true, None), Ok)
    }

    /// Completes what was found of a directory with what its descriptor tells.
    pub fn directory_metadata(&self, dir: &Dir, stat: Metadata, path: impl Fn() -> PathBuf) -> Metadata {
        let xattrs = self.told(dir.xattrs_self(), path);
        Metadata { xattrs, flags: inode_flags(dir), ..stat }
    }

    /// Returns the attributes that could be read, and warns of the others.
    pub fn told(&self, xattrs: Xattrs, path: impl Fn() -> PathBuf) -> Vec<Xattr> {
        if let Some(problem) = xattrs.problem {
            self.warn(path(), format!("{problem}; all else of it is saved"));
        }
        xattrs.list
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
        match node {
            Ok(node) => {
                let xattrs = self.told(dir.xattrs(name), || path.join(name.to_bytes()));
                let metadata = Metadata { xattrs, ..stat.metadata.clone() };
                Some(Entry { name: name.to_bytes().to_vec(), metadata, node })
            }
            Err(error) => {
                self.warn_io(path.join(name.to_bytes()), "read it", &error);
                None
            }
        }
    }
}
