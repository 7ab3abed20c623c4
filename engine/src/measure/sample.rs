//! What is measured with: files found below a folder, a choice of pieces of them, and a few of those pieces in memory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::base::limits::MIB;
use crate::chunk::{SNIFF_BYTES, sniff};
use crate::error::{Error, Result};
use crate::format::tree::Class;
use crate::measure::options::MeasureOptions;

/// The most files that are looked at; a list of them takes some megabytes.
const FILES_MAX: usize = 50_000;
/// The longest that is looked for them.
const FIND_TIME_MAX: Duration = Duration::from_secs(3);
/// The length of the pieces that are kept in memory.
const LOADED_PIECE_BYTES: u64 = MIB as u64;
/// How many places are tried for them at most.
const PLACES_MAX: u64 = 1 << 16;

/// A regular file with something in it.
pub(super) struct FoundFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// The bytes of all files before it.
    before: u64,
}

/// The files below a folder.
pub(super) struct Found {
    pub files: Vec<FoundFile>,
    pub bytes: u64,
    /// Folders and files that could not be looked at, and why the first could not.
    pub unreadable: u64,
    first_error: Option<(PathBuf, io::Error)>,
    /// Whether these are all files there are.
    pub is_whole: bool,
}

impl Found {
    /// Lists the file or the files of the folder `root`, without following links below it.
    ///
    /// # Errors
    /// `File` if `root` cannot be looked at; `NothingToBackUp` if there is nothing to read; `Cancelled`.
    pub fn list(root: &Path, options: &MeasureOptions) -> Result<Self> {
        let failed = |source| Error::File { path: root.to_owned(), action: "measure with it", source };
        let metadata = fs::metadata(root).map_err(failed)?;
        let mut found = Self { files: Vec::new(), bytes: 0, unreadable: 0, first_error: None, is_whole: true };
        if metadata.is_dir() {
            found.walk(root, options)?;
        } else if metadata.is_file() {
            found.add(root.to_owned(), metadata.len());
        } else {
            return Err(nothing(root, "is neither a file nor a folder".into()));
        }
        if !found.files.is_empty() {
            return Ok(found);
        }
        Err(match found.first_error {
            Some((path, error)) => nothing(&path, error.to_string()),
            None => {
                let reason = "no file there has anything in it; name another folder, or none for generated data";
                nothing(root, reason.into())
            }
        })
    }

