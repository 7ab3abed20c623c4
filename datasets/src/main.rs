//! `daykeep-datasets`: writes the data sets that backups are measured on, and checks them.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use daykeep_datasets::chats::{self, MESSAGES_MAX, State};
use daykeep_datasets::folder::beside;
use daykeep_datasets::manifest::Manifest;
use daykeep_datasets::{files, media, versions, writer};

/// What a command comes to; a lack of errors may still be a difference.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Writes data sets for measuring backups, made from a seed: the same bytes on every machine.
#[derive(Parser)]
#[command(name = "daykeep-datasets", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Chats(Chats),
    Media(Media),
    /// Lets days pass in a library that `media` wrote: new, renamed, moved, edited, trimmed and deleted files
    Grow {
        /// The library
        folder: PathBuf,
        /// How many days
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=3650))]
        days: u64,
        /// How many days have passed before
        #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(..=3650))]
        after: u64,
        /// What everything follows from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes one video of any length, as a camera writes it
    Video {
        /// The file
        file: PathBuf,
        /// How long
        #[arg(long, default_value_t = 1_500_000_000, value_parser = value_parser!(u64).range(100_000..=1_000_000_000_000))]
        bytes: u64,
        /// What everything follows from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes many text files, 1,000 to a folder
    Files {
        /// An empty or new folder
        folder: PathBuf,
        /// How many
        #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u64).range(..=100_000_000))]
        count: u64,
        /// Bytes of the shortest
        #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(..=1_000_000))]
        shortest: u64,
        /// Bytes of the longest
        #[arg(long, default_value_t = 2600, value_parser = value_parser!(u64).range(..=1_000_000))]
        longest: u64,
        /// What everything follows from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes a source tree through several releases: FOLDER/release-01 and so on
    Versions {
        /// An empty or new folder
        folder: PathBuf,
        /// How many releases
        #[arg(long, default_value_t = 8, value_parser = value_parser!(u64).range(1..=100))]
        releases: u64,
        /// Files of the first release
        #[arg(long, default_value_t = 2_500, value_parser = value_parser!(u64).range(10..=1_000_000))]
        files: u64,
        /// What everything follows from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes to a database without a pause, to prove that copies made meanwhile are whole
    ///
    /// Prints the number of each transaction once it is committed; goes on until it is killed, or until nobody reads that
    /// any more.
    Writer {
        /// The database, a new one or one that this wrote before
        file: PathBuf,
        /// The journal
        #[arg(long, value_enum, default_value = "wal")]
        mode: Mode,
        /// What everything follows from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// End after so many transactions
        #[arg(long, value_name = "N")]
        transactions: Option<u64>,
        /// Wait so long after each, in milliseconds
        #[arg(long, value_name = "N", default_value_t = 0)]
        every_ms: u64,
    },
    /// Lists all files of a folder with length and BLAKE3 hash
    Manifest {
        /// The folder
        folder: PathBuf,
        /// The file to write; by default FOLDER.manifest, beside the folder
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Compares a folder with a manifest: exit code 1 if they differ
    Verify {
        /// The folder
        folder: PathBuf,
        /// The manifest
        manifest: PathBuf,
    },
}

/// A database's journal.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Wal,
    Delete,
}

/// Writes an SQLite database with WhatsApp's tables, one state for each day
///
/// FOLDER/day-00/msgstore.db, FOLDER/day-01/msgstore.db and so on, and FOLDER.manifest. A day brings new messages,
/// receipts, reactions, edits and deletions. A message takes about 650 bytes.
#[derive(Args)]
struct Chats {
    /// An empty or new folder; with --advance one that --in-place wrote
    folder: PathBuf,
    /// Messages of the first day
    #[arg(long, default_value_t = 600_000, value_parser = value_parser!(u64).range(..=MESSAGES_MAX))]
    messages: u64,
    /// New messages of each further day
    #[arg(long, default_value_t = 3_000, value_parser = value_parser!(u64).range(..=MESSAGES_MAX))]
    messages_per_day: u64,
    /// How many days follow the first
    #[arg(long, default_value_t = 14, value_parser = value_parser!(u64).range(..=3650))]
    days: u64,
    /// What everything follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write signal.db instead: random pages that stand for SQLCipher's
    #[arg(long)]
    encrypted: bool,
    /// Write one database, FOLDER/msgstore.db, as it is after all days
    #[arg(long, conflicts_with = "advance")]
    in_place: bool,
    /// Let N days pass in the database that --in-place wrote, and nothing else
    #[arg(long, value_name = "N", conflicts_with_all = ["messages", "messages_per_day", "days", "seed", "encrypted"],
          value_parser = value_parser!(u64).range(1..=3650))]
    advance: Option<u64>,
}

