//! Rank 9: copies snapshots into another repository, with all that they stand on.

mod known;
mod options;
mod run;
mod trees;

pub use options::{CopiedSnapshot, CopyOptions, CopyReport};
