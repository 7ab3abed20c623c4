//! What the file system tells about one file.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, makedev};
use rustix::io::Errno;

use crate::format::tree::{Metadata, Timestamp};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
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
    /// A socket, which lives only as long as the process that bound it and is not backed up.
    Socket,
}

impl FileKind {
    /// Returns the kind of the system's file type, or `None` where the system does not say.
    pub(crate) const fn of(file_type: rustix::fs::FileType) -> Option<Self> {
        match file_type {
            rustix::fs::FileType::RegularFile => Some(Self::File),
            rustix::fs::FileType::Directory => Some(Self::Directory),
            rustix::fs::FileType::Symlink => Some(Self::Symlink),
            rustix::fs::FileType::Fifo => Some(Self::Fifo),
            rustix::fs::FileType::CharacterDevice => Some(Self::CharDevice),
            rustix::fs::FileType::BlockDevice => Some(Self::BlockDevice),
            rustix::fs::FileType::Socket => Some(Self::Socket),
            rustix::fs::FileType::Unknown => None,
        }
    }
}

/// What `stat` tells about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub size: u64,
    /// The space it takes, in blocks of 512 bytes.
    pub blocks: u64,
    /// The device it lies on.
    pub device: u64,
    /// The device it stands for, if it is a device.
    pub rdev: u64,
    /// How many names it has.
    pub links: u64,
    /// What goes into the tree. The attributes are empty: they take calls of their own.
    pub metadata: Metadata,
}

impl Stat {
    /// Returns device and inode, which two names of one file have in common.
    pub const fn identity(&self) -> (u64, u64) {
        (self.device, self.metadata.inode)
    }

    /// Returns the state of an open file, without its birth: the quicker of two calls, for what is only compared.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_file(file: &std::fs::File) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// Returns the state of what a path leads to.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of_path(path: &CStr) -> io::Result<Self> {
        Self::at(rustix::fs::CWD, path, AtFlags::empty())
    }

    /// Returns the state of `name` in the directory `fd`, or of `fd` itself.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn at(fd: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        match rustix::fs::statx(fd, name, flags, wanted) {
            Ok(raw) => Ok(Self::of_statx(&raw)),
            // Before Linux 4.11, or forbidden by a sandbox that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => Ok(Self::of(&rustix::fs::statat(fd, name, flags)?)),
            Err(error) => Err(error.into()),
        }
    }

    fn of_statx(raw: &Statx) -> Self {
        let mode = u32::from(raw.stx_mode);
        let kind = FileKind::of(rustix::fs::FileType::from_raw_mode(mode)).unwrap_or(FileKind::Socket);
        let device = makedev(raw.stx_dev_major, raw.stx_dev_minor);
        let links = u64::from(raw.stx_nlink);
        let time = |time: &StatxTimestamp| timestamp(time.tv_sec, u64::from(time.tv_nsec));
        let mtime = time(&raw.stx_mtime);
        let has_birth = StatxFlags::from_bits_retain(raw.stx_mask).contains(StatxFlags::BTIME);
        let metadata = Metadata {
            mode: raw.stx_mode & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            mtime,
            ctime: time(&raw.stx_ctime),
            inode: raw.stx_ino,
            link_device: (links > 1 && kind != FileKind::Directory).then_some(device),
            birth: has_birth.then(|| time(&raw.stx_btime)).filter(|birth| is_storable_birth(mtime, *birth)),
            ..Metadata::default()
        };
        Self {
            kind,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            device,
            rdev: makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
            links,
            metadata,
        }
    }

    /// Takes over what the system returned.
    #[allow(clippy::unnecessary_cast, reason = "the types of these fields differ from architecture to architecture")]
    pub(crate) fn of(raw: &rustix::fs::Stat) -> Self {
        // Linux has no file of an unknown type; should one appear, it is passed over like a socket.
        let kind = FileKind::of(rustix::fs::FileType::from_raw_mode(raw.st_mode)).unwrap_or(FileKind::Socket);
        let device = raw.st_dev as u64;
        let links = raw.st_nlink as u64;
        let metadata = Metadata {
            mode: (raw.st_mode & 0o7777) as u16,
            uid: raw.st_uid,
            gid: raw.st_gid,
            mtime: timestamp(raw.st_mtime as i64, raw.st_mtime_nsec as u64),
            ctime: timestamp(raw.st_ctime as i64, raw.st_ctime_nsec as u64),
            inode: raw.st_ino as u64,
            link_device: (links > 1 && kind != FileKind::Directory).then_some(device),
            ..Metadata::default()
        };
        Self {
            kind,
            size: u64::try_from(raw.st_size).unwrap_or(0),
            blocks: u64::try_from(raw.st_blocks).unwrap_or(0),
            device,
            rdev: raw.st_rdev as u64,
            links,
            metadata,
        }
    }
}

/// Returns whether a birth lies within 292 years of the mtime, so that the difference in nanoseconds can be stored.
fn is_storable_birth(mtime: Timestamp, birth: Timestamp) -> bool {
    mtime.seconds.abs_diff(birth.seconds) < i64::MAX as u64 / 1_000_000_000
}

/// Makes a timestamp. Some network file systems return nanoseconds beyond a second, which the format cannot hold.
fn timestamp(seconds: i64, nanos: u64) -> Timestamp {
    Timestamp { seconds, nanos: nanos.min(999_999_999) as u32 }
}

/// Returns whether nothing tells that the file changed between `a` and `b`: size, times and inode agree.
pub fn same_file_state(a: &Stat, b: &Stat) -> bool {
    a.size == b.size
        && a.metadata.mtime == b.metadata.mtime
        && a.metadata.ctime == b.metadata.ctime
        && a.metadata.inode == b.metadata.inode
}
