//! What no backup of a folder can be faster than: looking at every file, and reading every file, on all cores.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use crate::Outcome;

const READ_BYTES: usize = 512 * 1024;

#[derive(Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

/// Calls `visit` with every regular file below `folder`, in parallel within and across folders.
fn walk(folder: &Path, visit: &(impl Fn(&Path) -> io::Result<u64> + Sync)) -> io::Result<Sum> {
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    let sums = entries.into_par_iter().map(|entry| {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), visit)
        } else if kind.is_file() {
            Ok(Sum { files: 1, bytes: visit(&entry.path())? })
        } else {
            Ok(Sum::default())
        }
    });
    sums.try_reduce(Sum::default, |a, b| Ok(Sum { files: a.files + b.files, bytes: a.bytes + b.bytes }))
}

fn read(path: &Path, buffer: &mut [u8]) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut total = 0;
    while total < length {
        match file.read(buffer)? {
            0 => break,
            count => total += count as u64,
        }
    }
    Ok(total)
}

/// Prints how long both take.
pub fn run(folder: &Path) -> Outcome {
    thread_local! {
        static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ_BYTES]);
    }
    let looked = |path: &Path| Ok(fs::symlink_metadata(path)?.len());
    let read = |path: &Path| BUFFER.with_borrow_mut(|buffer| read(path, buffer));
    time("look at", folder, &looked)?;
    time("read", folder, &read)
}

/// Looks at every file below `folder` on all cores and prints nothing: a run to be measured from outside.
pub fn look(folder: &Path) -> Outcome {
    walk(folder, &|path| Ok(fs::symlink_metadata(path)?.len()))?;
    Ok(())
}

fn time(work: &str, folder: &Path, visit: &(impl Fn(&Path) -> io::Result<u64> + Sync)) -> Outcome {
    let begun = Instant::now();
    let sum = walk(folder, visit)?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{work} {} files, {} bytes: {seconds:.3} s", sum.files, sum.bytes)?;
    Ok(())
}
