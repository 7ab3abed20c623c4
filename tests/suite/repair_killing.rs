//! Killed (SIGKILL) at any moment of a repair, a repository has lost nothing more, and the next repair ends well.

use std::time::Duration;

use daykeep_engine::{ObjectId, ObjectKind, ObjectName, Store};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::killed::{open_in_child, run_and_kill};
use daykeep_tests::noise::{Rng, Seed};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up};
use daykeep_tests::stores::replace;

use crate::repair::{change, options};

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let Some(mut repository) = open_in_child() else { return };
    let plan = repository.repair_plan(&options(true)).unwrap();
    repository.repair(plan, &options(true)).unwrap();
}

fn repair_and_kill(place: &Place, after: Option<Duration>) -> (Duration, bool) {
    run_and_kill("repair_killing::kill_child", place, &[], after)
}

/// Hurts a pack, and an index object too now and then.
fn hurt(store: &dyn Store, rng: &mut Rng) -> String {
    let mut pick = |kind| {
        let mut all: Vec<ObjectId> = store.list(kind).unwrap().into_iter().map(|(id, _)| id).collect();
        all.sort_unstable();
        ObjectName::new(kind, all[rng.below(all.len())])
    };
    let (pack, index) = (pick(ObjectKind::Pack), pick(ObjectKind::Index));
    let mut bytes = store.get(&pack, 64 << 20).unwrap();
    match rng.below(3) {
        0 => store.delete(&pack).unwrap(),
        1 => replace(store, &pack, &bytes[..bytes.len() / 2]),
        _ => {
            let at = rng.below(bytes.len());
            bytes[at] ^= 1;
            replace(store, &pack, &bytes);
        }
    }
    if rng.below(2) == 0 {
        store.delete(&index).unwrap();
    }
    store.sync().unwrap();
    format!("{pack} and perhaps {index}")
}

fn killed_at_any_moment(kind: Kind, kills: u64) {
    let place = Place::new(kind);
    let source = place.folder("source");
    let mut rng = Rng::new(kills + Seed::first());
    let mut kept: Vec<(ObjectId, Inventory)> = Vec::new();
    let (mut whole, mut killed) = (None, 0);
    for turn in 0..kills {
        let repository = place.open();
        for day in 0..2 {
            change(&source, 2 * turn + day);
            kept.push((back_up(&repository, &source).snapshot.unwrap(), read(&source)));
        }
        drop(repository);
        let store = crate::prune::store_of(&place);
        let what = hurt(store.as_ref(), &mut rng);
        drop(store);
        // The time that it takes when nobody kills it; the moments are spread over it.
        match whole {
            None => whole = Some(repair_and_kill(&place, None).0),
            Some(span) => {
                let micros = rng.below(Duration::as_micros(&span) as usize * 11 / 10) as u64;
                let (took, was_killed) = repair_and_kill(&place, Some(Duration::from_micros(micros)));
                killed += u64::from(was_killed);
                whole = Some(if was_killed { span } else { span.min(took) });
            }
        }
        let mut repository = place.open();
        let plan = repository.repair_plan(&options(true)).unwrap();
        let hurt: Vec<ObjectId> = plan.snapshots.iter().map(|hurt| hurt.snapshot.id).collect();
        repository.repair(plan, &options(true)).unwrap();
        assert!(repository.repair_plan(&options(true)).unwrap().is_empty(), "{kind:?}, turn {turn}: {what}");
        // Some of them each time, all of them at the end.
        let stays: Vec<_> = kept.iter().filter(|(id, _)| !hurt.contains(id)).collect();
        for _ in 0..stays.len().min(6) {
            let (id, wanted) = stays[rng.below(stays.len())];
            assert_restores(&repository, &id.to_string(), &source, wanted);
        }
        drop(repository);
        let store = crate::prune::store_of(&place);
        hurt.iter().for_each(|id| store.delete(&ObjectName::new(ObjectKind::Snapshot, *id)).unwrap());
        store.sync().unwrap();
        drop(store);
        place.forget_seen();
        kept.retain(|(id, _)| !hurt.contains(id));
        assert_clean(&place.open());
    }
    assert!(killed * 4 > kills, "only {killed} of {kills} came before the end");
    let repository = place.open();
    for (id, wanted) in &kept {
        assert_restores(&repository, &id.to_string(), &source, wanted);
    }
    back_up(&repository, &source);
    assert_restores(&repository, "latest", &source, &read(&source));
    assert_clean(&repository);
}

const fn kills() -> u64 {
    12
}

#[test]
fn a_directory_survives_a_repair_that_is_killed() {
    killed_at_any_moment(Kind::Directory, if is_long() { 20 * kills() } else { kills() });
}

#[test]
fn a_redb_file_survives_a_repair_that_is_killed() {
    killed_at_any_moment(Kind::Redb, if is_long() { 20 * kills() } else { kills() });
}
