//! A restore from beginning to end: directories fork and join, metadata of a directory comes after all in it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{DirPath, Event, lock};
use crate::chunks::ChunkReader;
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node};
use crate::repo::Repository;
use crate::restore::options::{RestoreOptions, RestoreReport};
use crate::restore::taker::Taker;
use crate::restore::target_dir::{Applier, LocalOwners, TargetDir};
use crate::snapshot::SnapshotPath;
use crate::source::{Reach, Selection};
use crate::tree::{self, PieceWalk};

/// A folder at the target that is made when the first thing in it is.
pub(super) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    path: DirPath<'a>,
    dir: Mutex<Option<Arc<TargetDir>>>,
}

impl Place<'_> {
    /// Returns the folder, made if it was not there.
    pub fn make(&self) -> Result<Arc<TargetDir>> {
        let mut dir = lock(&self.dir);
        if let Some(dir) = &*dir {
            return Ok(Arc::clone(dir));
        }
        let above = self.above.map(Place::make).transpose()?;
        let above = above.ok_or_else(|| Error::UnsafeTarget { path: "/".into(), reason: "has no folder".into() })?;
        let made = Arc::new(above.make_dir(self.path.name)?.0);
        Ok(Arc::clone(dir.insert(made)))
    }

    /// Returns the folder if it was made.
    fn made(&self) -> Option<Arc<TargetDir>> {
        lock(&self.dir).clone()
    }

    /// Returns the path from the snapshot's root of an entry in this folder.
    pub fn join(&self, name: &[u8]) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> Vec<Vec<u8>> {
        match self.above {
            Some(above) => {
                let mut names = above.names();
                names.push(self.path.name.to_vec());
                names
            }
            None => Vec::new(),
        }
    }
}

/// Another link to a file that is restored elsewhere.
struct LaterLink {
    folder: Vec<Vec<u8>>,
    entry: Entry,
    first: PlaceNames,
}

/// Device and inode, by which a snapshot tells links to one file.
type LinkKey = (u64, u64);
/// A place below the root: the folder's names, and the name in it.
type PlaceNames = (Vec<Vec<u8>>, Vec<u8>);

/// Where a restore goes.
pub(crate) enum Destination<'a> {
    /// Below a folder, which is made if it is not there.
    Folder(&'a Path),
    /// Into whatever takes it; nothing is made.
    Taker(&'a dyn Taker),
}

impl<'a> Destination<'a> {
    fn taker(&self) -> Option<&'a dyn Taker> {
        match self {
            Self::Folder(_) => None,
            Self::Taker(taker) => Some(*taker),
        }
    }
}

/// One restore at work.
pub(super) struct Restore<'a> {
    pub options: &'a RestoreOptions,
    pub taker: Option<&'a dyn Taker>,
    pub reader: ChunkReader,
    pub applier: Applier,
    pub buffers: Mutex<Vec<Vec<u8>>>,
    pub pieces: PieceWalk,
    selection: Selection,
    links: Mutex<HashMap<LinkKey, PlaceNames>>,
    later: Mutex<Vec<LaterLink>>,
    pub files: AtomicU64,
    pub files_kept: AtomicU64,
    pub files_verified: AtomicU64,
    pub bytes: AtomicU64,
    directories: AtomicU64,
    warnings: Mutex<Vec<(String, String)>>,
}

impl Repository {
    /// Restores a snapshot, or a path of one, below `target`, which is made if it is not there.
    ///
    /// A snapshot's absolute paths are rebuilt below `target`; with a path, the content of that folder (or the file)
    /// is put into `target` itself. Nothing outside `target` is written and no symbolic link is followed.
    ///
    /// A file that cannot be restored is named in the report's warnings, and the others are restored.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `PathNotFound`, `UnsafeTarget`, `Cancelled`, or a target that is full.
    pub fn restore(&self, what: &SnapshotPath, target: &Path, options: &RestoreOptions) -> Result<RestoreReport> {
        self.restore_to(what, &Destination::Folder(target), options)
    }

