//! A library of photos, videos and voice notes, in the folders of WhatsApp and of a camera.
//!
//! Every file can be opened: JPEG, PNG, WebP and Opus decode, PDF and MP4 are valid around content that is noise. Its
//! sizes, kinds and copies are those of a phone; what is in it follows from the seed and the file's number alone.

mod boxes;
mod document;
mod exif;
mod grow;
mod jpeg;
mod kind;
mod mp4;
mod opus;
mod picture;
mod plan;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rayon::prelude::*;

pub use grow::{Growth, grow};
pub use kind::Kind;

use crate::error::Error;
use crate::folder::create_empty;
use crate::random::Random;
use plan::{Period, Planned};

/// How to make a library.
#[derive(Clone, Debug)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// Bytes of all files together; met within 5 % from 20 MB on.
    pub bytes: u64,
    /// Bytes of the new files of a day, for [`grow`].
    pub day_bytes: u64,
}

impl Default for Options {
    /// A gigabyte, and twelve megabytes a day.
    fn default() -> Self {
        Options { seed: 1, bytes: 1_000_000_000, day_bytes: 12_000_000 }
    }
}

/// A number of files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many files.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files and bytes of each kind.
    pub kinds: BTreeMap<Kind, Tally>,
    /// Those among them that hold the same as another.
    pub duplicates: Tally,
    /// Those that lie in WhatsApp's folders.
    pub whatsapp: Tally,
    /// All.
    pub total: Tally,
}

/// Writes a library into `folder`, which is made if need be and must be empty.
///
/// Names and times of modification lie between 2022 and 2024. The same options give the same files.
///
/// # Errors
/// `NotEmpty` if something is in the folder, or what writing runs into.
pub fn generate(folder: &Path, options: &Options) -> Result<Report, Error> {
    create_empty(folder)?;
    let files = plan::plan(options.seed, Period::PAST, options.bytes);
    write_all(folder, files, options.seed)
}

/// Writes one video of `bytes` bytes as a camera writes it, of 1920 by 1080 pixels.
///
/// # Errors
/// `Exists` if there is such a file, or what writing runs into.
pub fn video(path: &Path, bytes: u64, seed: u64) -> Result<(), Error> {
    let failed = || Error::io(path);
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path).map_err(failed())?);
    let taken = Period::PAST.first * plan::DAY;
    let video =
        mp4::Video { width: 1920, height: 1080, bytes, bytes_per_second: 2_125_000, taken, tables_first: false };
    mp4::write(&mut out, &video, &mut Random::stream(seed, "video", 0)).map_err(failed())?;
    out.flush().map_err(failed())
}

/// Writes the planned files on all cores.
fn write_all(folder: &Path, mut files: Vec<Planned>, seed: u64) -> Result<Report, Error> {
    let folders: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.path.rsplit_once('/')?.0)).collect();
    for below in folders {
        let path = folder.join(below);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
    }
    // The largest first, so that no core is left alone with a long video in the end.
    files.sort_by_key(|file| std::cmp::Reverse(file.content.bytes));
    let lens = files
        .par_iter()
        .with_max_len(1)
        .map_init(Vec::new, |buffer, file| {
            create(&folder.join(&file.path), file.modified, |out| file.content.write(out, seed, buffer))
        })
        .collect::<Result<Vec<u64>, Error>>()?;
    let mut report = Report::default();
    for (file, bytes) in files.iter().zip(lens) {
        let kind = file.content.kind;
        let tallies = [
            Some(report.kinds.entry(kind).or_default()),
            file.duplicate.then_some(&mut report.duplicates),
            kind.is_whatsapp().then_some(&mut report.whatsapp),
            Some(&mut report.total),
        ];
        for tally in tallies.into_iter().flatten() {
            tally.files += 1;
            tally.bytes += bytes;
        }
    }
    Ok(report)
}

/// Makes a new file with a time of modification, in seconds since 1970, and returns its length in bytes.
fn create(path: &Path, modified: u64, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<u64, Error> {
    let make = || {
        let mut file = File::create_new(path)?;
        write(&mut file)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(modified))?;
        Ok(file.metadata()?.len())
    };
    make().map_err(Error::io(path))
}
