//! Contents that are not a file's own bytes, and what is left out for them: which databases were taken how, and those inside
//! WhatsApp's encrypted files.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::backup::engine::{DirPath, Engine};
use crate::backup::file::{ReadSource, Stream};
use crate::backup::options::{BackupOptions, SqliteCapture};
use crate::backup::outcome::find_near;
use crate::base::lock;
use crate::catalog::Told;
use crate::error::{Error, Result};
use crate::format::config::GearKey;
use crate::format::content::Content;
use crate::format::tree::{self, CaptureKind, Class, Entry, Node, Timestamp};
use crate::source::database::{self, Companions};
use crate::source::names::Names;
use crate::source::whatsapp::{self, Envelope, Refused};
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

/// Returns whether another name of the same file has this content too: what an encrypted file is opened for is its name.
pub(super) fn is_of_any_name(node: &Node) -> bool {
    node.capture().is_none_or(|capture| capture.kind != CaptureKind::WhatsApp)
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

/// How this backup takes databases, and which it took.
pub(super) struct Captures {
    pub mode: SqliteCapture,
    /// Whether encrypted files can be opened.
    has_key: bool,
    /// Where copies lie for as long as they are read.
    pub folder: PathBuf,
    /// The databases in use that were taken in one committed state.
    pub captured: Mutex<Vec<PathBuf>>,
    /// The encrypted files that were opened.
    pub opened: Mutex<Vec<PathBuf>>,
    /// What was left out for it.
    pub companions: Mutex<Vec<PathBuf>>,
    /// The databases whose files are saved as they are, with what lies beside them: nothing better could be had.
    pub as_they_are: Mutex<HashSet<PathBuf>>,
    /// What was told in earlier backups of files that have not changed since.
    told: Option<Told>,
    /// The files that this is about.
    known: Mutex<Vec<PathBuf>>,
    /// Of each folder at work, the database inside an encrypted file that the next one may resemble.
    siblings: Mutex<HashMap<PathBuf, Sibling>>,
}

/// The database inside an encrypted file.
#[derive(Clone)]
struct Sibling {
    /// The file's path.
    path: PathBuf,
    content: Content,
    /// Whether it was stored in this backup.
    is_new: bool,
}

impl Captures {
    /// Copies lie in the cache directory, or where the system keeps temporary files.
    pub fn new(cache_dir: Option<&Path>, key: GearKey, options: &BackupOptions) -> Self {
        let told = cache_dir.map(|dir| Told::new(dir, key));
        let own_folder = cache_dir.map(|dir| dir.join("captures"));
        if let Some(folder) = &own_folder {
            // Only one process at a time writes to a repository, so whatever lies there was left by one that was killed.
            database::remove_copies(folder);
        }
        let folder = own_folder.unwrap_or_else(std::env::temp_dir);
        let (mode, has_key) = (options.sqlite, !options.whatsapp_keys.is_empty());
        Self {
            mode,
            has_key,
            folder,
            captured: Mutex::default(),
            opened: Mutex::default(),
            companions: Mutex::default(),
            as_they_are: Mutex::default(),
            told,
            known: Mutex::default(),
            siblings: Mutex::default(),
        }
    }

    /// Returns whether databases in use are taken in one committed state.
    pub fn is_on(&self) -> bool {
        self.mode != SqliteCapture::Off
    }

    /// Returns whether the file `name` may be opened with a key.
    pub fn may_open(&self, name: &[u8]) -> bool {
        self.has_key && opened_name(name).is_some()
    }

    /// Takes note of the database inside the encrypted file `name`, if it is one.
    pub fn note_sibling(&self, path: &DirPath<'_>, name: &CStr, entry: Option<&Entry>, is_new: bool) {
        if let Some(Node::File { content, class: Class::Sqlite, capture: Some(capture) }) =
            entry.map(|entry| &entry.node)
            && capture.kind == CaptureKind::WhatsApp
        {
            let sibling = Sibling { path: path.join(name.to_bytes()), content: content.clone(), is_new };
            lock(&self.siblings).insert(path.join(b""), sibling);
        }
    }

    /// Forgets a folder that is done.
    pub fn forget_siblings(&self, path: &DirPath<'_>) {
        lock(&self.siblings).remove(&path.join(b""));
    }

    /// Returns which of `names` would be the log, journal or shared memory of another, and of which, by their places.
    pub fn companions(&self, names: &Names) -> Vec<(usize, usize)> {
        if !self.is_on() {
            return Vec::new();
        }
        let database = |index: usize| names.position(database::database_of(names.get(index).to_bytes())?);
        (0..names.len()).filter_map(|index| Some((index, database(index)?))).collect()
    }

    /// Returns whether the file `name`, called like a log, journal or shared memory of a database whose entry and path are
    /// given, is left out: it is SQLite's own, and the database was saved in a state that needs nothing of it.
    pub fn is_companion(&self, dir: &Dir, name: &CStr, entry: Option<&Entry>, database: &Path) -> bool {
        let is_sqlite = |node: &Node| match node {
            Node::File { capture: Some(capture), .. } => capture.kind == CaptureKind::Sqlite,
            Node::File { class, .. } => *class == Class::Sqlite,
            _ => false,
        };
        entry.is_some_and(|entry| is_sqlite(&entry.node))
            && !lock(&self.as_they_are).contains(database)
            // One that is gone since the names were read was SQLite's: that is how it ends its transactions.
            && database::is_companion_in(dir, name).unwrap_or_else(|error| error.kind() == io::ErrorKind::NotFound)
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

impl Engine<'_> {
    /// Returns the database that those of the folder's encrypted files may resemble of which no earlier version is known: nightly
    /// copies of one database have names of their own. What was stored of it in this backup can be read then.
    fn sibling(&self, path: &DirPath<'_>) -> Result<Option<Sibling>> {
        let found = lock(&self.captures.siblings).get(&path.join(b"")).cloned();
        let Some(sibling) = found.filter(|sibling| !(sibling.is_new && self.options.dry_run)) else { return Ok(None) };
        if sibling.is_new {
            self.writer.checkpoint()?;
        }
        Ok(Some(sibling))
    }

    /// Tells what is the matter with a file that is saved as it is: with a warning if the user `can_act`. If the same was told
    /// before, and the file has not changed since, all such files are told at the end together.
    pub fn tell_condition(&self, path: PathBuf, stat: &Stat, message: String, can_act: bool) {
        let (size, mtime) = (stat.size, stat.metadata.mtime);
        let condition = [
            path.as_os_str().as_bytes(),
            &[0],
            message.as_bytes(),
            &size.to_le_bytes(),
            &mtime.seconds.to_le_bytes(),
            &mtime.nanos.to_le_bytes(),
        ];
        if self.captures.told.as_ref().is_some_and(|told| told.note(&condition.concat())) {
            lock(&self.captures.known).push(path);
        } else if can_act {
            self.warn(path, message);
        } else {
            self.tell(path, message);
        }
    }

    /// Tells together of what was told before, at the end of the work.
    pub fn tell_known(&self) {
        let mut known = std::mem::take(&mut *lock(&self.captures.known));
        known.sort_unstable();
        if let Some(first) = known.first() {
            let others = match known.len() {
                1 => String::new(),
                others => format!(" ({} more files are, too)", others - 1),
            };
            self.tell(
                first.clone(),
                format!("is saved as it is{others}, as was told when it was so for the first time"),
            );
        }
        if let Some(told) = self.captures.told.as_ref().filter(|_| !self.options.dry_run) {
            told.save();
        }
    }

    /// Opens one of WhatsApp's encrypted files and returns the database inside, and what it was sealed in; `None` if that
    /// cannot be done, which is told unless there is no key or it is no such file.
    pub fn open_crypt(
        &self,
        name: &CStr,
        path: &DirPath<'_>,
        (file, stat): (&File, &Stat),
        previous: Option<&Entry>,
    ) -> Result<Option<(Node, Option<Envelope>)>> {
        if !self.captures.may_open(name.to_bytes()) {
            return Ok(None);
        }
        let full_path = || path.join(name.to_bytes());
        let opened = match whatsapp::open_with_any(file, stat.size, &self.options.whatsapp_keys, &self.options.cancel) {
            Ok(opened) => opened,
            Err(Refused::Cancelled) => return Err(Error::Cancelled),
            Err(refused) => {
                let can_act = !matches!(refused, Refused::NotOne | Refused::Unknown { .. });
                self.tell_condition(full_path(), stat, refused.to_string(), can_act);
                return Ok(None);
            }
        };
        let envelope = opened.envelope();
        let content = previous.filter(|entry| entry.node.capture().is_some()).and_then(|entry| entry.node.content());
        let sibling = if content.is_none() { self.sibling(path)? } else { None };
        let like = sibling.as_ref().map(|sibling| sibling.path.clone().into_os_string().into_vec());
        let content = content.cloned().or(sibling.map(|sibling| sibling.content));
        let last = (full_path().into_os_string().into_vec(), content);
        let mut stream = Stream { last: Some(last), like, ..Stream::default() };
        let mut scratch = None;
        let outcome = self.stream(&mut ReadSource(opened), &mut stream, &mut scratch);
        match self.end_stream(stream, scratch, outcome)? {
            Ok((content, class)) => {
                lock(&self.captures.opened).push(full_path());
                let capture = Some(tree::Capture { kind: CaptureKind::WhatsApp, state: encrypted_state(stat) });
                Ok(Some((Node::File { content, class, capture }, envelope)))
            }
            Err(_) if self.options.cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) => {
                self.tell_condition(full_path(), stat, format!("{error}; saved as it is, encrypted"), true);
                Ok(None)
            }
        }
    }
}
