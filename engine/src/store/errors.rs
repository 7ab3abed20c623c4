//! The errors that every store words alike.

use crate::base::ObjectName;
use crate::error::{StoreError, StoreErrorKind};

/// There is an object of this name; names are random, so this is a bug or a store that was tampered with.
pub(super) fn already_exists(name: &ObjectName) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, name, "already in the store, where nothing is overwritten")
}

/// There is no object of this name.
pub(super) fn not_found(name: &ObjectName) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, name, "not in the store; run `check` to see what else is missing")
}

/// The object is longer than the caller accepts.
pub(super) fn too_large(name: &ObjectName, bytes: u64, bytes_max: usize) -> StoreError {
    let message = format!("has {bytes} bytes where at most {bytes_max} are allowed; run `check` to see what is hurt");
    StoreError::new(StoreErrorKind::TooLarge, name, message)
}

/// The object ends before the range that was asked for.
pub(super) fn too_short(name: &ObjectName, bytes: u64, offset: u64, len: usize) -> StoreError {
    let message =
        format!("has {bytes} bytes where {len} were expected at offset {offset}; run `check` to see what else is hurt");
    StoreError::new(StoreErrorKind::Damaged, name, message)
}

/// The object has another length than the store's own list says.
pub(super) fn wrong_length(name: &ObjectName, bytes: u64, listed: u64) -> StoreError {
    let message = format!("has {bytes} bytes where {listed} were written; run `check` to see what else is hurt");
    StoreError::new(StoreErrorKind::Damaged, name, message)
}

/// The disk does not give out some of an object, or of a whole store.
pub(super) fn not_given_out(object: impl ToString) -> StoreError {
    let message =
        "the disk does not give out some of its bytes; copy the repository to another disk before anything else";
    StoreError::new(StoreErrorKind::Io, object, message)
}

/// redb panicked, and what it has in memory is not to be written.
pub(super) fn closed_by_damage(location: &str) -> StoreError {
    let message =
        "closed for writing since damage to the file was met; run `repair --rescue-to`, or open it anew to go on";
    StoreError::new(StoreErrorKind::Damaged, location, message)
}

/// The store was opened with [`Access::Read`](super::Access::Read).
pub(super) fn opened_for_reading(location: &str) -> StoreError {
    StoreError::new(StoreErrorKind::ReadOnly, location, "opened for reading only; open it for writing to change it")
}

/// Returns `len` bytes at `offset`, or `None` if `bytes` is shorter than that.
pub(super) fn slice_of(bytes: &[u8], offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(len)?)
}

/// What went wrong first, told again by every later call: after a failed write nothing that was not yet durable can
/// be vouched for.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: StoreErrorKind,
    text: String,
}

impl Failure {
    /// Remembers `error`.
    pub(super) fn of(error: &StoreError) -> Self {
        Self { kind: error.kind, text: format!("{}: {}", error.object, error.message) }
    }

    /// Returns the error for a call that comes after the failure.
    pub(super) fn again(&self, location: &str) -> StoreError {
        let message =
            format!("closed for writing since an earlier write failed ({}); open it anew to go on", self.text);
        StoreError::new(self.kind, location, message)
    }
}
