//! `backup`: files and folders, or standard input, become a snapshot.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::{
    BackupOptions, BackupReport, Error, KeyError, MemoryStore, NamedReader, Patterns, Repository, Result,
    SqliteCapture, WhatsAppKey,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, JsonPath, JsonProblem, Status};
use crate::args::{BackupArgs, SqliteMode};
use crate::output::note;
use crate::place::{self, Place};
use crate::progress::Progress;
use crate::secret;
use crate::stdin::Stdin;
use crate::text;

pub fn run(context: &Context, args: BackupArgs) -> Result<Status> {
    let place = Place::find(context)?;
    let mut options = BackupOptions::default();
    options.exclude = patterns(context, &place, &args)?;
    let repository = match args.dry_run && place.is_missing_default() {
        true => pretend(context)?,
        false => place::open_or_create_default(context, &place)?,
    };
    let progress = Progress::start(context);
    options.tags = args.tag;
    options.host = args.host;
    options.exclude_caches = args.exclude_caches;
    options.one_file_system = args.one_file_system;
    options.dry_run = args.dry_run;
    options.force = args.force;
    options.threads = context.global.threads;
    options.level = args.compression.unwrap_or(options.level);
    options.sqlite = match args.sqlite {
        SqliteMode::Off => SqliteCapture::Off,
        SqliteMode::Auto => SqliteCapture::Auto,
        SqliteMode::Verify => SqliteCapture::Verify,
    };
    options.whatsapp_key = args.whatsapp_key_file.as_deref().map(whatsapp_key).transpose()?;
    options.estimate = progress.shows_total();
    options.file_events = context.global.verbose;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let report = if args.stdin {
        backup_stdin(&repository, args.stdin_filename, &options)?
    } else {
        repository.backup(&args.paths, &options)?
    };
    drop(progress);
    summarise(context, &report, args.dry_run);
    Ok(if report.counts.errors > 0 { Status::Incomplete } else { Status::Done })
}

fn whatsapp_key(path: &Path) -> Result<WhatsAppKey> {
    let failed = |source| Error::File { path: path.to_owned(), action: "read the WhatsApp key", source };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(WhatsAppKey::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let refused = |error: KeyError| Error::InvalidOption {
        option: "whatsapp-key-file",
        reason: format!("{}: {error}", path.display()),
    };
    WhatsAppKey::from_file(&bytes).map_err(refused)
}

/// Returns a repository in memory, for a dry run before there is any other.
fn pretend(context: &Context) -> Result<Repository> {
    note("there is no repository yet; this shows what the first backup would store");
    let mut options = place::open_options(context);
    options.cache_dir = None;
    Repository::create_in(Arc::new(MemoryStore::new()), &secret::new_key()?, None, &options)
}

fn backup_stdin(repository: &Repository, name: String, options: &BackupOptions) -> Result<BackupReport> {
    let failed = |source| Error::File { path: "standard input".into(), action: "open it", source };
    let reader = Box::new(Stdin::open(&options.cancel).map_err(failed)?);
    let name = name.trim_start_matches('/').to_owned();
    let outcome = repository.backup_readers(vec![NamedReader { name, reader }], options);
    // When the input is given up because of a signal, the engine may see no more than a source that cannot be read.
    outcome.map_err(|error| if options.cancel.is_cancelled() { Error::Cancelled } else { error })
}

/// Returns what is to be left out.
fn patterns(context: &Context, place: &Place, args: &BackupArgs) -> Result<Patterns> {
    let mut lines = args.exclude.clone();
    for path in &args.exclude_from {
        lines.extend(patterns_from(path)?);
    }
    // A repository that holds itself would never stop growing.
    for own in [Some(place.location.path().to_owned()), place::cache_dir(context)].into_iter().flatten() {
        lines.extend(literal_patterns(&own));
    }
    Patterns::new(lines.iter().map(String::as_str))
}

/// Returns the lines of a file of patterns. It is read once: it may be a pipe.
fn patterns_from(path: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::File { path: path.to_owned(), action: "read patterns from it", source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines: Vec<String> = text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    // Built here for nothing but an error that names the file.
    Patterns::new(lines.iter().map(String::as_str)).map_err(|error| match error {
        Error::InvalidOption { option, reason } => {
            Error::InvalidOption { option, reason: format!("{}: {reason}", path.display()) }
        }
        other => other,
    })?;
    Ok(lines)
}

/// Returns patterns that match one path alone, as it was named and as it is without links.
fn literal_patterns(path: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = std::path::absolute(path).into_iter().chain(path.canonicalize()).collect();
    paths.dedup();
    paths.iter().filter_map(|path| path.to_str()).map(escape_pattern).collect()
}

fn escape_pattern(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    for c in path.trim_end_matches('/').chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    out
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
            notes: report.notes.iter().map(problem).collect(),
            errors: report.warnings.iter().map(problem).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_as_a_pattern_matches_only_itself() {
        assert_eq!(escape_pattern("/home/me/a*b [1].redb/"), "/home/me/a\\*b\\ \\[1\\].redb");
    }
}
