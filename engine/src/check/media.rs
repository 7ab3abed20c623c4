//! Whether a picture or a video begins as its name says, as far as its first bytes tell.
//!
//! No decoder: what is restored is byte for byte what was saved, so this finds what was broken before that, most often files
//! that were never written to their end. JPEG (ITU-T T.81), PNG (ISO 15948), GIF89a, WebP (RFC 9649), and the boxes
//! of ISO 14496-12, which HEIC, AVIF, MP4 and QuickTime share.

/// So many bytes from the beginning are looked at: previews in a JPEG's head may take more than 64 KiB.
pub const HEAD_BYTES: usize = 256 * 1024;

/// A sort of file that is known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    WebP,
    Boxes,
}

/// The endings of names, and what they promise.
const ENDINGS: &[(&[u8], Kind)] = &[
    (b"jpg", Kind::Jpeg),
    (b"jpeg", Kind::Jpeg),
    (b"png", Kind::Png),
    (b"gif", Kind::Gif),
    (b"webp", Kind::WebP),
    (b"heic", Kind::Boxes),
    (b"heif", Kind::Boxes),
    (b"avif", Kind::Boxes),
    (b"mp4", Kind::Boxes),
    (b"m4v", Kind::Boxes),
    (b"m4a", Kind::Boxes),
    (b"mov", Kind::Boxes),
    (b"3gp", Kind::Boxes),
];
/// What an old QuickTime file may begin with too.
const FIRST_BOXES: &[&[u8; 4]] = &[b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"];

/// Returns what a file's name promises, if it is one of those that are known.
pub fn promised(name: &[u8]) -> Option<Kind> {
    let at = name.iter().rposition(|&byte| byte == b'.')?;
    let ending = name[at + 1..].to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, kind)| *kind)
}

/// Returns why a file of `bytes` bytes that begins with `head` is not what its name promises, or not all of it.
pub fn doubt(kind: Kind, head: &[u8], bytes: u64) -> Option<String> {
    if bytes == 0 {
        return Some("is empty".into());
    }
    if !begins_as(kind, head) {
        let all = [Kind::Jpeg, Kind::Png, Kind::Gif, Kind::WebP, Kind::Boxes];
        return Some(match all.into_iter().find(|other| begins_as(*other, head)) {
            Some(other) => format!("begins as {} does", name(other)),
            None => "begins with other bytes".into(),
        });
    }
    let is_fine = match kind {
        Kind::Jpeg => jpeg(head, bytes),
        Kind::Png => png(head),
        Kind::Gif => head.len() >= 14 && non_zero(&head[6..8]) && non_zero(&head[8..10]),
        Kind::WebP => webp(head, bytes),
        Kind::Boxes => boxes(head, bytes),
    };
    (!is_fine).then(|| "is cut short, or broken in its beginning".into())
}

/// Returns what a kind is called.
pub const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Jpeg => "JPEG",
        Kind::Png => "PNG",
        Kind::Gif => "GIF",
        Kind::WebP => "WebP",
        Kind::Boxes => "HEIC, MP4 or QuickTime",
    }
}

fn begins_as(kind: Kind, head: &[u8]) -> bool {
    match kind {
        Kind::Jpeg => head.starts_with(b"\xff\xd8\xff"),
        Kind::Png => head.starts_with(b"\x89PNG\r\n\x1a\n"),
        Kind::Gif => head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
        Kind::WebP => head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP"),
        Kind::Boxes => head.get(4..8).is_some_and(|kind| FIRST_BOXES.iter().any(|known| known.as_slice() == kind)),
    }
}

fn non_zero(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte != 0)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Walks the segments up to the one that tells the picture's width.
fn jpeg(head: &[u8], bytes: u64) -> bool {
    let mut at = 2;
    loop {
        let Some(&[first, marker, high, low]) = head.get(at..at + 4) else { return (at as u64) + 4 <= bytes };
        if first == 0xff && marker == 0xff {
            at += 1;
            continue;
        }
        let len = usize::from(high) << 8 | usize::from(low);
        match marker {
            // The frame's head: its length, precision, height, width. The height may come later.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let width = head.get(at + 7..at + 9);
                return first == 0xff && len >= 11 && width.map_or((at as u64) + 9 <= bytes, non_zero);
            }
            0xc4 | 0xcc | 0xdb..=0xef | 0xfe if first == 0xff && marker != 0xda && len >= 2 => at += 2 + len,
            _ => return false,
        }
    }
}

/// Looks at the first chunk, which is the picture's head.
fn png(head: &[u8]) -> bool {
    head.get(8..16) == Some(b"\0\0\0\x0dIHDR")
        && head.len() > 8 + 25
        && non_zero(&head[16..20])
        && non_zero(&head[20..24])
        && matches!(head[24], 1 | 2 | 4 | 8 | 16)
}

