//! The kinds of files in a library, and the bytes of each.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::exif::Exif;
use super::jpeg::{self, Photo};
use super::mp4::{self, Video};
use super::plan::{Content, civil};
use super::{document, opus, picture};
use crate::random::Random;

/// A kind of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// WhatsApp's voice notes: Ogg Opus.
    VoiceNote,
    /// WhatsApp's stickers: WebP.
    Sticker,
    /// WhatsApp's documents: PDF.
    Document,
    /// Screenshots: PNG.
    Screenshot,
    /// WhatsApp's photos: JPEG of 1600 pixels.
    Image,
    /// The camera's photos: JPEG of 12 megapixels, with Exif.
    Photo,
    /// WhatsApp's animated GIFs, which are short videos.
    Gif,
    /// WhatsApp's videos: MP4.
    Video,
    /// The camera's videos: MP4.
    CameraVideo,
}

/// Sizes in pixels of WhatsApp's photos.
const IMAGE_SIZES: [(u16, u16); 5] = [(1600, 1200), (1200, 1600), (1200, 1600), (1600, 900), (900, 1600)];

impl Kind {
    /// All kinds, in the order in which they are planned: those last that have large files of any length.
    pub const ALL: [Kind; 9] = [
        Kind::VoiceNote,
        Kind::Sticker,
        Kind::Gif,
        Kind::Document,
        Kind::Screenshot,
        Kind::Image,
        Kind::Photo,
        Kind::Video,
        Kind::CameraVideo,
    ];

    /// Returns the share of a library's bytes that this kind has, in percent.
    pub(crate) fn percent(self) -> u64 {
        match self {
            Kind::VoiceNote => 3,
            Kind::Sticker => 1,
            Kind::Document | Kind::Screenshot | Kind::Gif => 2,
            Kind::Image => 24,
            Kind::Photo => 26,
            Kind::Video => 22,
            Kind::CameraVideo => 18,
        }
    }

    /// Returns the lengths in bytes that divide the files of this kind into ten equal parts.
    pub(crate) fn quantiles(self) -> &'static [u64; 11] {
        match self {
            Kind::VoiceNote => &[2_100, 4_000, 7_000, 10_000, 14_000, 19_000, 26_000, 37_000, 55_000, 95_000, 400_000],
            Kind::Sticker => &[8_000, 14_000, 20_000, 26_000, 32_000, 38_000, 46_000, 55_000, 66_000, 80_000, 100_000],
            Kind::Document => {
                &[40_000, 80_000, 120_000, 180_000, 260_000, 350_000, 500_000, 750_000, 1_200_000, 2_200_000, 8_000_000]
            }
            Kind::Screenshot => {
                &[120_000, 140_000, 160_000, 190_000, 240_000, 300_000, 370_000, 460_000, 600_000, 850_000, 1_600_000]
            }
            Kind::Image => {
                &[60_000, 95_000, 120_000, 140_000, 160_000, 180_000, 200_000, 225_000, 255_000, 300_000, 420_000]
            }
            Kind::Photo => &[
                1_600_000, 2_000_000, 2_300_000, 2_600_000, 2_900_000, 3_100_000, 3_400_000, 3_700_000, 4_100_000,
                4_600_000, 5_200_000,
            ],
            Kind::Gif => &[
                80_000, 150_000, 220_000, 300_000, 400_000, 500_000, 650_000, 800_000, 1_100_000, 1_600_000, 3_000_000,
            ],
            Kind::Video => &[
                200_000, 600_000, 900_000, 1_300_000, 1_800_000, 2_500_000, 3_400_000, 4_800_000, 7_000_000,
                10_500_000, 16_000_000,
            ],
            Kind::CameraVideo => &[
                3_000_000,
                8_000_000,
                13_000_000,
                18_000_000,
                25_000_000,
                33_000_000,
                44_000_000,
                60_000_000,
                85_000_000,
                130_000_000,
                400_000_000,
            ],
        }
    }

    /// Returns the shortest length of this kind in bytes.
    pub(crate) fn bytes_min(self) -> u64 {
        if self == Kind::CameraVideo { 400_000 } else { self.quantiles()[0] }
    }

    /// Says whether a file of this kind gets the very length that was planned.
    pub(crate) fn is_exact(self) -> bool {
        matches!(self, Kind::Gif | Kind::Video | Kind::CameraVideo)
    }

    /// Says whether this kind lies in WhatsApp's folders.
    pub(crate) fn is_whatsapp(self) -> bool {
        !matches!(self, Kind::Photo | Kind::CameraVideo | Kind::Screenshot)
    }

    /// Returns the usual path of a file of this kind; `stem` is what tells it from others.
    pub(crate) fn path(self, stem: &str) -> String {
        match self {
            Kind::VoiceNote => format!("WhatsApp/Media/WhatsApp Voice Notes/PTT-{stem}.opus"),
            Kind::Sticker => format!("WhatsApp/Media/WhatsApp Stickers/STK-{stem}.webp"),
            Kind::Document => format!("WhatsApp/Media/WhatsApp Documents/DOC-{stem}.pdf"),
            Kind::Image => format!("WhatsApp/Media/WhatsApp Images/IMG-{stem}.jpg"),
            Kind::Gif => format!("WhatsApp/Media/WhatsApp Animated Gifs/VID-{stem}.mp4"),
            Kind::Video => format!("WhatsApp/Media/WhatsApp Video/VID-{stem}.mp4"),
            Kind::Screenshot => format!("Pictures/Screenshots/Screenshot_{stem}.png"),
            Kind::Photo => format!("DCIM/Camera/IMG_{stem}.jpg"),
            Kind::CameraVideo => format!("DCIM/Camera/VID_{stem}.mp4"),
        }
    }
}

impl Content {
    /// Writes the bytes. `library` is the library's seed, by which all its photos come from one camera.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write(&self, file: &mut File, library: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut random = Random::stream(self.seed, "bytes", (self.kind as u64) << 56 | self.index);
        let random = &mut random;
        buffer.clear();
        match self.kind {
            Kind::VoiceNote => opus::write(buffer, self.bytes / opus::BYTES_PER_SECOND, random),
            Kind::Sticker => picture::sticker(buffer, self.bytes, random)?,
            Kind::Document => document::write(buffer, self.bytes, random),
            Kind::Screenshot => picture::screenshot(buffer, self.bytes, random)?,
            Kind::Image => {
                let (width, height) = random.pick(&IMAGE_SIZES);
                jpeg::write(buffer, &Photo { width, height, bytes: self.bytes, quality: 80 }, None, random);
            }
            Kind::Photo => {
                let taken = civil(self.taken).strftime("%Y:%m:%d %H:%M:%S").to_string();
                let exif = Exif::new(library, taken, random);
                let photo = Photo { width: 4000, height: 3000, bytes: self.bytes, quality: 95 };
                jpeg::write(buffer, &photo, Some(&exif), random);
            }
            Kind::Gif | Kind::Video | Kind::CameraVideo => return self.write_video(file, random),
        }
        file.write_all(buffer)
    }

    /// Writes a video piece by piece, since it may be larger than what should lie in memory.
    fn write_video(&self, file: &mut File, random: &mut Random) -> io::Result<()> {
        let (width, height, bytes_per_second, tables_first) = match self.kind {
            Kind::CameraVideo => (1920, 1080, 2_125_000, false),
            Kind::Video => (848, 480, 160_000, true),
            _ => (480, 480, 120_000, true),
        };
        let video = Video { width, height, bytes: self.bytes, bytes_per_second, taken: self.taken, tables_first };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        mp4::write(&mut out, &video, random)?;
        out.flush()
    }
}
