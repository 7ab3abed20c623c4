//! `forget`: shows what stays and why, and removes the other snapshots.

use std::sync::Arc;

use daykeep_engine::{
    Access, Decision, ForgetGroup, ForgetOptions, ForgetPlan, Grouping, KeepPolicy, KeepReason, Result,
};
use serde::Serialize;

use super::{Context, Status, warn_of_rollback};
use crate::args::{ForgetArgs, GroupBy, LatestArgs, PolicyArgs};
use crate::output::note;
use crate::place;
use crate::text::{self, Table};

pub fn run(context: &Context, mut args: ForgetArgs) -> Result<Status> {
    let dry_run = args.dry_run;
    let is_named = !args.snapshots.is_empty();
    let repository = place::open(context, if dry_run { Access::Read } else { Access::Write })?.repository;
    warn_of_rollback(context, &repository, &repository.snapshots()?.0)?;
    if is_named {
        let latest = LatestArgs { host: args.host.take(), ..LatestArgs::default() };
        latest.choose(&repository, &mut args.snapshots)?;
    }
    let plan = repository.forget_plan(&options(args))?;
    if !dry_run {
        repository.forget(&plan, context.signals.cancel_token())?;
    }
    if context.out.is_json() {
        print_json(context, &plan, dry_run);
    } else if !context.global.quiet {
        // Of snapshots that were named one wants to hear; that others stay goes without saying.
        plan.groups.iter().for_each(|group| print(context, group, is_named));
        for id in &plan.hurt {
            context.out.line(&format!("{} cannot be read", text::short_id(id)));
        }
        let stay = kept(&plan);
        let gone = gone(&plan);
        let verb = if dry_run { "would be forgotten" } else { "forgotten" };
        context.out.line(&format!(
            "{} {verb}, {} left",
            text::counted(gone, "snapshot", "snapshots"),
            text::count(stay)
        ));
        if gone > 0 && !dry_run {
            context.out.line("Run `daykeep prune` to free the space");
        }
    }
    context.out.flush();
    plan.unreadable.iter().for_each(|error| note(&format!("error: {error}; it stays")));
    Ok(if plan.unreadable.is_empty() { Status::Done } else { Status::Incomplete })
}

fn options(args: ForgetArgs) -> ForgetOptions {
    let mut options = ForgetOptions::default();
    options.policy = policy(args.policy);
    options.ids = args.snapshots;
    options.host = args.host;
    options.grouping = match args.group_by {
        GroupBy::HostPaths => Grouping::HostAndPaths,
        GroupBy::Host => Grouping::Host,
        GroupBy::All => Grouping::All,
    };
    options.allow_empty_groups = args.allow_empty_groups;
    options.utc_offset = Arc::new(text::utc_offset);
    options
}

fn policy(args: PolicyArgs) -> KeepPolicy {
    let mut policy = KeepPolicy::default();
    policy.last = args.keep_last;
    policy.hourly = args.keep_hourly;
    policy.daily = args.keep_daily;
    policy.weekly = args.keep_weekly;
    policy.monthly = args.keep_monthly;
    policy.yearly = args.keep_yearly;
    policy.within = args.keep_within;
    policy.tags = args.keep_tag;
    policy
}

/// Returns how many snapshots stay, as far as they can be read.
fn kept(plan: &ForgetPlan) -> u64 {
    let decisions = plan.groups.iter().flat_map(|group| &group.decisions);
    decisions.filter(|decision| !decision.reasons.is_empty()).count() as u64
}

/// Returns how many snapshots go.
fn gone(plan: &ForgetPlan) -> u64 {
    (plan.forgotten().count() + plan.hurt.len()) as u64
}

fn print(context: &Context, group: &ForgetGroup, only_gone: bool) {
    let shown = group.decisions.iter().filter(|decision| !only_gone || decision.reasons.is_empty());
    let mut table = Table::new(&["ID", "TIME", "TAGS", "STAYS"]);
    let mut is_empty = true;
    for decision in shown {
        let record = &decision.snapshot.record;
        let why: Vec<String> = decision.reasons.iter().map(reason).collect();
        table.row(vec![
            text::short_id(&decision.snapshot.id),
            text::local_time(record.started),
            text::escape(&record.tags.join(",")),
            if why.is_empty() { "no".into() } else { why.join(", ") },
        ]);
        is_empty = false;
    }
    if !is_empty {
        let host = group.host.as_ref().map_or_else(|| "all hosts".into(), |host| text::escape(host));
        let paths: Vec<String> = group.paths.iter().map(|path| text::name(path)).collect();
        context.out.line(&[vec![host], paths].concat().join(" "));
        table.lines().for_each(|line| context.out.line(&line));
    }
}

/// Returns a reason for people.
fn reason(reason: &KeepReason) -> String {
    match reason {
        KeepReason::Tag(tag) => format!("tag {}", text::escape(tag)),
        KeepReason::Future => "its time has not come".into(),
        KeepReason::Clock => "the clock was wrong".into(),
        other => word(other).into(),
    }
}

/// Returns a reason for programs.
fn word(reason: &KeepReason) -> &'static str {
    match reason {
        KeepReason::Last => "last",
        KeepReason::Hourly => "hourly",
        KeepReason::Daily => "daily",
        KeepReason::Weekly => "weekly",
        KeepReason::Monthly => "monthly",
        KeepReason::Yearly => "yearly",
        KeepReason::Within => "within",
        KeepReason::Tag(_) => "tag",
        KeepReason::Future => "future",
        KeepReason::Clock => "clock",
        KeepReason::NotNamed => "not_named",
        _ => "other",
    }
}

fn print_json(context: &Context, plan: &ForgetPlan, dry_run: bool) {
    for decision in plan.groups.iter().flat_map(|group| &group.decisions) {
        context.out.json(&JsonDecision::of(decision));
    }
    let unreadable: Vec<String> = plan.unreadable.iter().map(ToString::to_string).collect();
    let hurt = plan.hurt.iter().map(ToString::to_string).collect();
    context.out.json(&JsonSummary { kept: kept(plan), forgotten: gone(plan), dry_run, unreadable, hurt });
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "decision")]
struct JsonDecision<'a> {
    id: String,
    time: String,
    host: &'a str,
    tags: &'a [String],
    stays: bool,
    reasons: Vec<&'static str>,
}

impl<'a> JsonDecision<'a> {
    fn of(decision: &'a Decision) -> Self {
        let record = &decision.snapshot.record;
        Self {
            id: decision.snapshot.id.to_string(),
            time: text::utc_time(record.started),
            host: &record.host,
            tags: &record.tags,
            stays: !decision.reasons.is_empty(),
            reasons: decision.reasons.iter().map(word).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    kept: u64,
    forgotten: u64,
    dry_run: bool,
    unreadable: Vec<String>,
    /// Those that cannot be read and go.
    hurt: Vec<String>,
}
