//! Restore tests: what is restored into nothing is what a restore would bring back, and the day of it is noted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use daykeep_engine::{
    Access, CheckOptions, CheckReport, ForgetOptions, MemoryStore, ObjectKind, OpenOptions, Repository, RestoreTest,
    Store, TagOptions,
};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, back_up, key, temp, try_restore};
use daykeep_tests::stores::{objects, replace};
use rusqlite::Connection;

fn test(repository: &Repository, percent: u8, seed: Option<u64>) -> CheckReport {
    let mut options = CheckOptions::default();
    (options.restore_test, options.seed) = (Some(RestoreTest::percent(percent)), seed);
    repository.check(&options).unwrap()
}

fn database(path: &Path) {
    let database = Connection::open(path).unwrap();
    database.execute_batch("CREATE TABLE t (a, b); CREATE INDEX i ON t (a)").unwrap();
    for row in 0..2000 {
        database.execute("INSERT INTO t VALUES (?1, ?2)", (row * 7 % 1009, format!("text {row}"))).unwrap();
    }
}

/// A picture as far as its head tells.
fn png() -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0".as_slice(), &noise::random(1, 90_000)]
        .concat()
}

fn fill(source: &Path) -> u64 {
    fs::write(source.join("photo.png"), png()).unwrap();
    fs::write(source.join("text"), noise::text(2, 700_000)).unwrap();
    fs::write(
        source.join("video.mp4"),
        [b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\0mdat", noise::random(3, 3 << 20).as_slice()].concat(),
    )
    .unwrap();
    fs::write(source.join("empty"), "").unwrap();
    database(&source.join("chats.db"));
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise::random(4, 5000), 1 << 39).unwrap();
    std::os::unix::fs::symlink("text", source.join("link")).unwrap();
    fs::hard_link(source.join("text"), source.join("text again")).unwrap();
    7
}

#[test]
fn all_is_fine_and_the_day_is_noted() {
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let (source, repository) = (place.folder("source"), place.open());
        let files = fill(&source);
        let first = back_up(&repository, &source).snapshot.unwrap();
        let report = test(&repository, 100, None);
        assert_eq!((&report.errors[..], &report.notes[..], report.seed), (&[][..], &[][..], None), "{kind:?}");
        let [tested] = &report.restore_tests[..] else { panic!("{report:?}") };
        assert_eq!((tested.files, tested.databases, tested.is_all, tested.snapshot), (files, 1, true, first));
        let bytes: u64 = ["photo.png", "text", "text again", "video.mp4", "chats.db", "sparse"]
            .map(|name| fs::metadata(source.join(name)).unwrap().len())
            .iter()
            .sum();
        assert_eq!(tested.bytes, bytes);
        // The database's temporary file is gone.
        let cache = place.options().cache_dir.unwrap().join(repository.id().to_string());
        let left = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!left.into_iter().any(|name| name.starts_with("chats-")));
        // With other tags it is another object, but the same snapshot.
        let mut tags = TagOptions::default();
        tags.add = vec!["new".into()];
        repository.tag(&["latest".into()], &tags).unwrap();
        drop(repository);
        let repository = place.open();
        let snapshot = repository.snapshot("latest").unwrap();
        let (proofs, errors) = repository.proofs().unwrap();
        assert!(errors.is_empty() && snapshot.id != first);
        let proof = proofs[&snapshot.first_id()];
        assert_eq!((proof.files, proof.bytes, proof.problems, proof.is_all), (files, bytes, 0, true));
        // The next one takes its place, and forgotten snapshots are not told of.
        fs::write(source.join("more"), "more").unwrap();
        let second = back_up(&repository, &source).snapshot.unwrap();
        test(&repository, 100, None);
        let proofs = repository.proofs().unwrap().0;
        assert!(proofs.len() == 2 && proofs[&first] == proof && proofs[&second].files == files + 1);
        let mut forget = ForgetOptions::default();
        forget.ids = vec![snapshot.id.to_string()];
        repository.forget(&repository.forget_plan(&forget).unwrap(), &Default::default()).unwrap();
        test(&repository, 100, None);
        assert_eq!(repository.proofs().unwrap().0.into_keys().collect::<Vec<_>>(), [second]);
        drop(repository);
        // Who may only read leaves no record.
        let report = test(&place.try_open(Access::Read).unwrap(), 100, None);
        assert!(report.errors.is_empty() && report.notes[0].contains("no record"), "{report:?}");
    }
}

