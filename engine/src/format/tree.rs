//! Trees: one directory each, as a sorted run of entry records. `docs/format.md` has the layout.

use crate::base::limits::{NAME_BYTES_MAX, SYMLINK_BYTES_MAX, TREE_BYTES_MAX, XATTR_VALUE_BYTES_MAX, XATTRS_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::content::Content;
use crate::format::extension::{self, Extension};
use crate::format::metadata::{read_time, write_time};

pub use crate::format::metadata::{Metadata, Timestamp, Xattr};

/// How a file's content was recognised and cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Anything else.
    #[default]
    General = 0,
    /// Images, sound, video and archives: compressed already, cut into large chunks.
    Media = 1,
    /// SQLite databases, cut at their pages.
    Sqlite = 2,
    /// Databases whose pages are encrypted one by one (SQLCipher), cut at these: what did not change is found again, and
    /// what did resembles nothing.
    EncryptedPages = 3,
}

impl Class {
    /// Returns the class of a stored number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::General),
            1 => Some(Self::Media),
            2 => Some(Self::Sqlite),
            3 => Some(Self::EncryptedPages),
            _ => None,
        }
    }
}

/// How a content was had that is not the file's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CaptureKind {
    /// An SQLite database that was in use, taken through SQLite: what its log or journal holds is in it.
    Sqlite = 1,
    /// The database inside one of WhatsApp's encrypted files.
    WhatsApp = 2,
}

/// Says that a content is not the file's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// How it was had.
    pub kind: CaptureKind,
    /// A hash of what tells, beside the metadata, that it is still the same: only compared.
    pub state: [u8; 16],
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Its bytes, or those that were had from it.
        content: Content,
        /// How they were cut.
        class: Class,
        /// Set if they are not the file's own.
        capture: Option<Capture>,
    },
    /// A directory: the content is its encoded tree.
    Directory {
        /// The encoded tree.
        content: Content,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, byte for byte.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Its number, as `st_rdev`.
        device: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its number, as `st_rdev`.
        device: u64,
    },
}

/// What sort of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Node {
    /// Returns what sort of thing it is.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::File { .. } => EntryKind::File,
            Self::Directory { .. } => EntryKind::Directory,
            Self::Symlink { .. } => EntryKind::Symlink,
            Self::Fifo => EntryKind::Fifo,
            Self::CharDevice { .. } => EntryKind::CharDevice,
            Self::BlockDevice { .. } => EntryKind::BlockDevice,
        }
    }

    /// Returns how many bytes of content a file has, 0 for anything else.
    pub fn file_bytes(&self) -> u64 {
        match self {
            Self::File { content, .. } => content.bytes(),
            _ => 0,
        }
    }

    /// Returns whether two entries hold the same: the bytes of files, what lies in directories, the targets of links and
    /// the numbers of devices. Files that differ in their holes alone are not seen to be the same.
    pub fn holds_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { content, .. }, Self::File { content: other, .. }) => content == other,
            _ => self == other,
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::File { .. } => FILE,
            Self::Directory { .. } => 2,
            Self::Symlink { .. } => 3,
            Self::Fifo => 4,
            Self::CharDevice { .. } => 5,
            Self::BlockDevice { .. } => 6,
        }
    }

    /// Returns the content of a file or directory.
    pub const fn content(&self) -> Option<&Content> {
        match self {
            Self::File { content, .. } | Self::Directory { content } => Some(content),
            _ => None,
        }
    }

    /// Returns how a file's content was had if it is not the file's own bytes.
    pub const fn capture(&self) -> Option<&Capture> {
        match self {
            Self::File { capture, .. } => capture.as_ref(),
            _ => None,
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name: any bytes but `/` and NUL, neither `.` nor `..`.
    pub name: Vec<u8>,
    /// What every kind of entry has.
    pub metadata: Metadata,
    /// What it is.
    pub node: Node,
}

/// Returns whether `name` may stand in a tree: one path component that stays where it is.
pub fn is_valid_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// The extension of a tree in which something is missing.
const LEFT_OUT: u64 = 1;

const HAS_EXTENSIONS: u8 = 0x10;
const HAS_CAPTURE: u8 = 0x20;
const HAS_LINKS: u8 = 0x40;
const HAS_XATTRS: u8 = 0x80;
const KIND_MASK: u8 = 0x0f;
const FILE: u8 = 1;
const CAPTURED_FILE: u8 = FILE | HAS_CAPTURE;

impl Capture {
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let at_kind = input.clone();
        let kind = match input.u8()? {
            1 => CaptureKind::Sqlite,
            2 => CaptureKind::WhatsApp,
            other => return Err(at_kind.error("a capture of 1 or 2", other)),
        };
        Ok(Self { kind, state: input.array()? })
    }
}

