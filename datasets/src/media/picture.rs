//! Screenshots (PNG) and stickers (WebP without loss): flat areas, text-like marks, and some noise.

use std::io;

use crate::random::Random;

/// A colour for the flat areas of a picture.
fn color(random: &mut Random) -> [u8; 3] {
    let bits = random.next();
    [bits as u8, (bits >> 8) as u8, (bits >> 16) as u8]
}

/// Width and height of a screenshot in pixels.
pub(crate) const SCREEN: [usize; 2] = [1080, 2400];

/// Appends a screenshot of a chat: a PNG of about `bytes` bytes: lines of marks in bubbles, and a picture.
///
/// # Errors
///
/// Those of the encoder, which has none for a picture of this size.
pub(crate) fn screenshot(out: &mut Vec<u8>, bytes: u64, random: &mut Random) -> io::Result<()> {
    let [width, height] = SCREEN;
    let mut pixels = vec![0xec; width * height * 3];
    let bar = color(random);
    pixels[..width * 180 * 3].chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&bar));
    // The preview of a photo is what takes space: its rows are noise.
    let preview = (bytes.saturating_sub(SCREEN_BYTES) / ROW_BYTES).min(height as u64 - 400) as usize;
    let noisy = &mut pixels[width * 300 * 3..][..width * preview * 3];
    random.fill(noisy);
    let mut top = 320 + preview;
    while top + 120 < height {
        bubble(&mut pixels, top, random);
        top += 130 + random.below(60) as usize;
    }
    let mut encoder = png::Encoder::new(out, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    Ok(writer.finish()?)
}

/// Bytes of a screenshot without the preview of a photo, and of a row of that; both were measured.
const SCREEN_BYTES: u64 = 126_000;
const ROW_BYTES: u64 = 4_370;

/// Draws a bubble of 100 rows with two lines of letter-like marks.
fn bubble(pixels: &mut [u8], top: usize, random: &mut Random) {
    let width = SCREEN[0];
    let left = if random.below(2) == 0 { 30 } else { 330 };
    let fill = if left == 30 { [255, 255, 255] } else { [0xd9, 0xfd, 0xd3] };
    for y in top..top + 100 {
        let row = &mut pixels[(y * width + left) * 3..][..720 * 3];
        row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&fill));
    }
    for line in [top + 15, top + 55] {
        for letter in 0..10 + random.below(26) as usize {
            let shape = random.next();
            // A letter is a grid of 6 by 9 dots of two pixels each.
            for dot in (0..54).filter(|dot| shape >> dot & 1 == 1) {
                let (x, y) = (left + 20 + letter * 18 + dot % 6 * 2, line + dot / 6 * 3);
                let at = (y * width + x) * 3;
                pixels[at..at + 6].fill(0x11);
            }
        }
    }
}

/// Width and height of a sticker in pixels.
const STICKER: usize = 512;
/// Bytes of a sticker without grain, and of 16 pixels of it; both were measured.
const STICKER_BYTES: u64 = 5_400;
const GRAIN_BYTES_16: u64 = 38;

/// Appends a sticker of about `bytes` bytes: a face on a clear ground, with a grain that takes the space.
///
/// # Errors
///
/// Those of the encoder, which has none for a picture of this size.
pub(crate) fn sticker(out: &mut Vec<u8>, bytes: u64, random: &mut Random) -> io::Result<()> {
    let mut pixels = vec![0; STICKER * STICKER * 4];
    disc(&mut pixels, [256, 256], 200 + random.below(50) as usize, color(random));
    for x in [170, 340] {
        disc(&mut pixels, [x, 200], 20 + random.below(40) as usize, color(random));
    }
    disc(&mut pixels, [256, 360], 30 + random.below(60) as usize, color(random));
    let grainy = bytes.saturating_sub(STICKER_BYTES) * 16 / GRAIN_BYTES_16;
    for pixel in pixels.chunks_exact_mut(4).filter(|pixel| pixel[3] > 0).take(grainy as usize) {
        let bits = random.next();
        pixel[0] ^= bits as u8 & 31;
        pixel[1] ^= (bits >> 8) as u8 & 31;
    }
    let encoder = image_webp::WebPEncoder::new(out);
    let side = STICKER as u32;
    encoder.encode(&pixels, side, side, image_webp::ColorType::Rgba8).map_err(io::Error::other)
}

/// Draws a disc, no part of which is beyond the picture.
fn disc(pixels: &mut [u8], [x, y]: [usize; 2], radius: usize, [red, green, blue]: [u8; 3]) {
    for row in y - radius..y + radius {
        let half = (radius.pow(2) - row.abs_diff(y).pow(2)).isqrt();
        let span = &mut pixels[(row * STICKER + x - half) * 4..(row * STICKER + x + half) * 4];
        span.chunks_exact_mut(4).for_each(|pixel| pixel.copy_from_slice(&[red, green, blue, 255]));
    }
}
