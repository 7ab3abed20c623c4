//! A directory that is open: its names, and everything about what it holds, by name.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::source::names::Names;
use crate::source::stat::{FileKind, Stat};
use crate::source::xattrs::{self, Xattrs};

/// A directory that is open for reading. All that is asked by name is asked of this very directory, wherever its path
/// leads meanwhile, and no symbolic link is followed.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// Opens without touching the time of last access, which only a file's owner and root may do; the others open as usual.
fn open_quietly(dir: BorrowedFd<'_>, path: impl rustix::path::Arg + Copy, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = |flags| rustix::io::retry_on_intr(|| rustix::fs::openat(dir, path, flags, Mode::empty()));
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }
}

impl Dir {
    /// Opens the directory at `path`, which may be a symbolic link to one: the user named it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: open_quietly(rustix::fs::CWD, path, OFlags::DIRECTORY)? })
    }

    /// Opens a directory for what is asked of it by name alone: it may be one that the user may not list.
    ///
    /// # Errors
    /// The system's.
    pub fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))? })
    }

    /// Opens the directory `name` in this one.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotADirectory`] if it is a symbolic link.
    pub fn open_child(&self, name: &CStr) -> io::Result<Self> {
        Ok(Self { fd: open_quietly(self.fd.as_fd(), name, OFlags::DIRECTORY | OFlags::NOFOLLOW)? })
    }

    /// Returns the names in the directory. To be called once: the second time there are none left.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self) -> io::Result<Names> {
        Names::read(&self.fd)
    }

    /// Tells about `name`, and about a symbolic link itself.
    ///
    /// # Errors
    /// The system's.
    pub fn stat(&self, name: &CStr) -> io::Result<Stat> {
        Stat::at(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Tells about the directory itself.
    ///
    /// # Errors
    /// The system's.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Stat::at(self.fd.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    /// Returns the path that the directory has now, for what can only be opened by path.
    ///
    /// # Errors
    /// The system's, for instance where `/proc` is not mounted.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Opens the regular file `name` for reading and tells about what was opened.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidInput`] if it is no regular file (any more).
    pub fn open_file(&self, name: &CStr) -> io::Result<(File, Stat)> {
        // Without NONBLOCK, opening a pipe that took the file's place would wait for a writer, perhaps for ever.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match open_quietly(self.fd.as_fd(), name, flags) {
            // A symbolic link; a socket, or a device without a driver.
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Err(not_a_file()),
            other => other?,
        };
        let stat = Stat::at(fd.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        if stat.kind == FileKind::File { Ok((File::from(fd), stat)) } else { Err(not_a_file()) }
    }

    /// Returns where the symbolic link `name` points, byte for byte.
    ///
    /// # Errors
    /// The system's.
    pub fn read_link(&self, name: &CStr) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// Returns the attributes of `name`, sorted by name, for what is not opened: symbolic links, pipes, devices.
    ///
    /// None where the file system has no attributes, or `/proc` is not mounted.
    pub fn xattrs(&self, name: &CStr) -> Xattrs {
        xattrs::entry_xattrs(self.fd.as_fd(), name)
    }

    /// Returns the attributes of the directory itself, sorted by name.
    pub fn xattrs_self(&self) -> Xattrs {
        xattrs::fd_xattrs(self.fd.as_fd())
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file any more")
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::{fs, iter};

    use rustix::fs::{FileType, XattrFlags, makedev, mknodat};

    use super::*;
    use crate::source::stat::same_file_state;
    use crate::source::xattrs::file_xattrs;

    fn opened() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    #[test]
    fn thousands_of_names_come_sorted_and_need_not_be_utf8() {
        let (temp, dir) = opened();
        let mut wanted: Vec<Vec<u8>> =
            (0..3000).map(|n| format!("name {n} {}", "x".repeat(n % 200)).into_bytes()).collect();
        wanted.push(b"\xff\xfe\x01".to_vec());
        wanted.push(vec![0xe4; 255]);
        for name in &wanted {
            fs::write(temp.path().join(OsStr::from_bytes(name)), b"").unwrap();
        }
        wanted.sort();
        let names = dir.names().unwrap();
        assert_eq!(names.len(), 3002);
        assert!(names.iter().map(CStr::to_bytes).eq(wanted.iter()));
        assert!(names.position(b"\xff\xfe\x01").is_some());
        assert_eq!(names.kind(0).unwrap_or(FileKind::File), FileKind::File);
    }

    #[test]
    fn stat_tells_every_kind_and_what_the_standard_library_tells() {
        let (temp, dir) = opened();
        fs::write(temp.path().join("file"), [1; 5000]).unwrap();
        fs::hard_link(temp.path().join("file"), temp.path().join("other")).unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        symlink("nowhere", temp.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&dir, c"fifo", Mode::from_raw_mode(0o640)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for (name, kind) in [
            (c"file", FileKind::File),
            (c"dir", FileKind::Directory),
            (c"link", FileKind::Symlink),
            (c"fifo", FileKind::Fifo),
            (c"socket", FileKind::Socket),
        ] {
            assert_eq!(dir.stat(name).unwrap().kind, kind);
        }
        let (stat, told) = (dir.stat(c"file").unwrap(), fs::metadata(temp.path().join("file")).unwrap());
        assert_eq!((stat.size, stat.blocks, stat.device), (told.size(), told.blocks(), told.dev()));
        assert_eq!((stat.links, stat.metadata.link_device), (2, Some(told.dev())));
        assert_eq!(u32::from(stat.metadata.mode), told.mode() & 0o7777);
        assert_eq!((stat.metadata.uid, stat.metadata.gid, stat.metadata.inode), (told.uid(), told.gid(), told.ino()));
        let time = stat.metadata.mtime;
        assert_eq!((time.seconds, i64::from(time.nanos)), (told.mtime(), told.mtime_nsec()));
        assert_eq!(dir.stat(c"dir").unwrap().metadata.link_device, None, "a directory's links are no hard links");
        assert_eq!(dir.stat_self().unwrap().metadata.inode, fs::metadata(temp.path()).unwrap().ino());
        assert_eq!(dir.read_link(c"link").unwrap(), b"nowhere");
        assert_eq!(dir.stat(c"none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn devices_have_their_numbers() {
        let (_temp, dir) = opened();
        if mknodat(&dir, c"null", FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).is_err() {
            return; // Only root makes devices.
        }
        let stat = dir.stat(c"null").unwrap();
        assert_eq!((stat.kind, stat.rdev), (FileKind::CharDevice, makedev(1, 3)));
        assert_eq!(dir.open_file(c"null").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn only_regular_files_are_opened_and_no_link_is_followed() {
        let (temp, dir) = opened();
        fs::write(temp.path().join("file"), "text").unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        symlink("file", temp.path().join("link")).unwrap();
        symlink("dir", temp.path().join("dirlink")).unwrap();
        rustix::fs::mkfifoat(&dir, c"fifo", Mode::RUSR).unwrap();
        for name in [c"link", c"fifo", c"dir"] {
            assert_eq!(dir.open_file(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
        assert_eq!(dir.open_child(c"dirlink").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        dir.open_child(c"dir").unwrap();
        let (mut file, stat) = dir.open_file(c"file").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), stat.size), ("text", 4));
        assert!(same_file_state(&stat, &dir.stat(c"file").unwrap()));
        fs::write(temp.path().join("file"), "texts").unwrap();
        assert!(!same_file_state(&stat, &dir.stat(c"file").unwrap()));
        // The root itself may be a link: the user named it.
        assert_eq!(Dir::open(&temp.path().join("dirlink")).unwrap().names().unwrap().len(), 0);
    }

    #[test]
    fn attributes_of_any_size_come_sorted() {
        let (temp, dir) = opened();
        let path = temp.path().join("file");
        fs::write(&path, "").unwrap();
        let (file, _) = dir.open_file(c"file").unwrap();
        assert_eq!(file_xattrs(&file), Xattrs::default());
        let set = |name: &str, value: &[u8]| rustix::fs::setxattr(&path, name, value, XattrFlags::empty()).is_ok();
        if !set("user.b", b"1") {
            return; // This file system has no attributes.
        }
        assert!(set("user.a", b"") && set("user.c", &[7; 2000]));
        let many = iter::repeat_n(0, 30).enumerate().filter(|(n, _)| set(&format!("user.{n:0>60}"), b"x")).count();
        let xattrs = file_xattrs(&file).list;
        assert_eq!(xattrs.len(), 3 + many);
        assert!(xattrs.is_sorted_by(|a, b| a.name < b.name));
        let value = |name: &[u8]| xattrs.iter().find(|xattr| xattr.name == name).unwrap().value.clone();
        assert_eq!((value(b"user.a"), value(b"user.b"), value(b"user.c")), (vec![], b"1".to_vec(), vec![7; 2000]));
        assert_eq!(dir.xattrs(c"file").list, xattrs);

        rustix::fs::setxattr(temp.path(), "user.dir", b"d", XattrFlags::empty()).unwrap();
        assert_eq!(dir.xattrs_self().list[0].name, b"user.dir");
        symlink("file", temp.path().join("link")).unwrap();
        assert_eq!(dir.xattrs(c"link"), Xattrs::default(), "those of the link, not of the file");
        assert_eq!(dir.xattrs(c"none"), Xattrs::default());
    }
}
