//! Restore tests: files of snapshots go through a restore into nothing and are looked at on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::{Event, ObjectId, lock, shown_path};
use crate::chats::{TemporaryFile, check_health};
use crate::check::media::{self, HEAD_BYTES};
use crate::check::options::{CheckOptions, CheckReport, RestoreTest, RestoreTested};
use crate::check::packs::key;
use crate::error::{Error, Result};
use crate::format::proof::Proof;
use crate::format::tree::{Class, Entry, Node};
use crate::hash;
use crate::repo::{Repository, new_object_id};
use crate::restore::{Destination, Output, RestoreOptions, Taker};
use crate::snapshot::proofs::{self, Proofs};
use crate::snapshot::{Snapshot, SnapshotPath};
use crate::store::Access;

/// Of a snapshot with no more files all are tested.
const FILES_MIN: u64 = 20;
/// A file with more data is not tested: a few chunk lists that repeat one another can stand for more than can be read.
const FILE_BYTES_MAX: u64 = 16 << 40;
/// So many files with problems, and with hints, are named of each snapshot.
const NAMED_MAX: usize = 1000;
/// How many instructions SQLite may take for the check of one database: some ten minutes.
const INSTRUCTIONS_MAX: u64 = 20_000_000_000;

impl Repository {
    /// Returns what the last restore test of each snapshot found, by [`Snapshot::first_id`], and an error for each object
    /// that could not be read.
    ///
    /// # Errors
    /// If the list of those objects cannot be had.
    pub fn proofs(&self) -> Result<(BTreeMap<ObjectId, Proof>, Vec<Error>)> {
        proofs::load(self.store.as_ref(), &self.codec)
    }

    /// Tests the snapshots that are wanted, and leaves a record of it if the repository is open for writing.
    pub(super) fn restore_tests(
        &self,
        test: &RestoreTest,
        options: &CheckOptions,
        known: &[Snapshot],
        report: &mut CheckReport,
    ) -> Result<()> {
        let seed = report.seed.unwrap_or_default();
        let mut proofs = proofs::load(self.store.as_ref(), &self.codec)?.0;
        for snapshot in self.to_test(test, known)? {
            let tested = self.restore_test(&snapshot, test, seed, options)?;
            let (time, problems) = (self.now(), tested.problems);
            let (files, bytes, is_all) = (tested.files, tested.bytes, tested.is_all);
            proofs.insert(snapshot.first_id(), Proof { time, files, bytes, is_all, problems });
            report.restore_tests.push(tested);
        }
        // Nobody asks any more about snapshots that are gone.
        let living: BTreeSet<ObjectId> = known.iter().map(Snapshot::first_id).collect();
        proofs.retain(|id, _| living.contains(id));
        self.leave(&proofs, report)
    }

    fn leave(&self, proofs: &Proofs, report: &mut CheckReport) -> Result<()> {
        if self.access == Access::Read {
            report
                .notes
                .push("the repository is open for reading only, so no record of the restore test is left".into());
            return Ok(());
        }
        proofs::replace(self.store.as_ref(), &self.codec, new_object_id()?, proofs)
    }

    /// Returns the snapshots that were named, or the latest of each host and paths.
    fn to_test(&self, test: &RestoreTest, known: &[Snapshot]) -> Result<Vec<Snapshot>> {
        let mut wanted: Vec<Snapshot> = Vec::new();
        for name in &test.snapshots {
            let snapshot = self.snapshot(name)?;
            if !wanted.iter().any(|other| other.id == snapshot.id) {
                wanted.push(snapshot);
            }
        }
        if test.snapshots.is_empty() {
            // They come oldest first, so the last of a group stays.
            let latest: BTreeMap<_, _> =
                known.iter().map(|found| ((&found.record.host, &found.record.paths), found)).collect();
            wanted.extend(latest.into_values().cloned());
        }
        Ok(wanted)
    }

    fn restore_test(
        &self,
        snapshot: &Snapshot,
        test: &RestoreTest,
        seed: u64,
        options: &CheckOptions,
    ) -> Result<RestoreTested> {
        let share = f64::from(test.percent) / 100.0;
        let least = FILES_MIN as f64 / snapshot.record.counts.files.max(1) as f64;
        let share = share.max(least).min(1.0);
        let probe = Probe {
            repo: self,
            options,
            key: key(seed),
            below: if share < 1.0 { (share * u64::MAX as f64) as u64 } else { u64::MAX },
            databases: AtomicU64::new(0),
            sqlite: Mutex::default(),
            found: Mutex::default(),
        };
        let told = options.observer.clone();
        let observer = move |event: &Event| {
            // What could not be restored is in the report, and how much there is to do is not known of a sample.
            if let (Some(observer), Event::Progress { .. }) = (&told, event) {
                observer.event(event);
            }
        };
        let restore = RestoreOptions {
            threads: options.threads,
            cancel: options.cancel.clone(),
            observer: Some(Arc::new(observer)),
            ..RestoreOptions::default()
        };
        let what = SnapshotPath { snapshot: snapshot.id.to_string(), path: None };
        let outcome = self.restore_to(&what, &Destination::Taker(&probe), &restore);
        let mut found = std::mem::take(&mut *lock(&probe.found));
        let (mut files, mut bytes) = (0, 0);
        let lost;
        match outcome {
            Ok(report) => {
                (files, bytes) = (report.files, report.bytes);
                lost = report.warnings.len() as u64;
                found.problems.extend(report.warnings);
            }
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                lost = 1;
                found.problems.push(("/".into(), error.to_string()));
            }
        }
        found.problems.sort();
        found.hints.sort();
        let (problems, hints) = (found.problems.len() as u64, found.hints.len() as u64);
        found.problems.truncate(NAMED_MAX);
        found.hints.truncate(NAMED_MAX);
        Ok(RestoreTested {
            snapshot: snapshot.id,
            files,
            bytes,
            is_all: share >= 1.0,
            databases: probe.databases.into_inner(),
            problems,
            lost,
            problems_named: found.problems,
            hints,
            hints_named: found.hints,
        })
    }
}

