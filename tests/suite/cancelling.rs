//! Cancelled at any moment, a backup leaves a consistent repository, and the next one uses what it stored.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use daykeep_engine::{BackupOptions, CancelToken, CheckOptions, Error, Event, RestoreOptions, SnapshotPath};
use daykeep_tests::inventory::read;
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up};

/// Returns an observer that cancels once so many bytes are done.
fn after(bytes: u64, token: &CancelToken) -> impl Fn(&Event) + Send + Sync + 'static {
    let (token, done) = (token.clone(), AtomicU64::new(0));
    move |event: &Event| {
        if let Event::Progress { bytes: more, .. } = event
            && done.fetch_add(*more, Ordering::Relaxed) + more >= bytes
        {
            token.cancel();
        }
    }
}

const MIB: u64 = 1 << 20;

/// 30 MiB in files of 1 MiB and one of 10 MiB.
fn place(kind: Kind) -> (Place, std::path::PathBuf) {
    let place = Place::new(kind);
    let source = place.folder("source");
    for number in 0..20u64 {
        fs::write(source.join(format!("{number:02}")), noise::random(number, MIB as usize)).unwrap();
    }
    fs::write(source.join("long"), noise::random(99, 10 * MIB as usize)).unwrap();
    (place, source)
}

#[test]
fn a_cancelled_backup_is_used_by_the_next() {
    for kind in Kind::ALL {
        let (place, source) = place(kind);
        let wanted = read(&source);
        let repository = place.open();
        for bytes in [1, 15 * MIB, 25 * MIB] {
            let token = CancelToken::new();
            let options = BackupOptions::default().cancel(&token).observer(after(bytes, &token));
            let outcome = repository.backup(&[&source], &options);
            assert!(matches!(outcome, Err(Error::Cancelled)), "{kind:?} at {bytes}: {outcome:?}");
            assert_eq!(repository.snapshots().unwrap().0.len(), 0);
            assert_clean(&repository);
        }
        drop(repository);
        let repository = place.open();
        let report = back_up(&repository, &source);
        assert!(report.counts.bytes_new < 20 * MIB, "{kind:?}: {} bytes are new", report.counts.bytes_new);
        assert_restores(&repository, "latest", &source, &wanted);
        assert_clean(&repository);
    }
}

#[test]
fn what_is_cancelled_before_it_begins_does_nothing() {
    let (place, source) = place(Kind::Directory);
    let repository = place.open();
    let token = CancelToken::new();
    token.cancel();
    let before = place.repository_bytes();
    let outcome = repository.backup(&[&source], &BackupOptions::default().cancel(&token));
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert_eq!(place.repository_bytes(), before);
    back_up(&repository, &source);
    let mut options = RestoreOptions::default();
    options.cancel = token.clone();
    let outcome = repository.restore(&SnapshotPath::parse(b"latest").unwrap(), &place.path("target"), &options);
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    let mut options = CheckOptions::default();
    options.cancel = token;
    assert!(matches!(repository.check(&options), Err(Error::Cancelled)));
}

#[test]
fn a_cancelled_restore_leaves_whole_files_only() {
    let (place, source) = place(Kind::Redb);
    let repository = place.open();
    back_up(&repository, &source);
    let token = CancelToken::new();
    let mut options = RestoreOptions::default();
    options.cancel = token.clone();
    options.observer = Some(std::sync::Arc::new(after(5 * MIB, &token)));
    let target = place.path("target");
    let what = SnapshotPath::parse(b"latest").unwrap();
    assert!(matches!(repository.restore(&what, &target, &options), Err(Error::Cancelled)));
    let (wanted, mut whole) = (read(&source), 0);
    for (path, item) in read(&target) {
        if item.kind == '-' {
            let name = path.rsplit(|&byte| byte == b'/').next().unwrap();
            assert_eq!(item.content, wanted[name].content, "{}", String::from_utf8_lossy(&path));
            whole += 1;
        }
    }
    assert!((1..21).contains(&whole), "{whole} files");
    // The same restore again ends what was begun.
    assert_restores(&repository, "latest", &source, &wanted);
}
