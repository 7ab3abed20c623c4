//! What a client was told of files that stay as they are, kept in the cache directory: it need not be told in full again.
//!
//! Keyed hashes, in clear. Without the file, all is told once more.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::base::lock;
use crate::catalog::files::{create_file, make_folder};
use crate::format::config::GearKey;

const HASH_BYTES: usize = 16;
/// The most that is remembered; what is new stays.
const HASHES_MAX: usize = 10_000;

type Hash = [u8; HASH_BYTES];

/// What was told before, and what is told now.
pub struct Told {
    path: PathBuf,
    key: GearKey,
    before: Vec<Hash>,
    known: HashSet<Hash>,
    new: Mutex<Vec<Hash>>,
}

impl Told {
    /// Reads what the folder of the cache directory has of it.
    pub fn new(dir: &Path, key: GearKey) -> Self {
        let path = dir.join("told");
        let mut bytes = Vec::new();
        if let Ok(file) = fs::File::open(&path) {
            // What cannot be read was not told.
            let _ = file.take((HASHES_MAX * HASH_BYTES) as u64).read_to_end(&mut bytes);
        }
        let before: Vec<Hash> = bytes.as_chunks().0.to_vec();
        let known = before.iter().copied().collect();
        Self { path, key, before, known, new: Mutex::default() }
    }

    /// Takes note of something told, and returns whether it had been told before.
    pub fn note(&self, condition: &[u8]) -> bool {
        let mut hash = [0; HASH_BYTES];
        blake3::Hasher::new_keyed(self.key.as_bytes()).update(condition).finalize_xof().fill(&mut hash);
        let is_known = self.known.contains(&hash);
        if !is_known {
            lock(&self.new).push(hash);
        }
        is_known
    }

    /// Keeps it for the next time. If that fails, all is told again.
    pub fn save(&self) {
        let mut hashes = std::mem::take(&mut *lock(&self.new));
        if hashes.is_empty() {
            return;
        }
        hashes.extend_from_slice(&self.before);
        hashes.truncate(HASHES_MAX);
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let written = make_folder(self.path.parent().unwrap_or(&self.path))
            .and_then(|()| create_file(&new)?.write_all(hashes.as_flattened()));
        let _ = written.and_then(|()| fs::rename(&new, &self.path));
    }
}
