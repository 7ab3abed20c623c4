//! The catalog's redb file: made, opened, read and added to. What to do when it is of no use is decided one level up.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, WriteTransaction,
};

use super::CatalogEntry;
use super::entry::{self, META_BYTES};
use super::files::{Unsynced, create_file, create_unnamed};
use super::running::{Left, Running, left};
use super::sound::SOUND;
use crate::base::guard::{Trouble, drop_guarded, guarded};
use crate::base::{ObjectId, RepositoryId, ShortId};
use crate::error::{StoreError, StoreErrorKind};
use crate::format::index::{BasePrefix, ChunkLocation};

/// Raised whenever a record changes; catalogs of other numbers are begun anew.
pub(super) const FORMAT: u32 = 5;

const META: TableDefinition<&str, &[u8; META_BYTES]> = TableDefinition::new("meta");
const META_KEY: &str = "catalog";
/// The index objects whose entries are in, with the number of entries of each.
const INDEXES: TableDefinition<&[u8; ObjectId::LEN], u64> = TableDefinition::new("indexes");
/// The packs by their number. One that two index objects list may have two numbers.
const PACKS: TableDefinition<u32, &[u8; ObjectId::LEN]> = TableDefinition::new("packs");
/// What stands in them of each chunk, and the bases of deltas.
const CHUNKS: TableDefinition<&[u8; ShortId::LEN], &[u8]> = TableDefinition::new("chunks");

/// An open catalog file.
pub(super) struct CatalogFile {
    /// What to call it in messages.
    label: String,
    is_private: bool,
    view: RwLock<View>,
    /// Held while adding, so that two threads do not number packs alike.
    adding: Mutex<()>,
    /// Taken out only when this is dropped.
    database: Option<Database>,
    /// Set if the file has a name. Goes last, after it is closed.
    running: Option<Running>,
    /// Whether anything in it was found to be wrong.
    is_damaged: AtomicBool,
    /// Whether it is of no use after this run.
    is_distrusted: AtomicBool,
    /// Whether anything may be.
    is_doubted: AtomicBool,
    /// Whether redb ever panicked; then nothing of its is dropped, since a panic in one drop followed by another ends the
    /// process.
    panicked: AtomicBool,
}

/// What look-ups use, as of the last commit.
#[derive(Default)]
struct View {
    chunks: Option<Chunks>,
    packs: Vec<ObjectId>,
    len: u64,
}

impl CatalogFile {
    /// Opens the catalog at `path`. An error says that it is of no use: it is damaged, or not of this repository.
    pub(super) fn open(path: &Path, repository: &RepositoryId, cache_bytes: usize) -> Result<Self, Trouble> {
        match left(path) {
            None => {}
            Some(Left::InUse) => return Err(Trouble::InUse),
            Some(Left::ByDead) => return Err(Trouble::Damaged("the process that had it open was ended".to_owned())),
        }
        let running = Running::mark(path).map_err(Trouble::System)?;
        let database = guarded(|| Builder::new().set_cache_size(cache_bytes).open(path))?;
        let mut file = Self::from_database(path.display(), false, database);
        file.running = Some(running);
        file.load(repository).map(|()| file)
    }

    /// Begins a catalog at `path`, where there must be nothing.
    pub(super) fn create(path: &Path, repository: &RepositoryId, cache_bytes: usize) -> Result<Self, Trouble> {
        let file = create_file(path).map_err(Trouble::System)?;
        let running = Running::mark(path).map_err(Trouble::System)?;
        let mut file = Self::begin(path.display(), false, file, repository, cache_bytes)?;
        file.running = Some(running);
        Ok(file)
    }

    /// Begins a catalog that nobody else sees: its name is removed at once, and its space is freed when it is closed,
    /// or when the process ends in whatever way.
    pub(super) fn create_private(dir: &Path, repository: &RepositoryId, cache_bytes: usize) -> Result<Self, Trouble> {
        let file = create_unnamed(dir).map_err(Trouble::System)?;
        Self::begin(format_args!("(a temporary one in {})", dir.display()), true, file, repository, cache_bytes)
    }

    fn begin(
        label: impl Display,
        is_private: bool,
        file: File,
        repository: &RepositoryId,
        cache_bytes: usize,
    ) -> Result<Self, Trouble> {
        let database = guarded(|| -> Result<_, redb::Error> {
            let (mut builder, backend) = (Builder::new(), FileBackend::new(file)?);
            builder.set_cache_size(cache_bytes);
            Ok(if is_private {
                builder.create_with_backend(Unsynced(backend))?
            } else {
                builder.create_with_backend(backend)?
            })
        })?;
        let file = Self::from_database(label, is_private, database);
        file.change(|transaction| {
            transaction.open_table(META)?.insert(META_KEY, &entry::encode_meta(FORMAT, repository))?;
            transaction.open_table(INDEXES)?;
            transaction.open_table(PACKS)?;
            transaction.open_table(CHUNKS)?;
            transaction.open_table(SOUND)?;
            Ok(())
        })?;
        file.load(repository)?;
        Ok(file)
    }

