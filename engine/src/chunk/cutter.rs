//! The chunker: one seam between the engine and the algorithm that finds the cuts.

use fastcdc::v2020;

use crate::chunk::class::Sniffed;
use crate::format::config::{CdcSizes, ChunkerParams};
use crate::format::tree::Class;

/// The parameters of new repositories; `docs/design.md` has the curves that they were chosen from.
pub const DEFAULT_PARAMS: ChunkerParams = ChunkerParams {
    general: CdcSizes { min: 8 * 1024, avg: 32 * 1024, max: 128 * 1024 },
    media: CdcSizes { min: 256 * 1024, avg: 256 * 1024, max: 1024 * 1024 },
    sqlite_block_min: 4096,
};

/// The cuts of one repository: its parameters and its gear table.
pub struct Chunker {
    params: ChunkerParams,
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
}

/// How one file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutter {
    /// By content.
    Content(CdcSizes),
    /// Into blocks of this many bytes, the last one shorter.
    Fixed(u32),
}

impl Cutter {
    /// Returns the longest chunk that it makes, in bytes.
    pub const fn max(&self) -> usize {
        match self {
            Self::Content(sizes) => sizes.max as usize,
            Self::Fixed(bytes) => *bytes as usize,
        }
    }
}

impl Chunker {
    /// Makes the chunker of a repository.
    pub fn new(params: ChunkerParams, gear: Box<[u64; 256]>) -> Self {
        let mut gear_shifted = gear.clone();
        gear_shifted.iter_mut().for_each(|word| *word <<= 1);
        Self { params, gear, gear_shifted }
    }

    /// Returns the gear table.
    pub const fn gear(&self) -> &[u64; 256] {
        &self.gear
    }

    /// Returns how a file is cut that begins like `sniffed`.
    pub const fn cutter(&self, sniffed: Sniffed) -> Cutter {
        match sniffed.class {
            Class::General => Cutter::Content(self.params.general),
            Class::Media => Cutter::Content(self.params.media),
            Class::Sqlite | Class::EncryptedPages => {
                let least = self.params.sqlite_block_min;
                Cutter::Fixed(if sniffed.page_bytes > least { sniffed.page_bytes } else { least })
            }
        }
    }

    /// Returns the length of the chunk that begins `bytes`, 0 only if there are none.
    ///
    /// The answer is the file's own cut if `bytes` has at least [`Cutter::max`] bytes or ends where the file ends.
    pub fn cut(&self, cutter: &Cutter, bytes: &[u8]) -> usize {
        match cutter {
            Cutter::Fixed(block) => bytes.len().min(*block as usize),
            Cutter::Content(sizes) => {
                let bits = sizes.avg.ilog2() as usize;
                // Normalization level 1 of the paper: one bit more below the average, one less above.
                let (strict, loose) = (v2020::MASKS[bits + 1], v2020::MASKS[bits - 1]);
                let (_, len) = v2020::cut_gear(
                    bytes,
                    sizes.min as usize,
                    sizes.avg as usize,
                    sizes.max as usize,
                    strict,
                    loose,
                    strict << 1,
                    loose << 1,
                    self.gear.as_slice(),
                    self.gear_shifted.as_slice(),
                );
                len
            }
        }
    }
}
