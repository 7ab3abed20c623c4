//! Which snapshots stay, beside a plain model of the rules; and their removal from every store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use daykeep_engine::internals::forget::plan;
use daykeep_engine::{
    Access, CalendarSpan, CancelToken, Error, ForgetOptions, Grouping, KeepPolicy, KeepReason, MemoryStore, ObjectId,
    ObjectKind, ObjectName, PruneOptions, Repository, Snapshot, SnapshotRecord, StoreErrorKind, Timestamp,
};
use daykeep_tests::inventory::read;
use daykeep_tests::is_long;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up};
use daykeep_tests::stores::{FailingStore, OBJECT_BYTES_MAX, replace};
use jiff::civil::date;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;

const DAY: i64 = 86_400;
/// Later than every snapshot that is not of the future.
const LATER: Timestamp = Timestamp { seconds: 4_000_000_000, nanos: 0 };

fn config(cases: u32) -> ProptestConfig {
    let cases = if is_long() { 50 * cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Central Europe, where clocks are put forward in March and back in October.
fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn zoned(seconds: i64) -> jiff::ZonedDateTime {
    jiff::Timestamp::from_second(seconds).unwrap().to_zoned_datetime(zone())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn id(number: usize) -> ObjectId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The snapshot of a number, made at a second.
fn snapshot(number: usize, seconds: i64) -> Snapshot {
    let record = SnapshotRecord { started: at(seconds), ..SnapshotRecord::default() };
    Snapshot { id: id(number), record }
}

fn options(policy: KeepPolicy) -> ForgetOptions {
    let mut options = ForgetOptions::default();
    options.policy = policy;
    options.allow_empty_groups = true;
    options.utc_offset = Arc::new(|time| zoned(time.seconds).offset().seconds());
    options
}

fn policy(change: impl FnOnce(&mut KeepPolicy)) -> KeepPolicy {
    let mut policy = KeepPolicy::default();
    change(&mut policy);
    policy
}

/// Returns why each snapshot of the one group stays, none for those that go.
fn reasons(snapshots: &[Snapshot], options: &ForgetOptions, now: Timestamp) -> BTreeMap<ObjectId, Vec<KeepReason>> {
    let groups = plan(snapshots.to_vec(), &BTreeSet::new(), options, now).unwrap();
    let decisions = groups.into_iter().flat_map(|group| group.decisions);
    decisions.map(|decision| (decision.snapshot.id, decision.reasons)).collect()
}

/// Returns the seconds at which the snapshots were made that stay, oldest first.
fn kept(seconds: &[i64], policy: KeepPolicy) -> Vec<i64> {
    let snapshots: Vec<_> = seconds.iter().enumerate().map(|(number, &seconds)| snapshot(number, seconds)).collect();
    let reasons = reasons(&snapshots, &options(policy), LATER);
    seconds.iter().enumerate().filter(|(number, _)| !reasons[&id(*number)].is_empty()).map(|(_, &at)| at).collect()
}

/// The rules as one would tell them: for each, all snapshots are looked at anew.
fn model(snapshots: &[Snapshot], policy: &KeepPolicy) -> BTreeMap<ObjectId, Vec<KeepReason>> {
    let mut newest_first = snapshots.to_vec();
    newest_first.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.record.started, snapshot.id)));
    let mut all: BTreeMap<ObjectId, Vec<KeepReason>> =
        snapshots.iter().map(|snapshot| (snapshot.id, Vec::new())).collect();
    let mut keep = |id: &ObjectId, reason| all.get_mut(id).unwrap().push(reason);
    for snapshot in snapshots {
        for tag in policy.tags.iter().filter(|tag| snapshot.record.tags.contains(tag)) {
            keep(&snapshot.id, KeepReason::Tag(tag.clone()));
        }
    }
    for snapshot in newest_first.iter().take(policy.last as usize) {
        keep(&snapshot.id, KeepReason::Last);
    }
    let periods = [
        (KeepReason::Hourly, policy.hourly, "%Y-%m-%d %H %z"),
        (KeepReason::Daily, policy.daily, "%Y-%m-%d"),
        (KeepReason::Weekly, policy.weekly, "%G-W%V"),
        (KeepReason::Monthly, policy.monthly, "%Y-%m"),
        (KeepReason::Yearly, policy.yearly, "%Y"),
    ];
    for (reason, count, format) in periods {
        let name = |snapshot: &Snapshot| zoned(snapshot.record.started.seconds).strftime(format).to_string();
        let mut names: Vec<String> = newest_first.iter().map(name).collect();
        names.dedup();
        for period in names.iter().take(count as usize) {
            let newest = newest_first.iter().find(|snapshot| name(snapshot) == *period).unwrap();
            keep(&newest.id, reason.clone());
        }
    }
    if let (Some(span), Some(newest)) = (policy.within, newest_first.first()) {
        let before = |seconds: i64| {
            let span = jiff::Span::new().years(span.years).months(span.months).days(span.days).hours(span.hours);
            zoned(seconds).checked_sub(span).unwrap().timestamp().as_second()
        };
        let seconds = |snapshot: &&Snapshot| snapshot.record.started.seconds;
        let is_young = |from: i64| newest_first.iter().filter(move |snapshot| snapshot.record.started.seconds >= from);
        let mut from = before(seconds(&newest));
        let last = is_young(from).map(|snapshot| snapshot.record.started.seconds).min().unwrap();
        let next = newest_first.iter().find(|snapshot| snapshot.record.started.seconds < from);
        if let Some(next) = next.filter(|next| seconds(next) < before(last)) {
            from = before(seconds(&next));
        }
        is_young(from).for_each(|snapshot| keep(&snapshot.id, KeepReason::Within));
    }
    all
}

