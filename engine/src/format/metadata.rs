//! The metadata of an entry: what every kind of file has.

use crate::base::limits::{
    CRYPT_HEADER_BYTES_MAX, NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX, XATTRS_BYTES_MAX, XATTRS_MAX,
};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::extension::{self, Extension};

/// A point in time: seconds since 1970-01-01T00:00:00Z, and nanoseconds (below 10^9) after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after the second, always forward.
    pub nanos: u32,
}

/// An extended attribute; ACLs are attributes too (`system.posix_acl_access`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The full name, with its namespace.
    pub name: Vec<u8>,
    /// The value, byte for byte.
    pub value: Vec<u8>,
}

/// What every kind of entry has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permissions, set-id and sticky bits: the low 12 bits of `st_mode`.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Timestamp,
    /// When content or metadata last changed; only compared, never restored.
    pub ctime: Timestamp,
    /// The inode number; compared, and names a group of hard links.
    pub inode: u64,
    /// The device number if the inode has more than one link: entries that agree in it, the inode, and all else but name and
    /// ctime are one file.
    pub link_device: Option<u64>,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Flags of the inode as `chattr` sets them (`FS_IOC_GETFLAGS`); 0: none, or the file system has none.
    pub flags: u32,
    /// Set if the folder could not be looked at: all else here is a placeholder, and a restore must not apply it.
    pub is_unknown: bool,
    /// When the file was made, where the file system tells; at most 292 years from `mtime`. Never restored.
    pub birth: Option<Timestamp>,
    /// The clear beginning of one of WhatsApp's encrypted files, if the content is what was sealed in it.
    pub crypt_header: Option<Box<[u8]>>,
    /// Optional extensions of a later version, kept as they are.
    pub other: Vec<Extension>,
}

impl Metadata {
    /// Returns the metadata of a folder that could not be looked at.
    pub fn unknown() -> Self {
        Self { mode: 0o755, is_unknown: true, ..Self::default() }
    }
}

pub(super) fn write_time(out: &mut Writer, time: Timestamp) {
    out.varint_signed(time.seconds);
    out.varint(u64::from(time.nanos));
}

pub(super) fn read_time(input: &mut Reader<'_>) -> Result<Timestamp, FormatError> {
    let seconds = input.varint_signed()?;
    let nanos = input.varint_u32(999_999_999, "nanoseconds below 10^9")?;
    Ok(Timestamp { seconds, nanos })
}

/// Codes of an entry's extensions. A reader may skip an even one that it does not know.
mod code {
    pub const UNKNOWN_METADATA: u64 = 1;
    pub const BIRTH: u64 = 2;
    pub const FLAGS: u64 = 4;
    pub const CRYPT_HEADER: u64 = 6;
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

const fn nanos_of(time: Timestamp) -> i128 {
    time.seconds as i128 * NANOS_PER_SECOND + time.nanos as i128
}

/// Returns how many nanoseconds a file's birth lies before its mtime, if that can be stored.
fn age_of(metadata: &Metadata) -> Option<i64> {
    i64::try_from(nanos_of(metadata.mtime) - nanos_of(metadata.birth?)).ok()
}

fn born_before(mtime: Timestamp, age: i64) -> Option<Timestamp> {
    let birth = nanos_of(mtime) - i128::from(age);
    let seconds = i64::try_from(birth.div_euclid(NANOS_PER_SECOND)).ok()?;
    Some(Timestamp { seconds, nanos: birth.rem_euclid(NANOS_PER_SECOND) as u32 })
}

impl Metadata {
    pub(super) fn has_extensions(&self) -> bool {
        self.is_unknown
            || self.birth.is_some()
            || self.flags != 0
            || self.crypt_header.is_some()
            || !self.other.is_empty()
    }

    pub(super) fn write_extensions(&self, out: &mut Writer) {
        let mut list = extension::ListWriter::new(&self.other);
        if self.is_unknown {
            list.put(code::UNKNOWN_METADATA, |_| {});
        }
        if let Some(age) = age_of(self) {
            list.put(code::BIRTH, |value| value.varint_signed(age));
        }
        if self.flags != 0 {
            list.put(code::FLAGS, |value| value.varint(u64::from(self.flags)));
        }
        if let Some(header) = &self.crypt_header {
            list.put(code::CRYPT_HEADER, |value| value.raw(header));
        }
        list.finish(out);
    }

    pub(super) fn read_extensions(&mut self, input: &mut Reader<'_>) -> Result<(), FormatError> {
        let mtime = self.mtime;
        self.other = extension::read_list(input, |number, value| {
            match number {
                code::UNKNOWN_METADATA => self.is_unknown = true,
                code::BIRTH => {
                    let start = value.clone();
                    let age = value.varint_signed()?;
                    let birth = born_before(mtime, age).ok_or_else(|| start.error("a time of birth", age))?;
                    self.birth = Some(birth);
                }
                code::FLAGS => {
                    let start = value.clone();
                    self.flags = value.varint_u32(u32::MAX, "flags of 32 bits")?;
                    if self.flags == 0 {
                        return Err(start.error("flags other than 0", 0));
                    }
                }
                code::CRYPT_HEADER => self.crypt_header = Some(value.raw(value.remaining())?.into()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(())
    }

    /// Checks what no type rules out.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.mode > 0o7777 {
            return Err("a mode of 12 bits");
        }
        if [self.mtime, self.ctime].iter().chain(&self.birth).any(|time| i128::from(time.nanos) >= NANOS_PER_SECOND) {
            return Err("nanoseconds below 10^9");
        }
        if self.birth.is_some() && age_of(self).is_none() {
            return Err("a birth within 292 years of the mtime");
        }
        if self.crypt_header.as_ref().is_some_and(|header| header.len() > CRYPT_HEADER_BYTES_MAX) {
            return Err("a header of at most 4 KiB");
        }
        if self.xattrs.len() > XATTRS_MAX {
            return Err("at most 16,384 attributes");
        }
        let mut bytes = 0;
        for xattr in &self.xattrs {
            if xattr.name.len() > NAME_BYTES_MAX || xattr.value.len() > XATTR_VALUE_BYTES_MAX {
                return Err("attributes with names of at most 4,096 bytes and values of at most 256 KiB");
            }
            bytes += xattr.name.len() + xattr.value.len();
        }
        if bytes > XATTRS_BYTES_MAX {
            return Err("attributes of at most 1 MiB together");
        }
        if !self.xattrs.is_sorted_by(|a, b| a.name < b.name) {
            return Err("attributes in ascending order");
        }
        extension::check(&self.other, |number| {
            matches!(number, code::UNKNOWN_METADATA | code::BIRTH | code::FLAGS | code::CRYPT_HEADER)
        })
    }
}
