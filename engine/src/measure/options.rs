//! What a measurement is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::CancelToken;
use crate::base::limits::{MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MIN, MIB};
use crate::error::{Error, Result};
use crate::measure::report::Stage;
use crate::repo::Location;

/// The least disk space that tells anything: a few packs of each store.
const DISK_BYTES_MIN: u64 = 32 * MIB as u64;

/// Options of [`measure`](crate::measure()).
#[derive(Clone)]
#[non_exhaustive]
pub struct MeasureOptions {
    /// A file, or a folder with files, to measure with. `None`: generated text, pages of a database, and bytes that
    /// nothing compresses.
    pub sample: Option<PathBuf>,
    /// The repository whose disk is measured, in a temporary folder beside it; it is neither opened nor changed, and need
    /// not exist. `None`: the system's folder for temporary files, and one file as the store.
    pub location: Option<Location>,
    /// Where catalogs are kept. `None`: the catalog is measured where the stores are.
    pub cache_dir: Option<PathBuf>,
    /// What buffers and caches may take together, in bytes; at least 64 MiB, 128 MiB if not set. The list of files beside
    /// it, of at most 50,000, takes up to 10 MiB, and so does the program. With what the allocator keeps, 128 MiB came to 69
    /// to 122 MiB at the highest on two threads, 64 MiB to 104.
    pub memory_bytes: usize,
    /// How much of the sample is read at most, in bytes; 1 GiB if not set.
    pub sample_bytes: u64,
    /// How much disk space the temporary folder may take at most, in bytes; at least 32 MiB, 512 MiB if not set.
    pub disk_bytes: u64,
    /// How many threads "all cores" are; 0: one for each core.
    pub threads: usize,
    /// The zstd level, 1 (fastest) to 19 (smallest).
    pub level: i32,
    /// How long each stage that needs no disk is measured, on one core and again on all; half a second if not set. Those
    /// with a disk take up to eight times as long.
    pub stage_time: Duration,
    /// Is told which stage begins.
    pub observer: Option<Arc<dyn Fn(Stage) + Send + Sync>>,
    /// Ends the measurement.
    pub cancel: CancelToken,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            sample: None,
            location: None,
            cache_dir: None,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            sample_bytes: 1 << 30,
            disk_bytes: 512 * MIB as u64,
            threads: 0,
            level: 1,
            stage_time: Duration::from_millis(500),
            observer: None,
            cancel: CancelToken::new(),
        }
    }
}

impl MeasureOptions {
    /// Sets [`sample`](Self::sample).
    pub fn sample(mut self, path: impl Into<PathBuf>) -> Self {
        self.sample = Some(path.into());
        self
    }

    /// Sets [`location`](Self::location).
    pub fn location(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Sets [`cache_dir`](Self::cache_dir).
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(dir.into());
        self
    }

    /// Sets [`stage_time`](Self::stage_time).
    pub fn stage_time(mut self, time: Duration) -> Self {
        self.stage_time = time;
        self
    }

    /// Sets [`observer`](Self::observer).
    pub fn observer(mut self, observer: impl Fn(Stage) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Sets [`cancel`](Self::cancel).
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let refused = |option, reason| Err(Error::InvalidOption { option, reason });
        if self.memory_bytes < MEMORY_BYTES_MIN {
            let least = MEMORY_BYTES_MIN / MIB;
            return refused("memory", format!("{} bytes is too little; give at least {least} MiB", self.memory_bytes));
        }
        if self.disk_bytes < DISK_BYTES_MIN {
            let least = DISK_BYTES_MIN >> 20;
            return refused(
                "disk space",
                format!("{} bytes is too little; give at least {least} MiB", self.disk_bytes),
            );
        }
        crate::compress::check_level(self.level)
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Returns the level that `level` is compared with.
    pub(super) const fn other_level(&self) -> i32 {
        if self.level == 1 { 3 } else { 1 }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.location, Some(Location::Directory(_)))
    }
}
