//! `check`: proves that everything is there and intact.

use daykeep_engine::{Access, CheckOptions, CheckReport, ReadData, RestoreTest, RestoreTested, Result};
use serde::Serialize;

use super::{Context, Status};
use crate::args::CheckArgs;
use crate::output::note;
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: CheckArgs) -> Result<Status> {
    // A restore test leaves a record.
    let access = if args.restore_test.is_some() || args.repair { Access::Write } else { Access::Read };
    let repository = place::open(context, access)?.repository;
    let mut tested = args.snapshot;
    args.latest.choose(&repository, &mut tested)?;
    let progress = Progress::start(context);
    let mut options = CheckOptions::default();
    options.read_data = match args.read_data_subset {
        // What is to be healed has to be read.
        None if args.read_data || args.repair => ReadData::All,
        subset => subset.unwrap_or_default(),
    };
    options.repair = args.repair;
    options.restore_test = args.restore_test.map(|percent| {
        let mut test = RestoreTest::percent(percent);
        test.snapshots = tested;
        test
    });
    options.seed = args.seed;
    options.threads = context.global.threads;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let mut report = repository.check(&options)?;
    drop(progress);
    if args.repair && repository.parity_percent() == 0 {
        let text = "this repository has no parity to heal with; `daykeep repair --read-data` saves what can be saved";
        report.notes.push(text.into());
    }
    report.notes.iter().for_each(|text| note(&format!("note: {text}")));
    report.errors.iter().for_each(|text| note(&format!("error: {text}")));
    summarise(context, &report, args.repair);
    Ok(if report.errors.is_empty() { Status::Done } else { Status::Failed })
}

fn summarise(context: &Context, report: &CheckReport, is_repair: bool) {
    let out = &context.out;
    if out.is_json() {
        report.restore_tests.iter().for_each(|tested| out.json(&JsonTested::of(tested)));
        out.json(&JsonSummary::of(report));
        return;
    }
    if context.global.quiet {
        return;
    }
    out.line(&format!(
        "Checked {}, {}, {} and {} in {}; read {}",
        text::counted(report.snapshots, "snapshot", "snapshots"),
        text::counted(report.trees, "tree", "trees"),
        text::counted(report.packs, "pack", "packs"),
        text::counted(report.chunks, "chunk", "chunks"),
        text::duration(report.duration),
        text::size(report.bytes_read)
    ));
    for tested in &report.restore_tests {
        out.line(&format!(
            "Restored {} of snapshot {} into nothing, {}; {} whole, {}",
            text::counted(tested.files, "file", "files"),
            text::short_id(&tested.snapshot),
            text::size(tested.bytes),
            text::counted(tested.databases, "database", "databases"),
            text::counted(tested.problems, "problem", "problems")
        ));
    }
    if let Some(seed) = report.seed {
        out.line(&format!("The sample is that of --seed {seed}"));
    }
    match report.errors.len() {
        0 => out.line("No errors were found"),
        found => out.line(&format!(
            "{} found, named above; {} hurt",
            text::counted(found as u64, "error", "errors"),
            text::counted(report.files_hurt, "file or folder is", "files or folders are")
        )),
    }
    if let Some(step) = next_step(report, is_repair) {
        out.line(step);
    }
}

/// Returns what is to be done about errors, if anything helps.
fn next_step(report: &CheckReport, is_repair: bool) -> Option<&'static str> {
    // What a repair could not heal it does not heal the next time either.
    let heals = report.objects_healable > 0 && !is_repair;
    // Databases that were damaged when they were backed up are as they were; of more than are named one line tells.
    let (mut lost, mut old) = (0, 0);
    for tested in &report.restore_tests {
        lost += tested.lost;
        old += tested.problems.saturating_sub(tested.lost).min(tested.problems_named.len() as u64 + 1);
    }
    let without_cure = report.objects_healable + u64::from(report.gone_snapshot.is_some()) + old;
    match (heals, lost > 0 || report.errors.len() as u64 > without_cure) {
        (true, false) => Some("`daykeep check --repair` heals this for good"),
        (true, true) => Some(
            "`daykeep check --repair` heals what its parity heals; then `daykeep repair --read-data` mends what can be \
             mended",
        ),
        (false, true) => Some("`daykeep repair --read-data` mends what can be mended"),
        (false, false) => None,
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "restore_test")]
struct JsonTested {
    snapshot: String,
    all_files: bool,
    files: u64,
    bytes: u64,
    databases: u64,
    problems: u64,
    hints: u64,
}

impl JsonTested {
    fn of(tested: &RestoreTested) -> Self {
        Self {
            snapshot: tested.snapshot.to_string(),
            all_files: tested.is_all,
            files: tested.files,
            bytes: tested.bytes,
            databases: tested.databases,
            problems: tested.problems,
            hints: tested.hints,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary<'a> {
    snapshots: u64,
    trees: u64,
    packs: u64,
    chunks: u64,
    packs_read: u64,
    bytes_read: u64,
    objects_healable: u64,
    objects_healed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    duration_seconds: f64,
    files_hurt: u64,
    errors: &'a [String],
    notes: &'a [String],
}

impl<'a> JsonSummary<'a> {
    fn of(report: &'a CheckReport) -> Self {
        Self {
            snapshots: report.snapshots,
            trees: report.trees,
            packs: report.packs,
            chunks: report.chunks,
            packs_read: report.packs_read,
            bytes_read: report.bytes_read,
            objects_healable: report.objects_healable,
            objects_healed: report.objects_healed,
            seed: report.seed,
            duration_seconds: report.duration.as_secs_f64(),
            files_hurt: report.files_hurt,
            errors: &report.errors,
            notes: &report.notes,
        }
    }
}
