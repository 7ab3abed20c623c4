//! What a directory tree holds, in a form that two trees can be compared in.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, lgetxattr, llistxattr, seek};

/// Everything about one file that a backup has to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// One letter, as `ls -l` shows it.
    pub kind: char,
    /// The low 12 bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds of the last change of content.
    pub mtime: (i64, i64),
    /// Length and BLAKE3 of a file's content.
    pub content: Option<(u64, String)>,
    /// Where the file has data, as the system tells it: offset and length of each run.
    pub extents: Vec<(u64, u64)>,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
    /// The number of a device.
    pub device: u64,
    /// The first path of the same inode, if it has several.
    pub same_as: Option<Vec<u8>>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A tree: from path relative to its root to what is there. The root itself has the empty path.
pub type Inventory = BTreeMap<Vec<u8>, Item>;

/// Reads the tree at `root`.
pub fn read(root: &Path) -> Inventory {
    let mut found = Inventory::new();
    let mut inodes = HashMap::new();
    add(root, Vec::new(), &mut found, &mut inodes);
    found
}

fn add(path: &Path, name: Vec<u8>, found: &mut Inventory, inodes: &mut HashMap<(u64, u64), Vec<u8>>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = meta.file_type();
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () if kind.is_file() => '-',
        () => '?',
    };
    let mut same_as = None;
    if letter != 'd' && meta.nlink() > 1 {
        same_as = Some(inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone()).clone());
    }
    let item = Item {
        kind: letter,
        mode: if letter == 'l' { 0 } else { meta.mode() & 0o7777 },
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content: (letter == '-').then(|| (meta.len(), hash(path))),
        extents: if letter == '-' { extents(path, meta.len()) } else { Vec::new() },
        target: kind.is_symlink().then(|| fs::read_link(path).unwrap().into_os_string().into_vec()),
        device: if matches!(letter, 'b' | 'c') { meta.rdev() } else { 0 },
        same_as,
        xattrs: xattrs(path),
    };
    found.insert(name.clone(), item);
    if letter == 'd' {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for child in names {
            let below = if name.is_empty() {
                child.as_bytes().to_vec()
            } else {
                [&name, b"/".as_slice(), child.as_bytes()].concat()
            };
            add(&path.join(&child), below, found, inodes);
        }
    }
}

fn hash(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut hasher).unwrap();
    hasher.finalize().to_hex().to_string()
}

/// Returns the runs of data of a file.
pub fn extents(path: &Path, len: u64) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < len {
        let Ok(start) = seek(&file, SeekFrom::Data(at)) else { break };
        let end = seek(&file, SeekFrom::Hole(start)).unwrap().min(len);
        runs.push((start, end - start));
        at = end;
    }
    runs
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![MaybeUninit::<u8>::uninit(); 64 * 1024];
    let Ok((names, _)) = llistxattr(path, list.as_mut_slice()) else { return BTreeMap::new() };
    let names: Vec<Vec<u8>> =
        names.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let mut value = vec![MaybeUninit::<u8>::uninit(); 64 * 1024];
        let (value, _) = lgetxattr(path, OsStr::from_bytes(&name), value.as_mut_slice()).unwrap();
        found.insert(name, value.to_vec());
    }
    found
}

/// Returns a line for every difference, at most twelve.
pub fn differences(wanted: &Inventory, found: &Inventory) -> Vec<String> {
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let mut lines = Vec::new();
    for (path, item) in wanted {
        match found.get(path) {
            None => lines.push(format!("{:?} is missing", shown(path))),
            Some(other) if other != item => lines.push(format!("{:?} differs:\n  {item:?}\n  {other:?}", shown(path))),
            Some(_) => {}
        }
    }
    lines.extend(
        found.keys().filter(|path| !wanted.contains_key(*path)).map(|path| format!("{:?} is new", shown(path))),
    );
    lines.truncate(12);
    lines
}

/// Panics with the differences if there are any.
#[track_caller]
pub fn assert_same(wanted: &Inventory, found: &Inventory) {
    let lines = differences(wanted, found);
    assert!(lines.is_empty(), "the trees differ:\n{}", lines.join("\n"));
}
