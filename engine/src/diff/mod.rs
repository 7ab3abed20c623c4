//! Rank 8: diff: what differs between two snapshots.

mod options;
mod run;

pub use options::{Change, DiffEntry, DiffOptions, DiffReport, DiffSide, DiffSum};
