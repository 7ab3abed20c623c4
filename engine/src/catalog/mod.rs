//! The catalog: a local table that finds a chunk by its id.
//!
//! A redb file in the cache directory, so that memory stays bounded however many chunks there are. It is a cache and
//! never the only truth: packs describe themselves, index objects list them, and whatever is wrong with the catalog is
//! mended by beginning it anew and adding the index objects again. One that turns out to be damaged while it is used is removed
//! in the end, so that the next run does so.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::base::guard::Trouble;
use crate::base::{ObjectId, RepositoryId, ShortId};
use crate::error::StoreError;
use crate::format::index::{BasePrefix, ChunkLocation};

mod entry;
mod file;
mod files;
mod marks;
mod proven;
mod running;
mod sketches;
mod sound;
#[cfg(test)]
mod tests;
mod told;

pub use marks::{MARK_BYTES, Marks};
pub use proven::Proven;
pub use sketches::SketchStore;
pub use told::Told;

use file::CatalogFile;

/// What an index object says of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The chunk.
    pub id: ShortId,
    /// Where it lies.
    pub location: ChunkLocation,
    /// Its bases, if it is a delta.
    pub bases: Box<[BasePrefix]>,
}

/// Finds chunks by their ids. All calls may come from many threads at once.
pub struct Catalog {
    dir: Option<PathBuf>,
    repository: RepositoryId,
    cache_bytes: usize,
    /// Replaced by [`clear`](Self::clear).
    file: RwLock<CatalogFile>,
}

impl Catalog {
    /// Opens the catalog of `repository` in the folder `dir`, which is made if need be, or a private temporary one if
    /// `dir` is `None`. redb may hold `cache_bytes` bytes of it in memory.
    ///
    /// A file that is damaged, foreign or of another format is thrown away and begun anew. If another process has it
    /// open, or the folder cannot be written, the catalog is a private temporary file, empty at first: see
    /// [`index_objects`](Self::index_objects) for what has to be added.
    ///
    /// # Errors
    /// `NoSpace`, `ReadOnly` or `Io` if not even a temporary file can be made.
    pub fn open(dir: Option<&Path>, repository: &RepositoryId, cache_bytes: usize) -> Result<Self, StoreError> {
        let named = dir.and_then(|dir| open_or_begin(dir, repository, cache_bytes).ok());
        let file = named.map_or_else(|| begin_private(dir, repository, cache_bytes), Ok)?;
        Ok(Self { dir: dir.map(Path::to_owned), repository: *repository, cache_bytes, file: RwLock::new(file) })
    }

    /// Returns the index objects whose entries are in.
    ///
    /// # Errors
    /// `Damaged` if the file is hurt; [`clear`](Self::clear) helps.
    pub fn index_objects(&self) -> Result<Vec<ObjectId>, StoreError> {
        let file = self.file();
        file.index_objects().map_err(|trouble| file.error("listing the index objects", trouble))
    }

