//! What is backed up comes back.

use crate::world::{World, assert_same};

fn goes_round(repository: &str) {
    let world = World::new();
    let run = |args: &[&str]| world.daykeep(args).env("DAYKEEP_REPOSITORY", repository);
    run(&["init"]).succeeds();
    let ended = run(&["backup", "source", "--tag", "first", "--host", "box"]).succeeds();
    assert!(ended.stdout.contains("3 new, 0 changed, 0 unmodified"), "{}", ended.stdout);
    let saved = ended.stdout.lines().find_map(|line| line.strip_prefix("Snapshot ")).unwrap();
    let id = saved.split(' ').next().unwrap();
    assert_eq!(id.len(), 8);

    let listed = run(&["snapshots"]).succeeds().stdout;
    assert!(listed.contains(id) && listed.contains("box") && listed.contains("first"), "{listed}");
    let source = world.path("source").display().to_string();
    assert!(listed.contains(&source), "{listed}");

    let files = run(&["ls", &format!("{id}:{source}")]).succeeds().stdout;
    let names: Vec<&str> = files.lines().map(|line| line.strip_prefix(&source).unwrap()).collect();
    assert_eq!(names, ["/a", "/folder", "/folder/b", "/link"]);
    let long = run(&["ls", "-l", &format!("{id}:{source}")]).succeeds().stdout;
    assert!(long.contains("link -> a") && long.contains("300000"), "{long}");

    let ended = run(&["restore", "latest", "--target", "whole", "--verify"]).succeeds();
    assert!(ended.stdout.contains("read back and found equal"), "{}", ended.stdout);
    assert_same(&world.path("source"), &world.path(&format!("whole/{source}")));
    run(&["restore", &format!("{id}:{source}"), "--target", "part", "--exclude", "b"]).succeeds();
    assert!(world.path("part/a").exists() && !world.path("part/folder/b").exists());
    run(&["restore", &format!("{id}:{source}"), "--target", "only", "--include", "b"]).succeeds();
    assert!(!world.path("only/a").exists() && world.path("only/folder/b").exists());

    run(&["check"]).succeeds();
    let ended = run(&["check", "--read-data"]).succeeds();
    assert!(ended.stdout.contains("No errors"), "{}", ended.stdout);
    assert!(run(&["stats"]).succeeds().stdout.contains("Snapshots:"));
}

#[test]
fn through_a_file() {
    goes_round("photos.redb");
}

#[test]
fn through_a_directory() {
    goes_round("photos/");
}

#[test]
fn a_dry_run_restores_nothing_and_files_are_overwritten_as_told() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let from = format!("latest:{}", world.path("source").display());
    let restore = |extra: &[&str]| {
        let args = [&["restore", &from, "--target", "target"], extra].concat();
        world.daykeep(&args).succeeds()
    };
    assert!(restore(&["--dry-run"]).stdout.starts_with("Would restore 3 files"));
    assert!(!world.path("target").exists());
    restore(&[]);
    world.write("target/a", b"mine!!");
    restore(&["--overwrite", "never"]);
    assert_eq!(std::fs::read(world.path("target/a")).unwrap(), b"mine!!");
    assert!(restore(&["--overwrite", "if-changed"]).stdout.contains("Kept"));
    assert_eq!(std::fs::read(world.path("target/a")).unwrap(), b"hello");
    world.write("target/a", b"mine!!");
    restore(&[]);
    assert_eq!(std::fs::read(world.path("target/a")).unwrap(), b"hello");
}

#[test]
fn snapshots_are_found_by_tag_host_and_path() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source", "--tag", "x", "--tag", "y", "--host", "one"]).succeeds();
    world.daykeep(&["backup", "source/folder", "--tag", "x", "--host", "two"]).succeeds();
    let count = |filter: &[&str]| {
        let ended = world.daykeep(&[&["snapshots", "--json"], filter].concat()).succeeds();
        assert_eq!(ended.last_object()["count"], ended.objects("snapshot").len());
        ended.objects("snapshot").len()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--tag", "x"]), 2);
    assert_eq!(count(&["--tag", "x", "--tag", "y"]), 1);
    assert_eq!(count(&["--host", "two"]), 1);
    assert_eq!(count(&["--path", "source"]), 1);
    assert_eq!(count(&["--path", "nowhere"]), 0);
}

#[test]
fn a_restore_tells_what_matched_nothing_and_what_it_would_remove() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let from = format!("latest:{}", world.path("source").display());
    let restore = |extra: &[&str]| world.daykeep(&[&["restore", &from, "--target", "target"], extra].concat());
    // A slash stands for the path that was named, and relative patterns are taken from there.
    for include in ["folder/b", "/folder/b", "./folder", "b"] {
        let _ = std::fs::remove_dir_all(world.path("target"));
        restore(&["--include", include]).succeeds();
        assert!(world.path("target/folder/b").exists() && !world.path("target/a").exists(), "{include}");
    }
    let ended = restore(&["--include", "b", "--include", "none"]).fails_with(3);
    assert!(ended.stderr.contains("`none`") && ended.stderr.contains("matched nothing"), "{}", ended.stderr);
    let ended = restore(&["--include", "none", "--json"]).fails_with(3);
    assert_eq!(ended.last_object()["includes_unmatched"][0], "none");
    world.daykeep(&["restore", "latest", "--target", "here", "--include", "source/a"]).succeeds();
    assert!(world.path(&format!("here/{}", world.path("source/a").display())).exists());

    restore(&[]).succeeds();
    world.write("target/extra", b"mine");
    let ended = restore(&["--delete", "--dry-run"]).succeeds();
    assert!(ended.stdout.contains("Would remove") && ended.stdout.contains("target/extra"), "{}", ended.stdout);
    assert!(world.path("target/extra").exists());
    let ended = restore(&["--delete", "--json"]).succeeds();
    assert_eq!((ended.last_object()["deleted"].as_u64(), ended.objects("deleted").len()), (Some(1), 1));
    assert!(!world.path("target/extra").exists() && world.path("target/a").exists());
    restore(&["--delete-excluded"]).fails_with(2);
}
