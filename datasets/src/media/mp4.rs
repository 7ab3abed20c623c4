//! MP4 files (ISO/IEC 14496-12 and -14) with one H.264 track (14496-15), whose frames are random bytes.
//!
//! Everything around the frames is valid: boxes, sample tables, parameter sets, lengths and kinds of NAL units. The
//! frames themselves have the size and the entropy of compressed video, but show nothing.

use std::io::{self, Write};

use super::boxes;
use crate::random::Random;

/// A video to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Video {
    /// Width in pixels, even.
    pub width: u16,
    /// Height in pixels, even.
    pub height: u16,
    /// Length of the file in bytes, met exactly unless it is too short for a second of video.
    pub bytes: u64,
    /// Average number of bytes for a second.
    pub bytes_per_second: u64,
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// Whether the tables stand before the frames, for playing while loading, or after them, as cameras write.
    pub tables_first: bool,
}

/// The frames of a track: all that its tables need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Track {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// Length of each frame in bytes.
    pub sizes: Vec<u32>,
}

/// Frames in a second, and from one that stands by itself to the next.
pub(crate) const FRAMES: u64 = 30;
/// The shortest frame: its length, its kind and a few bytes.
const FRAME_BYTES_MIN: u64 = 16;
/// The first box: a file that plays wherever H.264 does.
const FTYP: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";

/// Writes a video and returns its frames.
///
/// # Errors
///
/// Those of `out`.
pub(crate) fn write(out: &mut impl Write, video: &Video, random: &mut Random) -> io::Result<Track> {
    let frames = (video.bytes * FRAMES / video.bytes_per_second.max(1)).max(FRAMES);
    let mut track =
        Track { width: video.width, height: video.height, taken: video.taken, sizes: vec![0; frames as usize] };
    // The tables are as long for other sizes of the frames, so a draft tells how much is left for these.
    let wide = is_wide(video.bytes);
    let around = (FTYP.len() + mdat(video.bytes, wide).len() + boxes::moov(&track, 0, wide).len()) as u64;
    draw_sizes(&mut track.sizes, video.bytes.saturating_sub(around), random);
    track.write(out, video.tables_first, |out, index, size| frame(out, index, size, random))?;
    Ok(track)
}

/// Shares `bytes` out among the frames: those that stand by themselves are about eight times the others.
fn draw_sizes(sizes: &mut [u32], bytes: u64, random: &mut Random) {
    let weights: Vec<u64> = (0..sizes.len() as u64)
        .map(|index| if index.is_multiple_of(FRAMES) { 6000 + random.below(4000) } else { 400 + random.below(1200) })
        .collect();
    let total: u64 = weights.iter().sum();
    let mut left = bytes;
    for (size, weight) in sizes.iter_mut().zip(weights) {
        let share = u128::from(bytes) * u128::from(weight) / u128::from(total.max(1));
        *size = (share as u64).max(FRAME_BYTES_MIN).min(u64::from(u32::MAX)) as u32;
        left = left.saturating_sub(u64::from(*size));
    }
    // What rounding left over goes to the first frame, so that the file has the length that was asked for.
    if let Some(first) = sizes.first_mut() {
        *first = first.saturating_add(left.min(u64::from(u32::MAX)) as u32);
    }
}

/// Writes a frame: one NAL unit after its length, a slice of a picture that stands by itself or of another.
fn frame(out: &mut impl Write, index: u64, size: u32, random: &mut Random) -> io::Result<()> {
    let head = if index.is_multiple_of(FRAMES) { [0x65, 0x88] } else { [0x41, 0x9a] };
    out.write_all(&(size - 4).to_be_bytes())?;
    out.write_all(&head)?;
    let mut left = size as usize - 6;
    let mut block = [0; 8192];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            let bits = random.next();
            // A NAL unit holds no start code: two zero bytes in a row. Words with a zero byte get their low bits set.
            let zero = bits.wrapping_sub(0x0101_0101_0101_0101) & !bits & 0x8080_8080_8080_8080;
            let bits = if zero != 0 { bits | 0x0101_0101_0101_0101 } else { bits };
            word.copy_from_slice(&bits.to_le_bytes());
        }
        let len = left.min(block.len());
        out.write_all(&block[..len])?;
        left -= len;
    }
    Ok(())
}

impl Track {
    /// Writes the file, asking `frame` for each frame's bytes.
    ///
    /// # Errors
    ///
    /// Those of `out` and of `frame`.
    pub fn write<W: Write>(
        &self,
        out: &mut W,
        tables_first: bool,
        mut frame: impl FnMut(&mut W, u64, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        let body = self.sizes.iter().map(|size| u64::from(*size)).sum();
        let wide = is_wide(body);
        let head = mdat(body, wide);
        // The tables are as long for another place of the frames, so a draft tells where these begin.
        let before = if tables_first { boxes::moov(self, 0, wide).len() } else { 0 };
        let tables = boxes::moov(self, (FTYP.len() + before + head.len()) as u64, wide);
        out.write_all(FTYP)?;
        if tables_first {
            out.write_all(&tables)?;
        }
        out.write_all(&head)?;
        for (index, size) in (0..).zip(&self.sizes) {
            frame(out, index, *size)?;
        }
        if tables_first { Ok(()) } else { out.write_all(&tables) }
    }
}

/// Says whether a file with so many bytes of frames needs 64-bit offsets. The tables have far less than 64 MiB.
fn is_wide(bytes: u64) -> bool {
    bytes > u64::from(u32::MAX) - (64 << 20)
}

/// Returns the head of the box that holds the frames.
fn mdat(body: u64, wide: bool) -> Vec<u8> {
    if wide {
        [b"\0\0\0\x01mdat".as_slice(), &(body + 16).to_be_bytes()].concat()
    } else {
        [&(body as u32 + 8).to_be_bytes(), b"mdat".as_slice()].concat()
    }
}
