//! Rank 8: backup.

mod batch;
mod engine;
mod estimate;
mod file;
mod options;
mod resemble;
mod roots;
mod run;

pub use options::{BackupOptions, BackupReport, NamedReader, Warning};
