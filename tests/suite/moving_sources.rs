//! Sources that change while they are read: a warning that names them, the rest saved, never a panic.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daykeep_engine::{BackupOptions, Error, Event, NamedReader, Repository};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, below, restore, temp};

/// Runs `act` once, when the first bytes of a backup are done: with one thread and the long file first in order, that is
/// in the middle of it.
fn meanwhile(act: impl Fn() + Send + Sync + 'static) -> BackupOptions {
    let acted = AtomicBool::new(false);
    let mut options = BackupOptions::default().observer(move |event: &Event| {
        let is_progress = matches!(event, Event::Progress { bytes, .. } if *bytes > 0);
        if is_progress && !acted.swap(true, Ordering::SeqCst) {
            act();
        }
    });
    options.threads = 1;
    options
}

/// A source with a long file `a`, and stable ones before and after it.
fn place() -> (Place, Repository, PathBuf) {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("a"), noise::random(1, 60 << 20)).unwrap();
    for name in ["b", "c"] {
        fs::write(source.join(name), noise::random(2, 100_000)).unwrap();
    }
    let repository = place.open();
    (place, repository, source)
}

/// Backs up while `act` changes the long file, and returns the restored bytes of it, the stable ones being right.
fn changed(act: impl Fn(&Path) + Send + Sync + 'static) -> (Vec<(PathBuf, String)>, Option<Vec<u8>>) {
    let (_place, repository, source) = place();
    let path = source.join("a");
    let options = meanwhile(move || act(&path));
    let report = repository.backup(&[&source], &options).unwrap();
    assert_eq!(report.counts.errors, report.warnings.len() as u64);
    assert_clean(&repository);
    let target = temp();
    let restored = restore(&repository, "latest", &source, target.path());
    for name in ["b", "c"] {
        assert!(fs::read(restored.join(name)).unwrap() == noise::random(2, 100_000), "{name}");
    }
    let notes = report.notes.into_iter().map(|note| (note.path, format!("note: {}", note.message)));
    let warnings = report.warnings.into_iter().map(|warning| (warning.path, warning.message)).chain(notes).collect();
    (warnings, fs::read(restored.join("a")).ok())
}

#[track_caller]
fn names_the_file(warnings: &[(PathBuf, String)]) {
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].0.ends_with("source/a"), "{warnings:?}");
}

#[test]
fn a_file_that_shrinks_is_named_and_saved_as_far_as_it_was_read() {
    let (warnings, bytes) = changed(|path| fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap());
    names_the_file(&warnings);
    let bytes = bytes.unwrap();
    assert!(bytes.len() < 60 << 20 && noise::random(1, 60 << 20).starts_with(&bytes), "{} bytes", bytes.len());
}

#[test]
fn a_file_that_grows_is_named_and_saved() {
    let (warnings, bytes) = changed(|path| {
        io::Write::write_all(&mut fs::File::options().append(true).open(path).unwrap(), b"more").unwrap();
    });
    names_the_file(&warnings);
    assert!(warnings[0].1.starts_with("note: grew"), "needs no action: {warnings:?}");
    assert!(bytes.unwrap().starts_with(&noise::random(1, 60 << 20)));
}

#[test]
fn a_file_that_is_written_to_is_named_and_saved() {
    let (warnings, bytes) = changed(|path| {
        io::Write::write_all(&mut fs::File::options().write(true).open(path).unwrap(), b"other").unwrap();
    });
    names_the_file(&warnings);
    assert_eq!(bytes.unwrap().len(), 60 << 20);
}

/// It is open already, so its bytes can be had.
#[test]
fn a_file_that_is_removed_while_it_is_read_is_saved() {
    let (warnings, bytes) = changed(|path| fs::remove_file(path).unwrap());
    assert!(warnings.len() <= 1, "{warnings:?}");
    assert!(bytes.unwrap() == noise::random(1, 60 << 20));
}

/// Files that come later in the order have changed before the backup comes to them.
#[test]
fn what_vanished_or_became_something_else_is_no_harm() {
    type Act = fn(&Path);
    let acts: [(&str, Act, bool); 5] = [
        ("vanished", |path| fs::remove_file(path).unwrap(), true),
        (
            "a link",
            |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
            },
            false,
        ),
        (
            "a pipe",
            |path| {
                fs::remove_file(path).unwrap();
                rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
                    .unwrap();
            },
            false,
        ),
        (
            "a folder",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            false,
        ),
        ("a file again", |path| fs::write(path, b"new").unwrap(), false),
    ];
    for (what, act, is_missed) in acts {
        let (_place, repository, source) = place();
        let path = source.join("z");
        fs::write(&path, b"first").unwrap();
        let report = repository.backup(&[&source], &meanwhile(move || act(&path))).unwrap();
        assert_clean(&repository);
        let target = temp();
        let restored = restore(&repository, "latest", &source, target.path());
        assert!(fs::read(restored.join("a")).unwrap() == noise::random(1, 60 << 20), "{what}");
        assert!(fs::read(restored.join("c")).unwrap() == noise::random(2, 100_000), "{what}");
        let named = report.warnings.iter().any(|warning| warning.path.ends_with("source/z"));
        if is_missed {
            assert!(named, "{what}: {:?}", report.warnings);
        }
        assert!(named || restored.join("z").symlink_metadata().is_ok(), "{what}: it is there or named");
    }
}

