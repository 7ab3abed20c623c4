//! `tag`, for people and for programs.

use crate::world::World;

#[test]
fn tags_are_added_removed_and_set() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source", "--tag", "old"]).succeeds();
    let shown = world.daykeep(&["tag", "latest", "--add", "new", "--remove", "old"]).succeeds().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("ID BEFORE  ID") && lines[1].ends_with("  new"), "{shown}");
    let ended = world.daykeep(&["tag", "latest", "--set", "a", "--set", "b", "--json"]).succeeds();
    let tagged = &ended.objects("tagged")[0];
    assert_eq!(tagged["tags"].as_array().unwrap(), &["a", "b"]);
    assert_eq!(ended.last_object()["changed"], 1);
    let snapshots = world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot");
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0]["id"], tagged["id"]);
    assert!(snapshots[0]["original"].is_string() && snapshots[0]["original"] != tagged["id_before"]);
    let ended = world.daykeep(&["tag", "latest", "--set", "", "--json"]).succeeds();
    assert_eq!(ended.objects("tagged")[0]["tags"].as_array().unwrap().len(), 0);
    assert_eq!(
        world.daykeep(&["tag", "latest", "--remove", "none", "--json"]).succeeds().last_object()["unchanged"],
        1
    );
    let refused = world.daykeep(&["tag", "latest"]).fails_with(2);
    assert!(refused.stderr.contains("the tags to add, remove or set"), "{}", refused.stderr);
    world.daykeep(&["tag", "--add", "x"]).fails_with(2);
    for bad in ["--add=", "--add=a,b", "--set=a,b"] {
        assert!(world.daykeep(&["tag", "latest", bad]).fails_with(2).stderr.contains("a tag "), "{bad}");
    }
    world.daykeep(&["backup", "source", "--tag", "a,b"]).fails_with(2);
}
