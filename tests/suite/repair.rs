//! Whatever is hurt: after a repair everything that can be had is there, everything else is named, and a later backup
//! brings it back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daykeep_engine::internals::base::ChunkId;
use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::crypt::{Keys, SlotSecret, open_slot};
use daykeep_engine::internals::format::header::{HEADER_BYTES, Header};
use daykeep_engine::internals::format::index::{ChunkKind, ChunkRecord, DeltaRecord, Encoding, Reach};
use daykeep_engine::internals::format::key_slot::KeySlot;
use daykeep_engine::internals::format::pack::{Footer, TRAILER_BYTES, Trailer};
use daykeep_engine::internals::hash;
use daykeep_engine::internals::pack::{Frame, PackBuilder, read_footer};
use daykeep_engine::{
    Access, Error, MemoryStore, ObjectId, ObjectKind, ObjectName, OpenOptions, PruneOptions, RepairOptions, Repository,
    Store, StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{
    Kind, Place, assert_clean, assert_restores, back_up, below, check_all, key, secret, temp, try_restore,
};
use daykeep_tests::stores::{FailingStore, objects, replace};

pub fn options(read_data: bool) -> RepairOptions {
    let mut options = RepairOptions::default();
    options.read_data = read_data;
    options
}

/// Changes a source so that each later state has new files, changed pages of a database and changed text.
pub fn change(source: &Path, turn: u64) {
    fs::create_dir_all(source.join("folder/inner")).unwrap();
    let database = source.join("chats.db");
    let mut pages = if turn == 0 { noise::sqlite(1, 4096, 60 * 4096) } else { fs::read(&database).unwrap() };
    let mut rng = Rng::new(turn);
    for _ in 0..8 {
        let at = 4096 + rng.below(58 * 4096);
        pages[at..at + 24].copy_from_slice(&noise::random(turn ^ at as u64, 24));
    }
    fs::write(database, pages).unwrap();
    fs::write(source.join("text"), [noise::text(turn, 3000), noise::text(99, 90_000)].concat()).unwrap();
    fs::write(source.join(format!("folder/note-{turn}")), noise::text(turn + 7, 500)).unwrap();
    fs::write(source.join("folder/inner/photo"), noise::random(3, 150_000)).unwrap();
    fs::write(source.join(format!("folder/inner/photo-{turn}")), noise::random(turn + 50, 30_000)).unwrap();
}

/// A repository in memory with three snapshots, as it was before it was hurt.
struct World {
    place: Place,
    store: Arc<MemoryStore>,
    objects: Vec<(ObjectName, Vec<u8>)>,
    wanted: Vec<(ObjectId, Inventory)>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::with_pack_bytes(2 << 20));
        let open = OpenOptions::default().memory_bytes(64 << 20);
        drop(Repository::create_in(store.clone(), &key(), None, &open).unwrap());
        let place = Place::of_store(store.clone());
        let source = place.folder("source");
        let wanted = (0..3)
            .map(|turn| {
                change(&source, turn);
                let id = back_up(&place.open(), &source).snapshot.unwrap();
                (id, read(&source))
            })
            .collect();
        let objects = objects(store.as_ref());
        Self { place, store, objects, wanted }
    }

    fn source(&self) -> PathBuf {
        self.place.path("source")
    }

    fn of(&self, kind: ObjectKind) -> impl Iterator<Item = &(ObjectName, Vec<u8>)> {
        self.objects.iter().filter(move |(name, _)| name.kind == kind)
    }

    /// Puts everything back.
    fn reset(&self) {
        for (name, _) in objects(self.store.as_ref()) {
            self.store.delete(&name).unwrap();
        }
        self.objects.iter().for_each(|(name, bytes)| self.store.put(name, bytes).unwrap());
    }

    fn footer(&self, name: &ObjectName, bytes: &[u8]) -> Footer {
        read_footer(&codec_of(self.store.as_ref()), name, bytes).unwrap()
    }

    /// Returns the paths, relative to the source, that a restore of a snapshot cannot bring back, as it says.
    fn unrestorable(&self, id: ObjectId) -> Option<BTreeSet<Vec<u8>>> {
        let repository = Repository::open_in(self.store.clone(), &secret(), Access::Read, &no_cache()).ok()?;
        let target = temp();
        let report = try_restore(&repository, &id.to_string(), target.path()).ok()?;
        Some(report.warnings.into_iter().map(|(path, _)| path.into_bytes()).collect())
    }

    /// Repairs, and demands of the outcome what can be demanded whatever was hurt. Returns the paths that are lost.
    fn assert_mended(&self, what: &str, read_data: bool) -> BTreeSet<Vec<u8>> {
        let before: Vec<_> = self.wanted.iter().map(|(id, _)| self.unrestorable(*id)).collect();
        let packs = self.store.list(ObjectKind::Pack).unwrap();
        let mut repository = self.place.open();
        let plan = repository.repair_plan(&options(read_data)).unwrap();
        let (hurt, lost) = (plan.snapshots.clone(), plan.lost.clone());
        let report = repository.repair(plan, &options(read_data)).unwrap();
        drop(repository);
        let paths: BTreeSet<Vec<u8>> = lost.iter().map(|lost| lost.path.clone()).collect();
        for (name, _) in packs.iter().map(|(id, bytes)| (ObjectName::new(ObjectKind::Pack, *id), bytes)) {
            assert!(self.store.get(&name, 64 << 20).is_ok(), "{what}: {name} was deleted");
        }
        let unreadable: Vec<ObjectId> = {
            let (snapshots, _) = self.place.open().snapshots().unwrap();
            let is_read = |id: &ObjectId| snapshots.iter().any(|snapshot| snapshot.id == *id);
            self.wanted.iter().map(|(id, _)| *id).filter(|id| !is_read(id)).collect()
        };
        // To do it again changes nothing.
        let after = objects(self.store.as_ref());
        let mut repository = self.place.open();
        for again in [read_data, false] {
            let plan = repository.repair_plan(&options(again)).unwrap();
            assert!(plan.is_empty(), "{what}: {:?}", plan.figures);
            assert_eq!(plan.snapshots.len(), hurt.len(), "{what}");
            repository.repair(plan, &options(again)).unwrap();
            assert!(objects(self.store.as_ref()) == after, "{what}: a second repair changed something");
        }
        drop(repository);
        let repository = Repository::open_in(self.store.clone(), &secret(), Access::Read, &no_cache()).unwrap();
        for ((id, wanted), before) in self.wanted.iter().zip(&before) {
            if unreadable.contains(id) {
                continue;
            }
            let Some(is_hurt) = hurt.iter().find(|hurt| hurt.snapshot.id == *id) else {
                assert_restores(&repository, &id.to_string(), &self.source(), wanted);
                continue;
            };
            let Some(copy) = report.copies.iter().find(|(from, _)| from == id).map(|(_, copy)| copy) else {
                assert!(is_hurt.copy.is_none(), "{what}: {id} has no copy");
                continue;
            };
            let target = temp();
            let restored = try_restore(&repository, &copy.to_string(), target.path()).unwrap();
            assert_eq!(restored.warnings, [], "{what}");
            let found = below(target.path(), &self.source());
            let found = if found.exists() { read(&found) } else { Inventory::new() };
            // A path that is lost in one snapshot may be whole in another.
            let here = paths.iter().filter(|path| before.as_ref().is_none_or(|before| is_at(before, path)));
            assert_all_but(&self.source(), &here.cloned().collect(), wanted, &found, what);
            let (snapshots, _) = repository.snapshots().unwrap();
            let copy = snapshots.iter().find(|snapshot| snapshot.id == *copy).unwrap();
            assert_eq!((copy.record.original, &copy.record.tags[..]), (Some(*id), &["repaired".to_owned()][..]));
            // What is named is what a restore could not bring back.
            if let Some(before) = before {
                for path in lost.iter().filter(|lost| lost.snapshot == *id).map(|lost| &lost.path) {
                    assert!(is_at(before, path), "{what}: {} was not lost", String::from_utf8_lossy(path));
                }
            }
        }
        drop(repository);
        self.assert_clean_without(
            &hurt.iter().map(|hurt| hurt.snapshot.id).chain(unreadable).collect::<Vec<_>>(),
            what,
        );
        paths
    }

    /// With the snapshots gone that are hurt, all is well; and a prune keeps it so.
    fn assert_clean_without(&self, hurt: &[ObjectId], what: &str) {
        let saved = objects(self.store.as_ref());
        hurt.iter().for_each(|id| self.store.delete(&ObjectName::new(ObjectKind::Snapshot, *id)).unwrap());
        let mut repository = Repository::open_in(self.store.clone(), &secret(), Access::Write, &no_cache()).unwrap();
        let report = check_all(&repository).unwrap();
        assert_eq!(report.errors, [""; 0], "{what}");
        let plan = repository.prune_plan(&PruneOptions::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        repository.prune(plan, &PruneOptions::default()).unwrap();
        let report = check_all(&repository).unwrap();
        assert_eq!((report.errors, report.notes), (vec![], vec![]), "{what}");
        for (name, _) in objects(self.store.as_ref()) {
            self.store.delete(&name).unwrap();
        }
        saved.iter().for_each(|(name, bytes)| self.store.put(name, bytes).unwrap());
    }

    /// A backup of the same source brings back what it sees.
    fn assert_healed(&self, what: &str) {
        let repository = self.place.open();
        let report = back_up(&repository, &self.source());
        let id = report.snapshot.unwrap();
        assert_restores(&repository, &id.to_string(), &self.source(), &self.wanted[2].1);
        drop(repository);
        let repository = Repository::open_in(self.store.clone(), &secret(), Access::Write, &no_cache()).unwrap();
        assert_restores(&repository, &id.to_string(), &self.source(), &self.wanted[2].1);
        let errors = check_all(&repository).unwrap().errors;
        let is_of_older = |error: &String| !error.contains(&id.to_string()[..8]);
        assert!(errors.iter().all(is_of_older), "{what}: {errors:?}");
    }
}

