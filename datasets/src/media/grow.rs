//! A day in the life of a library: what comes, what is changed, what goes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::mp4::FRAMES;
use super::plan::{DAY, Period, plan};
use super::{Options, Report, boxes, create, exif, write_all};
use crate::error::Error;
use crate::folder::list;
use crate::random::Random;

/// What a day did. Paths are relative to the library's folder, with `/` between their parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// New files with new content.
    pub added: Report,
    /// Copies of older files under new names: from, to.
    pub forwarded: Vec<(String, String)>,
    /// Files with another name in the same folder: from, to.
    pub renamed: Vec<(String, String)>,
    /// Files in another folder: from, to.
    pub moved: Vec<(String, String)>,
    /// Photos with another Exif block, of another length, and the same image.
    pub edited: Vec<String>,
    /// New videos that hold some of the frames of an older one: from, to.
    pub trimmed: Vec<(String, String)>,
    /// Files that are gone.
    pub deleted: Vec<String>,
}

/// Titles that people give to photos.
const TITLES: [&str; 6] = ["Birthday", "At the lake", "Grandma's garden", "Züri", "First day of school", "Football"];
/// Folders that people put photos into.
const ALBUMS: [&str; 4] = ["Summer", "Family", "House", "Best of"];
/// The least of a second's groups of frames that a video must have to be trimmed.
const GROUPS_MIN: usize = 3;

/// Adds a day to the library in `folder`, counted from 1 on, which [`generate`](super::generate) wrote.
///
/// The same state of the folder, day and options give the same changes.
///
/// # Errors
/// `Exists` if the day was added before, or what reading and writing run into.
pub fn grow(folder: &Path, day: u64, options: &Options) -> Result<Growth, Error> {
    let mut random = Random::stream(options.seed, "grow", day);
    let old = list(folder)?;
    let period = Period::day(day);
    let (copies, new) = plan(options.seed, period, options.day_bytes).into_iter().partition(|file| file.duplicate);
    let mut growth = Growth { added: write_all(folder, new, options.seed)?, ..Growth::default() };
    let evening = (period.first * DAY).saturating_add(23 * 3600);
    let mut day = Day { folder, day, evening, random: &mut random, growth: &mut growth };
    for copy in copies {
        day.forward(&old, &copy.path, copy.modified)?;
    }
    let of = |folder: &str, ending: &str| -> Vec<String> {
        old.iter().filter(|path| path.starts_with(folder) && path.ends_with(ending)).cloned().collect()
    };
    day.trim(of("DCIM/", ".mp4"), of("WhatsApp/Media/WhatsApp Video/", ".mp4"))?;
    let mut photos = of("DCIM/Camera/", ".jpg");
    day.edit(&mut photos, options.seed)?;
    day.rename(&mut photos)?;
    day.put_into_album(&mut photos)?;
    let mut rest = of("WhatsApp/", "");
    rest.append(&mut photos);
    day.delete(rest)?;
    Ok(growth)
}

/// A day that is being added.
struct Day<'a> {
    folder: &'a Path,
    day: u64,
    /// When files are edited, in seconds since 1970.
    evening: u64,
    random: &'a mut Random,
    growth: &'a mut Growth,
}

