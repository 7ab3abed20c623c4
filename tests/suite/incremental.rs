//! What a second backup reads, stores and counts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use daykeep_engine::{Access, BackupOptions, BackupReport, CheckOptions, Event, FileState, Repository, Timestamp};
use daykeep_tests::inventory::read;
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, check_all, secret};
use daykeep_tests::trees::set_mtime;

/// Some time ago, so that no file counts as changed just now.
const LONG_AGO: (i64, i64) = (1_600_000_000, 1);

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    set_mtime(path, LONG_AGO);
}

/// What the folders above the source take at most: their times change at any moment, and are part of the snapshot.
const FOLDERS_ABOVE: u64 = 600;

/// A repository and a source with three files: 5 bytes, 100 KB, 9 MiB.
fn small(kind: Kind) -> (Place, Repository, std::path::PathBuf) {
    let place = Place::new(kind);
    let source = place.folder("source");
    write(&source.join("five"), b"bytes");
    write(&source.join("middle"), &noise::text(1, 100_000));
    write(&source.join("long"), &noise::random(2, 9 << 20));
    let repository = place.open();
    (place, repository, source)
}

fn states(report: &BackupReport) -> (u64, u64, u64) {
    (report.counts.files_new, report.counts.files_changed, report.counts.files_unmodified)
}

#[test]
fn unmodified_files_are_taken_over() {
    for kind in Kind::ALL {
        let (_place, repository, source) = small(kind);
        let first = back_up(&repository, &source);
        assert_eq!(states(&first), (3, 0, 0));
        assert!(first.counts.bytes_new >= first.counts.bytes && first.parent.is_none());
        let wanted = read(&source);
        let second = back_up(&repository, &source);
        assert_eq!(states(&second), (0, 0, 3));
        assert!(second.counts.bytes_new < FOLDERS_ABOVE, "{} bytes", second.counts.bytes_new);
        assert_eq!(second.parent, first.snapshot);
        assert_eq!(second.counts.bytes, first.counts.bytes);
        assert!(second.bytes_stored < 4000, "a snapshot and little more, not {} bytes", second.bytes_stored);
        assert_restores(&repository, "latest", &source, &wanted);
    }
}

/// The time of last access tells whether a file was read, where the file system keeps it.
#[test]
fn unmodified_files_are_not_opened() {
    let (_place, repository, source) = small(Kind::Memory);
    back_up(&repository, &source);
    let path = source.join("middle");
    let before = |_: ()| {
        // With `relatime`, the time of access moves if it is older than the mtime.
        let times = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    };
    before(());
    // Setting it changed the ctime, so the file is read once more: this proves that reading is seen.
    let report = back_up(&repository, &source);
    assert_eq!(report.counts.files_unmodified, 2);
    let seen = fs::metadata(&path).unwrap().atime() != 0;
    if !seen {
        println!("skipped: this file system keeps no time of access, or the engine opens with O_NOATIME");
    }
    let after_first = fs::metadata(&path).unwrap().atime();
    let second = back_up(&repository, &source);
    assert_eq!(second.counts.files_unmodified, 3);
    assert_eq!(fs::metadata(&path).unwrap().atime(), after_first);
}

#[test]
fn a_file_changed_behind_its_mtime_is_read_again() {
    let (_place, repository, source) = small(Kind::Directory);
    back_up(&repository, &source);
    let path = source.join("five");
    let before = fs::metadata(&path).unwrap();
    write(&path, b"BYTES");
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.len(), before.ino(), before.mtime()), (after.len(), after.ino(), after.mtime()));
    let wanted = read(&source);
    let report = back_up(&repository, &source);
    assert_eq!(states(&report), (0, 1, 2));
    assert_restores(&repository, "latest", &source, &wanted);
}

/// A file that was written within the last two seconds may be written again within the same tick of the clock.
#[test]
fn a_file_changed_just_now_is_read_again() {
    let (_place, repository, source) = small(Kind::Memory);
    fs::write(source.join("fresh"), b"fresh").unwrap();
    back_up(&repository, &source);
    let (report, states) = with_states(&repository, &source, &BackupOptions::default());
    assert_eq!(report.counts.files_unmodified, 4, "it has the same bytes, as it turns out");
    assert!(report.counts.bytes_new < FOLDERS_ABOVE);
    assert_eq!(states.len(), 4);
    // Written again with the same length, and every time but the ctime put back.
    let time = fs::metadata(source.join("fresh")).unwrap().modified().unwrap();
    fs::write(source.join("fresh"), b"FRESH").unwrap();
    fs::File::options().write(true).open(source.join("fresh")).unwrap().set_modified(time).unwrap();
    let wanted = read(&source);
    back_up(&repository, &source);
    assert_restores(&repository, "latest", &source, &wanted);
}

/// Backs up and returns what was said of every file.
fn with_states(
    repository: &Repository,
    source: &Path,
    options: &BackupOptions,
) -> (BackupReport, Vec<(String, FileState)>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let mut options = options.clone().observer(move |event: &Event| {
        if let Event::File { path, state } = event {
            sink.lock().unwrap().push((path.file_name().unwrap().to_string_lossy().into_owned(), *state));
        }
    });
    options.file_events = true;
    let report = repository.backup(&[source], &options).unwrap();
    let mut states = seen.lock().unwrap().clone();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    (report, states)
}

