//! Repositories of each kind in a temporary folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daykeep_engine::{
    Access, BackupOptions, BackupReport, CheckOptions, CheckReport, Location, MemoryStore, OpenOptions, ReadData,
    RecoveryKey, Repository, RestoreOptions, RestoreReport, Result, Secret, SnapshotPath, Store,
};

use crate::inventory;

/// Returns a new temporary folder, in memory where the system offers that.
pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// Which store a repository lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file for each object.
    Directory,
    /// One redb file.
    Redb,
    /// Memory.
    Memory,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Directory, Self::Redb, Self::Memory];
    /// Those that outlive the process.
    pub const ON_DISK: [Self; 2] = [Self::Directory, Self::Redb];
}

/// The recovery key of all test repositories.
pub fn key() -> RecoveryKey {
    RecoveryKey::from_bytes([7; 32])
}

/// The secret that opens all test repositories.
pub fn secret() -> Secret {
    Secret::Recovery(key())
}

/// A repository and a folder for its sources and restores.
pub struct Place {
    /// Everything is in here.
    pub dir: tempfile::TempDir,
    /// Where the repository is.
    pub kind: Kind,
    memory: Option<Arc<dyn Store>>,
}

impl Place {
    /// Makes a repository.
    pub fn new(kind: Kind) -> Self {
        Self::with_parity(kind, 0)
    }

    /// Makes a repository with so much parity in percent.
    pub fn with_parity(kind: Kind, percent: u8) -> Self {
        let mut place = Self { dir: temp(), kind, memory: None };
        let repository = match place.location() {
            Some(location) => Repository::create(&location, &key(), None, &place.options().parity_percent(percent)),
            None => {
                let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
                place.memory = Some(Arc::clone(&store));
                Repository::create_in(store, &key(), None, &place.options().parity_percent(percent))
            }
        };
        repository.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        place
    }

    /// Takes a memory store that holds a repository.
    pub fn of_store(store: Arc<dyn Store>) -> Self {
        Self { dir: temp(), kind: Kind::Memory, memory: Some(store) }
    }

    /// Returns the memory store.
    #[track_caller]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.memory.as_ref().expect("the place is in memory"))
    }

    /// Returns where the repository is, unless that is memory.
    pub fn location(&self) -> Option<Location> {
        match self.kind {
            Kind::Directory => Some(Location::Directory(self.path("repository"))),
            Kind::Redb => Some(Location::File(self.path("repository.redb"))),
            Kind::Memory => None,
        }
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(name.as_ref())
    }

    /// Returns the options that the repository is opened with: a cache folder in the place, the smallest memory.
    pub fn options(&self) -> OpenOptions {
        OpenOptions::default().cache_dir(self.path("cache")).memory_bytes(64 << 20)
    }

    /// Opens the repository. A process that another test starts has the locks of this one too until its program begins, so
    /// that is waited for.
    pub fn try_open(&self, access: Access) -> Result<Repository> {
        let options = &self.options().wait(Duration::from_secs(10));
        match (self.location(), &self.memory) {
            (Some(location), _) => Repository::open(&location, &secret(), access, options),
            (None, Some(store)) => Repository::open_in(Arc::clone(store), &secret(), access, options),
            (None, None) => unreachable!("a place has one or the other"),
        }
    }

    /// Opens the repository for writing.
    #[track_caller]
    pub fn open(&self) -> Repository {
        self.try_open(Access::Write).unwrap_or_else(|error| panic!("{:?}: {error}", self.kind))
    }

    /// Lets this client forget which snapshot it saw last, after one was deleted behind its back.
    pub fn forget_seen(&self) {
        for folder in std::fs::read_dir(self.path("cache")).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if file.file_name().as_encoded_bytes().starts_with(b"newest-seen") {
                    let _ = std::fs::remove_file(file.path());
                }
            }
        }
    }

    /// Makes a folder below the place and returns its path.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Returns the sum of the lengths of all files of a directory repository.
    pub fn repository_bytes(&self) -> u64 {
        inventory::read(&self.path("repository"))
            .values()
            .filter_map(|item| item.content.as_ref())
            .map(|(len, _)| len)
            .sum()
    }
}

/// Backs up one path and expects that all of it could be read.
#[track_caller]
pub fn back_up(repository: &Repository, source: &Path) -> BackupReport {
    let report = repository.backup(&[source], &BackupOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.warnings, [], "the sources were at peace");
    report
}

/// Restores a snapshot, or `latest`, below a new folder `target` and returns the report.
pub fn try_restore(repository: &Repository, what: &str, target: &Path) -> Result<RestoreReport> {
    repository.restore(&SnapshotPath::parse(what.as_bytes())?, target, &RestoreOptions::default())
}

/// Restores `source` from a snapshot into `target` and returns where its restored form is.
#[track_caller]
pub fn restore(repository: &Repository, what: &str, source: &Path, target: &Path) -> PathBuf {
    let report = try_restore(repository, what, target).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.warnings, []);
    below(target, source)
}

/// Returns where an absolute path is rebuilt below `target`.
pub fn below(target: &Path, source: &Path) -> PathBuf {
    target.join(source.strip_prefix("/").unwrap())
}

/// Restores `source` from a snapshot into a temporary folder and compares it with what it was.
#[track_caller]
pub fn assert_restores(repository: &Repository, what: &str, source: &Path, wanted: &inventory::Inventory) {
    let target = temp();
    let restored = restore(repository, what, source, target.path());
    inventory::assert_same(wanted, &inventory::read(&restored));
}

/// Checks with every byte read.
pub fn check_all(repository: &Repository) -> Result<CheckReport> {
    let mut options = CheckOptions::default();
    options.read_data = ReadData::All;
    repository.check(&options)
}

/// Checks with every byte read and expects nothing wrong.
#[track_caller]
pub fn assert_clean(repository: &Repository) -> CheckReport {
    let report = check_all(repository).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.errors, [""; 0]);
    report
}
