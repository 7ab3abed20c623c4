//! The command line of daykeep: it parses, calls the engine and prints.

mod args;
mod commands;
mod output;
mod place;
mod progress;
mod secret;
mod signals;
mod stdin;
mod text;
mod values;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use daykeep_engine::Error;

use crate::args::Args;
use crate::commands::{Context, Status};
use crate::output::Out;
use crate::signals::{INTERRUPTED, Signals};

fn main() -> ExitCode {
    let args = Args::parse();
    keep_quiet_about_redb();
    raise_file_limit();
    let out = Arc::new(Out::new(args.global.json));
    let outcome = Signals::listen().and_then(|signals| {
        let context = Context { global: args.global, out: Arc::clone(&out), signals };
        let only_prints = args.command.only_prints();
        let status = commands::run(&context, args.command)?;
        match out.finish() {
            Ok(()) => Ok(status),
            Err(error) if only_prints => Err(error),
            // What was done is done, though nobody can read what was printed of it.
            Err(error) => {
                out.error(&error, INCOMPLETE);
                Ok(Status::Incomplete)
            }
        }
    });
    match outcome {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Failed) => ExitCode::from(FAILED),
        Ok(Status::Incomplete) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            let code = exit_code(&error);
            out.error(&error, code);
            ExitCode::from(code)
        }
    }
}

const FAILED: u8 = 1;
/// As clap has it for a command line that it refuses.
const USAGE: u8 = 2;
const INCOMPLETE: u8 = 3;

/// Returns the exit code of an error.
fn exit_code(error: &Error) -> u8 {
    match error {
        Error::RepositoryNotFound { .. } => 10,
        Error::RepositoryInUse { .. } => 11,
        Error::WrongKey { .. } | Error::InvalidKey { .. } => 12,
        Error::Cancelled => INTERRUPTED,
        // Nobody gave a plan: the repository has changed meanwhile.
        Error::InvalidOption { option: "plan", .. } => FAILED,
        Error::InvalidOption { .. } => USAGE,
        _ => FAILED,
    }
}

/// The engine catches what makes redb panic on a damaged file and reports it as damage, so a trace of the panic would
/// only confuse. What it cannot catch ends the process, and then it is said why.
fn keep_quiet_about_redb() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_second = daykeep_engine::is_second_panic();
        if !panic.location().is_some_and(|location| location.file().contains("/redb-")) {
            print(panic);
        } else if is_second {
            // Standard error may be closed; then the exit code has to say it.
            let _ = writeln!(std::io::stderr(), "error: {DAMAGED_BEYOND_REDB}");
            std::process::exit(FAILED.into());
        }
    }));
}

const DAMAGED_BEYOND_REDB: &str = "a redb file is damaged where it says which of its pages are free, and redb cannot go on. If \
    it was the catalog, it is begun anew when the command is run again; if this comes again, it is the repository: \
    everything in it can still be restored, and `daykeep repair --rescue-to` saves it into a new repository";

/// Many directories are open at once in deep trees, and the usual soft limit of 1024 files is for programs that use
/// `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, the engine gets by with fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let repository = String::new;
        assert_eq!(exit_code(&Error::RepositoryNotFound { repository: repository() }), 10);
        assert_eq!(exit_code(&Error::RepositoryInUse { repository: repository() }), 11);
        assert_eq!(exit_code(&Error::WrongKey { repository: repository(), slots: 1 }), 12);
        assert_eq!(exit_code(&Error::InvalidKey { object: repository(), reason: repository() }), 12);
        assert_eq!(exit_code(&Error::Cancelled), 130);
        assert_eq!(exit_code(&Error::InvalidOption { option: "forget", reason: repository() }), 2);
        assert_eq!(exit_code(&Error::InvalidOption { option: "plan", reason: repository() }), 1);
        assert_eq!(exit_code(&Error::Missing { object: repository() }), 1);
        assert_eq!(exit_code(&Error::RepositoryExists { repository: repository() }), 1);
        assert_eq!(exit_code(&Error::NewerFormat { repository: repository(), found: 2, supported: 1 }), 1);
    }
}
