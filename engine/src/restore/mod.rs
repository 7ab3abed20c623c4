//! Rank 8: restore and ls.

mod files;
mod links;
mod list;
mod options;
mod run;
mod sealed;
mod taker;
mod target_dir;

pub use options::{ListedEntry, ListedKind, Overwrite, RestoreOptions, RestoreReport};
pub(crate) use run::Destination;
pub use taker::{Output, Taker};
