//! `restore`: brings files of a snapshot back.

use std::os::unix::ffi::OsStrExt;

use daykeep_engine::{Access, Overwrite, Patterns, RestoreOptions, RestoreReport, Result, SnapshotPath};
use serde::Serialize;

use super::backup::whatsapp_keys;
use super::{Context, JsonPath, JsonProblem, Status, warn_of_rollback};
use crate::args::{OverwriteArg, RestoreArgs};
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: RestoreArgs) -> Result<Status> {
    let mut path = SnapshotPath::parse(args.snapshot.as_bytes())?;
    let mut options = RestoreOptions::default();
    options.include = Patterns::new(args.include.iter().map(String::as_str))?;
    options.exclude = Patterns::new(args.exclude.iter().map(String::as_str))?;
    options.overwrite = match args.overwrite {
        OverwriteArg::Always => Overwrite::Always,
        OverwriteArg::IfChanged => Overwrite::IfChanged,
        OverwriteArg::Never => Overwrite::Never,
    };
    options.dry_run = args.dry_run;
    options.verify = args.verify;
    options.numeric_owner = args.numeric_owner;
    options.whatsapp_seal = whatsapp_keys(&args.whatsapp_seal, "whatsapp-seal")?;
    options.threads = context.global.threads;
    let repository = place::open(context, Access::Read)?.repository;
    args.latest.choose_of(&repository, [&mut path])?;
    warn_of_rollback(context, &repository, &repository.snapshots()?.0)?;
    let progress = Progress::start(context);
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let report = repository.restore(&path, &args.target, &options)?;
    drop(progress);
    summarise(context, &report, &args);
    Ok(if report.warnings.is_empty() { Status::Done } else { Status::Incomplete })
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
#[serde(tag = "type", rename = "summary")]
struct JsonSummary<'a> {
    dry_run: bool,
    files: u64,
    directories: u64,
    bytes: u64,
    files_kept: u64,
    files_verified: u64,
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
            packs_healed: report.packs_healed,
            duration_seconds: report.duration.as_secs_f64(),
            errors: report.warnings.iter().map(problem).collect(),
        }
    }
}
