//! What a backup takes and leaves.

use crate::world::World;

#[test]
fn standard_input() {
    let world = World::with_repository();
    let ended = world.daykeep(&["backup", "--stdin", "--stdin-filename", "/dumps/db.sql"]).ends_with_input(b"select 1");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let listed = world.daykeep(&["ls", "latest"]).succeeds().stdout;
    assert_eq!(listed, "/dumps\n/dumps/db.sql\n");
    world.daykeep(&["restore", "latest", "--target", "out"]).succeeds();
    assert_eq!(std::fs::read(world.path("out/dumps/db.sql")).unwrap(), b"select 1");
    // A producer that failed leaves nothing: that must not pass for a backup.
    let ended = world.daykeep(&["backup", "--stdin"]).ends_with_input(b"");
    assert_eq!((ended.code, world.snapshot_count()), (1, 1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--stdin-allow-empty"), "{}", ended.stderr);
    assert_eq!(world.daykeep(&["backup", "--stdin", "--stdin-allow-empty"]).ends_with_input(b"").code, 0);
    assert_eq!(world.daykeep(&["ls", "latest"]).succeeds().stdout, "/stdin\n");
    for option in [&["--stdin-filename", "x"][..], &["--stdin-allow-empty"]] {
        world.daykeep(&[&["backup", "source"], option].concat()).fails_with(2);
    }
}

#[test]
fn what_a_command_prints() {
    let world = World::with_repository();
    let run = |args: &[&str]| world.daykeep(&[&["backup", "--stdin-from-command"], args].concat());
    run(&["--stdin-filename", "dump.sql", "--", "sh", "-c", "echo one; echo two"]).succeeds();
    assert_eq!(world.daykeep(&["ls", "latest"]).succeeds().stdout, "/dump.sql\n");
    world.daykeep(&["restore", "latest", "--target", "out"]).succeeds();
    assert_eq!(std::fs::read(world.path("out/dump.sql")).unwrap(), b"one\ntwo\n");
    // One that fails in the end, one that prints nothing, and one that is not there are no snapshots.
    let ended = run(&["--", "sh", "-c", "echo half; exit 3"]).fails_with(1);
    assert!(ended.stderr.contains("exit status: 3"), "{}", ended.stderr);
    run(&["--", "true"]).fails_with(1);
    run(&["--", "/none"]).fails_with(1);
    run(&[]).fails_with(2);
    assert_eq!(world.snapshot_count(), 1);
    run(&["--stdin-allow-empty", "--", "true"]).succeeds();
}

#[test]
fn files_from_a_list() {
    let world = World::with_repository();
    world.write("list", b"source/a\r\n\nsource/folder\n");
    world.daykeep(&["backup", "--files-from", "list"]).succeeds();
    let listed = || world.daykeep(&["ls", "latest"]).succeeds().stdout;
    assert!(listed().contains("source/a\n") && listed().contains("folder/b"), "{}", listed());
    let odd = "source/odd\nname";
    world.write(odd, b"odd");
    let input = format!("source/a\0{odd}\0");
    assert_eq!(
        world.daykeep(&["backup", "--files-from", "-", "source/folder"]).ends_with_input(input.as_bytes()).code,
        0
    );
    assert!(listed().contains("odd") && listed().contains("folder/b"), "{}", listed());
    world.write("empty", b"\n\n");
    world.daykeep(&["backup", "--files-from", "empty"]).fails_with(2);
    world.daykeep(&["backup", "--files-from", "none"]).fails_with(1);
}

#[test]
fn names_that_are_no_text_are_told_without_loss() {
    let world = World::with_repository();
    world.write("list", b"source/a\nmissing\xff\n");
    let ended = world.daykeep(&["backup", "--files-from", "list", "--json"]).fails_with(3);
    assert!(ended.stderr.contains("missing\\xff"), "{}", ended.stderr);
    let warning = &ended.objects("warning")[0];
    assert!(warning["path_bytes"].as_str().unwrap().ends_with("2f6d697373696e67ff"), "{warning}");
    assert!(ended.last_object()["errors"][0]["path_bytes"].as_str().unwrap().ends_with("ff"));
}

#[test]
fn patterns_are_taken_from_the_current_folder_and_told_if_they_match_nothing() {
    let world = World::with_repository();
    std::fs::create_dir_all(world.path("source/#recycle")).unwrap();
    world.write("source/#recycle/t", b"t");
    world.write("source/B.TMP", b"t");
    let saved = |pattern: &[&str], name: &str| {
        let ended = world.daykeep(&[&["backup", "source"], pattern].concat()).succeeds();
        let is_saved = world.daykeep(&["ls", "latest"]).succeeds().stdout.contains(name);
        (is_saved, ended.stderr.contains("matches nothing"))
    };
    for pattern in ["source/folder", "./source/folder/", "source//folder", "source/../source/folder"] {
        assert_eq!(saved(&["--exclude", pattern], "folder/b"), (false, false), "{pattern}");
    }
    assert_eq!(saved(&["--exclude", "#recycle"], "recycle/t"), (false, false));
    assert_eq!(saved(&["--exclude", "../x"], "folder/b"), (true, true));
    assert_eq!(saved(&["--iexclude", "*.tmp"], "B.TMP"), (false, false));
    assert_eq!(saved(&["--exclude", "*.tmp"], "B.TMP"), (true, true));
    assert_eq!(saved(&["--exclude-larger-than", "100K"], "folder/b"), (false, false));
    world.write("source/folder/.nobackup", b"");
    assert_eq!(saved(&["--exclude-if-present", ".nobackup"], "folder/b"), (false, false));
    for blank in ["", "  "] {
        world.daykeep(&["backup", "source", "--exclude", blank]).fails_with(2);
        world.daykeep(&["restore", "latest", "--target", "out", "--include", blank]).fails_with(2);
    }
}

#[test]
fn excludes() {
    let world = World::with_repository();
    std::fs::create_dir(world.path("source/cache")).unwrap();
    world.write("source/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    world.write("source/cache/junk", b"");
    world.write("source/x.tmp", b"");
    world.write("patterns", b"# a comment\n\nfolder/\n");
    let saved = |extra: &[&str]| {
        world.daykeep(&[&["backup", "source"], extra].concat()).succeeds();
        let listed = world.daykeep(&["ls", "latest"]).succeeds().stdout;
        ["folder/b", "x.tmp", "cache/junk", "source/a"].map(|name| listed.contains(name))
    };
    assert_eq!(saved(&[]), [true; 4]);
    assert_eq!(saved(&["--exclude", "*.tmp", "--exclude-from", "patterns"]), [false, false, true, true]);
    assert_eq!(saved(&["--exclude-caches"]), [true, true, false, true]);
    let ended = world.daykeep(&["backup", "source", "--exclude-from", "nothing"]).fails_with(1);
    assert!(ended.stderr.contains("nothing"), "{}", ended.stderr);
}

#[test]
fn the_repository_does_not_hold_itself() {
    let world = World::new();
    let odd = "odd [1] *name!.redb";
    world.daykeep(&["-r", odd, "init"]).succeeds();
    world.daykeep(&["-r", odd, "backup", "."]).succeeds();
    let listed = world.daykeep(&["-r", odd, "ls", "latest"]).succeeds().stdout;
    assert!(listed.contains("source/a") && !listed.contains("odd"), "{listed}");
}

#[test]
fn quiet_prints_nothing_and_verbose_each_file() {
    let world = World::with_repository();
    let ended = world.daykeep(&["backup", "source", "-v"]).succeeds();
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("new ")).count(), 3, "{}", ended.stdout);
    world.write("source/a", b"longer than before");
    let ended = world.daykeep(&["backup", "source", "-v"]).succeeds();
    assert!(ended.stdout.lines().any(|line| line.starts_with("changed  ") && line.ends_with("source/a")));
    let ended = world.daykeep(&["backup", "source", "-q"]).succeeds();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn a_dry_run_stores_nothing() {
    let world = World::with_repository();
    let ended = world.daykeep(&["backup", "source", "--dry-run"]).succeeds();
    assert!(ended.stdout.contains("3 new") && ended.stdout.contains("Dry run"), "{}", ended.stdout);
    assert_eq!(world.snapshot_count(), 0);
}

#[test]
fn completions_of_every_shell() {
    let world = World::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.bare(&["completions", shell]).succeeds().stdout;
        assert!(script.contains("daykeep") && script.contains("show-recovery"), "{shell}");
    }
    assert!(world.bare(&["--version"]).succeeds().stdout.starts_with("daykeep "));
}
