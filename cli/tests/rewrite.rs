//! `rewrite` on the command line.

use crate::world::World;

#[test]
fn what_is_taken_out_is_shown_first() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let shown = world.daykeep(&["rewrite", "--exclude", "folder/", "--dry-run"]).succeeds().stdout;
    assert!(shown.contains("source/folder\n") && shown.contains("1 of 1 snapshot would be rewritten"), "{shown}");
    assert_eq!(world.snapshot_count(), 1);
    let ended = world.daykeep(&["rewrite", "--exclude", "folder/", "--json"]).succeeds();
    let rewritten = &ended.objects("rewritten")[0];
    assert_eq!((&rewritten["files_before"], &rewritten["files"]), (&3.into(), &2.into()));
    assert_eq!(ended.objects("left_out").len(), 1);
    assert_eq!((&ended.last_object()["rewritten"], world.snapshot_count()), (&1.into(), 2));
    let shown = world.daykeep(&["rewrite", "-e", "link", "--forget"]).succeeds().stdout;
    assert!(shown.contains("2 of 2 snapshots rewritten; `prune` gives the space back"), "{shown}");
    assert_eq!(world.snapshot_count(), 2);
    assert!(world.daykeep(&["rewrite", "-e", "none"]).succeeds().stdout.contains("0 of 2 snapshots rewritten"));
    assert_eq!(world.daykeep(&["rewrite", "-e", "none", "--quiet"]).succeeds().stdout, "");
    world.daykeep(&["rewrite"]).fails_with(2);
    world.daykeep(&["rewrite", "-e", ""]).fails_with(2);
    assert!(world.daykeep(&["rewrite", "-e", "a[z-a]"]).fails_with(2).stderr.contains("pattern"));
    world.daykeep(&["check", "--read-data"]).succeeds();
}
