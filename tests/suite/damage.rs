//! Any single bit flipped in any object, any object cut short, swapped or lost is detected by `check --read-data`, and
//! a restore never gives other bytes without saying so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::pack::{TRAILER_BYTES, Trailer};
use daykeep_engine::{
    Access, CheckOptions, MemoryStore, ObjectKind, ObjectName, OpenOptions, Repository, RestoreTest, Store,
};
use daykeep_tests::forge::{Forge, file, tree_writer};
use daykeep_tests::inventory::{Inventory, differences, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{Rng, Seed};
use daykeep_tests::place::{back_up, below, check_all, key, secret, temp, try_restore};
use daykeep_tests::stores::{objects, replace};
use daykeep_tests::trees::{Bytes, Spec, Tree, What};

/// A repository with two snapshots of a small tree.
struct Small {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    objects: Vec<(ObjectName, Vec<u8>)>,
    newest: String,
    wanted: Inventory,
}

impl Small {
    fn new() -> Self {
        let (dir, store) = (temp(), Arc::new(MemoryStore::with_pack_bytes(2 << 20)));
        let repository = Repository::create_in(store.clone(), &key(), Some("a password"), &options(&dir)).unwrap();
        let source = dir.path().join("source");
        let files = [
            ("a", Bytes::Text(1, 300)),
            ("b", Bytes::Random(2, 200)),
            ("hole", Bytes::Sparse(20_000, vec![(8192, 10)])),
        ];
        let entry = |(name, bytes): (&str, Bytes)| (name.as_bytes().to_vec(), Spec::plain(What::File(bytes)));
        let inner = Spec::plain(What::Dir(BTreeMap::from([entry(("c", Bytes::Random(3, 900)))])));
        let mut entries = BTreeMap::from(files.map(entry));
        entries.insert(b"folder".to_vec(), inner);
        Tree { root: Spec::plain(What::Dir(entries)), links: Vec::new() }.make(&source);
        back_up(&repository, &source);
        std::fs::write(source.join("second"), "more").unwrap();
        let report = back_up(&repository, &source);
        let newest = report.snapshot.unwrap().to_string();
        let mut test = CheckOptions::default();
        test.restore_test = Some(RestoreTest::percent(100));
        assert_eq!(repository.check(&test).unwrap().errors, [""; 0]);
        let wanted = read(&source);
        Self { objects: objects(store.as_ref()), dir, store, newest, wanted }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Opens, checks and restores, and returns whether anything was noticed. A restore must be right or say so.
    fn notices(&self, what: &str) -> bool {
        let opened = Repository::open_in(self.store.clone(), &secret(), Access::Read, &options(&self.dir));
        let Ok(repository) = opened else { return true };
        let target = temp();
        if let Ok(report) = try_restore(&repository, &self.newest, target.path())
            && report.warnings.is_empty()
        {
            let lines = differences(&self.wanted, &read(&below(target.path(), &self.source())));
            assert!(lines.is_empty(), "{what}: restored without a word, but {}", lines.join("\n"));
        }
        !check_all(&repository).is_ok_and(|report| report.errors.is_empty())
    }

    /// Replaces an object for a moment and expects that it is noticed.
    fn hurt(&self, name: &ObjectName, original: &[u8], hurt: &[u8], what: &str) {
        replace(self.store.as_ref(), name, hurt);
        assert!(self.notices(what), "{name}: {what} was not noticed");
        replace(self.store.as_ref(), name, original);
    }
}

fn options(dir: &tempfile::TempDir) -> OpenOptions {
    // No cache folder: a catalog of an earlier run must not help.
    let _ = dir;
    OpenOptions::default().memory_bytes(64 << 20)
}

/// Returns bytes of an object that are to be hurt: some of every region.
fn places(name: &ObjectName, bytes: &[u8], rng: &mut Rng) -> Vec<usize> {
    // Header: magic, version, kind, reserved, repository, name.
    let mut places = vec![0, 7, 8, 9, 10, 11, 15, 16, 31, 32, 63];
    let mut borders = vec![64, bytes.len()];
    if name.kind == ObjectKind::Pack {
        let trailer = Trailer::decode(&bytes[bytes.len() - TRAILER_BYTES..]).unwrap();
        borders.push(bytes.len() - TRAILER_BYTES);
        borders.push(bytes.len() - TRAILER_BYTES - trailer.footer_bytes as usize);
        places.extend(bytes.len() - TRAILER_BYTES..bytes.len());
    }
    borders.sort_unstable();
    for region in borders.windows(2).filter(|region| region[0] < region[1]) {
        places.extend([region[0], region[1] - 1]);
        places.extend((0..16).map(|_| region[0] + rng.below(region[1] - region[0])));
    }
    places
}

#[test]
fn the_repository_is_fine_to_begin_with() {
    let small = Small::new();
    assert!(!small.notices("nothing"));
    let count = |kind| small.objects.iter().filter(|(name, _)| name.kind == kind).count();
    assert_eq!(
        ObjectKind::ALL.map(count).iter().filter(|&&count| count == 0).count(),
        0,
        "every kind of object is there"
    );
    assert!(count(ObjectKind::Pack) >= 2 && count(ObjectKind::Index) == 2 && count(ObjectKind::Snapshot) == 2);
}

#[test]
fn any_flipped_bit_is_noticed() {
    let small = Small::new();
    let mut rng = Rng::new(Seed::first());
    let wanted = if is_long() { 100_000 } else { 300 };
    let (mut flips, mut told) = (0, 0);
    while flips < wanted {
        for (name, bytes) in &small.objects {
            for place in places(name, bytes, &mut rng) {
                let bit = rng.below(8);
                let mut hurt = bytes.clone();
                hurt[place] ^= 1 << bit;
                small.hurt(name, bytes, &hurt, &format!("bit {bit} of byte {place} of {}", bytes.len()));
                flips += 1;
            }
        }
        if is_long() && flips / 1000 > told {
            told = flips / 1000;
            println!("{flips} flips");
        }
    }
    assert!(!small.notices("everything put back"));
}

#[test]
fn an_object_cut_short_or_grown_is_noticed() {
    let small = Small::new();
    for (name, bytes) in &small.objects {
        let len = bytes.len();
        for cut in [0, 1, 10, 63, 64, 65, 80, len / 2, len - TRAILER_BYTES - 1, len - TRAILER_BYTES, len - 1] {
            small.hurt(name, bytes, &bytes[..cut.min(len - 1)], &format!("cut to {cut} of {len}"));
        }
        small.hurt(name, bytes, &[bytes.as_slice(), &[0]].concat(), "one zero more");
        small.hurt(name, bytes, &[bytes.as_slice(), bytes].concat(), "twice the same");
        small.hurt(name, bytes, &vec![0; len], "all zeros");
    }
}

#[test]
fn swapped_objects_are_noticed() {
    let small = Small::new();
    for (name, bytes) in &small.objects {
        for (other, other_bytes) in &small.objects {
            if name != other {
                small.hurt(name, bytes, other_bytes, &format!("the bytes of {other}"));
            }
        }
    }
}

#[test]
fn a_lost_object_is_noticed() {
    let small = Small::new();
    // A snapshot may have been forgotten, and a proof says nothing of what is there.
    let needed = |name: &ObjectName| !matches!(name.kind, ObjectKind::Snapshot | ObjectKind::Proof);
    for (name, bytes) in small.objects.iter().filter(|(name, _)| needed(name)) {
        // The other key slot still opens the repository, and a slot that was removed is none.
        let is_password = name.kind == ObjectKind::Key;
        small.store.delete(name).unwrap();
        let noticed = small.notices("lost");
        assert!(noticed || is_password, "{name}: its loss was not noticed");
        small.store.put(name, bytes).unwrap();
    }
}

/// The two snapshots of one repository are not each other's, nor is an object of another repository one of this.
#[test]
fn objects_of_another_repository_are_noticed() {
    let (small, other) = (Small::new(), Small::new());
    for (name, bytes) in &small.objects {
        let foreign = other.objects.iter().filter(|(foreign, _)| foreign.kind == name.kind);
        for (_, foreign) in foreign {
            small.hurt(name, bytes, foreign, "the object of another repository");
        }
    }
    for (name, foreign) in other.objects.iter().filter(|(name, _)| *name != ObjectName::CONFIG) {
        small.store.put(name, foreign).unwrap();
        let noticed = small.notices("added");
        small.store.delete(name).unwrap();
        assert!(noticed, "{name} of another repository was not noticed");
    }
}

/// When the newest snapshot cannot be read, an older one must not pass for it.
#[test]
fn latest_is_never_an_older_one_without_a_word() {
    let small = Small::new();
    let (name, bytes) = small.objects.iter().find(|(name, _)| name.id.to_string() == small.newest).unwrap();
    let mut hurt = bytes.clone();
    hurt[100] ^= 1;
    replace(small.store.as_ref(), name, &hurt);
    let repository = Repository::open_in(small.store.clone(), &secret(), Access::Read, &options(&small.dir)).unwrap();
    let (snapshots, errors) = repository.snapshots().unwrap();
    assert_eq!((snapshots.len(), errors.len()), (1, 1));
    let error = repository.snapshot("latest").map(|found| found.id).unwrap_err();
    assert!(error.to_string().contains(&small.newest), "{error}");
    assert!(repository.snapshot(&snapshots[0].id.to_string()).is_ok(), "the other one can be had by its id");
}

/// Of very many hurt files a check names some and counts the others.
#[test]
fn the_list_of_errors_ends() {
    let mut forge = Forge::new();
    let missing = Content { level: 0, parts: vec![Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: 4 }] };
    let mut out = tree_writer();
    (0..10_050).for_each(|number| file(&mut out, format!("{number:05}").as_bytes(), &missing));
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let repository =
        Repository::open_in(forge.store.clone(), &secret(), Access::Read, &OpenOptions::default()).unwrap();
    let errors = check_all(&repository).unwrap().errors;
    assert_eq!(errors.len(), 1001);
    assert!(errors[1000].starts_with("9050 more files"), "{}", errors[1000]);
}

/// A check that reads the data names the files that need what is hurt, and only those.
#[test]
fn a_check_names_the_files_in_a_damaged_pack() {
    let small = Small::new();
    let (name, bytes) = small.objects.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert_eq!(name.kind, ObjectKind::Pack);
    let mut named = std::collections::BTreeSet::new();
    for at in (70..bytes.len()).step_by(bytes.len() / 20) {
        let mut hurt = bytes.clone();
        hurt[at] ^= 1;
        replace(small.store.as_ref(), name, &hurt);
        let open = || Repository::open_in(small.store.clone(), &secret(), Access::Read, &options(&small.dir)).unwrap();
        let errors = check_all(&open()).unwrap().errors;
        let (object, errors) = errors.split_last().unwrap();
        assert!(object.starts_with(&name.to_string()), "{errors:?}");
        let target = temp();
        let report = try_restore(&open(), &small.newest, target.path()).unwrap();
        let files: Vec<_> = report.warnings.iter().map(|(path, _)| path.clone()).collect();
        for file in &files {
            let is_named = errors.iter().any(|error| error.starts_with(&format!("{file}: ")));
            assert!(is_named, "{file} is hurt: {errors:?}");
        }
        for error in errors {
            let is_true = files.iter().any(|file| error.starts_with(&format!("{file}: ")));
            assert!(error.contains("; in ") && is_true, "byte {at}, {files:?}: {error}");
        }
        named.extend(files);
    }
    replace(small.store.as_ref(), name, bytes);
    assert!(named.len() > 1, "{named:?}");
}