/// Seconds in the years around a change of clocks, from minutes to months apart.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![0i64..7200, 0..3 * DAY, 0..40 * DAY, 0..400 * DAY];
    let begin = prop_oneof![1_711_846_800i64 - DAY..1_711_846_800 + DAY, 1_729_990_800i64 - DAY..1_729_990_800 + DAY];
    (begin, vec((step, any::<bool>()), 0..40)).prop_map(|(begin, steps)| {
        let mut now = begin;
        steps
            .into_iter()
            .map(|(step, is_before)| {
                now += if is_before && now > begin - 4000 * DAY { -step } else { step };
                now
            })
            .collect()
    })
}

fn policies() -> impl Strategy<Value = KeepPolicy> {
    let counts = [0u32..6, 0..6, 0..6, 0..6, 0..6, 0..6];
    let within = proptest::option::of((0u32..2, 0u32..4, 0u32..40, 1u32..30));
    (counts, within, vec(prop_oneof![Just("a"), Just("b")], 0..2)).prop_filter_map("a policy", |(c, within, tags)| {
        let policy = policy(|policy| {
            (policy.last, policy.hourly, policy.daily) = (c[0], c[1], c[2]);
            (policy.weekly, policy.monthly, policy.yearly) = (c[3], c[4], c[5]);
            policy.within = within.map(|(years, months, days, hours)| {
                CalendarSpan::parse(&format!("{years}y{months}m{days}d{hours}h")).unwrap()
            });
            policy.tags = tags.into_iter().map(str::to_owned).collect();
        });
        (policy != KeepPolicy::default()).then_some(policy)
    })
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn the_plan_is_the_model_s(times in times(), policy in policies(), tagged in vec(any::<bool>(), 40)) {
        let mut snapshots: Vec<_> = times.iter().enumerate().map(|(at, &time)| snapshot(at, time)).collect();
        for (snapshot, _) in snapshots.iter_mut().zip(&tagged).filter(|(_, is_tagged)| **is_tagged) {
            snapshot.record.tags = vec!["a".into()];
        }
        prop_assert_eq!(reasons(&snapshots, &options(policy.clone()), LATER), model(&snapshots, &policy));
    }

    /// The clock is wrong for a while, and right before and after. Whatever stays by the true times of all snapshots that
    /// were ever made, stays. A clock that is wrong by less than what is kept, or for longer than it is behind, cannot be
    /// told from one that is right; but it never changes which snapshots are the last. The day of a jump counts as two.
    #[test]
    fn a_wrong_clock_lets_nothing_go_early(
        steps in vec(0i64..3 * DAY, 1..30),
        (first, count) in (0usize..30, 0usize..10),
        days_wrong in prop_oneof![-40i64..40, -4000i64..-100, 100i64..4000],
        (mut last, mut daily, mut days) in (0u32..5, 0u32..5, 0u32..10),
    ) {
        if days_wrong.abs() < 100 {
            (daily, days) = (0, 0);
        }
        last = last.max(u32::from(daily + days == 0));
        let policy = policy(|policy| {
            (policy.last, policy.daily) = (last, daily);
            policy.within = (days > 0).then(|| CalendarSpan::parse(&format!("{days}d")).unwrap());
        });
        let mut options = options(policy);
        options.utc_offset = Arc::new(|_| 0);
        let (mut truth, mut stored) = (Vec::new(), Vec::<Snapshot>::new());
        let mut now = 1_700_000_000;
        for (number, step) in steps.into_iter().enumerate() {
            now += step + 1;
            truth.push(now);
            let is_wrong = (first..first + count).contains(&number);
            let shown = if is_wrong { now + days_wrong * DAY } else { now };
            let mut made = snapshot(number, shown);
            let newest = stored.iter().max_by_key(|snapshot| (snapshot.record.started, snapshot.id));
            made.record.parent = newest.map(|newest| newest.id);
            stored.push(made);
            let stays = reasons(&stored, &options, at(shown + 1));
            stored.retain(|snapshot| !stays[&snapshot.id].is_empty());
            let mut days_seen = BTreeSet::new();
            for (number, &time) in truth.iter().enumerate().rev() {
                let is_of_day = days_seen.insert(time / DAY) && days_seen.len() < daily as usize;
                let is_wanted = is_of_day
                    || truth.len() - number <= last as usize
                    || (days > 0 && time >= now - i64::from(days) * DAY);
                let is_stored = stored.iter().any(|snapshot| snapshot.id == id(number));
                prop_assert!(is_stored || !is_wanted, "{number} went when {} was made: {stored:#?}", truth.len() - 1);
            }
        }
    }
}