/// Compares the length that the head names, and looks at the first chunk's kind.
fn webp(head: &[u8], bytes: u64) -> bool {
    let named = head[4..8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    named >= 12 && named + 8 <= bytes && matches!(head.get(12..16), Some(b"VP8 " | b"VP8L" | b"VP8X"))
}

/// Walks the outermost boxes as far as the head goes: none may be longer than the file.
fn boxes(head: &[u8], bytes: u64) -> bool {
    let mut at = 0u64;
    while at < bytes {
        let Some(start) = usize::try_from(at).ok().and_then(|at| head.get(at..)) else { return true };
        if start.len() < 16 && (head.len() as u64) < bytes {
            return true;
        }
        if start.len() < 8 {
            return false;
        }
        let size = match (big_endian(&start[..4]), start.get(8..16)) {
            // It goes to the end.
            (0, _) => return true,
            (1, Some(size)) => big_endian(size),
            (size, _) => size,
        };
        match at.checked_add(size) {
            Some(end) if size >= 8 && end <= bytes => at = end,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn box_of(kind: &[u8; 4], content: usize) -> Vec<u8> {
        [&(content as u32 + 8).to_be_bytes(), kind.as_slice(), &vec![1; content]].concat()
    }

    /// A whole file of each kind.
    fn whole() -> Vec<(&'static str, Vec<u8>)> {
        let app = [b"\xff\xe0\0\x10".as_slice(), &[0; 14]].concat();
        let frame = b"\xff\xc0\0\x11\x08\0\x10\0\x20\x03\x01\x22\0\x02\x11\x01\x03\x11\x01";
        let jpeg = [b"\xff\xd8".as_slice(), &app, frame, b"\xff\xda\0\x02data\xff\xd9"].concat();
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0".as_slice(), &[0; 28]].concat();
        let gif = b"GIF89a\x01\0\x01\0\0\0\0\x3b".to_vec();
        let webp = [b"RIFF\x18\0\0\0WEBPVP8 ".as_slice(), &[0; 16]].concat();
        let mp4 = [box_of(b"ftyp", 16), box_of(b"moov", 100), box_of(b"mdat", 1000)].concat();
        let mov = [box_of(b"wide", 0), box_of(b"mdat", 50), box_of(b"moov", 30)].concat();
        vec![("a.jpg", jpeg), ("a.PNG", png), ("a.gif", gif), ("b.a.webp", webp), ("a.mp4", mp4), ("a.mov", mov)]
    }

    fn doubt_of(name: &str, bytes: &[u8]) -> Option<String> {
        doubt(promised(name.as_bytes()).unwrap(), &bytes[..bytes.len().min(HEAD_BYTES)], bytes.len() as u64)
    }

    #[test]
    fn whole_files_are_in_no_doubt_and_cut_or_foreign_ones_are() {
        for (name, bytes) in whole() {
            assert_eq!(doubt_of(name, &bytes), None, "{name}");
            assert!(doubt_of(name, &[]).unwrap().contains("empty"));
            assert!(doubt_of(name, &vec![0; 1000]).unwrap().contains("other bytes"));
            for len in 1..8 {
                assert!(doubt_of(name, &bytes[..len]).is_some(), "{name} cut to {len}");
            }
            for (other, other_bytes) in whole() {
                if promised(name.as_bytes()) != promised(other.as_bytes()) {
                    assert!(doubt_of(name, &other_bytes).unwrap().contains("begins as"), "{name} with {other}");
                }
            }
        }
        // Where the head names lengths, a cut anywhere shows.
        for (name, bytes) in whole().into_iter().filter(|(name, _)| ["b.a.webp", "a.mp4", "a.mov"].contains(name)) {
            assert!(doubt_of(name, &bytes[..bytes.len() - 1]).is_some(), "{name}");
        }
        assert!(promised(b"jpg").is_none() && promised(b"a.txt").is_none() && promised(b"a.").is_none());
    }

    /// Nothing that a head may say makes it panic or go on for ever.
    #[test]
    fn any_bytes_may_follow() {
        for (name, bytes) in whole() {
            for at in 0..bytes.len().min(64) {
                for value in [0, 1, 0x7f, 0xc0, 0xda, 0xff] {
                    let mut hurt = bytes.clone();
                    hurt[at] = value;
                    let _ = doubt_of(name, &hurt);
                    let _ = doubt(promised(name.as_bytes()).unwrap(), &hurt[..at], u64::MAX);
                }
            }
        }
    }
}
