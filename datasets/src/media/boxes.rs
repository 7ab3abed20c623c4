//! The tables of an MP4 file (ISO/IEC 14496-12, clause 8), written and read.

use std::io::{self, Read, Seek, SeekFrom};

use super::mp4::{FRAMES, Track};

/// Units of time in a second.
const TIMESCALE: u32 = 90_000;
/// Seconds from 1904, where MP4 begins to count, to 1970.
const EPOCH_1904: u64 = 2_082_844_800;
/// Turns nothing, in the fixed-point numbers of a transformation matrix.
const UPRIGHT: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// The most bytes of tables that are read.
const MOOV_BYTES_MAX: u64 = 64 << 20;

/// Returns the box `moov` for frames that lie one after the other from `begin` on, with 64-bit offsets if `wide`.
pub(crate) fn moov(track: &Track, begin: u64, wide: bool) -> Vec<u8> {
    let duration = (track.sizes.len() as u64 * u64::from(TIMESCALE) / FRAMES) as u32;
    let time = (track.taken + EPOCH_1904) as u32;
    let mvhd = words(&[&[0, time, time, TIMESCALE, duration, 0x1_0000, 0x0100_0000, 0, 0], &UPRIGHT, &[0; 6], &[2]]);
    let size = [u32::from(track.width) << 16, u32::from(track.height) << 16];
    let tkhd = words(&[&[3, time, time, 1, 0, duration, 0, 0, 0, 0], &UPRIGHT, &size]);
    let mdhd = words(&[&[0, time, time, TIMESCALE, duration, 0x55c4_0000]]);
    let hdlr = [&[0; 8], b"vide".as_slice(), &[0; 12], b"VideoHandler\0"].concat();
    let dref = [words(&[&[0, 1]]), boxed(b"url ", &[&[0, 0, 0, 1]])].concat();
    let dinf = boxed(b"dinf", &[&boxed(b"dref", &[&dref])]);
    let minf = boxed(b"minf", &[&boxed(b"vmhd", &[&words(&[&[1, 0, 0]])]), &dinf, &stbl(track, begin, wide)]);
    let mdia = boxed(b"mdia", &[&boxed(b"mdhd", &[&mdhd]), &boxed(b"hdlr", &[&hdlr]), &minf]);
    let trak = boxed(b"trak", &[&boxed(b"tkhd", &[&tkhd]), &mdia]);
    boxed(b"moov", &[&boxed(b"mvhd", &[&mvhd]), &trak])
}

/// Returns the sample table: what the frames are, how long each lasts, which stand by themselves, and where they lie.
fn stbl(track: &Track, begin: u64, wide: bool) -> Vec<u8> {
    let frames = track.sizes.len() as u32;
    let group = FRAMES as u32;
    let stts = words(&[&[0, 1, frames, TIMESCALE / group]]);
    let sync: Vec<u32> = (1..=frames).step_by(group as usize).collect();
    let stss = words(&[&[0, sync.len() as u32], &sync]);
    // Chunk by chunk a group of frames; the last one may be shorter, and then has an entry of its own.
    let mut stsc = vec![0, 1, 1, group.min(frames), 1];
    if frames > group && !frames.is_multiple_of(group) {
        stsc[1] = 2;
        stsc.extend_from_slice(&[frames / group + 1, frames % group, 1]);
    }
    let stsz = words(&[&[0, 0, frames], &track.sizes]);
    let mut offsets = words(&[&[0, sync.len() as u32]]);
    let mut at = begin;
    for chunk in track.sizes.chunks(group as usize) {
        if wide {
            offsets.extend_from_slice(&at.to_be_bytes());
        } else {
            offsets.extend_from_slice(&(at as u32).to_be_bytes());
        }
        at += chunk.iter().map(|size| u64::from(*size)).sum::<u64>();
    }
    let stsd = [words(&[&[0, 1]]), avc1(track)].concat();
    let parts: [(&[u8; 4], &[u8]); 6] = [
        (b"stsd", &stsd),
        (b"stts", &stts),
        (b"stss", &stss),
        (b"stsc", &words(&[&stsc])),
        (b"stsz", &stsz),
        (if wide { b"co64" } else { b"stco" }, &offsets),
    ];
    let parts: Vec<u8> = parts.iter().flat_map(|(name, body)| boxed(name, &[body])).collect();
    boxed(b"stbl", &[&parts])
}

/// Returns the description of an H.264 track with its parameter sets (ISO/IEC 14496-15, 5.3.3).
fn avc1(track: &Track) -> Vec<u8> {
    let sps = sequence_parameters(track.width, track.height);
    let pps: &[u8] = &[0x68, 0xce, 0x38, 0x80];
    let mut config = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
    for (count, set) in [(None, sps.as_slice()), (Some(1), pps)] {
        config.extend(count);
        config.extend_from_slice(&(set.len() as u16).to_be_bytes());
        config.extend_from_slice(set);
    }
    let mut body = words(&[&[0, 1, 0, 0, 0, 0]]);
    body.extend_from_slice(&track.width.to_be_bytes());
    body.extend_from_slice(&track.height.to_be_bytes());
    body.extend_from_slice(&words(&[&[72 << 16, 72 << 16, 0, 0x1_0000]]));
    // The last number was one frame in a sample, and two bytes of the encoder's name, which is left empty.
    body.extend_from_slice(&[0; 30]);
    body.extend_from_slice(&[0, 0x18, 0xff, 0xff]);
    body.extend_from_slice(&boxed(b"avcC", &[&config]));
    boxed(b"avc1", &[&body])
}

