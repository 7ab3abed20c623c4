//! Holes in files that are written: runs of zeros that take no space.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate, fstat, ftruncate};
use rustix::io::{Errno, retry_on_intr};

/// What is written at once where holes cannot be punched.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Gives `file` its final length. What was never written becomes a hole, what lies beyond is cut off.
///
/// # Errors
/// The system's.
pub fn punch_or_extend(file: &File, size: u64) -> io::Result<()> {
    // A length beyond what the system's call takes would become negative there.
    if i64::try_from(size).is_err() {
        return Err(io::Error::from(Errno::FBIG));
    }
    Ok(retry_on_intr(|| ftruncate(file, size))?)
}

/// Makes `bytes` bytes from `offset` on read as zeros, for a file that is overwritten in place. The length of the file
/// stays; where the file system knows no holes, zeros are written.
///
/// # Errors
/// The system's.
pub fn punch_hole(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| fallocate(file, flags, offset, bytes)) {
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NODEV) => write_zeros(file, offset, bytes),
        other => Ok(other?),
    }
}

/// Overwrites with zeros what of the run lies within the file.
fn write_zeros(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let end = offset.saturating_add(bytes).min(size);
    let mut at = offset;
    while at < end {
        let len = (end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::os::unix::fs::MetadataExt;

    use super::*;

    const BLOCK: u64 = 1 << 20;

    fn on_each_file_system(test: impl Fn(File)) {
        for place in ["/dev/shm", "/tmp"] {
            if let Ok(file) = tempfile::tempfile_in(place) {
                test(file);
            }
        }
    }

    #[test]
    fn what_was_never_written_takes_no_space() {
        on_each_file_system(|file| {
            file.write_all_at(&[1; 10], 3 * BLOCK).unwrap();
            punch_or_extend(&file, 100 * BLOCK).unwrap();
            let meta = file.metadata().unwrap();
            assert_eq!(meta.len(), 100 * BLOCK);
            assert!(meta.blocks() * 512 <= BLOCK);
            punch_or_extend(&file, 5).unwrap();
            assert_eq!(file.metadata().unwrap().len(), 5);
            assert!(punch_or_extend(&file, u64::MAX).is_err());
        });
    }

    #[test]
    fn a_punched_run_reads_as_zeros_and_the_rest_stays() {
        type Punch = fn(&File, u64, u64) -> io::Result<()>;
        for punch in [punch_hole as Punch, write_zeros as Punch] {
            on_each_file_system(|file| {
                file.write_all_at(&vec![7; 4 * BLOCK as usize], 0).unwrap();
                punch(&file, BLOCK - 3, 2 * BLOCK + 5).unwrap();
                punch(&file, 4 * BLOCK - 1, 100).unwrap();
                punch(&file, 9 * BLOCK, 1).unwrap();
                punch(&file, 0, 0).unwrap();
                let mut expected = vec![7; 4 * BLOCK as usize];
                expected[BLOCK as usize - 3..][..2 * BLOCK as usize + 5].fill(0);
                expected[4 * BLOCK as usize - 1] = 0;
                let mut found = vec![0; 4 * BLOCK as usize];
                file.read_exact_at(&mut found, 0).unwrap();
                assert!(found == expected);
                assert_eq!(file.metadata().unwrap().len(), 4 * BLOCK, "the length stays");
            });
        }
    }

    #[test]
    fn a_punched_run_frees_its_space() {
        on_each_file_system(|file| {
            file.write_all_at(&vec![7; 4 * BLOCK as usize], 0).unwrap();
            file.sync_all().unwrap();
            punch_hole(&file, 0, 4 * BLOCK).unwrap();
            assert!(file.metadata().unwrap().blocks() * 512 < BLOCK);
        });
    }
}
