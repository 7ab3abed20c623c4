//! A restore from beginning to end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::base::limits::SMALL_OBJECT_BYTES_MAX;
use crate::base::{Event, ObjectName, lock};
use crate::chunks::ChunkReader;
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::{Entry, Node};
use crate::repo::Repository;
use crate::restore::flags::LateFlags;
use crate::restore::links::Links;
use crate::restore::options::{RestoreOptions, RestoreReport};
use crate::restore::place::{Place, Ways};
use crate::restore::taker::Taker;
use crate::restore::target_dir::{Applier, LocalOwners, TargetDir};
use crate::restore::totals::{Chosen, What};
use crate::restore::waiting::Queue;
use crate::small;
use crate::snapshot::SnapshotPath;
use crate::source::Selection;
use crate::store::Store;
use crate::tree::{self, PieceWalk};

/// After so many failures of the store a restore ends: it is not one bad place of a disk.
const UNREADABLE_MAX: u64 = 1000;

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
    /// The target, unless nothing is there and nothing is made.
    pub root: Option<Arc<TargetDir>>,
    pub reader: ChunkReader,
    pub applier: Applier,
    pub buffers: Mutex<Vec<Vec<u8>>>,
    pub pieces: PieceWalk,
    pub links: Links,
    pub queue: Mutex<Queue>,
    /// How often what waited was committed.
    pub commits: AtomicU64,
    pub late_flags: Mutex<Vec<LateFlags>>,
    pub flags_problem: Mutex<Option<String>>,
    pub selection: Selection,
    pub own_files: &'a [(u64, u64)],
    /// The absolute paths that were backed up: what lies above them is not what was asked for.
    paths: Vec<PathBuf>,
    store: &'a dyn Store,
    pub files: AtomicU64,
    pub files_kept: AtomicU64,
    pub files_verified: AtomicU64,
    pub bytes: AtomicU64,
    pub directories: AtomicU64,
    pub deleted: AtomicU64,
    pub folders_spared: AtomicU64,
    pub flags_failed: AtomicU64,
    /// How often the store did not give out something.
    unreadable: AtomicU64,
    warnings: Mutex<Vec<(String, String)>>,
    /// Places at the target that were told to be in the way: what lies below is not told one by one.
    told: Mutex<HashSet<PathBuf>>,
}

impl Repository {
    /// Restores a snapshot, or a path of one, below `target`, which is made if it is not there.
    ///
    /// A snapshot's absolute paths are rebuilt below `target`; with a path, the content of that folder (or the file)
    /// is put into `target` itself. Nothing outside `target` is written, and no symbolic link is followed unless
    /// [`RestoreOptions::follow_target_links`] says so.
    ///
    /// A file has its name only when it is whole, and what it replaces is gone only when it is on disk. Folders get the
    /// metadata of the snapshot if they were made, or are part of what is restored. A file that cannot be restored is named
    /// in the report's warnings, and the others are restored.
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
        let reader = self.reader();
        let names = what.names();
        let chosen = tree::find(&reader, &snapshot.record.root, &names, &what.snapshot)?;
        let (is_new, root) = match to {
            Destination::Taker(_) => (false, None),
            Destination::Folder(target) => {
                let follows = options.follow_target_links;
                // In a dry run nothing is made, but a target that would be refused is refused.
                let opened = if options.dry_run {
                    TargetDir::open_existing_root(target, follows)?
                } else {
                    Some(TargetDir::open_root(target, follows)?)
                };
                opened.map_or((true, None), |(dir, is_new)| (is_new, Some(Arc::new(dir))))
            }
        };
        let cleans = root.as_ref().is_some_and(|root| !options.dry_run && root.lock());
        let selection = Selection { include: options.include.fresh(), exclude: options.exclude.fresh() };
        let restore = Restore::new(self, options, to.taker(), (reader, root), selection, &snapshot.record);
        if what.path.is_none() && restore.selection.is_everything() {
            let (files, bytes) = (snapshot.record.counts.files, snapshot.record.counts.bytes);
            restore.send(&Event::Total { files, bytes });
        }
        let prefix: Vec<u8> = match names.split_last() {
            None => b"/".to_vec(),
            Some((_, above)) if !matches!(&chosen, Some(Entry { node: Node::Directory { .. }, .. })) => {
                above.iter().fold(b"/".to_vec(), |path, name| [&path, *name, b"/"].concat())
            }
            Some(_) => names.iter().fold(Vec::new(), |path, name| [&path, b"/".as_slice(), name].concat()),
        };
        let what_chosen = match &chosen {
            None => What::Folder(&snapshot.record.root),
            Some(Entry { node: Node::Directory { content }, .. }) => What::Folder(content),
            Some(entry) => What::Entry(entry),
        };
        let counted = Chosen { what: what_chosen, prefix: &prefix, reach: restore.selection.root() };
        let is_folder = |entry: &&Entry| matches!(entry.node, Node::Directory { .. }) && !entry.metadata.is_unknown;
        let metadata = chosen.as_ref().filter(is_folder);
        let outcome = restore.beside_total(&counted, what.path.is_some(), || {
            crate::pool::within(self.memory_bytes, options.threads)?.install(|| {
                restore.all(&counted, is_new, Ways::of(options, cleans))?;
                if let (true, Some(dir), Some(entry)) = (is_new, &restore.root, metadata) {
                    restore.apply_to_dir(dir, &entry.metadata, &LocalOwners::default());
                }
                Ok(())
            })
        });
        restore.end(outcome)?;
        Ok(RestoreReport {
            packs_healed: self.healer.tell(options.observer.as_ref()),
            duration: begun.elapsed(),
            ..restore.report()
        })
    }
}

