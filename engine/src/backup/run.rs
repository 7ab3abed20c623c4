//! A backup from beginning to end.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::backup::capture::Captures;
use crate::backup::engine::{Engine, Tally};
use crate::backup::estimate::Estimate;
use crate::backup::file::{ReadSource, Stream};
use crate::backup::links::Links;
use crate::backup::options::{BackupOptions, BackupReport, NamedReader};
use crate::backup::roots::{Root, source_path};
use crate::backup::rules::Rules;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{DirPath, Event, FileState, lock, shown, shown_path};
use crate::catalog::SketchStore;
use crate::chunks::{ChunkWriter, WriterOptions};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::{Entry, Metadata, Node, Timestamp, is_valid_name};
use crate::repo::{Repository, new_object_id};
use crate::snapshot::{self, Snapshot};
use crate::source::Owners;
use crate::tree::PieceWalk;

/// File systems round times, and a file may change twice within one tick of its clock.
const RACY_SECONDS: i64 = 2;
/// Maximum bytes of a name in the path of a stream, as Linux has it.
const STREAM_NAME_BYTES_MAX: usize = 255;

impl Repository {
    /// Backs up files and folders, compared with the newest snapshot of the same host and paths.
    ///
    /// A source that cannot be read is left out, named in the report and counted in `counts.errors`; the rest is saved.
    ///
    /// # Errors
    /// `NothingToBackUp` if none of the paths can be read; `Cancelled`; the store's own. Then there is no new snapshot,
    /// all earlier ones are as they were, and what was stored is used by the next run.
    pub fn backup<P: AsRef<Path> + Sync>(&self, paths: &[P], options: &BackupOptions) -> Result<BackupReport> {
        let mut root = Root::default();
        let (mut named, mut unresolved) = (Vec::new(), Vec::new());
        for path in paths {
            match source_path(path.as_ref()) {
                Ok(path) => {
                    root.add(&path);
                    named.push(path.into_os_string().into_vec());
                }
                Err(error) => unresolved.push((path.as_ref().to_owned(), error)),
            }
        }
        let root = Arc::new(root);
        self.run(named, options, |engine, parent| {
            for (path, error) in unresolved {
                engine.warn(path, format!("find the folder it is in: {error}; left out. Check the path"));
            }
            engine.roots_estimated(&root, parent)
        })
    }

    /// Backs up streams as files.
    ///
    /// # Errors
    /// As [`backup`](Self::backup); `InvalidOption` for a name with `..`. A stream that fails is left out and named in
    /// the report.
    pub fn backup_readers(&self, readers: Vec<NamedReader<'_>>, options: &BackupOptions) -> Result<BackupReport> {
        let named = readers.iter().map(|reader| reader.name.clone().into_bytes()).collect();
        self.run(named, options, |engine, _| {
            let mut folder = Folder::default();
            for reader in readers {
                let names: Vec<&[u8]> =
                    reader.name.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
                // Longer names, which the format knows, could not be restored on Linux.
                let is_name = |name: &&[u8]| is_valid_name(name) && name.len() <= STREAM_NAME_BYTES_MAX;
                if names.is_empty() || names.len() > TREE_DEPTH_MAX || !names.iter().all(is_name) {
                    let reason =
                        format!("{:?}: use a relative path without `..`, with names of at most 255 bytes", reader.name);
                    return Err(Error::InvalidOption { option: "name of a stream", reason });
                }
                if let Some(entry) = engine.named_reader(reader.reader, &reader.name, names[names.len() - 1])? {
                    folder.add(&names, entry)?;
                }
            }
            engine.stream_folder(folder, &DirPath::named(b""))
        })
    }

