//! `diff`: shows what differs between two snapshots.

use std::os::unix::ffi::OsStrExt;

use daykeep_engine::{
    Access, Change, DiffEntry, DiffOptions, DiffReport, DiffSide, DiffSum, EntryKind, Error, Result, SnapshotPath,
};
use serde::Serialize;

use super::{Context, JsonPath, Status, kind_word};
use crate::args::DiffArgs;
use crate::place;
use crate::text;

pub fn run(context: &Context, args: DiffArgs) -> Result<Status> {
    let mut before = SnapshotPath::parse(args.before.as_bytes())?;
    let mut after = SnapshotPath::parse(args.after.as_bytes())?;
    let repository = place::open(context, Access::Read)?.repository;
    args.latest.choose_of(&repository, [&mut before, &mut after])?;
    let (out, cancel) = (&context.out, context.signals.cancel_token());
    let mut options = DiffOptions::default();
    options.cancel = cancel.clone();
    let report = repository.diff(&before, &after, &options, &mut |entry| {
        if out.is_json() {
            out.json(&JsonChange::of(entry));
        } else {
            out.line(&line(entry));
        }
        out.is_open() && !cancel.is_cancelled()
    })?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if out.is_json() {
        out.json(&JsonSummary::of(&report));
    } else if !context.global.quiet {
        summarise(context, &report);
    }
    Ok(Status::Done)
}

fn line(entry: &DiffEntry) -> String {
    let mark = match entry.change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Content => 'M',
        Change::Metadata => 'm',
        Change::Kind => 'T',
        _ => '?',
    };
    let size = |side: DiffSide| {
        if side.kind == EntryKind::File { text::size(side.bytes) } else { kind_word(side.kind).into() }
    };
    let is_folder = |side: DiffSide| side.kind == EntryKind::Directory;
    let sides = match (entry.before, entry.after) {
        (Some(before), Some(after)) if before == after && is_folder(after) => String::new(),
        (Some(before), Some(after)) if before == after => format!("  {}", size(after)),
        (Some(before), Some(after)) => format!("  {} -> {}", size(before), size(after)),
        (Some(side), None) | (None, Some(side)) if !is_folder(side) => format!("  {}", size(side)),
        _ => String::new(),
    };
    let slash = if entry.after.or(entry.before).is_some_and(is_folder) { "/" } else { "" };
    format!("{mark} {}{slash}{sides}", text::name(&entry.path))
}

fn summarise(context: &Context, report: &DiffReport) {
    let sum = |sum: &DiffSum| {
        let files = text::counted(sum.files, "file", "files");
        format!("{files} and {}, {}", text::counted(sum.directories, "folder", "folders"), text::size(sum.bytes))
    };
    context.out.line(&format!("Added:    {}", sum(&report.added)));
    context.out.line(&format!("Removed:  {}", sum(&report.removed)));
    context.out.line(&format!(
        "Changed:  {} of content and {} of type, {} -> {}; {} of metadata alone",
        text::count(report.content),
        text::count(report.kind),
        text::size(report.bytes_before),
        text::size(report.bytes_after),
        text::count(report.metadata)
    ));
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "change")]
struct JsonChange {
    change: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    kind_before: Option<&'static str>,
    kind: Option<&'static str>,
    bytes_before: Option<u64>,
    bytes: Option<u64>,
}

impl JsonChange {
    fn of(entry: &DiffEntry) -> Self {
        Self {
            change: match entry.change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Content => "content",
                Change::Metadata => "metadata",
                Change::Kind => "kind",
                _ => "other",
            },
            path: JsonPath::of_bytes(&entry.path),
            kind_before: entry.before.map(|side| kind_word(side.kind)),
            kind: entry.after.map(|side| kind_word(side.kind)),
            bytes_before: entry.before.map(|side| side.bytes),
            bytes: entry.after.map(|side| side.bytes),
        }
    }
}

#[derive(Serialize)]
struct JsonSum {
    files: u64,
    directories: u64,
    bytes: u64,
}

impl JsonSum {
    fn of(sum: &DiffSum) -> Self {
        Self { files: sum.files, directories: sum.directories, bytes: sum.bytes }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    added: JsonSum,
    removed: JsonSum,
    content: u64,
    metadata: u64,
    kind: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl JsonSummary {
    fn of(report: &DiffReport) -> Self {
        Self {
            added: JsonSum::of(&report.added),
            removed: JsonSum::of(&report.removed),
            content: report.content,
            metadata: report.metadata,
            kind: report.kind,
            bytes_before: report.bytes_before,
            bytes_after: report.bytes_after,
        }
    }
}
