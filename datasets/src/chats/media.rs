//! The row that `message_media` has for a picture, a voice note or another file, and its thumbnail.

use rusqlite::{Connection, Statement, params};

use crate::random::Random;

/// What a message is.
pub(super) struct Kind {
    /// `message_type`
    pub(super) number: i64,
    /// What the full-text table files it under.
    pub(super) namespace: &'static str,
    /// How many of a thousand messages are of this kind.
    share: u64,
    /// How many of a thousand of them have a thumbnail.
    thumbnails: u64,
    /// How many of a thousand of them have a caption.
    pub(super) captions: u64,
    folder: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    mime: &'static str,
    /// The smallest and the largest file.
    bytes: (u64, u64),
}

/// The kind of messages that are text and nothing else.
pub(super) const TEXT: i64 = 0;
/// The kind of messages that their sender took back.
pub(super) const REVOKED: i64 = 15;

#[rustfmt::skip]
const KINDS: [Kind; 7] = [
    Kind { number: TEXT, namespace: "text", share: 0, thumbnails: 500, captions: 0, folder: "", prefix: "", suffix: "",
           mime: "", bytes: (0, 0) },
    Kind { number: 1, namespace: "image", share: 20, thumbnails: 1000, captions: 200, folder: "WhatsApp Images/",
           prefix: "IMG", suffix: "jpg", mime: "image/jpeg", bytes: (40_000, 300_000) },
    Kind { number: 20, namespace: "sticker", share: 14, thumbnails: 0, captions: 0, folder: "WhatsApp Stickers/",
           prefix: "STK", suffix: "webp", mime: "image/webp", bytes: (10_000, 100_000) },
    Kind { number: 2, namespace: "audio", share: 10, thumbnails: 0, captions: 0, folder: "WhatsApp Voice Notes/",
           prefix: "PTT", suffix: "opus", mime: "audio/ogg; codecs=opus", bytes: (4_000, 120_000) },
    Kind { number: 3, namespace: "video", share: 6, thumbnails: 1000, captions: 150, folder: "WhatsApp Video/",
           prefix: "VID", suffix: "mp4", mime: "video/mp4", bytes: (300_000, 16_000_000) },
    Kind { number: 13, namespace: "gif", share: 2, thumbnails: 1000, captions: 0, folder: "WhatsApp Animated Gifs/",
           prefix: "VID", suffix: "mp4", mime: "video/mp4", bytes: (50_000, 800_000) },
    Kind { number: 9, namespace: "document", share: 3, thumbnails: 400, captions: 100, folder: "WhatsApp Documents/",
           prefix: "DOC", suffix: "pdf", mime: "application/pdf", bytes: (30_000, 5_000_000) },
];

/// How many of a thousand media are the same file as an earlier one: forwards.
const FORWARDS_PER_MILLE: u64 = 120;
/// The smallest thumbnail, and by how much the largest is larger, in bytes.
const THUMBNAIL_BYTES: (u64, u64) = (2000, 2600);

impl Kind {
    /// Draws what a message is.
    pub(super) fn draw(random: &mut Random) -> &'static Kind {
        let mut drawn = random.below(1000);
        for kind in &KINDS[1..] {
            if drawn < kind.share {
                return kind;
            }
            drawn -= kind.share;
        }
        &KINDS[0]
    }

    /// Draws whether a message has a thumbnail; texts have one only if they hold a link.
    pub(super) fn has_thumbnail(&self, random: &mut Random, text: Option<&str>) -> bool {
        random.chance(self.thumbnails) && (self.number != TEXT || text.is_some_and(|text| text.contains("https://")))
    }
}

/// Fills `out` with 2 to 4.6 KB that begin like a JPEG and do not compress.
pub(super) fn thumbnail(random: &mut Random, out: &mut Vec<u8>) {
    let (least, more) = THUMBNAIL_BYTES;
    out.resize((least + random.below(more)) as usize, 0);
    random.fill(out);
    let head = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xdb\0\x43\0";
    out[..head.len()].copy_from_slice(head);
}

/// Returns `len` random digits of base 64.
pub(super) fn base64(random: &mut Random, len: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(len + 1);
    while out.len() < len {
        let bits = random.next();
        (0..10.min(len - out.len())).for_each(|at| out.push(char::from(DIGITS[(bits >> (6 * at)) as usize % 64])));
    }
    out
}

/// Returns what stands for a SHA-256 hash in base 64.
fn hash(random: &mut Random) -> String {
    base64(random, 43) + "="
}

/// Returns a day as `YYYYMMDD`, given as milliseconds since 1970 ("chrono-Compatible Low-Level Date Algorithms",
/// Howard Hinnant, 2013).
fn date(time: i64) -> String {
    let days = time.div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    format!("{:04}{month:02}{day:02}", year_of_era + era * 400 + i64::from(month <= 2))
}

/// When and where a medium was sent.
pub(super) struct Sent {
    pub(super) message_row: i64,
    pub(super) chat_row: i64,
    pub(super) from_me: bool,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The how-manieth message of its day it is.
    pub(super) index: u64,
}

/// What is the same in all messages with the same file.
struct File {
    path: String,
    bytes: i64,
    hash: String,
    width: i64,
    height: i64,
    seconds: i64,
}

/// The statements that write media.
pub(super) struct Media<'c> {
    insert: Statement<'c>,
    earlier: Statement<'c>,
    refer: Statement<'c>,
}

