//! What SQLite keeps beside a database, told from a user's files of the same names.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::format::tree::Timestamp;
use crate::source::database::is_fresh;
use crate::source::dir::Dir;
use crate::source::stat::{FileKind, Stat, same_file_state};

/// What SQLite keeps beside a database, by the ends of the names.
pub const SUFFIXES: [&str; 3] = [WAL, "-journal", "-shm"];
pub(super) const WAL: &str = "-wal";
pub(super) const JOURNAL: &str = "-journal";
/// How a log begins; the last bit tells the byte order of its checksums.
const WAL_MAGIC: u32 = 0x377f_0682;
/// How a journal begins that may have to be rolled back.
pub(super) const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// How shared memory begins, in the byte order of the machine.
const SHM_VERSION: u32 = 3_007_000;
/// Shared memory grows by so many bytes.
const SHM_BYTES: u64 = 32 * 1024;
/// How much of such a file is looked at: a journal's header and the number of the first page in it.
const HEAD_BYTES: usize = 516;
/// Where a log has its two salts.
const SALTS: std::ops::Range<usize> = 16..24;

/// Returns the name of the database whose log, journal or shared memory would be called `name`.
pub fn database_of(name: &[u8]) -> Option<&[u8]> {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes())).filter(|name| !name.is_empty())
}

/// Returns whether the file `name` is SQLite's own, and no file of the user's that happens to be called so: it is empty, or
/// begins as a log, a journal or shared memory does. It is read from its beginning.
///
/// # Errors
/// The system's, if it cannot be read.
pub fn is_companion(name: &[u8], file: &File) -> io::Result<bool> {
    let bytes = file.metadata()?.len();
    Ok(bytes == 0 || looks_so(name, bytes, &head_of(file)?))
}

/// Returns whether `name` in `dir` is SQLite's own, as [`is_companion`] does. Anything but a regular file is not.
pub fn is_companion_in(dir: &Dir, name: &CStr) -> io::Result<bool> {
    match dir.open_file(name) {
        Ok((file, _)) => is_companion(name.to_bytes(), &file),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}

fn head_of(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

fn number(head: &[u8], at: usize) -> Option<u32> {
    head.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn looks_so(name: &[u8], bytes: u64, head: &[u8]) -> bool {
    if name.ends_with(WAL.as_bytes()) {
        number(head, 0).is_some_and(|magic| magic & !1 == WAL_MAGIC)
    } else if name.ends_with(JOURNAL.as_bytes()) {
        head.starts_with(&JOURNAL_MAGIC) || is_cold_journal(head)
    } else {
        let is_version = number(head, 0).is_some_and(|first| [first, first.swap_bytes()].contains(&SHM_VERSION));
        // It is all zeros until somebody has read the log.
        is_version || (bytes.is_multiple_of(SHM_BYTES) && head.iter().all(|&byte| byte == 0))
    }
}

/// Returns whether a journal begins so that nothing is to be rolled back: its magic is not written until the journal is
/// safe on disk, and where it stays from one transaction to the next its header is overwritten by zeros.
fn is_cold_journal(head: &[u8]) -> bool {
    let is_size =
        |at: usize| number(head, at).is_some_and(|size| size.is_power_of_two() && (32..=65_536).contains(&size));
    let is_zero =
        |range: std::ops::Range<usize>| head.get(range).is_some_and(|part| part.iter().all(|&byte| byte == 0));
    let is_unsafe_yet = is_zero(0..12) && is_size(20) && is_size(24);
    let is_over = is_zero(0..512) && number(head, 512).is_some_and(|page| page != 0);
    is_unsafe_yet || is_over
}

/// A log or journal of SQLite's.
#[derive(Clone, Debug)]
struct Beside {
    stat: Stat,
    /// Of a log: the salts, which are other ones whenever it is begun anew.
    salts: Option<[u8; 8]>,
    /// Whether there is something in it that the database lacks, or has to be rolled back by.
    is_live: bool,
}

/// What lies beside a database, as far as it is SQLite's.
#[derive(Clone, Debug, Default)]
pub struct Companions {
    wal: Option<Beside>,
    journal: Option<Beside>,
}

impl Companions {
    /// Looks at what lies beside the database `name`.
    ///
    /// # Errors
    /// The system's.
    pub fn of(dir: &Dir, name: &CStr) -> io::Result<Self> {
        Ok(Self { wal: beside(dir, name, WAL)?, journal: beside(dir, name, JOURNAL)? })
    }

    /// Returns whether there is a log or journal.
    pub const fn any(&self) -> bool {
        self.wal.is_some() || self.journal.is_some()
    }

    /// Returns whether there is a log, be it an empty one.
    pub const fn has_log_file(&self) -> bool {
        self.wal.is_some()
    }

    /// Returns whether there is a log with something in it.
    pub fn has_log(&self) -> bool {
        self.wal.as_ref().is_some_and(|wal| wal.is_live)
    }

    /// Returns whether there is a journal by which something may have to be rolled back.
    pub fn has_hot_journal(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_live)
    }

    /// Returns whether the log is the same as in `other`, and was not begun anew: it may have grown.
    pub fn same_log(&self, other: &Self) -> bool {
        match (&self.wal, &other.wal) {
            (None, None) => true,
            (Some(a), Some(b)) => a.salts == b.salts && a.stat.identity() == b.stat.identity(),
            _ => false,
        }
    }

    /// Returns whether nothing tells that the log was used between `self` and `other`.
    pub fn same_unused_log(&self, other: &Self) -> bool {
        match (&self.wal, &other.wal) {
            (None, None) => true,
            (Some(a), Some(b)) => same_file_state(&a.stat, &b.stat) && !is_fresh(&a.stat),
            _ => false,
        }
    }

    /// Returns whether none of them changed at `time` or later.
    pub fn is_older_than(&self, time: Timestamp) -> bool {
        self.each().all(|(_, stat)| stat.metadata.mtime < time)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &Stat)> {
        let both = [(WAL, &self.wal), (JOURNAL, &self.journal)];
        both.into_iter().filter_map(|(suffix, beside)| Some((suffix, &beside.as_ref()?.stat)))
    }

    /// Returns the bytes of the log and the journal.
    pub(super) fn bytes(&self) -> u64 {
        self.each().map(|(_, stat)| stat.size).sum()
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
}

pub(super) fn name_beside(name: &CStr, suffix: &str) -> io::Result<CString> {
    Ok(CString::new([name.to_bytes(), suffix.as_bytes()].concat())?)
}

fn beside(dir: &Dir, name: &CStr, suffix: &str) -> io::Result<Option<Beside>> {
    let name = name_beside(name, suffix)?;
    // Most databases have nothing beside them, and what is no regular file must not even be opened.
    let is_there = match dir.stat(&name) {
        Ok(stat) => stat.kind == FileKind::File,
        Err(error) if is_absence(&error) => false,
        Err(error) => return Err(error),
    };
    if !is_there {
        return Ok(None);
    }
    let (file, stat) = match dir.open_file(&name) {
        Ok(opened) => opened,
        Err(error) if is_absence(&error) || error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(error),
    };
    let head = head_of(&file)?;
    // What is looked at is what was read, not what the length was a moment before.
    let is_live = match suffix {
        WAL => !head.is_empty(),
        _ => head.starts_with(&JOURNAL_MAGIC),
    };
    let salts = head.get(SALTS).and_then(|salts| salts.try_into().ok());
    let is_ours = head.is_empty() || looks_so(name.to_bytes(), stat.size, &head);
    Ok(is_ours.then_some(Beside { stat, salts, is_live }))
}

/// Returns whether there is no such file; with a longer name it could not be there.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
}
