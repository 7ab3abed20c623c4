//! Large memory that goes back to the system at once.

use crate::base::limits::MIB;

/// From this length on memory is worth it.
const LARGE_BYTES_MIN: usize = MIB;
/// glibc maps whatever is longer than this for itself and unmaps it when it is freed. What is shorter it may keep for the
/// thread that freed it, up to 64 MiB for each: with many threads that is a multiple of all that is in use.
const MAPPED_BYTES_MIN: usize = 32 * MIB + 64 * 1024;

/// Returns `bytes` zeros, whose memory is taken page by page as they are written.
pub fn zeros(bytes: usize) -> Vec<u8> {
    if bytes < LARGE_BYTES_MIN {
        return vec![0; bytes];
    }
    let mut zeros = vec![0; bytes.max(MAPPED_BYTES_MIN)];
    zeros.truncate(bytes);
    zeros
}

/// Returns an empty vector with room for `bytes` bytes, whose memory is taken page by page as they are written.
pub fn room(bytes: usize) -> Vec<u8> {
    Vec::with_capacity(if bytes < LARGE_BYTES_MIN { bytes } else { bytes.max(MAPPED_BYTES_MIN) })
}
