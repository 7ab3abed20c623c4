//! What programs read.

use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::world::World;

#[test]
fn the_summary_of_a_backup() {
    let world = World::with_repository();
    let ended = world.daykeep(&["backup", "source", "vanished", "--json"]).fails_with(3);
    let progress = ended.objects("progress");
    let last = progress.last().unwrap();
    assert_eq!(last["files_done"], 3);
    assert!(last["bytes_done"].as_u64().unwrap() >= 300_005 && last["seconds_elapsed"].is_f64());
    let warnings = ended.objects("warning");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0]["object"].as_str().unwrap().ends_with("/vanished") && warnings[0]["message"].is_string());

    let summary = ended.last_object();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["snapshot_id"].as_str().unwrap().len(), 64);
    assert_eq!(summary["parent"], Value::Null);
    assert_eq!(summary["dry_run"], false);
    assert_eq!(summary["files_processed"], 3);
    assert_eq!(summary["files_new"], 3);
    assert_eq!(summary["files_changed"], 0);
    assert_eq!(summary["files_unmodified"], 0);
    assert_eq!(summary["bytes_processed"], 300_005);
    assert!(summary["bytes_new"].as_u64().unwrap() >= 300_005);
    assert!(summary["bytes_stored"].as_u64().unwrap() >= 300_000);
    assert!(summary["duration_seconds"].is_f64());
    assert_eq!(summary["errors"].as_array().unwrap().len(), 1);
    assert!(summary["errors"][0]["path"].as_str().unwrap().ends_with("/vanished"));
    assert!(summary["errors"][0]["message"].is_string());

    world.write("source/a", b"changed");
    let again = world.daykeep(&["backup", "source", "vanished", "--json"]).fails_with(3).last_object();
    assert_eq!(again["parent"], summary["snapshot_id"]);
    assert_eq!(again["files_changed"], 1);
    assert_eq!(again["files_unmodified"], 2);
}

#[test]
fn bytes_stored_is_what_a_directory_repository_grows_by() {
    fn size(path: &std::path::Path) -> u64 {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        if !metadata.is_dir() {
            return metadata.len();
        }
        std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
    }
    let world = World::new();
    let run = |args: &[&str]| world.daykeep(args).env("DAYKEEP_REPOSITORY", "d/");
    run(&["init"]).succeeds();
    for content in ["one", "two"] {
        world.write("source/a", content.as_bytes());
        let before = size(&world.path("d"));
        let summary = run(&["backup", "source", "--json"]).succeeds().last_object();
        assert_eq!(summary["bytes_stored"], size(&world.path("d")) - before);
    }
}

#[test]
fn every_command_prints_only_objects_and_a_summary_last() {
    let world = World::new();
    let created = world.daykeep(&["init", "--json"]).succeeds().last_object();
    assert_eq!(created["type"], "created");
    assert_eq!(created["recovery_key"].as_str().unwrap().len(), 64);
    let commands: &[&[&str]] = &[
        &["backup", "source", "-v"],
        &["snapshots"],
        &["ls", "latest"],
        &["restore", "latest", "--target", "out"],
        &["check"],
        &["find", "a"],
        &["diff", "latest", "latest"],
        &["tag", "latest", "--add", "tag"],
        &["forget", "--keep-last", "1"],
        &["stats"],
        &["key", "list"],
        &["key", "show-recovery"],
    ];
    for args in commands {
        let ended = world.daykeep(&[args, &["--json"][..]].concat()).succeeds();
        assert_eq!(ended.all_objects().last().unwrap()["type"], "summary", "{args:?}");
    }
    let snapshot = &world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot")[0];
    assert_eq!(snapshot["id"].as_str().unwrap().len(), 64);
    assert_eq!(snapshot["files"], 3);
    assert!(snapshot["time"].as_str().unwrap().ends_with('Z'));
    let error = world.daykeep(&["ls", "nonsense", "--json"]).fails_with(1);
    assert_eq!(error.last_object()["type"], "error");
    assert!(error.stderr.starts_with("daykeep: error: "), "{}", error.stderr);
}

#[test]
fn names_that_are_no_text_or_would_move_the_cursor() {
    let world = World::with_repository();
    for name in [&b"bad\xff"[..], b"clear\x1b[2J"] {
        std::fs::write(world.path("source").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let listed = world.daykeep(&["backup", "source", "-v"]).succeeds().stdout;
    assert!(listed.contains("bad\\xff") && listed.contains("clear\\u{1b}[2J"), "{listed}");
    let listed = world.daykeep(&["ls", "latest"]).succeeds().stdout;
    assert!(listed.contains("bad\\xff") && !listed.contains('\u{1b}'), "{listed}");
    let entries = world.daykeep(&["ls", "latest", "--json"]).succeeds().objects("entry");
    let with_bytes: Vec<&Value> = entries.iter().filter(|entry| entry["path_bytes"].is_string()).collect();
    assert_eq!(with_bytes.len(), 1);
    assert!(with_bytes[0]["path_bytes"].as_str().unwrap().ends_with("626164ff"));
    assert!(with_bytes[0]["path"].as_str().unwrap().ends_with("bad\u{fffd}"));
}
