//! What the chunks of large files looked like when they were last backed up, kept in the cache directory.
//!
//! A file for each, in clear like the catalog: ids and features are keyed hashes. Whatever is wrong with one, it is as if
//! it were not there, and the worst is that similar chunks are not found.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::ShortId;
use crate::delta::{FEATURES, Sketch};
use crate::format::config::GearKey;

const MAGIC: [u8; 16] = *b"dk-sketches-2\x1a\0\0";
const RECORD_BYTES: usize = ShortId::LEN + 4 * FEATURES;
/// All files together; those not used for longest leave first.
const TOTAL_BYTES_MAX: u64 = 256 << 20;

/// The sketches of one repository's files, in a folder of the cache directory.
#[derive(Clone)]
pub struct SketchStore {
    dir: PathBuf,
    key: GearKey,
}

impl SketchStore {
    /// Uses a folder, which is made when the first file is. The names in it are hashes under `key`.
    pub fn new(dir: &Path, key: GearKey) -> Self {
        Self { dir: dir.join("sketches"), key }
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.dir.join(blake3::keyed_hash(self.key.as_bytes(), name).to_hex().as_str())
    }

    /// Returns the chunks of the file called `name` in order, if there are at most `count_max`; none otherwise.
    pub fn load(&self, name: &[u8], count_max: usize) -> Vec<(ShortId, Sketch)> {
        read(&self.path(name), count_max).unwrap_or_default()
    }

    /// Keeps the chunks of the file called `name`.
    ///
    /// # Errors
    /// The system's; then the file is as if it had none.
    pub fn save(&self, name: &[u8], chunks: &[(ShortId, Sketch)]) -> io::Result<()> {
        super::files::make_folder(&self.dir)?;
        let path = self.path(name);
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let outcome = write(&new, chunks).and_then(|()| fs::rename(&new, &path));
        if outcome.is_err() {
            let _ = fs::remove_file(&new);
            let _ = fs::remove_file(&path);
        }
        outcome
    }

    /// Removes the files not used for longest, until what is left is within its limit.
    pub fn trim(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let state = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()))
        };
        let mut files: Vec<_> = entries.flatten().filter_map(state).collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= TOTAL_BYTES_MAX {
                break;
            }
            let _ = fs::remove_file(path);
            total -= bytes;
        }
    }
}

fn read(path: &Path, count_max: usize) -> Option<Vec<(ShortId, Sketch)>> {
    let mut file = File::open(path).ok()?;
    let length = usize::try_from(file.metadata().ok()?.len()).ok()?.checked_sub(MAGIC.len())?;
    if !length.is_multiple_of(RECORD_BYTES) || length / RECORD_BYTES > count_max {
        return None;
    }
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok()?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).ok()?;
    if magic != MAGIC {
        return None;
    }
    let record = |record: &[u8; RECORD_BYTES]| {
        let mut id = [0; ShortId::LEN];
        id.copy_from_slice(&record[..ShortId::LEN]);
        let mut words = [0; FEATURES];
        for (word, bytes) in words.iter_mut().zip(record[ShortId::LEN..].as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        (ShortId::from_bytes(id), Sketch::from_words(words))
    };
    Some(bytes.as_chunks().0.iter().map(record).collect())
}

fn write(path: &Path, chunks: &[(ShortId, Sketch)]) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    out.write_all(&MAGIC)?;
    for (id, sketch) in chunks {
        out.write_all(id.as_bytes())?;
        for word in sketch.as_words() {
            out.write_all(&word.to_le_bytes())?;
        }
    }
    out.flush()
}
