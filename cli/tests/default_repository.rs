//! With nothing configured, `daykeep backup PATH` just works.

use std::os::unix::fs::PermissionsExt;

use crate::world::World;

const REPOSITORY: &str = "home/.local/share/daykeep/default.redb";
const KEY: &str = "home/.config/daykeep/default.key";

fn mode(world: &World, name: &str) -> u32 {
    std::fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_first_backup_makes_it_and_says_how_to_show_the_recovery_key() {
    let world = World::new();
    let first = world.bare(&["backup", "source"]).succeeds();
    let key = std::fs::read_to_string(world.path(KEY)).unwrap();
    let shown = key.trim();
    assert_eq!(shown.len(), 64);
    // A backup that runs by itself has its output kept in a mail or a journal.
    assert!(!first.stdout.contains(shown) && !first.stderr.contains(shown), "{}", first.stdout);
    assert!(first.stdout.contains("default.key") && first.stdout.contains("key show-recovery"), "{}", first.stdout);
    assert_eq!(mode(&world, KEY), 0o600);
    assert_eq!(mode(&world, "home/.config/daykeep"), 0o700);
    assert_eq!(mode(&world, "home/.local/share/daykeep"), 0o700);

    let second = world.bare(&["backup", "source"]).succeeds().stdout;
    assert!(!second.contains(shown) && !second.contains("Recovery"), "{second}");
    assert_eq!(world.bare(&["snapshots", "--json"]).succeeds().last_object()["count"], 2);
    // The key opens it without its file, too.
    std::fs::remove_file(world.path(KEY)).unwrap();
    world.bare(&["snapshots"]).fails_with(12);
    world.bare(&["snapshots"]).env("DAYKEEP_PASSWORD", shown).succeeds();
}

#[test]
fn it_follows_the_users_folders() {
    let world = World::new();
    let set = |run: crate::world::Run| {
        let folder = |name: &str| world.path(name).display().to_string();
        run.env("XDG_DATA_HOME", &folder("data"))
            .env("XDG_CONFIG_HOME", &folder("config"))
            .env("XDG_CACHE_HOME", &folder("cache"))
    };
    set(world.bare(&["backup", "source", "-q"])).succeeds();
    assert!(world.path("data/daykeep/default.redb").is_file());
    assert!(world.path("config/daykeep/default.key").is_file());
    assert!(world.path("cache/daykeep").is_dir());
    assert_eq!(std::fs::read_dir(world.path("home")).unwrap().count(), 0);
}

#[test]
fn other_commands_say_that_it_is_missing_and_how_to_make_it() {
    let world = World::new();
    for args in [&["snapshots"][..], &["ls", "latest"], &["check"], &["stats"], &["key", "list"]] {
        let ended = world.bare(args).fails_with(10);
        assert!(ended.stderr.contains("daykeep backup PATH"), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read_dir(world.path("home")).unwrap().count(), 0);
}

#[test]
fn a_key_without_a_repository_is_used_for_the_new_one() {
    let world = World::new();
    world.bare(&["backup", "source", "-q"]).succeeds();
    let key = std::fs::read_to_string(world.path(KEY)).unwrap();
    std::fs::remove_file(world.path(REPOSITORY)).unwrap();
    let ended = world.bare(&["backup", "source"]).succeeds();
    assert!(ended.stdout.contains("default.key"), "{}", ended.stdout);
    assert_eq!(std::fs::read_to_string(world.path(KEY)).unwrap(), key);
}

#[test]
fn a_dry_run_makes_nothing() {
    let world = World::new();
    let ended = world.bare(&["backup", "source", "--dry-run", "--json"]).succeeds();
    let summary = ended.last_object();
    assert_eq!(summary["snapshot_id"], serde_json::Value::Null);
    assert_eq!(summary["files_new"], 3);
    assert_eq!(std::fs::read_dir(world.path("home")).unwrap().count(), 0);
}

#[test]
fn a_home_can_be_backed_up_although_the_repository_is_in_it() {
    let world = World::new();
    world.write("home/letter", b"text");
    for _ in 0..2 {
        world.bare(&["backup", "home", "-q"]).succeeds();
    }
    let listed = world.bare(&["ls", "latest"]).succeeds().stdout;
    assert!(listed.contains("home/letter"), "{listed}");
    assert!(!listed.contains("default.redb") && !listed.contains("catalog"), "{listed}");
}

#[test]
fn init_makes_it_too() {
    let world = World::new();
    world.bare(&["init"]).succeeds();
    assert!(world.path(REPOSITORY).is_file() && world.path(KEY).is_file());
    world.bare(&["init"]).fails_with(1);
    world.bare(&["snapshots"]).succeeds();
}
