//! Rank 8: restore and ls.

mod files;
mod list;
mod options;
mod run;
mod target_dir;

pub use options::{ListedEntry, ListedKind, Overwrite, RestoreOptions, RestoreReport};
