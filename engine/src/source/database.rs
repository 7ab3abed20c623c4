//! SQLite databases that are in use: whether one is, and a consistent copy of it, taken through SQLite itself.
//!
//! A database's newest transactions lie in its log (`-wal`) or are half done under its journal (`-journal`), so its file
//! alone is an old or a broken database (<https://www.sqlite.org/howtocorrupt.html>, section 1.2). SQLite's backup
//! interface copies the pages of one committed state and leaves each at its place, which a `VACUUM INTO` would not.
//!
//! The source is opened for reading only, its log is not checkpointed, and no file is left beside it. Its writers wait
//! only in rollback mode, and only while the pages are copied.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::format::tree::Timestamp;
use crate::source::dir::Dir;
use crate::source::stat::{Stat, same_file_state};

/// What SQLite keeps beside a database, by the ends of the names.
pub const SUFFIXES: [&str; 3] = ["-wal", "-journal", "-shm"];
/// The bytes of a database that SQLite locks: pending, reserved and shared.
const LOCK_START: i64 = 0x4000_0000;
const LOCK_BYTES: i64 = 512;
/// Where the number stands that SQLite compares to see whether a schema changed.
const SCHEMA_VERSION_AT: u64 = 40;
/// How long a writer may keep us from reading before the bytes are saved as they are.
const PATIENCE: Duration = Duration::from_secs(30);
/// A journal that is there for this long, and nobody holds a lock, is one of a writer that crashed.
const HOT_TRIES: u32 = 20;
/// How often the files of a database that nobody has open are copied before that is given up.
const COPY_TRIES: u32 = 3;
/// What has to stay free beside a copy, in bytes.
const SPARE_BYTES: u64 = 16 << 20;

/// Returns the name of the database whose log, journal or shared memory would be called `name`.
pub fn database_of(name: &[u8]) -> Option<&[u8]> {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes())).filter(|name| !name.is_empty())
}

/// What lies beside a database.
#[derive(Clone, Debug, Default)]
pub struct Companions {
    wal: Option<Stat>,
    journal: Option<Stat>,
    has_shm: bool,
}

impl Companions {
    /// Looks at what lies beside the database `name`.
    ///
    /// # Errors
    /// The system's.
    pub fn of(dir: &Dir, name: &CStr) -> io::Result<Self> {
        let stat = |suffix: &str| {
            let name = CString::new([name.to_bytes(), suffix.as_bytes()].concat())?;
            match dir.stat(&name) {
                Ok(stat) => Ok(Some(stat)),
                // With a longer name it could not be there.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let [wal, journal, shm] = SUFFIXES.map(stat);
        Ok(Self { wal: wal?, journal: journal?, has_shm: shm?.is_some() })
    }

    /// Returns whether there is a log or journal.
    pub const fn any(&self) -> bool {
        self.wal.is_some() || self.journal.is_some()
    }

    /// Returns whether none of them changed at `time` or later.
    pub fn is_older_than(&self, time: Timestamp) -> bool {
        self.each().all(|(_, stat)| stat.metadata.mtime < time)
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Stat)> {
        let both = SUFFIXES.into_iter().zip([&self.wal, &self.journal]);
        both.filter_map(|(suffix, stat)| Some((suffix, stat.as_ref()?)))
    }

    /// Returns a hash of what tells that a database of `bytes` bytes, whose own times are compared elsewhere, is as it was.
    pub fn state(&self, bytes: u64) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("daykeep 2026 state of an SQLite database");
        hasher.update(&bytes.to_le_bytes());
        for (suffix, stat) in self.each() {
            hasher.update(suffix.as_bytes());
            // Not the ctime: SQLite itself sets the owner of a log whenever root opens it, be it to read.
            let mtime = stat.metadata.mtime;
            hasher.update(&mtime.seconds.to_le_bytes()).update(&mtime.nanos.to_le_bytes());
            hasher.update(&stat.size.to_le_bytes()).update(&stat.metadata.inode.to_le_bytes());
        }
        let mut state = [0; 16];
        hasher.finalize_xof().fill(&mut state);
        state
    }

    fn same(&self, other: &Self) -> bool {
        self.each().map(|(suffix, _)| suffix).eq(other.each().map(|(suffix, _)| suffix))
            && self.each().zip(other.each()).all(|((_, a), (_, b))| same_file_state(a, b))
    }
}

/// Returns whether another process holds one of SQLite's locks on the file.
pub fn is_locked(file: &File) -> bool {
    let mut lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as _,
        l_whence: nix::libc::SEEK_SET as _,
        l_start: LOCK_START as _,
        l_len: LOCK_BYTES as _,
        l_pid: 0,
    };
    let asked = fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock));
    asked.is_ok() && lock.l_type != nix::libc::F_UNLCK as nix::libc::c_short
}

