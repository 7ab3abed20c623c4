//! Rank 3: what is backed up, as the file system shows it: directories and their names, metadata, attributes, holes, the
//! patterns that leave something out, the names of owners, and consistent copies of databases that are in use.
//!
//! Everything below a root is reached through the descriptor of its directory and without following symbolic links, so a
//! path that changes while it is walked never leads elsewhere.

mod anchor;
mod attributes;
pub mod cachedir;
pub mod database;
pub mod dir;
pub mod extents;
pub mod names;
pub mod owners;
pub mod patterns;
pub mod stat;
mod unsized_file;
pub mod whatsapp;
pub mod xattrs;

pub use attributes::{inode_flags, kernel_interface};
pub use cachedir::is_cache_dir;
pub use dir::Dir;
pub use extents::{data_extents, may_be_sparse};
pub use owners::Owners;
pub use patterns::{Patterns, PatternsBuilder, Reach, Selection};
pub use stat::{FileKind, Stat, same_file_state};
pub use unsized_file::UnsizedFile;
pub use xattrs::{Xattrs, file_xattrs};
