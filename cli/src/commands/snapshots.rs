//! `snapshots`: lists them.

use std::collections::BTreeMap;

use daykeep_engine::{Access, ObjectId, Proof, Result, Snapshot};
use serde::Serialize;

use super::{Context, Status, report, warn_of_rollback};
use crate::args::{LatestArgs, SnapshotsArgs};
use crate::place;
use crate::text::{self, Table};

pub fn run(context: &Context, args: SnapshotsArgs) -> Result<Status> {
    let repository = place::open(context, Access::Read)?.repository;
    let (mut snapshots, mut errors) = repository.snapshots()?;
    warn_of_rollback(context, &repository, &snapshots)?;
    let (proofs, unreadable) = repository.proofs()?;
    errors.extend(unreadable);
    let wanted = LatestArgs { host: args.host, tag: args.tag, path: args.path };
    snapshots.retain(|snapshot| wanted.matches(&snapshot.record));
    if context.out.is_json() {
        snapshots.iter().for_each(|snapshot| context.out.json(&JsonSnapshot::of(snapshot, &proofs)));
        context.out.json(&JsonSummary { count: snapshots.len() });
    } else {
        print(context, &snapshots, &proofs);
    }
    context.out.flush();
    Ok(report(&errors))
}

/// What the last restore test of each snapshot found, by its first id.
type Proofs = BTreeMap<ObjectId, Proof>;

fn print(context: &Context, snapshots: &[Snapshot], proofs: &Proofs) {
    let has_tests = snapshots.iter().any(|snapshot| proofs.contains_key(&snapshot.first_id()));
    let headings = ["ID", "TIME", "HOST", "TAGS", "PATHS", ">FILES", ">SIZE", "RESTORE TEST"];
    let columns = headings.len() - usize::from(!has_tests);
    let mut table = Table::new(&headings[..columns]);
    for snapshot in snapshots {
        let record = &snapshot.record;
        let mut paths = record.paths.iter().map(|path| text::name(path));
        let tested = proofs.get(&snapshot.first_id()).map(tested).unwrap_or_default();
        let mut row = vec![
            text::short_id(&snapshot.id),
            text::local_time(record.started),
            text::escape(&record.host),
            text::escape(&record.tags.join(",")),
            paths.next().unwrap_or_default(),
            text::count(record.counts.files),
            text::size(record.counts.bytes),
            tested,
        ];
        row.truncate(columns);
        table.row(row);
        for path in paths {
            let mut row = vec![String::new(); columns];
            row[4] = path;
            table.row(row);
        }
    }
    if !snapshots.is_empty() {
        table.lines().for_each(|line| context.out.line(&line));
    }
    if !context.global.quiet {
        context.out.line(&text::counted(snapshots.len() as u64, "snapshot", "snapshots"));
    }
}

/// Returns what a restore test found, for people.
fn tested(proof: &Proof) -> String {
    let time = text::local_time(proof.time);
    let day = time.split(' ').next().unwrap_or_default();
    let what = match proof.problems {
        0 => "restored fine".to_owned(),
        count => text::counted(count, "problem", "problems"),
    };
    let files = match proof.is_all {
        true => "all files".to_owned(),
        false => format!("sample of {}", text::counted(proof.files, "file", "files")),
    };
    format!("{what} on {day} ({files})")
}

#[derive(Serialize)]
struct JsonProof {
    time: String,
    fine: bool,
    all_files: bool,
    files: u64,
    bytes: u64,
    problems: u64,
}

impl JsonProof {
    fn of(proof: &Proof) -> Self {
        Self {
            time: text::utc_time(proof.time),
            fine: proof.problems == 0,
            all_files: proof.is_all,
            files: proof.files,
            bytes: proof.bytes,
            problems: proof.problems,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    count: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "snapshot")]
struct JsonSnapshot<'a> {
    id: String,
    short_id: String,
    parent: Option<String>,
    original: Option<String>,
    time: String,
    time_ended: String,
    host: &'a str,
    user: &'a str,
    program: &'a str,
    tags: &'a [String],
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths_bytes: Option<Vec<String>>,
    files: u64,
    directories: u64,
    bytes: u64,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    bytes_new: u64,
    errors: u64,
    restore_test: Option<JsonProof>,
}

impl<'a> JsonSnapshot<'a> {
    fn of(snapshot: &'a Snapshot, proofs: &Proofs) -> Self {
        let record = &snapshot.record;
        let is_text = record.paths.iter().all(|path| str::from_utf8(path).is_ok());
        Self {
            id: snapshot.id.to_string(),
            short_id: text::short_id(&snapshot.id),
            parent: record.parent.map(|id| id.to_string()),
            original: record.original.map(|id| id.to_string()),
            time: text::utc_time(record.started),
            time_ended: text::utc_time(record.ended),
            host: &record.host,
            user: &record.user,
            program: &record.program,
            tags: &record.tags,
            paths: record.paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect(),
            paths_bytes: (!is_text).then(|| record.paths.iter().map(|path| text::hex(path)).collect()),
            files: record.counts.files,
            directories: record.counts.directories,
            bytes: record.counts.bytes,
            files_new: record.counts.files_new,
            files_changed: record.counts.files_changed,
            files_unmodified: record.counts.files_unmodified,
            bytes_new: record.counts.bytes_new,
            errors: record.counts.errors,
            restore_test: proofs.get(&snapshot.first_id()).map(JsonProof::of),
        }
    }
}