/// What was found: paths and what is the matter with them.
#[derive(Default)]
struct Found {
    problems: Vec<(String, String)>,
    hints: Vec<(String, String)>,
}

/// Takes what a restore gives, and looks at it.
struct Probe<'a> {
    repo: &'a Repository,
    options: &'a CheckOptions,
    key: [u8; 32],
    /// Files whose paths have a hash below this are tested.
    below: u64,
    databases: AtomicU64,
    /// One database at a time, since each may take hundreds of megabytes.
    sqlite: Mutex<()>,
    found: Mutex<Found>,
}

impl Probe<'_> {
    fn is_chosen(&self, path: &Path) -> bool {
        let mut first = [0; 8];
        first.copy_from_slice(&hash::chunk_id(&self.key, path.as_os_str().as_bytes()).as_bytes()[..8]);
        self.below == u64::MAX || u64::from_le_bytes(first) < self.below
    }

    fn problem(&self, path: &Path, message: String) {
        lock(&self.found).problems.push((shown_path(path), message));
    }

    fn hint(&self, path: &Path, message: String) {
        lock(&self.found).hints.push((shown_path(path), message));
    }

    fn compare(&self, path: &Path, wanted: u64, found: u64) {
        if wanted != found {
            self.problem(path, format!("{found} bytes were restored where the snapshot names {wanted}"));
        }
    }

    /// Lets SQLite check a database that was restored into a temporary file.
    fn database(&self, path: &Path, file: &TemporaryFile) -> Result<()> {
        // Nothing in here waits for other workers.
        let _alone = lock(&self.sqlite);
        let name = path.as_os_str().as_bytes();
        match check_health(file.path(), name, INSTRUCTIONS_MAX, &self.options.cancel) {
            Ok(health) => {
                if let Some(damage) = &health.damage {
                    let message = format!(
                        "SQLite finds the database damaged ({damage}), as it was when it was backed up; `find` shows its \
                         earlier versions"
                    );
                    self.problem(path, message);
                } else {
                    self.databases.fetch_add(1, Ordering::Relaxed);
                }
                health.notes.into_iter().for_each(|note| self.hint(path, note));
                Ok(())
            }
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                self.hint(path, format!("its bytes are well, but SQLite could not check it: {error}"));
                Ok(())
            }
        }
    }
}

impl Taker for Probe<'_> {
    fn take(
        &self,
        path: &Path,
        entry: &Entry,
        data_bytes: u64,
        write: &dyn Fn(&dyn Output) -> Result<()>,
    ) -> Result<()> {
        let Node::File { content, class, .. } = &entry.node else { return Ok(()) };
        if !self.is_chosen(path) {
            return Ok(());
        }
        if data_bytes > FILE_BYTES_MAX {
            self.hint(path, format!("not tested: it holds {data_bytes} bytes of data, more than {FILE_BYTES_MAX}"));
            return Ok(());
        }
        let bytes = content.bytes();
        if *class == Class::Sqlite {
            match TemporaryFile::empty(self.repo, bytes) {
                Ok(file) => {
                    write(file.file())?;
                    let found = file.file().metadata().map(|metadata| metadata.len());
                    self.compare(path, bytes, found.map_err(|source| file.failed(source))?);
                    return self.database(path, &file);
                }
                Err(error @ Error::LimitExceeded { .. }) => {
                    self.hint(path, format!("SQLite did not check it: {error}"))
                }
                Err(error) => return Err(error),
            }
        }
        let promised = media::promised(&entry.name);
        let sink = Sink::new(bytes, promised.map_or(0, |_| HEAD_BYTES));
        write(&sink)?;
        self.compare(path, data_bytes, sink.written.into_inner());
        self.compare(path, bytes, sink.end.into_inner());
        let head = lock(&sink.head);
        if let Some(kind) = promised
            && let Some(doubt) = media::doubt(kind, &head, bytes)
        {
            self.hint(path, format!("its name says {}, but it {doubt}, as when it was backed up", media::name(kind)));
        }
        Ok(())
    }
}

/// Takes bytes, counts them and keeps the first.
struct Sink {
    head: Mutex<Vec<u8>>,
    head_bytes: u64,
    written: AtomicU64,
    end: AtomicU64,
}

impl Sink {
    fn new(bytes: u64, head_max: usize) -> Self {
        let head_bytes = bytes.min(head_max as u64);
        let head = Mutex::new(vec![0; head_bytes as usize]);
        Self { head, head_bytes, written: AtomicU64::new(0), end: AtomicU64::new(0) }
    }
}

impl Output for Sink {
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.end.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.end.fetch_max(at + bytes.len() as u64, Ordering::Relaxed);
        if at < self.head_bytes {
            let count = bytes.len().min((self.head_bytes - at) as usize);
            lock(&self.head)[at as usize..][..count].copy_from_slice(&bytes[..count]);
        }
        Ok(())
    }
}
