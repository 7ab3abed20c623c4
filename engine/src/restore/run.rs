//! A restore from beginning to end: directories fork and join, metadata of a directory comes after all in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;

use crate::base::limits::{SMALL_OBJECT_BYTES_MAX, TREE_DEPTH_MAX};
use crate::base::{DirPath, Event, ObjectName, lock};
use crate::chunks::ChunkReader;
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node};
use crate::repo::Repository;
use crate::restore::links::Links;
use crate::restore::options::{RestoreOptions, RestoreReport};
use crate::restore::taker::Taker;
use crate::restore::target_dir::{Applier, LocalOwners, TargetDir};
use crate::small;
use crate::snapshot::SnapshotPath;
use crate::source::{Reach, Selection};
use crate::store::Store;
use crate::tree::{self, PieceWalk};

/// After so many failures of the store a restore ends: it is not one bad place of a disk.
const UNREADABLE_MAX: u64 = 1000;

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

    /// Returns the names of the folders from the target down to this one.
    pub fn names(&self) -> Vec<Vec<u8>> {
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
    pub links: Links,
    store: &'a dyn Store,
    selection: Selection,
    pub files: AtomicU64,
    pub files_kept: AtomicU64,
    pub files_verified: AtomicU64,
    pub bytes: AtomicU64,
    directories: AtomicU64,
    /// How often the store did not give out something.
    unreadable: AtomicU64,
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
            links: Links::default(),
            store: self.store.as_ref(),
            selection: Selection { include: options.include.clone(), exclude: options.exclude.clone() },
            files: AtomicU64::new(0),
            files_kept: AtomicU64::new(0),
            files_verified: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            directories: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
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
        let pool = crate::pool::within(self.memory_bytes, options.threads)?;
        pool.install(|| {
            match &chosen {
                None => restore.directory(&snapshot.record.root, &root, reach)?,
                Some(Entry { node: Node::Directory { content }, metadata, .. }) => {
                    restore.directory(content, &root, reach)?;
                    if is_new && let Some(dir) = root.made() {
                        restore.apply_to_dir(&dir, metadata, &LocalOwners::default());
                    }
                }
                Some(entry) => restore.entry(entry, &root, reach, &LocalOwners::default())?,
            }
            root.made().map_or(Ok(()), |root| restore.link_later(&root))
        })?;
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
        self.send(&Event::Warning { object: object.clone(), path: None, message: message.clone() });
        lock(&self.warnings).push((object, message));
    }

    pub fn check_cancel(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Lets an error end the restore if nothing after it can succeed; any other becomes a warning of this file alone.
    pub fn unless_fatal(&self, path: impl FnOnce() -> PathBuf, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(Error::File { source, path, action }) if source.kind() == std::io::ErrorKind::StorageFull => {
                Err(Error::File { path, action, source })
            }
            Err(Error::Store(error)) if error.kind == StoreErrorKind::Io && !self.store_answers() => Err(error.into()),
            Err(error) => {
                self.warn(&path(), error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns whether the store gives out what every repository has: then what it did not give out is one bad place of a
    /// disk, and there may be more to have from others.
    fn store_answers(&self) -> bool {
        // That may be in some memory still when the disk is gone.
        self.unreadable.fetch_add(1, Ordering::Relaxed) < UNREADABLE_MAX
            && small::get(self.store, &ObjectName::CONFIG, SMALL_OBJECT_BYTES_MAX).is_ok()
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
            _ => self.file_or_link(entry, place, owners),
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
}
