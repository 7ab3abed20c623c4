//! The words for what goes wrong with a redb file.

use std::fmt::Display;

use crate::base::guard::Trouble;
use crate::error::{StoreError, StoreErrorKind};

/// What is at `path` is no store.
pub(super) fn foreign(path: impl Display) -> StoreError {
    StoreError::new(
        StoreErrorKind::Damaged,
        path,
        "not a daykeep repository, or its first bytes are damaged: check the path; `daykeep repair --rescue-to` saves what is left",
    )
}

/// Words `trouble` with the file at `path`.
pub(super) fn store_error(path: impl Display, doing: &str, trouble: Trouble) -> StoreError {
    let damaged = |text| {
        let message = format!(
            "{doing}: the file is damaged: {text}; `daykeep repair --rescue-to` saves what is left of it into a new repository"
        );
        StoreError::new(StoreErrorKind::Damaged, &path, message)
    };
    match trouble {
        Trouble::InUse => {
            StoreError::new(StoreErrorKind::InUse, path, "in use by another process; wait until it is done")
        }
        Trouble::NeedsRepair => {
            let message = format!("{doing}: it was not closed cleanly; open it once for writing, which repairs it");
            StoreError::new(StoreErrorKind::ReadOnly, path, message)
        }
        Trouble::Foreign(_) => foreign(path),
        Trouble::Damaged(text) => damaged(text),
        Trouble::Panicked(text) => damaged(format!("redb stopped with `{text}`")),
        Trouble::System(source) => StoreError::from_io(path, doing, source),
        Trouble::Other(text) => {
            StoreError::new(StoreErrorKind::Io, path, format!("{doing}: {text}; open it anew to go on"))
        }
    }
}
