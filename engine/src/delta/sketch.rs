//! What a chunk looks like, in a few numbers.

/// How many features a sketch has at most.
pub const FEATURES: usize = 8;
const WINDOW_BYTES: usize = 32;
/// One in 16 windows is sampled.
const SAMPLE_SHIFT: u32 = 12;
/// A window is sampled by its first bytes, so many of them.
const SAMPLE_BYTES: usize = 4;
/// Keeps windows of zeros from being sampled.
const OFFSET: u16 = 1 << 15;
const NONE: u32 = u32::MAX;
/// So many windows are looked at before those that were sampled are hashed.
const BLOCK_WINDOWS: usize = 512;
const _: () = assert!(BLOCK_WINDOWS.is_multiple_of(64));

/// The features of a chunk: of the hashes of its windows of 32 bytes, sampled by content, the smallest eight.
///
/// Two chunks share about as large a part of their features as of their windows (Broder, "On the resemblance and
/// containment of documents", 1997). Which windows are sampled a linear form of their first four bytes tells, for many
/// windows at once; only one in 16 is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch([u32; FEATURES]);

impl Sketch {
    /// The sketch of a chunk that nobody looked at.
    pub const NONE: Self = Self([NONE; FEATURES]);

    /// Returns the sketch of `bytes` under a table of random words, of which the first are used.
    pub fn of(gear: &[u64; 256], bytes: &[u8]) -> Self {
        let mut least = [NONE; FEATURES];
        let windows = (bytes.len() + 1).saturating_sub(WINDOW_BYTES);
        for start in (0..windows).step_by(BLOCK_WINDOWS) {
            let count = BLOCK_WINDOWS.min(windows - start);
            let mut is_sampled = [0u8; BLOCK_WINDOWS];
            mark(gear, &bytes[start..start + count + SAMPLE_BYTES - 1], &mut is_sampled[..count]);
            for (group, marks) in is_sampled.as_chunks::<64>().0.iter().enumerate() {
                let mut bits = gather(marks);
                while bits != 0 {
                    let at = start + group * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let Some(window) = bytes[at..].first_chunk() else { break };
                    let feature = hash(gear, window);
                    if feature < least[FEATURES - 1] {
                        insert(&mut least, feature);
                    }
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

/// Sets the bytes of `is_sampled` to 1 for windows that are sampled and to 0 for others; `bytes` are those that the windows
/// begin with, and three more. Written so that the compiler does many at once.
fn mark(gear: &[u64; 256], bytes: &[u8], is_sampled: &mut [u8]) {
    let [one, two, three, four] = [0, 1, 2, 3].map(|at| gear[at] as u16 | 1);
    let count = is_sampled.len();
    let (first, second) = (&bytes[..count], &bytes[1..=count]);
    let (third, fourth) = (&bytes[2..count + 2], &bytes[3..count + 3]);
    for at in 0..count {
        let form = (u16::from(first[at]).wrapping_mul(one))
            .wrapping_add(u16::from(second[at]).wrapping_mul(two))
            .wrapping_add(u16::from(third[at]).wrapping_mul(three))
            .wrapping_add(u16::from(fourth[at]).wrapping_mul(four))
            .wrapping_add(OFFSET);
        is_sampled[at] = u8::from(form >> SAMPLE_SHIFT == 0);
    }
}

/// Returns a word whose bits are those bytes, each 0 or 1.
fn gather(bytes: &[u8; 64]) -> u64 {
    // The factor moves the lowest bit of byte n to bit 56 + n, and no two sums meet on the way.
    let eight = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    bytes.as_chunks::<8>().0.iter().rev().fold(0, |bits, bytes| bits << 8 | eight(bytes))
}

/// Returns a window's feature: each of its words has a factor and a difference of its own.
#[inline]
fn hash(gear: &[u64; 256], window: &[u8; WINDOW_BYTES]) -> u32 {
    let product = |at: usize| {
        let word = u64::from_le_bytes(window.as_chunks().0[at]);
        (word ^ gear[4 + at]).wrapping_mul(gear[8 + at] | 1)
    };
    let sum = product(0) ^ product(1).rotate_left(16) ^ product(2).rotate_left(32) ^ product(3).rotate_left(48);
    ((sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
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

    /// Window after window, each looked at by itself.
    fn by_the_book(gear: &[u64; 256], bytes: &[u8]) -> Sketch {
        let is_sampled = |window: &&[u8]| {
            let terms = window.iter().zip(gear).take(4).map(|(&byte, key)| u64::from(byte) * ((key | 1) % 65_536));
            (terms.sum::<u64>() + 32_768) % 65_536 < 4096
        };
        let windows = bytes.windows(WINDOW_BYTES).filter(is_sampled);
        let mut features: Vec<u32> =
            windows.filter_map(|window| Some(hash(gear, window.first_chunk()?))).filter(|&f| f != NONE).collect();
        features.sort_unstable();
        features.dedup();
        features.resize(FEATURES.max(features.len()), NONE);
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
