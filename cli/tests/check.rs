//! `check`: samples, restore tests and what `snapshots` then shows.

use crate::world::World;

#[test]
fn a_restore_test_is_shown_with_its_snapshot() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    assert!(!world.daykeep(&["snapshots"]).succeeds().stdout.contains("RESTORE TEST"));
    let shown = world.daykeep(&["check", "--restore-test"]).succeeds().stdout;
    assert!(
        shown.contains("Restored 2 files of snapshot") && shown.contains("The sample is that of --seed"),
        "{shown}"
    );
    let listed = world.daykeep(&["snapshots"]).succeeds().stdout;
    assert!(listed.contains("RESTORE TEST") && listed.contains("restored fine on 20"), "{listed}");
    let test = world.daykeep(&["check", "--restore-test=all", "--snapshot", "latest", "--json"]).succeeds();
    let tested = &test.objects("restore_test")[0];
    assert_eq!((&tested["files"], &tested["bytes"], &tested["problems"]), (&2.into(), &300_005.into(), &0.into()));
    let snapshot = &world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot")[0];
    assert_eq!(snapshot["restore_test"]["fine"], true);
    assert!(snapshot["restore_test"]["time"].as_str().unwrap().ends_with('Z'));
    for bad in [&["--restore-test=0%"][..], &["--restore-test=some"], &["--snapshot", "latest"]] {
        world.daykeep(&[&["check"], bad].concat()).fails_with(2);
    }
}

#[test]
fn a_part_of_the_data_is_read() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let all = world.daykeep(&["check", "--read-data", "--json"]).succeeds().last_object();
    let parts = ["1/2", "2/2"].map(|part| {
        let args = ["check", "--read-data-subset", part, "--json"];
        world.daykeep(&args).succeeds().last_object()["packs_read"].as_u64().unwrap()
    });
    assert_eq!(all["packs_read"], parts[0] + parts[1]);
    let sample = world.daykeep(&["check", "--read-data-subset", "1%", "--json"]).succeeds().last_object();
    assert!(sample["seed"].is_u64() && sample["packs_read"].as_u64() > Some(0), "{sample}");
    for bad in [&["--read-data-subset", "3/2"][..], &["--read-data", "--read-data-subset", "5%"]] {
        world.daykeep(&[&["check"], bad].concat()).fails_with(2);
    }
}

#[test]
fn an_older_copy_of_the_repository_is_noticed() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    std::fs::copy(world.path("r.redb"), world.path("older")).unwrap();
    world.daykeep(&["backup", "source"]).succeeds();
    std::fs::copy(world.path("older"), world.path("r.redb")).unwrap();
    for (args, code) in [(&["snapshots"][..], 0), (&["check"], 1), (&["backup", "source"], 0)] {
        let ended = world.daykeep(args).fails_with(code);
        assert!(ended.stderr.contains("the repository is an older copy"), "{args:?}: {}", ended.stderr);
    }
    assert_eq!(world.daykeep(&["check"]).succeeds().stderr, "");
}

#[test]
fn a_damaged_pack_is_healed_by_its_parity() {
    let world = World::new();
    let daykeep = |args: &[&str]| world.bare(&[&["-r", "repository/", "--key-file", "key"], args].concat());
    daykeep(&["init", "--parity", "101%"]).fails_with(2);
    daykeep(&["init", "--parity", "5%"]).succeeds();
    daykeep(&["backup", "source"]).succeeds();
    assert!(daykeep(&["stats"]).succeeds().stdout.contains("5%"));
    let folders = std::fs::read_dir(world.path("repository/packs")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let largest = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let whole = std::fs::read(&largest).unwrap();
    let mut hurt = whole.clone();
    hurt[1000..5000].fill(0);
    std::fs::write(&largest, hurt).unwrap();
    let restored = daykeep(&["restore", "latest", "--target", "out"]).succeeds();
    assert!(restored.stdout.contains("1 pack is damaged"), "{}", restored.stdout);
    assert!(restored.stderr.contains("run `daykeep check --repair`"), "{}", restored.stderr);
    let checked = daykeep(&["check", "--read-data"]).fails_with(1);
    assert!(checked.stderr.contains("its parity heals it: run `daykeep check --repair`"), "{}", checked.stderr);
    let repaired = daykeep(&["check", "--read-data", "--repair", "--json"]).succeeds().last_object();
    assert_eq!((&repaired["packs_healed"], &repaired["packs_healable"]), (&1.into(), &0.into()));
    assert!(repaired["notes"][0].as_str().unwrap().contains("as it was written again"));
    assert!(std::fs::read(&largest).unwrap() == whole);
    daykeep(&["check", "--read-data"]).succeeds();
}
