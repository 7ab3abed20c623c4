//! Contents that are not a file's own bytes: databases in use, taken through SQLite, and those inside WhatsApp's encrypted
//! files.

use std::ffi::CStr;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::backup::engine::{DirPath, Engine};
use crate::backup::file::{ReadSource, Stream};
use crate::backup::options::{BackupOptions, SqliteCapture};
use crate::backup::outcome::find_near;
use crate::base::lock;
use crate::chunk::{SNIFF_BYTES, sniff};
use crate::error::{Error, Result};
use crate::format::tree::{self, CaptureKind, Class, Entry, Node, Timestamp};
use crate::source::database::{self, Capture, Captured, Companions};
use crate::source::names::Names;
use crate::source::whatsapp::{self, Refused};
use crate::source::{Dir, Stat};

/// The endings of WhatsApp's encrypted files.
const CRYPT_ENDINGS: [&[u8]; 3] = [b".crypt12", b".crypt14", b".crypt15"];

/// Returns the name of the database in one of WhatsApp's encrypted files, if `name` is one of theirs.
fn opened_name(name: &[u8]) -> Option<&[u8]> {
    CRYPT_ENDINGS.iter().find_map(|ending| name.strip_suffix(*ending)).filter(|name| tree::is_valid_name(name))
}

/// Returns the name that the entry of the file `name` has.
pub(super) fn entry_name<'n>(name: &'n [u8], node: &Node) -> &'n [u8] {
    match node.capture() {
        Some(tree::Capture { kind: CaptureKind::WhatsApp, .. }) => opened_name(name).unwrap_or(name),
        _ => name,
    }
}

/// Returns the parent's entry of the file `name`.
pub(super) fn previous<'e>(entries: &'e [Entry], near: usize, name: &[u8]) -> Option<&'e Entry> {
    let is_opened = |entry: &&Entry| entry_name(name, &entry.node) == entry.name && entry.name != name;
    let opened = opened_name(name).and_then(|inside| find_near(entries, near, inside)).filter(is_opened);
    opened.or_else(|| find_near(entries, near, name))
}

/// Returns whether another entry of the tree has the name that the database in the encrypted file `name` would have, or
/// would have it too; `has` tells which names there are.
pub(super) fn is_taken(name: &[u8], has: impl Fn(&[u8]) -> bool) -> bool {
    let Some(inside) = opened_name(name) else { return false };
    let is_there = |ending: &[u8]| {
        let other = [inside, ending].concat();
        other != name && has(&other)
    };
    is_there(b"") || CRYPT_ENDINGS.into_iter().any(is_there)
}

/// Whether a file is a database that somebody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is none, or nobody does.
    None,
    /// It was written a moment ago, and might be written again without its times telling.
    Possible,
    /// There is a lock on it, or a log or journal beside it.
    Certain,
}

/// The shortest page of a database; a file of another length is none.
const PAGE_BYTES_MIN: u64 = 512;

/// How this backup takes databases, and which it took.
pub(super) struct Captures {
    mode: SqliteCapture,
    /// Whether encrypted files can be opened.
    has_key: bool,
    /// Where copies lie for as long as they are read.
    folder: PathBuf,
    /// The databases that were taken through SQLite.
    pub captured: Mutex<Vec<PathBuf>>,
    /// The encrypted files that were opened.
    pub opened: Mutex<Vec<PathBuf>>,
    /// What was left out for it.
    pub companions: Mutex<Vec<PathBuf>>,
}

impl Captures {
    /// Copies lie in the cache directory, or where the system keeps temporary files.
    pub fn new(cache_dir: Option<&Path>, options: &BackupOptions) -> Self {
        let own_folder = cache_dir.map(|dir| dir.join("captures"));
        if let Some(folder) = &own_folder {
            // Only one process at a time writes to a repository, so whatever lies there was left by one that was killed.
            database::remove_copies(folder);
        }
        let folder = own_folder.unwrap_or_else(std::env::temp_dir);
        let (mode, has_key) = (options.sqlite, options.whatsapp_key.is_some());
        Self {
            mode,
            has_key,
            folder,
            captured: Mutex::default(),
            opened: Mutex::default(),
            companions: Mutex::default(),
        }
    }

    /// Returns whether databases in use are taken through SQLite.
    pub fn is_on(&self) -> bool {
        self.mode != SqliteCapture::Off
    }

    /// Returns which of `names` would be the log, journal or shared memory of another, and of which, by their places.
    pub fn companions(&self, names: &Names) -> Vec<(usize, usize)> {
        if !self.is_on() {
            return Vec::new();
        }
        let database = |index: usize| names.position(database::database_of(names.get(index).to_bytes())?);
        (0..names.len()).filter_map(|index| Some((index, database(index)?))).collect()
    }

    /// Returns whether the entry was taken through SQLite, so that what lies beside it is in it.
    pub fn is_captured(entry: Option<&Entry>) -> bool {
        let kind = entry.and_then(|entry| entry.node.capture()).map(|capture| capture.kind);
        kind == Some(CaptureKind::Sqlite)
    }

