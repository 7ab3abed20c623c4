//! Rank 8: prune: gives back the space of what no snapshot needs any more. First a plan, then its application.

mod apply;
mod fate;
mod listing;
mod needs;
mod options;
mod plan;
mod repack;
mod walk;

pub use options::{PruneFigures, PruneOptions, PruneReport};
pub use plan::PrunePlan;
pub(crate) use repack::{Repacker, Use};

/// The decision alone, for tests.
#[cfg(feature = "internals")]
pub use fate::{Fate, Limits, PackUse, decide};
