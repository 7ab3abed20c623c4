//! `daykeep-bench compare`: daykeep beside other backup programs, on the same data, in turn, checked byte for byte.
//!
//! Every round runs every tool through every scenario: the tool's repository is made, the scenario's states are backed
//! up one after the other, then it is backed up unchanged, its snapshots are listed, in one scenario half of the snapshots is forgotten and the
//! space given back, then it is restored, restored in part, and checked. Each step is a process of its own, started and measured by a small copy of this program ([`measure`]), so that processor time and
//! peak memory are those of the tool and its children alone. What is stored is measured from outside, as the sum of the
//! lengths of a repository's files. What was restored is compared with the source.
//!
//! | module | duty |
//! |---|---|
//! | [`data`], [`generate`] | which prepared folders there are; making them |
//! | [`scenario`] | what is done with them, and the steps of a scenario |
//! | [`tools`], [`adapters`] | which programs there are, and their command lines |
//! | [`place`], [`tree`] | the work folder; copying, comparing and counting trees |
//! | [`measure`], [`interrupt`] | running one command with a limit; ending early |
//! | [`mod@run`] | rounds, scenarios, tools |
//! | [`results`], [`machine`] | what was measured, and where |
//! | [`summary`], [`caution`] | medians, and whether anything follows from them |
//! | [`report`] | JSON, Markdown, HTML |

mod adapters;
mod caution;
mod data;
mod generate;
mod interrupt;
mod machine;
pub mod measure;
mod place;
mod report;
mod results;
mod run;
mod scenario;
mod summary;
mod tools;
mod tree;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use self::interrupt::Interrupt;
use self::place::Place;
use self::results::Results;
use self::run::Comparison;

/// Why a comparison could not be made or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Request(String),
    /// A file or folder of ours could not be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), full(.source))]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// A signal asked to stop.
    #[error("stopped by signal {0}")]
    Interrupted(i32),
}

/// Returns what to do about a full disk.
fn full(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": this disk is full; free some space there, or name another folder with --work, --data or --out"
        }
        _ => "",
    }
}

impl Error {
    /// Returns a function that adds what was being done to an I/O error.
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

/// How much data is made when none is given, and how often everything is run unless `--runs` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// About 1.2 GB, three rounds: some twelve minutes on two cores.
    Quick,
    /// Several gigabytes, five rounds.
    Full,
}

impl Preset {
    fn runs(self) -> u32 {
        match self {
            Self::Quick => 3,
            Self::Full => 5,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// The options of `compare`.
#[derive(Debug, Args)]
pub struct Options {
    /// A folder with prepared data: media, video, chats/day-NN, small, versions/release-NN, library/day-NN, month/day-NN;
    /// what is not there is left out, and the report says so. An empty one is filled and stays; without this, data is made and
    /// removed in the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Any folder, which is compared with as it is, in place of the prepared media. Without --data only the scenarios that
    /// can be made of it are run
    #[arg(long, value_name = "DIR")]
    media: Option<PathBuf>,
    /// Which tools, separated by commas; all that are known unless said otherwise. One that is named and cannot be run ends
    /// this with exit code 3, after the others were compared
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = PossibleValuesParser::new(tools::names()))]
    tools: Vec<String>,
    /// Which scenarios, separated by commas; all unless said otherwise
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = PossibleValuesParser::new(scenario::NAMES))]
    scenarios: Vec<String>,
    /// How much data to make where none is given, and how many rounds
    #[arg(long, value_enum, default_value = "quick")]
    preset: Preset,
    /// How many rounds; the report gives medians and spread [default: 3 for quick, 5 for full]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Where results.json, report.md and index.html go
    #[arg(long, value_name = "DIR", default_value = "comparison")]
    out: PathBuf,
    /// Where repositories and restored files lie meanwhile, in a folder of their own that is removed in the end
    /// [default: /dev/shm if there is room, else the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// How long one run may take before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: u64,
    /// A program that is not on the PATH, or another one than is; may be given many times
    #[arg(long, value_name = "NAME=PATH")]
    program: Vec<String>,
    /// A variable of yours that all tools find too, such as PYTHONPATH; otherwise they find nothing of yours but the PATH.
    /// May be given many times; the report tells them
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
}

impl Options {
    /// Returns the variables that are passed through.
    fn passed(&self) -> Result<Vec<(String, OsString)>, Error> {
        let value = |name: &String| match std::env::var_os(name) {
            _ if name.is_empty() || name.contains(['=', '\0']) => {
                Err(Error::Request(format!("--env {name}: write the name of a variable, without its value")))
            }
            Some(value) => Ok((name.clone(), value)),
            None => Err(Error::Request(format!("--env {name}: there is no such variable in the environment"))),
        };
        self.env.iter().map(value).collect()
    }

