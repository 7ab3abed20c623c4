//! Looks through the bytes of a damaged file for what may be objects. The files of a directory are taken for one, one after
//! the other.

use std::cell::RefCell;
use std::fs::{DirEntry, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::base::limits::{MIB, PACK_BYTES_MAX, SECTOR_BYTES};
use crate::base::{CancelToken, shown_path};
use crate::error::{Error, Result};
use crate::format::header::{self, FORMAT_VERSION, HEADER_BYTES, Header};
use crate::format::pack::{self, TRAILER_BYTES};

/// So much is looked through at once.
const WINDOW_BYTES: usize = 4 * MIB;
/// Folders of a repository lie one in the other, no deeper.
const DEPTH_MAX: usize = 4;
/// So many ends are tried for a pack.
const ENDS_MAX: usize = 16;

/// Bytes of which some may not be readable.
pub struct Damaged {
    /// Where each file begins, ascending, and the file.
    parts: Vec<(u64, PathBuf)>,
    /// The one that was read last.
    open: RefCell<Option<(usize, File)>>,
    /// How many there are.
    pub bytes: u64,
}

impl Damaged {
    /// Opens the file, or the files of the directory, at `path`, for reading only.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File { path: path.to_owned(), action: "read it", source };
        let mut damaged = Self { parts: Vec::new(), open: RefCell::new(None), bytes: 0 };
        let metadata = path.metadata().map_err(failed)?;
        if metadata.is_file() {
            // Whoever may not read it is told so.
            File::open(path).map_err(failed)?;
            damaged.add(path.to_owned(), metadata.len());
        } else if metadata.is_dir() {
            damaged.add_files_of(path, 0).map_err(failed)?;
        } else {
            let reason = format!("{}: is neither a file nor a directory; check the path", shown_path(path));
            return Err(Error::InvalidOption { option: "rescue", reason });
        }
        Ok(damaged)
    }

    /// Each begins at a whole sector, as in a file system.
    fn add(&mut self, path: PathBuf, bytes: u64) {
        self.parts.push((self.bytes, path));
        self.bytes = (self.bytes + bytes).next_multiple_of(SECTOR_BYTES as u64);
    }

    fn add_files_of(&mut self, folder: &Path, depth: usize) -> std::io::Result<()> {
        let mut entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let outcome = entry.metadata().and_then(|found| match found.file_type() {
                kind if kind.is_file() => File::open(entry.path()).map(|_| self.add(entry.path(), found.len())),
                kind if kind.is_dir() && depth < DEPTH_MAX => self.add_files_of(&entry.path(), depth + 1),
                _ => Ok(()),
            });
            // What the disk does not give out is lost; what this user may not read is not.
            match outcome {
                Err(error) if error.raw_os_error() != Some(rustix::io::Errno::IO.raw_os_error()) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Fills `out` with what lies at `at`: zeros where it cannot be read, or is beyond the end.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        out.fill(0);
        let mut at = at;
        let mut rest = out;
        let mut number = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        while !rest.is_empty() && number < self.parts.len() {
            let (start, end) = (self.parts[number].0, self.parts.get(number + 1).map_or(self.bytes, |next| next.0));
            let len = (end.saturating_sub(at) as usize).min(rest.len());
            let (here, after) = rest.split_at_mut(len);
            self.read_part(number, at - start, here);
            (rest, at, number) = (after, at + len as u64, number + 1);
        }
    }

    /// Fills `out`, which is zeros, with what lies in one of the files.
    fn read_part(&self, number: usize, at: u64, out: &mut [u8]) {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_none_or(|(opened, _)| *opened != number) {
            *open = File::open(&self.parts[number].1).ok().map(|file| (number, file));
        }
        let Some((_, file)) = &*open else { return };
        if file.read_exact_at(out, at).is_ok() {
            return;
        }
        out.fill(0);
        let Ok(bytes) = file.metadata().map(|metadata| metadata.len()) else { return };
        let mut at = at;
        // What cannot be read is passed over.
        for step in out.chunks_mut(SECTOR_BYTES) {
            let inside = (bytes.saturating_sub(at) as usize).min(step.len());
            if file.read_exact_at(&mut step[..inside], at).is_err() {
                step.fill(0);
            }
            at += step.len() as u64;
        }
    }

    /// Returns the `len` bytes that lie at `at`.
    pub fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.read(at, &mut out);
        out
    }
}

/// Where objects seem to begin, and packs to end.
#[derive(Default)]
pub struct Found {
    pub headers: Vec<(u64, Header)>,
    /// The byte after a trailer, ascending.
    ends: Vec<u64>,
}

impl Found {
    /// Looks through a whole file.
    pub fn in_file(damaged: &Damaged, cancel: &CancelToken) -> Result<Self> {
        let mut found = Self::default();
        let mut window = vec![0; WINDOW_BYTES + HEADER_BYTES];
        for at in (0..damaged.bytes).step_by(WINDOW_BYTES) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            damaged.read(at, &mut window);
            for (offset, magic) in window.windows(header::MAGIC.len()).take(WINDOW_BYTES).enumerate() {
                let place = at + offset as u64;
                if magic == header::MAGIC {
                    let header = Header::decode(&window[offset..offset + HEADER_BYTES]);
                    found.headers.extend(
                        header.ok().filter(|header| header.version == FORMAT_VERSION).map(|header| (place, header)),
                    );
                } else if magic == pack::MAGIC {
                    found.ends.push(place + pack::MAGIC.len() as u64);
                }
            }
        }
        Ok(found)
    }

    /// Returns the lengths that a pack may have that begins at `at`, the shortest first.
    pub fn pack_lengths(&self, at: u64) -> impl Iterator<Item = usize> {
        let first = self.ends.partition_point(|end| *end < at + (HEADER_BYTES + TRAILER_BYTES) as u64);
        let lengths = self.ends[first..].iter().map(move |end| end - at);
        lengths.take_while(|bytes| *bytes <= PACK_BYTES_MAX as u64).take(ENDS_MAX).map(|bytes| bytes as usize)
    }
}
