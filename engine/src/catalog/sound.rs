//! Which snapshots a catalog has whole.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::file::CatalogFile;
use crate::base::ObjectId;
use crate::base::guard::Trouble;

/// Snapshots of which all chunks are in, in the order in which they were added.
pub(super) const SOUND: TableDefinition<u64, &[u8; ObjectId::LEN]> = TableDefinition::new("sound");
/// So many of them are kept: a backup asks for the newest of its host and paths.
const SOUND_MAX: u64 = 256;

impl CatalogFile {
    /// Takes note that all chunks of a snapshot are in.
    pub(super) fn add_sound(&self, snapshot: &ObjectId) -> Result<(), Trouble> {
        self.change(|transaction| {
            let mut sound = transaction.open_table(SOUND)?;
            let next = sound.last()?.map_or(0, |(number, _)| number.value().wrapping_add(1));
            sound.insert(next, snapshot.as_bytes())?;
            while sound.len()? > SOUND_MAX {
                sound.pop_first()?;
            }
            Ok(())
        })
    }

    /// Forgets of snapshots that all their chunks are in, unless `keeps` says so.
    pub(super) fn retain_sound(&self, keeps: &dyn Fn(&ObjectId) -> bool) -> Result<(), Trouble> {
        let keeps_all = self.call(|database| {
            for record in database.begin_read()?.open_table(SOUND)?.iter()? {
                if !keeps(&ObjectId::from_bytes(*record?.1.value())) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if keeps_all {
            return Ok(());
        }
        self.change(|transaction| {
            let mut sound = transaction.open_table(SOUND)?;
            sound.retain(|_, snapshot| keeps(&ObjectId::from_bytes(*snapshot)))?;
            Ok(())
        })
    }

    /// Returns whether it was noted of a snapshot that all its chunks are in.
    pub(super) fn is_sound(&self, snapshot: &ObjectId) -> Result<bool, Trouble> {
        self.call(|database| {
            for record in database.begin_read()?.open_table(SOUND)?.iter()?.rev() {
                if record?.1.value() == snapshot.as_bytes() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}