    fn from_database(label: impl Display, is_private: bool, database: Database) -> Self {
        Self {
            label: label.to_string(),
            is_private,
            view: RwLock::default(),
            adding: Mutex::default(),
            database: Some(database),
            running: None,
            is_damaged: AtomicBool::new(false),
            is_distrusted: AtomicBool::new(false),
            is_doubted: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        }
    }

    /// Makes calls to redb, and takes note of a panic.
    pub(super) fn call<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Trouble> {
        let outcome = guarded(|| self.database.as_ref().ok_or(redb::Error::DatabaseClosed).and_then(work));
        if let Err(Trouble::Panicked(_)) = outcome {
            self.panicked.store(true, Ordering::Release);
        }
        outcome
    }

    /// Checks whose catalog it is, and makes its entries visible.
    fn load(&self, repository: &RepositoryId) -> Result<(), Trouble> {
        let packs = self.call(|database| {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let is_ours =
                meta.get(META_KEY)?.is_some_and(|meta| *meta.value() == entry::encode_meta(FORMAT, repository));
            if !is_ours {
                return Ok(None);
            }
            transaction.open_table(INDEXES)?;
            let mut packs = Vec::new();
            for record in transaction.open_table(PACKS)?.iter()? {
                let (number, id) = record?;
                if u32::try_from(packs.len()).ok() != Some(number.value()) {
                    return Err(redb::Error::Corrupted("a pack's number is missing".to_owned()));
                }
                packs.push(ObjectId::from_bytes(*id.value()));
            }
            Ok(Some(packs))
        })?;
        let packs = packs.ok_or_else(|| Trouble::Foreign("it is another repository's, or of another format".into()))?;
        self.renew_view(packs)
    }

    /// Lets look-ups see the last commit, in which `new_packs` were added.
    fn renew_view(&self, new_packs: Vec<ObjectId>) -> Result<(), Trouble> {
        // Whatever follows: their numbers are taken.
        self.view.write().unwrap_or_else(PoisonError::into_inner).packs.extend(new_packs);
        self.call(|database| {
            let transaction = database.begin_read()?;
            let chunks = transaction.open_table(CHUNKS)?;
            let len = chunks.len()?;
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            view.len = len;
            let before = view.chunks.replace(chunks);
            drop(view);
            drop(before);
            Ok(())
        })
    }

    /// Commits what `work` does, which must not hold two tables open at once: if redb panics while it opens the second,
    /// the drop of the first panics too, and two panics at once end the process.
    pub(super) fn change(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Trouble> {
        // Out here so that a panic in `work` does not drop it.
        let mut transaction = None;
        let done = self.call(|database| {
            let begun = transaction.insert(database.begin_write()?);
            begun.set_durability(Durability::Immediate)?;
            work(begun)
        });
        let Some(transaction) = transaction else { return done };
        match done {
            Ok(()) => self.call(|_| Ok(transaction.commit()?)),
            Err(trouble) => {
                if self.panicked.load(Ordering::Acquire) {
                    mem::forget(transaction);
                } else {
                    let _ = drop_guarded(transaction);
                }
                Err(trouble)
            }
        }
    }

    pub(super) fn index_objects(&self) -> Result<Vec<ObjectId>, Trouble> {
        self.call(|database| {
            let mut indexes = Vec::new();
            for record in database.begin_read()?.open_table(INDEXES)?.iter()? {
                indexes.push(ObjectId::from_bytes(*record?.0.value()));
            }
            Ok(indexes)
        })
    }

    /// Adds entries, which are sorted already.
    pub(super) fn add(&self, index: &ObjectId, entries: &[CatalogEntry]) -> Result<(), Trouble> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.view.read().unwrap_or_else(PoisonError::into_inner).packs.len();
        let mut numbers = HashMap::new();
        let mut new_packs = Vec::new();
        self.change(|transaction| {
            {
                let (mut chunks, mut record) = (transaction.open_table(CHUNKS)?, Vec::new());
                for CatalogEntry { id, location, bases } in entries {
                    let pack = location.frame.pack;
                    let number = *numbers.entry(pack).or_insert_with(|| {
                        new_packs.push(pack);
                        first + new_packs.len() - 1
                    });
                    let too_many = |_| redb::Error::Corrupted("it has more packs than there can be".to_owned());
                    let number = u32::try_from(number).map_err(too_many)?;
                    record.clear();
                    entry::encode(id, number, location, bases, &mut record);
                    chunks.insert(id.as_bytes(), record.as_slice())?;
                }
            }
            {
                let mut packs = transaction.open_table(PACKS)?;
                for (number, pack) in (first as u32..).zip(&new_packs) {
                    packs.insert(number, pack.as_bytes())?;
                }
            }
            transaction.open_table(INDEXES)?.insert(index.as_bytes(), entries.len() as u64)?;
            Ok(())
        })?;
        self.renew_view(new_packs)
    }

