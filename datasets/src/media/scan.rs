//! The entropy-coded part of a JPEG: Huffman-coded coefficients that were drawn, not measured.
//!
//! Huffman codes give a symbol of probability p about -log2 p bits, and the tables of T.81's annex K were made from
//! photos. So symbols drawn with probability 2^-length are as frequent as they are in photos, and leave as little to
//! gain for a compressor. How many coefficients a block has is drawn apart: it makes smooth and busy regions, and
//! steers the size. Coefficients come in runs of up to three, prepared with their codes; only their values are new.

use std::sync::LazyLock;

use super::jpeg::segment;
use crate::random::Random;

/// A Huffman table as JPEG files hold it: how many codes there are of each length, and the symbols by length.
struct Huffman {
    lengths: [u8; 16],
    symbols: &'static [u8],
}

/// T.81, tables K.3 and K.4: categories of DC differences, which for brightness and colour differ in length only.
static DC: [Huffman; 2] = [
    Huffman {
        lengths: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        symbols: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    },
    Huffman {
        lengths: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        symbols: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    },
];

/// T.81, tables K.5 and K.6: run of zeros and category of the coefficient after it.
static AC: [Huffman; 2] = [
    Huffman {
        lengths: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
        symbols: &[
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
            0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
            0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
            0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
            0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
            0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
            0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
            0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
            0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
    Huffman {
        lengths: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        symbols: &[
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
            0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
            0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
            0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
            0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
            0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
            0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
            0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
            0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
];

/// Categories of DC differences that are drawn: larger ones would leave the range of a pixel too soon.
const DC_CATEGORIES: [u8; 2] = [7, 5];

/// The entries of a table to draw from.
const SLOTS: usize = 1024;
/// Symbols to a run at most.
const RUN_SYMBOLS: usize = 3;
/// Bits of a run at most.
const RUN_BITS_MAX: u8 = 32;

/// One to three symbols with their codes, ready to be written.
#[derive(Clone, Copy, Default)]
struct Run {
    /// The codes, with zeros for the values between them.
    codes: u32,
    /// Where the bits of the values are.
    values: u32,
    /// Bits of both.
    bits: u8,
    /// AC coefficients that it covers, those that are zero included.
    advance: u8,
}

impl Run {
    /// A single symbol: a run of zeros in its upper half, and the number of bits of the value that follows.
    fn symbol(code: u32, length: u8, symbol: u8) -> Self {
        let extra = symbol & 15;
        Run { codes: code << extra, values: (1 << extra) - 1, bits: length + extra, advance: (symbol >> 4) + 1 }
    }

    /// This run and the other one after it, if they have not too many bits.
    fn then(self, next: Run) -> Option<Self> {
        let bits = self.bits + next.bits;
        let join = |first, second| first << next.bits | second;
        (bits <= RUN_BITS_MAX).then(|| Run {
            codes: join(self.codes, next.codes),
            values: join(self.values, next.values),
            bits,
            advance: self.advance + next.advance,
        })
    }
}

/// Tables to draw from, for brightness or colour.
struct Tables {
    /// Runs of one, two and three AC symbols.
    ac: [[Run; SLOTS]; RUN_SYMBOLS],
    dc: [Run; SLOTS],
    end: Run,
}

static TABLES: LazyLock<[Tables; 2]> = LazyLock::new(|| {
    [0, 1].map(|class| {
        let single = slots(&AC[class], |symbol| symbol != 0x00 && symbol != 0xf0);
        let mut random = Random(class as u64);
        let mut longer = |runs: &[Run; SLOTS]| {
            // A run that is too long for another symbol stays alone.
            runs.map(|run| run.then(single[random.below(SLOTS as u64) as usize]).unwrap_or(run))
        };
        let double = longer(&single);
        Tables {
            ac: [single, double, longer(&double)],
            dc: slots(&DC[class], |symbol| symbol < DC_CATEGORIES[class]),
            end: symbols(&AC[class]).find(|(symbol, ..)| *symbol == 0).map(|(.., run)| run).unwrap_or_default(),
        }
    })
});

/// Minus the logarithm of numbers that are evenly spread from 0 to 1, in 1/65,536: how exponentially distributed
/// numbers lie on average (Rényi 1953), which needs no logarithm.
static EXPONENTIAL: [u32; 256] = {
    let mut out = [0; 256];
    let mut sum = 0;
    let mut at = 0;
    while at < out.len() {
        sum += 65_536 / (out.len() - at) as u32;
        out[at] = sum;
        at += 1;
    }
    out
};

/// Returns the symbols of a table, the length of the code of each, and what is written for it (T.81, annex C).
fn symbols(table: &Huffman) -> impl Iterator<Item = (u8, u8, Run)> {
    let lengths = (1u8..).zip(table.lengths).flat_map(|(length, count)| (0..count).map(move |_| length));
    let mut next = (0u32, 0u8);
    lengths.zip(table.symbols).map(move |(length, &symbol)| {
        let code = next.0 << (length - next.1);
        next = (code + 1, length);
        (symbol, length, Run::symbol(code, length, symbol))
    })
}

/// Gives each symbol that `wanted` keeps a share of the slots of 2^-length.
fn slots(table: &Huffman, wanted: impl Fn(u8) -> bool) -> [Run; SLOTS] {
    let kept: Vec<(u64, Run)> = symbols(table)
        .filter(|(symbol, ..)| wanted(*symbol))
        .map(|(_, length, run)| (1 << (16 - length), run))
        .collect();
    let total: u64 = kept.iter().map(|(weight, _)| weight).sum();
    let mut out = [Run::default(); SLOTS];
    let (mut at, mut below) = (0, 0);
    for (slot, entry) in out.iter_mut().enumerate() {
        // The middle of the slot decides, so that some of the many rare symbols have a slot too.
        let middle = (2 * slot as u64 + 1) * total / (2 * SLOTS as u64);
        while at + 1 < kept.len() && below + kept[at].0 <= middle {
            below += kept[at].0;
            at += 1;
        }
        *entry = kept[at].1;
    }
    out
}

/// Appends the four Huffman tables.
pub(crate) fn write_tables(out: &mut Vec<u8>) {
    for (class, tables) in [(0x00, &DC), (0x10, &AC)] {
        for (id, table) in (0u8..).zip(tables) {
            segment(out, 0xc4, &[&[class | id], table.lengths.as_slice(), table.symbols].concat());
        }
    }
}

/// A scan to be drawn.
pub(crate) struct Scan {
    /// Units of 16 by 16 pixels in a row.
    pub mcus_x: u32,
    /// Rows of such units.
    pub mcus_y: u32,
    /// Bytes that it shall have.
    pub bytes: u64,
    /// Quantization steps of the first coefficient, for brightness and colour.
    pub steps: [u32; 2],
}

/// Coefficients a colour block has, as a share of those of a brightness block, in percent.
const CHROMA_PERCENT: u64 = 35;
/// Bits that a unit of six blocks takes without any AC coefficient, and bits of one coefficient, in 1/16.
const UNIT_BITS_16: u64 = 16 * (4 * 9 + 2 * 6);
const COEFFICIENT_BITS_16: u64 = 16 * 7;
/// Limits of the correction by which the size is steered, in 1/1024.
const GAIN_MIN: u64 = 256;
const GAIN_MAX: u64 = 64 << 10;
/// How busy a region is: its coefficients, in percent of the average.
const REGIONS: [u64; 8] = [15, 30, 60, 90, 110, 130, 165, 200];
/// Width and height of a region in units.
const REGION_UNITS: u32 = 6;
/// Bytes that a unit never exceeds: six blocks of 64 coefficients, each of 26 bits.
const UNIT_BYTES_MAX: usize = 6 * 64 * 26 / 8;

impl Scan {
    /// Appends the scan's bytes, stuffed and padded, without the marker after them.
    pub fn write(&self, out: &mut Vec<u8>, random: &mut Random) {
        let begin = out.len() as u64;
        let tables = &*TABLES;
        let limits = self.steps.map(|step| (1000 / step.max(1)) as i32);
        let regions = random.next();
        let mut last = [0i32; 3];
        let mut bits = Bits::new(self.mcus_x as usize * UNIT_BYTES_MAX);
        // What is asked for over what is wanted, in 1/1024: coefficients beyond the 63rd come to nothing.
        let mut gain = 1024;
        for y in 0..self.mcus_y {
            let before = out.len() as u64;
            let wanted = (self.bytes + begin).saturating_sub(before) / u64::from(self.mcus_y - y);
            let busy = busy(wanted / u64::from(self.mcus_x), gain);
            for x in 0..self.mcus_x {
                let place = u64::from(y / REGION_UNITS) << 32 | u64::from(x / REGION_UNITS);
                let busy = busy[(Random(regions ^ place).next() % REGIONS.len() as u64) as usize];
                for (component, class) in [(0, 0), (0, 0), (0, 0), (0, 0), (1, 1), (2, 1)] {
                    block(&mut bits, &tables[class], &mut last[component], limits[class], busy[class], random);
                }
            }
            bits.flush(out);
            let written = (out.len() as u64 - before).max(1);
            gain = (gain * (3 * written + wanted) / (4 * written)).clamp(GAIN_MIN, GAIN_MAX);
        }
        bits.finish(out);
    }
}

/// Returns how many coefficients a block has, in 1/1024, by region and class, if a unit takes `bytes` on average.
fn busy(bytes: u64, gain: u64) -> [[u64; 2]; REGIONS.len()] {
    let wanted_16 = (bytes * 128).saturating_sub(UNIT_BITS_16);
    let luma = wanted_16 * gain * 100 / (COEFFICIENT_BITS_16 * (4 * 100 + 2 * CHROMA_PERCENT));
    REGIONS.map(|region| [luma * region / 100, luma * region / 100 * CHROMA_PERCENT / 100])
}

/// Writes a block: the difference to the last one's first coefficient, and about `busy` / 1024 other coefficients.
#[inline(always)]
fn block(bits: &mut Bits, tables: &Tables, last: &mut i32, limit: i32, busy: u64, random: &mut Random) {
    let draw = random.next();
    let run = tables.dc[draw as usize % SLOTS];
    let value = (draw >> 32) as u32 & run.values;
    // The upper half of a category's values is positive; the lower half stands for the same numbers below zero.
    let half = (run.values + 1) >> 1;
    let difference = if value < half { value as i32 - run.values as i32 } else { value as i32 };
    // The first coefficient stays within the range of a pixel: what would leave it goes the other way.
    let within = (*last + difference).abs() <= limit;
    *last += if within { difference } else { -difference };
    bits.put(run.codes | if within { value } else { value ^ run.values }, run.bits);

    let mut left = ((busy * u64::from(EXPONENTIAL[(draw >> 16) as usize % 256]) + (1 << 25)) >> 26) as usize;
    let mut at = 0;
    while left > 0 {
        let symbols = left.min(RUN_SYMBOLS);
        let draw = random.next();
        let run = tables.ac[symbols - 1][draw as usize % SLOTS];
        if at + run.advance > 63 {
            break;
        }
        at += run.advance;
        bits.put(run.codes | (draw >> 32) as u32 & run.values, run.bits);
        left -= symbols;
    }
    // A block that is full needs no sign of its end.
    if at < 63 {
        bits.put(tables.end.codes, tables.end.bits);
    }
}

/// Bits on their way into bytes, first the high ones.
struct Bits {
    /// A row of the picture, before stuffing.
    row: Vec<u8>,
    len: usize,
    /// The last bits, fewer than eight.
    held: u64,
    count: u32,
}

impl Bits {
    fn new(bytes_max: usize) -> Self {
        Bits { row: vec![0; bytes_max + 16], len: 0, held: 0, count: 0 }
    }

    /// Appends the `count` low bits of `value`, 1 to 32.
    #[inline(always)]
    fn put(&mut self, value: u32, count: u8) {
        self.held = self.held << count | u64::from(value);
        self.count += u32::from(count);
        // Eight bytes are written each time, of which the full ones count: a branch would cost more.
        if let Some(place) = self.row.get_mut(self.len..self.len + 8) {
            place.copy_from_slice(&(self.held << (64 - self.count)).to_be_bytes());
        }
        self.len += self.count as usize / 8;
        self.count %= 8;
    }

    /// Appends the row to `out`, with a zero byte after each 0xff (T.81, F.1.2.3).
    fn flush(&mut self, out: &mut Vec<u8>) {
        let (words, rest) = self.row[..self.len].as_chunks::<8>();
        for word in words {
            // A byte of the complement is zero where the word has 0xff.
            let bits = u64::from_ne_bytes(*word);
            if (!bits).wrapping_sub(0x0101_0101_0101_0101) & bits & 0x8080_8080_8080_8080 == 0 {
                out.extend_from_slice(word);
            } else {
                stuff(out, word);
            }
        }
        stuff(out, rest);
        self.len = 0;
    }

    /// Fills the last byte with ones and appends what is left.
    fn finish(mut self, out: &mut Vec<u8>) {
        let pad = (8 - self.count as u8) % 8;
        if pad > 0 {
            self.put((1 << pad) - 1, pad);
        }
        self.flush(out);
    }
}

fn stuff(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0xff {
            out.push(0);
        }
    }
}
