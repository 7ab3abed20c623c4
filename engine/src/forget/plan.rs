//! Decides what stays: pure, snapshots in, decisions out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::calendar::{CalendarSpan, Period};
use super::options::{Decision, ForgetGroup, ForgetOptions, Grouping, KeepPolicy, KeepReason, UtcOffset};
use crate::base::{ObjectId, shown};
use crate::error::{Error, Result};
use crate::format::tree::Timestamp;
use crate::snapshot::Snapshot;

/// Host and paths of a group, as far as all in it share them.
type Group = (Option<String>, Vec<Vec<u8>>);

/// Decides what happens to each snapshot, at the time `now`: those in `named` go, or if it is empty, those that the policy
/// does not want.
///
/// # Errors
/// `InvalidOption` if there is neither policy nor name, or both; or if a group would lose its last snapshot and may not.
pub fn plan(
    snapshots: Vec<Snapshot>,
    named: &BTreeSet<ObjectId>,
    options: &ForgetOptions,
    now: Timestamp,
) -> Result<Vec<ForgetGroup>> {
    check(options)?;
    let mut groups: BTreeMap<Group, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        let record = &snapshot.record;
        if options.host.as_ref().is_none_or(|host| *host == record.host) {
            let key = match options.grouping {
                Grouping::HostAndPaths => (Some(record.host.clone()), record.paths.clone()),
                Grouping::Host => (Some(record.host.clone()), Vec::new()),
                Grouping::All => (None, Vec::new()),
            };
            groups.entry(key).or_default().push(snapshot);
        }
    }
    let decide = |((host, paths), snapshots): (Group, Vec<Snapshot>)| {
        let decisions = decide(snapshots, named, options, now);
        ForgetGroup { host, paths, decisions }
    };
    let groups: Vec<ForgetGroup> = groups.into_iter().map(decide).collect();
    let is_emptied = |group: &&ForgetGroup| group.decisions.iter().all(|decision| decision.reasons.is_empty());
    match groups.iter().find(is_emptied) {
        Some(group) if !options.allow_empty_groups => Err(would_be_empty(group)),
        _ => Ok(groups),
    }
}

fn check(options: &ForgetOptions) -> Result<()> {
    let refused = |reason: &str| Err(Error::InvalidOption { option: "forget", reason: reason.into() });
    let policy = &options.policy;
    let counts = [policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly];
    let wants = counts.iter().any(|&count| count > 0) || policy.within.is_some() || !policy.tags.is_empty();
    match (wants, options.ids.is_empty()) {
        (false, true) => refused(
            "nothing says which snapshots stay, and none is named; give a policy above zero, such as --keep-daily 7, or \
             ids from `snapshots`",
        ),
        (true, false) => refused("there are a policy and ids; give one or the other"),
        (false, false) if options.host.is_some() => refused("ids need no host; leave it out"),
        _ => Ok(()),
    }
}

fn would_be_empty(group: &ForgetGroup) -> Error {
    let paths: Vec<_> = group.paths.iter().map(|path| shown(path)).collect();
    let host = group.host.as_ref().map_or_else(|| "any host".to_owned(), |host| format!("host {host}"));
    let of = if paths.is_empty() { host } else { format!("{host}, {}", paths.join(", ")) };
    Error::InvalidOption {
        option: "forget",
        reason: format!(
            "no snapshot of {of} would be left; keep more, or add --allow-empty-groups if that is wanted. Nothing was \
             forgotten"
        ),
    }
}

/// What is known of when a snapshot was made.
enum Standing {
    /// Its own time, which nothing contradicts.
    Dated,
    /// Later than now: the clock was ahead, and no telling by how much.
    Future,
    /// After another one that is dated later: the clock was behind.
    Late {
        /// That other one, which it was compared with.
        after: ObjectId,
        /// When that was made.
        after_time: Timestamp,
        /// Whether only snapshots of the future lie between them, of which nobody knows when they were made.
        is_unplaced: bool,
    },
}

