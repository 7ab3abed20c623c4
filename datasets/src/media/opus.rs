//! Voice notes: Opus (RFC 6716) in Ogg (RFC 3533), as RFC 7845 lays it out.
//!
//! Packets are random after their first byte. A decoder of Opus takes any bits for sound, so they play, as noise.

use crate::random::Random;

/// Bytes that a second takes.
pub(crate) const BYTES_PER_SECOND: u64 = 2077;

/// Samples in a packet of 20 ms, counted at 48 kHz as Ogg does.
const PACKET_SAMPLES: u64 = 960;
/// Packets to a page, which then lasts a second.
const PAGE_PACKETS: usize = 50;
/// What a decoder drops at the beginning, in samples.
const PRE_SKIP: u16 = 312;
/// The first byte of a packet: speech (SILK) of wide band, 20 ms, one channel, one frame (RFC 6716, 3.1).
const SPEECH: u8 = 9 << 3;

/// Appends a voice note of so many seconds, at least one.
pub(crate) fn write(out: &mut Vec<u8>, seconds: u64, random: &mut Random) {
    let serial = random.next() as u32;
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&PRE_SKIP.to_le_bytes());
    head.extend_from_slice(&16_000u32.to_le_bytes());
    head.extend_from_slice(&[0; 3]);
    let mut page = Page { serial, number: 0, begins: true, ends: false, granule: 0 };
    page.write(out, &head, &[head.len()]);
    let tags = b"OpusTags\x08\0\0\0WhatsApp\0\0\0\0";
    page = Page { number: 1, begins: false, ..page };
    page.write(out, tags, &[tags.len()]);
    for second in 0..seconds.max(1) {
        let lens = [(); PAGE_PACKETS].map(|()| 24 + random.below(33) as usize);
        let mut packets = vec![0; lens.iter().sum()];
        random.fill(&mut packets);
        let mut at = 0;
        for len in lens {
            packets[at] = SPEECH;
            at += len;
        }
        page.number += 1;
        page.granule += PAGE_PACKETS as u64 * PACKET_SAMPLES;
        page.ends = second + 1 == seconds.max(1);
        page.write(out, &packets, &lens);
    }
}

/// The head of an Ogg page.
struct Page {
    serial: u32,
    number: u32,
    begins: bool,
    ends: bool,
    granule: u64,
}

impl Page {
    /// Appends a page of whole packets, together at most 255 segments of at most 255 bytes.
    fn write(&self, out: &mut Vec<u8>, packets: &[u8], lens: &[usize]) {
        let begin = out.len();
        out.extend_from_slice(b"OggS\0");
        out.push(u8::from(self.begins) << 1 | u8::from(self.ends) << 2);
        out.extend_from_slice(&self.granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        // A packet ends with a segment of less than 255 bytes, an empty one if need be.
        let segments: Vec<u8> =
            lens.iter().flat_map(|len| std::iter::repeat_n(255, len / 255).chain([(len % 255) as u8])).collect();
        out.push(segments.len() as u8);
        out.extend_from_slice(&segments);
        out.extend_from_slice(packets);
        let sum = checksum(&out[begin..]);
        out[begin + 22..begin + 26].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The remainders of each byte for Ogg's checksum: 32 bits, polynomial 0x04c11db7, high bits first.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            rest = rest << 1 ^ if rest >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 ^ REMAINDERS[usize::from((sum >> 24) as u8 ^ byte)])
}
