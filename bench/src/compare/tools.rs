//! The tools: which there are, whether they are on this machine, and in which version.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::adapters::{self, Job};
use super::interrupt::Interrupt;
use super::measure::{Ended, Invocation, Runner};
use super::place::Place;

/// How long a program may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// What a tool is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What is measured against the others.
    Daykeep,
    /// Another backup program.
    Rival,
    /// No backup program but what bounds one: copying, looking, delta compression with all of the old file at hand.
    Limit,
}

/// A version, as far as it matters.
pub type Version = [u32; 3];

/// One tool: what it is called, how it is found, and its command lines.
pub struct Kind {
    /// Its name in `--tools` and in the results.
    pub name: &'static str,
    /// What it is here for.
    pub role: Role,
    /// What it is found by on the PATH; empty for what this program does itself.
    pub program: &'static str,
    /// The arguments that make it say its version.
    version: &'static [&'static str],
    /// The versions that its command lines are known to work with: from the first to before the second.
    known: (Version, Version),
    /// Whether these command lines have been run with the real program.
    pub tried: bool,
    /// What the reader of a report must know.
    pub note: &'static str,
    /// The command line of a step, if the tool can do it. The program is filled in by the caller.
    pub command: fn(&Job) -> Option<Invocation>,
    /// What one backup stored, from its output, where the size of the repository does not tell.
    pub stored: Option<fn(&str) -> Option<u64>>,
}

const ANY: Version = [0, 0, 0];
const NONE: Version = [u32::MAX, 0, 0];

/// All tools, in the order of the reports.
pub static KINDS: [Kind; 14] = [
    Kind {
        name: "daykeep-dir",
        role: Role::Daykeep,
        program: "daykeep",
        version: &["--version"],
        known: ([0, 1, 0], NONE),
        tried: true,
        note: "a directory, opened by key file",
        command: adapters::daykeep_dir,
        stored: None,
    },
    Kind {
        name: "daykeep-dir-password",
        role: Role::Daykeep,
        program: "daykeep",
        version: &["--version"],
        known: ([0, 1, 0], NONE),
        tried: true,
        note: "a directory, opened by password, as the others are",
        command: adapters::daykeep_dir_password,
        stored: None,
    },
    Kind {
        name: "daykeep-redb",
        role: Role::Daykeep,
        program: "daykeep",
        version: &["--version"],
        known: ([0, 1, 0], NONE),
        tried: true,
        note: "one redb file, opened by key file; the file grows by doubling, so what a backup adds is what daykeep \
               reports as stored, not the growth of the file",
        command: adapters::daykeep_redb,
        stored: Some(adapters::daykeep_stored),
    },
    Kind {
        name: "daykeep-redb-password",
        role: Role::Daykeep,
        program: "daykeep",
        version: &["--version"],
        known: ([0, 1, 0], NONE),
        tried: true,
        note: "one redb file, opened by password; the file grows by doubling, so what a backup adds is what daykeep \
               reports as stored, not the growth of the file",
        command: adapters::daykeep_redb_password,
        stored: Some(adapters::daykeep_stored),
    },
    Kind {
        name: "restic",
        role: Role::Rival,
        program: "restic",
        version: &["version"],
        known: ([0, 14, 0], [1, 0, 0]),
        tried: true,
        note: "",
        command: adapters::restic,
        stored: None,
    },
    Kind {
        name: "rustic",
        role: Role::Rival,
        program: "rustic",
        version: &["--version"],
        known: ([0, 11, 0], [1, 0, 0]),
        tried: true,
        note: "",
        command: adapters::rustic,
        stored: None,
    },
    Kind {
        name: "borg",
        role: Role::Rival,
        program: "borg",
        version: &["--version"],
        // Borg 2 has other commands.
        known: ([1, 2, 0], [2, 0, 0]),
        tried: true,
        note: "repokey-blake2",
        command: adapters::borg,
        stored: None,
    },
    Kind {
        name: "conserve",
        role: Role::Rival,
        program: "conserve",
        version: &["--version"],
        known: ([24, 8, 0], NONE),
        tried: true,
        note: "does not encrypt",
        command: adapters::conserve,
        stored: None,
    },
    Kind {
        name: "kopia",
        role: Role::Rival,
        program: "kopia",
        version: &["--version"],
        known: ([0, 15, 0], [1, 0, 0]),
        tried: false,
        note: "",
        command: adapters::kopia,
        stored: None,
    },
    Kind {
        name: "bupstash",
        role: Role::Rival,
        program: "bupstash",
        version: &["version"],
        known: ([0, 11, 0], [1, 0, 0]),
        tried: false,
        note: "has no command that checks the data",
        command: adapters::bupstash,
        stored: None,
    },
    Kind {
        name: "duplicacy",
        role: Role::Rival,
        program: "duplicacy",
        version: &["-version"],
        known: ([2, 7, 0], [4, 0, 0]),
        tried: false,
        note: "a restore includes making its preferences",
        command: adapters::duplicacy,
        stored: None,
    },
    Kind {
        name: "cp",
        role: Role::Limit,
        program: "cp",
        version: &["--version"],
        known: (ANY, NONE),
        tried: true,
        note: "cp -r: a full copy each time, nothing encrypted, compressed or deduplicated",
        command: adapters::cp,
        stored: None,
    },
    Kind {
        name: "zstd",
        role: Role::Limit,
        program: "zstd",
        version: &["--version"],
        // --patch-from came with 1.4.5.
        known: ([1, 4, 5], NONE),
        tried: true,
        note: "zstd --patch-from: each file against the whole of the day before, where all files lie in one folder",
        command: adapters::zstd,
        stored: None,
    },
    Kind {
        name: "walk",
        role: Role::Limit,
        program: "",
        version: &[],
        known: (ANY, NONE),
        tried: true,
        note: "looks at the metadata of every file on all cores, and does nothing with it",
        command: adapters::walk,
        stored: None,
    },
];