    fn run(
        &self,
        mut paths: Vec<Vec<u8>>,
        options: &BackupOptions,
        work: impl FnOnce(&Engine<'_>, Option<&Content>) -> Result<Content> + Send,
    ) -> Result<BackupReport> {
        self.check_writable("backup")?;
        crate::compress::check_level(options.level)?;
        let begun = Instant::now();
        let started = self.now();
        let host = options.host.clone().unwrap_or_else(host_name);
        paths.sort_unstable();
        paths.dedup();
        let mut tags = options.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        check_labels(&host, &tags, &paths)?;
        let (snapshots, _) = self.snapshots()?;
        let gone_snapshot = self.gone_snapshot(&snapshots)?;
        if let (Some(gone), Some(observer)) = (&gone_snapshot, &options.observer) {
            observer.event(&Event::Warning { object: self.location(), path: None, message: gone.to_string() });
        }
        let parent = parent(snapshots, &host, &paths);
        let pool = match &options.pool {
            Some(pool) => Arc::clone(pool),
            None => Arc::new(crate::pool::within(self.memory_bytes, options.threads)?),
        };
        let writer_options = WriterOptions {
            memory_bytes: self.memory_bytes / 2,
            threads: pool.current_num_threads(),
            level: options.level,
            dry_run: options.dry_run,
        };
        // What the parent refers to was in the catalog if it was made here since that was begun anew. Otherwise index objects
        // may have been lost since: nothing says that it has all again.
        let is_sound = |parent: &Snapshot| self.catalog.is_sound(&parent.first_id());
        let doubts = !parent.as_ref().map_or(Ok(true), is_sound)?;
        let (codec, catalog) = (Arc::clone(&self.codec), Arc::clone(&self.catalog));
        let reader = Arc::new(self.reader());
        let engine = Engine {
            repo: self,
            options,
            rules: Arc::new(Rules::new(options, &self.own_files)),
            writer: ChunkWriter::new(codec, catalog, Arc::clone(&self.store), Arc::clone(&reader), writer_options)?,
            reader,
            sketches: self.cache_dir.as_deref().map(|dir| SketchStore::new(dir, self.codec.keys.gear_key())),
            owners: Owners::default(),
            links: Links::new(&self.budget),
            batches: Mutex::default(),
            racy_from: parent.as_ref().map_or(Timestamp::default(), |parent| Timestamp {
                seconds: parent.record.started.seconds - RACY_SECONDS,
                ..parent.record.started
            }),
            doubts: doubts.then(PieceWalk::default),
            told_of_loss: AtomicBool::new(false),
            told_of_files: AtomicBool::new(false),
            tally: Tally::default(),
            captures: Captures::new(self.cache_dir.as_deref(), self.codec.keys.gear_key(), options),
            warnings: Mutex::default(),
            notes: Mutex::default(),
        };
        let parent_root = parent.as_ref().map(|parent| &parent.record.root);
        let (root, committed) = pool.install(|| engine.writer.finish_after(work(&engine, parent_root)))?;
        if root.parts.is_empty() {
            return Err(engine.nothing());
        }
        engine.tell_known();
        let counts = engine.counts();
        let record = SnapshotRecord {
            started,
            ended: self.now(),
            host,
            user: user_name(),
            program: concat!("daykeep ", env!("CARGO_PKG_VERSION")).to_owned(),
            tags,
            paths,
            // The id that stays, whatever is changed of it: `forget` looks for it.
            parent: parent.as_ref().map(Snapshot::first_id),
            original: None,
            root,
            counts,
        };
        let mut bytes_stored = committed.bytes_stored;
        let mut id = None;
        if !options.dry_run {
            let new_id = new_object_id()?;
            bytes_stored += snapshot::store(self.store.as_ref(), &self.codec, new_id, &record)?;
            self.store.sync()?;
            id = Some(new_id);
        }
        self.healer.tell(options.observer.as_ref());
        let parent = parent.map(|parent| parent.id);
        if let Some(id) = id {
            // If that fails, the next backup takes longer.
            let _ = self.catalog.add_sound(&id);
            self.saw(&Snapshot { id, record });
        }
        Ok(BackupReport {
            snapshot: id,
            parent,
            gone_snapshot,
            counts,
            bytes_stored,
            duration: begun.elapsed(),
            captured: sorted(&engine.captures.captured),
            opened: sorted(&engine.captures.opened),
            companions: sorted(&engine.captures.companions),
            warnings: std::mem::take(&mut *lock(&engine.warnings)),
            notes: std::mem::take(&mut *lock(&engine.notes)),
            excludes_without_effect: engine.rules.exclude.without_effect(),
            sockets: engine.tally.sockets.load(Ordering::Relaxed),
        })
    }
}

/// Returns the newest snapshot of the same host and paths. One that cannot be read costs time, not safety.
fn parent(snapshots: Vec<Snapshot>, host: &str, paths: &[Vec<u8>]) -> Option<Snapshot> {
    snapshots.into_iter().rev().find(|found| found.record.host == host && found.record.paths == paths)
}

fn sorted(paths: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
    let mut paths = std::mem::take(&mut *lock(paths));
    paths.sort_unstable();
    paths
}

/// Checks that a snapshot with these words could be read again, before any work is done for it.
fn check_labels(host: &str, tags: &[String], paths: &[Vec<u8>]) -> Result<()> {
    let record = SnapshotRecord {
        host: host.to_owned(),
        tags: tags.to_vec(),
        paths: paths.to_vec(),
        ..SnapshotRecord::default()
    };
    snapshot::encode(&record).map(drop).map_err(|error| invalid("host, tags and paths", error))
}

fn invalid(option: &'static str, error: Error) -> Error {
    match error {
        Error::LimitExceeded { reason, .. } => Error::InvalidOption { option, reason },
        other => other,
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let name = Owners::default().user(uid);
    name.map_or_else(|| uid.to_string(), |name| String::from_utf8_lossy(&name).into_owned())
}

/// The folders that the names of streams imply.
#[derive(Default)]
struct Folder {
    entries: std::collections::BTreeMap<Vec<u8>, Entry>,
    folders: std::collections::BTreeMap<Vec<u8>, Folder>,
}

impl Folder {
    fn add(&mut self, names: &[&[u8]], entry: Entry) -> Result<()> {
        let clash = |name: &[u8]| {
            let reason = format!("{}: two streams have this name", shown(name));
            Err(Error::InvalidOption { option: "name of a stream", reason })
        };
        match names {
            [] => Ok(()),
            [name] if self.entries.contains_key(*name) || self.folders.contains_key(*name) => clash(name),
            [name] => {
                self.entries.insert(name.to_vec(), entry);
                Ok(())
            }
            [name, ..] if self.entries.contains_key(*name) => clash(name),
            [name, rest @ ..] => self.folders.entry(name.to_vec()).or_default().add(rest, entry),
        }
    }
}

fn plain_metadata(mode: u16, time: Timestamp) -> Metadata {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Metadata { mode, uid, gid, mtime: time, ctime: time, ..Metadata::default() }
}

impl Engine<'_> {
    /// Backs up everything named while a thread of its own counts it, if that was asked for.
    fn roots_estimated(&self, root: &Arc<Root>, parent: Option<&Content>) -> Result<Content> {
        let (Some(observer), true) = (&self.options.observer, self.options.estimate) else {
            return self.roots(root, parent);
        };
        let estimate = Estimate::start(Arc::clone(&self.rules), Arc::clone(root), Arc::clone(observer));
        let content = self.roots(root, parent);
        let counts = self.counts();
        estimate.end(counts.files, counts.bytes);
        content
    }

    /// Stores a stream; `None` if it fails.
    fn named_reader(
        &self,
        reader: Box<dyn std::io::Read + Send + '_>,
        path: &str,
        name: &[u8],
    ) -> Result<Option<Entry>> {
        let mut stream = Stream::default();
        let mut scratch = None;
        let streamed = self.stream(&mut ReadSource(reader), &mut stream, &mut scratch);
        match self.end_stream(stream, scratch, streamed)? {
            Ok((content, class)) => {
                self.count_stream(path, content.bytes());
                let node = Node::File { content, class, capture: None };
                Ok(Some(Entry { name: name.to_vec(), metadata: plain_metadata(0o600, self.repo.now()), node }))
            }
            Err(_) if self.options.cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) => {
                self.warn_io(path.into(), "read it", &error);
                Ok(None)
            }
        }
    }

