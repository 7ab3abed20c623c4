//! Parity: what a disk loses of packs heals, byte for byte, in whatever reads them and for good in `check --repair`; what is
//! beyond it is lost as without, and never other than it was.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use daykeep_engine::internals::base::ChunkId;
use daykeep_engine::internals::base::limits::{FRAME_BYTES_MAX, PACK_BYTES_MIN};
use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::crypt::{Keys, MasterKey};
use daykeep_engine::internals::format::index::{ChunkKind, ChunkRecord, Encoding};
use daykeep_engine::internals::format::pack::{Footer, TRAILER_BYTES, Trailer, padme};
use daykeep_engine::internals::format::parity::{CHECK_BYTES, Geometry, SHARD_BYTES};
use daykeep_engine::internals::pack::{Frame, PackBuilder, pack_bytes, read_footer, verify};
use daykeep_engine::internals::parity;
use daykeep_engine::{
    Access, BackupOptions, CheckOptions, CheckReport, CopyOptions, DirectoryStore, Error, Event, ObjectId, ObjectKind,
    ObjectName, OpenOptions, PruneOptions, ReadData, RedbStore, RepairOptions, Repository, RepositoryId,
    RestoreOptions, SnapshotPath, Store,
};
use daykeep_tests::faults::{Fault, Hits};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{Rng, random, text};
use daykeep_tests::place::{
    Kind, Place, assert_clean, assert_restores, back_up, below, check_all, key, secret, temp, try_restore,
};
use daykeep_tests::power::{DirectoryDisk, Disk, Habits, RedbDisk, StoreDisk};
use daykeep_tests::stores::{BadSectors, OBJECT_BYTES_MAX, objects};
use proptest::prelude::*;

