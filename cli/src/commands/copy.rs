//! `copy`: copies snapshots to another repository.

use daykeep_engine::{CopiedSnapshot, CopyOptions, CopyReport, Result};
use serde::Serialize;

use super::{Context, Status};
use crate::args::CopyArgs;
use crate::output::note;
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: CopyArgs) -> Result<Status> {
    let (from, to) = place::open_two(context, &args.to, &args.other)?;
    let mut snapshots = args.snapshots;
    args.latest.choose(&from, &mut snapshots)?;
    let progress = Progress::start(context);
    let mut options = CopyOptions::default();
    options.level = args.compression.unwrap_or(options.level);
    options.threads = context.global.threads;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let report = from.copy_to(&to, &snapshots, &options)?;
    drop(progress);
    report.failed.iter().for_each(|(_, reason)| note(&format!("error: not copied: {reason}")));
    summarise(context, &report);
    Ok(if report.failed.is_empty() { Status::Done } else { Status::Incomplete })
}

fn summarise(context: &Context, report: &CopyReport) {
    let out = &context.out;
    if out.is_json() {
        report.copied.iter().for_each(|copied| out.json(&JsonCopied::of(copied)));
        out.json(&JsonSummary::of(report));
        return;
    }
    if context.global.quiet {
        return;
    }
    for copied in &report.copied {
        out.line(&format!("{} is {} there", text::short_id(&copied.from), text::short_id(&copied.to)));
    }
    out.line(&format!(
        "Copied {}, {} there already; {} new, {} stored in {}",
        text::counted(report.copied.len() as u64, "snapshot", "snapshots"),
        text::count(report.skipped),
        text::size(report.bytes_new),
        text::size(report.bytes_stored),
        text::duration(report.duration)
    ));
    if !report.failed.is_empty() {
        out.line(&format!(
            "{} not copied; `daykeep check --read-data` of the first repository names what is hurt",
            text::counted(report.failed.len() as u64, "snapshot was", "snapshots were")
        ));
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "copied")]
struct JsonCopied {
    from: String,
    to: String,
}

impl JsonCopied {
    fn of(copied: &CopiedSnapshot) -> Self {
        Self { from: copied.from.to_string(), to: copied.to.to_string() }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    copied: usize,
    skipped: u64,
    failed: Vec<String>,
    bytes_new: u64,
    bytes_stored: u64,
    duration_seconds: f64,
}

impl JsonSummary {
    fn of(report: &CopyReport) -> Self {
        Self {
            copied: report.copied.len(),
            skipped: report.skipped,
            failed: report.failed.iter().map(|(id, _)| id.to_string()).collect(),
            bytes_new: report.bytes_new,
            bytes_stored: report.bytes_stored,
            duration_seconds: report.duration.as_secs_f64(),
        }
    }
}