/// Returns what seals the objects of a test repository.
fn codec_of(store: &dyn Store) -> Codec {
    let (id, _) = store.list(ObjectKind::Key).unwrap()[0];
    let object = store.get(&ObjectName::new(ObjectKind::Key, id), 1 << 20).unwrap();
    let repository = Header::decode(&object).unwrap().repository;
    let slot = KeySlot::decode(&object[HEADER_BYTES..]).unwrap();
    let master = open_slot(&slot, &SlotSecret::Recovery(&key())).unwrap().unwrap();
    Codec { repository, location: "test".into(), keys: Keys::new(&master), parity_percent: 0 }
}

/// Returns whether a path is among those that a restore named, or above or below one.
fn is_at(named: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    named.iter().any(|named| path.starts_with(named) || named.starts_with(path))
}

/// Everything that is not lost is as it was, and nothing that is lost is there, but for folders that are empty now.
pub fn assert_all_but(source: &Path, lost: &BTreeSet<Vec<u8>>, wanted: &Inventory, found: &Inventory, what: &str) {
    let root = source.as_os_str().as_bytes();
    let is_lost = |inner: &Vec<u8>| {
        let whole = if inner.is_empty() { root.to_vec() } else { [root, b"/", inner].concat() };
        lost.iter().any(|lost| whole == *lost || whole.starts_with(&[lost.as_slice(), b"/"].concat()))
    };
    let kept = |all: &Inventory| -> Inventory {
        all.iter().filter(|(path, _)| !is_lost(path)).map(|(path, item)| (path.clone(), item.clone())).collect()
    };
    let (wanted, rest) = (kept(wanted), kept(found));
    if wanted != rest {
        assert_same(&wanted, &rest);
        panic!("{what}: other files than those that are named differ");
    }
}