fn noon(year: i16, month: i8, day: i8) -> i64 {
    date(year, month, day).at(12, 0, 0, 0).to_zoned_datetime(zone()).unwrap().timestamp().as_second()
}

/// Twelve Sundays: whether one asks for four snapshots, days or weeks, the last four stay.
#[test]
fn periods_without_a_snapshot_do_not_count() {
    let sundays: Vec<i64> = (0..12).map(|week| noon(2026, 9, 6) + week * 7 * DAY).collect();
    let rules: [fn(&mut KeepPolicy); 3] =
        [|policy| policy.last = 4, |policy| policy.daily = 4, |policy| policy.weekly = 4];
    for rule in rules {
        assert_eq!(kept(&sundays, policy(rule)), sundays[8..]);
    }
    let wanted = [noon(2026, 9, 27), noon(2026, 10, 25), noon(2026, 11, 22)];
    let monthly = kept(&sundays, policy(|policy| policy.monthly = 3)).into_iter().map(|at| zoned(at).date());
    assert_eq!(monthly.collect::<Vec<_>>(), wanted.map(|at| zoned(at).date()), "the last Sunday of each month");
}

/// A year of days and the first of the next: rules do not know of one another.
#[test]
fn a_year_of_days() {
    let days: Vec<i64> = (1..=366).map(|day| noon(2015, 1, 1) + (day - 1) * DAY).collect();
    let dates = |policy| kept(&days, policy).into_iter().map(|at| zoned(at).date()).collect::<Vec<_>>();
    let monthly = [(2015, 8, 31), (2015, 9, 30), (2015, 10, 31), (2015, 11, 30), (2015, 12, 31), (2016, 1, 1)];
    let monthly = monthly.map(|(year, month, day)| date(year, month, day));
    assert_eq!(dates(policy(|policy| policy.monthly = 6)), monthly);
    assert_eq!(dates(policy(|policy| policy.yearly = 5)), [date(2015, 12, 31), date(2016, 1, 1)]);
    // Sundays; the week of the 28th goes on to January 3rd.
    let weekly = [date(2015, 12, 20), date(2015, 12, 27), date(2016, 1, 1)];
    assert_eq!(dates(policy(|policy| policy.weekly = 3)), weekly);
    let all = dates(policy(|policy| {
        (policy.daily, policy.monthly, policy.yearly) = (14, 6, 1);
    }));
    let mut wanted: BTreeSet<_> = monthly.into_iter().collect();
    wanted.extend((0..14).map(|back| date(2016, 1, 1).checked_sub(jiff::Span::new().days(back)).unwrap()));
    assert_eq!(all, wanted.into_iter().collect::<Vec<_>>());
}