    /// Returns whether the user named this tool, or its program.
    fn names_tool(&self, kind: &tools::Kind) -> bool {
        let named_program = |text: &String| text.split_once('=').is_some_and(|(name, _)| name == kind.program);
        self.tools.iter().any(|name| name == kind.name) || self.program.iter().any(named_program)
    }
}

/// Compares, and returns the exit code: 0 done, 3 done but tools failed or something that was named could not be done, 1
/// not done, 130 interrupted (143 terminated).
pub fn run(options: &Options) -> ExitCode {
    match compare(options) {
        Ok(not_done) if not_done.is_empty() => ExitCode::SUCCESS,
        Ok(not_done) => {
            not_done.iter().for_each(|what| note(what));
            ExitCode::from(3)
        }
        Err(error) => {
            note(&error.to_string());
            match error {
                Error::Interrupted(signal) => ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Returns what was asked for and not done.
fn compare(options: &Options) -> Result<Vec<String>, Error> {
    let interrupt = Interrupt::listen().map_err(|error| Error::Request(format!("cannot wait for signals: {error}")))?;
    let passed = options.passed()?;
    std::fs::create_dir_all(&options.out).map_err(Error::file("create", &options.out))?;
    // Whoever names media alone wants nothing else made.
    let makes_data = options.data.is_some() || options.media.is_none();
    let prepare = || generate::prepare(options.data.as_deref(), options.preset, &interrupt);
    let folder = makes_data.then(prepare).transpose()?;
    let data = match (&folder, &options.media) {
        // What the given folder lacks is no matter where the media come from elsewhere.
        (Some(folder), Some(media)) => data::Data::look(&folder.path)?.with_media(media)?,
        (Some(folder), None) => data::Data::find(&folder.path)?,
        (None, Some(media)) => data::Data::default().with_media(media)?,
        (None, None) => data::Data::default(),
    };
    let (scenarios, left_out) = scenario::choose(&data, &options.scenarios)?;
    note("looking at the data");
    let scenarios = scenario::measure(scenarios, &interrupt)?;
    let need = scenarios.iter().map(scenario::Prepared::space_bytes).max().unwrap_or(0);
    let place = Place::new(options.work.as_deref(), need, passed)?;
    let out = options.out.canonicalize().map_err(Error::file("find", &options.out))?;
    for (option, path) in [("--work", place.root()), ("--out", out.as_path())] {
        if let Some(source) = scenario::source_around(&scenarios, path) {
            return Err(Error::Request(format!(
                "{} lies in {}, which is to be compared and must not change meanwhile: name another folder with {option}",
                path.display(),
                source.display()
            )));
        }
    }
    let tools = tools::find(&options.tools, &options.program, &place, &interrupt, Duration::from_secs(options.limit))?;
    for tool in tools.iter().filter(|tool| tool.program.is_none()) {
        note(&format!("{}: {}", tool.kind.name, tool.status));
    }
    if tools.iter().all(|tool| tool.program.is_none()) {
        return Err(Error::Request("none of the tools can be run; see above".into()));
    }
    for text in &options.program {
        let is_used = |tool: &tools::Tool| text.split_once('=').is_some_and(|(name, _)| name == tool.kind.program);
        if !tools.iter().any(is_used) {
            note(&format!("--program {text} has no effect: none of the chosen tools is that program"));
        }
    }
    let not_run = tools.iter().filter(|tool| tool.program.is_none() && options.names_tool(tool.kind));
    let mut not_done: Vec<String> =
        not_run.map(|tool| format!("{} was named and cannot be run: {}", tool.kind.name, tool.status)).collect();
    let named = left_out.iter().filter(|left| options.scenarios.contains(&left.scenario));
    not_done.extend(named.map(|left| format!("{} was named and left out: {}", left.scenario, left.reason)));
    let mut results = Results::new(options, &place, &tools, &scenarios, left_out);
    let outcome = Comparison { scenarios: &scenarios, tools: &tools, place: &place, interrupt: &interrupt, options }
        .run(&mut results);
    // The work folder goes first: a report that cannot be written must not leave it behind.
    drop(place);
    results.ended = outcome.as_ref().err().map(ToString::to_string);
    let written = report::write(&mut results, &options.out);
    outcome?;
    written?;
    note(&format!("written: {}", options.out.join("index.html").display()));
    results.cautions.iter().for_each(|caution| note(caution));
    let failures = results.failures();
    if failures > 0 {
        not_done.push(format!("{failures} runs failed; the report names them"));
    }
    Ok(not_done)
}

/// Tells the user what goes on, on standard error.
fn note(text: &str) {
    // Nothing is left to do if even this cannot be written.
    let _ = writeln!(io::stderr(), "daykeep-bench: {text}");
}
