//! Rank 8: backup.

mod batch;
mod capture;
mod database;
mod engine;
mod estimate;
mod file;
mod options;
mod resemble;
mod roots;
mod rules;
mod run;

pub use options::{BackupOptions, BackupReport, NamedReader, SqliteCapture, Warning};