fn config() -> ProptestConfig {
    let cases = if is_long() { 5000 } else { 60 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Returns a pack of random bytes with its parity.
fn pack(protected: usize, percent: u8, seed: u64) -> (Vec<u8>, Geometry) {
    let geometry = Geometry::of_protected(protected, percent);
    let mut pack = random(seed, geometry.bytes());
    parity::write(&mut pack, &geometry).unwrap();
    (pack, geometry)
}

/// Returns where the bytes of a shard lie, the recovery shards counted after the data shards. The trailer is passed over.
fn place(geometry: &Geometry, shard: usize) -> Range<usize> {
    let body = geometry.protected - TRAILER_BYTES;
    match shard.checked_sub(geometry.data) {
        None => (shard * SHARD_BYTES).min(body)..((shard + 1) * SHARD_BYTES).min(body),
        Some(number) => {
            let at = body + geometry.table_bytes() + number * SHARD_BYTES;
            at..at + SHARD_BYTES
        }
    }
}

/// Changes a byte of each of so many shards; only those that have bytes of their own.
fn hurt(pack: &mut [u8], geometry: &Geometry, count: usize, rng: &mut Rng) -> usize {
    let mut shards: Vec<usize> = (0..geometry.data + geometry.recovery).collect();
    shards.retain(|shard| !place(geometry, *shard).is_empty());
    let mut done = 0;
    while done < count && !shards.is_empty() {
        let place = place(geometry, shards.swap_remove(rng.below(shards.len())));
        pack[place.start + rng.below(place.len())] ^= 1 + rng.below(255) as u8;
        done += 1;
    }
    done
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_is_within_the_parity_heals(protected in 80usize..400_000, percent in 1u8..=100, seed in any::<u64>(), share in 0.0f64..=1.0) {
        let (whole, geometry) = pack(protected, percent, seed);
        let (mut found, mut rng) = (whole.clone(), Rng::new(seed));
        prop_assert!(parity::is_intact(&whole, &geometry));
        let done = hurt(&mut found, &geometry, (geometry.recovery as f64 * share) as usize, &mut rng);
        // One of the tables may be lost beside it, and the other whole or not where that is.
        let (body, table) = (geometry.protected - TRAILER_BYTES, geometry.table_bytes());
        match rng.below(3) {
            0 => found[body..body + table].fill(0),
            1 => found[geometry.bytes() - TRAILER_BYTES - table..geometry.bytes() - TRAILER_BYTES].fill(0xaa),
            _ => {}
        }
        prop_assert_eq!(parity::is_intact(&found, &geometry), found == whole);
        prop_assert!(parity::heal(&mut found, &geometry), "{} of {:?}", done, geometry);
        prop_assert!(found == whole);
    }

    #[test]
    fn what_is_beyond_it_is_refused(protected in 20_000usize..200_000, percent in 1u8..=60, seed in any::<u64>(), more in 1usize..5) {
        let (whole, geometry) = pack(protected, percent, seed);
        let mut found = whole.clone();
        let wanted = geometry.recovery + more;
        // Only data shards, so that as many are lost as are hurt.
        prop_assume!(wanted < geometry.data);
        for shard in 0..wanted {
            found[place(&geometry, shard).start] ^= 1;
        }
        let hurt = found.clone();
        prop_assert!(!parity::heal(&mut found, &geometry));
        prop_assert!(found == hurt, "nothing was changed");
    }

    #[test]
    fn a_lost_sector_heals_wherever_it_lies(protected in 80usize..60_000, at in any::<usize>(), percent in 1u8..=20) {
        let (whole, geometry) = pack(protected, percent, 1);
        let at = at % geometry.bytes();
        let mut found = whole.clone();
        let end = (at + SHARD_BYTES).min(found.len());
        found[at..end].fill(0);
        prop_assert!(parity::heal(&mut found, &geometry));
        prop_assert!(found == whole);
    }
}

/// All that a sector can touch of the smallest packs and around the end of the protected bytes, one by one.
#[test]
fn a_sector_at_every_offset_heals() {
    for protected in [80, 4095, 4096, 4097, 4112, 8192, 8200, 3 * 4096 + 9] {
        let (whole, geometry) = pack(protected, 1, 2);
        let step = if is_long() { 7 } else { 61 };
        for at in (0..geometry.bytes()).step_by(step) {
            let mut found = whole.clone();
            let end = (at + SHARD_BYTES).min(found.len());
            found[at..end].fill(0x55);
            assert!(parity::heal(&mut found, &geometry), "{protected}: sector at {at}");
            assert!(found == whole, "{protected}: sector at {at}");
        }
    }
}

/// Both copies of an entry are hit: then the shard counts as lost, and that is all.
#[test]
fn an_entry_lost_in_both_tables_costs_a_shard() {
    let (whole, geometry) = pack(100_000, 10, 3);
    let mut found = whole.clone();
    let (first, second) =
        (geometry.protected - TRAILER_BYTES, geometry.bytes() - TRAILER_BYTES - geometry.table_bytes());
    for entry in 0..geometry.recovery {
        found[first + entry * CHECK_BYTES] ^= 1;
        found[second + entry * CHECK_BYTES] ^= 1;
    }
    assert!(parity::heal(&mut found, &geometry));
    assert!(found == whole);
    // One more, and there is not enough.
    for entry in 0..=geometry.recovery {
        found[first + entry * CHECK_BYTES] ^= 1;
        found[second + entry * CHECK_BYTES] ^= 1;
    }
    assert!(!parity::heal(&mut found, &geometry));
}

/// A repository with parity and two snapshots of a tree whose packs are of every sort: media, text, pages and deltas.
struct World {
    place: Place,
    packs: Vec<(ObjectName, Vec<u8>)>,
    snapshots: Vec<(ObjectId, Inventory)>,
}

const PERCENT: u8 = 5;

impl World {
    fn new(kind: Kind) -> Self {
        let place = Place::with_parity(kind, PERCENT);
        let source = place.path("source");
        std::fs::create_dir_all(source.join("folder")).unwrap();
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0];
        jpeg.extend(random(1, 900_000));
        std::fs::write(source.join("photo.jpg"), jpeg).unwrap();
        (0..8).for_each(|n| std::fs::write(source.join(format!("noise{n}")), random(100 + n, 60_000)).unwrap());
        let mut notes = text(2, 300_000);
        std::fs::write(source.join("folder/notes"), &notes).unwrap();
        let repository = place.open();
        let first = back_up(&repository, &source).snapshot.unwrap();
        let mut snapshots = vec![(first, read(&source))];
        notes.splice(1000..1010, *b"a few words that were not there");
        std::fs::write(source.join("folder/notes"), &notes).unwrap();
        snapshots.push((back_up(&repository, &source).snapshot.unwrap(), read(&source)));
        assert_clean(&repository);
        drop(repository);
        let mut world = Self { place, packs: Vec::new(), snapshots };
        world.packs = world.packs_now();
        assert!(world.packs.len() >= 3, "{}", world.packs.len());
        for (name, bytes) in &world.packs {
            let protected = Geometry::of_pack(bytes.len(), PERCENT).unwrap().protected as u64;
            assert_eq!(padme(protected), protected, "{name} is padded");
        }
        world
    }

    fn store(&self) -> Arc<dyn Store> {
        match self.place.kind {
            Kind::Directory => Arc::new(DirectoryStore::open(&self.place.path("repository"), Access::Write).unwrap()),
            Kind::Redb => {
                let path = self.place.path("repository.redb");
                Arc::new(RedbStore::open(&path, Access::Write, 8 << 20).unwrap())
            }
            Kind::Memory => self.place.store(),
        }
    }

    fn packs_now(&self) -> Vec<(ObjectName, Vec<u8>)> {
        let mut all = objects(self.store().as_ref());
        all.retain(|(name, _)| name.kind == ObjectKind::Pack);
        all
    }

    /// Puts a changed form of every pack in its place.
    fn hurt(&self, mut change: impl FnMut(&mut Vec<u8>, &Geometry)) {
        let store = self.store();
        for (name, bytes) in &self.packs {
            let mut hurt = bytes.clone();
            change(&mut hurt, &Geometry::of_pack(bytes.len(), PERCENT).unwrap());
            store.replace(name, &hurt).unwrap();
        }
        store.sync().unwrap();
    }

    fn assert_restores_with_warnings(&self, what: &str) {
        let (repository, told) = (self.place.open(), Arc::new(Mutex::new(Vec::new())));
        let mut healed = 0;
        for (id, wanted) in &self.snapshots {
            let (target, told) = (temp(), told.clone());
            let mut options = RestoreOptions::default();
            options.observer = Some(Arc::new(move |event: &Event| {
                if let Event::Warning { object, message, .. } = event {
                    told.lock().unwrap().push((object.clone(), message.clone()));
                }
            }));
            let path = SnapshotPath::parse(id.to_string().as_bytes()).unwrap();
            let report = repository.restore(&path, target.path(), &options).unwrap();
            assert_eq!(report.warnings, [], "{what}");
            healed += report.packs_healed;
            assert_same(wanted, &read(&below(target.path(), &self.place.path("source"))));
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len() as u64, healed, "{what}: {told:?}");
        for (object, message) in told.iter() {
            assert!(self.packs.iter().any(|(name, _)| name.to_string() == *object), "{what}: {object}");
            assert!(message.contains("check --repair"), "{what}: {message}");
        }
    }
}

fn check(repository: &Repository, read_data: ReadData, repair: bool) -> CheckReport {
    let mut options = CheckOptions::default();
    (options.read_data, options.repair) = (read_data, repair);
    repository.check(&options).unwrap()
}

type Change = fn(&mut Vec<u8>, &Geometry, &mut Rng);

/// Every sort of damage that the parity of any pack is enough for.
const CHANGES: [(&str, Change); 10] = [
    ("flipped bytes", |pack, geometry, rng| {
        hurt(pack, geometry, geometry.recovery, rng);
    }),
    ("one flipped bit", |pack, _, rng| {
        let at = rng.below(pack.len());
        pack[at] ^= 1 << rng.below(8);
    }),
    ("a sector of zeros", |pack, _, rng| {
        let at = rng.below(pack.len());
        let end = (at + SHARD_BYTES).min(pack.len());
        pack[at..end].fill(0);
    }),
    ("a short end", |pack, geometry, rng| {
        pack.truncate(pack.len() - 1 - rng.below(SHARD_BYTES.min(geometry.section_bytes())));
    }),
    ("a long end", |pack, _, rng| pack.extend(random(7, 1 + rng.below(10_000)))),
    ("no header", |pack, _, _| pack[..64].fill(0)),
    ("another trailer", |pack, _, rng| {
        let at = pack.len() - TRAILER_BYTES;
        pack[at..].copy_from_slice(&random(rng.next(), TRAILER_BYTES));
    }),
    ("a hurt footer", |pack, geometry, rng| {
        let footer = Trailer::decode(&pack[pack.len() - TRAILER_BYTES..]).unwrap().footer_bytes as usize;
        pack[geometry.protected - TRAILER_BYTES - 1 - rng.below(footer)] ^= 1;
    }),
    ("no first table", |pack, geometry, _| {
        let body = geometry.protected - TRAILER_BYTES;
        pack[body..body + geometry.table_bytes()].fill(0);
    }),
    ("no second table", |pack, geometry, _| {
        let end = pack.len() - TRAILER_BYTES;
        pack[end - geometry.table_bytes()..end].fill(0xff);
    }),
];

#[test]
fn every_sort_of_damage_heals_in_every_pack() {
    let mut rng = Rng::new(11);
    for kind in Kind::ON_DISK {
        let world = World::new(kind);
        let turns = if is_long() { 50 } else { 1 };
        for (what, change) in (0..turns).flat_map(|_| CHANGES) {
            let what = format!("{kind:?}: {what}");
            world.hurt(|pack, geometry| change(pack, geometry, &mut rng));
            world.assert_restores_with_warnings(&what);
            let hurt = world.packs_now();
            let count = world.packs.iter().zip(&hurt).filter(|(old, new)| old != new).count() as u64;
            let repository = world.place.open();
            let report = check(&repository, ReadData::All, false);
            assert_eq!((report.files_hurt, report.objects_healable, report.objects_healed), (0, count, 0), "{what}");
            assert_eq!(report.errors.len() as u64, count, "{what}: {:?}", report.errors);
            for ((name, _), _) in world.packs.iter().zip(&hurt).filter(|(old, new)| old != new) {
                let named = report.errors.iter().find(|error| error.starts_with(&format!("{name}: "))).unwrap();
                assert!(named.contains("check --repair") && !named.contains(": 0 "), "{what}: {named}");
            }
            let report = check(&repository, ReadData::All, true);
            assert_eq!(report.errors, [""; 0], "{what}");
            assert_eq!((report.objects_healable, report.objects_healed), (0, count), "{what}");
            drop(repository);
            assert!(world.packs_now() == world.packs, "{what}: the bytes are what they were");
            assert_clean(&world.place.open());
        }
    }
}

#[test]
fn a_repair_that_reads_no_data_heals_what_it_meets() {
    let world = World::new(Kind::Memory);
    world.hurt(|pack, _| pack.truncate(pack.len() - 100));
    let repository = world.place.open();
    let report = check(&repository, ReadData::None, false);
    assert_eq!((report.objects_healable, report.errors.len()), (world.packs.len() as u64, world.packs.len()));
    assert_eq!(check(&repository, ReadData::None, true).errors, [""; 0]);
    assert!(world.packs_now() == world.packs);
    // Some packs only: the others stay as they are until they are read.
    world.hurt(|pack, geometry| pack[geometry.protected + 9] ^= 1);
    assert_eq!(check(&repository, ReadData::None, true).objects_healed, 0);
    let healed: u64 =
        (1..=3).map(|number| check(&repository, ReadData::Part { number, of: 3 }, true).objects_healed).sum();
    assert_eq!(healed, world.packs.len() as u64);
    assert!(world.packs_now() == world.packs);
}

#[test]
fn a_repair_needs_to_write() {
    let place = Place::with_parity(Kind::Memory, PERCENT);
    let repository = place.try_open(Access::Read).unwrap();
    let mut options = CheckOptions::default();
    options.repair = true;
    assert!(repository.check(&options).unwrap_err().to_string().contains("opened for reading"));
}

/// Beyond what the parity is for, a pack is hurt as it would be without: its files are lost, named, and no others.
#[test]
fn what_is_beyond_the_parity_is_named_and_nothing_else_is_lost() {
    let world = World::new(Kind::Memory);
    let (name, bytes) = world.packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let geometry = Geometry::of_pack(bytes.len(), PERCENT).unwrap();
    assert!(geometry.data > 2 * geometry.recovery + 20);
    let mut hurt = bytes.clone();
    for shard in 10..11 + geometry.recovery {
        let place = place(&geometry, shard);
        hurt[place].fill(0);
    }
    let store = world.store();
    store.replace(name, &hurt).unwrap();
    // Another one that heals does so all the same.
    let (other, whole) = world.packs.iter().find(|(other, _)| other != name).unwrap();
    let mut flipped = whole.clone();
    flipped[70] ^= 1;
    store.replace(other, &flipped).unwrap();
    let repository = world.place.open();
    let report = check(&repository, ReadData::All, true);
    assert_eq!(report.objects_healed, 1);
    assert_eq!(store.get(other, OBJECT_BYTES_MAX).unwrap(), *whole);
    assert_eq!(store.get(name, OBJECT_BYTES_MAX).unwrap(), hurt, "what does not heal stays as it is");
    let (objects, files): (Vec<_>, Vec<_>) = report.errors.iter().partition(|error| error.starts_with("packs/"));
    assert!(objects.len() == 1 && objects[0].starts_with(&name.to_string()), "{objects:?}");
    assert!(objects[0].contains("`daykeep repair`"), "{objects:?}");
    assert!(!files.is_empty() && report.files_hurt == files.len() as u64);
    let (id, wanted) = &world.snapshots[1];
    let target = temp();
    let restored = try_restore(&repository, &id.to_string(), target.path()).unwrap();
    assert_eq!(restored.packs_healed, 0);
    assert!(restored.warnings.len() >= 2 && restored.warnings.len() < wanted.len(), "{:?}", restored.warnings);
    for (path, _) in &restored.warnings {
        assert!(files.iter().any(|error| error.starts_with(&format!("{path}: "))), "{path} is named: {files:?}");
    }
    let found = read(&below(target.path(), &world.place.path("source")));
    for (path, item) in wanted.iter().filter(|(_, item)| item.kind == '-') {
        let is_lost = restored.warnings.iter().any(|(lost, _)| lost.as_bytes().ends_with(path));
        assert!(is_lost || found.get(path).is_some_and(|found| found.content == item.content), "{path:?}");
    }
}

/// All that reads packs goes on as if nothing were hurt.
#[test]
fn every_operation_heals_what_it_reads() {
    let mut count = 0;
    let flip = |pack: &mut Vec<u8>, _: &Geometry| {
        count += 1;
        // In every other pack the footer can still be had, and only frames do not open.
        let at = pack.len() / 3;
        for at in [70, at, 40 * (count % 2)] {
            pack[at] ^= u8::from(at > 0);
        }
    };
    // A copy: the target has parity of its own.
    let world = World::new(Kind::Memory);
    world.hurt(flip);
    let target = Place::with_parity(Kind::Memory, 20);
    let (from, to) = (world.place.open(), target.open());
    assert_eq!(from.copy_to(&to, &[], &CopyOptions::default()).unwrap().copied.len(), 2);
    assert_clean(&to);
    for (id, bytes) in objects(target.store().as_ref()).into_iter().filter(|(name, _)| name.kind == ObjectKind::Pack) {
        assert!(Geometry::of_pack(bytes.len(), 20).is_some(), "{id}");
    }
    assert_restores(&to, "latest", &world.place.path("source"), &world.snapshots[1].1);
    // A backup, whose deltas stand on what is there. It leaves parts of every pack without use.
    let source = world.place.path("source");
    (0..4).for_each(|n| std::fs::remove_file(source.join(format!("noise{n}"))).unwrap());
    let mut notes = std::fs::read(source.join("folder/notes")).unwrap();
    notes.splice(200_000..200_001, *b"and more");
    std::fs::write(source.join("folder/notes"), notes).unwrap();
    let report = from.backup(&[&source], &BackupOptions::default()).unwrap();
    assert!(report.warnings.is_empty() && report.counts.bytes_new < 100_000, "{report:?}");
    assert_restores(&from, "latest", &source, &read(&source));
    drop(from);
    // A repair finds nothing lost, and leaves the rest to the check.
    let mut repository = world.place.open();
    for rebuild_index in [false, true] {
        let mut options = RepairOptions::default();
        (options.read_data, options.rebuild_index) = (true, rebuild_index);
        let plan = repository.repair_plan(&options).unwrap();
        assert_eq!((plan.figures.packs_hurt, plan.figures.packs_unreadable, plan.figures.lost), (0, 0, 0));
        assert!(plan.findings.iter().any(|finding| finding.contains("check --repair")), "{:?}", plan.findings);
        assert_eq!(plan.is_empty(), !rebuild_index, "{:?}", plan.findings);
        repository.repair(plan, &options).unwrap();
    }
    // A prune rewrites every pack.
    for (id, _) in &world.snapshots {
        world.store().delete(&ObjectName::new(ObjectKind::Snapshot, *id)).unwrap();
    }
    world.place.forget_seen();
    let mut options = PruneOptions::default();
    options.unused_percent_max = 0;
    let plan = repository.prune_plan(&options).unwrap();
    assert!(plan.figures.packs_repacked > 0, "{:?}", plan.figures);
    repository.prune(plan, &options).unwrap();
    let report = check(&repository, ReadData::All, true);
    assert_eq!(report.errors, [""; 0]);
    assert_clean(&repository);
    assert_restores(&repository, "latest", &source, &read(&source));
    for (name, bytes) in world.packs_now() {
        assert!(Geometry::of_pack(bytes.len(), PERCENT).is_some(), "{name}");
    }
}

/// A repository without parity is as before: no section, and damage is damage.
#[test]
fn without_parity_nothing_heals() {
    let place = Place::new(Kind::Memory);
    let source = place.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), random(1, 200_000)).unwrap();
    let repository = place.open();
    assert_eq!(repository.parity_percent(), 0);
    back_up(&repository, &source);
    for (name, bytes) in objects(place.store().as_ref()).into_iter().filter(|(name, _)| name.kind == ObjectKind::Pack) {
        assert_eq!(Trailer::decode(&bytes[bytes.len() - TRAILER_BYTES..]).unwrap().parity_bytes, 0);
        let mut hurt = bytes;
        hurt[100] ^= 1;
        place.store().replace(&name, &hurt).unwrap();
    }
    let report = check(&repository, ReadData::All, true);
    assert!(report.files_hurt > 0 && report.objects_healed == 0 && report.objects_healable == 0);
}

