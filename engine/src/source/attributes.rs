//! Inode flags as `chattr` sets them, and file systems that are interfaces of the kernel.

use std::os::fd::AsFd;

use rustix::fs::{IFlags, fstatfs, ioctl_getflags};

/// The flags that a user may set. Others say how the file system stores a file.
const SETTABLE: IFlags = IFlags::APPEND
    .union(IFlags::COMPRESSED)
    .union(IFlags::DIRSYNC)
    .union(IFlags::IMMUTABLE)
    .union(IFlags::JOURNALING)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::NOTAIL)
    .union(IFlags::PROJECT_INHERIT)
    .union(IFlags::SECURE_REMOVAL)
    .union(IFlags::SYNC)
    .union(IFlags::TOPDIR)
    .union(IFlags::UNRM);

/// Returns the inode flags of an open file or directory, as `chattr` sets them; 0 where the file system has none.
pub fn inode_flags(file: impl AsFd) -> u32 {
    ioctl_getflags(file).map_or(0, |flags| flags.intersection(SETTABLE).bits())
}

/// Returns the name of the file system that a directory lies on, if what it holds are no files but an interface of the
/// kernel.
pub fn kernel_interface(dir: impl AsFd) -> Option<&'static str> {
    // From linux/magic.h.
    match fstatfs(dir).ok()?.f_type as u64 & 0xffff_ffff {
        0x9fa0 => Some("proc"),
        0x6265_6572 => Some("sysfs"),
        0x7472_6163 => Some("tracefs"),
        0x6462_6720 => Some("debugfs"),
        0x6265_6570 => Some("configfs"),
        0x7363_6673 => Some("securityfs"),
        0x0027_e0eb | 0x6367_7270 => Some("cgroup"),
        0xcafe_4a11 => Some("bpf"),
        0x6165_676c => Some("pstore"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::fs::File;

    use super::*;

    #[test]
    fn proc_is_no_file_system_of_files() {
        assert_eq!(kernel_interface(File::open("/proc").unwrap()), Some("proc"));
        assert_eq!(kernel_interface(tempfile::tempfile().unwrap()), None);
    }

    #[test]
    fn only_flags_that_a_user_sets_count() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(inode_flags(&file), 0, "extents and the like do not count");
        let Ok(flags) = ioctl_getflags(&file) else { return };
        if rustix::fs::ioctl_setflags(&file, flags | IFlags::NODUMP).is_ok() {
            assert_eq!(inode_flags(&file), IFlags::NODUMP.bits());
        }
    }
}
