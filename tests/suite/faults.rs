//! A store that fails at any call: the backup says so, what was there before is whole, and the next one succeeds.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use daykeep_engine::{
    Access, BackupOptions, Error, MemoryStore, OpenOptions, RecoveryKey, Repository, RestoreOptions, SnapshotPath,
    Store, StoreErrorKind,
};
use daykeep_tests::inventory::{Inventory, assert_same, read};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, back_up, below, key, restore, secret, temp, try_restore};
use daykeep_tests::stores::FailingStore;

fn options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

fn open(store: &Arc<FailingStore>) -> Result<Repository, Error> {
    Repository::open_in(Arc::clone(store) as Arc<dyn Store>, &secret(), Access::Write, &options())
}

/// A repository with one snapshot in a store that can fail, and a source that has grown since.
struct Failing {
    dir: tempfile::TempDir,
    store: Arc<FailingStore>,
    first: String,
    wanted: Inventory,
}

impl Failing {
    fn new(kind: StoreErrorKind) -> Self {
        let (dir, memory) = (temp(), Arc::new(MemoryStore::with_pack_bytes(2 << 20)));
        let store = Arc::new(FailingStore::new(memory, kind));
        let repository = Repository::create_in(store.clone(), &key(), None, &options()).unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("first"), noise::random(1, 200_000)).unwrap();
        let report = back_up(&repository, &source);
        let wanted = read(&source);
        fs::write(source.join("long"), noise::random(2, 5 << 20)).unwrap();
        fs::write(source.join("text"), noise::text(3, 300_000)).unwrap();
        Self { first: report.snapshot.unwrap().to_string(), dir, store, wanted }
    }

    fn source(&self) -> std::path::PathBuf {
        self.dir.path().join("source")
    }

    /// The first snapshot is whole, and a backup, a restore and a check succeed.
    fn is_whole(&self) {
        let repository = open(&self.store).unwrap();
        let target = temp();
        let restored = below(target.path(), &self.source());
        assert_eq!(try_restore(&repository, &self.first, target.path()).unwrap().warnings, []);
        // The folder has grown since, so its time is another.
        assert_eq!(read(&restored).len(), self.wanted.len());
        assert_eq!(fs::read(restored.join("first")).unwrap(), noise::random(1, 200_000));
        let wanted = read(&self.source());
        back_up(&repository, &self.source());
        let target = temp();
        assert_same(&wanted, &read(&restore(&repository, "latest", &self.source(), target.path())));
        assert_clean(&repository);
    }
}

fn every_call_of_a_backup_may_fail(kind: StoreErrorKind, for_ever: bool) {
    let mut failed = 0;
    for call in 0.. {
        // Each call has a repository of its own: every backup that succeeds adds calls to the next.
        let failing = Failing::new(kind);
        let repository = open(&failing.store).unwrap();
        let before = snapshots(&repository);
        let mut options = BackupOptions::default();
        // The same work each time: another host, so that nothing is taken over from a parent.
        options.host = Some(format!("host {call}"));
        failing.store.fail_after(call, for_ever);
        let outcome = repository.backup(&[failing.source()], &options);
        drop(repository);
        let calls = failing.store.heal();
        let failed_call = failing.store.failed();
        let after = snapshots(&open(&failing.store).unwrap());
        match (outcome, failed_call.as_deref()) {
            (Err(error), Some(call_failed)) => {
                assert!(error.to_string().contains("the test let it fail"), "call {call}: {error}");
                // If the very last sync fails, nothing may be said of the snapshot: this store shows it at once.
                let may_be_there = usize::from(call_failed == "sync");
                assert!((before..=before + may_be_there).contains(&after), "a backup that failed leaves no snapshot");
                failed += 1;
            }
            (Ok(_), None) => break,
            // What only looks for a parent to compare with may fail: then everything is read.
            (Ok(report), Some("get")) => assert_eq!(report.counts.errors, 0),
            (outcome, failed_call) => {
                panic!("call {call} of {calls}: {failed_call:?} failed and the backup says {outcome:?}")
            }
        }
        failing.is_whole();
    }
    assert!(failed >= 5, "only {failed} calls failed");
}

fn snapshots(repository: &Repository) -> usize {
    repository.snapshots().unwrap().0.len()
}

#[test]
fn every_call_of_a_backup_may_fail_for_want_of_space() {
    every_call_of_a_backup_may_fail(StoreErrorKind::NoSpace, false);
}

#[test]
fn every_call_of_a_backup_may_fail_from_then_on() {
    every_call_of_a_backup_may_fail(StoreErrorKind::Io, true);
}

