//! The commands, one file each, and what they share.

mod backup;
mod benchmark;
mod chats;
mod check;
mod completions;
mod copy;
mod diff;
mod find;
mod forget;
mod init;
mod key;
mod ls;
mod prune;
mod repair;
mod restore;
mod rewrite;
mod snapshots;
mod stats;
mod tag;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use daykeep_engine::{EntryKind, Error, Patterns, PatternsBuilder, Repository, Result, Snapshot};
use serde::Serialize;

use crate::args::{Command, Global};
use crate::output::{Out, note};
use crate::signals::Signals;
use crate::text;

/// What every command works with.
pub struct Context {
    pub global: Global,
    pub out: Arc<Out>,
    pub signals: Signals,
}

/// How a command ended that was able to do its work.
pub enum Status {
    /// All is done.
    Done,
    /// Done, but something could not be read or restored.
    Incomplete,
    /// What was looked at is not as it should be.
    Failed,
}

/// Warns if the newest snapshot that was seen here is gone.
///
/// # Errors
/// If the list of snapshots cannot be had.
fn warn_of_rollback(context: &Context, repository: &Repository, snapshots: &[Snapshot]) -> Result<()> {
    if let Some(gone) = repository.gone_snapshot(snapshots)? {
        context.out.warning(&repository.location(), &gone.to_string());
    }
    Ok(())
}

/// Does what the user asks for.
///
/// # Errors
/// If it cannot be done.
pub fn run(context: &Context, command: Command) -> Result<Status> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Backup(args) => backup::run(context, args),
        Command::Snapshots(args) => snapshots::run(context, args),
        Command::Ls(args) => ls::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Chats(args) => chats::run(context, args),
        Command::Find(args) => find::run(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Tag(args) => tag::run(context, args),
        Command::Copy(args) => copy::run(context, args),
        Command::Rewrite(args) => rewrite::run(context, args),
        Command::Forget(args) => forget::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Prune(args) => prune::run(context, args),
        Command::Repair(args) => repair::run(context, args),
        Command::Stats => stats::run(context),
        Command::Benchmark(args) => benchmark::run(context, args),
        Command::Key(command) => key::run(context, command),
        Command::Completions { shell } => completions::run(context, shell),
    }
}

/// Names errors that did not end the command; any of them makes it a failure.
fn report(errors: &[Error]) -> Status {
    errors.iter().for_each(|error| note(&format!("error: {error}")));
    if errors.is_empty() { Status::Done } else { Status::Failed }
}

/// Returns the current folder, from which relative paths and patterns are taken.
///
/// # Errors
/// If it is gone.
fn current_dir() -> Result<std::path::PathBuf> {
    std::env::current_dir().map_err(|source| Error::File {
        path: ".".into(),
        action: "find the current folder, from which relative paths are taken",
        source,
    })
}

/// Returns patterns as they are written on the command line.
fn patterns_here(patterns: &[String]) -> Result<Patterns> {
    PatternsBuilder::default().written_in(&current_dir()?, patterns.iter().map(String::as_str))?.build()
}

/// Tells of patterns that matched nothing, so that a slip of the pen does not pass for an empty answer.
fn tell_without_effect(context: &Context, patterns: &Patterns) {
    for pattern in patterns.without_effect() {
        context.out.note(&pattern, None, "matches nothing", context.global.quiet);
    }
}

/// Returns the word for a sort of entry.
fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::CharDevice => "char_device",
        EntryKind::BlockDevice => "block_device",
        _ => "other",
    }
}

/// A path in JSON. Text cannot hold every path; those get their bytes in hexadecimal digits too.
#[derive(Serialize)]
pub struct JsonPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl JsonPath {
    /// Takes a path of the system.
    pub fn of(path: &Path) -> Self {
        Self::of_bytes(path.as_os_str().as_bytes())
    }

    /// Takes a path of a snapshot.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let path_bytes = str::from_utf8(bytes).is_err().then(|| text::hex(bytes));
        Self { path: String::from_utf8_lossy(bytes).into_owned(), path_bytes }
    }
}

/// Something that could not be read or restored.
#[derive(Serialize)]
struct JsonProblem<'a> {
    #[serde(flatten)]
    path: JsonPath,
    message: &'a str,
}