impl<'c> Media<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Media<'c>> {
        let insert = "INSERT INTO message_media (message_row_id, chat_row_id, autotransfer_retry_enabled, media_job_uuid,
            transferred, transcoded, file_path, file_size, suspicious_content, trim_from, trim_to, face_x, face_y,
            media_key, media_key_timestamp, width, height, has_streaming_sidecar, gif_attribution,
            thumbnail_height_width_ratio, direct_path, first_scan_length, message_url, mime_type, file_length, media_name,
            file_hash, media_duration, page_count, enc_file_hash, is_animated_sticker, original_file_hash)
            VALUES (?1, ?2, 0, ?3, 1, 0, ?4, ?5, 0, 0, 0, 0, 0, ?6, ?7, ?8, ?9, 0, 0, ?10, ?11, 0, ?12, ?13, ?5, ?14, ?15,
            ?16, ?17, ?18, ?19, ?20)";
        let earlier = "SELECT file_path, file_size, file_hash, width, height, media_duration FROM message_media
            WHERE message_row_id <= ?1 ORDER BY message_row_id DESC LIMIT 1";
        let refer = "INSERT INTO media_refs (path, ref_count) VALUES (?1, 1)
            ON CONFLICT (path) DO UPDATE SET ref_count = ref_count + 1";
        Ok(Media {
            insert: connection.prepare(insert)?,
            earlier: connection.prepare(earlier)?,
            refer: connection.prepare(refer)?,
        })
    }

    /// Writes the rows of a medium; every eighth or so is a forward of an earlier one.
    pub(super) fn write(&mut self, random: &mut Random, kind: &Kind, sent: &Sent) -> rusqlite::Result<()> {
        let forward = if random.chance(FORWARDS_PER_MILLE) { self.some_earlier(random, kind, sent)? } else { None };
        let file = forward.unwrap_or_else(|| new_file(random, kind, sent));
        self.refer.execute([&file.path])?;
        let mut key = [0; 32];
        random.fill(&mut key);
        let job = sent.from_me.then(|| {
            let (high, low) = (random.next(), random.next());
            format!("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", high >> 32, high & 0xffff, low >> 52, low >> 48, low >> 16)
        });
        let direct = format!(
            "/v/t62.{}-24/{}_{}_{}_n.enc?ccb=11-4&oh=01_{}&oe={:08X}&_nc_sid=5e03e0",
            7100 + kind.number,
            random.below(100_000_000),
            random.below(1_000_000_000_000_000),
            random.below(10_000_000_000_000_000_000),
            base64(random, 44).replace(['+', '/'], "_"),
            random.below(1 << 32),
        );
        let name = (kind.number == 9).then(|| file.path.rsplit('/').next().unwrap_or_default().to_owned());
        self.insert.execute(params![
            sent.message_row,
            sent.chat_row,
            job,
            file.path,
            file.bytes,
            key,
            sent.time - random.below(60_000) as i64,
            file.width,
            file.height,
            if file.width == 0 { None } else { Some(file.height as f64 / file.width as f64) },
            direct,
            format!("https://mmg.whatsapp.net{direct}&mms3=true"),
            kind.mime,
            name,
            file.hash,
            file.seconds,
            if kind.number == 9 { Some(1 + random.below(30) as i64) } else { None },
            hash(random),
            i64::from(kind.number == 20),
            sent.from_me.then_some(&file.hash),
        ])?;
        Ok(())
    }

    /// Returns the file of an earlier message if it is of this kind, which its name tells.
    fn some_earlier(&mut self, random: &mut Random, kind: &Kind, sent: &Sent) -> rusqlite::Result<Option<File>> {
        let row = sent.message_row - 1 - random.skewed(sent.message_row as u64) as i64;
        let mut rows = self.earlier.query([row])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let file = File {
            path: row.get(0)?,
            bytes: row.get(1)?,
            hash: row.get(2)?,
            width: row.get(3)?,
            height: row.get(4)?,
            seconds: row.get(5)?,
        };
        Ok(file.path.contains(kind.folder).then_some(file))
    }
}

fn new_file(random: &mut Random, kind: &Kind, sent: &Sent) -> File {
    let date = date(sent.time);
    let inner = match kind.number {
        2 => format!("{}/", &date[..6]),
        _ if sent.from_me && matches!(kind.number, 1 | 3 | 9) => "Sent/".into(),
        _ => String::new(),
    };
    let (least, most) = kind.bytes;
    let bytes = (least + random.below(most - least)) as i64;
    let seen = matches!(kind.number, 1 | 3 | 13 | 20);
    let (width, height) = match (seen, random.below(5)) {
        (false, _) => (0, 0),
        (true, 0 | 1) => (1600, 1200),
        (true, 2 | 3) => (1200, 1600),
        _ => (1080, 1080 + random.below(840) as i64),
    };
    let seconds = match kind.number {
        2 => bytes / 2000,
        3 | 13 => 3 + random.below(90) as i64,
        _ => 0,
    };
    let path = format!("Media/{}{inner}{}-{date}-WA{:04}.{}", kind.folder, kind.prefix, sent.index, kind.suffix);
    File { path, bytes, hash: hash(random), width, height, seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Checked with `date -u -d @…`.
        for (seconds, expected) in [(0, "19700101"), (951_782_400, "20000229"), (1_709_251_199, "20240229")] {
            assert_eq!(date(seconds * 1000), expected);
        }
    }

    #[test]
    fn thumbnails_look_like_jpegs_of_2_to_4_6_kilobytes() {
        let (mut random, mut bytes) = (Random(2), Vec::new());
        for _ in 0..1000 {
            thumbnail(&mut random, &mut bytes);
            assert!((2000..4600).contains(&bytes.len()) && bytes.starts_with(b"\xff\xd8\xff"));
        }
    }
}