fn no_cache() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

#[test]
fn what_is_whole_stays_as_it_is() {
    let world = World::new();
    assert_eq!(world.assert_mended("nothing", true).len(), 0);
    assert!(objects(world.store.as_ref()) == world.objects);
    let mut rebuild = options(false);
    rebuild.rebuild_index = true;
    let mut repository = world.place.open();
    let plan = repository.repair_plan(&rebuild).unwrap();
    assert_eq!((plan.figures.index_objects_replaced, plan.figures.packs_found), (3, 0));
    let report = repository.repair(plan, &rebuild).unwrap();
    assert_eq!((report.index_objects_written, report.index_objects_deleted), (1, 3));
    drop(repository);
    assert_eq!(world.assert_mended("rebuilt", true).len(), 0);
}

#[test]
fn lost_packs_are_dropped_and_healed() {
    let world = World::new();
    let packs: Vec<_> = world.of(ObjectKind::Pack).map(|(name, _)| *name).collect();
    assert!(packs.len() >= 4, "{} packs", packs.len());
    let mut all = BTreeSet::new();
    for name in &packs {
        world.reset();
        world.store.delete(name).unwrap();
        let lost = world.assert_mended(&format!("{name} lost"), false);
        all.extend(lost);
        world.assert_healed(&format!("{name} lost"));
    }
    assert!(all.len() > 5, "{all:?}");
    world.reset();
    packs.iter().for_each(|name| world.store.delete(name).unwrap());
    world.assert_mended("all packs lost", false);
    world.assert_healed("all packs lost");
}