impl Entry {
    /// Appends the entry's record.
    pub fn write(&self, out: &mut Writer) {
        let meta = &self.metadata;
        out.bytes(&self.name);
        let links = if meta.link_device.is_some() { HAS_LINKS } else { 0 };
        let xattrs = if meta.xattrs.is_empty() { 0 } else { HAS_XATTRS };
        let captured = if matches!(self.node, Node::File { capture: Some(_), .. }) { HAS_CAPTURE } else { 0 };
        let extensions = if meta.has_extensions() { HAS_EXTENSIONS } else { 0 };
        out.u8(self.node.code() | links | xattrs | captured | extensions);
        out.varint(u64::from(meta.mode));
        out.varint(u64::from(meta.uid));
        out.varint(u64::from(meta.gid));
        write_time(out, meta.mtime);
        write_time(out, meta.ctime);
        out.varint(meta.inode);
        if let Some(device) = meta.link_device {
            out.varint(device);
        }
        if !meta.xattrs.is_empty() {
            out.varint(meta.xattrs.len() as u64);
            for xattr in &meta.xattrs {
                out.bytes(&xattr.name);
                out.bytes(&xattr.value);
            }
        }
        if extensions != 0 {
            meta.write_extensions(out);
        }
        match &self.node {
            Node::File { content, class, capture } => {
                if let Some(capture) = capture {
                    out.u8(capture.kind as u8);
                    out.raw(&capture.state);
                }
                out.u8(*class as u8);
                content.write(out);
            }
            Node::Directory { content } => content.write(out),
            Node::Symlink { target } => out.bytes(target),
            Node::Fifo => {}
            Node::CharDevice { device } | Node::BlockDevice { device } => out.varint(*device),
        }
    }

    /// Checks what a reader checks of an entry beyond its encoding. [`read`](Self::read) calls this, and so does whoever
    /// stores a tree: what is recorded can be read.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        if !is_valid_name(&self.name) {
            return Err("a name that is one path component of at most 4,096 bytes");
        }
        self.metadata.check()?;
        match &self.node {
            Node::File { content, .. } | Node::Directory { content } => content.check(),
            Node::Symlink { target } if target.len() > SYMLINK_BYTES_MAX => Err("a link of at most 64 KiB"),
            _ => Ok(()),
        }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// A [`FormatError`] for a name that is no single path component and for every length beyond its limit.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let start = input.clone();
        let name = input.bytes(NAME_BYTES_MAX, "a name of at most 4096 bytes")?;
        let at_kind = input.clone();
        let flags = input.u8()?;
        let mode = input.varint_u32(0o7777, "12 permission bits")? as u16;
        let uid = input.varint_u32(u32::MAX, "a user id")?;
        let gid = input.varint_u32(u32::MAX, "a group id")?;
        let mtime = read_time(input)?;
        let ctime = read_time(input)?;
        let inode = input.varint()?;
        let link_device = if flags & HAS_LINKS != 0 { Some(input.varint()?) } else { None };
        let mut xattrs = Vec::new();
        if flags & HAS_XATTRS != 0 {
            for _ in 0..input.length(XATTRS_MAX, "at most 16,384 extended attributes")? {
                let name = input.bytes(NAME_BYTES_MAX, "an attribute's name")?.to_vec();
                let value = input.bytes(XATTR_VALUE_BYTES_MAX, "an attribute of at most 256 KiB")?.to_vec();
                xattrs.push(Xattr { name, value });
            }
        }
        let mut metadata = Metadata { mode, uid, gid, mtime, ctime, inode, link_device, xattrs, ..Metadata::default() };
        if flags & HAS_EXTENSIONS != 0 {
            metadata.read_extensions(input)?;
        }
        let node = match flags & !(HAS_LINKS | HAS_XATTRS | HAS_EXTENSIONS) {
            kind @ (FILE | CAPTURED_FILE) => {
                let capture = if kind & HAS_CAPTURE != 0 { Some(Capture::read(input)?) } else { None };
                let at_class = input.clone();
                let code = input.u8()?;
                let class = Class::from_code(code).ok_or_else(|| at_class.error("a class of 0 to 3", code))?;
                Node::File { class, content: Content::read(input)?, capture }
            }
            2 => Node::Directory { content: Content::read(input)? },
            3 => Node::Symlink { target: input.bytes(SYMLINK_BYTES_MAX, "a link of at most 64 KiB")?.to_vec() },
            4 => Node::Fifo,
            5 => Node::CharDevice { device: input.varint()? },
            6 => Node::BlockDevice { device: input.varint()? },
            other => return Err(at_kind.error("an entry kind of 1 to 6", other & KIND_MASK)),
        };
        let entry = Self { name: name.to_vec(), metadata, node };
        entry.check().map_err(|expected| start.error(expected, String::from_utf8_lossy(name)))?;
        Ok(entry)
    }
}

