//! Baseline JPEG files (ITU-T T.81) with the entropy of photos, written without encoding an image.

use super::exif::Exif;
use super::scan::{self, Scan};
use crate::random::Random;

/// What a photo looks like from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Photo {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Length of the file in bytes; met within 2 %, where the size in pixels allows it.
    pub bytes: u64,
    /// Quality as the Independent JPEG Group counts it, 1 to 100: which quantization tables are named.
    pub quality: u32,
}

/// The order in which coefficients are stored (T.81, figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Quantization of brightness (T.81, table K.1).
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Quantization of colour (T.81, table K.2).
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Appends a JPEG to `out`: with Exif as cameras write it, without it with a JFIF header as WhatsApp does.
pub(crate) fn write(out: &mut Vec<u8>, photo: &Photo, exif: Option<&Exif>, random: &mut Random) {
    let begin = out.len();
    out.extend_from_slice(&[0xff, 0xd8]);
    match exif {
        Some(exif) => segment(out, 0xe1, &exif.payload()),
        None => segment(out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
    }
    let luma = quantization(&LUMA, photo.quality);
    let chroma = quantization(&CHROMA, photo.quality);
    segment(out, 0xdb, &[&[0], luma.as_slice()].concat());
    segment(out, 0xdb, &[&[1], chroma.as_slice()].concat());
    frame(out, photo);
    scan::write_tables(out);
    segment(out, 0xda, &[3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
    let scan = Scan {
        mcus_x: u32::from(photo.width).div_ceil(16),
        mcus_y: u32::from(photo.height).div_ceil(16),
        bytes: photo.bytes.saturating_sub((out.len() - begin) as u64 + 2),
        steps: [u32::from(luma[0]), u32::from(chroma[0])],
    };
    scan.write(out, random);
    out.extend_from_slice(&[0xff, 0xd9]);
}

/// Appends a marker segment. `payload` has at most 65,533 bytes.
pub(crate) fn segment(out: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= 65_533);
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&(payload.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends the frame header: brightness at full size, colours at half (4:2:0).
fn frame(out: &mut Vec<u8>, photo: &Photo) {
    let mut payload = vec![8];
    payload.extend_from_slice(&photo.height.to_be_bytes());
    payload.extend_from_slice(&photo.width.to_be_bytes());
    payload.extend_from_slice(&[3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    segment(out, 0xc0, &payload);
}

/// Scales a table as the Independent JPEG Group's library does, and puts it into zigzag order.
fn quantization(table: &[u8; 64], quality: u32) -> [u8; 64] {
    let quality = quality.clamp(1, 100);
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    ZIGZAG.map(|at| ((u32::from(table[usize::from(at)]) * scale + 50) / 100).clamp(1, 255) as u8)
}
