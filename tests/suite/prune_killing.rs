//! Killed (SIGKILL) at any moment of a prune, a repository keeps every snapshot, and the next prune does the rest.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use daykeep_engine::{Access, CheckOptions, ObjectId, ObjectKind, ObjectName, PruneOptions, Repository};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::killed::{WAIT, open_in_child, run_and_kill};
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, secret};

const COMPACT: &str = "DAYKEEP_TEST_KILL_PRUNE_COMPACT";

fn open(place: &Place) -> Repository {
    Repository::open(&place.location().unwrap(), &secret(), Access::Write, &place.options().wait(WAIT)).unwrap()
}

fn options(compact: bool) -> PruneOptions {
    let mut options = PruneOptions::default();
    (options.unused_percent_max, options.compact) = (0, compact);
    options
}

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let Some(mut repository) = open_in_child() else { return };
    let options = options(std::env::var_os(COMPACT).is_some());
    let plan = repository.prune_plan(&options).unwrap();
    repository.prune(plan, &options).unwrap();
}

fn change(source: &Path, turn: u64) {
    let mut database = match turn {
        0 => noise::sqlite(1, 4096, 400 * 4096),
        _ => fs::read(source.join("chats.db")).unwrap(),
    };
    let mut rng = Rng::new(turn);
    for _ in 0..40 {
        let at = 4096 + rng.below(398 * 4096);
        database[at..at + 24].copy_from_slice(&noise::random(rng.below(1 << 30) as u64, 24));
    }
    fs::write(source.join("chats.db"), database).unwrap();
    fs::write(source.join("photo"), noise::random(turn, 900_000)).unwrap();
    fs::write(source.join(format!("note-{}", turn % 7)), noise::text(turn, 20_000)).unwrap();
}

fn prune_and_kill(place: &Place, compact: bool, after: Option<Duration>) -> (Duration, bool) {
    let more: &[(&str, &OsStr)] = if compact { &[(COMPACT, OsStr::new("1"))] } else { &[] };
    run_and_kill("prune_killing::kill_child", place, more, after)
}

fn killed_at_any_moment(kind: Kind, kills: u64) {
    let place = Place::new(kind);
    let source = place.folder("source");
    let mut rng = Rng::new(kills + Seed::first());
    let mut kept: Vec<(ObjectId, Inventory)> = Vec::new();
    let (mut whole, mut killed) = (None, 0);
    for turn in 0..kills {
        let repository = open(&place);
        for day in 0..2 {
            change(&source, 2 * turn + day);
            kept.push((back_up(&repository, &source).snapshot.unwrap(), read(&source)));
        }
        drop(repository);
        // One of the last two, and now and then an old one.
        let mut forgotten = vec![kept.remove(kept.len() - 1 - rng.below(2)).0];
        if kept.len() > 8 {
            forgotten.push(kept.remove(rng.below(kept.len() - 1)).0);
        }
        let store = crate::prune::store_of(&place);
        for id in forgotten {
            store.delete(&ObjectName::new(ObjectKind::Snapshot, id)).unwrap();
        }
        store.sync().unwrap();
        drop(store);
        place.forget_seen();
        let compact = turn % 3 == 0;
        // The time that it takes when nobody kills it; the moments are spread over it.
        let Some(span) = whole else {
            whole = Some(prune_and_kill(&place, compact, None).0);
            continue;
        };
        let micros = rng.below(span.as_micros() as usize * 11 / 10) as u64;
        let (took, was_killed) = prune_and_kill(&place, compact, Some(Duration::from_micros(micros)));
        killed += u64::from(was_killed);
        if !was_killed {
            whole = Some(span.min(took));
        }
        let mut repository = open(&place);
        let report = repository.check(&CheckOptions::default()).unwrap();
        assert_eq!(report.errors, [""; 0], "{kind:?}, turn {turn}, killed after {micros} µs");
        for _ in 0..2 {
            let (id, wanted) = &kept[rng.below(kept.len())];
            assert_restores(&repository, &id.to_string(), &source, wanted);
        }
        if turn % 5 == 4 {
            let plan = repository.prune_plan(&options(false)).unwrap();
            repository.prune(plan, &options(false)).unwrap();
            let plan = repository.prune_plan(&options(false)).unwrap();
            assert!(plan.is_empty(), "{kind:?}, turn {turn}: {:?}", plan.figures);
            assert_clean(&repository);
        }
    }
    assert!(killed * 4 > kills, "only {killed} of {kills} came before the end");
    let repository = open(&place);
    assert_clean(&repository);
    for (id, wanted) in &kept {
        assert_restores(&repository, &id.to_string(), &source, wanted);
    }
}

const fn kills() -> u64 {
    30
}

#[test]
fn a_directory_survives_a_prune_that_is_killed() {
    killed_at_any_moment(Kind::Directory, if is_long() { 20 * kills() } else { kills() });
}

#[test]
fn a_redb_file_survives_a_prune_that_is_killed() {
    killed_at_any_moment(Kind::Redb, if is_long() { 20 * kills() } else { kills() });
}