#[test]
fn within_is_counted_from_the_newest_by_the_calendar() {
    let within = |text: &str| policy(|policy| policy.within = Some(CalendarSpan::parse(text).unwrap()));
    let times = [noon(2024, 1, 30), noon(2024, 2, 28), noon(2024, 2, 29), noon(2024, 3, 15), noon(2024, 3, 31)];
    assert_eq!(kept(&times, within("1m")), times[2..], "a month before the 31st of March is the last of February");
    assert_eq!(kept(&times, within("1m1d")), times[1..]);
    assert_eq!(kept(&times, within("1y5m7d3h")), times);
    // A gap beyond the span: the machine was off, or the clock has jumped. Once, what was before it is spared.
    let times = [noon(2010, 1, 1), noon(2020, 1, 1), noon(2020, 1, 3), noon(2030, 1, 1), noon(2030, 1, 2)];
    assert_eq!(kept(&times, within("7d")), times[1..]);
}

#[test]
fn a_snapshot_and_its_copies_take_one_place_and_go_together() {
    let mut snapshots: Vec<_> = (0..4).map(|day| snapshot(day, noon(2026, 11, 1) + day as i64 * DAY)).collect();
    for (number, of) in [(10, 3), (11, 1)] {
        let mut copy = Snapshot { id: id(number), ..snapshots[of].clone() };
        (copy.record.original, copy.record.tags) = (Some(id(of)), vec!["repaired".into()]);
        snapshots.push(copy);
    }
    let stay = |policy| {
        let found = reasons(&snapshots, &options(policy), LATER);
        found.into_iter().filter(|(_, why)| !why.is_empty()).map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(stay(policy(|policy| policy.last = 2)), [2, 3, 10].map(id));
    assert_eq!(stay(policy(|policy| policy.daily = 3)), [1, 2, 3, 10, 11].map(id));
    assert_eq!(stay(policy(|policy| policy.tags = vec!["repaired".into()])), [1, 3, 10, 11].map(id));
}

#[test]
fn a_snapshot_of_the_future_stays_and_takes_nobody_s_place() {
    let mut snapshots: Vec<_> =
        (0..6).map(|number| snapshot(number, noon(2026, 11, 1) + number as i64 * DAY)).collect();
    snapshots.extend([snapshot(10, noon(2036, 1, 1)), snapshot(11, noon(2036, 1, 2))]);
    let options = options(policy(|policy| {
        (policy.last, policy.daily) = (2, 2);
        policy.within = Some(CalendarSpan::parse("1d").unwrap());
    }));
    let now = at(noon(2026, 11, 7));
    let found = reasons(&snapshots, &options, now);
    let stays: Vec<_> = found.iter().filter(|(_, why)| !why.is_empty()).map(|(id, _)| *id).collect();
    assert_eq!(stays, [id(4), id(5), id(10), id(11)]);
    assert_eq!(found[&id(10)], [KeepReason::Future]);
    // The one that is made next is compared with that of the future, and is none the worse for it.
    let mut next = snapshot(6, noon(2026, 11, 7));
    next.record.parent = Some(id(11));
    snapshots.push(next);
    let found = reasons(&snapshots, &options, at(noon(2026, 11, 8)));
    assert!(found[&id(6)].contains(&KeepReason::Last) && found[&id(4)].is_empty());
}

#[test]
fn a_snapshot_dated_before_its_parent_is_as_old_as_that_at_most() {
    let with_parent = |number, seconds, parent| {
        let mut made = snapshot(number, seconds);
        made.record.parent = Some(id(parent));
        made
    };
    // The second was made when the clock had forgotten everything.
    let mut snapshots = vec![snapshot(0, noon(2026, 11, 1)), with_parent(1, 1000, 0)];
    let options = options(policy(|policy| policy.last = 1));
    let found = reasons(&snapshots, &options, LATER);
    assert_eq!((&found[&id(1)], &found[&id(0)]), (&vec![KeepReason::Clock], &vec![KeepReason::Last]));
    snapshots.push(with_parent(2, noon(2026, 11, 3), 0));
    let found = reasons(&snapshots, &options, LATER);
    assert!(found[&id(0)].is_empty() && found[&id(1)].is_empty(), "the newest has the only place");
    // With two places, the second is the first's; but it may be that of the one between.
    let options = self::options(policy(|policy| policy.last = 2));
    let found = reasons(&snapshots, &options, LATER);
    assert_eq!(found[&id(1)], [KeepReason::Clock]);
    assert_eq!(found[&id(0)], [KeepReason::Last]);
    // What proves it stays as long as it does, whoever takes its place.
    let mut tagged = snapshots.clone();
    tagged[1].record.tags = vec!["keep".into()];
    let options = self::options(policy(|policy| (policy.last, policy.tags) = (1, vec!["keep".into()])));
    let found = reasons(&tagged, &options, LATER);
    assert_eq!(found[&id(1)], [KeepReason::Tag("keep".into())]);
    assert_eq!(found[&id(0)], [KeepReason::Clock]);
    // Two that name each other, as only a hostile repository has them, end nothing.
    let circle = [with_parent(0, 5_000_000_000, 1), with_parent(1, 5_000_000_001, 0), with_parent(2, 1000, 0)];
    assert_eq!(reasons(&circle, &options, LATER).len(), 3);
}

fn refusal(outcome: Result<impl std::fmt::Debug, Error>) -> String {
    match outcome.unwrap_err() {
        Error::InvalidOption { option: "forget", reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn what_would_keep_nothing_is_refused() {
    let snapshots = vec![snapshot(0, 1), snapshot(1, 2)];
    let try_plan = |options: &ForgetOptions, named: &BTreeSet<ObjectId>| plan(snapshots.clone(), named, options, LATER);
    let nobody = BTreeSet::new();
    assert!(refusal(try_plan(&ForgetOptions::default(), &nobody)).contains("--keep-daily 7"));
    let mut both = options(policy(|policy| policy.last = 1));
    both.ids = vec!["latest".into()];
    assert!(refusal(try_plan(&both, &nobody)).contains("one or the other"));
    let mut tags = options(policy(|policy| policy.tags = vec!["none".into()]));
    assert!(try_plan(&tags, &nobody).is_ok());
    tags.allow_empty_groups = false;
    assert!(refusal(try_plan(&tags, &nobody)).contains("--allow-empty-groups"));
    let mut named = ForgetOptions::default();
    named.ids = vec!["0".into(), "1".into()];
    assert!(try_plan(&named, &BTreeSet::from([id(1)])).is_ok());
    assert!(refusal(try_plan(&named, &BTreeSet::from([id(0), id(1)]))).contains("--allow-empty-groups"));
}

#[test]
fn each_group_is_judged_by_itself() {
    let made = |number, host: &str, path: &[u8]| {
        let mut made = snapshot(number, 1000 + number as i64);
        (made.record.host, made.record.paths) = (host.into(), vec![path.to_vec()]);
        made
    };
    let snapshots = [made(0, "a", b"/x"), made(1, "a", b"/x"), made(2, "a", b"/y"), made(3, "b", b"/x")];
    let mut options = options(policy(|policy| policy.last = 1));
    let mut kept = |grouping, host: Option<&str>| {
        (options.grouping, options.host) = (grouping, host.map(str::to_owned));
        let reasons = reasons(&snapshots, &options, LATER);
        reasons.into_iter().filter(|(_, why)| !why.is_empty()).map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(kept(Grouping::HostAndPaths, None), [id(1), id(2), id(3)]);
    assert_eq!(kept(Grouping::Host, None), [id(2), id(3)]);
    assert_eq!(kept(Grouping::All, None), [id(3)]);
    assert_eq!(kept(Grouping::HostAndPaths, Some("a")), [id(1), id(2)]);
}

/// Makes a repository with a snapshot for each of some versions of a file, and returns their ids, oldest first.
fn backed_up(place: &Place, versions: usize) -> Vec<ObjectId> {
    let repository = place.open();
    let source = place.folder("source");
    let versions = (0..versions).map(|version| {
        fs::write(source.join("file"), format!("version {version}")).unwrap();
        back_up(&repository, &source).snapshot.unwrap()
    });
    versions.collect()
}

fn ids(repository: &Repository) -> Vec<ObjectId> {
    repository.snapshots().unwrap().0.iter().map(|snapshot| snapshot.id).collect()
}

#[test]
fn forgotten_snapshots_are_gone_from_every_store() {
    for kind in Kind::ALL {
        let place = Place::new(kind);
        let made = backed_up(&place, 5);
        let wanted = read(&place.path("source"));
        let repository = place.open();
        let plan = repository.forget_plan(&options(policy(|policy| policy.last = 3))).unwrap();
        assert_eq!(plan.forgotten().map(|snapshot| snapshot.id).collect::<Vec<_>>(), made[..2]);
        assert_eq!(ids(&repository), made, "a plan changes nothing");
        let cancelled = CancelToken::new();
        cancelled.cancel();
        assert!(matches!(repository.forget(&plan, &cancelled), Err(Error::Cancelled)));
        repository.forget(&plan, &CancelToken::new()).unwrap();
        let mut named = ForgetOptions::default();
        named.ids = vec![made[3].to_string()[..12].to_owned()];
        repository.forget(&repository.forget_plan(&named).unwrap(), &CancelToken::new()).unwrap();
        drop(repository);
        let repository = place.open();
        assert_eq!(ids(&repository), [made[2], made[4]], "{kind:?}");
        assert_restores(&repository, "latest", &place.path("source"), &wanted);
        assert_clean(&repository);
        drop(repository);
        let repository = place.try_open(Access::Read).unwrap();
        let refused = repository.forget(&repository.forget_plan(&named_latest()).unwrap(), &CancelToken::new());
        assert!(refused.unwrap_err().to_string().contains("opened for reading"));
    }
}

fn named_latest() -> ForgetOptions {
    let mut named = ForgetOptions::default();
    named.ids = vec!["latest".into()];
    named
}

#[test]
fn a_damaged_snapshot_goes_by_its_name_only() {
    let place = Place::new(Kind::Memory);
    let made = backed_up(&place, 3);
    let store = place.store();
    let name = ObjectName::new(ObjectKind::Snapshot, made[0]);
    let mut bytes = store.get(&name, OBJECT_BYTES_MAX).unwrap();
    bytes[100] ^= 1;
    replace(store.as_ref(), &name, &bytes);
    let repository = place.open();
    let plan = repository.forget_plan(&options(policy(|policy| policy.last = 1))).unwrap();
    assert_eq!(plan.unreadable.len(), 1);
    assert!(plan.unreadable[0].to_string().contains(&made[0].to_string()));
    repository.forget(&plan, &CancelToken::new()).unwrap();
    let mut left: Vec<_> = store.list(ObjectKind::Snapshot).unwrap().into_iter().map(|(id, _)| id).collect();
    let mut wanted = [made[0], made[2]];
    left.sort();
    wanted.sort();
    assert_eq!(left, wanted);
    let mut repository = repository;
    let prune = PruneOptions::default();
    assert!(matches!(repository.prune_plan(&prune), Err(Error::Unprunable { .. })));
    let mut named = named_latest();
    named.ids = vec![made[0].to_string()];
    let plan = repository.forget_plan(&named).unwrap();
    assert!(plan.hurt == [made[0]] && plan.unreadable.is_empty() && plan.forgotten().count() == 0);
    repository.forget(&plan, &CancelToken::new()).unwrap();
    assert_eq!(ids(&repository), [made[2]]);
    let plan = repository.prune_plan(&prune).unwrap();
    repository.prune(plan, &prune).unwrap();
}

#[test]
fn each_call_may_fail_and_the_next_run_goes_on() {
    for call in 0.. {
        let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::new()), StoreErrorKind::Io));
        let options = daykeep_engine::OpenOptions::default().memory_bytes(64 << 20);
        drop(Repository::create_in(store.clone(), &daykeep_tests::place::key(), None, &options).unwrap());
        let place = Place::of_store(store.clone());
        let made = backed_up(&place, 4);
        let repository = place.open();
        let plan = repository.forget_plan(&self::options(policy(|policy| policy.last = 1))).unwrap();
        store.fail_after(call, false);
        let outcome = repository.forget(&plan, &CancelToken::new());
        let calls = store.heal();
        assert_eq!(outcome.is_err(), store.failed().is_some(), "{outcome:?}");
        let left = ids(&repository);
        assert_eq!(left, made[made.len() - left.len()..], "the newest go last");
        repository.forget(&plan, &CancelToken::new()).unwrap();
        assert_eq!(ids(&repository), made[3..]);
        if outcome.is_ok() {
            assert_eq!(calls, 4, "three deletions and one sync");
            break;
        }
    }
}