    fn walk(&mut self, root: &Path, options: &MeasureOptions) -> Result<()> {
        let begun = Instant::now();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.note(folder, error);
                    continue;
                }
            };
            for entry in entries {
                options.check_cancel()?;
                if self.files.len() >= FILES_MAX || begun.elapsed() > FIND_TIME_MAX {
                    self.is_whole = false;
                    return Ok(());
                }
                match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
                    Ok((metadata, entry)) if metadata.is_dir() => folders.push(entry.path()),
                    Ok((metadata, entry)) if metadata.is_file() => self.add(entry.path(), metadata.len()),
                    Ok(_) => {}
                    Err(error) => self.note(folder.clone(), error),
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, bytes: u64) {
        if bytes > 0 {
            self.files.push(FoundFile { path, bytes, before: self.bytes });
            self.bytes += bytes;
        }
    }

    fn note(&mut self, path: PathBuf, error: io::Error) {
        self.unreadable += 1;
        self.first_error.get_or_insert((path, error));
    }

    /// Chooses pieces of at most `piece_bytes` bytes each: all there are if they come to no more than `bytes_max`,
    /// otherwise about as many, spread evenly over all bytes, so that every byte is as likely as any other.
    pub fn pieces(&self, piece_bytes: u64, bytes_max: u64) -> Vec<Piece<'_>> {
        if self.bytes <= bytes_max {
            return self.window(0, self.bytes, piece_bytes);
        }
        // All files in a row are cut into windows, of which a small file takes a part and a large one many.
        let windows = self.bytes.div_ceil(piece_bytes);
        let wanted = bytes_max.div_ceil(piece_bytes).min(windows);
        let mut taken = HashSet::new();
        let mut pieces = Vec::new();
        for place in 0..PLACES_MAX {
            // Multiples of the golden ratio, modulo one: wherever one stops, the places are spread (Knuth, TAOCP 6.4).
            let fraction = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let window = ((u128::from(fraction) * u128::from(windows)) >> 64) as u64;
            if taken.insert(window) {
                let begin = window * piece_bytes;
                pieces.extend(self.window(begin, self.bytes.min(begin + piece_bytes), piece_bytes));
            }
            if taken.len() as u64 >= wanted {
                break;
            }
        }
        pieces
    }

    /// Returns the pieces between two places of all files in a row, the end excluded.
    fn window(&self, begin: u64, end: u64, piece_bytes: u64) -> Vec<Piece<'_>> {
        let first = self.files.partition_point(|file| file.before + file.bytes <= begin);
        let mut pieces = Vec::new();
        for file in self.files[first..].iter().take_while(|file| file.before < end) {
            let from = begin.saturating_sub(file.before);
            let to = file.bytes.min(end - file.before);
            for offset in (from..to).step_by(piece_bytes as usize) {
                pieces.push(Piece { file, offset, bytes: piece_bytes.min(to - offset) });
            }
        }
        pieces
    }

    /// Reads pieces of the files into `buffer`, `bytes_max` bytes or a little more.
    ///
    /// # Errors
    /// `NothingToBackUp` if none can be read; `Cancelled`.
    pub fn load<'a>(
        &self,
        bytes_max: u64,
        buffer: &'a mut Vec<u8>,
        options: &MeasureOptions,
    ) -> Result<Vec<Loaded<'a>>> {
        let pieces = self.pieces(LOADED_PIECE_BYTES, bytes_max);
        *buffer = vec![0; pieces.iter().map(|piece| piece.bytes as usize).sum()];
        let mut rest = buffer.as_mut_slice();
        let mut loaded = Vec::new();
        let mut last_error = None;
        for piece in pieces {
            options.check_cancel()?;
            let (own, others) = rest.split_at_mut(piece.bytes as usize);
            rest = others;
            match piece.load(own) {
                Ok(piece) if !piece.bytes.is_empty() => loaded.push(piece),
                Ok(_) => {}
                Err(error) => last_error = Some((piece.file.path.clone(), error)),
            }
        }
        match (loaded.is_empty(), last_error) {
            (false, _) => Ok(loaded),
            (true, Some((path, error))) => Err(nothing(&path, error.to_string())),
            (true, None) => Err(nothing(&self.files[0].path, "it became empty meanwhile".into())),
        }
    }
}

fn nothing(path: &Path, reason: String) -> Error {
    Error::NothingToBackUp { path: path.display().to_string(), reason }
}

/// A run of a file's bytes.
pub(super) struct Piece<'a> {
    pub file: &'a FoundFile,
    pub offset: u64,
    pub bytes: u64,
}

/// Opens a file that was found, without touching the time of last access where that may be asked for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let open = |flags: OFlags| OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    // Should a pipe have taken the file's place, opening it must not wait for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match open(flags | OFlags::NOATIME) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(flags),
        outcome => outcome,
    }
}

/// Reads up to `buffer.len()` bytes from `offset` on; fewer only where the file ends.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Piece<'_> {
    fn load<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Loaded<'b>> {
        let file = open(&self.file.path)?;
        let mut head = [0; SNIFF_BYTES];
        let head_bytes = read_at(&file, &mut head, 0)?;
        let count = read_at(&file, buffer, self.offset)?;
        Ok(Loaded { head, head_bytes, bytes: &buffer[..count] })
    }
}

/// A piece of a file in memory, with the file's first bytes, which say how it is cut.
pub(super) struct Loaded<'a> {
    head: [u8; SNIFF_BYTES],
    head_bytes: usize,
    pub bytes: &'a [u8],
}

impl Loaded<'_> {
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_bytes]
    }

    pub fn class(&self) -> Class {
        sniff(self.head()).class
    }
}
