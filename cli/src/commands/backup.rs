//! `backup`: files and folders, or standard input, become a snapshot.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::{
    BackupOptions, BackupReport, Error, KeyError, MemoryStore, NamedReader, Patterns, PatternsBuilder, Repository,
    Result, SqliteCapture, WhatsAppKey,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, JsonPath, JsonProblem, Status, current_dir};
use crate::args::{BackupArgs, SqliteMode};
use crate::output::note;
use crate::place::{self, Place};
use crate::progress::Progress;
use crate::secret;
use crate::stdin::{CommandOutput, NotEmpty, Stdin};
use crate::text;

pub fn run(context: &Context, args: BackupArgs) -> Result<Status> {
    check(&args)?;
    let place = Place::find(context)?;
    let mut options = BackupOptions::default();
    options.exclude = patterns(&args)?;
    let mut paths = args.paths.clone();
    for path in &args.files_from {
        paths.extend(paths_from(path, context)?);
    }
    let repository = match args.dry_run && place.is_missing_default() {
        true => pretend(context)?,
        false => place::open_or_create_default(context, &place)?,
    };
    let progress = Progress::start(context);
    options.tags = args.tag;
    options.host = args.host;
    options.exclude_caches = args.exclude_caches;
    options.exclude_if_present = args.exclude_if_present;
    options.exclude_larger_than = args.exclude_larger_than.map(|bytes| bytes as u64);
    options.one_file_system = args.one_file_system;
    options.dry_run = args.dry_run;
    options.force = args.force;
    (options.ignore_inode, options.ignore_ctime) = (args.ignore_inode, args.ignore_ctime);
    options.threads = context.global.threads;
    options.level = args.compression.unwrap_or(options.level);
    options.sqlite = match args.sqlite {
        SqliteMode::Off => SqliteCapture::Off,
        SqliteMode::Auto => SqliteCapture::Auto,
        SqliteMode::Verify => SqliteCapture::Verify,
    };
    options.whatsapp_keys = whatsapp_keys(&args.whatsapp_key_file, "whatsapp-key-file")?;
    options.estimate = progress.shows_total();
    options.file_events = context.global.verbose;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let report = if args.stdin || args.stdin_from_command {
        let command = args.stdin_from_command.then_some(paths.as_slice());
        let name = args.stdin_filename.unwrap_or_else(|| "stdin".into());
        backup_stream(&repository, name, command, args.stdin_allow_empty, &options)?
    } else {
        repository.backup(&paths, &options)?
    };
    drop(progress);
    summarise(context, &report, args.dry_run);
    Ok(if report.counts.errors > 0 { Status::Incomplete } else { Status::Done })
}

/// Refuses options that would have no effect.
fn check(args: &BackupArgs) -> Result<()> {
    let is_stream = args.stdin || args.stdin_from_command;
    let refused = |option, reason: &str| Err(Error::InvalidOption { option, reason: reason.into() });
    let for_streams = "is for --stdin and --stdin-from-command; add one of these, or leave it out";
    if !is_stream && args.stdin_filename.is_some() {
        return refused("stdin-filename", for_streams);
    }
    if !is_stream && args.stdin_allow_empty {
        return refused("stdin-allow-empty", for_streams);
    }
    if is_stream && args.files_from.iter().any(|path| path.as_os_str() == "-") {
        return refused("files-from", "standard input cannot be both a list of files and what is saved");
    }
    Ok(())
}

/// Reads the keys in some files; `option` is by which they were named.
pub fn whatsapp_keys(paths: &[PathBuf], option: &'static str) -> Result<Vec<WhatsAppKey>> {
    paths.iter().map(|path| whatsapp_key(path, option)).collect()
}

