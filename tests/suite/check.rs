//! Check: what it reads of the data, and what it says of damage.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::{
    Access, CheckOptions, CheckReport, Event, ObjectKind, ObjectName, OpenOptions, ReadData, Repository,
};
use daykeep_tests::forge::{Forge, directory, file, tree_writer};
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, back_up, check_all, secret, temp, try_restore};
use daykeep_tests::stores::{objects, replace};

fn check(repository: &Repository, read_data: ReadData, seed: Option<u64>) -> CheckReport {
    let mut options = CheckOptions::default();
    (options.read_data, options.seed) = (read_data, seed);
    repository.check(&options).unwrap()
}

/// A repository of some 40 packs.
fn many_packs() -> (Place, Vec<(ObjectName, u64)>) {
    let place = Place::new(Kind::Memory);
    let (source, repository) = (place.folder("source"), place.open());
    for number in 0..20 {
        fs::write(source.join("file"), noise::random(number, 50_000 + 30_000 * number as usize)).unwrap();
        back_up(&repository, &source);
    }
    let packs = place.store().list(ObjectKind::Pack).unwrap();
    (place, packs.into_iter().map(|(id, bytes)| (ObjectName::new(ObjectKind::Pack, id), bytes)).collect())
}

#[test]
fn the_parts_cover_all_packs_once() {
    let (place, packs) = many_packs();
    let repository = place.open();
    let all = check(&repository, ReadData::All, None);
    assert_eq!((all.packs_read, all.seed), (packs.len() as u64, None));
    for of in [1, 2, 7] {
        let read: Vec<CheckReport> =
            (1..=of).map(|number| check(&repository, ReadData::Part { number, of }, None)).collect();
        assert_eq!(read.iter().map(|report| report.packs_read).sum::<u64>(), packs.len() as u64);
        assert_eq!(read.iter().map(|report| report.bytes_read).sum::<u64>(), all.bytes_read);
    }
    // A pack that is hurt is found by one of them.
    for (name, _) in packs.iter().take(5) {
        let store = place.store();
        let whole = store.get(name, 64 << 20).unwrap();
        let mut hurt = whole.clone();
        hurt[100] ^= 1;
        replace(store.as_ref(), name, &hurt);
        let finds = |number: &u32| {
            let report = check(&repository, ReadData::Part { number: *number, of: 5 }, None);
            report.errors.iter().any(|error| error.starts_with(&name.to_string()))
        };
        assert_eq!((1..=5).filter(finds).count(), 1);
        replace(store.as_ref(), name, &whole);
    }
    let mut options = CheckOptions::default();
    for wrong in [ReadData::Part { number: 0, of: 3 }, ReadData::Part { number: 4, of: 3 }, ReadData::Percent(101)] {
        options.read_data = wrong;
        assert!(repository.check(&options).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_sample_has_the_share_that_was_asked_for_and_can_be_drawn_again() {
    let (place, packs) = many_packs();
    let repository = place.open();
    let all: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
    let longest = packs.iter().map(|(_, bytes)| *bytes).max().unwrap();
    for percent in [0, 5, 50, 100] {
        let report = check(&repository, ReadData::Percent(percent), Some(u64::from(percent)));
        let wanted = all * u64::from(percent) / 100;
        assert!((wanted..=wanted + longest).contains(&report.bytes_read), "{percent}%: {report:?}");
    }
    let report = check(&repository, ReadData::Bytes(1 << 20), None);
    assert!((1 << 20..=(1 << 20) + longest).contains(&report.bytes_read));
    let again = check(&repository, ReadData::Bytes(1 << 20), report.seed);
    assert_eq!(again.bytes_read, report.bytes_read);
    let sizes = (0..10).map(|seed| check(&repository, ReadData::Percent(5), Some(seed)).bytes_read);
    assert!(sizes.collect::<BTreeSet<_>>().len() > 1, "another seed draws other packs");
}

type Pairs = BTreeSet<(String, String)>;

/// Checks, and returns what is hurt as pairs of snapshot and path.
fn hurt(repository: &Repository) -> (CheckReport, Pairs) {
    let pairs = Arc::new(Mutex::new(Pairs::new()));
    let mut options = CheckOptions::default();
    options.read_data = ReadData::All;
    let seen = Arc::clone(&pairs);
    options.observer = Some(Arc::new(move |event: &Event| {
        if let Event::Hurt { path, snapshots, .. } = event {
            let path = String::from_utf8(path.clone()).unwrap();
            let mut seen = seen.lock().unwrap();
            snapshots.iter().for_each(|id| assert!(seen.insert((id.to_string(), path.clone())), "{path} came twice"));
        }
    }));
    let report = repository.check(&options).unwrap();
    let pairs = pairs.lock().unwrap().clone();
    (report, pairs)
}

/// What a check names is what a restore of each snapshot cannot bring back: no less and no more.
#[test]
fn what_is_named_is_what_cannot_be_restored() {
    let place = Place::new(Kind::Memory);
    let (source, store) = (place.folder("source"), place.store());
    fs::create_dir_all(source.join("folder/inner")).unwrap();
    fs::write(source.join("same"), noise::random(1, 300_000)).unwrap();
    fs::write(source.join("folder/inner/same"), noise::random(2, 5000)).unwrap();
    for day in 0..6u64 {
        let repository = place.open();
        fs::write(source.join(format!("folder/day-{}", day % 3)), noise::random(10 + day / 2, 200_000)).unwrap();
        fs::write(source.join("copy"), noise::random(10 + day / 2, 200_000)).unwrap();
        fs::write(source.join("small"), noise::text(20 + day, 3000)).unwrap();
        back_up(&repository, &source);
    }
    let packs: Vec<_> = objects(store.as_ref()).into_iter().filter(|(name, _)| name.kind == ObjectKind::Pack).collect();
    let (mut rng, mut shared, mut folders) = (Rng::new(7), 0, 0);
    for turn in 0..60 {
        let (name, whole) = &packs[turn % packs.len()];
        let mut damaged = whole.clone();
        damaged[rng.below(whole.len())] ^= 1;
        replace(store.as_ref(), name, &damaged);
        let repository = Repository::open_in(store.clone(), &secret(), Access::Read, &OpenOptions::default()).unwrap();
        let (report, named) = hurt(&repository);
        assert!(report.errors.iter().any(|error| error.starts_with(&name.to_string())), "{report:?}");
        let mut lost = Pairs::new();
        for snapshot in repository.snapshots().unwrap().0 {
            let (id, target) = (snapshot.id.to_string(), temp());
            match try_restore(&repository, &id, target.path()) {
                Ok(report) => lost.extend(report.warnings.into_iter().map(|(path, _)| (id.clone(), path))),
                Err(_) => assert!(lost.insert((id, String::new()))),
            }
        }
        let bare = |(id, path): &(String, String)| (id.clone(), path.trim_end_matches('/').to_owned());
        folders += named.iter().filter(|(_, path)| path.ends_with('/')).count();
        assert_eq!(named.iter().map(bare).collect::<Pairs>(), lost, "turn {turn}");
        shared += usize::from(report.files_hurt < named.len() as u64);
        replace(store.as_ref(), name, whole);
    }
    assert!(shared > 0 && folders > 0, "files of several snapshots, and folders, were hurt");
}

/// A few trees that name the same tree twice, level upon level, stand for more paths than anyone can visit.
#[test]
fn trees_that_name_one_another_twice_are_looked_at_once() {
    for (levels, is_fine) in [(200, true), (7, false)] {
        let mut forge = Forge::new();
        let part = match is_fine {
            true => forge.part(ChunkKind::Data, b"here"),
            false => Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: 4 },
        };
        let mut out = tree_writer();
        file(&mut out, b"file", &Content { level: 0, parts: vec![part] });
        let mut at = forge.tree(&out.finish());
        for _ in 0..levels {
            let mut out = tree_writer();
            directory(&mut out, b"a", &at);
            directory(&mut out, b"b", &at);
            at = forge.tree(&out.finish());
        }
        forge.snapshot(at);
        let repository =
            Repository::open_in(forge.store.clone(), &secret(), Access::Read, &OpenOptions::default()).unwrap();
        let report = check_all(&repository).unwrap();
        assert_eq!(report.trees, levels + 1);
        assert_eq!(report.files_hurt, if is_fine { 0 } else { 1 << levels }, "{:?}", report.errors);
    }
}
