//! Exif blocks (CIPA DC-008, a TIFF file within a JPEG's APP1 segment), written and edited.

use std::ops::Range;

use super::jpeg::segment;
use crate::random::Random;

/// What a camera says about a photo.
#[derive(Clone, Debug)]
pub(crate) struct Exif {
    /// Maker and model.
    pub camera: (&'static str, &'static str),
    /// When it was taken, as `2024:01:05 10:15:00`.
    pub taken: String,
    /// How to turn it: 1 is upright, 6 a quarter to the right.
    pub orientation: u16,
    /// Exposure as 1/n seconds, f-number in 1/100 and sensitivity.
    pub exposure: [u32; 3],
    /// A title that was given to it later.
    pub description: Option<String>,
}

/// Makers and models of cameras.
const CAMERAS: [(&str, &str); 4] =
    [("Google", "Pixel 8"), ("samsung", "SM-S911B"), ("Xiaomi", "2201117TG"), ("Fairphone", "FP5")];

/// Marks the segment as Exif.
const HEAD: &[u8] = b"Exif\0\0";

impl Exif {
    /// Returns what the camera of a library with this seed says of a photo taken at `taken`.
    pub fn new(seed: u64, taken: String, random: &mut Random) -> Self {
        Exif {
            camera: CAMERAS[(seed % CAMERAS.len() as u64) as usize],
            taken,
            orientation: if random.below(4) == 0 { 6 } else { 1 },
            exposure: [30 + random.below(2000) as u32, 170 + random.below(60) as u32, 50 << random.below(6)],
            description: None,
        }
    }

    /// Returns the payload of the segment, a few hundred bytes.
    pub fn payload(&self) -> Vec<u8> {
        let ascii = |text: &str| [text.as_bytes(), b"\0"].concat();
        let [time, aperture, sensitivity] = self.exposure;
        let rational = |above: u32, below: u32| [above.to_le_bytes(), below.to_le_bytes()].concat();
        let mut main = Vec::new();
        if let Some(description) = &self.description {
            main.push(Field::new(0x010e, ASCII, ascii(description)));
        }
        main.push(Field::new(0x010f, ASCII, ascii(self.camera.0)));
        main.push(Field::new(0x0110, ASCII, ascii(self.camera.1)));
        main.push(Field::new(0x0112, SHORT, self.orientation.to_le_bytes().to_vec()));
        main.push(Field::new(0x0132, ASCII, ascii(&self.taken)));
        main.push(Field::new(0x8769, LONG, vec![0; 4]));
        let detail = [
            Field::new(0x829a, RATIONAL, rational(1, time)),
            Field::new(0x829d, RATIONAL, rational(aperture, 100)),
            Field::new(0x8827, SHORT, (sensitivity as u16).to_le_bytes().to_vec()),
            Field::new(0x9000, UNDEFINED, b"0232".to_vec()),
            Field::new(0x9003, ASCII, ascii(&self.taken)),
        ];
        let detail_at = 8 + directory(&main, 8).len() as u32;
        if let Some(pointer) = main.last_mut() {
            pointer.value = detail_at.to_le_bytes().to_vec();
        }
        [HEAD, b"II*\0\x08\0\0\0", &directory(&main, 8), &directory(&detail, detail_at)].concat()
    }
}

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const UNDEFINED: u16 = 7;

/// An entry of a TIFF directory.
struct Field {
    tag: u16,
    kind: u16,
    value: Vec<u8>,
}

impl Field {
    fn new(tag: u16, kind: u16, value: Vec<u8>) -> Self {
        Field { tag, kind, value }
    }
}

/// Returns a directory that begins at `begin`, and after it the values that are longer than four bytes.
fn directory(fields: &[Field], begin: u32) -> Vec<u8> {
    let mut out = (fields.len() as u16).to_le_bytes().to_vec();
    let mut far = Vec::new();
    let far_at = begin + 2 + 12 * fields.len() as u32 + 4;
    for field in fields {
        let unit = match field.kind {
            SHORT => 2,
            LONG => 4,
            RATIONAL => 8,
            _ => 1,
        };
        out.extend_from_slice(&field.tag.to_le_bytes());
        out.extend_from_slice(&field.kind.to_le_bytes());
        out.extend_from_slice(&(field.value.len() as u32 / unit).to_le_bytes());
        if field.value.len() <= 4 {
            let mut near = [0; 4];
            near[..field.value.len()].copy_from_slice(&field.value);
            out.extend_from_slice(&near);
        } else {
            out.extend_from_slice(&(far_at + far.len() as u32).to_le_bytes());
            far.extend_from_slice(&field.value);
            // Values begin at even offsets.
            far.resize(far.len().next_multiple_of(2), 0);
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&far);
    out
}

/// Returns the photo with another Exif block: turned, and with a title. The image data stays what it was.
///
/// `None` if the file does not begin with an Exif block as this module writes it.
pub(crate) fn edit(jpeg: &[u8], seed: u64, title: &str, random: &mut Random) -> Option<Vec<u8>> {
    let block = find(jpeg)?;
    let taken = jpeg[block.clone()].windows(20).find(|window| is_date(window))?;
    let mut exif = Exif::new(seed, String::from_utf8_lossy(&taken[..19]).into_owned(), random);
    exif.orientation = [3, 6, 8][random.below(3) as usize];
    exif.description = Some(title.to_owned());
    let mut out = Vec::with_capacity(jpeg.len() + 512);
    out.extend_from_slice(&jpeg[..2]);
    segment(&mut out, 0xe1, &exif.payload());
    out.extend_from_slice(&jpeg[block.end..]);
    Some(out)
}

/// Returns where a JPEG's Exif segment lies, marker included, if it is the first one.
pub(crate) fn find(jpeg: &[u8]) -> Option<Range<usize>> {
    let [0xff, 0xd8, 0xff, 0xe1, high, low, ..] = jpeg else { return None };
    let end = 4 + usize::from(u16::from_be_bytes([*high, *low]));
    jpeg.get(6..end)?.starts_with(HEAD).then_some(2..end)
}

/// Says whether these 20 bytes are a date and a time as Exif writes them.
fn is_date(window: &[u8]) -> bool {
    let shape = b"dddd:dd:dd dd:dd:dd\0";
    window.iter().zip(shape).all(|(byte, like)| if *like == b'd' { byte.is_ascii_digit() } else { byte == like })
}
