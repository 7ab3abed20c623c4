//! How a small object is stored twice: whole, filled up with zeros to the next sector, and whole once more.

use crate::base::limits::SECTOR_BYTES;
use crate::format::header::MAGIC;

/// So many places are looked at: the two copies, and what damage may have put before or between them. To try a copy of a key
/// slot takes a second, and whoever keeps the store could put any number there.
const COPIES_MAX: usize = 4;

/// Returns what is stored of an object that is stored twice.
pub fn twice(object: &[u8]) -> Vec<u8> {
    let second = object.len().next_multiple_of(SECTOR_BYTES);
    let mut stored = Vec::with_capacity(second + object.len());
    stored.extend_from_slice(object);
    stored.resize(second, 0);
    stored.extend_from_slice(object);
    stored
}

/// Returns where the copies of an object may begin, each with all that follows: at the beginning, and at the first later
/// sectors that begin as objects do.
pub fn copies(stored: &[u8]) -> impl Iterator<Item = &[u8]> {
    let sectors = (0..stored.len().max(1)).step_by(SECTOR_BYTES).map(|at| &stored[at..]);
    sectors
        .enumerate()
        .filter(|(number, copy)| *number == 0 || copy.starts_with(&MAGIC))
        .map(|(_, copy)| copy)
        .take(COPIES_MAX)
}