impl Day<'_> {
    /// Copies an older file of the same folder and kind to `to`.
    fn forward(&mut self, old: &[String], to: &str, modified: u64) -> Result<(), Error> {
        let (kind, ending) = (to.split('/').nth(2), to.rsplit('.').next());
        let like = |path: &&String| path.split('/').nth(2) == kind && path.rsplit('.').next() == ending;
        let candidates: Vec<&String> = old.iter().filter(like).collect();
        let Some(from) = self.random.pick_any(&candidates) else { return Ok(()) };
        let target = self.folder.join(to);
        self.make_parent(&target)?;
        let bytes = fs::read(self.folder.join(from)).map_err(Error::io(&self.folder.join(from)))?;
        create(&target, modified, |file| file.write_all(&bytes))?;
        self.growth.forwarded.push(((*from).clone(), to.to_owned()));
        Ok(())
    }

    /// Saves a part of a video of one of these lists as a new one, the first that is long enough.
    fn trim(&mut self, mut camera: Vec<String>, mut whatsapp: Vec<String>) -> Result<(), Error> {
        for _ in 0..10 {
            let next = self.random.take(&mut camera).or_else(|| self.random.take(&mut whatsapp));
            let Some(from) = next else { break };
            let source = self.folder.join(&from);
            let mut video = File::open(&source).map_err(Error::io(&source))?;
            let found = boxes::read(&mut video).map_err(Error::io(&source))?;
            let groups = found.track.sizes.len() / FRAMES as usize;
            if groups < GROUPS_MIN {
                continue;
            }
            // A third of it goes at most, in front or at the end.
            let gone = FRAMES as usize * (1 + self.random.below((groups / 3) as u64) as usize);
            let front = if self.random.below(2) == 0 { gone } else { 0 };
            let mut track = found.track.clone();
            track.sizes = track.sizes[front..front + found.track.sizes.len() - gone].to_vec();
            let before: u64 = found.track.sizes[..front].iter().map(|size| u64::from(*size)).sum();
            let to = format!("{}_trim{}.mp4", from.trim_end_matches(".mp4"), self.day);
            create(&self.folder.join(&to), self.evening, |file| {
                video.seek(SeekFrom::Start(found.begin + before))?;
                let mut out = BufWriter::with_capacity(1 << 20, file);
                track.write(&mut out, found.tables_first, |out, _, size| {
                    let copied = io::copy(&mut (&video).take(u64::from(size)), out)?;
                    if copied < u64::from(size) { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
                })?;
                out.flush()
            })?;
            self.growth.trimmed.push((from, to));
            break;
        }
        Ok(())
    }

    /// Gives one or two of the photos a title.
    fn edit(&mut self, photos: &mut Vec<String>, seed: u64) -> Result<(), Error> {
        for _ in 0..1 + self.random.below(2) {
            let Some(path) = self.random.take(photos) else { break };
            let target = self.folder.join(&path);
            let jpeg = fs::read(&target).map_err(Error::io(&target))?;
            let title = format!("{} {}", self.random.pick(&TITLES), self.day);
            let Some(edited) = exif::edit(&jpeg, seed, &title, self.random) else { continue };
            fs::remove_file(&target).map_err(Error::io(&target))?;
            create(&target, self.evening, |file| file.write_all(&edited))?;
            self.growth.edited.push(path);
        }
        Ok(())
    }

    /// Gives two or three of the photos other names.
    fn rename(&mut self, photos: &mut Vec<String>) -> Result<(), Error> {
        for number in 0..2 + self.random.below(2) {
            let Some(from) = self.random.take(photos) else { break };
            let title = self.random.pick(&TITLES);
            let to = format!("DCIM/Camera/{title} {}-{number}.jpg", self.day);
            self.shift(&from, &to)?;
            self.growth.renamed.push((from, to));
        }
        Ok(())
    }

    /// Moves two to four of the photos into an album.
    fn put_into_album(&mut self, photos: &mut Vec<String>) -> Result<(), Error> {
        let album = self.random.pick(&ALBUMS);
        for _ in 0..2 + self.random.below(3) {
            let Some(from) = self.random.take(photos) else { break };
            let to = from.replacen("Camera", album, 1);
            self.shift(&from, &to)?;
            self.growth.moved.push((from, to));
        }
        Ok(())
    }

    /// Deletes three to six of the files.
    fn delete(&mut self, mut files: Vec<String>) -> Result<(), Error> {
        for _ in 0..3 + self.random.below(4) {
            let Some(path) = self.random.take(&mut files) else { break };
            let target = self.folder.join(&path);
            fs::remove_file(&target).map_err(Error::io(&target))?;
            self.growth.deleted.push(path);
        }
        Ok(())
    }

    fn shift(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        self.make_parent(&to)?;
        fs::rename(&from, &to).map_err(Error::io(&from))
    }

    fn make_parent(&self, path: &Path) -> Result<(), Error> {
        let parent = path.parent().unwrap_or(self.folder);
        fs::create_dir_all(parent).map_err(Error::io(parent))
    }
}