/// Returns a sequence parameter set of the baseline profile, level 4.0 (H.264, 7.3.2.1.1).
fn sequence_parameters(width: u16, height: u16) -> Vec<u8> {
    // Exp-Golomb: as many zeros as the number, counted from 1, has bits after its first.
    let number = |value: u32| {
        let code = format!("{:b}", value + 1);
        "0".repeat(code.len() - 1) + &code
    };
    let size = [width, height].map(|pixels| u32::from(pixels).div_ceil(16));
    let cut = [size[0] * 16 - u32::from(width), size[1] * 16 - u32::from(height)];
    // The set's id, bits of the frame number less 4, order of output, frames referred to; no gaps between these.
    let mut bits = [0, 0, 2, 1].map(number).concat() + "0";
    bits += &(number(size[0] - 1) + &number(size[1] - 1) + "11");
    // Blocks have 16 pixels; what is beyond the edge is cut off, in steps of two.
    bits += &if cut == [0, 0] {
        "0".to_owned()
    } else {
        "1".to_owned() + &[0, cut[0] / 2, 0, cut[1] / 2].map(number).concat()
    };
    // No further description; the bit that ends the set.
    bits += "01";
    bits += &"0".repeat((8 - bits.len() % 8) % 8);
    let bytes = bits.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | (bit - b'0')));
    [0x67, 66, 0xc0, 40].into_iter().chain(bytes).collect()
}

/// Returns a box.
fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), name.as_slice(), &body].concat()
}

/// Returns numbers as the bytes of a box.
fn words(parts: &[&[u32]]) -> Vec<u8> {
    parts.iter().copied().flatten().flat_map(|word| word.to_be_bytes()).collect()
}

/// What was found in a file: the frames, where the first one lies, and whether the tables stand before it.
pub(crate) struct Found {
    /// The frames.
    pub track: Track,
    /// Where the first one begins.
    pub begin: u64,
    /// Whether the tables come first.
    pub tables_first: bool,
}

/// Reads the tables of a file that this module wrote.
///
/// # Errors
///
/// Those of `file`, and `InvalidData` if its tables are not as this module writes them.
pub(crate) fn read(file: &mut (impl Read + Seek)) -> io::Result<Found> {
    let (moov_at, moov) = read_moov(file)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "its tables are not as this program writes them");
    let trak = child(&moov, b"trak").ok_or_else(invalid)?;
    let stbl =
        [b"mdia", b"minf", b"stbl"].iter().try_fold(trak, |parent, name| child(parent, name)).ok_or_else(invalid)?;
    let numbers = |parent, name| {
        let body = child(parent, name).ok_or_else(invalid)?;
        io::Result::Ok(
            body.chunks_exact(4).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))).collect(),
        )
    };
    let tkhd: Vec<u32> = numbers(trak, b"tkhd")?;
    let sizes: Vec<u32> = numbers(stbl, b"stsz")?;
    let begin = match numbers(stbl, b"stco") {
        Ok(offsets) => u64::from(*offsets.get(2).ok_or_else(invalid)?),
        Err(_) => {
            let offsets = numbers(stbl, b"co64")?;
            u64::from(*offsets.get(2).ok_or_else(invalid)?) << 32 | u64::from(*offsets.get(3).ok_or_else(invalid)?)
        }
    };
    let [_, time, .., width, height] = tkhd.as_slice() else { return Err(invalid()) };
    let sizes = sizes.get(3..).ok_or_else(invalid)?.to_vec();
    let taken = u64::from(*time).saturating_sub(EPOCH_1904);
    let track = Track { width: (width >> 16) as u16, height: (height >> 16) as u16, taken, sizes };
    Ok(Found { track, begin, tables_first: moov_at < begin })
}

/// Finds the box `moov` among those of the file and returns its place and its content.
fn read_moov(file: &mut (impl Read + Seek)) -> io::Result<(u64, Vec<u8>)> {
    let mut at = 0;
    loop {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head[..8])?;
        let mut len = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        if len == 1 {
            file.read_exact(&mut head[8..])?;
            len = head[8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
        if len < 8 || (&head[4..8] == b"moov" && len > MOOV_BYTES_MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a box of it has an impossible length"));
        }
        if &head[4..8] == b"moov" {
            let mut body = vec![0; len as usize - 8];
            file.read_exact(&mut body)?;
            return Ok((at, body));
        }
        at = at.saturating_add(len);
    }
}

/// Returns the content of the first box of that name in `parent`.
fn child<'a>(mut parent: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let (head, _) = parent.split_first_chunk::<8>()?;
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let body = parent.get(8..len)?;
        if &head[4..] == name {
            return Some(body);
        }
        parent = &parent[len..];
    }
}
