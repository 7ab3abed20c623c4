//! How a repository is opened.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::CancelToken;
use crate::base::limits::{MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, MIB};
use crate::crypt::{DEFAULT_ARGON2, RecoveryKey};
use crate::error::{Error, Result};
use crate::format::config::{ChunkerParams, GearKey};
use crate::format::key_slot::Argon2Params;
use crate::format::parity::PARITY_PERCENT_MAX;
#[cfg(feature = "internals")]
use crate::format::tree::Timestamp;
use crate::repo::clock::Clock;
use crate::store::Access;

/// What opens a repository.
#[derive(Clone)]
#[non_exhaustive]
pub enum Secret {
    /// A password; stretching it takes about a tenth of a second.
    Password(Zeroizing<String>),
    /// The recovery key, which a key file holds too.
    Recovery(RecoveryKey),
}

impl Secret {
    /// Makes the secret of a password.
    pub fn password(text: impl Into<String>) -> Self {
        Self::Password(Zeroizing::new(text.into()))
    }
}

/// How a repository cuts files, and the secret by which it does. Whoever knows it can tell into which lengths a known file falls,
/// so it belongs into repositories of the same owner only.
#[derive(Clone, Copy, Debug)]
pub struct Chunking {
    pub(super) params: ChunkerParams,
    pub(super) gear: GearKey,
}

/// Options of [`Repository::open`](crate::Repository::open) and the `create` functions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Where catalogs are kept from run to run; each repository has a folder of its own in it. `None`: nowhere, and
    /// every opening reads all index objects anew.
    pub cache_dir: Option<PathBuf>,
    /// What the engine's buffers and caches may take together, in bytes; at least 64 MiB, 128 MiB if not set. What is kept
    /// of a large catalog may take up to an eighth more.
    pub memory_bytes: usize,
    /// How long to wait for another process to be done with the repository.
    pub wait: Duration,
    /// Ends the waiting.
    pub cancel: CancelToken,
    /// Only when a repository is made: cut files as the one that this is [of](crate::Repository::chunking), so that what is
    /// copied from there is found by later backups.
    pub chunking: Option<Chunking>,
    /// Only when a repository is made: so much parity is added to every pack, in percent of what it protects, 0 to 100. By it
    /// packs heal of which a disk has lost some sectors or bytes; see [`CheckOptions::repair`](crate::CheckOptions::repair).
    pub parity_percent: u8,
    pub(crate) clock: Clock,
    /// How new passwords are stretched; tests use less.
    pub(crate) argon2: Argon2Params,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            wait: Duration::ZERO,
            cancel: CancelToken::new(),
            chunking: None,
            parity_percent: 0,
            clock: Clock::default(),
            argon2: DEFAULT_ARGON2,
        }
    }
}

impl OpenOptions {
    /// Sets [`cache_dir`](Self::cache_dir).
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(dir.into());
        self
    }

    /// Sets [`memory_bytes`](Self::memory_bytes).
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`parity_percent`](Self::parity_percent).
    pub fn parity_percent(mut self, percent: u8) -> Self {
        self.parity_percent = percent;
        self
    }

    /// Sets [`wait`](Self::wait).
    pub fn wait(mut self, duration: Duration) -> Self {
        self.wait = duration;
        self
    }

    /// Lets a clock of its own tell the repository the time, for tests.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn clock(mut self, tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::of(tell);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.parity_percent > PARITY_PERCENT_MAX {
            let reason = format!("{} percent is more than all; give 0 to 100", self.parity_percent);
            return Err(Error::InvalidOption { option: "parity", reason });
        }
        let reason = match self.memory_bytes {
            bytes if bytes < MEMORY_BYTES_MIN => {
                format!("{bytes} bytes is too little; give at least {} MiB", MEMORY_BYTES_MIN / MIB)
            }
            bytes if bytes > MEMORY_BYTES_MAX => {
                format!("{bytes} bytes is too much; give at most {} GiB", MEMORY_BYTES_MAX / MIB / 1024)
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidOption { option: "memory", reason })
    }

    // The budget in sixteenths: eight for packs (see the chunk writer), three for the batches of large files, three for
    // the store's pages and one for decoded frames. Three for the catalog's pages come on top: what a database's deltas stand
    // on is looked up all over it.
    // Whoever only reads has no packs to fill: more of it goes to the store, and to what restores rebuild.
    pub(crate) const fn store_cache_bytes(&self, access: Access) -> usize {
        match access {
            Access::Read => self.memory_bytes / 16 * 4,
            Access::Write => self.memory_bytes / 16 * 3,
        }
    }

    pub(super) const fn catalog_cache_bytes(&self) -> usize {
        self.memory_bytes / 16 * 3
    }
}
