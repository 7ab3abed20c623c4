//! SQLite databases that are in use: whether one is, and a consistent copy of it.
//!
//! A database's newest transactions lie in its log (`-wal`) or are half done under its journal (`-journal`), so its file
//! alone is an old or a broken database (<https://www.sqlite.org/howtocorrupt.html>, section 1.2).
//!
//! The source stays as it is. Only a database in WAL mode that others have open is opened where it lies, for reading, and
//! copied by SQLite's backup interface, which leaves each page at its place. Any other is read under SQLite's shared lock,
//! or copied with its log or journal; then SQLite brings the copy in order. Its writers wait only in rollback mode, and
//! only while it is read or copied.

mod beside;
mod copy;
mod lock;

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::base::CancelToken;
pub use crate::source::database::beside::{Companions, SUFFIXES, database_of, is_companion, is_companion_in};
use crate::source::database::beside::{JOURNAL, WAL, name_beside};
use crate::source::database::copy::Folder;
pub use crate::source::database::copy::path_beside;
use crate::source::database::lock::SharedMemory;
pub use crate::source::database::lock::{Asked, SharedLock, is_locked, is_reserved};
use crate::source::dir::Dir;
use crate::source::stat::{Stat, same_file_state};

/// Where the number stands that SQLite compares to see whether a schema changed.
const SCHEMA_VERSION_AT: u64 = 40;
/// Where the number stands that tells how a database is read; 2 stands for a log.
const READ_VERSION_AT: u64 = 19;
/// How long a writer may keep us from reading before the bytes are saved as they are.
const PATIENCE: Duration = Duration::from_secs(30);
/// A journal that is there for this long, and nobody is about to write, is one of a writer that crashed.
const HOT_TRIES: u32 = 3;
/// How often a database is copied that somebody changes who does not care for locks.
const COPY_TRIES: u32 = 3;
/// How often it is asked for the lock before whoever has it is taken for one who keeps it.
const LOCK_TRIES: u32 = 5;
/// So many pages are copied at once.
const PAGES_PER_STEP: i32 = 1024;

/// Returns whether a file was written so lately that the next write might not show in the time of the last.
pub fn is_fresh(stat: &Stat) -> bool {
    let mtime = stat.metadata.mtime;
    let written = Duration::new(u64::try_from(mtime.seconds).unwrap_or(0), mtime.nanos);
    // A tick of Linux's clock is up to 10 ms; file systems that keep whole or even seconds only are coarser.
    let tick = Duration::from_millis(if mtime.nanos == 0 { 2_000 } else { 100 });
    SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now < written + tick)
}

/// Returns whether a database is one with a log.
pub fn has_log_mode(file: &File) -> bool {
    let mut version = [0];
    file.read_exact_at(&mut version, READ_VERSION_AT).is_ok() && version == [2]
}

/// A consistent copy of a database, which is removed with this.
#[derive(Debug)]
pub struct Captured {
    /// The copy, open for reading.
    pub file: File,
    /// What `PRAGMA quick_check` found wrong with it, if it was asked for.
    pub problem: Option<String>,
    _folder: Folder,
}

/// Why a database could not be captured.
#[derive(Debug)]
pub enum NotCaptured {
    /// The token was cancelled.
    Cancelled,
    /// In words that go on from "could not be copied: ".
    Why(String),
}

impl From<io::Error> for NotCaptured {
    fn from(error: io::Error) -> Self {
        Self::Why(format!("cannot make the copy: {error}"))
    }
}

impl From<rusqlite::Error> for NotCaptured {
    fn from(error: rusqlite::Error) -> Self {
        Self::Why(error.to_string())
    }
}

/// Copies databases that are in use.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'a> {
    /// Where copies are made, each in a folder of its own.
    pub folder: &'a Path,
    /// Whether each copy is checked by `PRAGMA quick_check`.
    pub verify: bool,
    /// Ends the work at the next slice.
    pub cancel: &'a CancelToken,
}

