//! `forget`, for people and for programs.

use crate::world::World;

fn world(backups: usize) -> (World, Vec<String>) {
    let world = World::with_repository();
    for number in 0..backups {
        world.daykeep(&["backup", "source", "--host", "h", "--tag", &format!("n{number}")]).succeeds();
    }
    let snapshots = world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot");
    let ids = snapshots.iter().map(|snapshot| snapshot["short_id"].as_str().unwrap().to_owned()).collect();
    (world, ids)
}

#[test]
fn what_stays_and_why() {
    let (world, ids) = world(4);
    let args = ["forget", "--keep-last", "1", "--keep-daily", "3", "--keep-tag", "n1", "--dry-run"];
    let shown = world.daykeep(&args).succeeds().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], format!("h {}", world.path("source").display()));
    assert!(lines[1].starts_with("ID") && lines[1].ends_with("STAYS"), "{shown}");
    assert!(lines[2].starts_with(&ids[0]) && lines[2].ends_with("  no"), "{shown}");
    assert!(lines[3].starts_with(&ids[1]) && lines[3].contains("tag n1"), "{shown}");
    assert!(lines[5].starts_with(&ids[3]) && lines[5].ends_with("  last, daily"), "{shown}");
    assert!(lines[6].ends_with("would be forgotten, 2 left") || lines[6].ends_with("3 left"), "{shown}");
    assert_eq!(world.snapshot_count(), 4);

    let ended = world.daykeep(&["forget", "--keep-last", "2", "--keep-within", "1h", "--json"]).succeeds();
    assert_eq!(ended.last_object()["kept"], 4, "an hour has not passed");
    let ended = world.daykeep(&["forget", "--keep-last", "2", "--json"]).succeeds();
    let decisions = ended.objects("decision");
    assert_eq!((&decisions[1]["stays"], &decisions[2]["stays"]), (&false.into(), &true.into()));
    assert_eq!(decisions[3]["reasons"].as_array().unwrap(), &["last"]);
    let summary = ended.last_object();
    assert_eq!((&summary["kept"], &summary["forgotten"], &summary["dry_run"]), (&2.into(), &2.into(), &false.into()));
    assert_eq!(world.snapshot_count(), 2);

    let gone = world.daykeep(&["forget", &ids[2]]).succeeds().stdout;
    let end = "1 snapshot forgotten, 1 left\nRun `daykeep prune` to free the space\n";
    assert!(gone.contains(&ids[2]) && !gone.contains(&ids[3]) && gone.ends_with(end), "{gone}");
    let refused = world.daykeep(&["forget", "latest"]).fails_with(2);
    assert!(refused.stderr.contains("--allow-empty-groups"), "{}", refused.stderr);
    world.daykeep(&["forget", "latest", "--allow-empty-groups"]).succeeds();
    assert_eq!(world.snapshot_count(), 0);
}

#[test]
fn what_says_nothing_or_too_much_is_refused() {
    let (world, ids) = world(1);
    for args in [&["forget"][..], &["forget", "--keep-last", "0"]] {
        let refused = world.daykeep(args).fails_with(2);
        assert!(refused.stderr.contains("--keep-daily 7"), "{}", refused.stderr);
    }
    world.daykeep(&["forget", &ids[0], "--keep-last", "1"]).fails_with(2);
    let refused = world.daykeep(&["forget", "--keep-within", "5 years"]).fails_with(2);
    assert!(refused.stderr.contains("1y5m7d3h"), "{}", refused.stderr);
    assert_eq!(world.snapshot_count(), 1);
}
