//! `find`: shows which snapshots hold what a pattern matches.

use daykeep_engine::{Access, EntryKind, Error, FindOptions, FoundEntry, Result, Snapshot};
use serde::Serialize;

use super::{Context, JsonPath, Status, kind_word, patterns_here, tell_without_effect};
use crate::args::{FindArgs, LatestArgs};
use crate::output::note;
use crate::place;
use crate::text;

pub fn run(context: &Context, args: FindArgs) -> Result<Status> {
    let mut options = FindOptions::default();
    options.patterns = patterns_here(&args.patterns)?;
    options.snapshots = args.snapshot;
    options.newest = args.newest;
    options.cancel = context.signals.cancel_token().clone();
    let repository = place::open(context, Access::Read)?.repository;
    if args.host.is_some() && options.snapshots.iter().any(|named| named == "latest") {
        let latest = LatestArgs { host: args.host.clone(), ..LatestArgs::default() };
        latest.choose(&repository, &mut options.snapshots)?;
    }
    options.host = args.host;
    let (out, cancel) = (&context.out, context.signals.cancel_token());
    let mut last_path = Vec::new();
    let report = repository.find(&options, &mut |entry| {
        if out.is_json() {
            out.json(&JsonVersion::of(entry));
        } else {
            if last_path != entry.path {
                last_path = entry.path.to_vec();
                let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
                out.line(&format!("{}{slash}", text::name(entry.path)));
            }
            out.line(&line(entry));
        }
        out.is_open() && !cancel.is_cancelled()
    })?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if out.is_json() {
        out.json(&JsonSummary { found: report.found, snapshots: report.snapshots });
    } else if !context.global.quiet {
        let versions = text::counted(report.found, "version", "versions");
        out.line(&format!("{versions} in {}", text::counted(report.snapshots, "snapshot", "snapshots")));
    }
    out.flush();
    tell_without_effect(context, &options.patterns);
    report.errors.iter().for_each(|error| note(&format!("error: {error}")));
    Ok(if report.errors.is_empty() { Status::Done } else { Status::Incomplete })
}

/// Returns a version with the snapshots that hold it, the first and the last if there are several.
fn line(entry: &FoundEntry<'_>) -> String {
    let snapshot = |snapshot: &Snapshot| {
        format!("{} of {}", text::short_id(&snapshot.id), text::local_time(snapshot.record.started))
    };
    let held = match entry.snapshots.as_slice() {
        [only] => snapshot(only),
        [first, .., last] => {
            format!(
                "{} snapshots, {} to {}",
                text::count(entry.snapshots.len() as u64),
                snapshot(first),
                snapshot(last)
            )
        }
        [] => String::new(),
    };
    let size = if entry.kind == EntryKind::File { text::size(entry.bytes) } else { kind_word(entry.kind).into() };
    format!("  {size:>10}  {}  in {held}", text::local_time(entry.mtime))
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "version")]
struct JsonVersion {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    bytes: u64,
    mtime: String,
    snapshots: Vec<String>,
}

impl JsonVersion {
    fn of(entry: &FoundEntry<'_>) -> Self {
        Self {
            path: JsonPath::of_bytes(entry.path),
            kind: kind_word(entry.kind),
            bytes: entry.bytes,
            mtime: text::utc_time(entry.mtime),
            snapshots: entry.snapshots.iter().map(|snapshot| snapshot.id.to_string()).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    found: u64,
    snapshots: u64,
}