    /// Begins anew, with a new file.
    ///
    /// # Errors
    /// `NoSpace`, `ReadOnly` or `Io` if not even a temporary file can be made.
    pub fn clear(&self) -> Result<(), StoreError> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let begun = match &self.dir {
            // Only who has the named file open may remove it: it can be in use by the process it belongs to.
            Some(dir) if !file.is_private() => {
                remove_and_begin(&files::path_in(dir), &self.repository, self.cache_bytes).ok()
            }
            _ => None,
        };
        let dir = self.dir.as_deref();
        *file = begun.map_or_else(|| begin_private(dir, &self.repository, self.cache_bytes), Ok)?;
        Ok(())
    }

    /// Adds all entries of one index object, in one transaction. Where an id is in already, the new place counts.
    ///
    /// `entries` are sorted by id first, since sorted inserts are several times faster.
    ///
    /// # Errors
    /// `NoSpace` or `Io` if the file cannot be written; `Damaged` if it is hurt. None of the entries is in then.
    pub fn add(&self, index: &ObjectId, entries: &mut [CatalogEntry]) -> Result<(), StoreError> {
        // As numbers they compare in two instructions.
        entries.sort_unstable_by_key(|entry| u128::from_be_bytes(*entry.id.as_bytes()));
        let file = self.file();
        file.add(index, entries).map_err(|trouble| file.error("adding entries", trouble))
    }

    /// Takes note that all chunks of a snapshot are in, as long as this catalog is not begun anew. It is known of the last
    /// few hundred.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_sound(&self, snapshot: &ObjectId) -> Result<(), StoreError> {
        let file = self.file();
        file.add_sound(snapshot).map_err(|trouble| file.error("adding a snapshot", trouble))
    }

    /// Forgets of snapshots that all their chunks are in, unless `keeps` says so.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn retain_sound(&self, keeps: &dyn Fn(&ObjectId) -> bool) -> Result<(), StoreError> {
        let file = self.file();
        file.retain_sound(keeps).map_err(|trouble| file.error("taking out snapshots", trouble))
    }

    /// Returns whether it was noted of a snapshot that all its chunks are in.
    ///
    /// # Errors
    /// `Damaged` or `Io` if the file cannot be read.
    pub fn is_sound(&self, snapshot: &ObjectId) -> Result<bool, StoreError> {
        let file = self.file();
        file.is_sound(snapshot).map_err(|trouble| file.error("looking up a snapshot", trouble))
    }

    /// Takes note that these index objects are to be gone: if they are found again, their entries are added again.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn forget(&self, indexes: &[ObjectId]) -> Result<(), StoreError> {
        let file = self.file();
        file.forget(indexes).map_err(|trouble| file.error("forgetting index objects", trouble))
    }

    /// Takes out chunks, as far as they lie in packs that `is_gone`.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn remove(&self, ids: &mut [ShortId], is_gone: &dyn Fn(&ObjectId) -> bool) -> Result<(), StoreError> {
        ids.sort_unstable_by_key(|id| u128::from_be_bytes(*id.as_bytes()));
        let file = self.file();
        file.remove(ids, is_gone).map_err(|trouble| file.error("taking out entries", trouble))
    }

    /// Returns whether there is no chunk in it.
    pub fn is_empty(&self) -> bool {
        self.file().len() == 0
    }

    /// Returns where the chunk lies, or `None` if no index object that was added lists it.
    ///
    /// # Errors
    /// `Damaged` or `Io` if the file cannot be read.
    pub fn find(&self, id: &ShortId) -> Result<Option<ChunkLocation>, StoreError> {
        let file = self.file();
        file.find(id).map_err(|trouble| file.error("looking up a chunk", trouble))
    }

    /// Returns the chunk that the base of a delta names by the beginning of its id, and where it lies. Two chunks that
    /// begin alike are next to impossible; then either is found, and the rebuilt chunk's id shows whether it was it.
    ///
    /// # Errors
    /// `Damaged` or `Io` if the file cannot be read.
    pub fn find_base(&self, prefix: &BasePrefix) -> Result<Option<(ShortId, ChunkLocation)>, StoreError> {
        let file = self.file();
        file.find_base(prefix).map_err(|trouble| file.error("looking up a base", trouble))
    }

    /// Returns the bases of a delta chunk, in order; none for any other chunk.
    ///
    /// # Errors
    /// `Damaged` or `Io` if the file cannot be read.
    pub fn bases(&self, id: &ShortId) -> Result<Vec<BasePrefix>, StoreError> {
        let file = self.file();
        file.bases(id).map_err(|trouble| file.error("looking up bases", trouble))
    }

    /// Returns of each of `prefixes` the entry of the chunk whose id begins so, if there is one.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn entries(&self, prefixes: &[BasePrefix]) -> Result<Vec<Option<CatalogEntry>>, StoreError> {
        let file = self.file();
        file.entries(prefixes).map_err(|trouble| file.error("looking up chunks", trouble))
    }

    /// Takes out the deltas of which a base is not in, and all that stand on them: they count as missing, so that a backup
    /// stores them again. Returns how many there were, and whether all that are left are deeper than their bases and of the
    /// same kind.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn remove_unfounded(&self) -> Result<(u64, bool), StoreError> {
        let file = self.file();
        file.remove_unfounded().map_err(|trouble| file.error("taking out deltas without a base", trouble))
    }

    /// Returns whether anything in it was found to be wrong.
    pub fn is_damaged(&self) -> bool {
        self.file().is_damaged()
    }

    /// Takes note that it is not to be used again: the next run begins it anew.
    pub fn distrust(&self) {
        self.file().distrust();
    }

    /// Takes note that it lacks a chunk that something needs. It may be the repository that lacks it, but a damaged table does
    /// not find all that is in it: so in the end the whole file is checked.
    pub fn doubt(&self) {
        self.file().doubt();
    }

    /// Returns the number of chunks.
    ///
    /// # Errors
    /// None at present.
    pub fn chunks(&self) -> Result<u64, StoreError> {
        Ok(self.file().len())
    }

    fn file(&self) -> RwLockReadGuard<'_, CatalogFile> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = self.dir.as_ref().filter(|_| !file.is_private())
            && !file.is_of_use()
        {
            // If it stays, the next run is told the same again.
            let _ = std::fs::remove_file(files::path_in(dir));
        }
    }
}

/// Opens the catalog in `dir`, or begins it where there is none or one that is of no use.
fn open_or_begin(dir: &Path, repository: &RepositoryId, cache_bytes: usize) -> Result<CatalogFile, Trouble> {
    files::make_folder(dir).map_err(Trouble::System)?;
    let path = files::path_in(dir);
    match CatalogFile::open(&path, repository, cache_bytes) {
        Err(Trouble::InUse) => Err(Trouble::InUse),
        Err(Trouble::System(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(Trouble::System(error)),
        Err(_) => remove_and_begin(&path, repository, cache_bytes),
        opened => opened,
    }
}

fn remove_and_begin(path: &Path, repository: &RepositoryId, cache_bytes: usize) -> Result<CatalogFile, Trouble> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Trouble::System(error)),
        _ => {}
    }
    CatalogFile::create(path, repository, cache_bytes)
}

/// Begins a private catalog, in `dir` if that can be.
fn begin_private(dir: Option<&Path>, repository: &RepositoryId, cache_bytes: usize) -> Result<CatalogFile, StoreError> {
    if let Some(dir) = dir
        && let Ok(file) = CatalogFile::create_private(dir, repository, cache_bytes)
    {
        return Ok(file);
    }
    let dir = std::env::temp_dir();
    let begun = CatalogFile::create_private(&dir, repository, cache_bytes);
    begun.map_err(|trouble| file::error(&dir.display().to_string(), "beginning a temporary catalog", trouble))
}
