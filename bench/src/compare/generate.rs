//! Makes the data where none is given, from a seed: the same bytes on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use daykeep_datasets::{chats, files, media, versions};
use tempfile::TempDir;

use super::interrupt::Interrupt;
use super::place::{self, room_bytes};
use super::{Error, Preset, note, tree};

/// How much of each kind.
struct Amounts {
    media_bytes: u64,
    video_bytes: u64,
    small_files: u64,
    messages: u64,
    messages_per_day: u64,
    releases: u64,
    version_files: u64,
    library_bytes: u64,
    library_day_bytes: u64,
    month_files: u64,
    /// All of it together, about.
    total_bytes: u64,
}

impl Amounts {
    const fn of(preset: Preset) -> Self {
        match preset {
            Preset::Quick => Self {
                media_bytes: 160_000_000,
                video_bytes: 190_000_000,
                small_files: 5_000,
                messages: 36_000,
                messages_per_day: 500,
                releases: 4,
                version_files: 400,
                library_bytes: 25_000_000,
                library_day_bytes: 3_000_000,
                month_files: 600,
                total_bytes: 1_150_000_000,
            },
            Preset::Full => Self {
                media_bytes: 1_000_000_000,
                video_bytes: 1_500_000_000,
                small_files: 200_000,
                messages: 600_000,
                messages_per_day: 3_000,
                releases: 8,
                version_files: 2_500,
                library_bytes: 300_000_000,
                library_day_bytes: 12_000_000,
                month_files: 2_500,
                total_bytes: 12_100_000_000,
            },
        }
    }
}

/// A week follows the first day.
const DAYS: u64 = 7;
/// Days of the month, the first included.
const MONTH_DAYS: u64 = 30;
const SEED: u64 = 1;

/// A folder with data, which is removed with this if it was made here.
pub struct DataFolder {
    /// Where it is.
    pub path: PathBuf,
    _made: Option<TempDir>,
}

/// Returns the folder with the data: the given one as it is if something is in it, filled if it is empty; a temporary one
/// if none is given.
///
/// # Errors
/// The folder is not there or something else, there is too little space, or the data cannot be written.
pub fn prepare(folder: Option<&Path>, preset: Preset, interrupt: &Interrupt) -> Result<DataFolder, Error> {
    if let Some(folder) = folder {
        if !folder.is_dir() {
            return Err(Error::Request(format!(
                "{} is not a folder: name one with media, video, chats/day-NN, small, versions/release-NN, \
                 library/day-NN or month/day-NN in it, an empty one to be filled, or any folder with --media",
                folder.display()
            )));
        }
        if fs::read_dir(folder).map_err(Error::file("read", folder))?.next().is_none() {
            fill(folder, preset, interrupt)?;
        }
        return Ok(DataFolder { path: folder.to_owned(), _made: None });
    }
    let need = Amounts::of(preset).total_bytes;
    let base = place::base(None, need);
    let made = tempfile::Builder::new().prefix("daykeep-data-").tempdir_in(&base);
    let made = made.map_err(Error::file("create a folder in", &base))?;
    fill(made.path(), preset, interrupt)?;
    Ok(DataFolder { path: made.path().to_owned(), _made: Some(made) })
}

/// Says that data could not be made.
fn failed(error: daykeep_datasets::error::Error) -> Error {
    Error::Request(format!("cannot write the data: {error}"))
}

fn fill(folder: &Path, preset: Preset, interrupt: &Interrupt) -> Result<(), Error> {
    let amounts = Amounts::of(preset);
    let room = room_bytes(folder)?;
    if room < amounts.total_bytes {
        return Err(Error::Request(format!(
            "{} has room for {} and the data needs about {}: free some space, or name another folder with --data",
            folder.display(),
            super::report::text::bytes(room),
            super::report::text::bytes(amounts.total_bytes)
        )));
    }
    note(&format!("making the data, about {}", super::report::text::bytes(amounts.total_bytes)));
    media::generate(&folder.join("media"), &media::Options { bytes: amounts.media_bytes, ..media::Options::default() })
        .map_err(failed)?;
    interrupt.check()?;
    let video = folder.join("video");
    fs::create_dir(&video).map_err(Error::file("create", &video))?;
    media::video(&video.join("video.mp4"), amounts.video_bytes, SEED).map_err(failed)?;
    let options = files::Options { seed: SEED, count: amounts.small_files, ..files::Options::default() };
    files::generate(&folder.join("small"), &options).map_err(failed)?;
    interrupt.check()?;
    let options = chats::Options { seed: SEED, messages: amounts.messages, messages_per_day: amounts.messages_per_day };
    chats::write_days(&folder.join("chats"), &options, DAYS, false).map_err(failed)?;
    interrupt.check()?;
    let options = versions::Options { seed: SEED, releases: amounts.releases, files: amounts.version_files };
    versions::generate(&folder.join("versions"), &options).map_err(failed)?;
    library(&folder.join("library"), &amounts, interrupt)?;
    month(&folder.join("month"), &amounts, interrupt)
}

/// A library that grows day by day, each day in a folder of its own.
fn library(folder: &Path, amounts: &Amounts, interrupt: &Interrupt) -> Result<(), Error> {
    let options = media::Options { seed: SEED + 1, bytes: amounts.library_bytes, day_bytes: amounts.library_day_bytes };
    days(folder, DAYS + 1, interrupt, |path, day| match day {
        0 => media::generate(path, &options).map(drop),
        day => media::grow(path, day, &options).map(drop),
    })
}

/// A source tree that is worked on every day: a tenth of its files is edited, some come, go and get other names.
fn month(folder: &Path, amounts: &Amounts, interrupt: &Interrupt) -> Result<(), Error> {
    let options = versions::Options { seed: SEED + 2, releases: MONTH_DAYS, files: amounts.month_files };
    days(folder, MONTH_DAYS, interrupt, |path, day| versions::advance(path, day + 1, &options).map(drop))
}

/// Makes `count` folders, each a copy of the one before that `advance` turns into the next state; the first from nothing.
fn days(
    folder: &Path,
    count: u64,
    interrupt: &Interrupt,
    advance: impl Fn(&Path, u64) -> Result<(), daykeep_datasets::error::Error>,
) -> Result<(), Error> {
    let day_folder = |day: u64| folder.join(format!("day-{day:02}"));
    fs::create_dir(folder).map_err(Error::file("create", folder))?;
    for day in 0..count {
        interrupt.check()?;
        if day > 0 {
            tree::copy(&day_folder(day - 1), &day_folder(day), interrupt)?;
        }
        advance(&day_folder(day), day).map_err(failed)?;
    }
    Ok(())
}