#[test]
fn sectors_that_cannot_be_read_heal_too() {
    let store = Arc::new(BadSectors::new(2 << 20));
    let options = OpenOptions::default().memory_bytes(64 << 20).parity_percent(PERCENT);
    let dir = temp();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("noise"), random(1, 700_000)).unwrap();
    std::fs::write(source.join("notes"), text(2, 50_000)).unwrap();
    let repository = Repository::create_in(store.clone(), &key(), None, &options).unwrap();
    back_up(&repository, &source);
    let packs = || {
        let mut all = objects(&store.inner);
        all.retain(|(name, _)| name.kind == ObjectKind::Pack);
        all
    };
    let (whole, mut rng) = (packs(), Rng::new(5));
    for _ in 0..if is_long() { 200 } else { 5 } {
        for (name, bytes) in &whole {
            let sector = rng.below(bytes.len().div_ceil(SHARD_BYTES)) as u64 * SHARD_BYTES as u64;
            store.bad.lock().unwrap().push((*name, sector..sector + SHARD_BYTES as u64));
            // The sector is gone, whoever asks.
            let mut gone = bytes.clone();
            let end = (sector as usize + SHARD_BYTES).min(gone.len());
            gone[sector as usize..end].fill(0);
            store.inner.replace(name, &gone).unwrap();
        }
        let repository = Repository::open_in(store.clone(), &secret(), Access::Write, &options).unwrap();
        assert_restores(&repository, "latest", &source, &read(&source));
        let report = check_all(&repository).unwrap();
        assert_eq!((report.files_hurt, report.objects_healable), (0, whole.len() as u64), "{:?}", report.errors);
        assert_eq!(check(&repository, ReadData::All, true).errors, [""; 0]);
        assert!(packs() == whole);
        assert_clean(&repository);
    }
}

