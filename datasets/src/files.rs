//! Many small files of text.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use rayon::prelude::*;

use crate::error::Error;
use crate::folder::create_empty;
use crate::random::Random;

/// How to make small files.
#[derive(Clone, Debug)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// How many files.
    pub count: u64,
    /// How many bytes they have, from the shortest to the longest.
    pub bytes: RangeInclusive<u64>,
}

impl Default for Options {
    /// 200,000 files, which have 280 MB together.
    fn default() -> Self {
        Options { seed: 1, count: 200_000, bytes: 200..=2600 }
    }
}

/// Files to a folder.
const FOLDER_FILES: u64 = 1000;

/// Writes text files, 1,000 to a folder, into `folder`, which must be empty. Returns their bytes.
///
/// # Errors
/// `NotEmpty` if something is in the folder, or what writing runs into.
pub fn generate(folder: &Path, options: &Options) -> Result<u64, Error> {
    create_empty(folder)?;
    let words = Words::new(options.seed);
    let write_folder = |number: u64| -> Result<u64, Error> {
        let path = folder.join(format!("d{number:03}"));
        fs::create_dir(&path).map_err(Error::io(&path))?;
        let mut random = Random::stream(options.seed, "files", number);
        let mut text = Vec::new();
        let mut bytes = 0;
        for index in 0..FOLDER_FILES.min(options.count - number * FOLDER_FILES) {
            let (least, most) = (*options.bytes.start(), *options.bytes.end());
            let len = least + random.below(most.saturating_sub(least) + 1);
            text.clear();
            words.write(&mut text, len as usize, &mut random);
            let path = path.join(format!("f{index:04}.txt"));
            fs::write(&path, &text).map_err(Error::io(&path))?;
            bytes += len;
        }
        Ok(bytes)
    };
    (0..options.count.div_ceil(FOLDER_FILES)).into_par_iter().map(write_folder).sum()
}

/// A vocabulary whose n-th word is used with a frequency of about 1/n (Zipf's law).
pub(crate) struct Words {
    words: Vec<Word>,
    /// Which word a draw stands for.
    slots: Vec<u16>,
}

/// A word and a space, and whatever follows: so many bytes are copied faster than as many as there are.
struct Word {
    bytes: [u8; WORD_BYTES],
    len: usize,
}

/// Words of the vocabulary.
const VOCABULARY: u64 = 5000;
/// Entries to draw from.
const SLOTS: u64 = 1 << 16;
/// More than the longest word and a space.
const WORD_BYTES: usize = 16;

impl Words {
    /// Makes up a vocabulary.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::stream(seed, "words", 0);
        let mut word = |_| {
            let len = 2 + random.below(8) as usize;
            let mut bytes = [b' '; WORD_BYTES];
            bytes[..len].fill_with(|| b"etaoinshrdlucmfwypvbgkjqxz"[random.below(26) as usize]);
            Word { bytes, len }
        };
        let words = (0..VOCABULARY).map(&mut word).collect();
        let total: u64 = (1..=VOCABULARY).map(|rank| (1 << 32) / rank).sum();
        let mut slots = Vec::new();
        let mut sum = 0;
        for rank in 1..=VOCABULARY {
            sum += (1 << 32) / rank;
            slots.resize((u128::from(sum) * u128::from(SLOTS) / u128::from(total)) as usize, (rank - 1) as u16);
        }
        Words { words, slots }
    }

    fn word(&self, random: &mut Random) -> &Word {
        &self.words[usize::from(self.slots[random.below(SLOTS) as usize])]
    }

    /// Returns a word.
    pub fn draw(&self, random: &mut Random) -> &[u8] {
        let word = self.word(random);
        &word.bytes[..word.len]
    }

    /// Appends words up to `len` bytes.
    pub fn write(&self, out: &mut Vec<u8>, len: usize, random: &mut Random) {
        let mut at = out.len();
        let end = at + len;
        out.resize(end + WORD_BYTES, 0);
        while at < end {
            let word = self.word(random);
            out[at..at + WORD_BYTES].copy_from_slice(&word.bytes);
            at += word.len + 1;
        }
        out.truncate(end);
    }
}
