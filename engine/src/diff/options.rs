//! What a comparison is told, and what it tells.

use crate::base::CancelToken;
use crate::format::tree::EntryKind;

/// Options of [`Repository::diff`](crate::Repository::diff).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DiffOptions {
    /// Ends the comparison at the next folder.
    pub cancel: CancelToken,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Only the second one has it.
    Added,
    /// Only the first one has it.
    Removed,
    /// A file with other bytes, a link with another target, a device of another number. Its metadata may differ too.
    Content,
    /// The same content, but other permissions, owner, time or attributes.
    Metadata,
    /// Something of another kind, such as a link where a file was.
    Kind,
}

/// An entry on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiffSide {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content, 0 for anything but a file.
    pub bytes: u64,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiffEntry {
    /// Its path from the root of the second snapshot, beginning with `/`; of the first if only that has it.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: Change,
    /// It in the first; none if that has no such entry.
    pub before: Option<DiffSide>,
    /// It in the second; none if that has no such entry.
    pub after: Option<DiffSide>,
}

/// How many entries, and how much they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiffSum {
    /// Everything but directories.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of the files' content.
    pub bytes: u64,
}

/// What a comparison found in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiffReport {
    /// What only the second one has.
    pub added: DiffSum,
    /// What only the first one has.
    pub removed: DiffSum,
    /// How many entries have other content.
    pub content: u64,
    /// How many have the same content and other metadata.
    pub metadata: u64,
    /// How many are of another kind.
    pub kind: u64,
    /// Bytes that entries of other content or kind had.
    pub bytes_before: u64,
    /// Bytes that they have.
    pub bytes_after: u64,
    /// How many directories were read; those that are the same in both are not.
    pub trees_read: u64,
}