    /// As [`restore`](Self::restore), to wherever.
    pub(crate) fn restore_to(
        &self,
        what: &SnapshotPath,
        to: &Destination<'_>,
        options: &RestoreOptions,
    ) -> Result<RestoreReport> {
        let begun = Instant::now();
        let snapshot = self.snapshot(&what.snapshot)?;
        let restore = Restore {
            options,
            taker: to.taker(),
            reader: self.reader(),
            applier: Applier::new(options.numeric_owner),
            buffers: Mutex::default(),
            pieces: PieceWalk::default(),
            selection: Selection { include: options.include.clone(), exclude: options.exclude.clone() },
            links: Mutex::default(),
            later: Mutex::default(),
            files: AtomicU64::new(0),
            files_kept: AtomicU64::new(0),
            files_verified: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            directories: AtomicU64::new(0),
            warnings: Mutex::default(),
        };
        let names = what.names();
        let chosen = tree::find(&restore.reader, &snapshot.record.root, &names, &what.snapshot)?;
        if what.path.is_none() {
            let (files, bytes) = (snapshot.record.counts.files, snapshot.record.counts.bytes);
            restore.send(&Event::Total { files, bytes });
        }
        let (is_new, dir) = match to {
            Destination::Taker(_) => (false, None),
            Destination::Folder(target) if options.dry_run => {
                // Nothing is made, but a target that would be refused is refused.
                TargetDir::open_existing_root(target)?;
                (!target.exists(), None)
            }
            Destination::Folder(target) => (!target.exists(), Some(Arc::new(TargetDir::open_root(target)?))),
        };
        let prefix: Vec<u8> = match names.split_last() {
            None => b"/".to_vec(),
            Some((_, above)) if !matches!(&chosen, Some(Entry { node: Node::Directory { .. }, .. })) => {
                above.iter().fold(b"/".to_vec(), |path, name| [&path, *name, b"/"].concat())
            }
            Some(_) => names.iter().fold(Vec::new(), |path, name| [&path, b"/".as_slice(), name].concat()),
        };
        let root = Place { above: None, path: DirPath::root(&prefix), dir: Mutex::new(dir) };
        let reach = restore.selection.root();
        let pool = crate::pool::new(options.threads)?;
        pool.install(|| match &chosen {
            None => restore.directory(&snapshot.record.root, &root, reach),
            Some(Entry { node: Node::Directory { content }, metadata, .. }) => {
                restore.directory(content, &root, reach)?;
                if is_new && let Some(dir) = root.made() {
                    restore.apply_to_dir(&dir, metadata, &LocalOwners::default());
                }
                Ok(())
            }
            Some(entry) => restore.entry(entry, &root, reach, &LocalOwners::default()),
        })?;
        if let Some(root) = root.made() {
            restore.link_later(&root)?;
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut warnings = std::mem::take(&mut *lock(&restore.warnings));
        warnings.sort();
        Ok(RestoreReport {
            files: count(&restore.files),
            directories: count(&restore.directories),
            bytes: count(&restore.bytes),
            files_kept: count(&restore.files_kept),
            files_verified: count(&restore.files_verified),
            packs_healed: self.healer.tell(options.observer.as_ref()),
            duration: begun.elapsed(),
            warnings,
        })
    }
}

impl Restore<'_> {
    pub fn send(&self, event: &Event) {
        if let Some(observer) = &self.options.observer {
            observer.event(event);
        }
    }

    pub fn warn(&self, path: &Path, message: String) {
        let object = path.display().to_string();
        self.send(&Event::Warning { object: object.clone(), message: message.clone() });
        lock(&self.warnings).push((object, message));
    }