    /// Takes note that the entries of index objects may not be in, or no longer be right.
    pub(super) fn forget(&self, indexes: &[ObjectId]) -> Result<(), Trouble> {
        self.change(|transaction| {
            let mut table = transaction.open_table(INDEXES)?;
            for index in indexes {
                table.remove(index.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Takes out chunks, which are sorted, as far as their entries name packs that `is_gone`.
    pub(super) fn remove(&self, ids: &[ShortId], is_gone: &dyn Fn(&ObjectId) -> bool) -> Result<(), Trouble> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let packs = self.view.read().unwrap_or_else(PoisonError::into_inner).packs.clone();
        self.change(|transaction| {
            let mut chunks = transaction.open_table(CHUNKS)?;
            for id in ids {
                let pack = |record: &[u8]| entry::decode(id, record, &packs).map(|(place, _)| place.frame.pack);
                let found = chunks.get(id.as_bytes())?.map(|record| pack(record.value()));
                if found.is_some_and(|pack| pack.is_none_or(|pack| is_gone(&pack))) {
                    chunks.remove(id.as_bytes())?;
                }
            }
            Ok(())
        })?;
        self.renew_view(Vec::new())
    }

    /// Takes out deltas of which a base is not in, and those that stand on them. Returns how many there were, and whether
    /// all that are left are deeper than their bases and of the same kind.
    pub(super) fn remove_unfounded(&self) -> Result<(u64, bool), Trouble> {
        let mut removed = 0;
        loop {
            let (unfounded, are_possible) = self.unfounded()?;
            if unfounded.is_empty() {
                return Ok((removed, are_possible));
            }
            removed += unfounded.len() as u64;
            let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
            self.change(|transaction| {
                let mut chunks = transaction.open_table(CHUNKS)?;
                for id in &unfounded {
                    chunks.remove(id)?;
                }
                Ok(())
            })?;
            self.renew_view(Vec::new())?;
        }
    }

    fn unfounded(&self) -> Result<(Vec<[u8; ShortId::LEN]>, bool), Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        self.call(|database| {
            let transaction = database.begin_read()?;
            let chunks = transaction.open_table(CHUNKS)?;
            let (mut unfounded, mut are_possible) = (Vec::new(), true);
            for found in chunks.iter()? {
                let (id, record) = found?;
                let (place, bases) = told(&ShortId::from_bytes(*id.value()), record.value(), &view.packs)?;
                for prefix in bases {
                    let can_be = |id: &ShortId, base: &[u8]| {
                        let base = told(id, base, &view.packs)?.0;
                        Ok(base.reach.depth < place.reach.depth && base.kind == place.kind)
                    };
                    let Some(can_be) = with_first(&chunks, prefix, can_be)? else {
                        unfounded.push(*id.value());
                        break;
                    };
                    are_possible &= can_be;
                }
            }
            Ok((unfounded, are_possible))
        })
    }

    /// Returns whether the file has no name, so that nobody else can open it.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    pub(super) fn len(&self) -> u64 {
        self.view.read().unwrap_or_else(PoisonError::into_inner).len
    }

    pub(super) fn find(&self, id: &ShortId) -> Result<Option<ChunkLocation>, Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let Some(chunks) = &view.chunks else { return Ok(None) };
        self.call(|_| {
            let Some(found) = chunks.get(id.as_bytes())? else { return Ok(None) };
            Ok(Some(told(id, found.value(), &view.packs)?.0))
        })
    }

    /// Returns a chunk whose id begins with `prefix`.
    pub(super) fn find_base(&self, prefix: &BasePrefix) -> Result<Option<Base>, Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let Some(chunks) = &view.chunks else { return Ok(None) };
        self.call(|_| with_first(chunks, prefix, |id, record| Ok((*id, told(id, record, &view.packs)?.0))))
    }

