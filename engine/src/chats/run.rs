//! The two operations.

use super::database::{Database, INSTRUCTIONS_MAX};
use super::diff;
use super::find::{Found, find};
use super::listing::Known;
use super::options::{ChatsOptions, DatabaseChanges, DatabaseDiff, DatabaseReport};
use super::temporary::TemporaryFile;
use crate::chunks::ChunkReader;
use crate::error::{Error, Result};
use crate::repo::Repository;
use crate::snapshot::SnapshotPath;

impl Repository {
    /// Says what the SQLite databases at or below a path of a snapshot hold: for WhatsApp's, the chats; for others, the
    /// tables and how many rows each has.
    ///
    /// Each is written to a temporary file in the cache directory while it is looked at, readable by its owner alone. A
    /// database that cannot be read has its error in its report. SQLite's own memory is limited to 256 MiB for the whole
    /// process from then on.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `PathNotFound`, `NoDatabase`, `Cancelled`, or damage to the repository's directories.
    pub fn chats(&self, what: &SnapshotPath, options: &ChatsOptions) -> Result<Vec<DatabaseReport>> {
        let look = Look { repository: self, reader: &self.reader(), options };
        crate::pool::within(self.memory_bytes, options.threads)?.install(|| {
            let found = find(self, look.reader, what, &options.cancel)?;
            found.into_iter().map(|found| look.report(found)).collect()
        })
    }

    /// Says what came, went and changed in the databases at or below one path of a snapshot, until they were those at
    /// or below another: of WhatsApp's, messages by chat; of others, how many rows each table has.
    ///
    /// Databases are compared that lie at the same place below the two paths, or the only one of each.
    ///
    /// # Errors
    /// As [`chats`](Self::chats).
    pub fn chats_diff(
        &self,
        before: &SnapshotPath,
        after: &SnapshotPath,
        options: &ChatsOptions,
    ) -> Result<Vec<DatabaseDiff>> {
        let look = Look { repository: self, reader: &self.reader(), options };
        crate::pool::within(self.memory_bytes, options.threads)?.install(|| {
            let before = find(self, look.reader, before, &options.cancel)?;
            let after = find(self, look.reader, after, &options.cancel)?;
            pairs(before, after).into_iter().map(|pair| look.diff(pair)).collect()
        })
    }
}

/// A database as it was and as it is; at least one of them.
type Pair = (Option<Found>, Option<Found>);

/// Puts together what is to be compared, in the order of the names.
fn pairs(before: Vec<Found>, after: Vec<Found>) -> Vec<Pair> {
    if before.len() == 1 && after.len() == 1 {
        return before.into_iter().map(Some).zip(after.into_iter().map(Some)).collect();
    }
    let mut pairs = std::collections::BTreeMap::<Vec<u8>, Pair>::new();
    for found in before {
        let pair = pairs.entry(found.below.clone()).or_default();
        pair.0 = Some(found);
    }
    for found in after {
        let pair = pairs.entry(found.below.clone()).or_default();
        pair.1 = Some(found);
    }
    pairs.into_values().collect()
}

/// What both operations work with.
struct Look<'a> {
    repository: &'a Repository,
    reader: &'a ChunkReader,
    options: &'a ChatsOptions,
}

impl Look<'_> {
    fn open(&self, found: &Found) -> Result<Database> {
        let cancel = &self.options.cancel;
        let file = TemporaryFile::of(self.repository, self.reader, &found.content, cancel)?;
        if !found.beside.is_empty() {
            file.bring_in(self.reader, &found.beside, &found.path, cancel)?;
        }
        Database::open(file.path(), &found.path, INSTRUCTIONS_MAX, cancel)
    }

    fn report(&self, found: Found) -> Result<DatabaseReport> {
        let content = self.open(&found).and_then(|database| Known::of(&database)?.content());
        Ok(DatabaseReport { bytes: found.content.bytes(), path: found.path, content: unless_cancelled(content)? })
    }

    fn diff(&self, pair: Pair) -> Result<DatabaseDiff> {
        let (path, changes) = match pair {
            (Some(before), Some(after)) => {
                let is_same = before.content == after.content && before.beside == after.beside;
                let changes = if is_same { Ok(DatabaseChanges::Unchanged) } else { self.compare(&before, &after) };
                (after.path, unless_cancelled(changes)?)
            }
            (Some(before), None) => (before.path, Ok(DatabaseChanges::Went)),
            (None, after) => (after.map(|after| after.path).unwrap_or_default(), Ok(DatabaseChanges::Came)),
        };
        Ok(DatabaseDiff { path, changes })
    }

    fn compare(&self, before: &Found, after: &Found) -> Result<DatabaseChanges> {
        let (before, after) = (self.open(before)?, self.open(after)?);
        diff::diff(&Known::of(&before)?, &Known::of(&after)?, self.options.limit)
    }
}

/// Lets a cancelled token end everything; any other error is that of one database.
fn unless_cancelled<T>(outcome: Result<T>) -> Result<Result<T>> {
    match outcome {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        outcome => Ok(outcome),
    }
}
