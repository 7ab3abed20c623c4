//! Where the parity of a pack lies, and how much there is of it: all told by the pack's length and a percentage.

use crate::base::limits::{PACK_BYTES_MAX, SECTOR_BYTES};
use crate::format::header::HEADER_BYTES;
use crate::format::pack::TRAILER_BYTES;

/// The bytes of a shard: what a disk loses at once.
pub const SHARD_BYTES: usize = SECTOR_BYTES;
/// The bytes of a shard's check in a table.
pub const CHECK_BYTES: usize = 8;
/// The most parity that a repository may have, in percent of what it protects.
pub const PARITY_PERCENT_MAX: u8 = 100;
/// A sector anywhere in a pack touches at most so many shards: the end of a whole one, a short last one, and the first of
/// the recovery shards behind it.
const RECOVERY_MIN: usize = 3;
/// The most data shards of a pack.
const DATA_MAX: usize = PACK_BYTES_MAX / SHARD_BYTES;

/// How a pack is divided: `protected` bytes, which are all before the parity section and the trailer behind it, and the
/// section: a table of checks, the recovery shards, and the table again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes that are protected, the trailer among them.
    pub protected: usize,
    /// How many shards these make; the last is filled up with zeros that are not stored.
    pub data: usize,
    /// How many recovery shards there are; 0: no section at all.
    pub recovery: usize,
}

impl Geometry {
    /// Returns the division of a pack with so many protected bytes.
    pub const fn of_protected(protected: usize, percent: u8) -> Self {
        Self::of_shards(protected, protected.div_ceil(SHARD_BYTES), percent)
    }

    const fn of_shards(protected: usize, data: usize, percent: u8) -> Self {
        let share = (data * percent as usize).div_ceil(100);
        let recovery = if percent == 0 || share > RECOVERY_MIN { share } else { RECOVERY_MIN };
        Self { protected, data, recovery }
    }

    /// Returns the division of a pack of `bytes` bytes in all; `None` if no pack has that length.
    pub fn of_pack(bytes: usize, percent: u8) -> Option<Self> {
        let geometry = Self::within(bytes, percent);
        (geometry.bytes() == bytes && geometry.is_possible()).then_some(geometry)
    }

    /// Returns the division of a pack of `bytes` bytes whose trailer names so many bytes of parity; `None` if no percentage
    /// gives that.
    pub fn of_trailer(bytes: u64, parity_bytes: u32) -> Option<Self> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= PACK_BYTES_MAX)?;
        let protected = bytes.checked_sub(parity_bytes as usize)?;
        let data = protected.div_ceil(SHARD_BYTES);
        let shards = (parity_bytes as usize).saturating_sub(2 * CHECK_BYTES * data);
        let recovery = shards / (SHARD_BYTES + 2 * CHECK_BYTES);
        let geometry = Self { protected, data, recovery };
        let is_usual = recovery == 0 || (RECOVERY_MIN..=data.max(RECOVERY_MIN)).contains(&recovery);
        (geometry.bytes() == bytes && is_usual && geometry.is_possible()).then_some(geometry)
    }

    /// Returns the division of the longest pack of at most `bytes` bytes.
    pub fn within(bytes: usize, percent: u8) -> Self {
        let whole = |data: usize| Self::of_shards(data * SHARD_BYTES, data, percent);
        // The fewest shards that, all of them whole, reach `bytes`.
        let (mut low, mut high) = (1, DATA_MAX);
        while low < high {
            let middle = low.midpoint(high);
            if whole(middle).bytes() >= bytes { high = middle } else { low = middle + 1 }
        }
        let geometry = whole(low);
        let protected = bytes.saturating_sub(geometry.section_bytes()).min(geometry.protected);
        if protected > (low - 1) * SHARD_BYTES { Self { protected, ..geometry } } else { whole(low - 1) }
    }

    const fn is_possible(&self) -> bool {
        self.protected >= HEADER_BYTES + TRAILER_BYTES
    }

    /// Returns the bytes of one table of checks.
    pub const fn table_bytes(&self) -> usize {
        (self.data + self.recovery) * CHECK_BYTES
    }

    /// Returns the bytes of the section.
    pub const fn section_bytes(&self) -> usize {
        if self.recovery == 0 { 0 } else { 2 * self.table_bytes() + self.recovery * SHARD_BYTES }
    }

    /// Returns the bytes of the whole pack.
    pub const fn bytes(&self) -> usize {
        self.protected + self.section_bytes()
    }

    /// Returns the least percentage that gives this division; 0 for one without a section.
    pub fn percent(&self) -> u8 {
        let gives = |percent: &u8| Self::of_protected(self.protected, *percent).recovery == self.recovery;
        (0..=PARITY_PERCENT_MAX).find(gives).unwrap_or(PARITY_PERCENT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_one_division_or_none() {
        for percent in [0, 1, 5, 33, 100] {
            let mut last = 0;
            for protected in (80..200_000).step_by(7).chain(2_000_000..2_010_000) {
                let geometry = Geometry::of_protected(protected, percent);
                let bytes = geometry.bytes();
                assert!(bytes > last, "longer packs protect more");
                last = bytes;
                assert_eq!(Geometry::of_pack(bytes, percent), Some(geometry));
                assert_eq!(Geometry::of_trailer(bytes as u64, geometry.section_bytes() as u32), Some(geometry));
                assert_eq!(Geometry::within(bytes, percent), geometry);
                // What fits into a byte more is this, or a byte more of it.
                let more = Geometry::within(bytes + 1, percent);
                assert!(more == geometry || more.protected == protected + 1, "{protected}: {more:?}");
                assert!(more.bytes() <= bytes + 1);
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let geometry = Geometry::of_protected(1_000_000, 5);
        let (bytes, section) = (geometry.bytes() as u64, geometry.section_bytes() as u32);
        for parity in [1, 15, 16, 4112, section - 1, section + 1, section + 4112, u32::MAX] {
            let found = Geometry::of_trailer(bytes, parity);
            assert!(found.is_none(), "{parity}: {found:?}");
        }
        assert_eq!(Geometry::of_trailer(u64::MAX, section), None);
        assert_eq!(Geometry::of_trailer(PACK_BYTES_MAX as u64 + 1, 0), None);
        for bytes in [0, 1, 79, 80, 12_000] {
            assert_eq!(Geometry::of_pack(bytes, 5), None, "{bytes}");
        }
    }

    #[test]
    fn the_percentage_can_be_told() {
        for percent in 0..=PARITY_PERCENT_MAX {
            assert_eq!(Geometry::of_protected(2_000_000, percent).percent(), percent);
        }
    }
}
