//! `diff`, for people and for programs.

use std::fs;

use crate::world::World;

#[test]
fn what_came_went_and_changed() {
    let world = World::with_repository();
    world.write("source/gone", &[1; 2048]);
    world.write("source/touched", b"same");
    world.write("source/turned", b"a file");
    world.daykeep(&["backup", "source"]).succeeds();
    fs::remove_file(world.path("source/gone")).unwrap();
    world.write("source/a", b"hello, you");
    fs::remove_file(world.path("source/turned")).unwrap();
    fs::create_dir_all(world.path("source/turned/new")).unwrap();
    let file = fs::File::open(world.path("source/touched")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    world.daykeep(&["backup", "source"]).succeeds();
    let snapshots = world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot");
    let first = snapshots[0]["short_id"].as_str().unwrap();
    let source = world.path("source").display().to_string();
    let shown = world.daykeep(&["diff", first, "latest"]).succeeds().stdout;
    let wanted = format!(
        "M {source}/a  5 B -> 10 B
- {source}/gone  2.0 KiB
m {source}/touched  4 B
T {source}/turned/  6 B -> directory
+ {source}/turned/new/
Added:    0 files and 1 folder, 0 B
Removed:  1 file and 0 folders, 2.0 KiB
Changed:  1 of content and 1 of type, 11 B -> 10 B; 1 of metadata alone
"
    );
    assert_eq!(shown, wanted);

    let ended =
        world.daykeep(&["diff", &format!("{first}:{source}"), &format!("latest:{source}"), "--json"]).succeeds();
    let changes = ended.objects("change");
    let words: Vec<_> = changes.iter().map(|change| change["change"].as_str().unwrap()).collect();
    assert_eq!(words, ["content", "removed", "metadata", "kind", "added"]);
    assert_eq!(changes[0]["path"], format!("{source}/a"));
    assert_eq!((&changes[3]["kind_before"], &changes[3]["kind"]), (&"file".into(), &"directory".into()));
    assert_eq!((&changes[1]["bytes_before"], &changes[1]["bytes"]), (&2048.into(), &serde_json::Value::Null));
    let summary = ended.last_object();
    assert_eq!((&summary["removed"]["bytes"], &summary["added"]["directories"]), (&2048.into(), &1.into()));
    assert_eq!(world.daykeep(&["diff", "latest", "latest", "--quiet"]).succeeds().stdout, "");
}
