//! What a measurement found.

use std::path::PathBuf;
use std::time::Duration;

/// A part of a backup that is measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Opening a file, looking at it and closing it. In files.
    Open,
    /// Reading files, as they are found: from memory or from the disk.
    Read,
    /// Cutting by content, or into pages.
    Chunk,
    /// Naming chunks by their keyed BLAKE3 hash.
    Hash,
    /// Deciding whether to compress, and compressing at the level asked for.
    Compress,
    /// The same at another level: 3 beside 1, 1 beside any other.
    CompressOther,
    /// Sealing with AES-256-GCM. In bytes that are sealed, which are fewer than those read.
    Seal,
    /// Writing packs into a directory, and syncing them.
    StoreDirectory,
    /// Writing packs into one file, and syncing it; always by one thread.
    StoreFile,
    /// Entering chunks into the catalog, and syncing it; always by one thread. In chunks.
    CatalogAdd,
    /// Looking up chunks in the catalog, half of which are there. In chunks.
    CatalogFind,
    /// A whole first backup of the sample, with the files in memory, that stores nothing.
    Backup,
}

impl Stage {
    /// Returns the stage's name in what programs read: lower-case words joined by underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Chunk => "chunk",
            Self::Hash => "hash",
            Self::Compress => "compress",
            Self::CompressOther => "compress_other",
            Self::Seal => "seal",
            Self::StoreDirectory => "store_directory",
            Self::StoreFile => "store_file",
            Self::CatalogAdd => "catalog_add",
            Self::CatalogFind => "catalog_find",
            Self::Backup => "backup",
        }
    }

    /// Returns what is counted, if it is not bytes: `files` or `chunks`.
    pub const fn items(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("files"),
            Self::CatalogAdd | Self::CatalogFind => Some("chunks"),
            _ => None,
        }
    }
}

/// How fast one stage is. Rates are in bytes, or in the stage's [`items`](Stage::items), per second.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// The rate on one core.
    pub one_core: f64,
    /// The rate on all cores; `None` for what one thread does alone.
    pub all_cores: Option<f64>,
    /// How many bytes or items were done to measure it.
    pub amount: u64,
}

impl StageReport {
    /// Returns the nanoseconds that one core takes for a byte or an item.
    pub fn nanos(&self) -> f64 {
        1e9 / self.one_core
    }

    /// Returns the rate that a backup gets, which has all cores where they are of use.
    pub fn best(&self) -> f64 {
        self.all_cores.unwrap_or(self.one_core)
    }
}

/// What was measured with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleReport {
    /// Where the files are; `None` if they were generated.
    pub path: Option<PathBuf>,
    /// How many files with something in them were found.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether that is all there is, or as much as was looked at.
    pub is_whole: bool,
    /// Folders and files that could not be looked at.
    pub unreadable: u64,
    /// Bytes in memory for the stages of the processor, by class: ordinary files, media, SQLite databases.
    pub bytes_by_class: [u64; 3],
    /// Files of the backup.
    pub backup_files: u64,
    /// Bytes of the backup.
    pub backup_bytes: u64,
}

/// What a measurement found; [`conclusion`](Self::conclusion) says what follows from it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Measurement {
    /// The stages in the order in which they were measured.
    pub stages: Vec<StageReport>,
    /// What was measured with.
    pub sample: SampleReport,
    /// The folder on whose disk the stores were measured.
    pub place: PathBuf,
    /// Whether the user's repository is, or would be, a directory rather than one file.
    pub is_directory: bool,
    /// How many threads "all cores" were.
    pub threads: usize,
    /// How many cores the system offers.
    pub cores: usize,
    /// The memory budget in bytes.
    pub memory_bytes: usize,
    /// The zstd level.
    pub level: i32,
    /// The level that it was compared with.
    pub other_level: i32,
    /// What is left of a byte of the sample at that level, between 0 and 1.
    pub stored_share: f64,
    /// The same at the other level.
    pub stored_share_other: f64,
    /// What part of all threads' time the processor is busy while a directory is written to, between 0 and 1. That much is
    /// taken from what else a backup does.
    pub busy_share_directory: f64,
    /// The same of one file.
    pub busy_share_file: f64,
    /// The mean length of the sample's chunks in bytes.
    pub chunk_bytes_mean: f64,
    /// How much of what was read was in memory before, between 0 and 1; `None` if the file system does not tell.
    pub cached_share: Option<f64>,
    /// Which of the processor's instructions that the stages use are there, by their Linux names.
    pub features: Vec<&'static str>,
    /// How long it took.
    pub duration: Duration,
}

impl Measurement {
    /// Returns what was found of a stage.
    pub fn stage(&self, stage: Stage) -> Option<&StageReport> {
        self.stages.iter().find(|report| report.stage == stage)
    }

    pub(super) fn best(&self, stage: Stage) -> f64 {
        self.stage(stage).map_or(f64::INFINITY, StageReport::best)
    }
}
