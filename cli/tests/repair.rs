//! `repair` on the command line.

use crate::world::World;

#[test]
fn repair_says_what_is_lost_and_mends_the_rest() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let shown = world.daykeep(&["repair", "--dry-run"]).succeeds().stdout;
    assert!(shown.contains("0 missing, 0 damaged") && shown.contains("Nothing was changed"), "{shown}");
    assert!(shown.ends_with("was not read; `daykeep repair --read-data` does that\n"), "{shown}");
    assert!(!world.daykeep(&["repair", "--read-data"]).succeeds().stdout.contains("was not read"));
    let done = world.daykeep(&["repair", "--rebuild-index", "--read-data", "--json"]).succeeds().last_object();
    assert_eq!(
        (&done["type"], &done["index_objects_replaced"], &done["lost"]),
        (&"summary".into(), &1.into(), &0.into())
    );
    assert_eq!((&done["index_objects_written"], &done["index_objects_deleted"]), (&1.into(), &1.into()));
    assert_eq!(world.daykeep(&["repair", "--quiet"]).succeeds().stdout, "");
    world.daykeep(&["check", "--read-data"]).succeeds();
}

/// Flips a byte in the middle of each object of a kind.
fn hurt(world: &World, kind: &str) {
    for entry in std::fs::read_dir(world.path("repository").join(kind)).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_named_and_can_be_forgotten() {
    let world = World::new();
    let directory = |args: &[&str]| world.bare(&[&["-r", "repository/", "--key-file", "key"], args].concat());
    directory(&["init"]).succeeds();
    directory(&["backup", "source"]).succeeds();
    let id = directory(&["snapshots", "--json"]).succeeds().objects("snapshot")[0]["id"].as_str().unwrap().to_owned();
    hurt(&world, "snapshots");
    let ended = directory(&["repair"]).fails_with(3);
    assert!(ended.stderr.contains(&id), "{}", ended.stderr);
    assert!(ended.stdout.contains("1 snapshot cannot be read, see above; `daykeep forget ID`"), "{}", ended.stdout);
    assert!(!directory(&["repair", "--quiet"]).fails_with(3).stdout.contains("forget"));
    assert_eq!(directory(&["repair", "--json"]).fails_with(3).last_object()["snapshots_unreadable"], 1);
    let ended = directory(&["check"]).fails_with(1);
    assert!(ended.stdout.ends_with("`daykeep repair --read-data` mends what can be mended\n"), "{}", ended.stdout);
    directory(&["forget", &id]).succeeds();
    directory(&["repair"]).succeeds();
}

#[test]
fn a_lost_pack_is_told_and_the_next_backup_heals_it() {
    let world = World::new();
    let directory = |args: &[&str]| world.bare(&[&["-r", "repository/", "--key-file", "key"], args].concat());
    directory(&["init"]).succeeds();
    directory(&["backup", "source"]).succeeds();
    let packs = world.path("repository/packs");
    let folders = std::fs::read_dir(&packs).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let largest = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    std::fs::remove_file(largest).unwrap();
    let dry = directory(&["repair", "-n"]).fails_with(3);
    assert!(dry.stdout.contains("has lost 2; gets a copy without them"), "{}", dry.stdout);
    assert!(dry.stderr.contains("source/folder/b: chunk"), "{}", dry.stderr);
    let ended = directory(&["repair", "--json"]).fails_with(3);
    assert_eq!((ended.objects("lost").len(), &ended.last_object()["copies"]), (2, &1.into()));
    assert!(ended.objects("hurt_snapshot")[0]["copy"].is_string());
    assert!(directory(&["repair"]).fails_with(3).stdout.contains("is the copy without them"));
    directory(&["backup", "source"]).succeeds();
    directory(&["restore", "latest", "--target", "out"]).succeeds();
    directory(&["repair"]).succeeds();
    directory(&["check", "--read-data"]).succeeds();
}
