//! Data sets that are the same on every machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Outcome;

/// A small generator of pseudo-random numbers: SplitMix64 (Steele et al., OOPSLA 2014).
pub struct Random(pub u64);

impl Random {
    /// Returns the next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let len = word.len();
            word.copy_from_slice(&self.next().to_le_bytes()[..len]);
        }
    }
}

/// Writes `files` text files of 200 to 2,600 bytes, 1,000 to a folder, of words with Zipf's frequencies.
pub fn small_files(folder: &Path, files: u64) -> Outcome {
    let mut random = Random(7);
    let mut word = || -> Vec<u8> {
        let len = 2 + random.below(8);
        (0..len).map(|_| b"etaoinshrdlucmfwypvbgkjqxz"[random.below(26) as usize]).collect()
    };
    let words: Vec<Vec<u8>> = (0..5000).map(|_| word()).collect();
    let mut text = Vec::new();
    for index in 0..files {
        let dir = folder.join(format!("d{:03}", index / 1000));
        if index % 1000 == 0 {
            fs::create_dir_all(&dir)?;
        }
        let size = 200 + random.below(2401) as usize;
        text.clear();
        while text.len() < size {
            // The logarithm of a uniform number picks the n-th word with a frequency of about 1/n.
            let uniform = random.below(1 << 53) as f64 / (1u64 << 53) as f64;
            let rank = (5000f64.powf(uniform) - 1.0) as usize;
            text.extend_from_slice(&words[rank.min(words.len() - 1)]);
            text.push(b' ');
        }
        text.truncate(size);
        fs::write(dir.join(format!("f{:04}.txt", index % 1000)), &text)?;
    }
    Ok(())
}

/// Writes one incompressible file that begins like an MP4.
pub fn video(path: &Path, bytes: u64) -> Outcome {
    let mut out = BufWriter::new(File::create(path)?);
    let mut random = Random(11);
    let head = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
    out.write_all(head)?;
    let mut left = bytes.saturating_sub(head.len() as u64);
    let mut block = vec![0; 1 << 20];
    while left > 0 {
        random.fill(&mut block);
        let len = left.min(block.len() as u64);
        out.write_all(&block[..len as usize])?;
        left -= len;
    }
    out.flush()?;
    Ok(())
}
