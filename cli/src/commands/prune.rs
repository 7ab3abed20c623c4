//! `prune`: gives back the space of what no snapshot needs any more.

use std::fs::Metadata;

use daykeep_engine::{Access, PruneFigures, PruneOptions, PruneReport, Repository, Result};
use serde::Serialize;

use super::{Context, Status, warn_of_rollback};
use crate::args::PruneArgs;
use crate::place;
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: PruneArgs) -> Result<Status> {
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let mut repository = place::open(context, access)?.repository;
    warn_of_rollback(context, &repository, &repository.snapshots()?.0)?;
    let progress = Progress::start(context);
    let mut options = PruneOptions::default();
    options.unused_percent_max = args.max_unused;
    options.repack_bytes_max = args.max_repack.map(|bytes| bytes as u64);
    options.compact = args.compact;
    options.threads = context.global.threads;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let plan = repository.prune_plan(&options)?;
    let figures = plan.figures;
    let before = file_bytes(&repository);
    let report = if args.dry_run { None } else { Some(repository.prune(plan, &options)?) };
    drop(progress);
    summarise(context, &figures, report.as_ref());
    if let (true, Some(before), Some(after)) = (args.compact, before, file_bytes(&repository))
        && !context.out.is_json()
        && !context.global.quiet
    {
        context.out.line(&format!("The file has {}, before {}", text::size(after), text::size(before)));
    }
    Ok(Status::Done)
}

/// Returns how long a repository's file is, if it is one.
fn file_bytes(repository: &Repository) -> Option<u64> {
    std::fs::metadata(repository.location()).ok().filter(Metadata::is_file).map(|found| found.len())
}

fn summarise(context: &Context, figures: &PruneFigures, report: Option<&PruneReport>) {
    let out = &context.out;
    if out.is_json() {
        out.json(&JsonSummary::of(figures, report));
        return;
    }
    if context.global.quiet && report.is_some() {
        return;
    }
    let packs = |count| text::counted(count, "pack", "packs");
    let line = |what: &str, value: String| out.line(&format!("{what:<24} {value}"));
    let needed = format!(
        "{} by {}, {} of them only as bases of deltas",
        text::counted(figures.chunks_needed, "chunk", "chunks"),
        text::counted(figures.snapshots, "snapshot", "snapshots"),
        text::count(figures.chunks_bases)
    );
    line("Needed:", needed);
    line("Packs:", format!("{}, {}", packs(figures.packs), text::size(figures.pack_bytes)));
    line("Not needed at all:", format!("{}, {}", packs(figures.packs_deleted), text::size(figures.bytes_deleted)));
    let rewritten = format!(
        "{}, {} to {}",
        packs(figures.packs_repacked),
        text::size(figures.bytes_repacked),
        text::size(figures.bytes_rewritten)
    );
    line("Rewritten:", rewritten);
    line("Unused and left:", text::size(figures.bytes_unused_left));
    match report {
        None => {
            let takes = match figures.estimated.as_secs() {
                0 => String::new(),
                _ => format!(" and take about {}", text::duration(figures.estimated)),
            };
            out.line(&format!("This would save {}{takes}; nothing was changed", text::size(figures.bytes_saved())));
        }
        Some(report) => out.line(&format!(
            "Deleted {}, wrote {} in {}",
            text::size(report.bytes_deleted),
            text::size(report.bytes_written),
            text::duration(report.duration)
        )),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    dry_run: bool,
    snapshots: u64,
    chunks_needed: u64,
    chunks_bases: u64,
    packs: u64,
    pack_bytes: u64,
    packs_unneeded: u64,
    packs_unlisted: u64,
    bytes_unneeded: u64,
    packs_repacked: u64,
    bytes_repacked: u64,
    bytes_rewritten: u64,
    bytes_unused_left: u64,
    bytes_saved: u64,
    index_objects: u64,
    index_objects_replaced: u64,
    estimated_seconds: f64,
    #[serde(flatten)]
    done: Option<JsonDone>,
}

#[derive(Serialize)]
struct JsonDone {
    packs_deleted: u64,
    index_objects_deleted: u64,
    bytes_deleted: u64,
    packs_written: u64,
    bytes_written: u64,
    duration_seconds: f64,
}

impl JsonSummary {
    fn of(figures: &PruneFigures, report: Option<&PruneReport>) -> Self {
        Self {
            dry_run: report.is_none(),
            snapshots: figures.snapshots,
            chunks_needed: figures.chunks_needed,
            chunks_bases: figures.chunks_bases,
            packs: figures.packs,
            pack_bytes: figures.pack_bytes,
            packs_unneeded: figures.packs_deleted,
            packs_unlisted: figures.packs_unlisted,
            bytes_unneeded: figures.bytes_deleted,
            packs_repacked: figures.packs_repacked,
            bytes_repacked: figures.bytes_repacked,
            bytes_rewritten: figures.bytes_rewritten,
            bytes_unused_left: figures.bytes_unused_left,
            bytes_saved: figures.bytes_saved(),
            index_objects: figures.index_objects,
            index_objects_replaced: figures.index_objects_replaced,
            estimated_seconds: figures.estimated.as_secs_f64(),
            done: report.map(|report| JsonDone {
                packs_deleted: report.packs_deleted,
                index_objects_deleted: report.index_objects_deleted,
                bytes_deleted: report.bytes_deleted,
                packs_written: report.packs_written,
                bytes_written: report.bytes_written,
                duration_seconds: report.duration.as_secs_f64(),
            }),
        }
    }
}