#[test]
fn every_file_is_reported_once() {
    let (_place, repository, source) = small(Kind::Memory);
    let named = |state: [FileState; 3]| {
        ["five", "long", "middle"].map(str::to_owned).into_iter().zip(state).collect::<Vec<_>>()
    };
    let (_, states) = with_states(&repository, &source, &BackupOptions::default());
    assert_eq!(states, named([FileState::New; 3]));
    write(&source.join("long"), b"short now");
    let (_, states) = with_states(&repository, &source, &BackupOptions::default());
    assert_eq!(states, named([FileState::Unmodified, FileState::Changed, FileState::Unmodified]));
}

#[test]
fn force_reads_all_and_stores_nothing_new() {
    let (_place, repository, source) = small(Kind::Memory);
    let first = back_up(&repository, &source);
    let mut options = BackupOptions::default();
    options.force = true;
    let events = Arc::new(Mutex::new(0));
    let sink = Arc::clone(&events);
    options = options.observer(move |event: &Event| {
        if let Event::Progress { files: 0, bytes } = event {
            *sink.lock().unwrap() += bytes;
        }
    });
    let forced = repository.backup(&[&source], &options).unwrap();
    assert!(forced.counts.bytes_new < FOLDERS_ABOVE);
    assert_eq!(forced.parent, first.snapshot);
    assert_eq!(*events.lock().unwrap(), forced.counts.bytes, "every byte was read");
}

#[test]
fn the_parent_is_the_newest_of_the_same_host_and_paths() {
    let (place, repository, source) = small(Kind::Memory);
    let other = place.folder("other");
    write(&other.join("file"), b"other");
    let here = BackupOptions::default().host("here");
    let there = BackupOptions::default().host("there");
    let first = repository.backup(&[&source], &here).unwrap();
    let elsewhere = repository.backup(&[&source], &there).unwrap();
    assert_eq!(elsewhere.parent, None);
    assert!(elsewhere.counts.bytes_new < FOLDERS_ABOVE);
    let both = repository.backup(&[&source, &other], &here).unwrap();
    assert_eq!(both.parent, None);
    let second = repository.backup(&[&source], &here).unwrap();
    assert_eq!(second.parent, first.snapshot);
    let third = repository.backup(&[&source], &here).unwrap();
    assert_eq!(third.parent, second.snapshot);
    let turned = repository.backup(&[&other, &source, &other], &here).unwrap();
    assert_eq!(turned.parent, both.snapshot, "the order of paths and a path named twice make no difference");
}

#[test]
fn a_renamed_or_moved_file_stores_no_data() {
    let (_place, repository, source) = small(Kind::Memory);
    back_up(&repository, &source);
    fs::create_dir(source.join("album")).unwrap();
    fs::rename(source.join("long"), source.join("album/renamed")).unwrap();
    fs::copy(source.join("album/renamed"), source.join("copy")).unwrap();
    let wanted = read(&source);
    let report = back_up(&repository, &source);
    assert!(report.counts.bytes_new < 2000, "only trees, not {} bytes", report.counts.bytes_new);
    assert_restores(&repository, "latest", &source, &wanted);
}

#[test]
fn an_edit_in_the_middle_stores_few_chunks() {
    for (name, head) in [("document", b"text".as_slice()), ("photo", b"\xff\xd8\xff\xe0")] {
        let place = Place::new(Kind::Memory);
        let source = place.folder("source");
        let mut bytes = noise::random(1, 20 << 20);
        bytes[..4].copy_from_slice(head);
        write(&source.join(name), &bytes);
        let repository = place.open();
        back_up(&repository, &source);
        let edited = [&bytes[..10 << 20], b"a few words more".as_slice(), &bytes[(10 << 20) + 3..]].concat();
        write(&source.join(name), &edited);
        let wanted = read(&source);
        let report = back_up(&repository, &source);
        // At most three chunks of the greatest length, one piece of a list and the trees.
        let most = if name == "photo" { 3 << 20 } else { 3 << 18 } + 50_000;
        assert!(report.counts.bytes_new < most, "{name}: {} bytes", report.counts.bytes_new);
        assert_restores(&repository, "latest", &source, &wanted);
    }
}

#[test]
fn a_page_changed_in_a_database_stores_that_page() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let mut bytes = noise::sqlite(1, 4096, 12 << 20);
    write(&source.join("chats.db"), &bytes);
    let repository = place.open();
    back_up(&repository, &source);
    for page in [0, 700, 3000] {
        bytes[page * 4096 + 2000] ^= 0xff;
    }
    write(&source.join("chats.db"), &bytes);
    let wanted = read(&source);
    let report = back_up(&repository, &source);
    assert!(report.counts.bytes_new < 3 * 4096 + 60_000, "{} bytes", report.counts.bytes_new);
    assert_restores(&repository, "latest", &source, &wanted);
}

