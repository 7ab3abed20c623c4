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
    assert_eq!(world.daykeep(&["backup", "--stdin"]).ends_with_input(b"").code, 0);
    assert_eq!(world.daykeep(&["ls", "latest"]).succeeds().stdout, "/stdin\n");
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
