//! `rewrite`: takes something out of snapshots.

use daykeep_engine::{Access, Result, RewriteOptions, RewriteReport, Rewritten};
use serde::Serialize;

use super::{Context, JsonPath, Status, patterns_here, report, tell_without_effect};
use crate::args::RewriteArgs;
use crate::place;
use crate::progress::Progress;
use crate::text::{self, Table};

pub fn run(context: &Context, args: RewriteArgs) -> Result<Status> {
    let mut options = RewriteOptions::default();
    options.exclude = patterns_here(&args.exclude)?;
    options.forget = args.forget;
    options.dry_run = args.dry_run;
    options.threads = context.global.threads;
    options.cancel = context.signals.cancel_token().clone();
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let repository = place::open(context, access)?.repository;
    let progress = Progress::start(context);
    let mut snapshots = args.snapshots;
    args.latest.choose(&repository, &mut snapshots)?;
    let done = repository.rewrite(&snapshots, &options)?;
    drop(progress);
    summarise(context, &done, &options);
    tell_without_effect(context, &options.exclude);
    Ok(report(&done.unreadable))
}

fn summarise(context: &Context, report: &RewriteReport, options: &RewriteOptions) {
    let out = &context.out;
    if out.is_json() {
        report.snapshots.iter().for_each(|rewritten| out.json(&JsonRewritten::of(rewritten)));
        report.left_out.iter().for_each(|path| out.json(&JsonLeftOut { path: JsonPath::of_bytes(path) }));
        out.json(&JsonSummary::of(report, options.dry_run));
        return;
    }
    if context.global.quiet && !options.dry_run {
        return;
    }
    report.left_out.iter().for_each(|path| out.line(&text::name(path)));
    if report.left_out_more > 0 {
        out.line(&format!("and {} more", text::count(report.left_out_more)));
    }
    let mut table = Table::new(&["ID BEFORE", "ID", ">FILES", ">BYTES"]);
    let mut changed = 0;
    for Rewritten { before, record, id, .. } in &report.snapshots {
        let Some(record) = record else { continue };
        changed += 1;
        let id = id.as_ref().map_or_else(|| "-".to_owned(), text::short_id);
        let files = format!("{} -> {}", before.record.counts.files, record.counts.files);
        let bytes = format!("{} -> {}", text::size(before.record.counts.bytes), text::size(record.counts.bytes));
        table.row(vec![text::short_id(&before.id), id, files, bytes]);
    }
    if changed > 0 {
        table.lines().for_each(|line| out.line(&line));
    }
    let of = text::counted(report.snapshots.len() as u64, "snapshot", "snapshots");
    let what = match (options.dry_run, options.forget) {
        (true, _) => "would be rewritten; nothing was changed",
        (false, true) => "rewritten; `prune` gives the space back",
        (false, false) => "rewritten; the old ones stay until they are forgotten",
    };
    out.line(&format!("{} of {of} {what}", text::count(changed)));
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "rewritten")]
struct JsonRewritten {
    id_before: String,
    id: Option<String>,
    changed: bool,
    files_before: u64,
    files: u64,
    bytes_before: u64,
    bytes: u64,
}

impl JsonRewritten {
    fn of(Rewritten { before, record, id, .. }: &Rewritten) -> Self {
        let (old, new) =
            (&before.record.counts, record.as_ref().map_or(&before.record.counts, |record| &record.counts));
        Self {
            id_before: before.id.to_string(),
            id: id.map(|id| id.to_string()),
            changed: record.is_some(),
            files_before: old.files,
            files: new.files,
            bytes_before: old.bytes,
            bytes: new.bytes,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "left_out")]
struct JsonLeftOut {
    #[serde(flatten)]
    path: JsonPath,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    dry_run: bool,
    rewritten: usize,
    unchanged: usize,
    left_out: u64,
    bytes_new: u64,
    duration_seconds: f64,
}

impl JsonSummary {
    fn of(report: &RewriteReport, dry_run: bool) -> Self {
        let rewritten = report.snapshots.iter().filter(|snapshot| snapshot.record.is_some()).count();
        Self {
            dry_run,
            rewritten,
            unchanged: report.snapshots.len() - rewritten,
            left_out: report.left_out.len() as u64 + report.left_out_more,
            bytes_new: report.bytes_new,
            duration_seconds: report.duration.as_secs_f64(),
        }
    }
}
