//! Descriptions of directory trees, and how they are made.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

use crate::{is_root, noise};

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Incompressible bytes.
    Random(u64, usize),
    /// Compressible ones.
    Text(u64, usize),
    /// Zeros that take space.
    Zeros(usize),
    /// A file that begins like a JPEG, so that it is cut as media.
    Jpeg(u64, usize),
    /// A file that begins like an SQLite database with pages of this many bytes.
    Sqlite(u64, u16, usize),
    /// A file of this length with holes, but for random bytes at these places: offset and length.
    Sparse(u64, Vec<(u64, usize)>),
}

/// What something in a tree is.
#[derive(Clone, Debug)]
pub enum What {
    /// A regular file.
    File(Bytes),
    /// A directory.
    Dir(BTreeMap<Vec<u8>, Spec>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A device that only root can make: whether it is a block device, and its numbers.
    Device(bool, u32, u32),
}

/// Something in a tree.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What it is.
    pub what: What,
    /// Its permissions.
    pub mode: u32,
    /// Its mtime: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Its owner and group, if root makes the tree.
    pub owner: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Spec {
    /// Describes something with ordinary metadata.
    pub fn plain(what: What) -> Self {
        let mode = if matches!(what, What::Dir(_)) { 0o755 } else { 0o644 };
        Self { what, mode, mtime: (1_700_000_000, 123_456_789), owner: (0, 0), xattrs: BTreeMap::new() }
    }
}

/// A tree: its root, and hard links to add, as the number of a file and the number of a directory.
#[derive(Clone, Debug)]
pub struct Tree {
    /// A directory.
    pub root: Spec,
    /// Hard links.
    pub links: Vec<(usize, usize)>,
}

impl Bytes {
    fn write(&self, path: &Path) {
        let bytes = match self {
            Self::Random(seed, len) => noise::random(*seed, *len),
            Self::Text(seed, len) => noise::text(*seed, *len),
            Self::Zeros(len) => vec![0; *len],
            Self::Jpeg(seed, len) => {
                let mut bytes = noise::random(*seed, *len);
                bytes.iter_mut().zip(b"\xff\xd8\xff\xe0").for_each(|(byte, magic)| *byte = *magic);
                bytes
            }
            Self::Sqlite(seed, page_bytes, len) => noise::sqlite(*seed, *page_bytes, *len),
            Self::Sparse(len, runs) => {
                let file = File::create(path).unwrap();
                file.set_len(*len).unwrap();
                for (offset, bytes) in runs.iter().filter(|(offset, _)| offset < len) {
                    let bytes = (*bytes).min((len - offset) as usize);
                    file.write_all_at(&noise::random(*offset, bytes), *offset).unwrap();
                }
                return;
            }
        };
        fs::write(path, bytes).unwrap();
    }
}

impl Tree {
    /// Makes the tree at `path`, which must not be there.
    pub fn make(&self, path: &Path) {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        create(&self.root, path, &mut files, &mut dirs);
        for (number, (file, dir)) in self.links.iter().enumerate() {
            if !files.is_empty() {
                let link = dirs[dir % dirs.len()].join(format!("hard-link-{number}"));
                fs::hard_link(&files[file % files.len()], link).unwrap();
            }
        }
        finish(&self.root, path);
    }
}

fn create(spec: &Spec, path: &Path, files: &mut Vec<PathBuf>, dirs: &mut Vec<PathBuf>) {
    let make = |kind, mode, device| rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(mode), device).unwrap();
    match &spec.what {
        What::File(bytes) => bytes.write(path),
        What::Symlink(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), path).unwrap(),
        What::Fifo => make(FileType::Fifo, 0o600, 0),
        What::Device(..) if !is_root() => return,
        What::Device(true, major, minor) => make(FileType::BlockDevice, 0o600, rustix::fs::makedev(*major, *minor)),
        What::Device(false, major, minor) => {
            make(FileType::CharacterDevice, 0o600, rustix::fs::makedev(*major, *minor))
        }
        What::Dir(children) => {
            fs::create_dir(path).unwrap();
            dirs.push(path.to_path_buf());
            for (name, child) in children {
                create(child, &path.join(OsStr::from_bytes(name)), files, dirs);
            }
            return;
        }
    }
    files.push(path.to_path_buf());
}

/// Sets the metadata, of children before their parents.
fn finish(spec: &Spec, path: &Path) {
    if let What::Dir(children) = &spec.what {
        for (name, child) in children {
            finish(child, &path.join(OsStr::from_bytes(name)));
        }
    }
    if matches!(spec.what, What::Device(..)) && !is_root() {
        return;
    }
    let is_link = matches!(spec.what, What::Symlink(_));
    let takes_xattrs = matches!(spec.what, What::File(_) | What::Dir(_));
    if is_root() {
        let (user, group) = (Uid::from_raw(spec.owner.0), Gid::from_raw(spec.owner.1));
        rustix::fs::chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    for (name, value) in spec.xattrs.iter().filter(|_| takes_xattrs) {
        // Not every file system has attributes and ACLs; what it refuses the backup does not see either.
        let _ = rustix::fs::lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty());
    }
    if is_link && is_root() {
        let _ = rustix::fs::lsetxattr(path, "trusted.of-a-link", b"value", XattrFlags::empty());
    }
    if !is_link {
        // Who is not root could not read what he may not read.
        let least = match (is_root(), &spec.what) {
            (true, _) => 0,
            (false, What::Dir(_)) => 0o700,
            (false, _) => 0o600,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(spec.mode | least)).unwrap();
    }
    set_mtime(path, spec.mtime);
}

/// Sets the mtime of a path that is not followed.
pub fn set_mtime(path: &Path, (seconds, nanos): (i64, i64)) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Returns a POSIX ACL, as the attribute that holds it, which lets one more user read.
pub fn acl(user: u32) -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [tag.to_le_bytes().as_slice(), &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    [
        2u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 4, user),
        entry(4, 4, none),
        entry(0x10, 4, none),
        entry(0x20, 0, none),
    ]
    .concat()
}
