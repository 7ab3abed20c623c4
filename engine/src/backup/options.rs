//! What a backup is told, and what it tells.

use std::ffi::CString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPool;

use crate::base::{CancelToken, ObjectId, Observer};
use crate::format::snapshot::Counts;
use crate::repo::GoneSnapshot;
use crate::source::Patterns;
use crate::source::whatsapp::WhatsAppKey;

/// What is done with SQLite databases that are in use while they are backed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteCapture {
    /// Their files are saved byte by byte, like any other.
    Off,
    /// A database with a log (`-wal`) or journal beside it, or one that is locked, is taken through SQLite: one committed
    /// state, which holds what is in log and journal, so that these are left out.
    #[default]
    Auto,
    /// As `Auto`, and each is checked by `PRAGMA quick_check`.
    Verify,
}

/// Options of [`Repository::backup`](crate::Repository::backup).
#[derive(Clone)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The user's words for the snapshot.
    pub tags: Vec<String>,
    /// The machine's name; snapshots are compared with earlier ones of the same host and paths. `None`: ask the system.
    pub host: Option<String>,
    /// Files and folders to leave out, in the patterns of `.gitignore`, matched against absolute paths.
    pub exclude: Patterns,
    /// Leave out the content of folders marked by a `CACHEDIR.TAG` (<https://bford.info/cachedir/>).
    pub exclude_caches: bool,
    /// Leave out the content of folders that hold a file of one of these names.
    pub exclude_if_present: Vec<CString>,
    /// Leave out files of more bytes.
    pub exclude_larger_than: Option<u64>,
    /// Do not descend into other file systems than those the given paths lie in.
    pub one_file_system: bool,
    /// Do everything but store.
    pub dry_run: bool,
    /// Read every file, even those that the parent snapshot has with the same size, times and inode.
    pub force: bool,
    /// Take a file for unchanged though its inode is another, for file systems that number their files anew.
    pub ignore_inode: bool,
    /// Take a file for unchanged though its ctime is another, for file systems and programs that touch it.
    pub ignore_ctime: bool,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// The zstd level, 1 (fastest) to 19 (smallest).
    pub level: i32,
    /// What is done with SQLite databases that are in use.
    pub sqlite: SqliteCapture,
    /// Opens WhatsApp's encrypted nightly files (`.crypt12`, `.crypt14`, `.crypt15`): the databases inside are saved, under
    /// the names without that ending. Each file is opened by the key that fits. Without one the files are saved as they are.
    pub whatsapp_keys: Vec<WhatsAppKey>,
    /// Count what there is to do while doing it, and send [`Event::Total`](crate::Event::Total).
    pub estimate: bool,
    /// Send [`Event::File`](crate::Event::File) for every file.
    pub file_events: bool,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the backup at the next chunk.
    pub cancel: CancelToken,
    /// Who does the work, where that is there already; `threads` is not asked then.
    pub(crate) pool: Option<Arc<ThreadPool>>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            host: None,
            exclude: Patterns::default(),
            exclude_caches: false,
            exclude_if_present: Vec::new(),
            exclude_larger_than: None,
            one_file_system: false,
            dry_run: false,
            force: false,
            ignore_inode: false,
            ignore_ctime: false,
            threads: 0,
            level: 1,
            sqlite: SqliteCapture::Auto,
            whatsapp_keys: Vec::new(),
            estimate: false,
            file_events: false,
            observer: None,
            cancel: CancelToken::new(),
            pool: None,
        }
    }
}

impl BackupOptions {
    /// Sets [`tags`](Self::tags).
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`host`](Self::host).
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Sets [`observer`](Self::observer).
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Sets [`cancel`](Self::cancel).
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }
}

/// Something that a backup left out, or saved although it changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// What a backup did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupReport {
    /// The new snapshot; `None` after a dry run.
    pub snapshot: Option<ObjectId>,
    /// The snapshot it was compared with.
    pub parent: Option<ObjectId>,
    /// The newest snapshot that this client had seen, if it is gone without having been forgotten here.
    pub gone_snapshot: Option<GoneSnapshot>,
    /// Files, bytes, and how they compare with the parent.
    pub counts: Counts,
    /// Sealed bytes of every object put: packs, index objects, the snapshot.
    pub bytes_stored: u64,
    /// How long it took.
    pub duration: Duration,
    /// Databases in use that were taken through SQLite.
    pub captured: Vec<PathBuf>,
    /// Encrypted files of WhatsApp's of which the database inside was saved.
    pub opened: Vec<PathBuf>,
    /// Logs, journals and shared memory of such databases: left out, since what they hold is in the databases.
    pub companions: Vec<PathBuf>,
    /// What could not be read, or changed while it was; the rest is saved.
    pub warnings: Vec<Warning>,
    /// What is worth knowing and needs no action.
    pub notes: Vec<Warning>,
    /// Patterns of [`BackupOptions::exclude`] that decided about no path.
    pub excludes_without_effect: Vec<String>,
    /// Sockets that were left out: they mean nothing without the process that listens.
    pub sockets: u64,
}

/// A stream to back up as a file.
pub struct NamedReader<'a> {
    /// The file's path in the snapshot: components separated by `/`, none of them `.` or `..`.
    pub name: String,
    /// Where its bytes come from.
    pub reader: Box<dyn Read + Send + 'a>,
}
