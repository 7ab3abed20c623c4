//! Rank 9: check and stats.

mod hurt;
mod index;
mod options;
mod packs;
mod run;
mod stats;

pub use options::{CheckOptions, CheckReport, ReadData, Stats};
