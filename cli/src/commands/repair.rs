//! `repair`: mends what can be mended.

use std::collections::BTreeMap;

use daykeep_engine::{
    Access, HurtSnapshot, Location, LostEntry, ObjectId, RepairFigures, RepairOptions, RepairPlan, RepairReport,
    Repository, RescueReport, Result, Secret,
};
use serde::Serialize;

use super::{Context, JsonPath, Status};
use crate::args::RepairArgs;
use crate::output::note;
use crate::place::{self, Place};
use crate::progress::Progress;
use crate::text;

pub fn run(context: &Context, args: RepairArgs) -> Result<Status> {
    if let Some(to) = &args.rescue_to {
        return rescue(context, &place::parse(to)?);
    }
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let mut repository = place::open(context, access)?.repository;
    let progress = Progress::start(context);
    let mut options = RepairOptions::default();
    options.rebuild_index = args.rebuild_index;
    options.read_data = args.read_data;
    options.threads = context.global.threads;
    options.observer = progress.observer();
    options.cancel = context.signals.cancel_token().clone();
    let plan = repository.repair_plan(&options)?;
    let told = Told::of(&plan, keys_hurt(&repository)?);
    let report = if args.dry_run { None } else { Some(repository.repair(plan, &options)?) };
    drop(progress);
    told.say(context, report.as_ref());
    if !context.out.is_json() && !context.global.quiet {
        told.say_next_steps(context, report.is_some(), args.read_data);
    }
    Ok(if told.is_nothing_lost() { Status::Done } else { Status::Incomplete })
}

/// Returns what is the matter with each key slot that is hurt.
fn keys_hurt(repository: &Repository) -> Result<Vec<String>> {
    let (keys, unreadable) = repository.keys()?;
    let forged = keys.iter().filter(|key| !key.is_intact).map(|key| format!("keys/{}: forged or damaged", key.id));
    Ok(unreadable.iter().map(ToString::to_string).chain(forged).collect())
}

/// Saves what is left in a damaged file.
fn rescue(context: &Context, to: &Location) -> Result<Status> {
    let from = Place::find(context)?;
    let (options, cancel) = (place::open_options(context), context.signals.cancel_token());
    let rescue = |secret: &Secret| Repository::rescue(from.location.path(), secret, to, &options, cancel);
    let progress = Progress::start(context);
    let (report, _) = from.unlock(context, rescue)?;
    drop(progress);
    let out = &context.out;
    if out.is_json() {
        out.json(&JsonRescue::of(&report));
    } else if !context.global.quiet {
        let packs = report.packs + report.packs_without_footer;
        out.line(&format!(
            "Saved {}, {}, {} and {}, {} in {}",
            text::counted(report.snapshots, "snapshot", "snapshots"),
            text::counted(packs, "pack", "packs"),
            text::counted(report.index_objects, "index object", "index objects"),
            text::counted(report.keys, "key", "keys"),
            text::size(report.bytes),
            text::duration(report.duration)
        ));
        let to = text::escape(&to.to_string());
        out.line(&format!("Now run `daykeep -r {to} repair --read-data`, and look at its `snapshots` and `key list`"));
    }
    if report.is_config_new {
        note("the config was lost; a new one was made, by which files are cut as in a new repository");
    }
    Ok(Status::Done)
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "rescued")]
struct JsonRescue {
    snapshots: u64,
    packs: u64,
    packs_without_footer: u64,
    index_objects: u64,
    keys: u64,
    left: u64,
    config_new: bool,
    bytes: u64,
    duration_seconds: f64,
}

impl JsonRescue {
    fn of(report: &RescueReport) -> Self {
        Self {
            snapshots: report.snapshots,
            packs: report.packs,
            packs_without_footer: report.packs_without_footer,
            index_objects: report.index_objects,
            keys: report.keys,
            left: report.left,
            config_new: report.is_config_new,
            bytes: report.bytes,
            duration_seconds: report.duration.as_secs_f64(),
        }
    }
}

