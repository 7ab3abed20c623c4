//! Prune on repositories made with the right key by someone who means harm: it refuses, deletes nothing, and ends.

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::delta::DeltaEncoder;
use daykeep_engine::internals::format::content::{Content, Part, encode_list};
use daykeep_engine::internals::format::index::{BasePrefix, ChunkKind, DeltaRecord, Reach};
use daykeep_engine::{Error, PruneOptions};
use daykeep_tests::forge::{Forge, directory, file, tree_writer};
use daykeep_tests::noise;
use daykeep_tests::place::{Place, assert_clean};
use daykeep_tests::stores::objects;

fn encode(prefix: &[u8], target: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    DeltaEncoder::new(3).unwrap().encode(prefix, target, &mut delta).unwrap();
    delta
}

fn record(bytes: &[u8], (depth, closure): (u8, u8), bases: &[&Part]) -> DeltaRecord {
    let prefix = |part: &&Part| -> BasePrefix {
        let Part::Chunk { id, .. } = part else { unreachable!("a chunk was made") };
        id.as_bytes()[..8].try_into().unwrap()
    };
    DeltaRecord {
        bytes: bytes.len() as u32,
        reach: Reach { depth, closure },
        bases: bases.iter().map(prefix).collect(),
    }
}

/// Returns the part that names a data chunk, whether it is there or not.
fn named(forge: &Forge, bytes: &[u8]) -> Part {
    let id = daykeep_engine::internals::hash::chunk_id(forge.codec.keys.ids(ChunkKind::Data), bytes);
    Part::Chunk { id: id.short(), bytes: bytes.len() as u64 }
}

/// Finishes a repository with one file of one part and tells what a thorough prune of it says.
fn outcome(forge: &mut Forge, part: Part) -> Result<(), Error> {
    let mut out = tree_writer();
    file(&mut out, b"file", &Content { level: 0, parts: vec![part] });
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let before = objects(forge.store.as_ref());
    let mut repository = Place::of_store(forge.store.clone()).open();
    let mut options = PruneOptions::default();
    options.unused_percent_max = 0;
    let done = repository.prune_plan(&options).and_then(|plan| repository.prune(plan, &options));
    if done.is_err() {
        assert_eq!(objects(forge.store.as_ref()), before, "nothing is deleted");
    } else {
        assert_clean(&repository);
    }
    done.map(drop)
}

#[test]
fn bases_that_cannot_be_are_refused() {
    let (base, target) = (noise::text(1, 5000), noise::text(2, 4000));
    let refuse = |what: &str, make: &dyn Fn(&mut Forge) -> Part| {
        let mut forge = Forge::new();
        let part = make(&mut forge);
        let error = outcome(&mut forge, part).expect_err(what);
        assert!(matches!(error, Error::Unprunable { .. }), "{what}: {error}");
    };
    refuse("a chunk that is its own base", &|forge| {
        let own = named(forge, &target);
        forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&own]))
    });
    refuse("two chunks that stand on each other", &|forge| {
        let (one, two) = (named(forge, &base), named(forge, &target));
        forge.delta(&base, &encode(&target, &base), record(&base, (1, 1), &[&two]));
        forge.delta(&target, &encode(&base, &target), record(&target, (2, 2), &[&one]))
    });
    refuse("two of one depth that stand on each other", &|forge| {
        let (one, two) = (named(forge, &base), named(forge, &target));
        forge.delta(&base, &encode(&target, &base), record(&base, (1, 1), &[&two]));
        forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&one]))
    });
    refuse("a base that is not there", &|forge| {
        let nowhere = Part::Chunk { id: ShortId::from_bytes([7; 16]), bytes: 5000 };
        forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&nowhere]))
    });
    refuse("a base of another kind", &|forge| {
        let part = forge.part(ChunkKind::List, &base);
        forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&part]))
    });
}

