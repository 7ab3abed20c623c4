//! `latest` is chosen among the snapshots of a host, with a tag, of a path.

use crate::world::World;

#[test]
fn latest_is_chosen_by_host_tag_and_path() {
    let world = World::with_repository();
    world.write("other", b"other");
    world.daykeep(&["backup", "source", "--host", "laptop", "--tag", "first"]).succeeds();
    world.daykeep(&["backup", "source", "--host", "desktop"]).succeeds();
    world.daykeep(&["backup", "other", "--host", "laptop"]).succeeds();
    let list = |args: &[&str]| world.daykeep(&[&["ls", "latest"], args].concat());
    let listed = |args: &[&str]| list(args).succeeds().stdout.contains("source/a");
    assert!(!listed(&[]) && !listed(&["--host", "laptop"]));
    assert!(listed(&["--host", "desktop"]) && listed(&["--tag", "first"]) && listed(&["--path", "./source/"]));
    assert!(listed(&["--host", "laptop", "--path", "source"]));
    list(&["--host", "phone"]).fails_with(1);
    // A filter without anything to choose is told.
    let id =
        world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot")[0]["id"].as_str().unwrap().to_owned();
    world.daykeep(&["ls", &id, "--host", "laptop"]).fails_with(2);
    let ids = |args: &[&str]| world.daykeep(&[args, &["--json"]].concat()).succeeds().stdout;
    assert!(ids(&["forget", "latest", "--host", "desktop", "--allow-empty-groups", "-n"]).contains("\"id\""));
    for command in [
        &["restore", "latest", "--tag", "first", "--target", "out"][..],
        &["diff", "latest", "latest", "--path", "source"],
        &["tag", "latest", "--tag", "first", "--add", "second"],
        &["find", "a", "--snapshot", "latest", "--host", "desktop"],
        &["check", "--restore-test", "--snapshot", "latest", "--host", "desktop"],
        &["rewrite", "latest", "--host", "desktop", "--exclude", "a", "-n"],
    ] {
        world.daykeep(command).succeeds();
    }
    assert!(
        world.path("out").is_dir()
            && world.daykeep(&["snapshots", "--tag", "second"]).succeeds().stdout.contains("laptop")
    );
}
