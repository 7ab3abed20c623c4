//! Rank 9: check and stats.

mod hurt;
mod index;
mod listed;
mod media;
mod options;
mod packs;
mod restored;
mod run;
mod small;
mod stats;

pub use options::{CheckOptions, CheckReport, ReadData, RestoreTest, RestoreTested, Stats};
