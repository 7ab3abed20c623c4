//! What a folder holds, down to the byte: the proof that two data sets are the same.
//!
//! On disk a manifest is a text file with one JSON object a line, sorted by the bytes of the path:
//! `{"path":"day-00/msgstore.db","bytes":4096,"blake3":"<64 hex digits>"}`. It lies beside the folder, not in it. The
//! BLAKE3 hash of that file stands for the whole data set, so two machines compare one line. Empty folders, times and
//! permissions do not count.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The most files a manifest may list.
pub const FILES_MAX: usize = 10_000_000;
/// The longest relative path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// The longest line of a manifest, in bytes: JSON writes a control character as six.
const LINE_BYTES_MAX: usize = 6 * PATH_BYTES_MAX + 256;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, parts divided by `/`, at most [`PATH_BYTES_MAX`] bytes.
    pub path: String,
    /// How long the file is.
    pub bytes: u64,
    /// The BLAKE3 hash of the file.
    pub blake3: blake3::Hash,
}

/// The files of a folder and of all folders in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by the bytes of the path, each path once.
    pub files: Vec<Entry>,
}

/// How a folder differs from a manifest; all lists are sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Listed, but not in the folder.
    pub missing: Vec<String>,
    /// In the folder, but not listed.
    pub extra: Vec<String>,
    /// In both, with another length or content.
    pub changed: Vec<String>,
}

impl Differences {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.changed.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Reads and hashes all files of `folder`, on all cores.
    ///
    /// # Errors
    /// Something cannot be read, has a name that is not UTF-8, is neither a file nor a folder, or exceeds a limit.
    pub fn scan(folder: &Path) -> Result<Manifest, Error> {
        let mut paths = Vec::new();
        walk(folder, &mut paths)?;
        paths.sort_unstable();
        let hashed = paths.into_par_iter().map(|path| hash_file(folder, path));
        Ok(Manifest { files: hashed.collect::<Result<_, _>>()? })
    }

    /// Returns how `folder` differs from this manifest; equal if all lists are empty.
    ///
    /// # Errors
    /// As [`Manifest::scan`].
    pub fn verify(&self, folder: &Path) -> Result<Differences, Error> {
        let found = Manifest::scan(folder)?;
        let (mut listed, mut present) = (self.files.iter().peekable(), found.files.iter().peekable());
        let mut differences = Differences::default();
        loop {
            let order = match (listed.peek(), present.peek()) {
                (Some(left), Some(right)) => left.path.cmp(&right.path),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(differences),
            };
            // Both move on if both are at the same path.
            let left = if order.is_le() { listed.next() } else { None };
            let right = if order.is_ge() { present.next() } else { None };
            match (left, right) {
                (Some(left), None) => differences.missing.push(left.path.clone()),
                (None, Some(right)) => differences.extra.push(right.path.clone()),
                (Some(left), Some(right)) if left != right => differences.changed.push(left.path.clone()),
                _ => {}
            }
        }
    }

    /// Returns the bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Returns the BLAKE3 hash of the manifest as [`Manifest::write`] writes it: equal if and only if all files are.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        // A hasher takes everything, so this cannot fail.
        let _ = self.write_to(&mut hasher);
        hasher.finalize()
    }

    /// Writes the manifest to the file `path`, which must not lie in the folder it describes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut out = BufWriter::new(File::create(path).map_err(Error::io(path))?);
        self.write_to(&mut out).and_then(|()| out.flush()).map_err(Error::io(path))
    }

    fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        for Entry { path, bytes, blake3 } in &self.files {
            let line = Line { path: path.clone(), bytes: *bytes, blake3: blake3.to_hex().to_string() };
            out.write_all(&serde_json::to_vec(&line)?)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads a manifest from the file `path`.
    ///
    /// # Errors
    /// The file cannot be read, or one of its lines is no entry, is out of order or exceeds a limit.
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let mut input = BufReader::new(File::open(path).map_err(Error::io(path))?);
        let mut files: Vec<Entry> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let len = input.by_ref().take(limit).read_until(b'\n', &mut line).map_err(Error::io(path))?;
            if len == 0 {
                return Ok(Manifest { files });
            }
            let entry = if len > LINE_BYTES_MAX { Err("is too long".into()) } else { parse(&line) };
            let entry = entry.and_then(|entry| match files.last() {
                Some(last) if last.path >= entry.path => Err("is out of order".into()),
                _ if files.len() == FILES_MAX => Err(format!("is beyond the limit of {FILES_MAX} files")),
                _ => Ok(entry),
            });
            files.push(entry.map_err(|reason| {
                let number = files.len() + 1;
                Error::refused(path, format!("line {number} {reason}; make the manifest anew from the data set"))
            })?);
        }
    }
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| format!("is no entry of a manifest: {error}"))?;
    let blake3 = blake3::Hash::from_hex(&line.blake3).map_err(|error| format!("has no BLAKE3 hash: {error}"))?;
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if line.path.len() > PATH_BYTES_MAX || !line.path.split('/').all(plain) {
        return Err("has a path that no file in a folder can have".into());
    }
    Ok(Entry { path: line.path, bytes: line.bytes, blake3 })
}

/// Adds the relative paths of all files in `folder` to `paths`, in no order.
fn walk(folder: &Path, paths: &mut Vec<String>) -> Result<(), Error> {
    let mut folders = vec![String::new()];
    while let Some(parent) = folders.pop() {
        let here = folder.join(&parent);
        for entry in fs::read_dir(&here).map_err(Error::io(&here))? {
            let entry = entry.map_err(Error::io(&here))?;
            let full: PathBuf = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(Error::refused(&full, "has a name that is not UTF-8; rename or remove it"));
            };
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let kind = entry.file_type().map_err(Error::io(&full))?;
            if path.len() > PATH_BYTES_MAX {
                return Err(Error::refused(
                    &full,
                    format!("has a path of more than {PATH_BYTES_MAX} bytes; shorten it"),
                ));
            } else if kind.is_dir() {
                folders.push(path);
            } else if !kind.is_file() {
                return Err(Error::refused(&full, "is neither a file nor a folder; remove it"));
            } else if paths.len() == FILES_MAX {
                return Err(Error::refused(folder, format!("holds more than {FILES_MAX} files; name a part of it")));
            } else {
                paths.push(path);
            }
        }
    }
    Ok(())
}

fn hash_file(folder: &Path, path: String) -> Result<Entry, Error> {
    let full = folder.join(&path);
    let file = File::open(&full).map_err(Error::io(&full))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(Error::io(&full))?;
    Ok(Entry { path, bytes: hasher.count(), blake3: hasher.finalize() })
}
