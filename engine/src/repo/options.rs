//! How a repository is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::limits::{MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, MIB};
use crate::base::{CancelToken, Lease, MemoryBudget};
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
    /// What the engine's buffers and caches may take together, in bytes, in all operations and threads; at least 64 MiB,
    /// 128 MiB if not set. The process takes up to 64 MiB more.
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
    /// The memory budget, if it was made already; then `memory_bytes` says nothing.
    pub(crate) budget: Option<Arc<MemoryBudget>>,
    /// Whether it is shared with other repositories.
    pub(crate) shares_memory: bool,
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
            budget: None,
            shares_memory: false,
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

    /// Lets repositories share one memory budget, in place of [`memory_bytes`](Self::memory_bytes): all that are opened with it
    /// take together what one may.
    pub fn share_memory(mut self, budget: &Arc<MemoryBudget>) -> Self {
        self.budget = Some(Arc::clone(budget));
        self.shares_memory = true;
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
        let reason = match self.budget_bytes() {
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

    /// Returns how large the memory budget is.
    pub(super) fn budget_bytes(&self) -> usize {
        self.budget.as_ref().map_or(self.memory_bytes, |budget| budget.bytes())
    }

    /// Returns the same options with a budget, which is this repository's own if it shares none.
    pub(crate) fn with_budget(&self) -> (Self, Arc<MemoryBudget>) {
        let budget = self.budget.clone().unwrap_or_else(|| MemoryBudget::new(self.memory_bytes));
        (Self { budget: Some(Arc::clone(&budget)), ..self.clone() }, budget)
    }
}

// The budget in sixteenths: three are for the store's pages, one for decoded frames, up to eight for packs and three for the
// batches of a large file, and the rest for the workers. What is held only now and then shares what is left.
// Whoever only reads has no packs to fill: more of it goes to the store, and to what restores rebuild.

/// Takes the memory for the store's pages.
pub(crate) fn store_lease(budget: &Arc<MemoryBudget>, access: Access) -> Lease {
    let sixteenths = match access {
        Access::Read => 4,
        Access::Write => 3,
    };
    budget.take_some(PAGES_BYTES_MIN, budget.bytes() / 16 * sixteenths)
}

/// Takes the memory for the catalog's pages: what a database's deltas stand on is looked up all over it. Of a budget of one's
/// own a part of them comes on top.
pub(super) fn catalog_lease(budget: &Arc<MemoryBudget>, is_shared: bool) -> (Lease, usize) {
    let wanted = budget.bytes() / 16 * 3;
    let on_top = if is_shared { 0 } else { CATALOG_BYTES_ON_TOP.min(wanted) };
    let lease = budget.take_some(PAGES_BYTES_MIN.saturating_sub(on_top), wanted - on_top);
    let bytes = lease.bytes() + on_top;
    (lease, bytes)
}

/// The least that a store or a catalog has for its pages.
const PAGES_BYTES_MIN: usize = 4 * MIB;
/// What a catalog's pages take beside the budget.
const CATALOG_BYTES_ON_TOP: usize = 24 * MIB;
