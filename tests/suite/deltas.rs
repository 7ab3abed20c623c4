//! Chunks stored as the difference from similar ones.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::base::limits::{CHUNK_BYTES_MAX, DELTA_CLOSURE_MAX, INDEX_PLAIN_BYTES_MAX};
use daykeep_engine::internals::delta::{DeltaDecoder, DeltaEncoder, Similar, Sketch};
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::{BasePrefix, ChunkKind, DeltaRecord, Index, Reach};
use daykeep_engine::{ObjectKind, Repository};
use daykeep_tests::forge::{Forge, file, tree_writer};
use daykeep_tests::inventory::read;
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, check_all, try_restore};
use proptest::prelude::*;

const PAGE: usize = 4096;

/// A file in pages that changes from day to day as a database does: here and there, and at its end.
struct Database {
    path: PathBuf,
    bytes: Vec<u8>,
    day: u64,
}

impl Database {
    fn new(folder: &Path, pages: usize) -> Self {
        let bytes = noise::sqlite(1, PAGE as u16, pages * PAGE);
        let path = folder.join("chats.db");
        fs::write(&path, &bytes).unwrap();
        Self { path, bytes, day: 0 }
    }

    /// Changes some bytes in each of `pages` pages, copies halves of two to a new one, and adds one that is all new.
    fn next_day(&mut self, pages: usize) {
        self.day += 1;
        let random = noise::random(1000 + self.day, pages * 32);
        let total = self.bytes.len() / PAGE;
        for seed in random.chunks(32) {
            let word = |at: usize| u32::from_le_bytes(seed[at..at + 4].try_into().unwrap()) as usize;
            let at = (1 + word(0) % (total - 1)) * PAGE + word(4) % (PAGE - 24);
            self.bytes[at..at + 24].copy_from_slice(&seed[8..]);
        }
        for step in [7, 11] {
            let from = (1 + self.day as usize * step % (total - 1)) * PAGE;
            self.bytes.extend_from_within(from + PAGE / 2..from + PAGE);
        }
        self.bytes.extend_from_slice(&noise::text(3000 + self.day, PAGE));
        fs::write(&self.path, &self.bytes).unwrap();
    }
}

#[test]
fn a_day_of_a_database_costs_its_changes_and_every_day_comes_back() {
    for kind in Kind::ALL {
        let place = Place::new(kind);
        let source = place.folder("source");
        let mut database = Database::new(&source, 500);
        let repository = place.open();
        let first = back_up(&repository, &source);
        let mut days = vec![(first.snapshot.unwrap().to_string(), read(&source))];
        for day in 1..=12 {
            database.next_day(20);
            let report = back_up(&repository, &source);
            // Twenty pages of 32 changed bytes, a page of two known halves and one that is new; the folders above.
            assert!(report.counts.bytes_new >= 20 * PAGE as u64, "day {day}");
            assert!(report.bytes_stored < 20_000, "day {day} took {} bytes", report.bytes_stored);
            days.push((report.snapshot.unwrap().to_string(), read(&source)));
        }
        assert_clean(&repository);
        drop(repository);
        let repository = place.open();
        for (snapshot, wanted) in &days {
            assert_restores(&repository, snapshot, &source, wanted);
        }
    }
}

#[test]
fn a_lost_cache_costs_bytes_and_nothing_else() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    let mut database = Database::new(&source, 200);
    back_up(&place.open(), &source);
    fs::remove_dir_all(place.options().cache_dir.unwrap()).unwrap();
    database.next_day(20);
    // Each page still stands on the one at its place.
    let report = back_up(&place.open(), &source);
    assert!(report.bytes_stored < 18_000, "{} bytes", report.bytes_stored);
    let wanted = read(&source);
    let repository = place.open();
    assert_restores(&repository, "latest", &source, &wanted);
    assert_clean(&repository);
}

/// Returns all deltas that the forged repository's index objects list.
fn deltas(forge: &Forge) -> Vec<(ShortId, DeltaRecord)> {
    let mut found = Vec::new();
    for (id, _) in forge.store.list(ObjectKind::Index).unwrap() {
        let name = daykeep_engine::ObjectName::new(ObjectKind::Index, id);
        let object = forge.store.get(&name, 64 << 20).unwrap();
        let payload = forge.codec.open_object(&name, &object, INDEX_PLAIN_BYTES_MAX).unwrap();
        for pack in Index::decode(&payload).unwrap().packs {
            found.extend(pack.table.chunks.into_iter().filter_map(|chunk| Some((chunk.id, *chunk.delta?))));
        }
    }
    found
}

