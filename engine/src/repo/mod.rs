//! Rank 7: a repository: create, open, keys.

mod clock;
mod keys;
mod loading;
mod location;
mod locked;
mod options;
mod seen;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::limits::SMALL_OBJECT_BYTES_MAX;
use crate::base::{Lease, MemoryBudget, ObjectId, ObjectKind, ObjectName, RepositoryId};
use crate::catalog::Catalog;
use crate::chunk::{Chunker, DEFAULT_PARAMS};
pub(crate) use crate::chunks::load_index;
use crate::chunks::{ChunkReader, Healer};
use crate::codec::Codec;
use crate::crypt::{Keys, MasterKey, RecoveryKey, random};
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::format::config::{ChunkerParams, Config};
use crate::format::header::HEADER_BYTES;
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::Timestamp;
use crate::format::twice::copies;
use crate::small;
use crate::snapshot::{self, Snapshot};
use crate::store::{Access, Store};

use clock::Clock;
pub use keys::{KeyInfo, KeyOpens};
use loading::load_catalog;
pub(crate) use loading::remove_unfounded;
pub use location::Location;
pub(crate) use locked::seal_config;
use locked::{unlock, without_config};
pub(crate) use options::store_lease;
pub use options::{Chunking, OpenOptions, Secret};
pub use seen::GoneSnapshot;

/// An open repository. Operations are methods of it; each may use all cores.
///
/// What operations hold at once stays within [`OpenOptions::memory_bytes`], whatever the size of the data, the number of threads
/// and of operations that run at once.
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) healer: Arc<Healer>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) chunker: Arc<Chunker>,
    pub(crate) master: MasterKey,
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) memory_bytes: usize,
    pub(crate) budget: Arc<MemoryBudget>,
    _leases: [Option<Lease>; 2],
    clock: Clock,
    /// The cache directory's folder for this repository.
    pub(crate) cache_dir: Option<PathBuf>,
    /// Device and inode of the repository and the cache, which a backup leaves out.
    pub(crate) own_files: Vec<(u64, u64)>,
}

pub(crate) fn no_random(error: std::io::Error) -> Error {
    StoreError::from_io("random numbers", "ask the system for them", error).into()
}

/// Returns a new random object id.
pub(crate) fn new_object_id() -> Result<ObjectId> {
    Ok(ObjectId::from_bytes(random().map_err(no_random)?))
}

/// Adds what a caller needs to know to the errors that stores give for a place as a whole.
pub(crate) fn at_location(location: &str, error: StoreError) -> Error {
    let repository = location.to_owned();
    match error.kind {
        StoreErrorKind::NotFound => Error::RepositoryNotFound { repository },
        StoreErrorKind::InUse => Error::RepositoryInUse { repository },
        StoreErrorKind::AlreadyExists => Error::RepositoryExists { repository },
        _ => error.into(),
    }
}

impl Repository {
    /// Makes a repository at `location` that opens with `recovery`, and with `password` if one is given.
    ///
    /// # Errors
    /// `RepositoryExists` if there is anything there; it stays as it is.
    pub fn create(
        location: &Location,
        recovery: &RecoveryKey,
        password: Option<&str>,
        options: &OpenOptions,
    ) -> Result<Self> {
        options.check()?;
        let (options, budget) = options.with_budget();
        let lease = store_lease(&budget, Access::Write);
        let store = location.create(lease.bytes()).map_err(|error| match error.kind {
            // What is missing here is the folder that the repository was to be made in.
            StoreErrorKind::NotFound => error.into(),
            _ => at_location(&location.to_string(), error),
        })?;
        Self::create_in(store, recovery, password, &options)
            .map(|repository| repository.at(location, lease))
            .inspect_err(|_| location.remove_new())
    }

    /// Makes a repository in an empty store.
    ///
    /// # Errors
    /// `RepositoryExists` if the store holds one already.
    pub fn create_in(
        store: Arc<dyn Store>,
        recovery: &RecoveryKey,
        password: Option<&str>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let chunker = options.chunking.map_or(DEFAULT_PARAMS, |chunking| chunking.params);
        Self::create_with_params(store, recovery, password, options, chunker)
    }

    /// As [`create_in`](Self::create_in), with other chunk sizes.
    pub(crate) fn create_with_params(
        store: Arc<dyn Store>,
        recovery: &RecoveryKey,
        password: Option<&str>,
        options: &OpenOptions,
        chunker: ChunkerParams,
    ) -> Result<Self> {
        options.check()?;
        let location = store.location();
        if !store.list(ObjectKind::Config)?.is_empty() {
            return Err(Error::RepositoryExists { repository: location });
        }
        let repository = RepositoryId::from_bytes(random().map_err(no_random)?);
        let master = MasterKey::from_bytes(random().map_err(no_random)?);
        let parity_percent = options.parity_percent;
        let codec = Codec { repository, location, keys: Keys::new(&master), parity_percent };
        let created = options.clock.now();
        let shared_gear = options.chunking.map(|chunking| chunking.gear);
        let config = Config { created, chunker, shared_gear, parity_percent };
        keys::put_slot(store.as_ref(), &codec, &master, &keys::NewSlot::Recovery(recovery), "recovery key", created)?;
        if let Some(password) = password {
            let slot = keys::NewSlot::Password(password, options.argon2);
            keys::put_slot(store.as_ref(), &codec, &master, &slot, "password", options.clock.now())?;
        }
        // The config comes last: only with it is the store a repository.
        if !store.keeps_order() {
            store.sync()?;
        }
        let object = seal_config(&codec, &config)?;
        small::put(store.as_ref(), &codec, &ObjectName::CONFIG, &object)?;
        store.sync()?;
        Self::assemble(store, codec, master, config, Access::Write, options)
    }

