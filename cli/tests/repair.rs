//! `repair` on the command line.

use crate::world::World;

#[test]
fn repair_says_what_is_lost_and_mends_the_rest() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let shown = world.daykeep(&["repair", "--dry-run"]).succeeds().stdout;
    assert!(shown.contains("0 missing, 0 damaged") && shown.contains("Nothing was changed"), "{shown}");
    let done = world.daykeep(&["repair", "--rebuild-index", "--read-data", "--json"]).succeeds().last_object();
    assert_eq!(
        (&done["type"], &done["index_objects_replaced"], &done["lost"]),
        (&"summary".into(), &1.into(), &0.into())
    );
    assert_eq!((&done["index_objects_written"], &done["index_objects_deleted"]), (&1.into(), &1.into()));
    assert_eq!(world.daykeep(&["repair", "--quiet"]).succeeds().stdout, "");
    world.daykeep(&["check", "--read-data"]).succeeds();
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
