//! The engine of daykeep: encrypted, deduplicating backups of files, chats and media.
//!
//! A [`Repository`] lies in one redb file or in a directory. [`Repository::backup`] splits files into chunks by
//! content, stores each chunk once, compressed and sealed, and records a snapshot; [`Repository::restore`] brings one
//! back; [`Repository::check`] proves that it could; [`Repository::prune_plan`] and
//! [`Repository::prune`] give back the space of what no snapshot needs; [`Repository::chats`] looks into the chats that
//! one holds. [`measure()`] says how fast all that is on this machine, and why.
//!
//! ```no_run
//! use daykeep_engine::{Access, BackupOptions, Location, OpenOptions, Repository, Secret};
//!
//! # fn main() -> daykeep_engine::Result<()> {
//! let location = Location::parse("photos.redb")?;
//! let secret = Secret::password("correct horse battery staple");
//! let repository = Repository::open(&location, &secret, Access::Write, &OpenOptions::default())?;
//! let report = repository.backup(&["/home/me/Pictures"], &BackupOptions::default())?;
//! assert_eq!(report.counts.errors, 0);
//! # Ok(())
//! # }
//! ```
//!
//! The engine never prints and never exits; it tells what it does through an [`Observer`] and ends early through a
//! [`CancelToken`]. Damage that makes redb panic is caught and reported as an error; a panic hook of the process still
//! sees it, and may keep quiet about panics from redb's files.

mod backup;
mod base;
mod catalog;
mod chats;
mod check;
mod chunk;
mod chunks;
mod codec;
mod compress;
mod copy;
mod crypt;
mod delta;
mod diff;
mod error;
mod find;
mod forget;
mod format;
mod hash;
mod measure;
mod pack;
mod parity;
mod pool;
mod prune;
mod repair;
mod repo;
mod restore;
mod rewrite;
mod small;
mod snapshot;
mod source;
mod store;
mod tag;
mod tree;

pub use backup::{BackupOptions, BackupReport, NamedReader, SqliteCapture, Warning, source_path};
pub use base::guard::is_second_panic;
pub use base::limits::MEMORY_BYTES_DEFAULT;
pub use base::{CancelToken, Event, FileState, MemoryBudget, ObjectId, ObjectKind, ObjectName, Observer, RepositoryId};
pub use chats::{
    Chat, ChatApp, ChatChanges, ChatsOptions, DatabaseChanges, DatabaseContent, DatabaseDiff, DatabaseReport, Message,
    Messages, TableChanges, TableRows,
};
pub use check::{CheckOptions, CheckReport, ReadData, RestoreTest, RestoreTested, Stats};
pub use copy::{CopiedSnapshot, CopyOptions, CopyReport};
pub use crypt::RecoveryKey;
pub use diff::{Change, DiffEntry, DiffOptions, DiffReport, DiffSide, DiffSum};
pub use error::{Error, FormatError, Result, StoreError, StoreErrorKind};
pub use find::{FindOptions, FindReport, FoundEntry};
pub use forget::{
    CalendarSpan, Decision, ForgetGroup, ForgetOptions, ForgetPlan, Grouping, KeepPolicy, KeepReason, UtcOffset,
};
pub use format::proof::Proof;
pub use format::snapshot::Counts;
pub use format::snapshot::SnapshotRecord;
pub use format::tree::{Class, EntryKind, Timestamp, Xattr};
pub use measure::{Advice, Conclusion, Limit, MeasureOptions, Measurement, SampleReport, Stage, StageReport, measure};
pub use prune::{PruneFigures, PruneOptions, PrunePlan, PruneReport};
pub use repair::{HurtSnapshot, LostEntry, RepairFigures, RepairOptions, RepairPlan, RepairReport, RescueReport};
pub use repo::{Chunking, GoneSnapshot, KeyInfo, KeyOpens, Location, OpenOptions, Repository, Secret};
pub use restore::{ListedEntry, ListedKind, Overwrite, RestoreOptions, RestoreReport};
pub use rewrite::{RewriteOptions, RewriteReport, Rewritten};
pub use snapshot::{Snapshot, SnapshotPath};
pub use source::whatsapp::{KeyError, WhatsAppKey};
pub use source::{Patterns, PatternsBuilder};
pub use store::{Access, DirectoryStore, MemoryStore, RedbStore, Store};
pub use tag::{TagOptions, Tagged};

/// The inner layers, for this workspace's own tests, benchmarks and fuzz targets. Nothing here is promised to stay.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub mod base {
        pub use crate::base::*;
    }
    pub mod catalog {
        pub use crate::catalog::*;
    }
    pub mod chunk {
        pub use crate::chunk::*;
    }
    pub mod chunks {
        pub use crate::chunks::*;
    }
    pub mod codec {
        pub use crate::codec::*;
    }
    pub mod compress {
        pub use crate::compress::*;
    }
    pub mod crypt {
        pub use crate::crypt::*;
    }
    pub mod delta {
        pub use crate::delta::*;
    }
    pub mod forget {
        pub use crate::forget::*;
    }
    pub mod format {
        pub use crate::format::*;
    }
    pub mod hash {
        pub use crate::hash::*;
    }
    pub mod measure {
        pub use crate::measure::*;
    }
    pub mod pack {
        pub use crate::pack::*;
    }
    pub mod parity {
        pub use crate::parity::*;
    }
    pub mod prune {
        pub use crate::prune::{Fate, Limits, PackUse, decide};
    }
    pub mod store {
        pub use crate::store::{FileLayer, OpenFile};
    }
    pub mod tree {
        pub use crate::tree::*;
    }
    pub mod whatsapp {
        pub use crate::source::whatsapp::*;
    }
}
