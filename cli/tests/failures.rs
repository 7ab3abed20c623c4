//! What goes wrong, and the exit code it gets.

use std::time::{Duration, Instant};

use crate::world::{Ended, World, hold};

#[test]
fn usage_errors() {
    let world = World::with_repository();
    let bad: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["backup"],
        &["backup", "--stdin", "source"],
        &["backup", "source", "--stdin-filename", "x"],
        &["backup", "source", "--compression", "20"],
        &["restore", "latest"],
        &["snapshots", "--wait", "soon"],
        &["snapshots", "-q", "-v"],
        &["completions", "cobol"],
    ];
    for args in bad {
        world.daykeep(args).fails_with(2);
    }
}

#[test]
fn no_such_repository() {
    let world = World::new();
    // Without anything to open it with: that it is missing is what there is to say.
    let ended = world.bare(&["-r", "missing.redb", "snapshots"]).fails_with(10);
    assert!(ended.stderr.contains("missing.redb"), "{}", ended.stderr);
    world.bare(&["-r", "missing.redb", "backup", "source"]).fails_with(10);
    assert!(!world.path("missing.redb").exists());
}

#[test]
fn wrong_or_missing_secrets() {
    let world = World::new();
    world.bare(&["-r", "r.redb", "init"]).env("DAYKEEP_PASSWORD", "right").succeeds();
    let snapshots = || world.bare(&["-r", "r.redb", "snapshots"]);
    snapshots().env("DAYKEEP_PASSWORD", "right").succeeds();
    snapshots().env("DAYKEEP_PASSWORD", "wrong").fails_with(12);
    snapshots().env("DAYKEEP_PASSWORD", &"ab".repeat(32)).fails_with(12);
    let ended = snapshots().fails_with(12);
    assert!(ended.stderr.contains("DAYKEEP_PASSWORD"), "{}", ended.stderr);
    world.write("password", b"right\nand more");
    snapshots().env("DAYKEEP_PASSWORD_FILE", "password").succeeds();
    snapshots().env("DAYKEEP_PASSWORD_FILE", "nothing").fails_with(12);
    world.write("key", b"no key");
    snapshots().env("DAYKEEP_KEY_FILE", "key").fails_with(12);
    world.write("key", "cd".repeat(32).as_bytes());
    snapshots().env("DAYKEEP_KEY_FILE", "key").fails_with(12);
}

#[test]
fn in_use_until_the_other_is_done() {
    let world = World::with_repository();
    let mut holder = hold(&world);
    let ended = world.daykeep(&["backup", "source"]).fails_with(11);
    assert!(ended.stderr.contains("--wait"), "{}", ended.stderr);
    let begun = Instant::now();
    world.daykeep(&["snapshots", "--wait", "300ms"]).fails_with(11);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    let waiting = world.daykeep(&["backup", "source", "--wait", "60s"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    drop(holder.stdin.take());
    assert!(holder.wait_with_output().unwrap().status.success());
    assert_eq!(Ended::of(waiting.wait_with_output().unwrap()).code, 0);
    assert_eq!(world.snapshot_count(), 2);
}

#[test]
fn a_source_that_is_not_there_is_named_and_the_rest_saved() {
    let world = World::with_repository();
    let ended = world.daykeep(&["backup", "source", "vanished"]).fails_with(3);
    assert!(ended.stderr.contains("vanished"), "{}", ended.stderr);
    assert_eq!(world.snapshot_count(), 1);
    let ended = world.daykeep(&["backup", "vanished", "--json"]).fails_with(1);
    assert_eq!(ended.last_object()["type"], "error");
    assert_eq!(ended.last_object()["code"], 1);
    assert!(ended.stderr.contains("vanished"), "{}", ended.stderr);
    assert_eq!(world.snapshot_count(), 1);
}

#[test]
fn foreign_and_damaged_repositories_are_named_without_a_panic() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source", "-q"]).succeeds();
    let whole = std::fs::read(world.path("r.redb")).unwrap();
    let mut flipped = whole.clone();
    flipped[4096..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
    for (name, content) in [("text", &b"some text"[..]), ("empty", b""), ("cut", &whole[..5000]), ("flipped", &flipped)]
    {
        world.write(name, content);
        let ended = world.daykeep(&["-r", name, "snapshots"]).fails_with(1);
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn check_finds_a_missing_and_a_damaged_pack() {
    let world = World::new();
    let run = |args: &[&str]| world.daykeep(args).env("DAYKEEP_REPOSITORY", "d");
    std::fs::create_dir(world.path("d")).unwrap();
    run(&["init", "-q"]).succeeds();
    run(&["backup", "source", "-q"]).succeeds();
    let mut packs = vec![];
    for folder in std::fs::read_dir(world.path("d/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|pack| pack.unwrap().path()));
    }
    packs.sort_by_key(|pack| std::fs::metadata(pack).unwrap().len());
    let pack = packs.pop().unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, &bytes).unwrap();
    let ended = run(&["check", "--read-data", "--json"]).fails_with(1);
    assert_eq!(ended.last_object()["type"], "summary");
    let errors = ended.last_object()["errors"].as_array().unwrap().len();
    assert!(errors > 0);
    assert_eq!(ended.stderr.lines().filter(|line| line.starts_with("daykeep: error: ")).count(), errors);
    std::fs::remove_file(&pack).unwrap();
    run(&["check"]).fails_with(1);
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let world = World::with_repository();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = world.daykeep(&["key", "list"]).with_stdout(full).ends();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("standard output"), "{}", ended.stderr);
    // What was recorded stays recorded, and the exit code says so.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = world.daykeep(&["backup", "source"]).with_stdout(full).ends();
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(world.snapshot_count(), 1);
}
