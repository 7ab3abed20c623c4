//! What opens a repository, and how that changes.

use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[test]
fn init_writes_a_private_key_file_and_never_over_another() {
    let world = World::with_repository();
    let mode = std::fs::metadata(world.path("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read(world.path("key")).unwrap();
    let ended = world.daykeep(&["-r", "other.redb", "init"]).fails_with(2);
    assert!(ended.stderr.contains("key"), "{}", ended.stderr);
    assert!(!world.path("other.redb").exists());
    assert_eq!(std::fs::read(world.path("key")).unwrap(), key);
}

#[test]
fn a_failed_init_leaves_no_key_file_and_harms_nothing() {
    let world = World::new();
    world.write("photos.redb", b"something else");
    std::fs::create_dir(world.path("full")).unwrap();
    world.write("full/file", b"");
    for place in ["photos.redb", "full", "no/such/folder/x.redb"] {
        let ended = world.bare(&["-r", place, "--key-file", "new", "init"]).ends();
        assert!(ended.code != 0, "{place}");
        assert!(!world.path("new").exists(), "{place}");
    }
    assert_eq!(std::fs::read(world.path("photos.redb")).unwrap(), b"something else");
}

#[test]
fn init_without_any_secret_says_what_to_set() {
    let world = World::new();
    let ended = world.bare(&["-r", "r.redb", "init"]).fails_with(12);
    assert!(ended.stderr.contains("--key-file") && ended.stderr.contains("DAYKEEP_PASSWORD"), "{}", ended.stderr);
    assert!(!world.path("r.redb").exists());
}

#[test]
fn passwords_come_and_go() {
    let world = World::new();
    let run = |password: &str, args: &[&str]| {
        world.bare(&[&["-r", "r.redb"], args].concat()).env("DAYKEEP_PASSWORD", password)
    };
    let made = run("one", &["init"]).succeeds().stdout;
    let recovery = run("one", &["key", "show-recovery"]).succeeds().stdout;
    assert!(!made.contains(recovery.trim()) && made.contains("key show-recovery"), "not into a log: {made}");

    run("one", &["key", "add", "--label", "laptop"]).env("DAYKEEP_NEW_PASSWORD", "two").succeeds();
    world.write("new", b"three\n");
    run("two", &["key", "change-password", "--new-password-file", "new"]).succeeds();
    run("two", &["snapshots"]).fails_with(12);
    let keys = run("three", &["key", "list", "--json"]).succeeds().objects("key");
    let labels: Vec<_> = keys.iter().map(|key| key["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["recovery key", "password", "laptop"]);
    assert!(keys.iter().all(|key| key["is_intact"] == true));

    // Opened by the recovery key, the password to replace is still the one that is named.
    world.write("key", recovery.as_bytes());
    run("three", &["--key-file", "key", "key", "change-password"]).env("DAYKEEP_NEW_PASSWORD", "four").succeeds();
    run("nobody", &["--key-file", "key", "key", "change-password"]).env("DAYKEEP_NEW_PASSWORD", "five").fails_with(12);
    run("four", &["key", "remove", keys[1]["id"].as_str().unwrap()]).succeeds();
    run("one", &["snapshots"]).fails_with(12);
    run("four", &["key", "remove", "zz"]).fails_with(12);
    run(recovery.trim(), &["snapshots"]).succeeds();
}

#[test]
fn a_new_password_that_nobody_can_give_changes_nothing() {
    let world = World::with_repository();
    let ended = world.daykeep(&["key", "add"]).fails_with(12);
    assert!(ended.stderr.contains("DAYKEEP_NEW_PASSWORD"), "{}", ended.stderr);
    assert_eq!(world.daykeep(&["key", "list", "--json"]).succeeds().last_object()["count"], 1);
}