impl<'a> Restore<'a> {
    fn new(
        repository: &'a Repository,
        options: &'a RestoreOptions,
        taker: Option<&'a dyn Taker>,
        (reader, root): (ChunkReader, Option<Arc<TargetDir>>),
        selection: Selection,
        record: &SnapshotRecord,
    ) -> Self {
        use std::os::unix::ffi::OsStrExt;
        // Streams have names in place of paths, and all of them are asked for.
        let paths = record.paths.iter().map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path)));
        Self {
            options,
            taker,
            root,
            reader,
            applier: Applier::new(options.numeric_owner, options.set_id),
            buffers: Mutex::default(),
            pieces: PieceWalk::default(),
            links: Links::default(),
            queue: Mutex::default(),
            commits: AtomicU64::new(0),
            late_flags: Mutex::default(),
            flags_problem: Mutex::default(),
            selection,
            own_files: &repository.own_files,
            paths: paths.filter(|path| path.is_absolute()).collect(),
            store: repository.store.as_ref(),
            files: AtomicU64::new(0),
            files_kept: AtomicU64::new(0),
            files_verified: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            directories: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            folders_spared: AtomicU64::new(0),
            flags_failed: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            warnings: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Does `work`, and counts what there is to do beside it if that is not known and somebody wants to know.
    fn beside_total(&self, chosen: &Chosen<'_>, has_path: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.options.observer.is_none() || self.selection.is_everything() && !has_path {
            return work();
        }
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.tell_total(chosen, &ended));
            let outcome = work();
            ended.store(true, Ordering::Relaxed);
            outcome
        })
    }

    fn all(&self, chosen: &Chosen<'_>, is_new: bool, ways: Ways) -> Result<()> {
        let tree = match chosen.what {
            What::Folder(content) => Some(tree::load(&self.reader, content)?),
            What::Entry(_) => None,
        };
        let is_selected = self.is_asked_for(&PathBuf::from(text(chosen.prefix)));
        let root = self.root.clone().map(|root| (root, is_new));
        let place = Place::root(chosen.prefix, tree.as_ref(), is_selected, root, ways);
        match (chosen.what, &tree) {
            (What::Entry(entry), _) => self.entry(entry, &place, chosen.reach, &LocalOwners::default())?,
            (_, Some(tree)) => self.folder(tree, &place, chosen.reach)?,
            (_, None) => {}
        }
        self.commit_waiting()?;
        self.link_later()?;
        self.commit_waiting()?;
        self.set_late_flags();
        Ok(())
    }

    /// Tells at the end what was not told on the way, and gives up what waits if the restore failed.
    fn end(&self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err() {
            self.discard_waiting();
        }
        let left = self.root.as_ref().filter(|_| !self.options.dry_run).map_or(Ok(()), |root| root.leave());
        outcome.and(left)?;
        for pattern in self.selection.include.without_effect() {
            let message =
                format!("the pattern `{pattern}` to include matched nothing; `ls` shows what the snapshot holds");
            self.send(&Event::Warning { object: "restore".into(), path: None, message });
        }
        for pattern in self.selection.exclude.without_effect() {
            let message = format!("the pattern `{pattern}` to exclude matched nothing");
            self.send(&Event::Note { object: "restore".into(), path: None, message });
        }
        if let Some(message) = lock(&self.flags_problem).take() {
            self.send(&Event::Note { object: "restore".into(), path: None, message });
        }
        Ok(())
    }

    fn report(&self) -> RestoreReport {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut warnings = std::mem::take(&mut *lock(&self.warnings));
        warnings.sort();
        RestoreReport {
            files: count(&self.files),
            directories: count(&self.directories),
            bytes: count(&self.bytes),
            files_kept: count(&self.files_kept),
            files_verified: count(&self.files_verified),
            deleted: count(&self.deleted),
            folders_spared: count(&self.folders_spared),
            flags_failed: count(&self.flags_failed),
            includes_unmatched: self.selection.include.without_effect(),
            warnings,
            ..RestoreReport::default()
        }
    }

    /// Returns whether the entry at this path was backed up because it was asked for, and not only for lying above.
    pub fn is_asked_for(&self, path: &Path) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|asked| path.starts_with(asked))
    }

    pub fn send(&self, event: &Event) {
        if let Some(observer) = &self.options.observer {
            observer.event(event);
        }
    }

    pub fn warn(&self, path: &Path, message: String) {
        let object = crate::base::shown(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        let told = Event::Warning { object: object.clone(), path: Some(path.to_owned()), message: message.clone() };
        self.send(&told);
        lock(&self.warnings).push((object, message));
    }

    pub fn note(&self, path: &Path, message: &str) {
        let object = crate::base::shown(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        self.send(&Event::Note { object, path: Some(path.to_owned()), message: message.to_owned() });
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
            // A folder above that is not to be had is told once, and not for each file below it.
            Err(Error::UnsafeTarget { path, .. }) if !lock(&self.told).insert(path.clone()) => Ok(()),
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
}

fn text(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}