fn whatsapp_key(path: &Path, option: &'static str) -> Result<WhatsAppKey> {
    let failed = |source| Error::File { path: path.to_owned(), action: "read the WhatsApp key", source };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(WhatsAppKey::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let refused = |error: KeyError| Error::InvalidOption { option, reason: format!("{}: {error}", path.display()) };
    WhatsAppKey::from_file(&bytes).map_err(refused)
}

/// Returns a repository in memory, for a dry run before there is any other.
fn pretend(context: &Context) -> Result<Repository> {
    note("there is no repository yet; this shows what the first backup would store");
    let mut options = place::open_options(context);
    options.cache_dir = None;
    Repository::create_in(Arc::new(MemoryStore::new()), &secret::new_key()?, None, &options)
}

/// Backs up standard input, or what a command prints.
fn backup_stream(
    repository: &Repository,
    name: String,
    command: Option<&[PathBuf]>,
    allow_empty: bool,
    options: &BackupOptions,
) -> Result<BackupReport> {
    let failed = |source| Error::File { path: "standard input".into(), action: "open it", source };
    let stream: Box<dyn Read + Send> = match command {
        Some(command) => Box::new(CommandOutput::start(command, &options.cancel)?),
        None => Box::new(Stdin::open(&options.cancel).map_err(failed)?),
    };
    let what = if command.is_some() { "the command printed nothing" } else { "standard input is empty" };
    let reader = Box::new(NotEmpty::new(stream, (!allow_empty).then_some(what)));
    let name = name.trim_start_matches('/').to_owned();
    let outcome = repository.backup_readers(vec![NamedReader { name, reader }], options);
    // When the input is given up because of a signal, the engine may see no more than a source that cannot be read.
    outcome.map_err(|error| if options.cancel.is_cancelled() { Error::Cancelled } else { error })
}

/// Maximum bytes of a list of files.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Returns the paths in a file, with line feeds or, if there is any, NUL between them.
fn paths_from(path: &Path, context: &Context) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::File { path: path.to_owned(), action: "read the paths from it", source };
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(Stdin::open(context.signals.cancel_token()).map_err(failed)?),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    input.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let refused = |reason: String| Err(Error::InvalidOption { option: "files-from", reason });
    if bytes.len() as u64 > LIST_BYTES_MAX {
        return refused(format!("{}: is longer than 64 MiB; name folders instead of files", path.display()));
    }
    let has_nul = bytes.contains(&0);
    let lines = bytes.split(|&byte| byte == if has_nul { 0 } else { b'\n' });
    let without_return = |line: &[u8]| -> PathBuf {
        let line = if has_nul { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        std::ffi::OsStr::from_bytes(line).into()
    };
    let paths: Vec<PathBuf> = lines.filter(|line| !line.is_empty()).map(without_return).collect();
    if paths.is_empty() {
        return refused(format!("{}: names no file", path.display()));
    }
    Ok(paths)
}

/// Returns what is to be left out. The engine leaves out the repository itself.
fn patterns(args: &BackupArgs) -> Result<Patterns> {
    let here = current_dir()?;
    let mut builder = PatternsBuilder::default().written_in(&here, args.exclude.iter().map(String::as_str))?;
    for path in &args.exclude_from {
        let failed = |source| Error::File { path: path.to_owned(), action: "read patterns from it", source };
        builder = builder.lines_of(path, &std::fs::read(path).map_err(failed)?)?;
    }
    builder.ignoring_case_in(&here, args.iexclude.iter().map(String::as_str))?.build()
}

fn summarise(context: &Context, report: &BackupReport, dry_run: bool) {
    let out = &context.out;
    if out.is_json() {
        out.json(&JsonSummary::of(report, dry_run));
        return;
    }
    if context.global.quiet {
        return;
    }
    let counts = &report.counts;
    out.line(&format!(
        "Files:  {} new, {} changed, {} unmodified",
        text::count(counts.files_new),
        text::count(counts.files_changed),
        text::count(counts.files_unmodified)
    ));
    out.line(&format!(
        "Bytes:  {} processed, {} new, {} stored",
        text::size(counts.bytes),
        text::size(counts.bytes_new),
        text::size(report.bytes_stored)
    ));
    for path in &report.captured {
        out.line(&format!("Open:   {}, saved as one consistent database", text::name(path.as_os_str().as_bytes())));
    }
    for path in &report.opened {
        let name = text::name(path.as_os_str().as_bytes());
        out.line(&format!("Opened: {name}: the database inside is saved, under the name without that ending"));
    }
    for path in &report.companions {
        out.line(&format!(
            "        {} left out: what it holds is in its database",
            text::name(path.as_os_str().as_bytes())
        ));
    }
    for pattern in &report.excludes_without_effect {
        out.note(pattern, None, "matches nothing in this backup", false);
    }
    if report.sockets > 0 && context.global.verbose {
        note(&format!("note: {} left out", text::counted(report.sockets, "socket was", "sockets were")));
    }
    if counts.errors > 0 {
        let sources = text::counted(counts.errors, "source", "sources");
        out.line(&format!("{sources} could not be read in full; see the warnings above"));
    }
    let duration = text::duration(report.duration);
    match &report.snapshot {
        Some(id) => out.line(&format!("Snapshot {} saved in {duration}", text::short_id(id))),
        None => out.line(&format!("Dry run: nothing was stored, in {duration}")),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary<'a> {
    snapshot_id: Option<String>,
    parent: Option<String>,
    dry_run: bool,
    files_processed: u64,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    bytes_processed: u64,
    bytes_new: u64,
    bytes_stored: u64,
    duration_seconds: f64,
    notes: Vec<JsonProblem<'a>>,
    excludes_without_effect: &'a [String],
    sockets: u64,
    captured: Vec<JsonPath>,
    opened: Vec<JsonPath>,
    companions: Vec<JsonPath>,
    errors: Vec<JsonProblem<'a>>,
}

impl<'a> JsonSummary<'a> {
    fn of(report: &'a BackupReport, dry_run: bool) -> Self {
        let counts = &report.counts;
        let problem = |warning: &'a daykeep_engine::Warning| JsonProblem {
            path: JsonPath::of(&warning.path),
            message: &warning.message,
        };
        Self {
            snapshot_id: report.snapshot.map(|id| id.to_string()),
            parent: report.parent.map(|id| id.to_string()),
            dry_run,
            files_processed: counts.files,
            files_new: counts.files_new,
            files_changed: counts.files_changed,
            files_unmodified: counts.files_unmodified,
            bytes_processed: counts.bytes,
            bytes_new: counts.bytes_new,
            bytes_stored: report.bytes_stored,
            duration_seconds: report.duration.as_secs_f64(),
            captured: report.captured.iter().map(|path| JsonPath::of(path)).collect(),
            opened: report.opened.iter().map(|path| JsonPath::of(path)).collect(),
            companions: report.companions.iter().map(|path| JsonPath::of(path)).collect(),
            excludes_without_effect: &report.excludes_without_effect,
            sockets: report.sockets,
            notes: report.notes.iter().map(problem).collect(),
            errors: report.warnings.iter().map(problem).collect(),
        }
    }
}
