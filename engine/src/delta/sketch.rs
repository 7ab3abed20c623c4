//! What a chunk looks like, in a few numbers.

/// How many features a sketch has at most.
pub const FEATURES: usize = 8;
/// A rolling hash that is shifted by two bits a byte forgets what is longer ago than this many bytes.
const WINDOW_BYTES: usize = 32;
/// One in 16 windows is sampled: those whose hash begins with four zero bits.
const SAMPLE_SHIFT: u32 = 60;
const NONE: u32 = u32::MAX;

/// The features of a chunk: of the hashes of its windows of 32 bytes, sampled by content, the smallest eight.
///
/// Two chunks share about as large a part of their features as of their windows (Broder, "On the resemblance and
/// containment of documents", 1997); the sampling by content keeps the cost of the smallest low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch([u32; FEATURES]);

impl Sketch {
    /// The sketch of a chunk that nobody looked at.
    pub const NONE: Self = Self([NONE; FEATURES]);

    /// Returns the sketch of `bytes` under a table of random words, one for each value of a byte.
    pub fn of(gear: &[u64; 256], bytes: &[u8]) -> Self {
        let mut least = [NONE; FEATURES];
        let mut hash = 0u64;
        for (at, &byte) in bytes.iter().enumerate() {
            hash = (hash << 2).wrapping_add(gear[usize::from(byte)]);
            if hash >> SAMPLE_SHIFT == 0 && at + 1 >= WINDOW_BYTES {
                let feature = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
                if feature < least[FEATURES - 1] {
                    insert(&mut least, feature);
                }
            }
        }
        Self(least)
    }

    /// Returns the features, smallest first.
    pub fn features(&self) -> impl Iterator<Item = u32> {
        self.0.into_iter().take_while(|&feature| feature != NONE)
    }

    /// Returns the sketch as it is kept.
    pub const fn as_words(&self) -> &[u32; FEATURES] {
        &self.0
    }

    /// Takes a sketch as it was kept; whatever the words are, the worst is that similar chunks are not found.
    pub const fn from_words(words: [u32; FEATURES]) -> Self {
        Self(words)
    }
}

/// Puts a feature in its place, unless it is there.
fn insert(least: &mut [u32; FEATURES], feature: u32) {
    let at = least.partition_point(|&other| other < feature);
    if least[at] != feature {
        least.copy_within(at..FEATURES - 1, at + 1);
        least[at] = feature;
    }
}
