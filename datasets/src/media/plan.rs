//! What a library holds: which files of which kind, how large, from when, under which names.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};

use super::kind::Kind;
use crate::random::Random;

/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;
/// The first day of a library, 2022-01-01, in days since 1970.
const FIRST_DAY: u64 = 18_993;
/// The days that it covers at first: three years, to 2024-12-31.
const DAYS: u64 = 1_096;
/// Of 100 files in WhatsApp's folders, so many are copies of others.
const DUPLICATES_PERCENT: u64 = 12;
/// Of WhatsApp's files, those that the owner of the phone sent.
const SENT_PERCENT: u64 = 30;
/// No file takes more than this share of what its kind takes.
const LARGEST_PERCENT: u64 = 60;

/// What a file holds. Equal values stand for equal bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// Its kind.
    pub kind: Kind,
    /// Which one of its kind.
    pub index: u64,
    /// The seed that its bytes follow from.
    pub seed: u64,
    /// Its length, roughly where the kind says so.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub taken: u64,
}

/// A file to be written.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// Its path below the library's folder.
    pub path: String,
    /// Its time of modification, in seconds since 1970.
    pub modified: u64,
    /// What it holds.
    pub content: Content,
    /// Whether another file of the plan holds the same.
    pub duplicate: bool,
}

/// A span of days to fill with files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    /// The first day, counted from 1970.
    pub first: u64,
    /// How many days.
    pub days: u64,
}

impl Period {
    /// What a library covers when it is made.
    pub const PAST: Period = Period { first: FIRST_DAY, days: DAYS };

    /// The `day`th day after that, counted from 1.
    pub fn day(day: u64) -> Period {
        Period { first: (FIRST_DAY + DAYS - 1).saturating_add(day.min(1 << 20)), days: 1 }
    }

    /// Returns a waking hour of one of the days, in seconds since 1970.
    pub fn draw(&self, random: &mut Random) -> u64 {
        (self.first + random.below(self.days)) * DAY + 7 * 3600 + random.below(16 * 3600)
    }
}

/// Plans files of together `bytes` bytes, in the order of their dates.
pub(crate) fn plan(seed: u64, period: Period, bytes: u64) -> Vec<Planned> {
    let mut random = Random::stream(seed, "plan", period.first);
    let mut files = Vec::new();
    let mut whatsapp = 0;
    let mut copies = 0;
    let mut planned = 0;
    let mut shares = 0;
    for kind in Kind::ALL {
        shares += kind.percent();
        // What one kind leaves over or takes too much is made up by the next, in the end by the videos.
        let budget = (u128::from(bytes) * u128::from(shares) / 100) as u64;
        let largest = bytes * kind.percent() / 100 * LARGEST_PERCENT / 100;
        let first = files.len();
        loop {
            let left = budget.saturating_sub(planned);
            let due = kind.is_whatsapp() && whatsapp * DUPLICATES_PERCENT / 100 > copies;
            let original = due.then(|| random.pick_any(&files[first..])).flatten().map(|file: &Planned| file.content);
            let drawn = random.quantile(kind.quantiles()).min(largest.max(kind.bytes_min()));
            let content = original.unwrap_or(Content {
                kind,
                index: (files.len() - first) as u64,
                seed: Random::stream(seed, "content", period.first).next(),
                bytes: if kind.is_exact() && left < drawn + kind.bytes_min() { left } else { drawn },
                taken: period.draw(&mut random),
            });
            if left < if kind.is_exact() { kind.bytes_min() } else { content.bytes / 2 } {
                break;
            }
            planned += content.bytes;
            whatsapp += u64::from(kind.is_whatsapp());
            copies += u64::from(original.is_some());
            let modified = if original.is_some() { period.draw(&mut random) } else { content.taken };
            files.push(Planned { path: String::new(), modified, content, duplicate: original.is_some() });
        }
    }
    files.sort_by_key(|file| file.modified);
    name(&mut files, &mut random);
    files
}

/// Names the files, which are in the order of their dates: WhatsApp counts by day, cameras name the second.
fn name(files: &mut [Planned], random: &mut Random) {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = 0;
    for file in files {
        let kind = file.content.kind;
        if kind.is_whatsapp() {
            let count = counts.entry(file.modified / DAY).or_default();
            file.path = whatsapp_path(kind, file.modified, *count, random.below(100) < SENT_PERCENT);
            *count += 1;
        } else {
            // No two are taken in the same second.
            file.modified = file.modified.max(last + 1);
            last = file.modified;
            if !file.duplicate {
                file.content.taken = file.modified;
            }
            file.path = kind.path(&civil(file.modified).strftime("%Y%m%d_%H%M%S").to_string());
        }
    }
}

/// Returns the path that WhatsApp gives to the `count`th file of a day.
pub(crate) fn whatsapp_path(kind: Kind, modified: u64, count: u64, sent: bool) -> String {
    let at = civil(modified);
    let name = kind.path(&format!("{}-WA{count:04}", at.strftime("%Y%m%d")));
    let Some((folder, name)) = name.rsplit_once('/') else { return name };
    match kind {
        Kind::VoiceNote => {
            let week = at.date().iso_week_date();
            format!("{folder}/{:04}{:02}/{name}", week.year(), week.week())
        }
        Kind::Image | Kind::Video | Kind::Document if sent => format!("{folder}/Sent/{name}"),
        _ => format!("{folder}/{name}"),
    }
}

/// Returns date and time, of no particular place.
pub(crate) fn civil(seconds: u64) -> DateTime {
    date(1970, 1, 1).at(0, 0, 0, 0).saturating_add(SignedDuration::from_secs(seconds as i64))
}
