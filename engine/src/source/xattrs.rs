//! Extended attributes, ACLs among them, as they are read.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::base::limits::{NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX, XATTRS_BYTES_MAX, XATTRS_MAX};
use crate::base::shown;
use crate::format::tree::Xattr;

/// Enough for the names of nearly every file, so that one call tells that there are none or which.
const FIRST_BYTES: usize = 1024;
/// What Linux allows a list or a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`), so one larger buffer does for all.
const XATTR_BYTES_MAX: usize = 64 * 1024;
/// What is asked for by name where the attributes cannot be listed: without these a file may open to others, or not run.
const ASKED_FOR: [&CStr; 4] =
    [c"security.capability", c"security.selinux", c"system.posix_acl_access", c"system.posix_acl_default"];

/// The attributes of a file, as far as they could be had. A file is never left out because of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Xattrs {
    /// Those that could be read, sorted by name, within the limits of a tree's entry.
    pub list: Vec<Xattr>,
    /// What is missing of them, and why.
    pub problem: Option<String>,
}

/// Whose attributes are read.
enum Owner<'a> {
    Open(BorrowedFd<'a>),
    /// A path whose last component is not followed.
    Path(&'a CStr),
}

impl Owner<'_> {
    fn list<'b>(&self, buffer: &'b mut [MaybeUninit<u8>]) -> Result<&'b [u8], Errno> {
        let (list, _) = match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Self::Path(path) => rustix::fs::llistxattr(*path, buffer),
        }?;
        Ok(list)
    }

    fn value(&self, name: &CStr, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<u8>, Errno> {
        let (value, _) = match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::Path(path) => rustix::fs::lgetxattr(*path, name, buffer),
        }?;
        Ok(value.to_vec())
    }

    /// Reads all attributes: one call if there are none.
    fn read(&self) -> Xattrs {
        let mut small = [MaybeUninit::uninit(); FIRST_BYTES];
        match self.list(&mut small) {
            Ok([]) => Xattrs::default(),
            Ok(list) => self.values(list),
            Err(Errno::RANGE) => {
                let mut large = Vec::with_capacity(XATTR_BYTES_MAX);
                match self.list(large.spare_capacity_mut()) {
                    Ok(list) => self.values(list),
                    Err(error) => self.unlisted(error),
                }
            }
            // The file system has no attributes, or does not have them for a file of this kind.
            Err(Errno::NOTSUP | Errno::NOSYS) => Xattrs::default(),
            Err(error) => self.unlisted(error),
        }
    }

    fn values(&self, list: &[u8]) -> Xattrs {
        let is_name = |name: &&[u8]| name.len() > 1 && name.len() <= NAME_BYTES_MAX;
        let mut names: Vec<&[u8]> = list.split_inclusive(|&byte| byte == 0).filter(is_name).collect();
        names.sort_unstable();
        names.dedup();
        self.named(names.into_iter().filter_map(|name| CStr::from_bytes_with_nul(name).ok()))
    }

    /// Reads what is asked for by name, after the list could not be had: Linux gives none beyond 64 KiB.
    fn unlisted(&self, error: Errno) -> Xattrs {
        let Xattrs { list, .. } = self.named(ASKED_FOR.into_iter());
        let count = list.len();
        let problem = format!("its attributes cannot be listed: {}; {count} of them are saved", io::Error::from(error));
        Xattrs { list, problem: Some(problem) }
    }

    /// Reads attributes in the order of their names, so that security and system ones come first, as far as an entry may
    /// have them.
    fn named<'n>(&self, names: impl Iterator<Item = &'n CStr>) -> Xattrs {
        let (mut xattrs, mut bytes, mut beyond) = (Xattrs::default(), 0, 0usize);
        for name in names {
            match self.grown_value(name) {
                Ok(value) => {
                    let name = name.to_bytes().to_vec();
                    let more = name.len() + value.len();
                    let fits = value.len() <= XATTR_VALUE_BYTES_MAX && bytes + more <= XATTRS_BYTES_MAX;
                    if fits && xattrs.list.len() < XATTRS_MAX {
                        bytes += more;
                        xattrs.list.push(Xattr { name, value });
                    } else {
                        beyond += 1;
                    }
                }
                // It was removed meanwhile, or the mount lists it but does not serve it.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(other) => {
                    let error = io::Error::from(other);
                    xattrs.problem = Some(format!("the attribute {} is not saved: {error}", shown(name.to_bytes())));
                }
            }
        }
        if beyond > 0 {
            let limit = "the 1 MiB that the attributes of a file may take";
            xattrs.problem = Some(format!("{beyond} of its attributes are not saved: they are beyond {limit}"));
        }
        xattrs
    }

    fn grown_value(&self, name: &CStr) -> Result<Vec<u8>, Errno> {
        let mut small = [MaybeUninit::uninit(); FIRST_BYTES];
        match self.value(name, &mut small) {
            Err(Errno::RANGE) => self.value(name, Vec::with_capacity(XATTR_BYTES_MAX).spare_capacity_mut()),
            other => other,
        }
    }
}

/// Returns the attributes of an open file; none where the file system has no attributes.
pub fn file_xattrs(file: &File) -> Xattrs {
    Owner::Open(file.as_fd()).read()
}

/// Returns the attributes of what `fd` has open. As [`file_xattrs`].
pub(crate) fn fd_xattrs(fd: BorrowedFd<'_>) -> Xattrs {
    Owner::Open(fd).read()
}

/// Returns the attributes of what `path` leads to, of which the last component is not followed.
pub(crate) fn path_xattrs(path: &CStr) -> Xattrs {
    Owner::Path(path).read()
}

/// Returns the attributes of `name` in the directory `fd`, without opening or following it. As [`file_xattrs`].
///
/// There is no call that takes a directory and a name before Linux 6.13, so the path leads through `/proc`; where that
/// is not mounted there are no attributes to be had.
pub(crate) fn entry_xattrs(fd: BorrowedFd<'_>, name: &CStr) -> Xattrs {
    let path = [format!("/proc/self/fd/{}/", fd.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    let Ok(path) = CString::new(path) else { return Xattrs::default() };
    let owner = Owner::Path(&path);
    match owner.list(&mut [MaybeUninit::uninit(); FIRST_BYTES]) {
        Err(Errno::NOENT) => Xattrs::default(),
        _ => owner.read(),
    }
}