/// Threads turn files into other things without a pause, for many backups.
#[test]
fn a_source_in_turmoil_is_backed_up_all_the_same() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("stable"), noise::random(1, 3 << 20)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let repository = place.open();
    let rounds = if daykeep_tests::is_long() { 500 } else { 40 };
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let (source, stop) = (source.clone(), Arc::clone(&stop));
            scope.spawn(move || {
                let mut rng = noise::Rng::new(thread);
                while !stop.load(Ordering::Relaxed) {
                    let path = source.join(format!("restless-{thread}-{}", rng.below(6)));
                    let _ = match rng.below(7) {
                        0 => fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)),
                        1 => open_to_write(&path, true).and_then(|mut file| {
                            io::Write::write_all(&mut file, &noise::random(rng.next(), rng.below(400_000)))
                        }),
                        2 => open_to_write(&path, false).and_then(|file| file.set_len(rng.below(300_000) as u64)),
                        3 => std::os::unix::fs::symlink("stable", &path),
                        4 => rustix::fs::mknodat(
                            rustix::fs::CWD,
                            &path,
                            rustix::fs::FileType::Fifo,
                            rustix::fs::Mode::RUSR,
                            0,
                        )
                        .map_err(io::Error::from),
                        5 => fs::create_dir(&path).and_then(|()| fs::write(path.join("inner"), b"x")),
                        _ => fs::rename(&path, source.join(format!("restless-{thread}-{}", rng.below(6)))),
                    };
                }
            });
        }
        let stopper = Stop(&stop);
        for round in 0..rounds {
            let report = repository.backup(&[&source], &BackupOptions::default()).unwrap();
            for warning in &report.warnings {
                assert!(warning.path.to_string_lossy().contains("restless"), "{warning:?}");
            }
            if round % 10 == 0 {
                let target = temp();
                let restored = restore(&repository, "latest", &source, target.path());
                assert!(fs::read(restored.join("stable")).unwrap() == noise::random(1, 3 << 20));
            }
        }
        drop(stopper);
    });
    assert_clean(&repository);
}

/// Opens without waiting for somebody at the other end of a pipe, and through no link.
fn open_to_write(path: &Path, create: bool) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    fs::File::options().write(true).create(create).truncate(create).custom_flags(flags.bits() as i32).open(path)
}

/// Lets the threads end also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_missing_path_among_others_is_named() {
    let (place, repository, source) = place();
    let missing = place.path("missing");
    let report = repository.backup(&[source.join("b"), missing.clone()], &BackupOptions::default()).unwrap();
    assert_eq!((report.counts.files, report.counts.errors), (1, 1));
    assert_eq!(report.warnings[0].path, missing);
    let target = temp();
    restore(&repository, "latest", &source, target.path());
    assert!(below(target.path(), &source).join("b").exists());
}

#[test]
fn nothing_to_back_up_is_an_error() {
    let (place, repository, _) = place();
    let outcome = repository.backup(&[place.path("missing"), place.path("gone")], &BackupOptions::default());
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::NothingToBackUp { path, .. } if path.contains("gone") || path.contains("missing")),
        "{error}"
    );
    let none: [&Path; 0] = [];
    assert!(matches!(repository.backup(&none, &BackupOptions::default()), Err(Error::NothingToBackUp { .. })));
    assert_eq!(repository.snapshots().unwrap().0.len(), 0);
}

/// A stream that fails after a while.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the line is dead"));
        }
        let count = buffer.len().min(self.0).min(10_000);
        buffer[..count].fill(7);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn a_stream_that_fails_is_named_and_the_others_are_saved() {
    for bytes in [0, 5, 20 << 20] {
        let (_place, repository, _) = place();
        let readers = vec![
            NamedReader { name: "good".into(), reader: Box::new(b"good".as_slice()) },
            NamedReader { name: "folder/bad".into(), reader: Box::new(Failing(bytes)) },
            NamedReader { name: "last".into(), reader: Box::new(b"last".as_slice()) },
        ];
        let report = repository.backup_readers(readers, &BackupOptions::default()).unwrap();
        assert_eq!((report.counts.files, report.counts.errors), (2, 1));
        assert_eq!(report.warnings[0].path, Path::new("folder/bad"));
        assert!(report.warnings[0].message.contains("the line is dead"));
        let target = temp();
        restore(&repository, "latest", Path::new("/"), target.path());
        assert_eq!(fs::read(target.path().join("last")).unwrap(), b"last");
        assert!(!target.path().join("folder").exists());
        assert_clean(&repository);
    }
}

#[test]
fn names_of_streams_that_lead_elsewhere_are_refused() {
    let (_place, repository, _) = place();
    for names in [
        vec![".."],
        vec!["a/../b"],
        vec![""],
        vec!["/"],
        vec!["a\0b"],
        vec!["a", "a"],
        vec!["a", "a/b"],
        vec!["a/b", "a"],
    ] {
        let readers = names.iter().map(|name| NamedReader { name: (*name).into(), reader: Box::new(b"x".as_slice()) });
        let outcome = repository.backup_readers(readers.collect(), &BackupOptions::default());
        assert!(matches!(outcome, Err(Error::InvalidOption { .. })), "{names:?}: {outcome:?}");
    }
    assert_eq!(repository.snapshots().unwrap().0.len(), 0);
}
