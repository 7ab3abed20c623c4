//! Check: what it makes of index objects, however many chunks they list, and whatever they say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::{
    ChunkKind, ChunkRecord, DeltaRecord, Encoding, FrameRecord, FrameTable, Index, PackRecord, Reach,
};
use daykeep_engine::internals::hash;
use daykeep_engine::internals::pack::{Frame, PackBuilder};
use daykeep_engine::{CheckOptions, ObjectId, ObjectKind, ObjectName, ReadData};
use daykeep_tests::forge::{Forge, file, shorten, tree_writer};
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::Place;
use daykeep_tests::stores::replace;

use crate::meter;

fn id(number: u64) -> ObjectId {
    ObjectId::from_bytes(noise::random(number, 32).try_into().unwrap())
}

fn put_index(forge: &Forge, number: u64, packs: Vec<PackRecord>) -> ObjectId {
    let name = ObjectName::new(ObjectKind::Index, id(number));
    forge.store.put(&name, &forge.codec.seal_object(&name, &Index { packs }.encode()).unwrap()).unwrap();
    name.id
}

/// So many chunks lie in a pack of [`put_pack`].
const CHUNKS: u64 = 8192;

/// Stores a pack of chunks of eight bytes.
fn put_pack(forge: &Forge, number: u64) -> PackRecord {
    let mut builder = PackBuilder::new(&forge.codec, id(number), 2 << 20, Vec::new());
    let ids = forge.codec.keys.ids(ChunkKind::Data);
    let record = |body: [u8; 8]| {
        let id = hash::chunk_id(ids, &body);
        ChunkRecord { id, kind: ChunkKind::Data, bytes: 8, delta: None }
    };
    for first in (number * CHUNKS..(number + 1) * CHUNKS).step_by(4096) {
        let bodies = (first..first + 4096).map(u64::to_le_bytes);
        let (body, chunks): (Vec<[u8; 8]>, Vec<_>) = bodies.map(|body| (body, record(body))).unzip();
        builder.append(&Frame { encoding: Encoding::Raw, body: body.as_flattened(), chunks: &chunks }).unwrap();
    }
    let pack = builder.finish().unwrap();
    forge.store.put(&ObjectName::new(ObjectKind::Pack, pack.id), pack.as_bytes()).unwrap();
    PackRecord { id: pack.id, bytes: pack.as_bytes().len() as u32, table: shorten(&pack.table) }
}

/// Returns what a check holds at once of a repository of so many packs, each of which two index objects list: of a check that
/// reads them, or of one that reads none after one was cut, whichever holds more.
fn peak(packs: u64) -> usize {
    let forge = Forge::new();
    let mut last = None;
    for number in 0..packs {
        let record = last.insert(put_pack(&forge, number));
        put_index(&forge, 2 * number, vec![record.clone()]);
        put_index(&forge, 2 * number + 1, vec![record.clone()]);
    }
    let place = Place::of_store(forge.store.clone());
    let repository = place.open();
    let check = |read_data, wanted| {
        let mut options = CheckOptions::default();
        options.read_data = read_data;
        meter::peak_of(|| {
            let report = repository.check(&options).unwrap();
            assert_eq!((report.errors.len(), report.chunks, report.packs_read), wanted, "{:?}", report.errors);
        })
    };
    let whole = check(ReadData::All, (0, packs * CHUNKS, packs));
    let name = ObjectName::new(ObjectKind::Pack, last.unwrap().id);
    replace(forge.store.as_ref(), &name, &[0; 1000]);
    whole.max(check(ReadData::None, (2, (packs - 1) * CHUNKS, 0)))
}

/// A full index object lists eight such packs, and as much is held at once.
#[test]
fn memory_does_not_grow_with_the_chunks() {
    let (few, many) = (peak(9), peak(20));
    let records = 11 * CHUNKS as usize * size_of::<ChunkRecord<ShortId>>();
    assert!(many < few + records / 3, "{few} bytes, then {many}, where the records take {records} more");
}

/// The end of what is said of a delta without a base.
const STANDS: &str = "stands on a chunk that is missing; the files that need it are named";

/// What a [`World`] says of a chunk, in one copy of it.
#[derive(Clone, Debug)]
struct Known {
    pack: ObjectId,
    kind: ChunkKind,
    delta: Option<Box<DeltaRecord>>,
}

