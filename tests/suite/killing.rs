//! Killed (SIGKILL) at any moment of a backup, a repository keeps every earlier snapshot, and the next backup succeeds.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daykeep_engine::{Access, BackupOptions, CheckOptions, Location, OpenOptions, Repository};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, below, secret, temp, try_restore};

const PLACE: &str = "DAYKEEP_TEST_KILL_REPOSITORY";
const SOURCE: &str = "DAYKEEP_TEST_KILL_SOURCE";

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn kill_child() {
    let (Some(repository), Some(source)) = (std::env::var_os(PLACE), std::env::var_os(SOURCE)) else { return };
    let location = Location::parse(repository.to_str().unwrap()).unwrap();
    let options = OpenOptions::default().memory_bytes(64 << 20).cache_dir(Path::new(&source).with_file_name("cache"));
    let repository = Repository::open(&location, &secret(), Access::Write, &options).unwrap();
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

/// Starts a backup in another process and kills it after a while, or waits for its end. Returns how long it ran and
/// whether it was killed.
fn backup_and_kill(place: &Place, source: &Path, after: Option<Duration>) -> (Duration, bool) {
    let location = place.location().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killing::kill_child", "--nocapture"])
        .env(PLACE, location.path())
        .env(SOURCE, source)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    if let Some(after) = after {
        std::thread::sleep(after);
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    assert!(after.is_some() || status.success(), "the backup itself succeeds");
    (begun.elapsed(), !status.success())
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
    let mut rng = Rng::new(kills);
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
                is_intact(&repository, id, &source, wanted);
            }
        }
    }
    assert!(killed * 4 > kills, "only {killed} of {kills} came before the end");
    let repository = place.open();
    assert_clean(&repository);
    for (id, wanted) in &intact {
        is_intact(&repository, id, &source, wanted);
    }
}

fn is_intact(repository: &Repository, id: &str, source: &Path, wanted: &Inventory) {
    let target = temp();
    assert_eq!(try_restore(repository, id, target.path()).unwrap().warnings, []);
    assert_same(wanted, &read(&below(target.path(), source)));
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
