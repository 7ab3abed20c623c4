//! Where a file has data and where it has holes.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::source::stat::Stat;

/// After so many extents the rest of the file counts as one: a file of nothing but holes must not fill the memory.
const EXTENTS_MAX: usize = 1 << 20;

/// A run of bytes in a file that may be other than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is, at least 1.
    pub bytes: u64,
}

/// Returns whether the file takes less space than its length, so that asking for its holes may pay.
pub fn may_be_sparse(stat: &Stat) -> bool {
    stat.blocks.saturating_mul(512) < stat.size
}

/// Returns the runs of data among the first `size` bytes of `file`, in order, with at least one byte of hole between
/// them. Where the file system knows no holes, all is data.
///
/// The file's cursor is at its start afterwards.
///
/// # Errors
/// The system's.
pub fn data_extents(file: &File, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            // A file system that is a program of its own may say anything.
            Ok(start) => start.max(at),
            // No more data.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => at,
            Err(other) => return Err(other.into()),
        };
        if start >= size {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(start)) {
            _ if extents.len() + 1 == EXTENTS_MAX => size,
            Ok(end) => end.min(size).max(start),
            // The file became shorter between the two calls.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => size,
            Err(other) => return Err(other.into()),
        };
        match extents.last_mut() {
            Some(last) if last.offset + last.bytes == start => last.bytes += end - start,
            _ if end > start => extents.push(Extent { offset: start, bytes: end - start }),
            // A hole where data was found an instant ago: someone punches holes. What follows is taken as data.
            _ => {
                extents.push(Extent { offset: start, bytes: size - start });
                break;
            }
        }
        at = end.max(at + 1);
    }
    seek(file, SeekFrom::Start(0))?;
    Ok(extents)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::ffi::CString;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::source::Dir;

    const BLOCK: u64 = 1 << 20;

    /// Runs `test` on a file system in memory and on the usual one.
    fn on_each_file_system(test: impl Fn(&File, &Stat)) {
        for place in ["/dev/shm", "/tmp"] {
            let Ok(temp) = tempfile::tempdir_in(place) else { continue };
            let file = File::create(temp.path().join("file")).unwrap();
            // Data in the second and the fourth of five blocks.
            file.write_all_at(&[1; BLOCK as usize], BLOCK).unwrap();
            file.write_all_at(&[1; 10], 3 * BLOCK).unwrap();
            file.set_len(5 * BLOCK + 1).unwrap();
            let (file, stat) = Dir::open(temp.path()).unwrap().open_file(&CString::new("file").unwrap()).unwrap();
            test(&file, &stat);
        }
    }

    #[test]
    fn every_byte_that_is_not_zero_is_in_an_extent() {
        on_each_file_system(|file, stat| {
            assert!(may_be_sparse(stat));
            let extents = data_extents(file, stat.size).unwrap();
            assert_eq!(extents.len(), 2, "{extents:?}");
            assert_eq!(extents[0], Extent { offset: BLOCK, bytes: BLOCK });
            assert_eq!(extents[1].offset, 3 * BLOCK);
            assert!((10..=BLOCK).contains(&extents[1].bytes));
            let mut all = Vec::new();
            let mut file = file;
            file.read_to_end(&mut all).unwrap();
            assert_eq!(all.len() as u64, stat.size, "the cursor is at the start again");
            for extent in extents {
                all[extent.offset as usize..][..extent.bytes as usize].fill(0);
            }
            assert!(all.iter().all(|&byte| byte == 0));
        });
    }

    #[test]
    fn extents_are_clipped_to_the_size_asked_for() {
        on_each_file_system(|file, _| {
            assert_eq!(data_extents(file, 0).unwrap(), []);
            assert_eq!(data_extents(file, BLOCK).unwrap(), []);
            assert_eq!(data_extents(file, BLOCK + 5).unwrap(), [Extent { offset: BLOCK, bytes: 5 }]);
            let extents = data_extents(file, 100 * BLOCK).unwrap();
            assert_eq!(extents.len(), 2, "nothing lies beyond the end");
        });
    }

    #[test]
    fn a_file_without_holes_is_one_extent_and_one_without_data_is_none() {
        for place in ["/dev/shm", "/tmp"] {
            let Ok(file) = tempfile::tempfile_in(place) else { continue };
            file.set_len(BLOCK).unwrap();
            assert_eq!(data_extents(&file, BLOCK).unwrap(), []);
            file.write_all_at(&[1; BLOCK as usize], 0).unwrap();
            assert_eq!(data_extents(&file, BLOCK).unwrap(), [Extent { offset: 0, bytes: BLOCK }]);
        }
    }
}
