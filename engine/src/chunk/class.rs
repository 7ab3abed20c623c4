//! Recognises a file's class by its first bytes.

use crate::format::tree::Class;

/// How many bytes of a file's beginning are looked at.
pub const SNIFF_BYTES: usize = 32;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// The class.
    pub class: Class,
    /// The page size in bytes of a database, 512 to 65,536; otherwise 0.
    pub page_bytes: u32,
}

/// How databases with encrypted pages are cut: as SQLCipher's are by default. Shorter pages lie in such blocks by several,
/// longer ones are several blocks.
const ENCRYPTED_PAGE_BYTES: u32 = 4096;
/// The shortest page there is: whatever the pages of a database are, its length is a multiple of this.
const PAGE_BYTES_MIN: u64 = 512;
/// A shorter file is not worth pages.
const ENCRYPTED_BYTES_MIN: u64 = 64 * 1024;
/// How databases are called.
const DATABASE_ENDINGS: [&[u8]; 6] = [b".db", b".db3", b".sqlite", b".sqlite3", b".sqlitedb", b".s3db"];

/// Returns whether a file of `bytes` bytes that is called `name` may be a database whose pages are encrypted one by one;
/// what its content has to look like is for [`sniff_encrypted`] to say.
pub fn may_be_encrypted(name: &[u8], bytes: u64) -> bool {
    let is_called_so = |ending: &&[u8]| {
        let start = name.len().saturating_sub(ending.len());
        name[start..].eq_ignore_ascii_case(ending)
    };
    bytes >= ENCRYPTED_BYTES_MIN && bytes.is_multiple_of(PAGE_BYTES_MIN) && DATABASE_ENDINGS.iter().any(is_called_so)
}

/// Returns the class of a file that [`may_be_encrypted`] and begins with `head`, of which 64 KiB should be there.
///
/// SQLCipher (<https://www.zetetic.net/sqlcipher/design/>) encrypts the header too, so nothing in the file tells what it
/// is but that it looks like noise.
pub fn sniff_encrypted(head: &[u8], looks_like_noise: impl Fn(&[u8]) -> bool) -> Option<Sniffed> {
    let is_noise = head.get(..ENCRYPTED_BYTES_MIN as usize).is_some_and(looks_like_noise);
    is_noise.then_some(Sniffed { class: Class::EncryptedPages, page_bytes: ENCRYPTED_PAGE_BYTES })
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

/// The least that encryption adds to a page: its initialisation vector.
const ENCRYPTION_BYTES_MIN: u8 = 16;
/// How many bytes the header of an SQLite database has.
pub const HEADER_BYTES: usize = 100;

/// Returns whether only the first bytes of a database's header are in clear, which begins with `head`: SQLCipher leaves
/// those to systems that want to see whose file it is (`cipher_plaintext_header_size`). SQLite cannot read it.
pub fn has_encrypted_pages(head: &[u8; HEADER_BYTES]) -> bool {
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (schema_format, encoding) = (number(44), number(56));
    // An empty database has neither, and twenty bytes behind them are zero in all.
    let is_header = schema_format <= 4 && encoding <= 3 && head[72..92].iter().all(|&byte| byte == 0);
    // What is in clear is a header's: versions, room at the end of each page for what encryption adds, fixed fractions.
    let is_beginning = head[18..20].iter().all(|version| (1..=2).contains(version))
        && head[20] >= ENCRYPTION_BYTES_MIN
        && head[21..24] == [64, 32, 32];
    sqlite_page_bytes(head).is_some() && is_beginning && !is_header
}

fn sqlite_page_bytes(head: &[u8]) -> Option<u32> {
    let rest = head.strip_prefix(b"SQLite format 3\0")?;
    let page_bytes = match u32::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])) {
        1 => 65_536,
        other => other,
    };
    (page_bytes.is_power_of_two() && page_bytes >= 512).then_some(page_bytes)
}
