//! What a copy is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, ObjectId, Observer};
use crate::error::{Error, Result};

/// Options of [`Repository::copy_to`](crate::Repository::copy_to).
#[derive(Clone)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The zstd level for what is compressed again, 1 (fastest) to 19 (smallest); deltas stay as they are.
    pub level: i32,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the copy at the next folder or group of chunks; what was stored till then is used by the next one.
    pub cancel: CancelToken,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { level: 1, threads: 0, observer: None, cancel: CancelToken::new() }
    }
}

impl CopyOptions {
    pub(super) fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// A snapshot that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedSnapshot {
    /// Its id there.
    pub from: ObjectId,
    /// Its id in the other repository.
    pub to: ObjectId,
}

/// What a copy did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// Snapshots that were copied, oldest first.
    pub copied: Vec<CopiedSnapshot>,
    /// Snapshots that the other repository had already.
    pub skipped: u64,
    /// Snapshots that could not be copied, since something that they need is damaged or missing, and why; the others were.
    pub failed: Vec<(ObjectId, String)>,
    /// Bytes of chunks that it did not have, before compression.
    pub bytes_new: u64,
    /// Sealed bytes of every object put.
    pub bytes_stored: u64,
    /// How long it took.
    pub duration: Duration,
}
