//! The config: what is fixed for a repository's whole life.

use crate::base::limits::CHUNK_BYTES_MAX;
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::parity::PARITY_PERCENT_MAX;
use crate::format::tree::Timestamp;

/// The sizes of content-defined chunks in bytes: all even, in ascending order, the greatest at most 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CdcSizes {
    /// No chunk is shorter, but for a file's last.
    pub min: u32,
    /// The length that most chunks are near; a power of two.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

/// How files are cut. Frozen when the repository is made, since other cuts would find nothing known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerParams {
    /// For ordinary files.
    pub general: CdcSizes,
    /// For files that are compressed already.
    pub media: CdcSizes,
    /// SQLite files are cut into blocks of their page size, but of at least this many bytes.
    pub sqlite_block_min: u32,
}

/// FastCDC 2020 (Xia et al., "The Design of Fast Content-Defined Chunking", IEEE TPDS 2020), normalization level 1,
/// with a gear table drawn from the repository's key.
const CHUNKER_FASTCDC_2020_KEYED: u8 = 1;

/// The same, with a gear table drawn from a key in the config, which another repository has too.
const CHUNKER_FASTCDC_2020_SHARED: u8 = 2;

/// What the gear table is drawn from. Its `Debug` shows nothing: it is as secret as the lengths of known files shall be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GearKey([u8; 32]);

impl GearKey {
    /// Takes the key's bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for GearKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GearKey(..)")
    }
}

/// The content of the config object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// When the repository was made.
    pub created: Timestamp,
    /// How files are cut.
    pub chunker: ChunkerParams,
    /// The key of the gear table, if it is not the repository's own but shared with another.
    pub shared_gear: Option<GearKey>,
    /// How much parity packs get, in percent of what it protects; 0: none.
    pub parity_percent: u8,
}

impl CdcSizes {
    fn write(&self, out: &mut Writer) {
        [self.min, self.avg, self.max].into_iter().for_each(|size| out.varint(u64::from(size)));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let start = input.clone();
        let mut size = || input.varint_u32(CHUNK_BYTES_MAX as u32, "a chunk size of at most 1 MiB");
        let sizes = Self { min: size()?, avg: size()?, max: size()? };
        let even = [sizes.min, sizes.avg, sizes.max].iter().all(|size| size % 2 == 0);
        let in_order = 64 <= sizes.min && sizes.min <= sizes.avg && sizes.avg < sizes.max;
        if even && in_order && sizes.avg.is_power_of_two() && sizes.avg >= 1024 {
            Ok(sizes)
        } else {
            Err(start.error("even sizes in ascending order around a power of two", format!("{sizes:?}")))
        }
    }
}

impl Config {
    /// Returns the encoded config.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.varint_signed(self.created.seconds);
        out.varint(u64::from(self.created.nanos));
        match &self.shared_gear {
            None => out.u8(CHUNKER_FASTCDC_2020_KEYED),
            Some(key) => {
                out.u8(CHUNKER_FASTCDC_2020_SHARED);
                out.raw(key.as_bytes());
            }
        }
        self.chunker.general.write(&mut out);
        self.chunker.media.write(&mut out);
        out.varint(u64::from(self.chunker.sqlite_block_min));
        out.u8(self.parity_percent);
        out.finish()
    }

    /// Decodes a config.
    ///
    /// # Errors
    /// A [`FormatError`] that says where; an unknown chunker too.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let seconds = input.varint_signed()?;
        let created = Timestamp { seconds, nanos: input.varint_u32(999_999_999, "nanoseconds below 10^9")? };
        let start = input.clone();
        let kind = input.u8()?;
        let shared_gear = match kind {
            CHUNKER_FASTCDC_2020_KEYED => None,
            CHUNKER_FASTCDC_2020_SHARED => Some(GearKey::from_bytes(input.array()?)),
            _ => return Err(start.error("chunker 1 or 2, keyed FastCDC 2020", kind)),
        };
        let general = CdcSizes::read(&mut input)?;
        let media = CdcSizes::read(&mut input)?;
        let start = input.clone();
        let sqlite_block_min = input.varint_u32(65_536, "an SQLite block of at most 64 KiB")?;
        if !sqlite_block_min.is_power_of_two() || sqlite_block_min < 512 {
            return Err(start.error("an SQLite block of 512 to 65,536 bytes, a power of two", sqlite_block_min));
        }
        let start = input.clone();
        let parity_percent = input.u8()?;
        if parity_percent > PARITY_PERCENT_MAX {
            return Err(start.error("parity of at most 100 percent", parity_percent));
        }
        input.finish()?;
        Ok(Self { created, chunker: ChunkerParams { general, media, sqlite_block_min }, shared_gear, parity_percent })
    }
}