#[test]
fn what_is_readable_of_a_cut_pack_is_kept() {
    let world = World::new();
    let mut rng = Rng::new(5);
    for (name, bytes) in world.of(ObjectKind::Pack) {
        let len = bytes.len();
        let footer = world.footer(name, bytes);
        let trailer = Trailer::decode(&bytes[len - TRAILER_BYTES..]).unwrap();
        let mut borders = vec![HEADER_BYTES, len - TRAILER_BYTES, len - TRAILER_BYTES - trailer.footer_bytes as usize];
        let mut at = HEADER_BYTES;
        borders.extend(footer.table.frames.iter().map(|frame| {
            at += frame.sealed_bytes as usize;
            at
        }));
        let mut cuts: BTreeSet<usize> = borders.iter().flat_map(|border| [border - 1, *border, border + 1]).collect();
        cuts.extend([0, 1, len / 2, len - 1]);
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < len).collect();
        let chosen = cuts.iter().filter(|_| is_long() || rng.below(cuts.len()) < 8);
        for &cut in chosen {
            world.reset();
            replace(world.store.as_ref(), name, &bytes[..cut]);
            let what = format!("{name} cut to {cut} of {len}");
            let lost = world.assert_mended(&what, false);
            let frames_end = footer.table.end() as usize;
            assert!(cut < frames_end || lost.is_empty(), "{what}: all of its frames are there");
            world.assert_healed(&what);
        }
        world.reset();
        replace(world.store.as_ref(), name, &[bytes.as_slice(), &[0]].concat());
        assert!(world.assert_mended(&format!("{name} grown"), false).is_empty());
    }
}

#[test]
fn a_flipped_bit_in_a_pack_costs_no_more_than_its_frame() {
    let world = World::new();
    let mut rng = Rng::new(9);
    let mut hurt_most = 0;
    for (name, bytes) in world.of(ObjectKind::Pack) {
        let footer = world.footer(name, bytes);
        let end = footer.table.end() as usize;
        let mut places = vec![0, 20, 40, HEADER_BYTES, end - 1, end, bytes.len() - TRAILER_BYTES, bytes.len() - 1];
        places.extend((0..if is_long() { 60 } else { 6 }).map(|_| rng.below(bytes.len())));
        for place in places {
            world.reset();
            let mut hurt = bytes.clone();
            hurt[place] ^= 1 << rng.below(8);
            replace(world.store.as_ref(), name, &hurt);
            let what = format!("byte {place} of {} in {name}", bytes.len());
            let lost = world.assert_mended(&what, true);
            assert!((HEADER_BYTES..end).contains(&place) || lost.is_empty(), "{what}: no frame is hurt, {lost:?}");
            hurt_most = hurt_most.max(lost.len());
            world.assert_healed(&what);
        }
    }
    assert!(hurt_most > 0);
}

#[test]
fn without_index_objects_nothing_is_lost() {
    let world = World::new();
    let indexes: Vec<_> = world.of(ObjectKind::Index).cloned().collect();
    for gone in 1..1usize << indexes.len() {
        for is_damaged in [false, true] {
            world.reset();
            for (_, (name, bytes)) in indexes.iter().enumerate().filter(|(at, _)| gone & 1 << at != 0) {
                world.store.delete(name).unwrap();
                if is_damaged {
                    let mut hurt = bytes.clone();
                    hurt[bytes.len() / 2] ^= 4;
                    world.store.put(name, &hurt).unwrap();
                }
            }
            assert!(world.assert_mended(&format!("index objects {gone:b}, damaged: {is_damaged}"), true).is_empty());
        }
    }
    // Nor with a catalog that knows none of them: all are gone, and a backup finds everything.
    world.reset();
    indexes.iter().for_each(|(name, _)| world.store.delete(name).unwrap());
    let mut repository = world.place.open();
    let plan = repository.repair_plan(&options(false)).unwrap();
    assert_eq!(plan.figures.packs_found, world.of(ObjectKind::Pack).count() as u64);
    repository.repair(plan, &options(false)).unwrap();
    // The folders above the source may have other times by now.
    assert!(back_up(&repository, &world.source()).counts.bytes_new < 2000);
    assert_clean(&repository);
}