#[test]
fn one_object_tells_of_all_tests() {
    let store = std::sync::Arc::new(MemoryStore::new());
    let repository = Repository::create_in(store.clone(), &key(), None, &OpenOptions::default()).unwrap();
    let dir = temp();
    fs::write(dir.path().join("a"), "a").unwrap();
    back_up(&repository, dir.path());
    for _ in 0..3 {
        test(&repository, 100, None);
        assert_eq!(store.list(ObjectKind::Proof).unwrap().len(), 1);
    }
    // What a run that was killed has left goes with the next; the later one counts.
    let (name, old) = objects(store.as_ref()).into_iter().find(|(name, _)| name.kind == ObjectKind::Proof).unwrap();
    test(&repository, 100, None);
    let latest = repository.proofs().unwrap().0;
    store.put(&name, &old).unwrap();
    assert_eq!(repository.proofs().unwrap().0, latest);
    let (newer, bytes) =
        objects(store.as_ref()).into_iter().find(|(other, _)| other.kind == name.kind && *other != name).unwrap();
    // Whichever is read first.
    replace(store.as_ref(), &newer, &bytes);
    assert_eq!(repository.proofs().unwrap().0, latest);
    test(&repository, 100, None);
    assert_eq!(store.list(ObjectKind::Proof).unwrap().len(), 1);
}

#[test]
fn what_was_broken_before_the_backup_is_a_hint_but_a_broken_database_is_an_error() {
    let place = Place::new(Kind::Directory);
    let (source, repository) = (place.folder("source"), place.open());
    fill(&source);
    fs::write(source.join("half.png"), &png()[..20]).unwrap();
    fs::write(source.join("text.jpg"), "a page that says: not found").unwrap();
    // An index that lacks what its table has; its pages are in order.
    let path = source.join("chats.db");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2 / 4096 * 4096;
    bytes[at..at + 4096].fill(0x55);
    fs::write(&path, bytes).unwrap();
    fs::write(source.join("noise.db"), noise::sqlite(1, 4096, 40_960)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    repository.backup(&[&source], &Default::default()).unwrap();
    let report = test(&repository, 100, None);
    let tested = &report.restore_tests[0];
    let hinted: BTreeSet<&str> = tested.hints_named.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
    assert!(hinted.contains("half.png") && hinted.contains("text.jpg"), "{tested:?}");
    assert!(!hinted.contains("photo.png") && !hinted.contains("video.mp4"), "{tested:?}");
    let broken: Vec<&String> = report.errors.iter().filter(|error| error.contains("/chats.db: SQLite finds")).collect();
    assert_eq!(broken.len(), 1, "{:?}", report.errors);
    assert!(tested.problems >= 1 && report.notes.iter().any(|note| note.contains("text.jpg: its name says JPEG")));
    assert!(repository.proofs().unwrap().0.values().all(|proof| proof.problems == tested.problems));
}

#[test]
fn what_cannot_be_restored_fails_the_test() {
    let place = Place::new(Kind::Memory);
    let (source, store, repository) = (place.folder("source"), place.store(), place.open());
    fill(&source);
    back_up(&repository, &source);
    let packs = objects(store.as_ref()).into_iter().filter(|(name, _)| name.kind == ObjectKind::Pack);
    for (name, bytes) in packs {
        for at in [70, bytes.len() / 3, bytes.len() / 2] {
            let mut hurt = bytes.clone();
            hurt[at] ^= 1;
            replace(store.as_ref(), &name, &hurt);
            let repository = place.open();
            let target = temp();
            let lost: Option<BTreeSet<String>> = try_restore(&repository, "latest", target.path())
                .ok()
                .map(|report| report.warnings.into_iter().map(|(path, _)| path).collect());
            let report = test(&repository, 100, None);
            let found: BTreeSet<String> =
                report.restore_tests[0].problems_named.iter().map(|(path, _)| path.clone()).collect();
            assert_eq!(found, lost.unwrap_or_else(|| BTreeSet::from(["/".into()])), "{name}, byte {at}");
            replace(store.as_ref(), &name, &bytes);
        }
    }
}

#[test]
fn a_sample_is_about_as_large_as_was_asked_for() {
    let place = Place::new(Kind::Memory);
    let (source, repository) = (place.folder("source"), place.open());
    for number in 0..1000 {
        fs::write(source.join(number.to_string()), noise::random(number, 50)).unwrap();
    }
    back_up(&repository, &source);
    for (percent, range) in [(1, 5..45), (30, 230..370), (100, 1000..1001)] {
        let report = test(&repository, percent, Some(3));
        let tested = &report.restore_tests[0];
        assert!(range.contains(&tested.files) && tested.is_all == (percent == 100), "{percent}%: {tested:?}");
        assert_eq!(tested.files, test(&repository, percent, Some(3)).restore_tests[0].files);
    }
    let mut options = CheckOptions::default();
    for percent in [0, 101] {
        options.restore_test = Some(RestoreTest::percent(percent));
        assert!(repository.check(&options).is_err());
    }
    // A small snapshot is tested whole.
    let small = place.folder("small");
    fs::write(small.join("a"), "a").unwrap();
    back_up(&repository, &small);
    let report = test(&repository, 1, None);
    assert_eq!(report.restore_tests.len(), 2, "the latest of each paths");
    assert!(report.restore_tests.iter().any(|tested| tested.files == 1 && tested.is_all));
    let mut named = RestoreTest::percent(100);
    named.snapshots = vec!["latest".into(), "latest".into()];
    options.restore_test = Some(named);
    assert_eq!(repository.check(&options).unwrap().restore_tests.len(), 1);
}