#[test]
fn deltas_stay_within_depth_and_closure_and_say_so_truly() {
    let forge = Forge::new();
    let place = Place::of_store(forge.store.clone());
    let source = place.folder("source");
    let mut database = Database::new(&source, 40);
    let repository = place.open();
    for _ in 0..60 {
        back_up(&repository, &source);
        database.next_day(30);
    }
    assert_clean(&repository);
    let deltas = deltas(&forge);
    assert!(deltas.iter().any(|(_, delta)| delta.reach.closure == DELTA_CLOSURE_MAX), "the test reaches the limit");
    assert!(deltas.iter().any(|(_, delta)| delta.bases.len() > 1), "and needs more than one base at times");
    let find = |base: &BasePrefix| deltas.iter().find(|(id, _)| id.as_bytes().starts_with(base));
    for (id, delta) in &deltas {
        let mut needs = HashSet::new();
        let mut open = delta.bases.clone();
        while let Some(base) = open.pop() {
            if needs.insert(base) {
                open.extend(find(&base).iter().flat_map(|(_, delta)| &delta.bases));
            }
        }
        assert!(needs.len() <= usize::from(DELTA_CLOSURE_MAX));
        assert_eq!(needs.len(), usize::from(delta.reach.closure), "chunk {id}");
        let below = delta.bases.iter().map(|base| find(base).map_or(0, |(_, delta)| delta.reach.depth)).max();
        assert_eq!(below.unwrap() + 1, delta.reach.depth, "chunk {id}");
    }
}

#[test]
fn a_lost_base_is_reported_named_by_its_files_and_healed_by_the_next_backup() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    let mut database = Database::new(&source, 300);
    let repository = place.open();
    back_up(&repository, &source);
    let first: Vec<PathBuf> = packs(&place);
    database.next_day(20);
    back_up(&repository, &source);
    drop(repository);
    for pack in &first {
        fs::remove_file(pack).unwrap();
    }
    let repository = place.open();
    let report = check_all(&repository).unwrap();
    assert!(
        report.errors.iter().any(|error| error.contains("stands on a chunk that is missing")),
        "{:?}",
        report.errors
    );
    assert!(report.errors.iter().any(|error| error.contains("chats.db")), "{:?}", report.errors);
    let target = place.path("target");
    let outcome = try_restore(&repository, "latest", &target).unwrap();
    assert!(outcome.warnings.iter().any(|warning| warning.0.contains("chats.db")));
    drop(repository);
    // With the index objects gone too, all of it counts as missing, and is stored again.
    for index in fs::read_dir(place.location().unwrap().path().join("index")).unwrap() {
        fs::remove_file(index.unwrap().path()).unwrap();
    }
    let wanted = read(&source);
    let repository = place.open();
    back_up(&repository, &source);
    assert_restores(&repository, "latest", &source, &wanted);
}

fn packs(place: &Place) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(place.location().unwrap().path().join("packs")).unwrap() {
        found.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    found
}

fn encode(prefix: &[u8], target: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    DeltaEncoder::new(3).unwrap().encode(prefix, target, &mut delta).unwrap();
    delta
}

fn prefix_of(part: &Part) -> BasePrefix {
    match part {
        Part::Chunk { id, .. } => id.as_bytes()[..8].try_into().unwrap(),
        Part::Hole { .. } => unreachable!("a chunk was made"),
    }
}

fn record(bytes: usize, (depth, closure): (u8, u8), bases: &[&Part]) -> DeltaRecord {
    let bases = bases.iter().map(|part| prefix_of(part)).collect();
    DeltaRecord { bytes: bytes as u32, reach: Reach { depth, closure }, bases }
}

/// Makes a repository with one file of one part, and tells what restoring and checking it say.
fn outcome_of(make: impl FnOnce(&mut Forge) -> Part) -> (Option<Vec<u8>>, Vec<String>) {
    let mut forge = Forge::new();
    let part = make(&mut forge);
    let mut out = tree_writer();
    file(&mut out, b"file", &Content { level: 0, parts: vec![part] });
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let place = Place::of_store(forge.store.clone());
    let repository: Repository = place.open();
    let target = place.path("target");
    let _ = try_restore(&repository, "latest", &target);
    (fs::read(target.join("file")).ok(), check_all(&repository).unwrap().errors)
}

#[test]
fn an_honest_delta_is_read() {
    let (base, target) = (noise::text(1, 5000), noise::text(2, 4000));
    let (found, errors) = outcome_of(|forge| {
        let part = forge.part(ChunkKind::Data, &base);
        forge.delta(&target, &encode(&base, &target), record(4000, (1, 1), &[&part]))
    });
    assert_eq!((found, errors), (Some(target), Vec::new()));
}

