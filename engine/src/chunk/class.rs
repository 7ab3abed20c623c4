//! Recognises a file's class by its first bytes.

use crate::format::tree::Class;

/// How many bytes of a file's beginning are looked at.
pub const SNIFF_BYTES: usize = 32;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// The class.
    pub class: Class,
    /// The page size in bytes of an SQLite database, 512 to 65,536; otherwise 0.
    pub page_bytes: u32,
}

const MEDIA_MAGICS: &[&[u8]] = &[
    b"\xff\xd8\xff",             // JPEG
    b"\x89PNG\r\n\x1a\n",        // PNG
    b"GIF87a",                   // GIF
    b"GIF89a",                   // GIF
    b"\x1a\x45\xdf\xa3",         // Matroska, WebM
    b"OggS",                     // Ogg: Opus, Vorbis, Theora
    b"fLaC",                     // FLAC
    b"ID3",                      // MP3 with a tag
    b"\xff\xfb",                 // MP3
    b"\xff\xf3",                 // MP3
    b"\xff\xf2",                 // MP3
    b"\xff\xf1",                 // AAC in ADTS
    b"\xff\xf9",                 // AAC in ADTS
    b"\xff\x0a",                 // JPEG XL codestream
    b"\0\0\0\x0cJXL \r\n\x87\n", // JPEG XL
    b"#!AMR",                    // AMR
];

/// Returns the class of a file that begins with `head`, of which the first [`SNIFF_BYTES`] are looked at.
///
/// SQLite: <https://www.sqlite.org/fileformat.html>, section 1.3. ISO base media (MP4, HEIC, AVIF, 3GP, MOV):
/// ISO/IEC 14496-12, a first box of type `ftyp`. RIFF: WebP and AVI only, since WAV is not compressed.
pub fn sniff(head: &[u8]) -> Sniffed {
    if let Some(page_bytes) = sqlite_page_bytes(head) {
        return Sniffed { class: Class::Sqlite, page_bytes };
    }
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let riff = at(0, b"RIFF") && (at(8, b"WEBP") || at(8, b"AVI "));
    let media = riff || at(4, b"ftyp") || MEDIA_MAGICS.iter().any(|magic| at(0, magic));
    Sniffed { class: if media { Class::Media } else { Class::General }, page_bytes: 0 }
}

fn sqlite_page_bytes(head: &[u8]) -> Option<u32> {
    let rest = head.strip_prefix(b"SQLite format 3\0")?;
    let page_bytes = match u32::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])) {
        1 => 65_536,
        other => other,
    };
    (page_bytes.is_power_of_two() && page_bytes >= 512).then_some(page_bytes)
}