/// What is told of a plan that is carried out meanwhile.
struct Told {
    figures: RepairFigures,
    findings: Vec<String>,
    lost: Vec<LostEntry>,
    snapshots: Vec<HurtSnapshot>,
    keys_hurt: u64,
}

impl Told {
    fn of(plan: &RepairPlan, keys_hurt: Vec<String>) -> Self {
        let (lost, snapshots, keys) = (plan.lost.clone(), plan.snapshots.clone(), keys_hurt.len() as u64);
        let findings = [plan.findings.as_slice(), &keys_hurt].concat();
        Self { figures: plan.figures, findings, lost, snapshots, keys_hurt: keys }
    }

    fn is_nothing_lost(&self) -> bool {
        (self.figures.lost, self.figures.snapshots_unreadable, self.keys_hurt) == (0, 0, 0)
    }

    fn say(&self, context: &Context, report: Option<&RepairReport>) {
        self.findings.iter().for_each(|finding| note(&format!("found: {finding}")));
        // One file may be lost in many snapshots.
        let mut lost: BTreeMap<(&[u8], &str), Vec<ObjectId>> = BTreeMap::new();
        for entry in &self.lost {
            lost.entry((&entry.path, &entry.reason)).or_default().push(entry.snapshot);
        }
        for ((path, reason), snapshots) in lost {
            // The root has no name.
            let path = if path.is_empty() { "/".to_owned() } else { text::name(path) };
            let others = match snapshots.len() - 1 {
                0 => String::new(),
                others => format!(", and in {}", text::counted(others as u64, "other snapshot", "other snapshots")),
            };
            note(&format!("lost: {}:{path}{others}: {reason}", text::short_id(&snapshots[0])));
        }
        let more = self.figures.lost - self.lost.len() as u64;
        if more > 0 {
            note(&format!("lost: {} more", text::count(more)));
        }
        if context.out.is_json() {
            self.say_json(context, report);
        } else if !context.global.quiet || report.is_none() {
            self.say_lines(context, report);
        }
    }

    fn say_lines(&self, context: &Context, report: Option<&RepairReport>) {
        let out = &context.out;
        let line = |what: &str, value: String| out.line(&format!("{what:<24} {value}"));
        let RepairFigures { packs, packs_missing, packs_hurt, packs_found, packs_unreadable, .. } = self.figures;
        line("Packs:", format!("{}; {} missing, {} damaged", text::count(packs), packs_missing, packs_hurt));
        line("Not in the index:", format!("{} to be listed, {} unreadable", packs_found, packs_unreadable));
        let (all, replaced) = (self.figures.index_objects, self.figures.index_objects_replaced);
        let damaged = self.figures.index_objects_damaged;
        line("Index objects:", format!("{}; {replaced} to be replaced, {damaged} of them damaged", text::count(all)));
        let lost = text::counted(self.figures.lost, "file or folder", "files and folders");
        line("Lost:", if self.snapshots.len() > 1 { format!("{lost}, counted in each snapshot") } else { lost });
        for HurtSnapshot { snapshot, copy, copy_id, lost, .. } in &self.snapshots {
            let made = report.and_then(|report| report.copies.iter().find(|(id, _)| *id == snapshot.id));
            let becomes = match (copy, copy_id.as_ref().or(made.map(|(_, id)| id))) {
                (None, _) => "nothing of it can be read".to_owned(),
                (_, Some(id)) => format!("{} is the copy without them", text::short_id(id)),
                (_, None) => "gets a copy without them".to_owned(),
            };
            out.line(&format!("Snapshot {} has lost {}; {becomes}", text::short_id(&snapshot.id), text::count(*lost)));
        }
        match report {
            None => out.line("Nothing was changed"),
            Some(report) => out.line(&format!(
                "Wrote {}, {} and {} in {}",
                text::counted(report.index_objects_written, "index object", "index objects"),
                text::counted(report.copies.len() as u64, "snapshot", "snapshots"),
                text::size(report.bytes_written),
                text::duration(report.duration)
            )),
        }
    }