#[test]
fn hostile_deltas_are_refused_and_named() {
    let (base, target) = (noise::text(1, 5000), noise::text(2, 4000));
    let refused = |what: &str, make: &dyn Fn(&mut Forge) -> Part| {
        let (found, errors) = outcome_of(make);
        assert!(found.is_none_or(|bytes| bytes.is_empty()), "{what}: nothing is made of it");
        assert!(errors.iter().any(|error| error.contains("chunk")), "{what}: {errors:?}");
    };
    refused("a base with other bytes", &|forge| {
        let part = forge.part(ChunkKind::Data, &noise::text(3, 5000));
        forge.delta(&target, &encode(&base, &target), record(4000, (1, 1), &[&part]))
    });
    refused("a base that is not there", &|forge| {
        let nowhere = Part::Chunk { id: ShortId::from_bytes([7; 16]), bytes: 5000 };
        forge.delta(&target, &encode(&base, &target), record(4000, (1, 1), &[&nowhere]))
    });
    refused("a base of another kind", &|forge| {
        let part = forge.part(ChunkKind::List, &base);
        forge.delta(&target, &encode(&base, &target), record(4000, (1, 1), &[&part]))
    });
    refused("a chunk that is its own base", &|forge| {
        let id = daykeep_engine::internals::hash::chunk_id(forge.codec.keys.ids(ChunkKind::Data), &target);
        let own = Part::Chunk { id: id.short(), bytes: 4000 };
        forge.delta(&target, &encode(&base, &target), record(4000, (1, 1), &[&own]))
    });
    refused("two chunks that stand on each other", &|forge| {
        let id = |forge: &Forge, bytes: &[u8]| Part::Chunk {
            id: daykeep_engine::internals::hash::chunk_id(forge.codec.keys.ids(ChunkKind::Data), bytes).short(),
            bytes: bytes.len() as u64,
        };
        let (one, two) = (id(forge, &base), id(forge, &target));
        forge.delta(&base, &encode(&target, &base), record(5000, (1, 1), &[&two]));
        forge.delta(&target, &encode(&base, &target), record(4000, (2, 2), &[&one]))
    });
    refused("32 deltas, one upon the other", &|forge| {
        let mut versions: Vec<Vec<u8>> = (0..33).map(|seed| noise::text(seed, 3000)).collect();
        let mut part = forge.part(ChunkKind::Data, &versions[0]);
        let last = versions.pop().unwrap();
        for (depth, pair) in (1u8..).zip(versions.windows(2)) {
            part = forge.delta(&pair[1], &encode(&pair[0], &pair[1]), record(3000, (depth, depth), &[&part]));
        }
        let claimed = DELTA_CLOSURE_MAX;
        forge.delta(&last, &encode(&versions[31], &last), record(3000, (claimed, claimed), &[&part]))
    });
    refused("forty chunks for one", &|forge| {
        // Three levels of four bases each, which say that they need few.
        let mut level: Vec<(Vec<u8>, Part)> = Vec::new();
        for seed in 0..64 {
            let bytes = noise::text(seed, 300);
            let part = forge.part(ChunkKind::Data, &bytes);
            level.push((bytes, part));
        }
        for depth in 1..=3u8 {
            let seeds = 100 * u64::from(depth)..;
            let next = |(four, seed): (&[(Vec<u8>, Part)], u64)| {
                let prefix: Vec<u8> = four.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
                let bytes = noise::text(seed, 300);
                let parts: Vec<&Part> = four.iter().map(|(_, part)| part).collect();
                (bytes.clone(), encode(&prefix, &bytes), record(300, (depth, 31), &parts))
            };
            let made: Vec<_> = level.chunks(4).zip(seeds).map(next).collect();
            level = made
                .into_iter()
                .map(|(bytes, delta, record)| {
                    let part = forge.delta(&bytes, &delta, record);
                    (bytes, part)
                })
                .collect();
        }
        level.remove(0).1
    });
    refused("a delta that makes a gigabyte of nothing", &|forge| {
        let part = forge.part(ChunkKind::Data, &base);
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        compressor.set_parameter(zstd::zstd_safe::CParameter::Format(zstd::zstd_safe::FrameFormat::Magicless)).unwrap();
        let bomb = compressor.compress(&vec![0; 1 << 30]).unwrap();
        assert!(bomb.len() < CHUNK_BYTES_MAX);
        forge.delta(&target, &bomb, record(4000, (1, 1), &[&part]))
    });
    for cut in [1, 2, 10, 100] {
        refused("a delta that is cut short", &|forge| {
            let part = forge.part(ChunkKind::Data, &base);
            let delta = encode(&base, &target);
            forge.delta(&target, &delta[..delta.len() - cut], record(4000, (1, 1), &[&part]))
        });
    }
    refused("a delta that says that it makes less", &|forge| {
        let part = forge.part(ChunkKind::Data, &base);
        forge.delta(&target, &encode(&base, &target), record(3999, (1, 1), &[&part]))
    });
}

