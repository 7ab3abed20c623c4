//! The work folder: one repository, its caches and keys, what is restored, and nothing that outlives the comparison.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{statvfs, syncfs};
use tempfile::TempDir;

use super::{Error, machine, tree};

/// Memory that is left to the programs when the work folder lies in memory.
const MEMORY_RESERVE_BYTES: u64 = 1 << 30;

/// A disk with less room than this is full: no program can store anything.
const FULL_BYTES: u64 = 1 << 20;
/// The password of every repository, but where a tool wants a longer one.
pub const PASSWORD: &str = "x";

/// A fresh folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Place {
    root: TempDir,
    /// Variables of the user's that every run finds too.
    passed: Vec<(String, OsString)>,
}

impl Place {
    /// Makes the folder below `base`, or where there is room for `need` bytes.
    ///
    /// # Errors
    /// `base` is no folder, or there is too little space.
    pub fn new(base: Option<&Path>, need: u64, passed: Vec<(String, OsString)>) -> Result<Self, Error> {
        let base = self::base(base, need);
        let room = room_bytes(&base)?;
        if room < need {
            return Err(Error::Request(format!(
                "{} has room for {} and this needs about {}: free some space, name another folder with --work, or \
                 choose less with --scenarios",
                base.display(),
                super::report::text::bytes(room),
                super::report::text::bytes(need)
            )));
        }
        // Canonical, because some tools store paths without links and the restored files must be found.
        let base = base.canonicalize().map_err(Error::file("find", &base))?;
        let root = tempfile::Builder::new().prefix("daykeep-compare-").tempdir_in(&base);
        let place = Self { root: root.map_err(Error::file("create a folder in", &base))?, passed };
        let own = place.environment();
        if let Some((name, _)) = place.passed.iter().find(|(name, _)| own.iter().any(|(own, _)| own == name)) {
            return Err(Error::Request(format!("--env {name}: the comparison sets this one itself")));
        }
        place.clear()?;
        Ok(place)
    }

    /// Returns the work folder itself.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the user's variables that every run finds.
    pub fn passed(&self) -> &[(String, OsString)] {
        &self.passed
    }

    /// Returns whether hardly anything can be written any more.
    pub fn is_full(&self) -> bool {
        statvfs(self.root()).is_ok_and(|told| told.f_bavail.saturating_mul(told.f_frsize) < FULL_BYTES)
    }

    /// Returns the path of `name` in the work folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Returns where the repository is.
    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// Returns where files are restored to.
    pub fn restored(&self) -> PathBuf {
        self.path("restored")
    }

    /// Returns the folder that changing sources are copied to.
    pub fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Returns the key file, for tools that have one.
    pub fn key(&self) -> PathBuf {
        self.path("keys/key")
    }

    /// Removes everything but the work folder and makes the folders that every run needs.
    ///
    /// # Errors
    /// Something cannot be removed or made.
    pub fn clear(&self) -> Result<(), Error> {
        let entries = fs::read_dir(self.root()).map_err(Error::file("read", self.root()))?;
        for entry in entries {
            let path = entry.map_err(Error::file("read", self.root()))?.path();
            tree::remove(&path).map_err(Error::file("remove", &path))?;
        }
        for name in ["home", "cache", "keys", "tmp"] {
            let path = self.path(name);
            fs::create_dir(&path).map_err(Error::file("create", &path))?;
        }
        Ok(())
    }

    /// Asks the file system to write what it holds back.
    pub fn sync(&self) {
        // A file system that cannot do it has nothing to write.
        let _ = File::open(self.root()).map(syncfs);
    }

    /// Returns the environment of every run: nothing of the user's but the PATH and what is asked for, so that no setting
    /// of theirs changes a figure unseen, and all caches in the work folder.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let word = |text: &str| PathBuf::from(text);
        vec![
            ("PATH", PathBuf::from(path)),
            ("LC_ALL", word("C.UTF-8")),
            ("HOME", self.path("home")),
            ("TMPDIR", self.path("tmp")),
            ("XDG_CACHE_HOME", self.path("cache")),
            ("XDG_CONFIG_HOME", self.path("home/config")),
            ("XDG_DATA_HOME", self.path("home/data")),
            ("DAYKEEP_CACHE_DIR", self.path("cache/daykeep")),
            ("RESTIC_PASSWORD", word(PASSWORD)),
            ("RESTIC_CACHE_DIR", self.path("cache/restic")),
            ("RUSTIC_PASSWORD", word(PASSWORD)),
            ("RUSTIC_CACHE_DIR", self.path("cache/rustic")),
            ("BORG_PASSPHRASE", word(PASSWORD)),
            ("BORG_BASE_DIR", self.path("cache/borg")),
            ("KOPIA_PASSWORD", word(PASSWORD)),
            ("KOPIA_CONFIG_PATH", self.path("home/kopia.config")),
            ("KOPIA_CACHE_DIRECTORY", self.path("cache/kopia")),
            ("KOPIA_LOG_DIR", self.path("home/kopia-logs")),
            ("KOPIA_CHECK_FOR_UPDATES", word("false")),
            ("BUPSTASH_REPOSITORY", self.repository()),
            ("BUPSTASH_KEY", self.key()),
            ("DUPLICACY_PASSWORD", word("daykeep-bench")),
        ]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Restored folders may forbid what the temporary folder's own removal needs; if even this fails, so does that.
        if let Err(error) = self.clear() {
            super::note(&format!("left behind: {}: {error}", self.root().display()));
        }
    }
}

/// Returns `base`, or where there is room for `need` bytes: in memory, or else in the system's temporary folder.
pub fn base(base: Option<&Path>, need: u64) -> PathBuf {
    let shared = Path::new("/dev/shm");
    match base {
        Some(base) => base.to_owned(),
        None if room_bytes(shared).is_ok_and(|room| room >= need) => shared.to_owned(),
        None => std::env::temp_dir(),
    }
}

/// Returns how much may be written below `folder`.
pub fn room_bytes(folder: &Path) -> Result<u64, Error> {
    let failed = Error::file("use", folder);
    let system = match folder.is_dir() {
        true => statvfs(folder).map_err(std::io::Error::from),
        false => Err(std::io::ErrorKind::NotADirectory.into()),
    };
    let system = system.map_err(failed)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let in_memory = machine::file_system(folder).is_some_and(|kind| kind == "tmpfs");
    let available = machine::memory_bytes("MemAvailable").filter(|_| in_memory);
    Ok(available.map_or(free, |available| free.min(available.saturating_sub(MEMORY_RESERVE_BYTES))))
}