/// What a report says was stored is what the repository grew by.
#[test]
fn bytes_stored_are_the_growth_of_a_directory_repository() {
    let (place, repository, source) = small(Kind::Directory);
    let mut before = place.repository_bytes();
    let mut grows = |what: &str| {
        let report = back_up(&repository, &source);
        let now = place.repository_bytes();
        assert_eq!(now - before, report.bytes_stored, "{what}");
        before = now;
        report
    };
    grows("first");
    grows("unchanged");
    write(&source.join("new"), &noise::random(9, 300_000));
    let report = grows("with a new file");
    assert!(report.bytes_stored > 300_000);
    fs::remove_file(source.join("new")).unwrap();
    grows("with one file less");
    assert_eq!(repository.stats().unwrap().bytes_stored, before, "and stats count all of it");
    assert_clean(&repository);
}

#[test]
fn a_dry_run_counts_and_stores_nothing() {
    let (place, repository, source) = small(Kind::Directory);
    let before = place.repository_bytes();
    let mut options = BackupOptions::default();
    options.dry_run = true;
    let dry = repository.backup(&[&source], &options).unwrap();
    assert_eq!((dry.snapshot, place.repository_bytes()), (None, before));
    let real = back_up(&repository, &source);
    assert_eq!((dry.counts.bytes, dry.counts.files_new), (real.counts.bytes, real.counts.files_new));
    assert!(dry.counts.bytes_new.abs_diff(real.counts.bytes_new) < FOLDERS_ABOVE);
}

/// Returns all packs, index objects and snapshots of a directory repository.
fn objects(place: &Place) -> BTreeSet<PathBuf> {
    let folders = ["packs", "index", "snapshots"].map(|name| place.path("repository").join(name));
    let below = |folder: PathBuf| read(&folder).into_iter().map(move |(path, item)| (folder.clone(), path, item));
    let files = folders.into_iter().flat_map(below).filter(|(.., item)| item.kind == '-');
    files.map(|(folder, path, _)| folder.join(OsStr::from_bytes(&path))).collect()
}

/// Everything that a first backup stored is lost behind the repository's back. The trees of a second one are there, and say
/// of every file that it is unmodified: the third must not believe that its chunks are there too. Of the second itself a
/// tree may stay lost that stood, as a delta, on one of the first. The last time, those two are dated long after the third.
#[test]
fn what_was_lost_is_stored_again() {
    for (keeps_cache, opens_between, years_ahead) in
        [(true, false, 0), (true, true, 0), (false, false, 0), (false, false, 9)]
    {
        let place = Place::new(Kind::Directory);
        let source = place.folder("source");
        let inner = place.folder("source/inner");
        write(&source.join("small"), b"small");
        write(&source.join("long"), &noise::random(1, 9 << 20));
        write(&inner.join("text"), &noise::text(2, 50_000));
        back_up(&ahead(&place, years_ahead), &source);
        let lost = objects(&place);
        write(&source.join("new"), b"new");
        let second = back_up(&ahead(&place, years_ahead), &source).snapshot.unwrap().to_string();
        assert!(lost.len() >= 4, "two packs, an index object, a snapshot: {lost:?}");
        lost.iter().for_each(|path| fs::remove_file(path).unwrap());
        if !keeps_cache {
            fs::remove_dir_all(place.path("cache")).unwrap();
        }
        if opens_between {
            assert!(!place.open().check(&CheckOptions::default()).unwrap().errors.is_empty());
        }
        let wanted = read(&source);
        let repository = place.open();
        let report = back_up(&repository, &source);
        assert!(report.counts.bytes_new > 9 << 20, "{} bytes are stored again", report.counts.bytes_new);
        let errors = check_all(&repository).unwrap().errors;
        let is_of_second = |error: &String| {
            error.ends_with(&format!("in snapshot {}", &second[..8]))
                || error.contains("stands on a chunk that is missing")
        };
        assert!(errors.iter().all(is_of_second), "{errors:?}");
        assert_restores(&repository, "latest", &source, &wanted);
        drop(repository);
        if years_ahead == 0 {
            let report = back_up(&place.open(), &source);
            assert!(report.counts.bytes_new < FOLDERS_ABOVE && report.counts.files_unmodified == 4, "{report:?}");
        }
    }
}

/// Opens a repository under a clock that is some years ahead.
fn ahead(place: &Place, years: i64) -> Repository {
    let now = move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp { seconds: since.as_secs() as i64 + years * 365 * 86_400, nanos: since.subsec_nanos() }
    };
    let location = place.location().unwrap();
    Repository::open(&location, &secret(), Access::Write, &place.options().clock(now)).unwrap()
}

/// To begin anew casts doubt, which costs time.
#[test]
fn a_catalog_is_not_begun_anew_by_being_opened() {
    let (place, repository, source) = small(Kind::Directory);
    back_up(&repository, &source);
    drop(repository);
    back_up(&place.open(), &source);
    let marks: Vec<PathBuf> = fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let catalog = || fs::metadata(marks[0].join("catalog.redb")).unwrap().ino();
    let before = catalog();
    back_up(&place.open(), &source);
    assert_eq!(catalog(), before);
}