    /// Returns the bases of a delta chunk; none for any other.
    pub(super) fn bases(&self, id: &ShortId) -> Result<Vec<BasePrefix>, Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let Some(chunks) = &view.chunks else { return Ok(Vec::new()) };
        self.call(|_| {
            let Some(found) = chunks.get(id.as_bytes())? else { return Ok(Vec::new()) };
            Ok(told(id, found.value(), &view.packs)?.1.to_vec())
        })
    }

    /// Returns the entries whose ids begin with `prefixes`.
    pub(super) fn entries(&self, prefixes: &[BasePrefix]) -> Result<Vec<Option<CatalogEntry>>, Trouble> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let Some(chunks) = &view.chunks else { return Ok(vec![None; prefixes.len()]) };
        self.call(|_| {
            let entry = |prefix| {
                with_first(chunks, prefix, |id, record| {
                    let (location, bases) = told(id, record, &view.packs)?;
                    Ok(CatalogEntry { id: *id, location, bases: bases.into() })
                })
            };
            prefixes.iter().map(entry).collect()
        })
    }

    /// Takes note that it is of no use after this run.
    pub(super) fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::Release);
    }

    /// Takes note that something in it may be wrong.
    pub(super) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Release);
    }

    /// Returns whether anything in it was found to be wrong.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Acquire)
    }

    /// Returns whether it can be used again. Nothing is found in it any more: if it is doubted, redb compares all of it with
    /// its checksums, for which nobody may read.
    pub(super) fn is_of_use(&mut self) -> bool {
        if *self.is_distrusted.get_mut() {
            return false;
        }
        if *self.is_damaged.get_mut() || *self.panicked.get_mut() || !*self.is_doubted.get_mut() {
            return !*self.is_damaged.get_mut();
        }
        let view = mem::take(self.view.get_mut().unwrap_or_else(PoisonError::into_inner));
        let database = &mut self.database;
        let checked = drop_guarded(view).and_then(|()| match database {
            Some(database) => guarded(|| database.check_integrity()),
            None => Ok(false),
        });
        *self.panicked.get_mut() = matches!(checked, Err(Trouble::Panicked(_)));
        matches!(checked, Ok(true))
    }

    /// Words `trouble` with this catalog.
    pub(super) fn error(&self, doing: &str, trouble: Trouble) -> StoreError {
        let error = error(&self.label, doing, trouble);
        self.is_damaged.fetch_or(error.kind == StoreErrorKind::Damaged, Ordering::AcqRel);
        error
    }
}

type Chunks = ReadOnlyTable<&'static [u8; ShortId::LEN], &'static [u8]>;

/// A chunk and where it lies.
pub(super) type Base = (ShortId, ChunkLocation);

/// Returns what a record tells of a chunk.
fn told<'r>(
    id: &ShortId,
    record: &'r [u8],
    packs: &[ObjectId],
) -> Result<(ChunkLocation, &'r [BasePrefix]), redb::Error> {
    let changed = || redb::Error::Corrupted("an entry is not as it was written".to_owned());
    entry::decode(id, record, packs).ok_or_else(changed)
}

/// Calls `take` with the first entry whose id begins with `prefix`.
fn with_first<T>(
    chunks: &Chunks,
    prefix: &BasePrefix,
    take: impl FnOnce(&ShortId, &[u8]) -> Result<T, redb::Error>,
) -> Result<Option<T>, redb::Error> {
    let (mut first, mut last) = ([0; ShortId::LEN], [0xff; ShortId::LEN]);
    first[..prefix.len()].copy_from_slice(prefix);
    last[..prefix.len()].copy_from_slice(prefix);
    let found = chunks.range::<&[u8; ShortId::LEN]>(&first..=&last)?.next().transpose()?;
    if found.as_ref().is_some_and(|(id, _)| !id.value().starts_with(prefix)) {
        return Err(redb::Error::Corrupted("its entries are out of order".to_owned()));
    }
    found.map(|(id, record)| take(&ShortId::from_bytes(*id.value()), record.value())).transpose()
}

impl Drop for CatalogFile {
    fn drop(&mut self) {
        let view = mem::take(self.view.get_mut().unwrap_or_else(PoisonError::into_inner));
        let database = self.database.take();
        if *self.panicked.get_mut() {
            // See `panicked`. The file's lock is held until the process ends; its name can be removed.
            mem::forget((view, database));
            return;
        }
        let _ = drop_guarded(view);
        let _ = drop_guarded(database);
    }
}

/// Words `trouble` with the catalog called `label`.
pub(super) fn error(label: &str, doing: &str, trouble: Trouble) -> StoreError {
    let object = format!("catalog {label}");
    let text = match trouble {
        Trouble::System(source) => return StoreError::from_io(object, doing, source),
        Trouble::InUse => {
            return StoreError::new(StoreErrorKind::InUse, object, "in use by another process; wait until it is done");
        }
        Trouble::Other(text) => {
            let message = format!("{doing}: {text}; run the command again");
            return StoreError::new(StoreErrorKind::Io, object, message);
        }
        Trouble::NeedsRepair => "it was not closed cleanly".to_owned(),
        Trouble::Foreign(text) | Trouble::Damaged(text) => text,
        Trouble::Panicked(text) => format!("redb stopped with `{text}`"),
    };
    let message = format!("{doing}: damaged: {text}; run the command again, which begins it anew");
    StoreError::new(StoreErrorKind::Damaged, object, message)
}