    /// Opens the repository at `location`.
    ///
    /// # Errors
    /// `RepositoryNotFound`, `RepositoryInUse` (once [`OpenOptions::wait`] is over), `WrongKey`, `NewerFormat`, or
    /// `Damaged`.
    pub fn open(location: &Location, secret: &Secret, access: Access, options: &OpenOptions) -> Result<Self> {
        options.check()?;
        let begun = Instant::now();
        let (options, budget) = options.with_budget();
        let lease = store_lease(&budget, access);
        let store = loop {
            match location.open(access, lease.bytes()) {
                Err(error) if error.kind == StoreErrorKind::InUse && begun.elapsed() < options.wait => {
                    if options.cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                outcome => break outcome.map_err(|error| at_location(&location.to_string(), error))?,
            }
        };
        Self::open_in(store, secret, access, &options).map(|repository| repository.at(location, lease))
    }

    /// Keeps the store's memory, and notes which files and folders are the repository's own: of the cache directory only its folder there, since users may
    /// name one that holds other things.
    fn at(mut self, location: &Location, store_lease: Lease) -> Self {
        self._leases[0] = Some(store_lease);
        let places = [Some(location.path()), self.cache_dir.as_deref()];
        self.own_files = places
            .into_iter()
            .flatten()
            .filter_map(|path| path.metadata().ok())
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .collect();
        self
    }

    /// Opens the repository that a store holds.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(store: Arc<dyn Store>, secret: &Secret, access: Access, options: &OpenOptions) -> Result<Self> {
        options.check()?;
        let location = store.location();
        let stored = match small::get(store.as_ref(), &ObjectName::CONFIG, SMALL_OBJECT_BYTES_MAX) {
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                if store.list(ObjectKind::Key)?.is_empty() {
                    return Err(Error::RepositoryNotFound { repository: location });
                }
                return Err(without_config("it is missing"));
            }
            outcome => outcome?,
        };
        // Two copies that differ in their first bytes would be two repositories; a copy that does not differ is not tried.
        let mut headers: Vec<&[u8]> = copies(&stored).map(|copy| copy.get(..HEADER_BYTES).unwrap_or(copy)).collect();
        headers.dedup();
        let mut outcomes = headers.into_iter().map(|header| unlock(store.as_ref(), &location, secret, header, &stored));
        let first = outcomes.next().unwrap_or(Err(Error::RepositoryNotFound { repository: location.clone() }));
        let opened = first.or_else(|error| outcomes.find_map(Result::ok).ok_or(error));
        let (codec, master, config) = opened.map_err(|error| match error {
            Error::Damaged { object, reason } if object == ObjectName::CONFIG.to_string() => without_config(&reason),
            error => error,
        })?;
        Self::assemble(store, codec, master, config, access, options)
    }

    fn assemble(
        store: Arc<dyn Store>,
        codec: Codec,
        master: MasterKey,
        config: Config,
        access: Access,
        options: &OpenOptions,
    ) -> Result<Self> {
        let folder = options.cache_dir.as_ref().map(|dir| dir.join(codec.repository.to_string()));
        let (options, budget) = options.with_budget();
        let (catalog_lease, catalog_bytes) = options::catalog_lease(&budget, options.shares_memory);
        let catalog = Catalog::open(folder.as_deref(), &codec.repository, catalog_bytes)?;
        load_catalog(store.as_ref(), &codec, &catalog).or_else(|error| {
            if !catalog.is_damaged() {
                return Err(error);
            }
            catalog.clear()?;
            load_catalog(store.as_ref(), &codec, &catalog)
        })?;
        let gear = config.shared_gear.unwrap_or_else(|| codec.keys.gear_key());
        let chunker = Arc::new(Chunker::new(config.chunker, Keys::gear_of(&gear)));
        let (codec, catalog) = (Arc::new(codec), Arc::new(catalog));
        let healer = Arc::new(Healer::new(Arc::clone(&codec), Arc::clone(&store)));
        let (memory_bytes, clock, own_files) = (budget.bytes(), options.clock, Vec::new());
        Ok(Self {
            store,
            codec,
            healer,
            catalog,
            chunker,
            master,
            config,
            access,
            memory_bytes,
            budget,
            _leases: [None, Some(catalog_lease)],
            clock,
            cache_dir: folder,
            own_files,
        })
    }

    /// Returns the time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the repository's random id, the same for its whole life.
    pub fn id(&self) -> RepositoryId {
        self.codec.repository
    }

    /// Returns where the repository lies, as the user would name it.
    pub fn location(&self) -> String {
        self.codec.location.clone()
    }

    /// Returns when the repository was made.
    pub fn created(&self) -> Timestamp {
        self.config.created
    }

    /// Returns how much parity packs get, in percent of what it protects; 0: none.
    pub fn parity_percent(&self) -> u8 {
        self.config.parity_percent
    }

    /// Returns how the repository cuts files, for one that is to cut them alike.
    pub fn chunking(&self) -> Chunking {
        let gear = self.config.shared_gear.unwrap_or_else(|| self.codec.keys.gear_key());
        Chunking { params: self.config.chunker, gear }
    }

    /// Returns every snapshot that can be read, oldest first, and an error for each one that cannot.
    ///
    /// # Errors
    /// If the list of snapshots cannot be had.
    pub fn snapshots(&self) -> Result<(Vec<Snapshot>, Vec<Error>)> {
        snapshot::load_all(self.store.as_ref(), &self.codec)
    }

    /// Returns the snapshot that `wanted` names: `latest`, or the first digits of an id.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `SnapshotAmbiguous`, or what kept it from being read.
    pub fn snapshot(&self, wanted: &str) -> Result<Snapshot> {
        let not_found = || Error::SnapshotNotFound { wanted: wanted.to_owned() };
        if wanted == "latest" {
            let (mut snapshots, mut errors) = self.snapshots()?;
            // One that cannot be read may be the newest: an older one must not pass for it.
            return match errors.pop() {
                Some(error) => Err(error),
                None => snapshots.pop().ok_or_else(not_found),
            };
        }
        snapshot::load(self.store.as_ref(), &self.codec, self.snapshot_id(wanted)?)
    }

    /// Returns the id of the snapshot that `wanted` names by its first digits, whether it can be read or not.
    ///
    /// # Errors
    /// `SnapshotNotFound`, `SnapshotAmbiguous`, or the store's own.
    pub(crate) fn snapshot_id(&self, wanted: &str) -> Result<ObjectId> {
        let prefix = wanted.to_ascii_lowercase();
        let ids = self.store.list(ObjectKind::Snapshot)?;
        let mut matching = ids.iter().map(|(id, _)| *id).filter(|id| id.to_string().starts_with(&prefix));
        let wanted = wanted.to_owned();
        match (matching.next().filter(|_| !prefix.is_empty()), matching.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Error::SnapshotAmbiguous { wanted, matches: 2 + matching.count() }),
            (None, _) => Err(Error::SnapshotNotFound { wanted }),
        }
    }

    /// Returns the snapshots that are named, oldest first, each once.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub(crate) fn named(&self, wanted: &[String]) -> Result<Vec<Snapshot>> {
        let mut named: Vec<Snapshot> = wanted.iter().map(|wanted| self.snapshot(wanted)).collect::<Result<_>>()?;
        named.sort_by_key(|snapshot| (snapshot.record.started, snapshot.id));
        named.dedup_by_key(|snapshot| snapshot.id);
        Ok(named)
    }

    /// Stores a snapshot, unless one of `known` is the same: one that is there already is what a run left that was killed
    /// before it could end. Returns its id; it is safe once the store is synced.
    pub(crate) fn store_once(&self, known: &[Snapshot], record: &SnapshotRecord) -> Result<ObjectId> {
        if let Some(same) = known.iter().find(|other| other.record == *record) {
            return Ok(same.id);
        }
        let id = new_object_id()?;
        snapshot::store(self.store.as_ref(), &self.codec, id, record)?;
        Ok(id)
    }

    /// Returns the ids of all objects of a kind, sorted.
    pub(crate) fn sorted_ids(&self, kind: ObjectKind) -> Result<Vec<ObjectId>> {
        let mut ids: Vec<ObjectId> = self.store.list(kind)?.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Checks that the repository was opened for writing.
    pub(crate) fn check_writable(&self, doing: &'static str) -> Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(Error::InvalidOption {
                option: doing,
                reason: "the repository was opened for reading; open it with Access::Write".into(),
            }),
        }
    }

    /// Returns a reader of chunks that keeps a sixteenth of the memory budget in decoded frames.
    pub(crate) fn reader(&self) -> ChunkReader {
        self.reader_by(&self.catalog)
    }

    /// As [`reader`](Self::reader), by another catalog.
    pub(crate) fn reader_by(&self, catalog: &Arc<Catalog>) -> ChunkReader {
        self.reader_with(Arc::clone(catalog), self.memory_bytes / 16)
    }

    /// As [`reader_by`](Self::reader_by), with so many bytes of decoded frames.
    pub(crate) fn reader_with(&self, catalog: Arc<Catalog>, cache_bytes: usize) -> ChunkReader {
        let (codec, store, healer) = (Arc::clone(&self.codec), Arc::clone(&self.store), Arc::clone(&self.healer));
        ChunkReader::new(codec, catalog, store, healer, &self.budget, cache_bytes)
    }
}
