//! Rank 8: backup.

mod batch;
mod capture;
mod database;
mod engine;
mod estimate;
mod file;
mod folder_tree;
mod links;
mod options;
mod outcome;
mod resemble;
mod roots;
mod rules;
mod run;

pub use options::{BackupOptions, BackupReport, NamedReader, SqliteCapture, Warning};
pub use roots::source_path;
