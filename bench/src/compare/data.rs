//! The data that is backed up: prepared folders, by their names.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// How many days or releases are looked at, at most.
const STATES_MAX: usize = 100;

/// The prepared folders. What is not there is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// `media`: photos, videos, voice notes.
    pub media: Option<PathBuf>,
    /// `video`: a folder with one large file.
    pub video: Option<PathBuf>,
    /// `small`: many small files.
    pub small: Option<PathBuf>,
    /// `chats/day-NN`: the chat database of each day.
    pub chats: Vec<PathBuf>,
    /// `versions/release-NN`: a source tree in several releases.
    pub versions: Vec<PathBuf>,
    /// `library/day-NN`: a library of media that grows.
    pub library: Vec<PathBuf>,
    /// `month/day-NN`: a source tree on each day of a month.
    pub month: Vec<PathBuf>,
}

/// What a folder that is given with `--data` may have in it.
pub const STRUCTURE: &str = "media, video, chats/day-NN, small, versions/release-NN, library/day-NN, month/day-NN";

impl Data {
    /// Finds what there is in `folder`; where that is nothing, says what to do.
    ///
    /// # Errors
    /// `folder` is not there, cannot be read, or has none of the prepared folders.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let data = Self::look(folder)?;
        if data == Self::default() {
            let folder = folder.display();
            return Err(Error::Request(format!(
                "{folder} has none of the prepared folders ({STRUCTURE}): to compare with the files in it as they are, \
                 say --media {folder}; to have data made, name an empty folder or leave --data out"
            )));
        }
        Ok(data)
    }

    /// Takes any folder as the media.
    ///
    /// # Errors
    /// It is not there, no folder, or empty.
    pub fn with_media(self, folder: &Path) -> Result<Self, Error> {
        let failed = || Error::file("use the folder given with --media,", folder);
        // Canonical: some tools store paths without links.
        let path = folder.canonicalize().map_err(failed())?;
        if fs::read_dir(&path).map_err(failed())?.next().is_none() {
            return Err(Error::Request(format!("--media {}: there is nothing in it", folder.display())));
        }
        Ok(Self { media: Some(path), ..self })
    }

    /// Finds what there is in `folder`, which may be nothing.
    ///
    /// # Errors
    /// `folder` is not there or cannot be read.
    pub fn look(folder: &Path) -> Result<Self, Error> {
        // Canonical: some tools store paths without links.
        let folder = folder.canonicalize().map_err(Error::file("find", folder))?;
        let one = |name: &str| Some(folder.join(name)).filter(|path| path.is_dir());
        Ok(Self {
            media: one("media"),
            video: one("video"),
            small: one("small"),
            chats: states(&folder.join("chats"), "day-")?,
            versions: states(&folder.join("versions"), "release-")?,
            library: states(&folder.join("library"), "day-")?,
            month: states(&folder.join("month"), "day-")?,
        })
    }
}

/// Returns the folders in `folder` whose names begin with `prefix`, in the order of their names.
fn states(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = || Error::file("read", folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    if found.len() > STATES_MAX {
        return Err(Error::Request(format!("{} has more than {STATES_MAX} folders {prefix}NN", folder.display())));
    }
    Ok(found)
}