/// The name of a user or group, as the machine knew it that made the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerName {
    /// The number.
    pub id: u32,
    /// The name.
    pub name: Vec<u8>,
}

/// A decoded directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The names of the users in it, sorted by number.
    pub users: Vec<OwnerName>,
    /// The names of the groups in it, sorted by number.
    pub groups: Vec<OwnerName>,
    /// Set if something in the directory is not in the tree: it was excluded, could not be read, or is of a kind that is not
    /// stored. A restore that deletes must not take what is missing here for gone.
    pub left_out: bool,
    /// Optional extensions of a later version, kept as they are.
    pub other: Vec<Extension>,
    /// The entries, sorted by name, no name twice.
    pub entries: Vec<Entry>,
}

fn write_owners(out: &mut Writer, owners: &[OwnerName]) {
    out.varint(owners.len() as u64);
    for owner in owners {
        out.varint(u64::from(owner.id));
        out.bytes(&owner.name);
    }
}

fn read_owners(input: &mut Reader<'_>) -> Result<Vec<OwnerName>, FormatError> {
    let count = input.length(TREE_BYTES_MAX, "a count of owners")?;
    let mut owners: Vec<OwnerName> = Vec::new();
    for _ in 0..count {
        let start = input.clone();
        let id = input.varint_u32(u32::MAX, "a user or group id")?;
        if owners.last().is_some_and(|last| last.id >= id) {
            return Err(start.error("owners in ascending order", id));
        }
        let name = input.bytes(NAME_BYTES_MAX, "an owner's name")?.to_vec();
        owners.push(OwnerName { id, name });
    }
    Ok(owners)
}

/// What stands before a tree's entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeHead<'a> {
    /// As [`Tree::users`].
    pub users: &'a [OwnerName],
    /// As [`Tree::groups`].
    pub groups: &'a [OwnerName],
    /// As [`Tree::left_out`].
    pub left_out: bool,
    /// As [`Tree::other`].
    pub other: &'a [Extension],
}

impl TreeHead<'_> {
    /// Checks what a reader checks of it beyond its encoding.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        let are_sorted = |owners: &[OwnerName]| owners.is_sorted_by(|a, b| a.id < b.id);
        if !are_sorted(self.users) || !are_sorted(self.groups) {
            return Err("owners in ascending order");
        }
        if self.users.iter().chain(self.groups).any(|owner| owner.name.len() > NAME_BYTES_MAX) {
            return Err("owners' names of at most 4,096 bytes");
        }
        extension::check(self.other, |number| number == LEFT_OUT)
    }

    /// Appends the beginning of a tree; its entries follow, sorted by name.
    pub fn write(&self, out: &mut Writer) {
        write_owners(out, self.users);
        write_owners(out, self.groups);
        let mut list = extension::ListWriter::new(self.other);
        if self.left_out {
            list.put(LEFT_OUT, |_| {});
        }
        list.finish(out);
    }
}

impl Tree {
    /// Returns what stands before the entries.
    pub fn head(&self) -> TreeHead<'_> {
        TreeHead { users: &self.users, groups: &self.groups, left_out: self.left_out, other: &self.other }
    }

    /// Returns the encoded tree, for one that is small.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.head().write(&mut out);
        self.entries.iter().for_each(|entry| entry.write(&mut out));
        out.finish()
    }

    /// Decodes a tree.
    ///
    /// # Errors
    /// A [`FormatError`] that says where: names out of order, twice, or not a single path component; lengths beyond
    /// their limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let users = read_owners(&mut input)?;
        let groups = read_owners(&mut input)?;
        let mut left_out = false;
        let other = extension::read_list(&mut input, |number, _| {
            left_out |= number == LEFT_OUT;
            Ok(number == LEFT_OUT)
        })?;
        let mut entries: Vec<Entry> = Vec::new();
        while input.remaining() > 0 {
            let start = input.clone();
            let entry = Entry::read(&mut input)?;
            start.ascending(entries.last().map(|last| &last.name), &entry.name, "names in ascending order")?;
            entries.push(entry);
        }
        input.finish()?;
        Ok(Self { users, groups, left_out, other, entries })
    }
}
