//! Rank 9: repair: index objects from the footers of packs, what is readable out of hurt packs, and copies of the
//! snapshots without what is lost. First a plan, then its application.

mod apply;
mod copies;
mod listing;
mod options;
mod packs;
mod plan;
mod rescue;
mod scan;

pub use copies::{HurtSnapshot, LostEntry};
pub use options::{RepairFigures, RepairOptions, RepairReport};
pub use plan::RepairPlan;
pub use rescue::RescueReport;
