//! Rank 8: forget: which snapshots stay, and the removal of the others.

mod calendar;
mod options;
mod plan;
mod run;

pub use calendar::CalendarSpan;
pub use options::{Decision, ForgetGroup, ForgetOptions, ForgetPlan, Grouping, KeepPolicy, KeepReason, UtcOffset};
#[cfg(feature = "internals")]
pub use plan::plan;
