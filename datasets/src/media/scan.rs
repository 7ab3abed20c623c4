//! The entropy-coded part of a JPEG: Huffman-coded coefficients that were drawn, not measured.
//!
//! Huffman codes give a symbol of probability p about -log2 p bits, and the tables of T.81's annex K were made from
//! photos. So symbols drawn with probability 2^-length are as frequent as they are in photos, and leave as little to
//! gain for a compressor. Where blocks end is drawn apart: it makes smooth and busy regions, and steers the size.

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
const SLOTS: usize = 4096;

/// A symbol with its code, ready to be written.
#[derive(Clone, Copy, Default)]
struct Code {
    code: u16,
    length: u8,
    /// Bits of the coefficient's value after the code.
    extra: u8,
    /// Coefficients that the symbol covers: the zeros of its run and the one after them.
    advance: u8,
}

/// Tables to draw symbols from, for brightness and for colour.
struct Tables {
    ac: [Box<[Code; SLOTS]>; 2],
    dc: [Box<[Code; SLOTS]>; 2],
    end: [Code; 2],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    ac: [0, 1].map(|class| slots(&AC[class], |symbol| symbol != 0x00 && symbol != 0xf0)),
    dc: [0, 1].map(|class| slots(&DC[class], |symbol| symbol < DC_CATEGORIES[class])),
    end: [0, 1]
        .map(|class| codes(&AC[class]).find(|(symbol, _)| *symbol == 0).map(|(_, code)| code).unwrap_or_default()),
});

/// Returns the symbols of a table with their codes (T.81, annex C).
fn codes(table: &Huffman) -> impl Iterator<Item = (u8, Code)> {
    let lengths = (1u8..).zip(table.lengths).flat_map(|(length, count)| (0..count).map(move |_| length));
    let mut next = (0u32, 0u8);
    lengths.zip(table.symbols).map(move |(length, &symbol)| {
        let (code, before) = next;
        let code = code << (length - before);
        next = (code + 1, length);
        (symbol, Code { code: code as u16, length, extra: symbol & 15, advance: (symbol >> 4) + 1 })
    })
}

