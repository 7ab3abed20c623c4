//! What a chunk looks like, in a few numbers.

/// How many features a sketch has at most.
pub const FEATURES: usize = 8;
/// A rolling hash that is shifted by two bits a byte forgets what is longer ago than this many bytes.
const WINDOW_BYTES: usize = 32;
/// One in 16 windows is sampled: those whose hash begins with four zero bits.
const SAMPLE_SHIFT: u32 = 60;
const NONE: u32 = u32::MAX;
const LANES: usize = 4;
/// How many bytes of a lane are hashed before what was sampled of them is looked at.
const BLOCK_BYTES: usize = 256;

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
        // Each lane hashes the windows that end in a part of its own: the processor works on all lanes at once, where one
        // hash after the other would wait for the last.
        let is_short = bytes.len() < LANES * WINDOW_BYTES;
        let part = if is_short { bytes.len() } else { bytes.len().div_ceil(LANES) };
        let mut hashes = [0u64; LANES];
        let lane = |index: usize| &bytes[(index * part).min(bytes.len())..((index + 1) * part).min(bytes.len())];
        let lanes: [&[u8]; LANES] = std::array::from_fn(lane);
        for (index, hash) in hashes.iter_mut().enumerate().skip(1) {
            let end = (index * part).min(bytes.len());
            // What is longer ago than a window does not matter.
            *hash = bytes[end.saturating_sub(WINDOW_BYTES)..end].iter().fold(0, |hash, &byte| roll(gear, hash, byte));
        }
        let mut at = 0;
        while at < part {
            let mut sampled = [[0u64; BLOCK_BYTES]; LANES];
            let mut counts = [0usize; LANES];
            let end = (at + BLOCK_BYTES).min(part);
            let blocks = lanes.map(|lane| &lane[at.min(lane.len())..end.min(lane.len())]);
            // All but the last are as long as the first.
            let shared = blocks[LANES - 1].len();
            #[expect(clippy::needless_range_loop, reason = "the lanes go in step")]
            for offset in 0..shared {
                for lane in 0..LANES {
                    take(gear, &mut hashes[lane], blocks[lane][offset], &mut sampled[lane], &mut counts[lane]);
                }
            }
            for lane in 0..LANES {
                for &byte in blocks[lane].iter().skip(shared) {
                    take(gear, &mut hashes[lane], byte, &mut sampled[lane], &mut counts[lane]);
                }
                // Before a whole window there is none.
                let first =
                    if lane == 0 && at == 0 { early(gear, &bytes[..bytes.len().min(WINDOW_BYTES - 1)]) } else { 0 };
                for hash in &sampled[lane][first.min(counts[lane])..counts[lane]] {
                    let feature = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
                    if feature < least[FEATURES - 1] {
                        insert(&mut least, feature);
                    }
                }
            }
            at = end;
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

fn roll(gear: &[u64; 256], hash: u64, byte: u8) -> u64 {
    (hash << 2).wrapping_add(gear[usize::from(byte)])
}

/// Takes a byte into a hash, and the hash into `sampled` if it is one of those: without a branch, which would be guessed
/// wrong each time.
#[inline(always)]
fn take(gear: &[u64; 256], hash: &mut u64, byte: u8, sampled: &mut [u64; BLOCK_BYTES], count: &mut usize) {
    *hash = roll(gear, *hash, byte);
    sampled[*count % BLOCK_BYTES] = *hash;
    *count += usize::from(*hash >> SAMPLE_SHIFT == 0);
}

/// Returns how many of the hashes of `bytes`, which are less than a window, would be sampled.
fn early(gear: &[u64; 256], bytes: &[u8]) -> usize {
    let hashes = bytes.iter().scan(0, |hash, &byte| {
        *hash = roll(gear, *hash, byte);
        Some(*hash)
    });
    hashes.filter(|hash| hash >> SAMPLE_SHIFT == 0).count()
}

/// Puts a feature in its place, unless it is there.
fn insert(least: &mut [u32; FEATURES], feature: u32) {
    let at = least.partition_point(|&other| other < feature);
    if least[at] != feature {
        least.copy_within(at..FEATURES - 1, at + 1);
        least[at] = feature;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Window after window, each hashed by itself.
    fn by_the_book(gear: &[u64; 256], bytes: &[u8]) -> Sketch {
        let hash = |window: &[u8]| window.iter().fold(0, |hash, &byte| roll(gear, hash, byte));
        let hashes = bytes.windows(WINDOW_BYTES).map(hash).filter(|hash| hash >> SAMPLE_SHIFT == 0);
        let mut features: Vec<u32> =
            hashes.map(|hash| (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32).filter(|&f| f != NONE).collect();
        features.sort_unstable();
        features.dedup();
        features.resize(FEATURES, NONE);
        let mut least = [NONE; FEATURES];
        least.copy_from_slice(&features[..FEATURES]);
        Sketch(least)
    }

    #[test]
    fn a_sketch_is_that_of_the_book_whatever_the_length() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let gear: [u64; 256] = std::array::from_fn(|_| random() << 33 ^ random() << 11 ^ random());
        let bytes: Vec<u8> = (0..70_000).map(|_| (random() % 7) as u8).collect();
        for length in (0..200).chain([255, 256, 1000, 1023, 1024, 1025, 4095, 4096, 4097, 16_384, 65_536, 70_000]) {
            assert_eq!(Sketch::of(&gear, &bytes[..length]), by_the_book(&gear, &bytes[..length]), "{length}");
        }
    }
}