impl Standing {
    /// Each backup is compared with the newest snapshot of its group: so whatever a snapshot was compared with was made
    /// before it, whatever the clock said.
    fn of(snapshot: &Snapshot, known: &HashMap<ObjectId, &Snapshot>, now: Timestamp) -> Self {
        if snapshot.record.started > now {
            return Self::Future;
        }
        let parent = |of: &Snapshot| of.record.parent.and_then(|id| known.get(&id).copied());
        let mut before = parent(snapshot);
        let mut is_unplaced = false;
        // No chain of parents is longer, unless it is a circle.
        for _ in 0..known.len() {
            match before {
                Some(found) if found.record.started > now => (before, is_unplaced) = (parent(found), true),
                _ => break,
            }
        }
        match before.map(|found| (found.id, found.record.started)) {
            Some((after, after_time)) if after_time > snapshot.record.started => {
                Self::Late { after, after_time, is_unplaced }
            }
            _ => Self::Dated,
        }
    }
}

/// Decides about one group.
fn decide(
    snapshots: Vec<Snapshot>,
    named: &BTreeSet<ObjectId>,
    options: &ForgetOptions,
    now: Timestamp,
) -> Vec<Decision> {
    // One whose tags were changed is known by its first name too.
    let by_first_name = snapshots.iter().filter_map(|snapshot| Some((snapshot.record.original?, snapshot)));
    let by_name = snapshots.iter().map(|snapshot| (snapshot.id, snapshot));
    let known: HashMap<ObjectId, &Snapshot> = by_first_name.chain(by_name).collect();
    let standings: Vec<Standing> = snapshots.iter().map(|snapshot| Standing::of(snapshot, &known, now)).collect();
    let mut made: Vec<(Snapshot, Standing)> = snapshots.into_iter().zip(standings).collect();
    made.sort_by_key(|(snapshot, standing)| {
        let started = snapshot.record.started;
        match standing {
            Standing::Late { after_time, .. } => (*after_time, true, snapshot.order()),
            _ => (started, false, snapshot.order()),
        }
    });
    let mut reasons = if named.is_empty() {
        by_policy(&made, options)
    } else {
        let reason = |(snapshot, _): &(Snapshot, Standing)| {
            if named.contains(&snapshot.id) { Vec::new() } else { vec![KeepReason::NotNamed] }
        };
        made.iter().map(reason).collect()
    };
    let decision = |(at, (snapshot, _))| Decision { snapshot, reasons: std::mem::take(&mut reasons[at]) };
    made.into_iter().enumerate().map(decision).collect()
}

/// Returns why each of the snapshots, oldest first, stays.
fn by_policy(made: &[(Snapshot, Standing)], options: &ForgetOptions) -> Vec<Vec<KeepReason>> {
    let mut rules = Rules::new(&options.policy, &options.utc_offset);
    // A snapshot and its copies, repaired, rewritten or with other tags, are of one moment and take one place.
    let mut moments = HashSet::new();
    let mut all: Vec<Vec<KeepReason>> = Vec::with_capacity(made.len());
    for (snapshot, standing) in made.iter().rev() {
        let record = &snapshot.record;
        let tags = options.policy.tags.iter().filter(|tag| record.tags.contains(tag));
        let mut reasons: Vec<KeepReason> = tags.cloned().map(KeepReason::Tag).collect();
        match standing {
            _ if !moments.insert(snapshot.first_id()) => {}
            Standing::Dated => rules.apply(record.started, &mut reasons),
            Standing::Future => reasons.push(KeepReason::Future),
            // It is older than those that took their places, but nobody knows in which hour or day it belongs.
            Standing::Late { is_unplaced, .. } if *is_unplaced || rules.are_open() => reasons.push(KeepReason::Clock),
            Standing::Late { .. } => {}
        }
        all.push(reasons);
    }
    all.reverse();
    keep_proofs(made, &mut all);
    keep_moments(made, &mut all);
    all
}

/// Lets those of one moment stay together, each for the reasons of all.
fn keep_moments(made: &[(Snapshot, Standing)], reasons: &mut [Vec<KeepReason>]) {
    let mut moments: HashMap<ObjectId, Vec<usize>> = HashMap::new();
    for (at, (snapshot, _)) in made.iter().enumerate() {
        moments.entry(snapshot.first_id()).or_default().push(at);
    }
    for places in moments.values().filter(|places| places.len() > 1) {
        let mut all: Vec<KeepReason> = Vec::new();
        for reason in places.iter().rev().flat_map(|&at| &reasons[at]) {
            if !all.contains(reason) {
                all.push(reason.clone());
            }
        }
        places.iter().for_each(|&at| reasons[at].clone_from(&all));
    }
}

