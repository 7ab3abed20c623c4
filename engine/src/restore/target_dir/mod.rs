//! Everything that is written outside the repository goes through here and never leaves its target.
//!
//! Names come from a snapshot, which is hostile until proved otherwise, and the target may already hold what another
//! user put there. So a [`TargetDir`] is an open directory, and it takes single names only: each is checked to be one
//! path component, and each call on it refuses to follow a symbolic link. A name without a slash, looked up in an open
//! directory without following links, is in that directory or nowhere, which is what `openat2` with `RESOLVE_BENEATH`
//! would add for paths of many components; this way works on every kernel.

mod dir;
mod metadata;
mod owners;
mod replacement;
mod root;
mod temporary;
#[cfg(test)]
mod tests;

pub use dir::{Opening, TargetDir};
pub use metadata::Applier;
pub use owners::LocalOwners;
pub use replacement::{Nursery, Replacement, Waiting};

use std::io;
use std::path::PathBuf;

use crate::error::Error;

/// Makes the error for a file that could not be written, and says what helps if the disk is full.
pub(super) fn file_error(path: PathBuf, action: &'static str, source: impl Into<io::Error>) -> Error {
    let source = source.into();
    let action = match source.kind() {
        io::ErrorKind::StorageFull => "there is no space left for it; free some there and run the restore again",
        io::ErrorKind::QuotaExceeded => "your quota there is used up; free some space and run the restore again",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only; choose another target",
        _ => action,
    };
    Error::File { path, action, source }
}
