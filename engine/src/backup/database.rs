//! Backs up an SQLite database in one committed state: read where it lies, under SQLite's lock, if its file alone is all of
//! it; otherwise from a copy.

use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::backup::engine::{DirPath, Engine};
use crate::backup::options::SqliteCapture;
use crate::base::lock;
use crate::chunk::{HEADER_BYTES, SNIFF_BYTES, has_encrypted_pages, sniff};
use crate::error::{Error, Result};
use crate::format::tree::{self, CaptureKind, Class, Entry, Node};
use crate::source::database::{
    Asked, Capture, Captured, Companions, NotCaptured, SharedLock, has_log_mode, is_fresh, is_locked, is_reserved,
};
use crate::source::{Dir, Stat, same_file_state};

/// The shortest page of a database; a file of another length is none.
const PAGE_BYTES_MIN: u64 = 512;

/// A file that begins as a database does.
#[derive(Clone, Copy)]
pub(super) struct DatabaseFile<'f> {
    pub dir: &'f Dir,
    pub name: &'f CStr,
    pub path: &'f DirPath<'f>,
    pub file: &'f File,
}

/// Returns whether a file is an SQLite database, by its length and its first bytes.
fn is_database(file: &File, stat: &Stat) -> bool {
    let mut head = [0; SNIFF_BYTES];
    stat.size > 0
        && stat.size.is_multiple_of(PAGE_BYTES_MIN)
        && file.read_exact_at(&mut head, 0).is_ok()
        && sniff(&head).class == Class::Sqlite
}

/// Returns whether only the header of a database is in clear, so that SQLite cannot read it.
fn is_encrypted(file: &File) -> bool {
    let mut head = [0; HEADER_BYTES];
    file.read_exact_at(&mut head, 0).is_ok() && has_encrypted_pages(&head)
}

