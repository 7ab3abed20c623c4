//! Rank 9: measures what each stage of a backup does on this machine, and says what limits the whole.
//!
//! The stages are those of `docs/design.md`, run on a sample of the user's own files or on generated ones. What is stored
//! for it lies in a temporary folder, which is removed whatever happens.

mod catalog;
mod conclusion;
mod cpu;
pub mod data;
mod files;
mod first_backup;
mod options;
mod place;
mod report;
mod run;
mod sample;
mod stores;
#[cfg(test)]
mod tests;
mod timing;

pub use conclusion::{Advice, Conclusion, Limit};
pub use options::MeasureOptions;
pub use report::{Measurement, SampleReport, Stage, StageReport};
pub use run::measure;