/// Returns the names of all tools.
pub fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// A tool on this machine.
pub struct Tool {
    /// Which.
    pub kind: &'static Kind,
    /// The program, if it can be run.
    pub program: Option<PathBuf>,
    /// Its version, if it was found out.
    pub version: String,
    /// `found`, or why it is not run.
    pub status: String,
}

/// Looks for the tools of these names, or all, and asks them for their versions.
///
/// # Errors
/// A program that was named is not there; an interrupt.
pub fn find(
    names: &[String],
    programs: &[String],
    place: &Place,
    interrupt: &Interrupt,
    limit: Duration,
) -> Result<Vec<Tool>, Error> {
    let named = programs.iter().map(|text| named_program(text)).collect::<Result<Vec<_>, _>>()?;
    let runner = Runner { place, interrupt, limit: limit.min(VERSION_LIMIT) };
    let wanted = |kind: &&Kind| names.is_empty() || names.iter().any(|name| name == kind.name);
    KINDS.iter().filter(wanted).map(|kind| look_for(kind, &named, &runner)).collect()
}

/// Reads `NAME=PATH`.
fn named_program(text: &str) -> Result<(&'static str, PathBuf), Error> {
    let parts = text.split_once('=');
    let kind = parts.and_then(|(name, _)| KINDS.iter().find(|kind| kind.program == name && !name.is_empty()));
    let (Some((_, path)), Some(kind)) = (parts, kind) else {
        let mut known: Vec<&str> = KINDS.iter().map(|kind| kind.program).filter(|name| !name.is_empty()).collect();
        known.dedup();
        let known = known.join(", ");
        return Err(Error::Request(format!("--program {text}: write NAME=PATH with a name of {known}")));
    };
    let path = PathBuf::from(path);
    match path.canonicalize() {
        // The link itself is kept: some programs look at the name they are called by.
        Ok(found) if is_program(&found) => Ok((kind.program, std::path::absolute(&path).unwrap_or(found))),
        _ => Err(Error::Request(format!("--program {text}: there is no such program"))),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Returns where a program is: as it was named, beside this program (daykeep alone), or on the PATH.
fn program(kind: &Kind, named: &[(&str, PathBuf)]) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    if kind.program.is_empty() {
        return Some(own);
    }
    if let Some((_, path)) = named.iter().find(|(name, _)| *name == kind.program) {
        return Some(path.clone());
    }
    let beside = Some(own.with_file_name(kind.program)).filter(|_| kind.role == Role::Daykeep);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(kind.program));
    beside.into_iter().chain(on_path).filter(|path| path.is_absolute()).find(|path| is_program(path))
}

fn look_for(kind: &'static Kind, named: &[(&str, PathBuf)], runner: &Runner) -> Result<Tool, Error> {
    let refused = |status: String, version: String| Ok(Tool { kind, program: None, version, status });
    let Some(program) = program(kind, named) else {
        return refused("missing: not on this machine".into(), String::new());
    };
    let found = |version| Ok(Tool { kind, program: Some(program.clone()), version, status: "found".into() });
    if kind.program.is_empty() {
        return found(env!("CARGO_PKG_VERSION").into());
    }
    let arguments: Vec<OsString> = kind.version.iter().map(OsString::from).collect();
    let ended = runner.run(&Invocation { program: program.clone(), arguments, ..Invocation::default() })?;
    match ended {
        Ended::Done(_) => {}
        Ended::Failed(reason) => return refused(format!("does not tell its version: {reason}"), String::new()),
        Ended::TimedOut => return refused("does not tell its version: timed out".into(), String::new()),
    }
    let Some((version, text)) = version_in(&runner.output()).or_else(|| version_in(&runner.complaints())) else {
        return refused("does not tell its version".into(), String::new());
    };
    let (least, below) = kind.known;
    let dotted = |version: Version| version.map(|part| part.to_string()).join(".");
    match version {
        _ if version < least => {
            refused(format!("refused: version {text} is older than {}", dotted(least)), text.clone())
        }
        _ if version >= below => refused(
            format!("refused: version {text} is not below {}, whose commands may differ", dotted(below)),
            text.clone(),
        ),
        _ => found(text),
    }
}

/// Finds the first version number in a text, such as 1.2 or 1.2.3, and returns it with how it was written.
fn version_in(text: &str) -> Option<(Version, String)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let word = word.trim_matches('.');
        let parts: Vec<u32> = word.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let part = |index: usize| parts.get(index).copied().unwrap_or(0);
        (parts.len() >= 2).then(|| ([part(0), part(1), part(2)], word.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, wanted) in [
            ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", [0, 14, 0]),
            ("cp (GNU coreutils) 9.1", [9, 1, 0]),
            ("*** zstd command line interface 64-bits v1.5.4, by Yann Collet ***", [1, 5, 4]),
            ("bupstash-0.12.0", [0, 12, 0]),
            ("borg 1.4.5", [1, 4, 5]),
            ("duplicacy version 3.2.3 (254953)", [3, 2, 3]),
        ] {
            assert_eq!(version_in(text).map(|found| found.0), Some(wanted), "{text}");
        }
        assert_eq!(version_in("no number, 64 bits"), None);
    }
}
