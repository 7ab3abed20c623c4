//! Finds the cuts of a long run of bytes on all cores, the same as one core would find.

use rayon::prelude::*;

use crate::chunk::cutter::{Chunker, Cutter};

/// The shortest segment that is worth a task of its own.
const SEGMENT_BYTES_MIN: usize = 2 * 1024 * 1024;

/// Returns where each chunk of `bytes` ends. Unless `is_end`, the bytes after the last end are an unfinished chunk.
///
/// A cut depends only on where its chunk begins and on what follows. So each core cuts a segment of its own as if a
/// chunk began there; from the true beginning one then cuts until one meets a beginning that was guessed, after which
/// all guesses are right. With ordinary data that takes a few chunks, with any data it is correct.
pub fn cut_all(chunker: &Chunker, cutter: &Cutter, bytes: &[u8], is_end: bool, segments: usize) -> Vec<usize> {
    let segment = (bytes.len() / segments.max(1)).max(SEGMENT_BYTES_MIN);
    if bytes.len() <= segment || matches!(cutter, Cutter::Fixed(_)) {
        return cut_from(chunker, cutter, bytes, 0, bytes.len(), is_end);
    }
    let starts: Vec<usize> = (0..bytes.len()).step_by(segment).collect();
    let guesses: Vec<Vec<usize>> = starts
        .par_iter()
        .map(|&start| cut_from(chunker, cutter, bytes, start, bytes.len().min(start + segment), is_end))
        .collect();
    let mut ends: Vec<usize> = Vec::with_capacity(guesses.iter().map(Vec::len).sum());
    for (&start, guess) in starts.iter().zip(&guesses) {
        let limit = bytes.len().min(start + segment);
        let mut at = ends.last().copied().unwrap_or(0);
        // `guess` is ascending and `start` is its first beginning.
        while at < limit {
            if at == start {
                ends.extend_from_slice(guess);
                break;
            }
            if let Ok(found) = guess.binary_search(&at) {
                ends.extend_from_slice(&guess[found + 1..]);
                break;
            }
            match next_end(chunker, cutter, bytes, at, is_end) {
                Some(end) => ends.push(end),
                None => return ends,
            }
            at = ends.last().copied().unwrap_or(0);
        }
    }
    ends
}

/// Returns the ends of the chunks that begin from `start` on and before `limit`.
fn cut_from(chunker: &Chunker, cutter: &Cutter, bytes: &[u8], start: usize, limit: usize, is_end: bool) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = start;
    while at < limit {
        match next_end(chunker, cutter, bytes, at, is_end) {
            Some(end) => {
                ends.push(end);
                at = end;
            }
            None => break,
        }
    }
    ends
}

/// Returns where the chunk that begins at `at` ends, or `None` if that depends on bytes not here yet.
fn next_end(chunker: &Chunker, cutter: &Cutter, bytes: &[u8], at: usize, is_end: bool) -> Option<usize> {
    let rest = &bytes[at..];
    let len = chunker.cut(cutter, rest);
    let is_certain = is_end || len < rest.len() || rest.len() >= cutter.max();
    (is_certain && len > 0).then_some(at + len)
}
