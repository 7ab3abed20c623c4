//! What a restore is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{CancelToken, Observer};
use crate::format::tree::Timestamp;
use crate::source::Patterns;
use crate::source::whatsapp::WhatsAppKey;

/// What to do with a file that is at the target already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overwrite {
    /// Replace it.
    #[default]
    Always,
    /// Replace it unless size and mtime are the snapshot's.
    IfChanged,
    /// Keep it.
    Never,
}

/// Options of [`Repository::restore`](crate::Repository::restore).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Restore only what these patterns (as in `.gitignore`) match, and all below a folder they match; none: all.
    /// Matched against paths from the snapshot's root. The report names those that matched nothing.
    pub include: Patterns,
    /// Leave out what these match.
    pub exclude: Patterns,
    /// What to do with files that are there already.
    pub overwrite: Overwrite,
    /// Change nothing and count what would be written.
    pub dry_run: bool,
    /// Remove what the target has and the snapshot has not, in folders that are part of what is restored. A folder in which
    /// the backup left something out loses nothing. Mount points, the repository and its cache stay.
    pub delete: bool,
    /// Remove it even where the backup left something out.
    pub delete_excluded: bool,
    /// Follow symbolic links at the target that lie above what is restored, the path of the target itself included; never
    /// one that lies in it.
    pub follow_target_links: bool,
    /// Give set-user-id and set-group-id bits back though the caller is not root, to files that belong to whom they did.
    pub set_id: bool,
    /// Read everything back afterwards and compare it with the snapshot.
    pub verify: bool,
    /// Set owners by number, even where this system knows the recorded name under another.
    pub numeric_owner: bool,
    /// Restore what was inside WhatsApp's encrypted files sealed again, under the names that these had, where one of these
    /// keys is the one that had opened it: so a phone reads it. Such files are not read back.
    pub whatsapp_seal: Vec<WhatsAppKey>,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Ends the restore at the next chunk.
    pub cancel: CancelToken,
}

/// What a restore did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Files, links and devices written; in a dry run, that would be.
    pub files: u64,
    /// Folders made or found that are part of what was restored.
    pub directories: u64,
    /// Bytes of content of the files written, for each name of a file with several.
    pub bytes: u64,
    /// Files that were there and stayed as they were.
    pub files_kept: u64,
    /// Files, links, devices and folders of the target that the snapshot has not and that were removed; in a dry run, that
    /// would be.
    pub deleted: u64,
    /// Folders that may hold more than the snapshot has and lost nothing, since the backup left something out there.
    pub folders_spared: u64,
    /// Files and folders whose flags (as `chattr` sets them) could not be set.
    pub flags_failed: u64,
    /// Patterns of [`RestoreOptions::include`] that matched nothing.
    pub includes_unmatched: Vec<String>,
    /// Files read back and found equal.
    pub files_verified: u64,
    /// Packs that are damaged and that their parity healed, as far as they were read; they are as damaged as before. Each is
    /// also told by an [`Event::Warning`](crate::Event::Warning). An open repository tells of each once, until it is checked.
    pub packs_healed: u64,
    /// How long it took.
    pub duration: Duration,
    /// What could not be restored in full, or differs when read back: path and reason.
    pub warnings: Vec<(String, String)>,
}

/// What a listed entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device's number.
    CharDevice(u64),
    /// A block device's number.
    BlockDevice(u64),
}

/// An entry of a snapshot as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedEntry {
    /// The path from the snapshot's root, beginning with `/`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ListedKind,
    /// Bytes of content, 0 for anything but a file.
    pub bytes: u64,
    /// Permission bits.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The owner's name on the machine that made the backup.
    pub user: Option<String>,
    /// The group's name there.
    pub group: Option<String>,
    /// When the content last changed.
    pub mtime: Timestamp,
}