/// Bytes that share stretches: each is a few pieces of a small stock.
fn patchwork() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0u64..6, 0usize..3000, 0usize..3000);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let stretch = |(seed, from, len): (u64, usize, usize)| {
            let stock = if seed.is_multiple_of(2) { noise::text(seed, 6000) } else { noise::random(seed, 6000) };
            stock[from..from + len].to_vec()
        };
        pieces.into_iter().flat_map(stretch).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_base_and_any_target_make_a_delta_that_makes_the_target(base in patchwork(), target in patchwork()) {
        let delta = encode(&base, &target);
        let mut back = vec![0; target.len()];
        DeltaDecoder::new().unwrap().decode(&base, &delta, &mut back).unwrap();
        prop_assert_eq!(back, target);
    }

    #[test]
    fn whatever_is_no_delta_is_an_error(base in patchwork(), delta in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = vec![0; 4096];
        // Some bytes are a delta by chance; then they make exactly as many bytes as were asked for.
        let _ = DeltaDecoder::new().unwrap().decode(&base, &delta, &mut out);
    }

    /// What two chunks have in common is found wherever it lies in them.
    #[test]
    fn a_sketch_does_not_ask_where_things_lie(bytes in patchwork(), before in 0usize..700, cut in 0usize..700) {
        let gear: [u64; 256] = std::array::from_fn(|at| {
            u64::from_le_bytes(noise::random(at as u64, 8).try_into().unwrap())
        });
        let features = |bytes: &[u8]| Sketch::of(&gear, bytes).features().collect::<Vec<u32>>();
        let moved = [vec![0; before], bytes.clone()].concat();
        let (found, all) = (features(&bytes), features(&moved));
        // The windows across the seam are new; all others are as they were.
        let seam = features(&moved[before.saturating_sub(31)..moved.len().min(before + 31)]);
        for feature in &all {
            prop_assert!(found.contains(feature) || seam.contains(feature));
        }
        let rest = features(&bytes[cut.min(bytes.len())..]);
        for feature in found.iter().filter(|feature| rest.last().is_some_and(|last| *feature <= last)) {
            let lost = features(&bytes[..bytes.len().min(cut + 31)]);
            prop_assert!(rest.contains(feature) || lost.contains(feature));
        }
    }
}

#[test]
fn the_most_similar_chunk_is_found() {
    let gear: [u64; 256] =
        std::array::from_fn(|at| u64::from_le_bytes(noise::random(at as u64, 8).try_into().unwrap()));
    let old: Vec<Vec<u8>> = (0..300).map(|seed| noise::text(seed, PAGE)).collect();
    // Each new chunk is three quarters of one old one, moved, and a quarter of another.
    let new: Vec<Vec<u8>> = (0..100).map(|at| [&old[at + 100][..PAGE / 4], &old[at][PAGE / 4..]].concat()).collect();
    let sketches: Vec<Sketch> = new.iter().map(|bytes| Sketch::of(&gear, bytes)).collect();
    let mut similar = Similar::new(&sketches);
    for (number, bytes) in (0..).zip(&old) {
        similar.show(number, &Sketch::of(&gear, bytes));
    }
    let found = similar.finish();
    let first = (0..).zip(&found).filter(|(at, found)| found.first().is_some_and(|one| one.old == *at)).count();
    assert!(first >= 90, "{first} of 100");
    let second = found.iter().filter(|found| found.len() >= 2).count();
    // A quarter of eight features may be none.
    assert!(second >= 60, "{second} of 100 have two");
}

#[test]
fn a_changed_file_costs_its_changes_wherever_they_shift_the_rest() {
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let folder = place.folder("source");
        let mut long = noise::text(1, 6 << 20);
        let mut short = noise::text(2, 9000);
        let write = |long: &[u8], short: &[u8]| {
            fs::write(folder.join("long.txt"), long).unwrap();
            fs::write(folder.join("short.txt"), short).unwrap();
        };
        write(&long, &short);
        let repository = place.open();
        let first = back_up(&repository, &folder).bytes_stored;
        for day in 0..10u64 {
            let at = noise::random(day, 16);
            for (number, word) in at.chunks(8).enumerate() {
                let at = u64::from_le_bytes(word.try_into().unwrap()) as usize % long.len();
                long.splice(at..at, noise::text(100 + day * 2 + number as u64, 40 + number));
            }
            short.splice(4000..4010, noise::text(300 + day, 20));
            write(&long, &short);
            let wanted = read(&folder);
            let stored = back_up(&repository, &folder).bytes_stored;
            assert!(stored < 12_000 && stored < first / 100, "{kind:?}, day {day}: {stored} of {first}");
            assert_restores(&repository, "latest", &folder, &wanted);
        }
        assert_clean(&repository);
    }
}
