//! Rank 8: find: which snapshots hold what a pattern matches.

mod options;
mod run;
#[cfg(test)]
mod tests;

pub use options::{FindOptions, FindReport, FoundEntry};