#[test]
fn a_damaged_snapshot_is_named_and_the_others_stay() {
    let world = World::new();
    for (name, bytes) in world.of(ObjectKind::Snapshot) {
        world.reset();
        let mut hurt = bytes.clone();
        hurt[HEADER_BYTES + 3] ^= 1;
        replace(world.store.as_ref(), name, &hurt);
        let mut repository = world.place.open();
        let plan = repository.repair_plan(&options(false)).unwrap();
        assert_eq!((plan.figures.snapshots, plan.figures.snapshots_unreadable), (2, 1));
        assert!(plan.findings[0].contains(&name.to_string()), "{:?}", plan.findings);
        repository.repair(plan, &options(false)).unwrap();
        drop(repository);
        assert!(world.assert_mended("a snapshot", true).is_empty());
    }
}

/// Several objects at once, at random.
#[test]
fn whatever_is_hurt_together() {
    let world = World::new();
    for seed in 0..if is_long() { 400 } else { 25 } {
        world.reset();
        let mut rng = Rng::new(seed);
        let kinds = [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot];
        let candidates: Vec<_> = world.objects.iter().filter(|(name, _)| kinds.contains(&name.kind)).collect();
        let mut what = format!("seed {seed}:");
        for _ in 0..1 + rng.below(4) {
            let (name, bytes) = candidates[rng.below(candidates.len())];
            what += &format!(" {name}");
            match rng.below(4) {
                0 => world.store.delete(name).unwrap(),
                1 => replace(world.store.as_ref(), name, &bytes[..rng.below(bytes.len())]),
                2 => replace(world.store.as_ref(), name, &candidates[rng.below(candidates.len())].1),
                _ => {
                    let mut hurt = bytes.clone();
                    (0..1 + rng.below(3)).for_each(|_| hurt[rng.below(bytes.len())] ^= 1 << rng.below(8));
                    replace(world.store.as_ref(), name, &hurt);
                }
            }
        }
        world.assert_mended(&what, true);
        let is_there = world.place.open().snapshot(&world.wanted[2].0.to_string()).is_ok();
        if is_there {
            world.assert_healed(&what);
        }
    }
}

/// Deltas whose bases a prune has taken away are in footers still: a rebuilt index has them as void.
#[test]
fn a_rebuilt_index_has_no_delta_without_its_base() {
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let source = place.folder("source");
        let mut ids = Vec::new();
        for turn in 0..6 {
            change(&source, turn);
            ids.push(back_up(&place.open(), &source).snapshot.unwrap());
        }
        let wanted = read(&source);
        let store = crate::prune::store_of(&place);
        ids[..5].iter().for_each(|id| store.delete(&ObjectName::new(ObjectKind::Snapshot, *id)).unwrap());
        store.sync().unwrap();
        drop(store);
        let mut prune = PruneOptions::default();
        prune.unused_percent_max = 60;
        let mut repository = place.open();
        let plan = repository.prune_plan(&prune).unwrap();
        repository.prune(plan, &prune).unwrap();
        drop(repository);
        let store = crate::prune::store_of(&place);
        for (id, _) in store.list(ObjectKind::Index).unwrap() {
            store.delete(&ObjectName::new(ObjectKind::Index, id)).unwrap();
        }
        store.sync().unwrap();
        drop(store);
        let mut repository = place.open();
        let plan = repository.repair_plan(&options(true)).unwrap();
        assert_eq!((plan.figures.lost, plan.figures.packs_hurt), (0, 0));
        repository.repair(plan, &options(true)).unwrap();
        let report = assert_clean(&repository);
        assert_eq!(report.notes, [""; 0], "{kind:?}");
        assert_restores(&repository, "latest", &source, &wanted);
        drop(repository);
        change(&source, 6);
        let (repository, wanted) = (place.open(), read(&source));
        back_up(&repository, &source);
        assert_restores(&repository, "latest", &source, &wanted);
        assert_clean(&repository);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = World::new();
    let mut repository = world.place.open();
    let plan = repository.repair_plan(&options(false)).unwrap();
    fs::write(world.source().join("more"), "more").unwrap();
    back_up(&repository, &world.source());
    let error = repository.repair(plan, &options(false)).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "plan", .. }));
    drop(repository);
    let mut repository = world.place.try_open(Access::Read).unwrap();
    let plan = repository.repair_plan(&options(false)).unwrap();
    assert!(repository.repair(plan, &options(false)).unwrap_err().to_string().contains("opened for reading"));
    let stopped = options(false);
    stopped.cancel.cancel();
    assert!(matches!(repository.repair_plan(&stopped), Err(Error::Cancelled)));
}