/// Returns whether a file was written so lately that the next write might not show in the time of the last.
pub fn is_fresh(stat: &Stat) -> bool {
    let mtime = stat.metadata.mtime;
    let written = Duration::new(u64::try_from(mtime.seconds).unwrap_or(0), mtime.nanos);
    // A tick of Linux's clock is up to 10 ms; file systems that keep whole or even seconds only are coarser.
    let tick = Duration::from_millis(if mtime.nanos == 0 { 2_000 } else { 100 });
    SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now < written + tick)
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

/// A folder for one copy and what SQLite puts beside it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(above: &Path) -> io::Result<Self> {
        if !above.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        }
        // The system's folder for temporary files is everybody's: a name that nobody can know, and nothing there before.
        let path = above.join(format!("daykeep-capture-{:016x}", u64::from_le_bytes(crate::crypt::random()?)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn database(&self) -> PathBuf {
        self.0.join("database")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the next backup begins.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why a database could not be captured, in words that go on from "could not be copied through SQLite: ".
#[derive(Debug)]
pub struct NotCaptured(pub String);

impl From<io::Error> for NotCaptured {
    fn from(error: io::Error) -> Self {
        Self(format!("cannot write the copy: {error}"))
    }
}

impl From<rusqlite::Error> for NotCaptured {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Copies databases that are in use.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'a> {
    /// Where copies are made, each in a folder of its own.
    pub folder: &'a Path,
    /// Whether each copy is checked by `PRAGMA quick_check`.
    pub verify: bool,
}

impl Capture<'_> {
    /// Copies the database `name` in `dir`, which was as `stat` says.
    ///
    /// # Errors
    /// Why there is no copy; the source is as it was.
    pub fn take(&self, dir: &Dir, name: &CStr, stat: &Stat) -> Result<Captured, NotCaptured> {
        let failed = |error| NotCaptured(format!("cannot look at what lies beside it: {error}"));
        let path = dir.real_path().map_err(failed)?.join(OsStr::from_bytes(name.to_bytes()));
        let path = path.as_path();
        let folder = Folder::new(self.folder)?;
        let copy = folder.database();
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            let companions = Companions::of(dir, name).map_err(failed)?;
            let bytes = stat.size + companions.each().map(|(_, stat)| stat.size).sum::<u64>();
            self.check_space(bytes)?;
            // Without its shared memory nobody has a log open, and to read it we would have to make one.
            let outcome = match companions.wal.is_some() && !companions.has_shm {
                true => Err(InPlace::Alone),
                false => copy_in_place(path, stat, &copy),
            };
            match outcome {
                Ok(()) => break,
                Err(InPlace::Busy(_)) if begun.elapsed() < PATIENCE => {}
                Err(InPlace::Busy(why)) => {
                    return Err(NotCaptured(format!("a program has kept it locked for 30 s ({why})")));
                }
                // A journal that was just deleted looks like one of a writer that crashed.
                Err(InPlace::Hot) if tries < HOT_TRIES => {}
                Err(InPlace::Alone | InPlace::Hot) => {
                    copy_files(dir, name, path, &copy)?;
                    break;
                }
                Err(InPlace::Not(why)) => return Err(why),
            }
            tries += 1;
            let _ = fs::remove_file(&copy);
            std::thread::sleep(Duration::from_millis(u64::from(tries.min(20))));
        }
        let problem = if self.verify { quick_check(&copy)? } else { None };
        Ok(Captured { file: File::open(&copy)?, problem, _folder: folder })
    }

    fn check_space(&self, bytes: u64) -> Result<(), NotCaptured> {
        let disk = rustix::fs::statvfs(self.folder).map_err(io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= bytes + SPARE_BYTES {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(NotCaptured(format!("the copy needs {bytes} bytes and {folder} has {free} left; free some space there")))
    }
}

/// Removes what a backup that was killed left in the folder of copies. No other may be under way.
pub fn remove_copies(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}

/// Why a database could not be copied where it lies.
enum InPlace {
    /// Somebody writes; later it may be possible.
    Busy(String),
    /// Its journal is one of a writer that crashed, so that somebody has to roll it back.
    Hot,
    /// Nobody has it open, and its log can only be read by somebody who may write beside it.
    Alone,
    /// It cannot be copied at all.
    Not(NotCaptured),
}

impl From<rusqlite::Error> for InPlace {
    fn from(error: rusqlite::Error) -> Self {
        const READONLY_RECOVERY: i32 = 8 | 1 << 8;
        const READONLY_ROLLBACK: i32 = 8 | 3 << 8;
        const READONLY_CANTINIT: i32 = 8 | 5 << 8;
        let Some(failure) = error.sqlite_error() else { return Self::Not(error.into()) };
        match (failure.code, failure.extended_code) {
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Busy(error.to_string()),
            (_, READONLY_ROLLBACK) => Self::Hot,
            (_, READONLY_RECOVERY | READONLY_CANTINIT) | (ErrorCode::CannotOpen, _) => Self::Alone,
            _ => Self::Not(error.into()),
        }
    }
}

/// Copies the pages of one committed state of the database at `path`.
fn copy_in_place(path: &Path, stat: &Stat, copy: &Path) -> Result<(), InPlace> {
    let source = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // SQLite opens by path, so it has to be seen that it opened what is meant.
    let is_same = |found: fs::Metadata| found.ino() == stat.metadata.inode && found.dev() == stat.device;
    if !fs::metadata(path).is_ok_and(is_same) {
        return Err(InPlace::Not(NotCaptured("it was replaced meanwhile".into())));
    }
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    source.busy_timeout(Duration::from_millis(500))?;
    source.execute_batch("BEGIN")?;
    let schema_version: i32 = source.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    let mut target = Connection::open_with_flags(
        copy,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE")?;
    match Backup::new(&source, &mut target)?.step(-1)? {
        StepResult::Done => {}
        other => return Err(InPlace::Busy(format!("{other:?}"))),
    }
    drop(target);
    drop(source);
    // SQLite counts the copy as a change of the copy's schema.
    let patch = |file: File| file.write_all_at(&schema_version.to_be_bytes(), SCHEMA_VERSION_AT);
    fs::OpenOptions::new().write(true).open(copy).and_then(patch).map_err(|error| InPlace::Not(error.into()))
}

/// Copies a database that nobody has open with its log and journal, and lets SQLite bring the copy in order.
fn copy_files(dir: &Dir, name: &CStr, path: &Path, copy: &Path) -> Result<(), NotCaptured> {
    let failed = |error: io::Error| NotCaptured(format!("cannot copy {}: {error}", path.display()));
    for _ in 0..COPY_TRIES {
        let before = (dir.stat(name).map_err(failed)?, Companions::of(dir, name).map_err(failed)?);
        copy_file(dir, name, copy).map_err(failed)?;
        for suffix in SUFFIXES {
            let beside = beside(copy, suffix);
            let _ = fs::remove_file(&beside);
            if before.1.each().any(|(other, _)| other == suffix) {
                let name = CString::new([name.to_bytes(), suffix.as_bytes()].concat())
                    .map_err(|error| failed(error.into()))?;
                copy_file(dir, &name, &beside).map_err(failed)?;
            }
        }
        let after = (dir.stat(name).map_err(failed)?, Companions::of(dir, name).map_err(failed)?);
        if same_file_state(&before.0, &after.0) && before.1.same(&after.1) {
            let database =
                Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            database.execute_batch("PRAGMA synchronous = OFF")?;
            let _: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            let _: i64 = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            database.close().map_err(|(_, error)| error)?;
            return Ok(());
        }
    }
    Err(NotCaptured("it changes all the time, and its log cannot be read where it lies".into()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().as_bytes().to_vec();
    name.extend_from_slice(suffix.as_bytes());
    PathBuf::from(OsStr::from_bytes(&name))
}

fn copy_file(dir: &Dir, name: &CStr, to: &Path) -> io::Result<()> {
    let (mut from, _) = dir.open_file(name)?;
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut from, &mut out)?;
    out.flush()
}

/// Returns what SQLite finds wrong with a copy.
fn quick_check(copy: &Path) -> Result<Option<String>, NotCaptured> {
    let database =
        Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let found: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}
