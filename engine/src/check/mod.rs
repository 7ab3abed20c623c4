//! Rank 8: check and stats.

mod options;
mod run;
mod stats;

pub use options::{CheckOptions, CheckReport, Stats};