    fn say_next_steps(&self, context: &Context, is_done: bool, has_read_data: bool) {
        let out = &context.out;
        if !self.snapshots.is_empty() && is_done {
            out.line("Back up again while the sources are there: what is lost and still seen is stored again");
        }
        if self.figures.snapshots_unreadable > 0 {
            let count = self.figures.snapshots_unreadable;
            let snapshots = text::counted(count, "snapshot cannot be read", "snapshots cannot be read");
            out.line(&format!("{snapshots}, see above; `daykeep forget ID` removes such a one"));
        }
        if self.keys_hurt > 0 {
            let keys = text::counted(self.keys_hurt, "key slot is", "key slots are");
            out.line(&format!("{keys} hurt, see above; `daykeep key remove ID` removes such a one"));
        }
        if !has_read_data {
            out.line("The content of packs was not read; `daykeep repair --read-data` does that");
        }
    }

    fn say_json(&self, context: &Context, report: Option<&RepairReport>) {
        let out = &context.out;
        for lost in &self.lost {
            let (path, snapshot) = (JsonPath::of_bytes(&lost.path), lost.snapshot.to_string());
            out.json(&JsonLost { path, snapshot, reason: &lost.reason });
        }
        for HurtSnapshot { snapshot, copy_id, lost, .. } in &self.snapshots {
            let made = report.and_then(|report| report.copies.iter().find(|(id, _)| *id == snapshot.id));
            let copy = copy_id.or(made.map(|(_, id)| *id)).map(|id| id.to_string());
            out.json(&JsonHurt { id: snapshot.id.to_string(), copy, lost: *lost });
        }
        out.json(&JsonSummary::of(self, report));
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "lost")]
struct JsonLost<'a> {
    #[serde(flatten)]
    path: JsonPath,
    snapshot: String,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "hurt_snapshot")]
struct JsonHurt {
    id: String,
    copy: Option<String>,
    lost: u64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary<'a> {
    dry_run: bool,
    packs: u64,
    packs_missing: u64,
    packs_hurt: u64,
    packs_found: u64,
    packs_unreadable: u64,
    index_objects: u64,
    index_objects_replaced: u64,
    index_objects_damaged: u64,
    chunks: u64,
    snapshots: u64,
    snapshots_unreadable: u64,
    keys_hurt: u64,
    lost: u64,
    findings: &'a [String],
    #[serde(flatten)]
    done: Option<JsonDone>,
}

#[derive(Serialize)]
struct JsonDone {
    index_objects_written: u64,
    index_objects_deleted: u64,
    packs_written: u64,
    bytes_written: u64,
    copies: usize,
    duration_seconds: f64,
}

impl<'a> JsonSummary<'a> {
    fn of(told: &'a Told, report: Option<&RepairReport>) -> Self {
        let figures = &told.figures;
        Self {
            dry_run: report.is_none(),
            packs: figures.packs,
            packs_missing: figures.packs_missing,
            packs_hurt: figures.packs_hurt,
            packs_found: figures.packs_found,
            packs_unreadable: figures.packs_unreadable,
            index_objects: figures.index_objects,
            index_objects_replaced: figures.index_objects_replaced,
            index_objects_damaged: figures.index_objects_damaged,
            chunks: figures.chunks,
            snapshots: figures.snapshots,
            snapshots_unreadable: figures.snapshots_unreadable,
            keys_hurt: told.keys_hurt,
            lost: figures.lost,
            findings: &told.findings,
            done: report.map(|report| JsonDone {
                index_objects_written: report.index_objects_written,
                index_objects_deleted: report.index_objects_deleted,
                packs_written: report.packs_written,
                bytes_written: report.bytes_written,
                copies: report.copies.len(),
                duration_seconds: report.duration.as_secs_f64(),
            }),
        }
    }
}
