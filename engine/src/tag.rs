//! Rank 8: other tags for snapshots that are there.

use std::collections::BTreeSet;

use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotRecord;
use crate::repo::Repository;
use crate::snapshot::{self, Snapshot};

/// What [`Repository::tag`] does with the tags of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagOptions {
    /// First, these instead of all that it has.
    pub set: Option<Vec<String>>,
    /// Then these too.
    pub add: Vec<String>,
    /// Last, these no more.
    pub remove: Vec<String>,
}

impl TagOptions {
    fn apply(&self, tags: &[String]) -> Vec<String> {
        let all: BTreeSet<&String> = self.set.as_deref().unwrap_or(tags).iter().chain(&self.add).collect();
        all.into_iter().filter(|tag| !self.remove.contains(tag)).cloned().collect()
    }
}

/// A snapshot whose tags were asked to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tagged {
    /// The id that it had.
    pub id_before: ObjectId,
    /// It as it is now; its id is the one before if it had these tags already.
    pub snapshot: Snapshot,
}

impl Repository {
    /// Changes the tags of snapshots, each named by `latest` or the first digits of its id.
    ///
    /// Nothing that is stored is ever changed: a snapshot with other tags is stored anew, under a new id, and the old one is
    /// removed once that is safe. [`SnapshotRecord::original`] keeps the first id.
    ///
    /// # Errors
    /// `InvalidOption` if there is nothing to do, if tags are too long or too many, or if the repository was opened for
    /// reading; `SnapshotNotFound`, `SnapshotAmbiguous`, damage, or the store's own. Then snapshots have their old tags or
    /// stand there twice, and doing it again makes them one.
    pub fn tag(&self, wanted: &[String], options: &TagOptions) -> Result<Vec<Tagged>> {
        self.check_writable("tag")?;
        if wanted.is_empty() || *options == TagOptions::default() {
            let reason = "name snapshots, and the tags to add, remove or set".into();
            return Err(Error::InvalidOption { option: "tag", reason });
        }
        let mut done: Vec<Tagged> = Vec::new();
        for wanted in wanted {
            let snapshot = self.snapshot(wanted)?;
            if !done.iter().any(|other| other.id_before == snapshot.id) {
                done.push(Tagged { id_before: snapshot.id, snapshot });
            }
        }
        let (known, _) = self.snapshots()?;
        for Tagged { snapshot, .. } in &mut done {
            let record = changed(snapshot, options)?;
            if record.tags != snapshot.record.tags {
                *snapshot = Snapshot { id: self.store_once(&known, &record)?, record };
            }
        }
        self.store.sync()?;
        for Tagged { id_before, .. } in done.iter().filter(|tagged| tagged.id_before != tagged.snapshot.id) {
            self.store.delete(&ObjectName::new(ObjectKind::Snapshot, *id_before))?;
        }
        self.store.sync()?;
        Ok(done)
    }
}

/// Returns the record of a snapshot with other tags.
fn changed(snapshot: &Snapshot, options: &TagOptions) -> Result<SnapshotRecord> {
    let mut record = snapshot.record.clone();
    record.tags = options.apply(&record.tags);
    record.original = record.original.or(Some(snapshot.id));
    match snapshot::encode(&record) {
        Ok(_) => Ok(record),
        Err(Error::LimitExceeded { reason, .. }) => Err(Error::InvalidOption { option: "tag", reason }),
        Err(error) => Err(error),
    }
}
