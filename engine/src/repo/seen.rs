//! Notices that the repository is an older one than this client has seen.
//!
//! Whoever keeps the store can bring back an earlier state of it, in which everything is sealed and in order. So the cache
//! directory remembers the newest snapshot: if it is gone and nobody forgot it here, something is wrong, or somebody
//! forgot it elsewhere. Losing the cache directory loses the memory, no more.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::{ObjectId, ObjectKind};
use crate::error::Result;
use crate::format::tree::Timestamp;
use crate::repo::Repository;
use crate::snapshot::Snapshot;

/// Begins the name of the file, beside the catalog, with the id of a snapshot, the id under which it was made, the seconds and
/// nanoseconds of its beginning. A hash of the repository's place follows: a copy of it elsewhere has the same id, but a
/// history of its own.
const FILE_NAME: &str = "newest-seen";

/// Returns the name of the file for a repository at `location`.
fn file_name(location: &str) -> String {
    let place = std::fs::canonicalize(location).unwrap_or_else(|_| location.into());
    let hash = blake3::hash(place.as_os_str().as_encoded_bytes());
    format!("{FILE_NAME}-{}", &hash.to_hex()[..16])
}
/// Longer than any such text.
const BYTES_MAX: u64 = 256;

/// A snapshot that this client has seen, the newest then, and that is gone without having been forgotten here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoneSnapshot {
    /// Its id.
    pub id: ObjectId,
    /// The id under which it was made.
    pub first_id: ObjectId,
    /// When its backup began.
    pub started: Timestamp,
}

impl fmt::Display for GoneSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.to_string();
        write!(
            f,
            "snapshot {} is gone, the newest that was seen here: it was forgotten elsewhere, or the repository is an older \
             copy; find out which, then the next backup from here goes on with what is there",
            &id[..8]
        )
    }
}

impl GoneSnapshot {
    fn of(snapshot: &Snapshot) -> Self {
        Self { id: snapshot.id, first_id: snapshot.first_id(), started: snapshot.record.started }
    }

    fn read(path: &Path) -> Option<Self> {
        // What is no such file, or another's text, is no memory.
        let text = path.metadata().ok().filter(|metadata| metadata.len() <= BYTES_MAX)?;
        let text = text.is_file().then(|| std::fs::read_to_string(path).ok())??;
        let mut words = text.split_whitespace();
        let (id, first_id) = (ObjectId::from_hex(words.next()?)?, ObjectId::from_hex(words.next()?)?);
        let started = Timestamp { seconds: words.next()?.parse().ok()?, nanos: words.next()?.parse().ok()? };
        Some(Self { id, first_id, started })
    }

    /// Remembers it. That it cannot be kept is no reason to stop.
    fn write(&self, path: &Path) {
        let Self { id, first_id, started } = self;
        let text = format!("{id} {first_id} {} {}\n", started.seconds, started.nanos);
        // Never half a text, whatever else reads or writes it.
        let aside = path.with_extension(std::process::id().to_string());
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        if written.and_then(|()| std::fs::rename(&aside, path)).is_err() {
            let _ = std::fs::remove_file(&aside);
        }
    }
}

impl Repository {
    /// Compares the snapshots that there are, as [`snapshots`](Self::snapshots) gives them, with the newest that this
    /// client has seen, and returns that if it is gone. If not, the newest is remembered from now on.
    ///
    /// A backup here, and forgetting here, begin a new memory. Without a cache directory there is none.
    ///
    /// # Errors
    /// If the list of snapshots cannot be had.
    pub fn gone_snapshot(&self, snapshots: &[Snapshot]) -> Result<Option<GoneSnapshot>> {
        let Some(path) = self.seen_file() else { return Ok(None) };
        let seen = GoneSnapshot::read(&path);
        if let Some(seen) = seen {
            let is_there = snapshots.iter().any(|found| found.first_id() == seen.first_id)
                // One that cannot be read now is another trouble.
                || self.store.list(ObjectKind::Snapshot)?.iter().any(|(id, _)| *id == seen.id);
            if !is_there {
                return Ok(Some(seen));
            }
        }
        if let Some(newest) = snapshots.iter().max_by_key(|found| found.record.started).map(GoneSnapshot::of)
            && seen.is_none_or(|seen| seen.started < newest.started || seen.first_id == newest.first_id)
            && seen != Some(newest)
        {
            newest.write(&path);
        }
        Ok(None)
    }

    /// Remembers a snapshot that was made here.
    pub(crate) fn saw(&self, snapshot: &Snapshot) {
        if let Some(path) = self.seen_file() {
            GoneSnapshot::of(snapshot).write(&path);
        }
    }

    fn seen_file(&self) -> Option<PathBuf> {
        Some(self.cache_dir.as_ref()?.join(file_name(&self.codec.location)))
    }

    /// Takes note that snapshots were forgotten here: if the newest that was seen is among them, the newest that is left
    /// takes its place.
    pub(crate) fn forgot(&self, is_gone: impl Fn(&ObjectId) -> bool) -> Result<()> {
        let Some(path) = self.seen_file() else { return Ok(()) };
        if GoneSnapshot::read(&path).is_some_and(|seen| is_gone(&seen.id) || is_gone(&seen.first_id)) {
            let _ = std::fs::remove_file(&path);
            let (snapshots, _) = self.snapshots()?;
            self.gone_snapshot(&snapshots)?;
        }
        Ok(())
    }
}