/// Writes photos, videos, stickers and voice notes in the folders of WhatsApp and of a camera
#[derive(Args)]
struct Media {
    /// An empty or new folder
    folder: PathBuf,
    /// All files together
    #[arg(long, default_value_t = 1_000_000_000, value_parser = value_parser!(u64).range(1_000_000..=10_000_000_000_000))]
    bytes: u64,
    /// What everything follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Chats(arguments) => write_chats(&arguments),
        Command::Media(Media { folder, bytes, seed }) => {
            let options = media::Options { seed, bytes, ..media::Options::default() };
            written(media::generate(&folder, &options), &folder)
        }
        Command::Grow { folder, days, after, seed } => {
            let options = media::Options { seed, ..media::Options::default() };
            let grown = (after + 1..=after + days).try_for_each(|day| media::grow(&folder, day, &options).map(drop));
            written(grown, &folder)
        }
        Command::Video { file, bytes, seed } => {
            media::video(&file, bytes, seed).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Files { folder, count, shortest, longest, seed } => {
            let options = files::Options { seed, count, bytes: shortest..=longest };
            written(files::generate(&folder, &options), &folder)
        }
        Command::Versions { folder, releases, files, seed } => {
            written(versions::generate(&folder, &versions::Options { seed, releases, files }), &folder)
        }
        Command::Writer { file, mode, seed, transactions, every_ms } => {
            let mode = match mode {
                Mode::Wal => writer::Mode::Wal,
                Mode::Delete => writer::Mode::Delete,
            };
            let options = writer::Options { seed, mode, transactions, pause: Duration::from_millis(every_ms) };
            let mut out = std::io::stdout().lock();
            let told = |number| writeln!(out, "{number}").and_then(|()| out.flush()).is_ok();
            writer::write(&file, &options, told).map(|_| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Manifest { folder, out } => write_manifest(&folder, out),
        Command::Verify { folder, manifest } => verify(&folder, &manifest),
    };
    outcome.unwrap_or_else(|error| {
        // Nothing is left to do if even this cannot be written.
        let _ = writeln!(std::io::stderr(), "daykeep-datasets: {error}");
        ExitCode::FAILURE
    })
}

/// Writes the manifest of a folder once it is `done`.
fn written<T>(done: Result<T, daykeep_datasets::error::Error>, folder: &Path) -> Outcome {
    done?;
    write_manifest(folder, None)
}

fn write_chats(arguments: &Chats) -> Outcome {
    let &Chats { ref folder, messages, messages_per_day, days, seed, encrypted, in_place, advance } = arguments;
    let options = chats::Options { seed, messages, messages_per_day };
    match advance {
        Some(days) => State::open(folder)?.advance(days)?,
        None if in_place => State::create(folder, &options, encrypted)?.advance(days)?,
        None => chats::write_days(folder, &options, days, encrypted)?,
    }
    write_manifest(folder, None)
}

fn write_manifest(folder: &Path, out: Option<PathBuf>) -> Outcome {
    let out = out.map_or_else(|| beside(folder, ".manifest"), Ok)?;
    if is_inside(&out, folder) {
        return Err(format!("{}: lies in the folder it describes; name a file elsewhere", out.display()).into());
    }
    let manifest = Manifest::scan(folder)?;
    manifest.write(&out)?;
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    writeln!(std::io::stdout(), "{}  {files} files, {bytes} bytes  {}", manifest.digest(), out.display())?;
    Ok(ExitCode::SUCCESS)
}

fn is_inside(file: &Path, folder: &Path) -> bool {
    let home = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    matches!((home.canonicalize(), folder.canonicalize()), (Ok(home), Ok(folder)) if home.starts_with(&folder))
}

fn verify(folder: &Path, manifest: &Path) -> Outcome {
    let manifest = Manifest::read(manifest)?;
    let differences = manifest.verify(folder)?;
    let mut out = std::io::stdout().lock();
    for (what, paths) in
        [("missing", &differences.missing), ("extra", &differences.extra), ("changed", &differences.changed)]
    {
        for path in paths {
            writeln!(out, "{what}  {path}")?;
        }
    }
    if !differences.is_empty() {
        return Err(format!("{} differs from the manifest; make the data set anew", folder.display()).into());
    }
    writeln!(out, "{}  {} files, {} bytes", manifest.digest(), manifest.files.len(), manifest.bytes())?;
    Ok(ExitCode::SUCCESS)
}
