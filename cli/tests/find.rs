//! `find`, for people and for programs.

use crate::world::World;

#[test]
fn versions_and_the_snapshots_that_hold_them() {
    let world = World::with_repository();
    for (content, time) in [("hello", 1000), ("hello", 1000), ("hello, you", 2000)] {
        world.write("source/a", content.as_bytes());
        let file = std::fs::File::open(world.path("source/a")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time)).unwrap();
        world.daykeep(&["backup", "source"]).succeeds();
    }
    let snapshots = world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot");
    let id = |at: usize| snapshots[at]["short_id"].as_str().unwrap();
    let path = world.path("source/a").display().to_string();
    let shown = world.daykeep(&["find", "a"]).succeeds().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], path);
    assert!(lines[1].starts_with("         5 B  1970-01-01 00:16:40  in 2 snapshots, "), "{shown}");
    assert!(
        lines[1].contains(&format!("{} of ", id(0))) && lines[1].contains(&format!(" to {} of ", id(1))),
        "{shown}"
    );
    assert!(lines[2].starts_with(&format!("        10 B  1970-01-01 00:33:20  in {} of ", id(2))), "{shown}");
    assert_eq!(lines[3..], ["2 versions in 3 snapshots"]);

    let ended = world.daykeep(&["find", "source", "/**/b", "--newest", "2", "--json"]).succeeds();
    let versions = ended.objects("version");
    let kinds: Vec<_> = versions.iter().map(|version| version["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["directory", "file"]);
    assert_eq!(versions[1]["bytes"], 300_000);
    assert_eq!(versions[1]["snapshots"].as_array().unwrap(), &[snapshots[1]["id"].clone(), snapshots[2]["id"].clone()]);
    assert_eq!((&ended.last_object()["found"], &ended.last_object()["snapshots"]), (&2.into(), &2.into()));
    let none = world.daykeep(&["find", "a", "--snapshot", id(0), "--host", "elsewhere"]).succeeds().stdout;
    assert_eq!(none, "0 versions in 0 snapshots\n");
    world.daykeep(&["find"]).fails_with(2);
    assert!(world.daykeep(&["find", ""]).fails_with(2).stderr.contains("is blank"));
}
