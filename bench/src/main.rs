//! `daykeep-bench`: the measurements that `docs/design.md` and `docs/benchmarks.md` quote, for anyone to repeat.

mod compare;
mod curve;
mod deltas;
mod floor;
mod scale;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Measures daykeep.
#[derive(Debug, Parser)]
#[command(name = "daykeep-bench", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures daykeep beside other backup programs, and writes JSON, Markdown and a page with charts
    ///
    /// Every round runs all tools in turn: first backup, each later state, unchanged, listing the snapshots, forgetting
    /// half of a month with pruning, restore of everything and of one file, check with all data. Every restore is compared
    /// byte for byte. A tool that is missing is named, one that fails or hangs is reported as failed. Exit codes: 0 done; 1
    /// not done; 3 done, but tools failed, or a tool or scenario that was named could not be run; 130 interrupted, with
    /// what was measured so far.
    Compare(compare::Options),
    /// Dedup against index size, by average chunk size, over the files of a folder in their order
    Curve {
        /// Whose files
        folder: PathBuf,
    },
    /// What the later ones of some versions of a file take as deltas of blocks, beside `zstd --patch-from`
    Deltas(deltas::Options),
    /// Looks at every file and reads every file on all cores, and does nothing with them
    Floor {
        /// Whose files
        folder: PathBuf,
    },
    /// Feeds generated streams into a store that keeps no bodies
    Scale {
        /// How many, of 10^9 bytes
        #[arg(value_parser = number)]
        gigabytes: u64,
    },
    /// Looks at every file on all cores
    #[command(hide = true)]
    Walk { folder: PathBuf },
}

/// Reads a number that may have underscores.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.replace('_', "").parse()
}

fn main() -> ExitCode {
    // Before anything else: what this small copy of the program holds is counted as the command's.
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == compare::measure::CHILD_ARGUMENT) {
        return compare::measure::child_main(arguments);
    }
    let outcome: Outcome = match Arguments::parse().command {
        Command::Compare(options) => return compare::run(&options),
        Command::Curve { folder } => curve::run(&folder),
        Command::Deltas(options) => deltas::run(&options),
        Command::Floor { folder } => floor::run(&folder),
        Command::Scale { gigabytes } => scale::run(gigabytes),
        Command::Walk { folder } => floor::look(&folder),
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
