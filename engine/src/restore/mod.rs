//! Rank 8: restore and ls.

mod content;
mod delete;
mod files;
mod flags;
mod links;
mod list;
mod options;
mod place;
mod run;
mod sealed;
mod taker;
mod target_dir;
mod totals;
mod waiting;
mod walk;

pub use options::{ListedEntry, ListedKind, Overwrite, RestoreOptions, RestoreReport};
pub(crate) use run::Destination;
pub use taker::{Output, Taker};
