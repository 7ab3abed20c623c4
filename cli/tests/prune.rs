//! `prune` on the command line.

use serde_json::Value;

use crate::world::World;

#[test]
fn prune_says_what_it_would_do_and_does_it() {
    let world = World::with_repository();
    world.daykeep(&["backup", "source"]).succeeds();
    let ended = world.daykeep(&["prune", "--dry-run"]).succeeds();
    assert!(ended.stdout.contains("This would save 0 B; nothing was changed"), "{}", ended.stdout);
    let plan = world.daykeep(&["prune", "-n", "--json"]).succeeds().last_object();
    assert_eq!(plan["type"], "summary");
    assert_eq!((&plan["dry_run"], &plan["snapshots"], &plan["packs_deleted"]), (&true.into(), &1.into(), &Value::Null));
    assert!(plan["chunks_needed"].as_u64().unwrap() >= 4);
    let done = world.daykeep(&["prune", "--compact", "--json"]).succeeds().last_object();
    assert_eq!(
        (&done["dry_run"], &done["packs_deleted"], &done["bytes_deleted"]),
        (&false.into(), &0.into(), &0.into())
    );
    assert!(world.daykeep(&["prune"]).succeeds().stdout.contains("Deleted 0 B, wrote 0 B"));
    assert_eq!(world.daykeep(&["prune", "--quiet"]).succeeds().stdout, "");
    world.daykeep(&["check", "--read-data"]).succeeds();
    for bad in [&["--max-unused", "101%"][..], &["--max-unused", "some"], &["--max-repack", "x"], &["-n", "--compact"]]
    {
        world.daykeep(&[&["prune"], bad].concat()).fails_with(2);
    }
}