/// Why one try gave no copy.
enum Try {
    /// Somebody writes; later it may be possible.
    Busy(&'static str),
    /// Its files changed while they were copied, by the rules.
    Moving,
    /// The same, by somebody who does not care for locks.
    Foreign,
    /// SQLite cannot open it where it lies, be it for want of rights.
    NotOpened,
    /// Its journal may be one of a writer that crashed, or is just being removed.
    MayBeHot,
    /// It cannot be copied at all.
    Not(NotCaptured),
}

impl<E: Into<NotCaptured>> From<E> for Try {
    fn from(error: E) -> Self {
        Self::Not(error.into())
    }
}

/// How often what was tried.
#[derive(Default)]
struct Tries {
    all: u32,
    hot: u32,
    foreign: u32,
}

/// A database that is to be copied.
struct Source<'s> {
    dir: &'s Dir,
    name: &'s CStr,
    file: &'s File,
}

impl Source<'_> {
    fn companions(&self) -> Result<Companions, NotCaptured> {
        Companions::of(self.dir, self.name)
            .map_err(|error| NotCaptured::Why(format!("cannot look at what lies beside it: {error}")))
    }

    fn beside(&self, suffix: &str) -> io::Result<Option<File>> {
        match self.dir.open_file(&name_beside(self.name, suffix)?) {
            Ok((file, _)) => Ok(Some(file)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the file still has the name, without which nothing beside that is its own.
    fn has_its_name(&self) -> io::Result<bool> {
        let found = self.dir.stat(self.name)?;
        Ok(found.identity() == Stat::of_file(self.file)?.identity())
    }
}

impl Capture<'_> {
    /// Copies the database `name` in `dir`, which is open as `file`.
    ///
    /// # Errors
    /// Why there is no copy; the source is as it was.
    pub fn take(&self, dir: &Dir, name: &CStr, file: &File) -> Result<Captured, NotCaptured> {
        let source = Source { dir, name, file };
        let folder = Folder::new(self.folder)?;
        let begun = Instant::now();
        let mut tries = Tries::default();
        loop {
            let why = match self.one_try(&source, &folder, &tries) {
                Ok(()) => break,
                Err(Try::Not(why)) => return Err(why),
                Err(Try::MayBeHot) => {
                    tries.hot += 1;
                    "its journal comes and goes"
                }
                Err(Try::Moving | Try::NotOpened) => "it changes all the time",
                Err(Try::Foreign) => {
                    tries.foreign += 1;
                    "it changes all the time, and not by SQLite's rules"
                }
                Err(Try::Busy(why)) => why,
            };
            if begun.elapsed() >= PATIENCE || tries.foreign >= COPY_TRIES {
                let seconds = begun.elapsed().as_secs();
                return Err(NotCaptured::Why(format!("{why}, which did not end in {seconds} s")));
            }
            if self.cancel.is_cancelled() {
                return Err(NotCaptured::Cancelled);
            }
            tries.all += 1;
            folder.empty();
            std::thread::sleep(Duration::from_millis(u64::from(tries.all.min(20))));
        }
        let copy = folder.database();
        let problem = if self.verify { self.quick_check(&copy)? } else { None };
        Ok(Captured { file: File::open(&copy)?, problem, _folder: folder })
    }

    /// Tries once, by the way that fits what is there at this moment.
    fn one_try(&self, source: &Source<'_>, folder: &Folder, tries: &Tries) -> Result<(), Try> {
        if !source.has_its_name()? {
            return Err(NotCaptured::Why("it was replaced meanwhile".into()).into());
        }
        let lock = SharedLock::ask(source.file);
        if matches!(lock, Asked::Busy) && tries.all < LOCK_TRIES {
            return Err(Try::Busy("it is locked"));
        }
        // Looked at under the lock, so that nobody removes a log unseen.
        let before = source.companions()?;
        let stat = Stat::of_file(source.file)?;
        // A log that is brought into the copy makes that longer.
        folder.check_space(stat.size.saturating_add(before.bytes().saturating_mul(2)))?;
        if before.has_log_file() {
            let shm = source.beside("-shm")?.and_then(SharedMemory::join);
            if let (Asked::Held(_), Some(_shm)) = (&lock, &shm) {
                match self.copy_in_place(source, &stat, &before, folder) {
                    Err(Try::NotOpened) => folder.empty(),
                    outcome => return outcome,
                }
            }
            return self.copy_with_log(source, &before, folder);
        }
        if before.has_hot_journal() {
            return match lock {
                // Whoever is about to write has not begun yet, or we would not have the lock.
                Asked::Held(_) if is_reserved(source.file) => self.copy_alone(source, &stat, &before, folder, &lock),
                Asked::Held(_) | Asked::Unknown if tries.hot >= HOT_TRIES => {
                    self.copy_with_journal(source, &stat, &before, folder)
                }
                Asked::Held(_) | Asked::Unknown => Err(Try::MayBeHot),
                Asked::Busy => Err(Try::Busy("it keeps a transaction open")),
            };
        }
        self.copy_alone(source, &stat, &before, folder, &lock)
    }

    /// Copies a database whose file alone is all of it.
    fn copy_alone(
        &self,
        source: &Source<'_>,
        stat: &Stat,
        before: &Companions,
        folder: &Folder,
        lock: &Asked<SharedLock<'_>>,
    ) -> Result<(), Try> {
        let is_locked = matches!(lock, Asked::Held(_));
        let moving = || if matches!(lock, Asked::Busy) { Try::Moving } else { Try::Foreign };
        let read = copy::copy(source.file, &folder.database(), self.cancel)?;
        // A writer that does not care for us may have written twice within one tick of the clock.
        if !is_locked && copy::hash(source.file, self.cancel)? != read {
            return Err(moving());
        }
        let after = source.companions()?;
        let is_same_log = before.same_unused_log(&after);
        let is_same_file = same_file_state(stat, &Stat::of_file(source.file)?);
        let is_quiet = is_locked || !after.has_hot_journal();
        match is_same_log && is_quiet {
            false => Err(Try::Moving),
            true if is_same_file => Ok(()),
            true => Err(moving()),
        }
    }

    /// Copies a database and then its log. Whatever was brought from the log into the database while that was copied is in
    /// the log still, unless it was begun anew, and then its salts are other ones.
    fn copy_with_log(&self, source: &Source<'_>, before: &Companions, folder: &Folder) -> Result<(), Try> {
        copy::copy(source.file, &folder.database(), self.cancel)?;
        let Some(log) = source.beside(WAL)? else { return Err(Try::Moving) };
        copy::copy(&log, &folder.beside(WAL), self.cancel)?;
        if !before.same_log(&source.companions()?) || !source.has_its_name()? {
            return Err(Try::Moving);
        }
        Ok(settle(&folder.database(), self.cancel)?)
    }

    /// Copies a database with the journal of a writer that crashed. Under our lock nobody can roll it back meanwhile.
    fn copy_with_journal(
        &self,
        source: &Source<'_>,
        stat: &Stat,
        before: &Companions,
        folder: &Folder,
    ) -> Result<(), Try> {
        copy::copy(source.file, &folder.database(), self.cancel)?;
        let Some(journal) = source.beside(JOURNAL)? else { return Err(Try::Moving) };
        copy::copy(&journal, &folder.beside(JOURNAL), self.cancel)?;
        let is_same_journal = before.state(0) == source.companions()?.state(0);
        if !is_same_journal || !same_file_state(stat, &Stat::of_file(source.file)?) {
            return Err(Try::Moving);
        }
        Ok(settle(&folder.database(), self.cancel)?)
    }

    /// Copies the pages of one committed state of a database that others have open.
    fn copy_in_place(&self, source: &Source<'_>, stat: &Stat, before: &Companions, folder: &Folder) -> Result<(), Try> {
        let path = source.dir.real_path()?.join(OsStr::from_bytes(source.name.to_bytes()));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(&path, flags).map_err(|_| Try::NotOpened)?;
        // SQLite opens by path, so it has to be seen that it opened what is meant.
        let is_same = |found: fs::Metadata| found.ino() == stat.metadata.inode && found.dev() == stat.device;
        if !fs::metadata(&path).is_ok_and(is_same) {
            return Err(NotCaptured::Why("it was replaced meanwhile".into()).into());
        }
        let busy = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Try::Busy("it is locked"),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Try::NotOpened,
            _ => Try::Not(self.failed(error)),
        };
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        database.busy_timeout(Duration::from_millis(500))?;
        database.execute_batch("BEGIN")?;
        let schema_version: i32 = database.query_row("PRAGMA schema_version", [], |row| row.get(0)).map_err(busy)?;
        // It may have grown since it was looked at.
        let grown = source.companions()?.bytes().max(before.bytes());
        check_length(&database, Stat::of_file(source.file)?.size.max(stat.size).saturating_add(grown))?;
        let copy = folder.database();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(&copy, flags)?;
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE")?;
        let backup = Backup::new(&database, &mut target)?;
        loop {
            if self.cancel.is_cancelled() {
                return Err(NotCaptured::Cancelled.into());
            }
            match backup.step(PAGES_PER_STEP)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(Try::Busy("it is locked")),
            }
        }
        drop(backup);
        drop(target);
        drop(database);
        // SQLite counts the copy as a change of the copy's schema.
        let file = fs::OpenOptions::new().write(true).open(copy)?;
        Ok(file.write_all_at(&schema_version.to_be_bytes(), SCHEMA_VERSION_AT)?)
    }

    fn failed(&self, error: rusqlite::Error) -> NotCaptured {
        failed(self.cancel, error)
    }

    /// Returns what SQLite finds wrong with a copy.
    fn quick_check(&self, copy: &Path) -> Result<Option<String>, NotCaptured> {
        let copy = open_copy(copy, self.cancel)?;
        let found = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        let found = found.map_err(|error| self.failed(error))?;
        Ok((found != "ok").then_some(found))
    }
}

