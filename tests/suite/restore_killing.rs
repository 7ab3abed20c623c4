//! Killed (SIGKILL) at any moment of a restore, into an empty folder or over other versions of the files: the next restore
//! into the same folder succeeds, byte for byte, and leaves nothing beside. No file has its name before it is whole, so that
//! a restore that overwrites nothing goes on where the killed one ended.

use std::fs;
use std::path::Path;
use std::time::Duration;

use daykeep_engine::{Access, Overwrite, Repository, RestoreOptions, SnapshotPath};
use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::is_long;
use daykeep_tests::killed::{open, run_and_kill};
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{Kind, Place, back_up, below};

const FROM: &str = "DAYKEEP_TEST_KILL_RESTORE_FROM";
const TARGET: &str = "DAYKEEP_TEST_KILL_RESTORE_TARGET";

fn restore(repository: &Repository, what: &str, target: &Path, overwrite: Overwrite) {
    let what = SnapshotPath::parse(what.as_bytes()).unwrap();
    let mut options = RestoreOptions::default();
    options.overwrite = overwrite;
    assert_eq!(repository.restore(&what, target, &options).unwrap().warnings, []);
}

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let (Some(from), Some(target)) = (std::env::var_os(FROM), std::env::var_os(TARGET)) else { return };
    restore(&open(&from, Access::Read), "latest", target.as_ref(), Overwrite::Always);
}

/// The same names each time, and other bytes.
fn change(source: &Path, turn: u64) {
    for folder in 0..3 {
        fs::create_dir_all(source.join(format!("{folder}/inner"))).unwrap();
        for number in 0..12 {
            let seed = 1000 * turn + 100 * folder + number;
            let bytes = noise::text(seed, 2000 * number as usize);
            fs::write(source.join(format!("{folder}/inner/{number}")), bytes).unwrap();
        }
        let long = noise::random(1000 * turn + folder, 6 << 20);
        fs::write(source.join(format!("{folder}/long")), long).unwrap();
    }
}

#[test]
fn a_restore_that_is_killed_is_done_again() {
    let (mut rng, mut killed, mut kills) = (Rng::new(Seed::first()), 0, 0);
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let source = place.folder("source");
        change(&source, 1);
        let first = back_up(&place.open(), &source).snapshot.unwrap().to_string();
        let wanted = read(&source);
        change(&source, 2);
        back_up(&place.open(), &source);
        let (old, wanted) = (wanted, read(&source));
        let location = place.location().unwrap();
        let kill = |target: &Path, after| {
            let more = [(FROM, location.path().as_os_str()), (TARGET, target.as_os_str())];
            run_and_kill("restore_killing::kill_child", &place, &more, after)
        };
        let (mut whole, _) = kill(&place.path("whole"), None);
        assert_same(&wanted, &read(&below(&place.path("whole"), &source)));
        for turn in 0..if is_long() { 300 } else { 12 } {
            let target = place.path(format!("target-{turn}"));
            if turn % 2 == 0 {
                restore(&place.open(), &first, &target, Overwrite::Always);
            }
            let micros = rng.below(whole.as_micros() as usize * 11 / 10) as u64;
            let (took, was_killed) = kill(&target, Some(Duration::from_micros(micros)));
            (killed, kills) = (killed + u64::from(was_killed), kills + 1);
            if !was_killed {
                whole = whole.min(took);
            }
            restore(&place.open(), "latest", &target, Overwrite::Never);
            let found = read(&below(&target, &source));
            assert!(found.keys().eq(wanted.keys()), "nothing is left beside: {:?}", found.keys());
            for (path, item) in &found {
                let was_there = turn % 2 == 0 && item.content == old[path].content;
                assert!(item.content == wanted[path].content || was_there, "half a file was kept: {path:?}");
            }
            let overwrite = if turn % 3 == 0 { Overwrite::IfChanged } else { Overwrite::Always };
            restore(&place.open(), "latest", &target, overwrite);
            assert_same(&wanted, &read(&below(&target, &source)));
            fs::remove_dir_all(target).unwrap();
        }
    }
    assert!(killed * 3 > kills, "only {killed} of {kills} came before the end");
}
