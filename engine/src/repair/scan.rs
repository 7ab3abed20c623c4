//! Looks through the bytes of a damaged file for what may be objects.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::base::CancelToken;
use crate::base::limits::{KIB, MIB, PACK_BYTES_MAX};
use crate::error::{Error, Result};
use crate::format::header::{self, FORMAT_VERSION, HEADER_BYTES, Header};
use crate::format::pack::{self, TRAILER_BYTES};

/// So much is looked through at once.
const WINDOW_BYTES: usize = 4 * MIB;
/// What cannot be read is passed over in steps of this length, a sector or page of most disks.
const STEP_BYTES: usize = 4 * KIB;
/// So many ends are tried for a pack.
const ENDS_MAX: usize = 16;

/// A file of which some bytes may not be readable.
pub struct Damaged {
    file: File,
    /// Its length.
    pub bytes: u64,
}

impl Damaged {
    /// Opens the file at `path`, for reading only.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File { path: path.to_owned(), action: "read it", source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            return Ok(Self { file, bytes: metadata.len() });
        }
        let reason = format!("{}: is no file; only a repository in one file is rescued", path.display());
        Err(Error::InvalidOption { option: "rescue", reason })
    }

    /// Fills `out` with what lies at `at`: zeros where it cannot be read, or is beyond the end.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        if self.file.read_exact_at(out, at).is_ok() {
            return;
        }
        let mut at = at;
        for step in out.chunks_mut(STEP_BYTES) {
            let inside = (self.bytes.saturating_sub(at) as usize).min(step.len());
            if self.file.read_exact_at(&mut step[..inside], at).is_err() {
                step.fill(0);
            }
            step[inside..].fill(0);
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
