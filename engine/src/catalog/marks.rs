//! Notes on chunks while an operation lasts: in memory as far as they fit, the rest in a file without a name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::file::error;
use super::files::{create_unnamed, make_folder};
use crate::base::guard::{Trouble, drop_guarded, guarded};
use crate::base::{IdHash, ShortId};
use crate::error::StoreError;

/// The length of a note.
pub const MARK_BYTES: usize = 4;
/// What a place for a note of `bytes` bytes takes in a hash map, of whose places one in eight stays free.
const fn place_bytes(bytes: usize) -> usize {
    ShortId::LEN + bytes + 1
}
/// Notes go to the file sorted, in so many parts by their first bits: to sort all at once would double the memory.
const SPILL_PARTS: u8 = 16;

/// The table of notes of `N` bytes.
const fn marks_table<const N: usize>() -> TableDefinition<'static, &'static [u8; ShortId::LEN], &'static [u8; N]> {
    TableDefinition::new("marks")
}

/// Notes of a few bytes each by the ids of chunks, or by other hashes of that length.
pub struct Marks<const N: usize = MARK_BYTES> {
    recent: HashMap<ShortId, [u8; N], IdHash>,
    recent_max: usize,
    dir: Option<PathBuf>,
    cache_bytes: usize,
    file: Option<MarksFile<N>>,
}

/// The notes that did not fit.
struct MarksFile<const N: usize> {
    table: Option<ReadOnlyTable<&'static [u8; ShortId::LEN], &'static [u8; N]>>,
    /// Taken out only when this is dropped.
    database: Option<Database>,
}

impl<const N: usize> Marks<N> {
    /// Begins without a note. What does not fit into `memory_bytes` bytes goes to a file in the folder `dir`, or in the
    /// system's temporary one.
    pub fn new(dir: Option<&Path>, memory_bytes: usize) -> Self {
        // A quarter is for redb's pages. A map has a power of two of places, and would take more while it grows.
        let places = (memory_bytes / 4 * 3 / place_bytes(N)).max(8);
        let recent_max = (1 << places.ilog2()) / 8 * 7;
        let recent = HashMap::with_capacity_and_hasher(recent_max, IdHash::default());
        let (dir, cache_bytes) = (dir.map(Path::to_owned), memory_bytes / 4);
        Self { recent, recent_max, dir, cache_bytes, file: None }
    }

    /// Returns the note on `id`.
    ///
    /// # Errors
    /// `Damaged` or `Io` if the file cannot be read.
    pub fn get(&self, id: &ShortId) -> Result<Option<[u8; N]>, StoreError> {
        if let Some(mark) = self.recent.get(id) {
            return Ok(Some(*mark));
        }
        let Some(table) = self.file.as_ref().and_then(|file| file.table.as_ref()) else { return Ok(None) };
        guarded(|| Ok::<_, redb::Error>(table.get(id.as_bytes())?.map(|mark| *mark.value())))
            .map_err(|trouble| self.error("looking up a note", trouble))
    }

    /// Makes a note on `id`, in place of an earlier one.
    ///
    /// # Errors
    /// `NoSpace` or `Io` if the file cannot be written.
    pub fn set(&mut self, id: ShortId, mark: [u8; N]) -> Result<(), StoreError> {
        self.recent.insert(id, mark);
        if self.recent.len() < self.recent_max {
            return Ok(());
        }
        self.spill().map_err(|trouble| self.error("making notes", trouble))
    }

    fn spill(&mut self) -> Result<(), Trouble> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(MarksFile::create(self.dir.as_deref(), self.cache_bytes)?),
        };
        file.add(&self.recent)?;
        self.recent.clear();
        Ok(())
    }

    fn error(&self, doing: &str, trouble: Trouble) -> StoreError {
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        error(&format!("(a temporary one in {})", dir.display()), doing, trouble)
    }
}

impl<const N: usize> MarksFile<N> {
    fn create(dir: Option<&Path>, cache_bytes: usize) -> Result<Self, Trouble> {
        let named = dir.and_then(|dir| make_folder(dir).and_then(|()| create_unnamed(dir)).ok());
        let file = named.map_or_else(|| create_unnamed(&std::env::temp_dir()), Ok).map_err(Trouble::System)?;
        let database =
            guarded(|| Builder::new().set_cache_size(cache_bytes).create_with_backend(FileBackend::new(file)?))?;
        Ok(Self { table: None, database: Some(database) })
    }

    fn add(&mut self, recent: &HashMap<ShortId, [u8; N], IdHash>) -> Result<(), Trouble> {
        let table = self.table.take();
        let database = &self.database;
        let renewed = guarded(|| {
            drop(table);
            let database = database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            let transaction = database.begin_write()?;
            {
                let mut marks = transaction.open_table(marks_table::<N>())?;
                for part in 0..SPILL_PARTS {
                    let is_here = |id: &&ShortId| id.as_bytes()[0] / (u8::MAX / SPILL_PARTS + 1) == part;
                    let mut ids: Vec<&ShortId> = recent.keys().filter(is_here).collect();
                    ids.sort_unstable_by_key(|id| u128::from_be_bytes(*id.as_bytes()));
                    for id in ids {
                        marks.insert(id.as_bytes(), &recent[id])?;
                    }
                }
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(database.begin_read()?.open_table(marks_table::<N>())?)
        })?;
        self.table = Some(renewed);
        Ok(())
    }
}

impl<const N: usize> Drop for MarksFile<N> {
    fn drop(&mut self) {
        let _ = drop_guarded(self.table.take());
        let _ = drop_guarded(self.database.take());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn id(number: u32) -> ShortId {
        let mut bytes = [0; ShortId::LEN];
        bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_le_bytes());
        ShortId::from_bytes(bytes)
    }

    #[test]
    fn notes_outgrow_memory_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks::<MARK_BYTES>::new(Some(dir.path()), 128 * 4 / 3 * place_bytes(MARK_BYTES) + 4);
        for round in 0..3u32 {
            for number in (0..1000).filter(|number| number % (round + 1) == 0) {
                marks.set(id(number), [round as u8, 0, 0, (number % 251) as u8]).unwrap();
            }
        }
        assert!(marks.file.is_some() && marks.recent.len() <= 112);
        for number in 0..1000 {
            let round = if number % 3 == 0 { 2 } else { u8::from(number % 2 == 0) };
            assert_eq!(marks.get(&id(number)).unwrap(), Some([round, 0, 0, (number % 251) as u8]));
        }
        assert_eq!(marks.get(&id(1000)).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }
}