#[test]
fn every_call_of_opening_creating_checking_and_restoring_may_fail() {
    let failing = Failing::new(StoreErrorKind::Io);
    for call in 0.. {
        failing.store.fail_after(call, true);
        let outcome = open(&failing.store).map(drop);
        if failing.store.heal() <= call {
            outcome.unwrap();
            break;
        }
        assert!(outcome.unwrap_err().to_string().contains("the test let it fail"));
    }
    for call in 0.. {
        let memory = Arc::new(MemoryStore::new());
        let store = Arc::new(FailingStore::new(memory, StoreErrorKind::NoSpace));
        store.fail_after(call, true);
        let outcome = Repository::create_in(store.clone(), &key(), None, &options()).map(drop);
        if store.heal() <= call {
            outcome.unwrap();
            break;
        }
        assert!(outcome.is_err());
    }
    let repository = open(&failing.store).unwrap();
    for call in 0.. {
        failing.store.fail_after(call, true);
        let outcome = daykeep_tests::place::check_all(&repository);
        if failing.store.heal() <= call {
            assert_eq!(outcome.unwrap().errors, [""; 0]);
            break;
        }
        assert!(outcome.map_or(true, |report| !report.errors.is_empty()), "call {call}");
    }
    for call in 0.. {
        let target = temp();
        failing.store.fail_after(call, true);
        let outcome = try_restore(&repository, &failing.first, target.path());
        if failing.store.heal() <= call {
            assert_eq!(outcome.unwrap().warnings, []);
            break;
        }
        assert!(outcome.map_or(true, |report| !report.warnings.is_empty()), "call {call}");
    }
}

/// A file system in memory of a few megabytes, unmounted when dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(bytes: usize) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(dir.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: a small file system cannot be mounted here");
        }
        mounted.then_some(Self(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_fails_the_backup_and_nothing_else() {
    use daykeep_engine::Location;
    for kind in Kind::ON_DISK {
        let Some(disk) = SmallDisk::mount(24 << 20) else { return };
        let location = match kind {
            Kind::Directory => Location::Directory(disk.path().join("repository")),
            _ => Location::File(disk.path().join("repository.redb")),
        };
        let dir = temp();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("first"), noise::random(1, 1 << 20)).unwrap();
        let mut repository = Repository::create(&location, &key(), None, &options()).unwrap();
        let first = back_up(&repository, &source).snapshot.unwrap().to_string();
        let wanted = read(&source);
        for (turn, bytes) in [(0u64, 60 << 20), (1, 40 << 20)] {
            fs::write(source.join("long"), noise::random(2 + turn, bytes)).unwrap();
            let error = repository.backup(&[&source], &BackupOptions::default()).unwrap_err();
            let is_full = matches!(&error, Error::Store(error) if error.kind == StoreErrorKind::NoSpace);
            // A store that failed once may refuse to go on until it is opened anew.
            assert!(is_full, "{kind:?}, turn {turn}: {error}");
            drop(repository);
            repository = Repository::open(&location, &secret(), Access::Write, &options()).unwrap();
        }
        drop(repository);
        let repository = Repository::open(&location, &secret(), Access::Read, &options()).unwrap();
        let target = temp();
        assert_eq!(try_restore(&repository, &first, target.path()).unwrap().warnings, []);
        let restored = below(target.path(), &source);
        assert_eq!(read(&restored)[b"first".as_slice()], wanted[b"first".as_slice()]);
        drop(repository);
        fs::remove_file(source.join("long")).unwrap();
        // Whether a small backup still finds room depends on what the failed one stored, which is kept; if it does not,
        // it says so.
        let repository = Repository::open(&location, &secret(), Access::Write, &options()).unwrap();
        match repository.backup(&[&source], &BackupOptions::default()) {
            Ok(_) => {
                assert_clean(&repository);
            }
            Err(Error::Store(error)) => assert_eq!(error.kind, StoreErrorKind::NoSpace, "{kind:?}: {error}"),
            Err(error) => panic!("{kind:?}: {error}"),
        }
    }
}

#[test]
fn a_full_target_is_a_clear_error() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for number in 0..8u64 {
        fs::write(source.join(format!("{number}")), noise::random(number, 1 << 20)).unwrap();
    }
    let repository = place.open();
    back_up(&repository, &source);
    let Some(disk) = SmallDisk::mount(3 << 20) else { return };
    let what = SnapshotPath::parse(b"latest").unwrap();
    let error = repository.restore(&what, &disk.path().join("target"), &RestoreOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("No space left") && matches!(error, Error::File { .. }), "{text}");
    for (path, item) in read(disk.path()) {
        if let Some((bytes, _)) = item.content {
            assert_eq!(bytes, 1 << 20, "{}: only whole files stay", String::from_utf8_lossy(&path));
        }
    }
}

#[test]
fn a_wrong_key_is_told_apart_from_damage() {
    let place = Place::new(Kind::Directory);
    let location = place.location().unwrap();
    let open = |secret| Repository::open(&location, &secret, Access::Read, &place.options()).map(drop).unwrap_err();
    use daykeep_engine::Secret;
    let wrong = open(Secret::Recovery(RecoveryKey::from_bytes([8; 32])));
    assert!(matches!(wrong, Error::WrongKey { slots: 1, .. }), "{wrong}");
    assert!(matches!(open(Secret::password("guess")), Error::WrongKey { .. }));
    place.open().add_password("right", "mine").unwrap();
    assert!(matches!(open(Secret::password("guess")), Error::WrongKey { slots: 2, .. }));
    Repository::open(&location, &Secret::password("right"), Access::Read, &place.options()).unwrap();
}
