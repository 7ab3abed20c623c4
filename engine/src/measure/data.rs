//! Data to measure with where the user names none: the same bytes on every machine.
//!
//! The data sets that backup programs are compared on have generators of their own, which are larger and slower to build
//! and are not published; and what their bytes follow from must not change with the engine.

use std::fs;
use std::path::Path;

use crate::base::limits::{KIB, MIB};
use crate::error::{Error, Result};

/// A small generator of pseudo-random numbers: SplitMix64 (Steele et al., OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let len = word.len();
            word.copy_from_slice(&self.draw().to_le_bytes()[..len]);
        }
    }
}

const WORDS: usize = 5000;
const MEDIA_HEAD: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
const PAGE_BYTES: usize = 4096;

/// Words with Zipf's frequencies, so that text compresses about as that of people does.
pub struct Language {
    words: Vec<Vec<u8>>,
}

impl Default for Language {
    fn default() -> Self {
        let mut random = Random::new(1);
        let mut word = || {
            let len = 2 + random.below(8);
            (0..len).map(|_| b"etaoinshrdlucmfwypvbgkjqxz"[random.below(26) as usize]).collect()
        };
        Self { words: (0..WORDS).map(|_| word()).collect() }
    }
}

impl Language {
    /// Returns `bytes` bytes of text.
    pub fn text(&self, random: &mut Random, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 16);
        while text.len() < bytes {
            // The logarithm of a uniform number picks the n-th word with a frequency of about 1/n.
            let uniform = random.below(1 << 53) as f64 / (1u64 << 53) as f64;
            let rank = ((WORDS as f64).powf(uniform) - 1.0) as usize;
            text.extend_from_slice(&self.words[rank.min(WORDS - 1)]);
            text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
        }
        text.truncate(bytes);
        text
    }

    /// Returns `bytes` bytes that look like an SQLite database of messages: a head, then leaf pages of 4 KiB with short
    /// records and free space in the middle.
    pub fn pages(&self, random: &mut Random, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        let mut key = 0u32;
        for page in out.chunks_mut(PAGE_BYTES) {
            let mut end = page.len();
            let mut cells = 0u16;
            loop {
                let text_bytes = 30 + random.below(90) as usize;
                let pointer = 8 + 2 * usize::from(cells);
                if end < pointer + 2 + 20 + text_bytes + 200 {
                    break;
                }
                let text = self.text(random, text_bytes);
                end -= text.len();
                page[end..end + text.len()].copy_from_slice(&text);
                key += 1;
                let time = 1_700_000_000_000 + u64::from(key) * 40_000 + random.below(20_000);
                end -= 20;
                page[end..end + 4].copy_from_slice(&key.to_be_bytes());
                page[end + 4..end + 12].copy_from_slice(&time.to_be_bytes());
                page[end + 12..end + 20].copy_from_slice(&random.below(1 << 20).to_be_bytes());
                page[pointer..pointer + 2].copy_from_slice(&(end as u16).to_be_bytes());
                cells += 1;
            }
            if page.len() >= 8 {
                page[0] = 13;
                page[3..5].copy_from_slice(&cells.to_be_bytes());
                page[5..7].copy_from_slice(&(end as u16).to_be_bytes());
            }
        }
        let head = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20";
        let len = head.len().min(bytes);
        out[..len].copy_from_slice(&head[..len]);
        out
    }
}

/// Returns `bytes` bytes that nothing compresses and that begin like a JPEG.
pub fn media(random: &mut Random, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    random.fill(&mut out);
    let len = MEDIA_HEAD.len().min(bytes);
    out[..len].copy_from_slice(&MEDIA_HEAD[..len]);
    out
}

/// Fills the folder `root` with about `bytes` bytes: half of it photos, a quarter a database, the rest texts of 1 to
/// 16 KiB. `check` is asked between the files whether to go on.
///
/// # Errors
/// What `check` returned; `File` if something cannot be written.
pub fn write_tree(root: &Path, bytes: u64, check: &dyn Fn() -> Result<()>) -> Result<()> {
    let (mut random, language) = (Random::new(2), Language::default());
    let write = |path: &Path, content: &[u8]| {
        check()?;
        let failed = |source| Error::File { path: path.to_owned(), action: "write generated data", source };
        fs::write(path, content).map_err(failed)
    };
    let mut left = bytes / 2;
    for number in 0.. {
        let len = left.min(4 * MIB as u64);
        if len == 0 {
            break;
        }
        write(&root.join(format!("photo-{number}.jpg")), &media(&mut random, len as usize))?;
        left -= len;
    }
    write(&root.join("messages.db"), &language.pages(&mut random, (bytes / 4) as usize))?;
    let mut left = bytes - bytes / 2 - bytes / 4;
    for number in 0.. {
        let len = left.min(1 + random.below(16 * KIB as u64));
        if len == 0 {
            break;
        }
        write(&root.join(format!("text-{number}.txt")), &language.text(&mut random, len as usize))?;
        left -= len;
    }
    Ok(())
}
