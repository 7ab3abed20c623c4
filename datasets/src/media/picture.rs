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
    // The preview of a photo is what takes space: a noisy row costs about three bytes a pixel.
    let preview = ((bytes.saturating_sub(SCREEN_BYTES)) as usize / (width * 3)).min(height - 400);
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

/// Bytes of a screenshot without the preview of a photo.
const SCREEN_BYTES: u64 = 60_000;

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
const STICKER: u32 = 512;

/// Appends a sticker of about `bytes` bytes: a face on a clear ground, with a grain that takes the space.
///
/// # Errors
///
/// Those of the encoder, which has none for a picture of this size.
pub(crate) fn sticker(out: &mut Vec<u8>, bytes: u64, random: &mut Random) -> io::Result<()> {
    let side = STICKER as usize;
    let mut pixels = vec![0; side * side * 4];
    let skin = color(random);
    // Centre, radius and colour of the head, the eyes and the mouth.
    let mut discs = vec![(256, 256, 200 + random.below(50) as i64, skin)];
    for x in [170, 340] {
        discs.push((x, 200, 20 + random.below(40) as i64, color(random)));
    }
    discs.push((256, 360, 30 + random.below(60) as i64, color(random)));
    let grain = bytes.saturating_sub(STICKER_BYTES) * 65_536 / (2 * GRAIN_BYTES_PER_KIB);
    for (at, pixel) in pixels.chunks_exact_mut(4).enumerate() {
        let (x, y) = ((at % side) as i64, (at / side) as i64);
        let inside = |&&(cx, cy, radius, _): &&(i64, i64, i64, _)| (x - cx).pow(2) + (y - cy).pow(2) < radius * radius;
        let Some((.., color)) = discs.iter().rev().find(inside) else { continue };
        pixel[..3].copy_from_slice(color);
        pixel[3] = 255;
        let bits = random.next();
        if bits & 0xffff < grain {
            pixel[0] ^= (bits >> 16) as u8 & 31;
            pixel[1] ^= (bits >> 24) as u8 & 31;
        }
    }
    let encoder = image_webp::WebPEncoder::new(out);
    encoder.encode(&pixels, STICKER, STICKER, image_webp::ColorType::Rgba8).map_err(io::Error::other)?;
    Ok(())
}

/// Bytes of a sticker without grain.
const STICKER_BYTES: u64 = 6_000;
/// To be calibrated.
const GRAIN_BYTES_PER_KIB: u64 = 100_000;
