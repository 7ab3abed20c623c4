//! `restore`: brings files of a snapshot back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use daykeep_engine::{
    Access, Event, Observer, Overwrite, Patterns, PatternsBuilder, RestoreOptions, RestoreReport, Result, SnapshotPath,
};
use serde::Serialize;

use super::backup::whatsapp_keys;
use super::{Context, JsonPath, JsonProblem, Status, patterns_here, warn_of_rollback};
use crate::args::{OverwriteArg, RestoreArgs};
use crate::output::Out;
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: RestoreArgs) -> Result<Status> {
    let mut path = SnapshotPath::parse(args.snapshot.as_bytes())?;
    let mut options = RestoreOptions::default();
    options.include = patterns(&path, &args.include)?;
    options.exclude = patterns(&path, &args.exclude)?;
    options.overwrite = match args.overwrite {
        OverwriteArg::Always => Overwrite::Always,
        OverwriteArg::IfChanged => Overwrite::IfChanged,
        OverwriteArg::Never => Overwrite::Never,
    };
    options.dry_run = args.dry_run;
    options.delete = args.delete;
    options.delete_excluded = args.delete_excluded;
    options.follow_target_links = args.follow_target_links;
    options.set_id = args.set_id;
    options.verify = args.verify;
    options.numeric_owner = args.numeric_owner;
    options.whatsapp_seal = whatsapp_keys(&args.whatsapp_seal, "whatsapp-seal")?;
    options.threads = context.global.threads;
    let repository = place::open(context, Access::Read)?.repository;
    args.latest.choose_of(&repository, [&mut path])?;
    warn_of_rollback(context, &repository, &repository.snapshots()?.0)?;
    let progress = Progress::start(context);
    options.observer = progress.observer().map(|inner| -> Arc<dyn Observer> {
        Arc::new(Told { inner, out: Arc::clone(&context.out), is_silent: !args.dry_run || context.global.quiet })
    });
    options.cancel = context.signals.cancel_token().clone();
    let report = repository.restore(&path, &args.target, &options)?;
    drop(progress);
    summarise(context, &report, &args);
    let is_whole = report.warnings.is_empty() && report.includes_unmatched.is_empty();
    Ok(if is_whole { Status::Done } else { Status::Incomplete })
}

/// Returns patterns as they are written on the command line: below the path in the snapshot if one is named, and otherwise
/// in the current folder, since a snapshot has absolute paths.
fn patterns(path: &SnapshotPath, patterns: &[String]) -> Result<Patterns> {
    let Some(names) = &path.path else { return patterns_here(patterns) };
    let folder = names.iter().fold(PathBuf::from("/"), |path, name| path.join(OsStr::from_bytes(name)));
    PatternsBuilder::default().written_below(&folder, patterns.iter().map(String::as_str))?.build()
}

/// Lists what is removed, beside the progress.
struct Told {
    inner: Arc<dyn Observer>,
    out: Arc<Out>,
    /// For people only a dry run lists it: that is what it is for.
    is_silent: bool,
}

impl Observer for Told {
    fn event(&self, event: &Event) {
        match event {
            Event::Deleted { path } if self.out.is_json() => {
                self.out.json(&JsonDeleted { path: JsonPath::of(path) });
            }
            Event::Deleted { path } if !self.is_silent => {
                self.out.line(&format!("Would remove {}", text::name(path.as_os_str().as_bytes())));
            }
            event => self.inner.event(event),
        }
    }
}

fn summarise(context: &Context, report: &RestoreReport, args: &RestoreArgs) {
    let out = &context.out;
    if out.is_json() {
        out.json(&JsonSummary::of(report, args.dry_run));
        return;
    }
    if context.global.quiet {
        return;
    }
    out.line(&format!(
        "{} {}, {} in {} to {} in {}",
        if args.dry_run { "Would restore" } else { "Restored" },
        text::counted(report.files, "file", "files"),
        text::size(report.bytes),
        text::counted(report.directories, "folder", "folders"),
        text::name(args.target.as_os_str().as_bytes()),
        text::duration(report.duration)
    ));
    if report.files_kept > 0 {
        out.line(&format!("Kept {} that the target had", text::counted(report.files_kept, "file", "files")));
    }
    if report.deleted > 0 {
        let things = text::counted(report.deleted, "thing", "things");
        out.line(&format!(
            "{} {things} that the snapshot has not",
            if args.dry_run { "Would remove" } else { "Removed" }
        ));
    }
    if report.folders_spared > 0 {
        let folders = text::counted(report.folders_spared, "folder", "folders");
        out.line(&format!("Removed nothing in {folders} where the backup left something out (see --delete-excluded)"));
    }
    if args.verify && !args.dry_run {
        let files = text::counted(report.files_verified, "file", "files");
        out.line(&format!("{files} read back and found equal to the snapshot"));
    }
    if report.packs_healed > 0 {
        let packs = text::counted(report.packs_healed, "pack is damaged and was", "packs are damaged and were");
        out.line(&format!("{packs} healed for this; `daykeep check --repair` heals for good"));
    }
    if !report.warnings.is_empty() {
        let things = text::counted(report.warnings.len() as u64, "thing", "things");
        out.line(&format!("{things} could not be restored in full; see the warnings above"));
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "deleted")]
struct JsonDeleted {
    #[serde(flatten)]
    path: JsonPath,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary<'a> {
    dry_run: bool,
    files: u64,
    directories: u64,
    bytes: u64,
    files_kept: u64,
    files_verified: u64,
    deleted: u64,
    folders_spared: u64,
    flags_failed: u64,
    includes_unmatched: &'a [String],
    packs_healed: u64,
    duration_seconds: f64,
    errors: Vec<JsonProblem<'a>>,
}

impl<'a> JsonSummary<'a> {
    fn of(report: &'a RestoreReport, dry_run: bool) -> Self {
        let problem =
            |(path, message): &'a (String, String)| JsonProblem { path: JsonPath::of_bytes(path.as_bytes()), message };
        Self {
            dry_run,
            files: report.files,
            directories: report.directories,
            bytes: report.bytes,
            files_kept: report.files_kept,
            files_verified: report.files_verified,
            deleted: report.deleted,
            folders_spared: report.folders_spared,
            flags_failed: report.flags_failed,
            includes_unmatched: &report.includes_unmatched,
            packs_healed: report.packs_healed,
            duration_seconds: report.duration.as_secs_f64(),
            errors: report.warnings.iter().map(problem).collect(),
        }
    }
}
