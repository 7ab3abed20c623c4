//! Killed (SIGKILL) at any moment of a backup, a repository keeps every earlier snapshot, and the next backup succeeds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use daykeep_engine::{BackupOptions, CheckOptions};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::killed::{open_in_child, run_and_kill};
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up};

const SOURCE: &str = "DAYKEEP_TEST_KILL_SOURCE";

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let (Some(source), Some(repository)) = (std::env::var_os(SOURCE), open_in_child()) else { return };
    let mut options = BackupOptions::default();
    options.force = true;
    repository.backup(&[source], &options).unwrap();
}

/// Changes the source so that a backup has work to do: a few files are new, a long one is another.
fn change(source: &Path, turn: u64) {
    for number in 0..6 {
        let name = source.join(format!("turn-{}-{number}", turn % 3));
        fs::write(name, noise::random(1000 * turn + number, 300_000 + number as usize * 50_000)).unwrap();
    }
    fs::write(source.join("long"), noise::random(turn, 12 << 20)).unwrap();
    fs::write(source.join("text"), noise::text(turn, 2 << 20)).unwrap();
}

fn backup_and_kill(place: &Place, source: &Path, after: Option<Duration>) -> (Duration, bool) {
    run_and_kill("killing::kill_child", place, &[(SOURCE, source.as_os_str())], after)
}

fn killed_at_any_moment(kind: Kind, kills: u64) {
    let place = Place::new(kind);
    let source = place.folder("source");
    change(&source, 0);
    let first = read(&source);
    let first_id = back_up(&place.open(), &source).snapshot.unwrap().to_string();
    change(&source, 1);
    // The time that a backup takes when nobody kills it; the moments are spread over it.
    let (mut whole, _) = backup_and_kill(&place, &source, None);
    let mut rng = Rng::new(kills + Seed::first());
    let mut intact: Vec<(String, Inventory)> = vec![(first_id, first)];
    let mut killed = 0;
    for turn in 0..kills {
        if turn % 5 == 0 {
            change(&source, turn + 2);
        }
        let micros = rng.below(whole.as_micros() as usize * 11 / 10) as u64;
        let (took, was_killed) = backup_and_kill(&place, &source, Some(Duration::from_micros(micros)));
        if was_killed {
            killed += 1;
        } else {
            // Measured while the machine was busy with something else.
            whole = whole.min(took);
        }
        let repository = place.open();
        let report = repository.check(&CheckOptions::default()).unwrap();
        assert_eq!(report.errors, [""; 0], "{kind:?}, turn {turn}, killed after {micros} µs");
        if turn % 10 == 9 {
            let wanted = read(&source);
            let report = back_up(&repository, &source);
            assert_restores(&repository, "latest", &source, &wanted);
            intact.push((report.snapshot.unwrap().to_string(), wanted));
            // Two of the earlier ones each time, all of them at the end.
            for _ in 0..2 {
                let (id, wanted) = &intact[rng.below(intact.len())];
                assert_restores(&repository, id, &source, wanted);
            }
        }
    }
    assert!(killed * 4 > kills, "only {killed} of {kills} came before the end");
    let repository = place.open();
    assert_clean(&repository);
    for (id, wanted) in &intact {
        assert_restores(&repository, id, &source, wanted);
    }
}

const fn kills() -> u64 {
    100
}

#[test]
fn a_directory_survives_being_killed() {
    killed_at_any_moment(Kind::Directory, if is_long() { 10 * kills() } else { kills() });
}

#[test]
fn a_redb_file_survives_being_killed() {
    killed_at_any_moment(Kind::Redb, if is_long() { 10 * kills() } else { kills() });
}
