//! Extended attributes, ACLs among them, as they are read.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::format::tree::Xattr;

/// Enough for the names of nearly every file, so that one call tells that there are none or which.
const FIRST_BYTES: usize = 1024;
/// What Linux allows a list or a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`), so one larger buffer does for all.
const XATTR_BYTES_MAX: usize = 64 * 1024;

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
    fn read(&self) -> io::Result<Vec<Xattr>> {
        let mut small = [MaybeUninit::uninit(); FIRST_BYTES];
        match self.list(&mut small) {
            Ok([]) => Ok(Vec::new()),
            Ok(list) => self.values(list),
            Err(Errno::RANGE) => {
                let mut large = Vec::with_capacity(XATTR_BYTES_MAX);
                self.values(self.list(large.spare_capacity_mut())?)
            }
            // The file system has no attributes, or does not have them for a file of this kind.
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(Vec::new()),
            Err(other) => Err(other.into()),
        }
    }

    fn values(&self, list: &[u8]) -> io::Result<Vec<Xattr>> {
        let mut xattrs = Vec::new();
        for name in list.split_inclusive(|&byte| byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            match self.grown_value(name) {
                Ok(value) => xattrs.push(Xattr { name: name.to_bytes().to_vec(), value }),
                // It was removed meanwhile, or the mount lists it but does not serve it.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(other) => {
                    let message = format!("the attribute {}: {}", name.to_string_lossy(), io::Error::from(other));
                    return Err(io::Error::new(other.kind(), message));
                }
            }
        }
        xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        xattrs.dedup_by(|a, b| a.name == b.name);
        Ok(xattrs)
    }

    fn grown_value(&self, name: &CStr) -> Result<Vec<u8>, Errno> {
        let mut small = [MaybeUninit::uninit(); FIRST_BYTES];
        match self.value(name, &mut small) {
            Err(Errno::RANGE) => self.value(name, Vec::with_capacity(XATTR_BYTES_MAX).spare_capacity_mut()),
            other => other,
        }
    }
}

/// Returns the attributes of an open file, sorted by name; none where the file system has no attributes.
///
/// # Errors
/// The system's; it names the attribute if one could not be read.
pub fn file_xattrs(file: &File) -> io::Result<Vec<Xattr>> {
    Owner::Open(file.as_fd()).read()
}

/// Returns the attributes of what `fd` has open. As [`file_xattrs`].
pub(crate) fn fd_xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    Owner::Open(fd).read()
}

/// Returns the attributes of `name` in the directory `fd`, without opening or following it. As [`file_xattrs`].
///
/// There is no call that takes a directory and a name before Linux 6.13, so the path leads through `/proc`; where that
/// is not mounted there are no attributes to be had.
pub(crate) fn entry_xattrs(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<Xattr>> {
    let path = [format!("/proc/self/fd/{}/", fd.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    match Owner::Path(&CString::new(path)?).read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}
