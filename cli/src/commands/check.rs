//! `check`: proves that everything is there and intact.

use daykeep_engine::{Access, CheckOptions, CheckReport, ReadData, Result};
use serde::Serialize;

use super::{Context, Status};
use crate::args::CheckArgs;
use crate::output::note;
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: CheckArgs) -> Result<Status> {
    let repository = place::open(context, Access::Read)?.repository;
    let progress = Progress::start(context);
    let mut options = CheckOptions::default();
    options.read_data = match args.read_data_subset {
        None if args.read_data => ReadData::All,
        subset => subset.unwrap_or_default(),
    };
    options.seed = args.seed;
    options.threads = context.global.threads;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let report = repository.check(&options)?;
    drop(progress);
    report.notes.iter().for_each(|text| note(&format!("note: {text}")));
    report.errors.iter().for_each(|text| note(&format!("error: {text}")));
    summarise(context, &report);
    Ok(if report.errors.is_empty() { Status::Done } else { Status::Failed })
}

fn summarise(context: &Context, report: &CheckReport) {
    let out = &context.out;
    if out.is_json() {
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
    if let Some(seed) = report.seed {
        out.line(&format!("The sample is that of --seed {seed}"));
    }
    match report.errors.len() {
        0 => out.line("No errors were found"),
        found => out.line(&format!(
            "{} found, named above; {} hurt",
            text::counted(found as u64, "error", "errors"),
            text::counted(report.files_hurt, "file is", "files are")
        )),
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
            seed: report.seed,
            duration_seconds: report.duration.as_secs_f64(),
            files_hurt: report.files_hurt,
            errors: &report.errors,
            notes: &report.notes,
        }
    }
}
