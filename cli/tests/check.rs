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
    assert!(listed.contains("(all files)") || listed.contains("(sample of 2 files)"), "{listed}");
    let test = world.daykeep(&["check", "--restore-test=all", "--snapshot", "latest", "--json"]).succeeds();
    let tested = &test.objects("restore_test")[0];
    assert_eq!((&tested["files"], &tested["bytes"], &tested["problems"]), (&2.into(), &300_005.into(), &0.into()));
    let snapshot = &world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot")[0];
    assert_eq!(snapshot["restore_test"]["fine"], true);
    assert!(snapshot["restore_test"]["time"].as_str().unwrap().ends_with('Z'));
    assert!(world.daykeep(&["snapshots"]).succeeds().stdout.contains("(all files)"));
    for bad in [&["--restore-test=0%"][..], &["--restore-test=some"], &["--snapshot", "latest"], &["--seed", "1"]] {
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
    let subset = |part| world.daykeep(&["check", "--read-data-subset", part]).fails_with(2).stderr;
    assert!(subset("3/2").contains("there is no part 3 of 2; give 1/2 to 2/2"));
    assert!(subset("0%").contains("this reads nothing"));
    world.daykeep(&["check", "--read-data", "--read-data-subset", "5%"]).fails_with(2);
}

#[test]
fn an_older_copy_of_the_repository_is_noticed() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    std::fs::copy(world.path("r.redb"), world.path("older")).unwrap();
    world.daykeep(&["backup", "source"]).succeeds();
    std::fs::copy(world.path("older"), world.path("r.redb")).unwrap();
    let asking = [(&["snapshots"][..], 0), (&["check"], 1), (&["restore", "latest", "--target", "out"], 0)];
    let changing = [(&["forget", "-n", "--keep-last", "1"][..], 0), (&["prune"], 0), (&["backup", "source"], 0)];
    for (args, code) in asking.into_iter().chain(changing) {
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
    assert!(restored.stdout.contains("1 pack is damaged and was healed for this"), "{}", restored.stdout);
    assert!(restored.stderr.contains("run `daykeep check --repair`"), "{}", restored.stderr);
    let checked = daykeep(&["check", "--read-data"]).fails_with(1);
    assert!(checked.stderr.contains("its parity heals it: run `daykeep check --repair`"), "{}", checked.stderr);
    assert!(checked.stdout.ends_with("`daykeep check --repair` heals this for good\n"), "{}", checked.stdout);
    // A repair reads all data unless it is told which.
    let repaired = daykeep(&["check", "--repair", "--json"]).succeeds().last_object();
    assert_eq!((&repaired["objects_healed"], &repaired["objects_healable"]), (&1.into(), &0.into()));
    assert!(repaired["notes"][0].as_str().unwrap().contains("as it was written again"));
    assert!(std::fs::read(&largest).unwrap() == whole);
    daykeep(&["check", "--read-data"]).succeeds();
}

#[test]
fn without_parity_a_repair_says_that_nothing_heals() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let ended = world.daykeep(&["check", "--repair"]).succeeds();
    assert!(ended.stderr.contains("no parity to heal with; `daykeep repair --read-data`"), "{}", ended.stderr);
}