/// However much parity there is, a frame of 1 MiB fits into the shortest packs of any store.
#[test]
fn the_longest_frame_fits_into_every_pack() {
    let (id, bytes) = (ObjectId::from_bytes([1; 32]), FRAME_BYTES_MAX as u32);
    let chunks = [ChunkRecord { id: ChunkId::from_bytes([2; 32]), kind: ChunkKind::Data, bytes, delta: None }];
    let body = random(4, FRAME_BYTES_MAX);
    for parity_percent in 0..=100 {
        let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
        let (repository, location) = (RepositoryId::from_bytes([3; 16]), "packs".to_owned());
        let codec = Codec { repository, location, keys, parity_percent };
        let bytes_max = pack_bytes(0, PACK_BYTES_MIN, parity_percent);
        let mut builder = PackBuilder::new(&codec, id, bytes_max, Vec::new());
        let frame = Frame { encoding: Encoding::Raw, body: &body, chunks: &chunks };
        assert!(builder.fits(&frame), "{parity_percent} %");
        builder.append(&frame).unwrap();
        let sealed = builder.finish().unwrap();
        assert!(sealed.as_bytes().len() <= bytes_max, "{parity_percent} %");
        let name = ObjectName::new(ObjectKind::Pack, id);
        assert_eq!(read_footer(&codec, &name, sealed.as_bytes()).unwrap().table, sealed.table);
    }
}

