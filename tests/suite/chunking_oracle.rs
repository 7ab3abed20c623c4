//! A slow, obvious FastCDC, from the paper alone: Xia et al., "The Design of Fast Content-Defined Chunking for Data
//! Deduplication Based Storage Systems", IEEE TPDS 2020, algorithm 1 with normalization level 1.

use daykeep_engine::internals::format::config::CdcSizes;

/// The masks of the reference implementation for n effective bits, as the paper's authors published them: the bits are
/// spread, so that the judgement depends on a long window.
const MASKS: [u64; 22] = [
    0,
    0,
    0,
    0,
    0,
    0x0000_0000_0180_4110,
    0x0000_0000_0180_3110,
    0x0000_0000_1803_5100,
    0x0000_0018_0003_5300,
    0x0000_0190_0035_3000,
    0x0000_5900_0353_0000,
    0x0000_d900_0353_0000,
    0x0000_d901_0353_0000,
    0x0000_d903_0353_0000,
    0x0000_d903_1353_0000,
    0x0000_d90f_0353_0000,
    0x0000_d903_0353_7000,
    0x0000_d907_0353_7000,
    0x0000_d907_0753_7000,
    0x0000_d917_0753_7000,
    0x0000_d917_4753_7000,
    0x0000_d917_6753_7000,
];

/// Returns the mask of so many bits.
pub fn mask(bits: u32) -> u64 {
    MASKS[bits as usize]
}

/// Returns the length of the first chunk of `bytes`, judging one byte after the other.
pub fn cut(sizes: &CdcSizes, gear: &[u64; 256], bytes: &[u8]) -> usize {
    let (min, avg, max) = (sizes.min as usize, sizes.avg as usize, sizes.max as usize);
    if bytes.len() <= min {
        return bytes.len();
    }
    let bits = sizes.avg.ilog2();
    // Level 1: one bit more before the average length, one less after it.
    let (strict, loose) = (mask(bits + 1), mask(bits - 1));
    let end = bytes.len().min(max);
    let normal = end.min(avg);
    let mut fingerprint = 0u64;
    // Part of the format: `fastcdc` judges pairs of bytes, so the last byte of a file is no candidate if it has no pair.
    let judged = end - end % 2;
    for (at, &byte) in bytes.iter().enumerate().take(judged).skip(min) {
        fingerprint = (fingerprint << 1).wrapping_add(gear[usize::from(byte)]);
        let mask = if at < normal { strict } else { loose };
        if fingerprint & mask == 0 {
            return at;
        }
    }
    end
}

/// Returns where all chunks of `bytes` end.
pub fn cut_all(sizes: &CdcSizes, gear: &[u64; 256], bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at += cut(sizes, gear, &bytes[at..]);
        ends.push(at);
    }
    ends
}