/// Packs of which only the index objects tell, which say whatever they like, and a file for most chunks.
struct World {
    forge: Forge,
    /// What each index object says.
    indexes: HashMap<ObjectId, Vec<PackRecord>>,
    /// The chunk of each file.
    files: Vec<(String, ShortId)>,
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let mut forge = Forge::new();
        let mut ids: Vec<ShortId> = Vec::new();
        let (mut packs, mut depths, mut kinds) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for number in 0..7 {
            let mut chunks: Vec<ChunkRecord<ShortId>> = Vec::new();
            for _ in 0..1 + rng.below(8) {
                let id = match ids.get(rng.below(40)) {
                    // Another copy of a chunk.
                    Some(id) if rng.below(2) == 0 && number == 6 && chunks.iter().all(|c| c.id != *id) => *id,
                    _ => ShortId::from_bytes(noise::random(rng.next(), 16).try_into().unwrap()),
                };
                let bases: Vec<ShortId> =
                    (0..rng.below(4)).filter_map(|_| ids.get(rng.below(ids.len().max(1) + 1)).copied()).collect();
                let honest = 1 + bases.iter().map(|id| depths[id]).max().unwrap_or_default();
                let depth = if rng.below(12) == 0 { 1 + rng.below(5) as u8 } else { honest };
                let prefix = |id: &ShortId| *id.as_bytes().first_chunk().unwrap();
                let mut bases: Vec<_> = bases.iter().map(prefix).collect();
                if rng.below(40) == 0 {
                    bases.resize(2, [7; 8]);
                }
                let reach = Reach { depth, closure: 31 };
                let delta = Some(Box::new(DeltaRecord { bytes: 100, reach, bases })).filter(|d| !d.bases.is_empty());
                // Ids are keyed by kind, so copies are of one.
                let drawn = if rng.below(20) == 0 { ChunkKind::List } else { ChunkKind::Data };
                let kind = *kinds.entry(id).or_insert(drawn);
                depths.insert(id, delta.as_ref().map_or(0, |delta| delta.reach.depth));
                if !ids.contains(&id) {
                    ids.push(id);
                }
                chunks.push(ChunkRecord { id, kind, bytes: if delta.is_some() { 10 } else { 100 }, delta });
            }
            let plain_bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
            let (encoding, sealed_bytes) = (Encoding::Raw, plain_bytes + 16);
            let frame = FrameRecord { encoding, sealed_bytes, plain_bytes, chunks: chunks.len() as u32 };
            let table = FrameTable { frames: vec![frame], chunks };
            packs.push(PackRecord { id: id(1000 + number), bytes: table.end() as u32 + 40, table });
        }
        let is_bad = rng.below(3) > 0;
        for record in &packs {
            let stored = match rng.below(12) {
                0 if is_bad => continue,
                1 if is_bad => record.bytes - 1,
                _ => record.bytes,
            };
            forge.store.put(&ObjectName::new(ObjectKind::Pack, record.id), &vec![0; stored as usize]).unwrap();
        }
        // Copies of a chunk are in index objects of their own, since it is open which of those in one counts.
        let copies = packs.pop().unwrap();
        let mut indexes = HashMap::from([(put_index(&forge, 100, vec![copies.clone()]), vec![copies])]);
        for number in 0..1 + rng.below(4) as u64 {
            let mut listed = Vec::new();
            for record in &packs {
                // As a rule once or not at all.
                for _ in 0..[0, 1, 1, 1, 1, 2][rng.below(6)] {
                    listed.push(Self::said(rng, record));
                }
            }
            indexes.insert(put_index(&forge, number, listed.clone()), listed);
        }
        let (mut out, mut files, often) = (tree_writer(), Vec::new(), [1, 8][rng.below(2)]);
        for (number, id) in ids.iter().enumerate().filter(|(_, id)| kinds[id] == ChunkKind::Data) {
            if rng.below(10) < often {
                let name = format!("file-{number:03}");
                let parts = vec![Part::Chunk { id: *id, bytes: 100 }];
                file(&mut out, name.as_bytes(), &Content { level: 0, parts });
                files.push((name, *id));
            }
        }
        let root = forge.tree(&out.finish());
        forge.snapshot(root);
        Self { forge, indexes, files }
    }

    /// Returns what an index object says of a pack: the truth, but some of it void, or a lie.
    fn said(rng: &mut Rng, record: &PackRecord) -> PackRecord {
        let mut record = record.clone();
        for chunk in record.table.chunks.iter_mut().filter(|_| rng.below(8) == 0) {
            chunk.id = ShortId::from_bytes([0; 16]);
        }
        match rng.below(30) {
            0 => record.table.chunks[0].id = ShortId::from_bytes(noise::random(rng.next(), 16).try_into().unwrap()),
            1 => record.bytes += 1,
            2 => record.table = FrameTable::default(),
            _ => {}
        }
        record
    }

    /// Returns all errors, those of files by their names, and the notes: the slow and obvious way.
    fn wanted(&self) -> (Vec<String>, Vec<String>) {
        let list = |kind| self.forge.store.list(kind).unwrap();
        let stored: BTreeMap<ObjectId, u64> = list(ObjectKind::Pack).into_iter().collect();
        let order: Vec<ObjectId> = list(ObjectKind::Index).into_iter().map(|(id, _)| id).collect();
        let records = || order.iter().flat_map(|id| self.indexes.get(id).into_iter().flatten().map(move |r| (id, r)));
        let (mut errors, mut merged) = (Vec::new(), BTreeMap::<ObjectId, PackRecord>::new());
        let (mut catalog, mut lengths) = (BTreeMap::<ShortId, Known>::new(), BTreeMap::new());
        let known = |chunk: &ChunkRecord<ShortId>, pack| Known { pack, kind: chunk.kind, delta: chunk.delta.clone() };
        for (index, record) in records() {
            let pack = record.id;
            let (found, chunks) = (stored.get(&pack), record.table.chunks.iter().filter(|chunk| !chunk.is_void()));
            match found {
                _ if record.is_condemned() => {}
                None => errors.push(format!("packs/{pack}: missing; index/{index} lists it")),
                Some(&bytes) if bytes != u64::from(record.bytes) => {
                    errors.push(format!("packs/{pack}: has {bytes} bytes where index/{index} names {}", record.bytes));
                }
                Some(_) => catalog.extend(chunks.map(|chunk| (chunk.id, known(chunk, pack)))),
            }
            lengths.entry(pack).or_insert(record.bytes);
            let Some(before) = merged.get_mut(&pack) else {
                merged.insert(pack, record.clone());
                continue;
            };
            let pairs = before.table.chunks.iter_mut().zip(&record.table.chunks);
            let void = |(one, other): (&mut ChunkRecord<ShortId>, &ChunkRecord<ShortId>)| {
                let is_same = one.id == other.id || one.is_void() || other.is_void();
                one.id = if other.is_void() { other.id } else { one.id };
                is_same
            };
            let are_same = pairs.map(void).fold(true, |all, is_same| all & is_same);
            if !are_same || before.bytes != record.bytes || before.table.frames != record.table.frames {
                errors.push(format!("index/{index}: lists other chunks in packs/{pack} than another index does"));
            }
        }
        let base = |catalog: &BTreeMap<ShortId, Known>, prefix: &[u8; 8]| {
            catalog.iter().find(|(id, _)| id.as_bytes().starts_with(prefix)).map(|(id, known)| (*id, known.clone()))
        };
        let has_bases = |catalog: &BTreeMap<ShortId, Known>, known: &Known| {
            known.delta.as_ref().is_none_or(|delta| delta.bases.iter().all(|prefix| base(catalog, prefix).is_some()))
        };
        let (mut is_changed, before) = (true, catalog.len());
        while is_changed {
            let gone: Vec<_> =
                catalog.iter().filter(|(_, known)| !has_bases(&catalog, known)).map(|(id, _)| *id).collect();
            gone.iter().for_each(|id| drop(catalog.remove(id)));
            is_changed = !gone.is_empty();
        }
        // What was taken out may be elsewhere too.
        let mut is_changed = catalog.len() < before;
        while is_changed {
            is_changed = false;
            for index in &order {
                let records = self.indexes.get(index).into_iter().flatten();
                let there = records.filter(|record| stored.get(&record.id) == Some(&u64::from(lengths[&record.id])));
                let chunks = there.flat_map(|record| record.table.chunks.iter().map(|chunk| (record.id, chunk)));
                let others = chunks.filter(|(_, chunk)| !chunk.is_void() && !catalog.contains_key(&chunk.id));
                let others = others.map(|(pack, chunk)| (chunk.id, known(chunk, pack)));
                let others: Vec<_> = others.filter(|(_, known)| has_bases(&catalog, known)).collect();
                is_changed |= !others.is_empty();
                catalog.extend(others);
            }
        }
        let (mut hurt, mut unfounded) = (BTreeSet::new(), BTreeSet::new());
        for depth in 1..=31 {
            for record in merged.values().filter(|record| stored.contains_key(&record.id)) {
                let (pack, chunks) = (record.id, record.table.chunks.iter().filter(|chunk| !chunk.is_void()));
                for (chunk, delta) in chunks.filter_map(|chunk| Some((chunk, chunk.delta.as_ref()?))) {
                    match catalog.get(&chunk.id) {
                        None => drop(unfounded.insert(chunk.id)),
                        Some(known) if known.pack == pack && delta.reach.depth == depth => {
                            for (id, base) in delta.bases.iter().filter_map(|prefix| base(&catalog, prefix)) {
                                let base_depth = base.delta.map_or(0, |delta| delta.reach.depth);
                                let is_impossible = base_depth >= depth || base.kind != chunk.kind;
                                if is_impossible {
                                    let id = chunk.id;
                                    errors
                                        .push(format!("packs/{pack}: chunk {id} names a base that cannot be its base"));
                                }
                                if is_impossible || hurt.contains(&id) {
                                    hurt.insert(chunk.id);
                                    break;
                                }
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        let is_lost = |id: &ShortId| hurt.contains(id) || !catalog.contains_key(id);
        let lost: Vec<&String> = self.files.iter().filter(|(_, id)| is_lost(id)).map(|(name, _)| name).collect();
        let mut notes = Vec::new();
        let unlisted = stored.len() - merged.keys().filter(|id| stored.contains_key(id)).count();
        // The tree's own pack is listed by an index object of which nothing is known here.
        if unlisted > 1 {
            let (packs, them) = if unlisted == 2 { ("pack is", "it") } else { ("packs are", "them") };
            notes.push(format!(
                "{} {packs} in no index: an interrupted backup left {them}, or an index object is gone, which `daykeep repair` \
                 makes anew",
                unlisted - 1
            ));
        }
        if !lost.is_empty() {
            errors.extend(unfounded.iter().map(|id| format!("chunk {id} {STANDS}")));
        } else if !unfounded.is_empty() {
            let count = unfounded.len();
            notes.push(format!("{count} deltas that no file needs stand on chunks that are gone; prune removes them"));
        }
        errors.extend(lost.into_iter().map(|name| format!("/{name}")));
        errors.sort();
        (errors, notes)
    }
}

/// Whatever index objects say, the check answers as one that holds everything they say in memory.
#[test]
fn the_answers_are_those_of_a_model() {
    let mut seen = BTreeMap::<&str, usize>::new();
    let seeds = Seed::wanted().map_or(0..if is_long() { 20_000 } else { 400 }, |seed| seed..seed + 1);
    let is_one = seeds.end - seeds.start == 1;
    for seed in seeds.map(Seed) {
        let world = World::new(&mut Rng::new(seed.0));
        let place = Place::of_store(world.forge.store.clone());
        let repository = place.open();
        let report = repository.check(&CheckOptions::default()).unwrap();
        let (errors, mut notes) = world.wanted();
        let mut found: Vec<String> = report.errors.clone();
        for error in &mut found {
            if error.starts_with("/file-") {
                error.truncate("/file-000".len());
            } else if error.ends_with(STANDS) {
                // Of two copies in which this is so, either pack may be named.
                error.drain(..format!("packs/{}: ", id(0)).len());
            }
        }
        found.sort();
        let mut found_notes = report.notes.clone();
        notes.sort();
        found_notes.sort();
        assert_eq!((&found, &found_notes), (&errors, &notes), "{:#?}", report.errors);
        for what in ["missing; index", "bytes where", "lists other", "cannot be its base", STANDS, "/file-"] {
            *seen.entry(what).or_default() += usize::from(errors.iter().any(|error| error.contains(what)));
        }
        for what in ["deltas that no file needs", "in no index"] {
            *seen.entry(what).or_default() += usize::from(notes.iter().any(|note| note.contains(what)));
        }
        *seen.entry("none").or_default() += usize::from(errors.is_empty());
    }
    assert!(is_one || seen.values().all(|&times| times > 0), "{seen:?}");
}