#[test]
fn a_circle_that_nobody_needs_goes() {
    let mut forge = Forge::new();
    let (base, target) = (noise::text(1, 5000), noise::text(2, 4000));
    let (one, two) = (named(&forge, &base), named(&forge, &target));
    forge.delta(&base, &encode(&target, &base), record(&base, (1, 1), &[&two]));
    forge.delta(&target, &encode(&base, &target), record(&target, (2, 2), &[&one]));
    let part = forge.part(ChunkKind::Data, b"needed");
    outcome(&mut forge, part).unwrap();
}

#[test]
fn an_honest_delta_keeps_its_base() {
    let mut forge = Forge::new();
    let (base, target) = (noise::text(1, 5000), noise::text(2, 4000));
    let one = forge.part(ChunkKind::Data, &base);
    forge.part(ChunkKind::Data, &noise::random(3, 900_000));
    let part = forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&one]));
    outcome(&mut forge, part).unwrap();
    let left: usize = objects(forge.store.as_ref()).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(left < 100_000, "{left} bytes are left");
}

#[test]
fn what_stands_for_more_than_anyone_can_visit_is_visited_once() {
    let mut forge = Forge::new();
    // Trees that name one tree a hundred times, a hundred levels deep.
    let mut out = tree_writer();
    file(&mut out, b"file", &Content::default());
    let mut tree = forge.tree(&out.finish());
    for _ in 0..100 {
        let mut out = tree_writer();
        for name in 100..200 {
            directory(&mut out, name.to_string().as_bytes(), &tree);
        }
        tree = forge.tree(&out.finish());
    }
    // And a list that names one piece four thousand times, five levels deep.
    let mut parts = vec![forge.part(ChunkKind::Data, b"x"); 4000];
    for level in 0..5u8 {
        let bytes = parts.iter().map(Part::bytes).sum();
        let id = forge.chunk(ChunkKind::List, &encode_list(level, &parts));
        parts = vec![Part::Chunk { id, bytes }; if level == 4 { 16 } else { 1500 }];
    }
    let mut out = tree_writer();
    directory(&mut out, b"folders", &tree);
    file(&mut out, b"long", &Content { level: 5, parts });
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let repository = Place::of_store(forge.store.clone()).open();
    let figures = repository.prune_plan(&PruneOptions::default()).unwrap().figures;
    // A chunk, five pieces, a hundred and two trees.
    assert_eq!(figures.chunks_needed, 1 + 5 + 102);
}

#[test]
fn of_two_copies_the_one_that_stands_alone_is_taken() {
    for is_whole_first in [false, true] {
        let mut forge = Forge::new();
        let (base, target) = (noise::text(1, 50_000), noise::text(2, 4000));
        let store_whole = |forge: &mut Forge| {
            forge.part(ChunkKind::Data, &target);
            forge.flush();
        };
        if is_whole_first {
            store_whole(&mut forge);
        }
        let one = forge.part(ChunkKind::Data, &base);
        let part = forge.delta(&target, &encode(&base, &target), record(&target, (1, 1), &[&one]));
        forge.flush();
        if !is_whole_first {
            store_whole(&mut forge);
        }
        outcome(&mut forge, part).unwrap();
        // The base goes once the delta on it has gone.
        let mut repository = Place::of_store(forge.store.clone()).open();
        let mut options = PruneOptions::default();
        options.unused_percent_max = 0;
        let plan = repository.prune_plan(&options).unwrap();
        repository.prune(plan, &options).unwrap();
        assert!(repository.prune_plan(&options).unwrap().is_empty());
        let left: usize = objects(forge.store.as_ref()).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(left < 10_000, "the base is gone: {left} bytes are left");
        let place = Place::of_store(forge.store.clone());
        let target_dir = place.path("target");
        let restored = daykeep_tests::place::try_restore(&place.open(), "latest", &target_dir).unwrap();
        assert_eq!(restored.warnings, []);
        assert_eq!(std::fs::read(target_dir.join("file")).unwrap(), target);
    }
}
