//! `copy` to another repository with a key of its own, and `init` for one that cuts files alike.

use crate::world::{Run, World, assert_same};

fn with_other(run: Run) -> Run {
    run.env("DAYKEEP_OTHER_PASSWORD", "other")
}

/// Makes the other repository, which a password opens.
fn make_other(world: &World) {
    world
        .bare(&["init", "-r", "other.redb", "--copy-chunking-from", "r.redb", "--other-key-file", "key"])
        .env("DAYKEEP_PASSWORD", "other")
        .succeeds();
}

#[test]
fn snapshots_are_copied_once() {
    let world = World::with_repository();
    make_other(&world);
    world.daykeep(&["backup", "source"]).succeeds();
    let shown = with_other(world.daykeep(&["copy", "--to", "other.redb"])).succeeds().stdout;
    assert!(shown.contains(" there\n") && shown.contains("Copied 1 snapshot, 0 there already"), "{shown}");
    world.write("source/a", b"changed");
    world.daykeep(&["backup", "source"]).succeeds();
    let ended = with_other(world.daykeep(&["copy", "latest", "--to", "other.redb", "--json"])).succeeds();
    assert_eq!(ended.objects("copied").len(), 1);
    let ended = with_other(world.daykeep(&["copy", "--to", "other.redb", "--json"])).succeeds().last_object();
    assert_eq!((&ended["copied"], &ended["skipped"], &ended["bytes_stored"]), (&0.into(), &2.into(), &0.into()));
    let other =
        |args: &[&str]| world.bare(args).env("DAYKEEP_REPOSITORY", "other.redb").env("DAYKEEP_PASSWORD", "other");
    other(&["restore", "latest", "--target", "out"]).succeeds();
    assert_same(&world.path("source"), &world.path("out").join(world.path("source").strip_prefix("/").unwrap()));
    other(&["check", "--read-data"]).succeeds();
    let summary = other(&["backup", "source", "--force", "--json"]).succeeds().last_object();
    assert!(summary["bytes_new"].as_u64().unwrap() < 5000, "{summary}");
}

#[test]
fn both_repositories_need_their_own_key() {
    let world = World::with_repository();
    make_other(&world);
    world.daykeep(&["backup", "source"]).succeeds();
    let copy = || world.daykeep(&["copy", "--to", "other.redb"]);
    copy().env("DAYKEEP_OTHER_PASSWORD", "wrong").fails_with(12);
    copy().env("DAYKEEP_OTHER_KEY_FILE", "key").fails_with(12);
    let ended = copy().fails_with(12);
    assert!(ended.stderr.contains("DAYKEEP_OTHER_PASSWORD"), "{}", ended.stderr);
    let bare = world.bare(&["copy", "-r", "r.redb", "--to", "other.redb"]).env("DAYKEEP_PASSWORD", "wrong");
    with_other(bare).fails_with(12);
    with_other(world.daykeep(&["copy", "--to", "none.redb"])).fails_with(10);
    std::os::unix::fs::symlink("r.redb", world.path("link.redb")).unwrap();
    for same in ["r.redb", "./source/../r.redb", "link.redb"] {
        let ended = world.daykeep(&["copy", "--to", same]).fails_with(2);
        assert!(ended.stderr.contains("both are the same repository"), "{same}: {}", ended.stderr);
    }
    world.daykeep(&["copy"]).fails_with(2);
}