#[test]
fn a_repository_takes_as_much_more_as_it_has_parity() {
    for percent in [0, 1, 5, 50, 100] {
        let place = Place::with_parity(Kind::Directory, percent);
        let source = place.path("source");
        std::fs::create_dir(&source).unwrap();
        let mut video = b"\0\0\0\x18ftypmp42".to_vec();
        video.extend(random(3, 9 << 20));
        std::fs::write(source.join("video.mp4"), video).unwrap();
        let repository = place.open();
        assert_eq!(repository.parity_percent(), percent);
        back_up(&repository, &source);
        let report = assert_clean(&repository);
        let (least, most) = (9.0 * (1.0 + f64::from(percent) / 100.0), 9.7 * (1.0 + f64::from(percent) / 100.0));
        let found = report.bytes_read as f64 / f64::from(1 << 20);
        assert!(least < found && found < most + 0.1, "{percent} %: {found} MiB");
        assert_restores(&repository, "latest", &source, &read(&source));
    }
}

/// A power loss while packs are written back leaves each as it was or as it is to be, and the next check does the rest.
#[test]
fn the_power_may_be_lost_while_packs_are_written_back() {
    let sources = temp();
    std::fs::write(sources.path().join("noise"), random(1, 300_000)).unwrap();
    std::fs::write(sources.path().join("notes"), text(2, 50_000)).unwrap();
    let options = OpenOptions::default().memory_bytes(64 << 20);
    let habits = [(false, true, false), (true, false, false), (false, false, true)];
    let habits = habits.map(|(keeps_order, shows_unsynced, tears)| Habits { keeps_order, shows_unsynced, tears });
    let disks = habits.map(|habits| Box::new(StoreDisk::new(habits)) as Box<dyn Disk>);
    let mut rng = Rng::new(9);
    let files: [Box<dyn Disk>; 2] = [Box::new(RedbDisk::default()), Box::new(DirectoryDisk::new(true))];
    for disk in disks.into_iter().chain(files) {
        let store = disk.open().unwrap();
        let repository = Repository::create_in(store, &key(), None, &options.clone().parity_percent(PERCENT)).unwrap();
        (0..2).for_each(|n| {
            std::fs::write(sources.path().join("more"), random(50 + n, 30_000)).unwrap();
            back_up(&repository, sources.path());
        });
        drop(repository);
        let whole = objects(disk.open().unwrap().as_ref());
        let packs = whole.iter().filter(|(name, _)| name.kind == ObjectKind::Pack).count();
        assert!(packs >= 3);
        for calls in 0.. {
            let store = disk.open().unwrap();
            let mut hurt = whole.clone();
            for (name, bytes) in hurt.iter_mut().filter(|(name, _)| name.kind == ObjectKind::Pack) {
                bytes[100] ^= 1;
                store.replace(name, bytes).unwrap();
            }
            store.sync().unwrap();
            let repository = Repository::open_in(store, &secret(), Access::Write, &options).unwrap();
            disk.faults().plan(Fault::End, Hits::Once(calls));
            let mut check = CheckOptions::default();
            (check.read_data, check.repair) = (ReadData::All, true);
            let outcome = repository.check(&check);
            disk.lose_power(&mut rng);
            disk.faults().heal();
            drop(repository);
            let store = disk.open().unwrap();
            let left = objects(store.as_ref());
            assert_eq!(left.len(), whole.len());
            for ((left, hurt), whole) in left.iter().zip(&hurt).zip(&whole) {
                assert!(left == hurt || left == whole, "after {calls} calls {} is something else", left.0);
            }
            let repository = Repository::open_in(store, &secret(), Access::Write, &options).unwrap();
            assert_eq!(repository.check(&check).unwrap().errors, [""; 0]);
            assert_clean(&repository);
            if outcome.is_ok_and(|report| report.errors.is_empty()) {
                assert!(left == whole, "what was acknowledged is there");
                break;
            }
        }
    }
}