    /// Returns whether a database is as the parent has it, as far as what lies beside it tells.
    pub fn is_unmodified(&self, place: (&Dir, &CStr), previous: &Entry, stat: &Stat, racy_from: Timestamp) -> bool {
        let (class, capture) = match &previous.node {
            Node::File { class, capture, .. } => (*class, *capture),
            _ => return true,
        };
        match (capture, self.mode) {
            (Some(tree::Capture { kind: CaptureKind::WhatsApp, state }), _) => state == encrypted_state(stat),
            // With a key, an encrypted file that was saved as it is is tried again.
            (None, _) if self.has_key && opened_name(&previous.name).is_some() => false,
            (None, SqliteCapture::Off) => true,
            (None, _) if class != Class::Sqlite => true,
            (None, _) => Companions::of(place.0, place.1).is_ok_and(|companions| !companions.any()),
            (Some(_), SqliteCapture::Off) => false,
            (Some(capture), _) => Companions::of(place.0, place.1).is_ok_and(|companions| {
                companions.is_older_than(racy_from) && companions.state(stat.size) == capture.state
            }),
        }
    }
}

/// Returns what tells, beside its times, that an encrypted file is as it was: its length, for nothing lies beside it.
fn encrypted_state(stat: &Stat) -> [u8; 16] {
    Companions::default().state(stat.size)
}

/// Returns whether a file is an SQLite database, by its length and its first bytes.
fn is_database(file: &File, stat: &Stat) -> bool {
    let mut head = [0; SNIFF_BYTES];
    stat.size > 0
        && stat.size.is_multiple_of(PAGE_BYTES_MIN)
        && file.read_exact_at(&mut head, 0).is_ok()
        && sniff(&head).class == Class::Sqlite
}

impl Engine<'_> {
    /// Opens one of WhatsApp's encrypted files and returns the database inside; `None`, with a warning, if that cannot be
    /// done, and without one if there is no key or it is no such file.
    pub fn open_crypt(
        &self,
        name: &CStr,
        path: &DirPath<'_>,
        (file, stat): (&File, &Stat),
        previous: Option<&Entry>,
    ) -> Result<Option<Node>> {
        let Some(key) = self.options.whatsapp_key.as_ref().filter(|_| opened_name(name.to_bytes()).is_some()) else {
            return Ok(None);
        };
        let full_path = || path.join(name.to_bytes());
        let opened = match whatsapp::open(file, stat.size, key, &self.options.cancel) {
            Ok(opened) => opened,
            Err(Refused::Cancelled) => return Err(Error::Cancelled),
            Err(refused) => {
                self.warn(full_path(), refused.to_string());
                return Ok(None);
            }
        };
        let content = previous.filter(|entry| entry.node.capture().is_some()).and_then(|entry| entry.node.content());
        let last = (full_path().into_os_string().into_vec(), content.cloned());
        let mut stream = Stream { last: Some(last), ..Stream::default() };
        let mut scratch = self.writer.lend()?;
        let outcome = self.stream(&mut ReadSource(opened), &mut stream, &mut scratch);
        match self.end_stream(stream, scratch, outcome)? {
            Ok((content, class)) => {
                lock(&self.captures.opened).push(full_path());
                let capture = Some(tree::Capture { kind: CaptureKind::WhatsApp, state: encrypted_state(stat) });
                Ok(Some(Node::File { content, class, capture }))
            }
            Err(_) if self.options.cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) => {
                self.warn(full_path(), format!("{error}; saved as it is, encrypted"));
                Ok(None)
            }
        }
    }

    /// Returns whether a file that is `stat` is a database that should be taken through SQLite.
    pub fn database_use(&self, dir: &Dir, name: &CStr, file: &File, stat: &Stat) -> Use {
        if !self.captures.is_on() || !is_database(file, stat) {
            Use::None
        } else if database::is_locked(file) || Companions::of(dir, name).is_ok_and(|companions| companions.any()) {
            Use::Certain
        } else if database::is_fresh(stat) {
            Use::Possible
        } else {
            Use::None
        }
    }

    /// Takes a database through SQLite; `None` if that cannot be done, with a warning unless it need not be.
    pub fn capture(
        &self,
        dir: &Dir,
        name: &CStr,
        path: &DirPath<'_>,
        stat: &Stat,
        is_needed: bool,
    ) -> Option<(Captured, tree::Capture)> {
        let full_path = || path.join(name.to_bytes());
        let capture = Capture { folder: &self.captures.folder, verify: self.captures.mode == SqliteCapture::Verify };
        // What is looked at before cannot have changed unseen.
        let state = Companions::of(dir, name).map(|companions| companions.state(stat.size));
        let taken = capture.take(dir, name, stat);
        let (state, captured) = match (state, taken) {
            (Ok(state), Ok(captured)) => (state, captured),
            (Err(error), _) => {
                self.warn_io(full_path(), "look at what lies beside it", &error);
                return None;
            }
            (_, Err(_)) if !is_needed => return None,
            (_, Err(why)) => {
                let message = format!(
                    "this database is in use and could not be copied through SQLite: {}. Its bytes are saved as they \
                     are; close the program that uses it and back up again to be sure of them",
                    why.0
                );
                self.warn(full_path(), message);
                return None;
            }
        };
        if let Some(problem) = &captured.problem {
            self.warn(full_path(), format!("SQLite finds this database damaged: {problem}; saved as it is"));
        }
        lock(&self.captures.captured).push(full_path());
        Some((captured, tree::Capture { kind: CaptureKind::Sqlite, state }))
    }
}