    /// Returns the error for a backup that found nothing to save.
    fn nothing(&self) -> Error {
        let (warnings, notes) = (lock(&self.warnings), lock(&self.notes));
        let first = warnings.first().or(notes.first());
        let path = first.map_or_else(|| "(no path)".into(), |warning| shown_path(&warning.path));
        let reason = first.map_or("name at least one path that exists", |warning| warning.message.as_str());
        Error::NothingToBackUp { path, reason: reason.to_owned() }
    }

    fn count_stream(&self, path: &str, bytes: u64) {
        self.tally.files.fetch_add(1, Ordering::Relaxed);
        self.tally.new.fetch_add(1, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes: 0 });
        if self.options.file_events {
            self.send(&Event::File { path: path.into(), state: FileState::New });
        }
    }

    fn stream_folder(&self, folder: Folder, path: &DirPath<'_>) -> Result<Content> {
        let mut entries: Vec<Entry> = folder.entries.into_values().collect();
        for (name, folder) in folder.folders {
            let content = self.stream_folder(folder, &path.below(&name))?;
            entries.push(Entry {
                name,
                metadata: plain_metadata(0o700, self.repo.now()),
                node: Node::Directory { content },
            });
        }
        if entries.is_empty() {
            Ok(Content::default())
        } else {
            self.store_tree(path, entries.iter().collect(), true, None)
        }
    }
}