/// Keeps what proves of a snapshot that stays that it is younger than its time says; else the next run would not know.
fn keep_proofs(made: &[(Snapshot, Standing)], reasons: &mut [Vec<KeepReason>]) {
    let places: HashMap<ObjectId, usize> =
        made.iter().enumerate().map(|(at, (snapshot, _))| (snapshot.id, at)).collect();
    for mut at in 0..made.len() {
        while !reasons[at].is_empty()
            && let Standing::Late { after, .. } = &made[at].1
            && let Some(&proof) = places.get(after).filter(|&&proof| reasons[proof].is_empty())
        {
            reasons[proof].push(KeepReason::Clock);
            at = proof;
        }
    }
}

/// A policy while it is applied to one group, newest first.
struct Rules<'a> {
    offset: &'a UtcOffset,
    counts: Vec<Count>,
    within: Option<Within>,
}

struct Count {
    reason: KeepReason,
    /// None: each snapshot counts.
    period: Option<Period>,
    left: u32,
    seen: HashSet<(i64, i32)>,
}

impl<'a> Rules<'a> {
    fn new(policy: &KeepPolicy, offset: &'a UtcOffset) -> Self {
        let count = |reason, period, left| Count { reason, period, left, seen: HashSet::new() };
        let counts = vec![
            count(KeepReason::Last, None, policy.last),
            count(KeepReason::Hourly, Some(Period::Hour), policy.hourly),
            count(KeepReason::Daily, Some(Period::Day), policy.daily),
            count(KeepReason::Weekly, Some(Period::Week), policy.weekly),
            count(KeepReason::Monthly, Some(Period::Month), policy.monthly),
            count(KeepReason::Yearly, Some(Period::Year), policy.yearly),
        ];
        Self { offset, counts, within: policy.within.map(Within::new) }
    }

    /// Returns whether something that is a little older than all so far could stay.
    fn are_open(&self) -> bool {
        self.counts.iter().any(|count| count.left > 0) || self.within.as_ref().is_some_and(|within| !within.is_over)
    }

    fn offset_at(&self, time: Timestamp) -> i32 {
        (self.offset)(time)
    }

    fn apply(&mut self, time: Timestamp, reasons: &mut Vec<KeepReason>) {
        let offset = self.offset_at(time);
        for count in self.counts.iter_mut().filter(|count| count.left > 0) {
            if count.period.is_none_or(|period| count.seen.insert(period.of(time.seconds, offset))) {
                count.left -= 1;
                reasons.push(count.reason.clone());
            }
        }
        let offset = self.offset;
        let offset_at = |seconds| offset(Timestamp { seconds, nanos: 0 });
        if self.within.as_mut().is_some_and(|within| within.keeps(time.seconds, &offset_at)) {
            reasons.push(KeepReason::Within);
        }
    }
}

/// Keeps what is not too old.
///
/// If more time than the span lies between two snapshots that follow one another, there may have been no backups, or the
/// clock may have jumped ahead; then all before it would seem too old at once. So before the first such gap the span is
/// counted once more.
struct Within {
    span: CalendarSpan,
    /// What is older goes.
    from: Option<i64>,
    /// The last that stayed.
    last: i64,
    may_jump: bool,
    is_over: bool,
}

impl Within {
    fn new(span: CalendarSpan) -> Self {
        Self { span, from: None, last: 0, may_jump: true, is_over: false }
    }

    fn keeps(&mut self, seconds: i64, offset_at: &dyn Fn(i64) -> i32) -> bool {
        let is_gap = self.from.is_some_and(|from| seconds < from);
        if self.is_over || (is_gap && !(self.may_jump && seconds < self.span.before(self.last, offset_at))) {
            self.is_over = true;
            return false;
        }
        if is_gap || self.from.is_none() {
            self.may_jump = !is_gap;
            self.from = Some(self.span.before(seconds, offset_at));
        }
        self.last = seconds;
        true
    }
}
