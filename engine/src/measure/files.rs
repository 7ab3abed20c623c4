//! The stages that touch the user's files: opening and reading them.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use crate::base::limits::MIB;
use crate::error::{Error, Result};
use crate::measure::report::{Stage, StageReport};
use crate::measure::run::Run;
use crate::measure::sample::{Found, FoundFile, Piece, open, read_at};
use crate::measure::timing::{Rate, all_cores, one_core};

/// The length of the pieces that are read, which are long enough for the disk to read ahead.
const PIECE_BYTES: u64 = 32 * MIB as u64;
const BUFFER_BYTES: usize = MIB;
/// Reading is measured so many times as long as what needs no disk, on one core and again on all.
const READ_TIMES: u32 = 6;

/// Opens files, looks at each, and closes them, again and again.
pub(super) fn measure_open(run: &Run, found: &Found) -> Result<StageReport> {
    run.begin(Stage::Open);
    let work = |(): &mut (), file: &FoundFile| {
        // One that vanished or may not be opened takes about as long.
        let _ = open(&file.path).and_then(|file| file.metadata());
        Ok(1)
    };
    let one = one_core(&run.options, &found.files, &mut (), &work)?;
    let all = all_cores(&run.options, &run.pool, &found.files, &|| Ok(()), &work)?;
    Ok(StageReport::new(Stage::Open, one, Some(all)))
}

/// How many of the pieces were in memory before they were read, as far as the system tells.
#[derive(Default)]
struct Cached {
    yes: AtomicU64,
    no: AtomicU64,
    unknown: AtomicU64,
}

impl Cached {
    /// Looks whether the first byte of a piece can be had without waiting for the disk.
    fn note(&self, file: &File, offset: u64) {
        let count = match is_cached(file, offset) {
            Some(true) => &self.yes,
            Some(false) => &self.no,
            None => &self.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn share(&self) -> Option<f64> {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let known = get(&self.yes) + get(&self.no);
        (known > 0.0 && known >= get(&self.unknown)).then(|| get(&self.yes) / known)
    }
}

#[cfg(target_os = "linux")]
fn is_cached(file: &File, offset: u64) -> Option<bool> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0; 1];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    match preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
        Ok(count) => Some(count > 0),
        Err(Errno::AGAIN) => Some(false),
        // This file system does not tell.
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_cached(_: &File, _: u64) -> Option<bool> {
    None
}

/// Reads half of the sample on one core and the other half on all, each piece once, and returns the share of the pieces
/// that were in memory already.
///
/// # Errors
/// `NothingToBackUp` if nothing can be read; `Cancelled`.
pub(super) fn measure_read(run: &Run, found: &Found) -> Result<(StageReport, Option<f64>)> {
    run.begin(Stage::Read);
    let mut pieces = found.pieces(PIECE_BYTES, run.options.sample_bytes);
    let cached = Cached::default();
    let read = |pieces: &[Piece<'_>], threads: &rayon::ThreadPool| -> Result<Rate> {
        let begun = Instant::now();
        let bytes = AtomicU64::new(0);
        threads.install(|| {
            pieces.par_iter().try_for_each_init(
                || vec![0; BUFFER_BYTES],
                |buffer, piece| {
                    if begun.elapsed() < run.options.stage_time * READ_TIMES {
                        // What cannot be read is named by the backup; here it is left out.
                        let _ = read_piece(run, piece, buffer, &cached, &bytes)?;
                    }
                    Ok::<(), Error>(())
                },
            )
        })?;
        Ok(Rate::of(bytes.load(Ordering::Relaxed), begun.elapsed()))
    };
    if pieces.len() == 1 {
        // A second reading would come from memory; one core is all that one small file ever gets.
        let one = read(&pieces, &run.one)?;
        return Ok((StageReport::new(Stage::Read, one, None), cached.share()));
    }
    // Every other piece, so that both halves are alike.
    let mut halves = (Vec::new(), Vec::new());
    for (index, piece) in pieces.drain(..).enumerate() {
        if index % 2 == 0 { halves.0.push(piece) } else { halves.1.push(piece) }
    }
    let one = read(&halves.0, &run.one)?;
    let all = read(&halves.1, &run.pool)?;
    if one.amount == 0 && all.amount == 0 {
        let path = found.files[0].path.display().to_string();
        return Err(Error::NothingToBackUp { path, reason: "this file and others cannot be read".into() });
    }
    // One half may be unreadable, above all of few files.
    let known = if one.amount == 0 { all } else { one };
    let stage = StageReport::new(Stage::Read, known, (all.amount > 0).then_some(all));
    Ok((stage, cached.share()))
}

/// The outer error is a cancel, the inner one the file's.
fn read_piece(
    run: &Run,
    piece: &Piece<'_>,
    buffer: &mut [u8],
    cached: &Cached,
    bytes: &AtomicU64,
) -> Result<io::Result<()>> {
    let file = match open(&piece.file.path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    cached.note(&file, piece.offset);
    let mut done = 0;
    while done < piece.bytes {
        run.options.check_cancel()?;
        let len = buffer.len().min((piece.bytes - done) as usize);
        let count = match read_at(&file, &mut buffer[..len], piece.offset + done) {
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        bytes.fetch_add(count as u64, Ordering::Relaxed);
        done += count as u64;
        if count < len {
            break;
        }
    }
    Ok(Ok(()))
}