/// Gives each symbol that `wanted` keeps a share of the slots of 2^-length.
fn slots(table: &Huffman, wanted: impl Fn(u8) -> bool) -> Box<[Code; SLOTS]> {
    let kept: Vec<Code> = codes(table).filter(|(symbol, _)| wanted(*symbol)).map(|(_, code)| code).collect();
    let total: u64 = kept.iter().map(|code| 1u64 << (16 - code.length)).sum();
    let mut out = Box::new([Code::default(); SLOTS]);
    let (mut at, mut below) = (0, 0);
    for (slot, entry) in out.iter_mut().enumerate() {
        // The middle of the slot decides, so that each of the many rare symbols has its turn at some slot.
        let middle = (2 * slot as u64 + 1) * total / (2 * SLOTS as u64);
        while at + 1 < kept.len() && below + (1u64 << (16 - kept[at].length)) <= middle {
            below += 1u64 << (16 - kept[at].length);
            at += 1;
        }
        *entry = kept[at];
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
/// How busy a region is: its coefficients, in percent of the average.
const REGIONS: [u64; 8] = [15, 30, 60, 90, 110, 130, 165, 200];

impl Scan {
    /// Appends the scan's bytes, stuffed and padded, without the marker after them.
    pub fn write(&self, out: &mut Vec<u8>, random: &mut Random) {
        let begin = out.len() as u64;
        let regions = random.next();
        let mut bits = Bits { out, held: 0, count: 0 };
        let mut last = [0i32; 3];
        let limits = self.steps.map(|step| (1000 / step.max(1)) as i32);
        for y in 0..self.mcus_y {
            let left = (self.bytes + begin).saturating_sub(bits.out.len() as u64);
            let units = u64::from(self.mcus_x) * u64::from(self.mcus_y - y);
            let wanted_16 = (left * 128 / units.max(1)).saturating_sub(UNIT_BITS_16);
            // In 1/1024 of a coefficient, for each of the brightness blocks of a unit.
            let busy = wanted_16 * 1024 * 100 / (COEFFICIENT_BITS_16 * (4 * 100 + 2 * CHROMA_PERCENT));
            for x in 0..self.mcus_x {
                let region = Random(regions ^ (u64::from(y / 6) << 32 | u64::from(x / 6))).next();
                let busy = busy * REGIONS[(region % 8) as usize] / 100;
                let ends = [end_threshold(busy), end_threshold(busy * CHROMA_PERCENT / 100)];
                for (component, class) in [(0, 0), (0, 0), (0, 0), (0, 0), (1, 1), (2, 1)] {
                    dc(&mut bits, class, &mut last[component], limits[class], random);
                    ac(&mut bits, class, ends[class], random);
                }
            }
        }
        bits.finish();
    }
}

/// Returns the probability, in 1/65,536, that a block ends before the next coefficient if it has `busy` / 1024.
fn end_threshold(busy: u64) -> u64 {
    65_536 * 1024 / (busy + 1024)
}

/// Writes the difference to the last block's first coefficient, which stays within `limit` of zero.
fn dc(bits: &mut Bits, class: usize, last: &mut i32, limit: i32, random: &mut Random) {
    let draw = random.next();
    let code = TABLES.dc[class][(draw % SLOTS as u64) as usize];
    let extra = u32::from(code.extra);
    let mut value = (draw >> 32) as u32 & ((1 << extra) - 1);
    // The upper half of a category's values is positive; the lower half stands for their negatives.
    let signed = |value: u32| {
        if extra > 0 && value >> (extra - 1) == 0 { value as i32 + 1 - (1 << extra) } else { value as i32 }
    };
    if (*last + signed(value)).abs() > limit {
        value ^= (1 << extra) - 1;
    }
    *last += signed(value);
    bits.put(u32::from(code.code) << extra | value, u32::from(code.length) + extra);
}

/// Writes the other 63 coefficients of a block.
fn ac(bits: &mut Bits, class: usize, end: u64, random: &mut Random) {
    let tables = &*TABLES;
    let (table, stop) = (&tables.ac[class], tables.end[class]);
    let mut at = 0;
    loop {
        let draw = random.next();
        let code = table[(draw % SLOTS as u64) as usize];
        at += u32::from(code.advance);
        if at > 63 || (draw >> 16) & 0xffff < end {
            return bits.put(u32::from(stop.code), u32::from(stop.length));
        }
        let extra = u32::from(code.extra);
        let value = (draw >> 32) as u32 & ((1 << extra) - 1);
        bits.put(u32::from(code.code) << extra | value, u32::from(code.length) + extra);
        if at == 63 {
            return;
        }
    }
}

/// Bits on their way into bytes, first the high ones, with a zero byte after each 0xff (T.81, F.1.2.3).
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Appends the `count` low bits of `value`, at most 31.
    #[inline(always)]
    fn put(&mut self, value: u32, count: u32) {
        self.held = self.held << count | u64::from(value);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let word = (self.held >> self.count) as u32;
            // A byte of the complement is zero where the word has 0xff.
            if (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
                self.out.extend_from_slice(&word.to_be_bytes());
            } else {
                self.stuff(&word.to_be_bytes());
            }
        }
    }

    #[cold]
    fn stuff(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.out.push(byte);
            if byte == 0xff {
                self.out.push(0);
            }
        }
    }

    fn finish(mut self) {
        // Ones fill the last byte; as many bits as are held always fit.
        let pad = (8 - self.count % 8) % 8;
        self.held = self.held << pad | ((1 << pad) - 1);
        self.count += pad;
        let bytes = (self.held << (64 - self.count.max(1))).to_be_bytes();
        let len = (self.count / 8) as usize;
        self.stuff(&bytes[..len.min(8)]);
    }
}