impl Engine<'_> {
    /// Returns whether a file that is `stat` is a database whose state matters.
    pub fn is_database(&self, file: &File, stat: &Stat) -> bool {
        self.captures.is_on() && is_database(file, stat)
    }

    /// Returns what tells names of one inode apart that stand for different contents: of a database, what lies beside each.
    pub fn beside(&self, dir: &Dir, name: &CStr, file: &File, stat: &Stat) -> [u8; 16] {
        let matters = stat.metadata.link_device.is_some() && self.is_database(file, stat);
        let companions = matters.then(|| Companions::of(dir, name).unwrap_or_default());
        companions.filter(Companions::any).map_or([0; 16], |companions| companions.state(stat.size))
    }

    /// Backs up a database; `None` if it cannot be read at all.
    pub fn database(&self, found: DatabaseFile<'_>, previous: Option<&Entry>) -> Result<Option<Node>> {
        let full_path = || found.path.join(found.name.to_bytes());
        if is_encrypted(found.file) {
            // Its log is saved after it, as one more file: whatever came from that into the database is in it still.
            lock(&self.captures.as_they_are).insert(full_path());
            return self.database_as_it_is(found, previous, true);
        }
        if let Some(node) = self.database_in_place(found, previous)? {
            return Ok(Some(node));
        }
        if let Some((captured, capture)) = self.captured(found)? {
            let stat = Stat::of_file(&captured.file);
            let read = stat.map(|stat| self.file_content((&captured.file, None), &stat, full_path, previous));
            match read {
                Ok(read) => match read? {
                    Ok((content, class)) => return Ok(Some(Node::File { content, class, capture: Some(capture) })),
                    Err(error) => self.warn_io(full_path(), "read its copy", &error),
                },
                Err(error) => self.warn_io(full_path(), "read its copy", &error),
            }
            return Ok(None);
        }
        lock(&self.captures.as_they_are).insert(full_path());
        self.database_as_it_is(found, previous, false)
    }

    /// Reads a database where it lies; `None` if that gives no committed state, or none that can be relied upon.
    fn database_in_place(&self, found: DatabaseFile<'_>, previous: Option<&Entry>) -> Result<Option<Node>> {
        let DatabaseFile { dir, name, file, .. } = found;
        let full_path = || found.path.join(name.to_bytes());
        let asked = SharedLock::ask(file);
        // Looked at under the lock, so that nobody removes a log unseen.
        let (Ok(companions), Ok(before)) = (Companions::of(dir, name), Stat::of_file(file)) else { return Ok(None) };
        let is_quiet = match &asked {
            // Whoever is about to write has not begun yet, or we would not have the lock.
            Asked::Held(_) => !companions.has_hot_journal() || is_reserved(file),
            Asked::Unknown => !companions.has_hot_journal() && !is_fresh(&before),
            Asked::Busy => false,
        };
        let is_to_be_checked = self.captures.mode == SqliteCapture::Verify && (companions.any() || is_locked(file));
        if !is_quiet || companions.has_log() || is_to_be_checked {
            return Ok(None);
        }
        let was_fresh = is_fresh(&before);
        let held = match &asked {
            Asked::Held(lock) => Some(lock),
            Asked::Busy | Asked::Unknown => None,
        };
        let read = self.file_content((file, held), &before, full_path, previous)?;
        let (content, class) = match read {
            Ok(read) => read,
            Err(error) => {
                self.warn_io(full_path(), "read it", &error);
                return Ok(None);
            }
        };
        let (Ok(later), Ok(after)) = (Companions::of(dir, name), Stat::of_file(file)) else { return Ok(None) };
        let is_same = same_file_state(&before, &after) && companions.same_unused_log(&later);
        // Half a second is longer than a tick, if the file system keeps less than seconds.
        let may_hide_writes = held.is_some() && was_fresh && before.metadata.mtime.nanos == 0;
        let is_sound = held.is_some_and(SharedLock::was_held) || (!later.has_hot_journal() && !may_hide_writes);
        if !is_same || !is_sound || (later.has_log() && has_log_mode(file)) {
            return Ok(None);
        }
        if companions.any() {
            lock(&self.captures.captured).push(full_path());
        }
        // Whatever a restore finds beside it belongs to another state.
        let capture = tree::Capture { kind: CaptureKind::Sqlite, state: companions.state(before.size) };
        Ok(Some(Node::File { content, class, capture: Some(capture) }))
    }

    /// Copies a database; `None`, with a warning, if that cannot be done.
    fn captured(&self, found: DatabaseFile<'_>) -> Result<Option<(Captured, tree::Capture)>> {
        let full_path = || found.path.join(found.name.to_bytes());
        let capture = Capture {
            folder: &self.captures.folder,
            verify: self.captures.mode == SqliteCapture::Verify,
            cancel: &self.options.cancel,
        };
        // What is looked at before cannot have changed unseen.
        let seen = Companions::of(found.dir, found.name)
            .and_then(|found_beside| Ok(found_beside.state(Stat::of_file(found.file)?.size)));
        let taken = capture.take(found.dir, found.name, found.file);
        let (state, captured) = match (seen, taken) {
            (_, Err(NotCaptured::Cancelled)) => return Err(Error::Cancelled),
            (Ok(state), Ok(captured)) => (state, captured),
            (Err(error), _) => {
                self.warn_io(full_path(), "look at what lies beside it", &error);
                return Ok(None);
            }
            (_, Err(NotCaptured::Why(why))) => {
                let message = format!(
                    "this database is in use and could not be copied in one state: {why}. Its bytes are saved as they \
                     are; close the program that uses it and back up again to be sure of them"
                );
                match Stat::of_file(found.file) {
                    Ok(stat) => self.tell_condition(full_path(), &stat, message, true),
                    Err(_) => self.warn(full_path(), message),
                }
                return Ok(None);
            }
        };
        if let Some(problem) = &captured.problem {
            self.warn(full_path(), format!("SQLite finds this database damaged: {problem}; saved as it is"));
        }
        lock(&self.captures.captured).push(full_path());
        Ok(Some((captured, tree::Capture { kind: CaptureKind::Sqlite, state })))
    }

    /// Saves the bytes of a database as any file's, which is told unless it `may_change` meanwhile.
    fn database_as_it_is(
        &self,
        found: DatabaseFile<'_>,
        previous: Option<&Entry>,
        may_change: bool,
    ) -> Result<Option<Node>> {
        let full_path = || found.path.join(found.name.to_bytes());
        let read = Stat::of_file(found.file).map(|before| {
            let read = self.file_content((found.file, None), &before, full_path, previous);
            (before, read)
        });
        let outcome = match read {
            Ok((before, read)) => read?.map(|read| (before, read)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((before, (content, class))) => {
                let is_same = Stat::of_file(found.file).is_ok_and(|after| same_file_state(&before, &after));
                if !is_same && !may_change {
                    self.warn(full_path(), "changed while it was read; saved as it was read".into());
                }
                Ok(Some(Node::File { content, class, capture: None }))
            }
            Err(error) => {
                self.warn_io(full_path(), "read it", &error);
                Ok(None)
            }
        }
    }
}
