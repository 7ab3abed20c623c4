//! `daykeep-bench`: the measurements that `docs/design.md` and `docs/benchmarks.md` quote, for anyone to repeat.
//!
//! ```text
//! daykeep-bench curve FOLDER          dedup against index size, by average chunk size, over the files in their order
//! daykeep-bench floor FOLDER          looks at every file and reads every file on all cores, and does nothing with them
//! daykeep-bench scale GIGABYTES       feeds generated streams into a store that keeps no bodies
//! daykeep-bench small FOLDER [FILES]  writes text files of 0.2 to 2.6 KB, 1,000 to a folder
//! daykeep-bench video FILE [BYTES]    writes one incompressible file with the magic of an MP4
//! ```

mod curve;
mod data;
mod deltas;
mod floor;
mod scale;

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.replace('_', "").parse::<u64>();
    let outcome: Outcome = match words.as_slice() {
        ["curve", folder] => curve::run(Path::new(folder)),
        ["deltas", block, depth, bases, level, files @ ..] if !files.is_empty() => {
            let numbers: Result<Vec<u64>, _> = [block, depth, bases, level].into_iter().map(|text| number(text)).collect();
            numbers.map_err(Into::into).and_then(|numbers| deltas::run(&numbers, files))
        }
        ["floor", folder] => floor::run(Path::new(folder)),
        ["scale", gigabytes] => number(gigabytes).map_err(Into::into).and_then(scale::run),
        ["small", folder] => data::small_files(Path::new(folder), 200_000),
        ["small", folder, files] => {
            number(files).map_err(Into::into).and_then(|files| data::small_files(Path::new(folder), files))
        }
        ["video", file] => data::video(Path::new(file), 1_500_000_000),
        ["video", file, bytes] => {
            number(bytes).map_err(Into::into).and_then(|bytes| data::video(Path::new(file), bytes))
        }
        _ => Err("usage: daykeep-bench curve FOLDER | floor FOLDER | scale GIGABYTES | small FOLDER [FILES] | \
                      video FILE [BYTES]"
            .into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(std::io::stderr(), "daykeep-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