/// Lengths of parity that no writer names are refused, though the seal is right; so is parity that is none.
#[test]
fn hostile_parity_is_refused() {
    let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
    let (repository, location) = (RepositoryId::from_bytes([3; 16]), "hostile".to_owned());
    let codec = Codec { repository, location, keys, parity_percent: PERCENT };
    let name = ObjectName::new(ObjectKind::Pack, ObjectId::from_bytes([1; 32]));
    let footer = Footer::default().encode();
    let make = |parity_bytes: u32, section: usize| {
        let trailer = Trailer { footer_bytes: (footer.len() + 16) as u32, parity_bytes }.encode();
        let header = codec.header(&name);
        let mut pack = header.to_vec();
        pack.resize(header.len() + footer.len() + 16, 0);
        let associated = [header.as_slice(), &trailer].concat();
        codec.keys.object(&name).seal(64, &associated, &footer, &mut pack[64..]).unwrap();
        pack.resize(pack.len() + section, 0);
        pack.extend(trailer);
        pack
    };
    let section = Geometry::of_protected(make(0, 0).len(), PERCENT).section_bytes();
    assert!(verify(&codec, &name, &make(0, 0)).is_ok());
    let mut whole = make(section as u32, section);
    assert!(read_footer(&codec, &name, &whole).is_ok());
    assert!(verify(&codec, &name, &whole).unwrap_err().to_string().contains("its parity"));
    parity::write(&mut whole, &Geometry::of_pack(make(0, section).len(), PERCENT).unwrap()).unwrap();
    assert!(verify(&codec, &name, &whole).is_ok());
    for (parity_bytes, section) in [
        (0, section),
        (section as u32, 0),
        (section as u32, section - 1),
        (1, 1),
        (4112, 4112),
        (2 * 4112 + 16, 2 * 4112 + 16),
        // As many as nobody needs: more than there are data shards, and more than three.
        (4 * 4112 + 16, 4 * 4112 + 16),
        (u32::MAX, 100),
        (64 << 20, 100),
    ] {
        let pack = make(parity_bytes, section);
        let error = read_footer(&codec, &name, &pack).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{parity_bytes} of {section}: {error}");
    }
}