fn failed(cancel: &CancelToken, error: rusqlite::Error) -> NotCaptured {
    if cancel.is_cancelled() { NotCaptured::Cancelled } else { error.into() }
}

fn open_copy(copy: &Path, cancel: &CancelToken) -> Result<Connection, NotCaptured> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(copy, flags)?;
    let cancel = cancel.clone();
    database.progress_handler(10_000, Some(move || cancel.is_cancelled()))?;
    Ok(database)
}

/// Lets SQLite bring a copy in order that has a log or a journal beside it, which nobody else may use. It gets no longer
/// than all these files together.
///
/// # Errors
/// If that cannot be done.
pub fn settle(copy: &Path, cancel: &CancelToken) -> Result<(), NotCaptured> {
    let (log, journal) = (copy::path_beside(copy, WAL), copy::path_beside(copy, JOURNAL));
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes_max = [copy, &log, &journal].into_iter().map(bytes).fold(0, u64::saturating_add);
    if bytes(&journal) > 0 && !copy::prepare_journal(&journal, bytes_max)? {
        fs::remove_file(&journal)?;
    }
    if bytes(&log) == 0 && bytes(&journal) == 0 {
        return Ok(());
    }
    let database = open_copy(copy, cancel)?;
    let read =
        |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| failed(cancel, error));
    database.execute_batch("PRAGMA synchronous = OFF")?;
    read("SELECT count(*) FROM sqlite_schema")?;
    if bytes(&log) > 0 {
        check_length(&database, bytes_max)?;
        read("PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    database.close().map_err(|(_, error)| failed(cancel, error))
}

/// Refuses a database whose log says that it has more pages than all its files together: the copy would be as long.
fn check_length(database: &Connection, bytes_max: u64) -> Result<(), NotCaptured> {
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (pages, page_bytes) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
    let page_bytes = page_bytes.unsigned_abs();
    // One page is never written: the one with the bytes that are locked.
    if pages.unsigned_abs().saturating_mul(page_bytes) > bytes_max.saturating_add(page_bytes) {
        return Err(copy::too_long("log"));
    }
    Ok(())
}

/// Removes what a backup that was killed left in the folder of copies. No other may be under way.
pub fn remove_copies(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}