    pub fn check_cancel(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Lets an error end the restore if nothing after it can succeed; any other becomes a warning.
    fn unless_fatal(&self, path: impl FnOnce() -> PathBuf, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(Error::File { source, path, action }) if source.kind() == std::io::ErrorKind::StorageFull => {
                Err(Error::File { path, action, source })
            }
            Err(Error::Store(error)) if error.kind == StoreErrorKind::Io => Err(error.into()),
            Err(error) => {
                self.warn(&path(), error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Restores everything in a tree. `reach`: what the patterns say of the folder itself.
    fn directory(&self, content: &Content, place: &Place<'_>, reach: Reach) -> Result<()> {
        self.check_cancel()?;
        if place.path.depth > TREE_DEPTH_MAX {
            return Err(tree::too_deep(place.join(b"").display().to_string()));
        }
        let tree = tree::load(&self.reader, content)?;
        let owners = self.applier.local_owners(&tree);
        tree.entries.par_iter().try_for_each(|entry| {
            let outcome = self.entry(entry, place, reach, &owners);
            self.unless_fatal(|| place.join(&entry.name), outcome)
        })
    }

    fn entry(&self, entry: &Entry, place: &Place<'_>, above: Reach, owners: &LocalOwners) -> Result<()> {
        let is_dir = matches!(entry.node, Node::Directory { .. });
        let mut reach = above;
        if !self.selection.is_everything() {
            reach = self.selection.step(above, &place.join(&entry.name), is_dir);
            if reach == Reach::Excluded || (reach == Reach::Open && !is_dir) {
                return Ok(());
            }
        }
        match &entry.node {
            Node::Directory { content } => self.sub_directory(entry, content, place, reach, owners),
            _ if self.is_later_link(entry, place) => Ok(()),
            _ => self.leaf(entry, place, owners),
        }
    }

    fn sub_directory(
        &self,
        entry: &Entry,
        content: &Content,
        above: &Place<'_>,
        reach: Reach,
        owners: &LocalOwners,
    ) -> Result<()> {
        let place = Place { above: Some(above), path: above.path.below(&entry.name), dir: Mutex::default() };
        if reach == Reach::Selected {
            self.directories.fetch_add(1, Ordering::Relaxed);
            if !self.options.dry_run && self.taker.is_none() {
                place.make()?;
            }
        }
        let outcome = self.directory(content, &place, reach);
        if let Some(dir) = place.made() {
            self.apply_to_dir(&dir, &entry.metadata, owners);
        }
        outcome
    }

    fn apply_to_dir(&self, dir: &TargetDir, metadata: &Metadata, owners: &LocalOwners) {
        for problem in self.applier.dir(dir, metadata, owners) {
            self.warn(dir.path(), problem.to_string());
        }
    }

    /// Returns whether another link to the same inode is restored already; then this one is linked to it at the end.
    fn is_later_link(&self, entry: &Entry, place: &Place<'_>) -> bool {
        // Where nothing is made there is nothing to link to: each name stands for itself.
        let makes = !self.options.dry_run && self.taker.is_none();
        let Some(device) = entry.metadata.link_device.filter(|_| makes) else { return false };
        let mut links = lock(&self.links);
        match links.get(&(device, entry.metadata.inode)) {
            Some(first) => {
                let later = LaterLink { folder: place.names(), entry: entry.clone(), first: first.clone() };
                lock(&self.later).push(later);
                true
            }
            None => {
                links.insert((device, entry.metadata.inode), (place.names(), entry.name.clone()));
                false
            }
        }
    }

    /// Makes the other links, now that every first one is there.
    fn link_later(&self, root: &TargetDir) -> Result<()> {
        for link in std::mem::take(&mut *lock(&self.later)) {
            self.check_cancel()?;
            let path = || {
                let names = link.folder.iter().chain([&link.entry.name]);
                names.fold(PathBuf::from("/"), |path, name| path.join(OsStr::from_bytes(name)))
            };
            let outcome = self.link(root, &link);
            self.unless_fatal(path, outcome)?;
        }
        Ok(())
    }

    fn link(&self, root: &TargetDir, link: &LaterLink) -> Result<()> {
        let first_folder = open_below(root, &link.first.0, false)?;
        let folder = open_below(root, &link.folder, true)?;
        // The folder has its metadata already; what is done in it now must not show in its times.
        let times = folder.times()?;
        let outcome = self.link_in(&folder, &first_folder, link);
        folder.set_times(&times)?;
        outcome
    }

    fn link_in(&self, folder: &TargetDir, first_folder: &TargetDir, link: &LaterLink) -> Result<()> {
        if let Some(existing) = folder.stat(&link.entry.name)? {
            let first = first_folder.stat(&link.first.1)?;
            let is_linked = first.is_some_and(|first| {
                first.metadata.inode == existing.metadata.inode && first.device == existing.device
            });
            if is_linked || self.keeps(&existing, &link.entry) {
                self.files_kept.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            folder.remove_non_dir(&link.entry.name)?;
        }
        folder.link(&link.entry.name, first_folder, &link.first.1)?;
        self.files.fetch_add(1, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes: link.entry.node.content().map_or(0, Content::bytes) });
        Ok(())
    }
}

/// Opens a folder below `root`, one name at a time, no link followed.
fn open_below(root: &TargetDir, names: &[Vec<u8>], make: bool) -> Result<TargetDir> {
    let mut dir = root.try_clone()?;
    for name in names {
        dir = if make {
            dir.make_dir(name)?.0
        } else {
            dir.open_dir(name)?.ok_or_else(|| Error::UnsafeTarget {
                path: OsStr::from_bytes(name).into(),
                reason: "the folder was removed during the restore; run it again".into(),
            })?
        };
    }
    Ok(dir)
}