/// Whichever call fails, nothing is lost, and another repair ends well.
#[test]
fn each_call_may_fail_and_doing_it_again_ends_well() {
    let world = World::new();
    let largest = world.of(ObjectKind::Pack).max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let index = world.of(ObjectKind::Index).next().unwrap();
    let mut hurt = largest.1.clone();
    hurt[5000] ^= 1;
    let step = if is_long() { 1 } else { 5 };
    for call in (0..).step_by(step) {
        world.reset();
        replace(world.store.as_ref(), &largest.0, &hurt);
        world.store.delete(&index.0).unwrap();
        let store = Arc::new(FailingStore::new(world.store.clone(), StoreErrorKind::Io));
        let mut repository = Repository::open_in(store.clone(), &secret(), Access::Write, &no_cache()).unwrap();
        store.fail_after(call as u64, call % 2 == 1);
        let outcome = repository.repair_plan(&options(true)).and_then(|plan| repository.repair(plan, &options(true)));
        store.heal();
        let failed = store.failed();
        drop((outcome, repository));
        let is_pack = |name: &ObjectName| matches!(name.kind, ObjectKind::Pack | ObjectKind::Snapshot);
        for (name, bytes) in world.objects.iter().filter(|(name, _)| is_pack(name) && *name != largest.0) {
            assert!(world.store.get(name, 64 << 20).unwrap() == *bytes, "call {call}: {name}");
        }
        let mut repository = Repository::open_in(world.store.clone(), &secret(), Access::Write, &no_cache()).unwrap();
        let plan = repository.repair_plan(&options(true)).unwrap();
        let hurt: Vec<ObjectId> = plan.snapshots.iter().map(|hurt| hurt.snapshot.id).collect();
        repository.repair(plan, &options(true)).unwrap();
        drop(repository);
        world.assert_clean_without(&hurt, &format!("call {call}, {failed:?}"));
        if failed.is_none() {
            break;
        }
    }
}

/// Resident memory of this process at its highest since it was asked last, in MiB.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    // Begins anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kib / 1024
}

/// 5,000 packs of 200 chunks and no index object. One of four chunks is a delta, as in a repository of databases.
#[test]
fn an_index_of_a_million_chunks_is_rebuilt_in_ten_seconds() {
    let packs = if is_long() { 5000 } else { 50 };
    let place = Place::new(Kind::Directory);
    let store = crate::prune::store_of(&place);
    let codec = codec_of(store.as_ref());
    let mut number = 0u64;
    for _ in 0..packs {
        let id = ObjectId::from_bytes(noise::random(number, 32).try_into().unwrap());
        let mut builder = PackBuilder::new(&codec, id, 2 << 20, Vec::new());
        let mut base = None;
        for _ in 0..200 {
            number += 1;
            let body = noise::random(number, 64);
            let id = hash::chunk_id(codec.keys.ids(ChunkKind::Data), &body);
            let delta = base.filter(|_| number.is_multiple_of(4)).map(|base: ChunkId| {
                let reach = Reach { depth: 1, closure: 1 };
                Box::new(DeltaRecord { bytes: 4096, reach, bases: vec![base.as_bytes()[..8].try_into().unwrap()] })
            });
            base = if delta.is_none() { Some(id) } else { base };
            let chunk = ChunkRecord { id, kind: ChunkKind::Data, bytes: 64, delta };
            builder.append(&Frame { encoding: Encoding::Raw, body: &body, chunks: &[chunk] }).unwrap();
        }
        store.put(&ObjectName::new(ObjectKind::Pack, id), builder.finish().unwrap().as_bytes()).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let mut repository = place.open();
    peak_mib();
    let begun = Instant::now();
    let plan = repository.repair_plan(&options(false)).unwrap();
    let planned = begun.elapsed();
    assert_eq!((plan.figures.chunks, plan.figures.packs_found), (packs * 200, packs));
    let report = repository.repair(plan, &options(false)).unwrap();
    let took = begun.elapsed();
    println!("{number} chunks: plan {planned:?}, all {took:?}, {} MiB, {} bytes", peak_mib(), report.bytes_written);
    // The figure is that of an optimized build on a machine that does nothing else.
    assert!(cfg!(debug_assertions) || took < Duration::from_secs(10), "{took:?}");
    assert!(repository.repair_plan(&options(false)).unwrap().is_empty());
}
