//! What is named is saved, and what is left out is told: each named path is a root of its own, wherever else it lies.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daykeep_engine::{
    Access, BackupOptions, Error, Event, OpenOptions, Patterns, PatternsBuilder, PruneOptions, Repository, SnapshotPath,
};
use daykeep_tests::place::{Kind, Place, back_up, secret, temp, try_restore};
use daykeep_tests::trees::set_mtime;
use proptest::prelude::*;

fn options(set: impl FnOnce(&mut BackupOptions)) -> BackupOptions {
    let mut options = BackupOptions::default();
    set(&mut options);
    options
}

fn patterns(lines: &[&str]) -> Patterns {
    Patterns::new(lines.iter().copied()).unwrap()
}

/// Every path in the latest snapshot.
fn listed(repository: &Repository) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    repository
        .list(&SnapshotPath::parse(b"latest").unwrap(), &mut |entry| {
            paths.push(Path::new("/").join(OsStr::from_bytes(&entry.path)));
            true
        })
        .unwrap();
    paths
}

fn has(repository: &Repository, path: &Path) -> bool {
    listed(repository).iter().any(|listed| listed.ends_with(path.strip_prefix("/").unwrap_or(path)))
}

#[test]
fn what_the_walk_of_another_path_leaves_out_is_saved_if_it_is_named() {
    type Case = (&'static str, fn(&Path, &mut BackupOptions));
    let cases: [Case; 5] = [
        ("excluded", |source, options| {
            let pattern = source.join("between");
            options.exclude = patterns(&[pattern.to_str().unwrap()]);
        }),
        ("a cache between", |source, options| {
            options.exclude_caches = true;
            fs::write(source.join("between/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
        }),
        ("a named cache", |source, options| {
            options.exclude_caches = true;
            let tag = source.join("between/named/CACHEDIR.TAG");
            fs::write(tag, "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
        }),
        ("marked", |source, options| {
            options.exclude_if_present = vec![CString::new(".nobackup").unwrap()];
            fs::write(source.join("between/.nobackup"), "").unwrap();
        }),
        ("a link between", |source, _| {
            fs::rename(source.join("between"), source.parent().unwrap().join("elsewhere")).unwrap();
            symlink("../elsewhere", source.join("between")).unwrap();
        }),
    ];
    for (name, set) in cases {
        let place = Place::new(Kind::Memory);
        let source = place.folder("source");
        fs::create_dir_all(source.join("between/named")).unwrap();
        fs::write(source.join("between/named/file"), "precious").unwrap();
        fs::write(source.join("between/other"), "other").unwrap();
        let options = options(|options| set(&source, options));
        let repository = place.open();
        let paths = [source.clone(), source.join("between/named")];
        let report = repository.backup(&paths, &options).unwrap();
        assert_eq!(report.warnings, [], "{name}");
        assert!(has(&repository, Path::new("source/between/named/file")), "{name}");
        let target = temp();
        try_restore(&repository, "latest", target.path()).unwrap();
        // The second time it is compared with the first.
        let again = repository.backup(&paths, &options).unwrap();
        assert_eq!((again.counts.files_new, again.warnings.len()), (0, 0), "{name}");
        assert!(has(&repository, Path::new("source/between/named/file")), "{name}");
    }
}

#[test]
fn a_named_path_on_another_file_system_is_saved_beside_one_that_stays_on_its_own() {
    // /dev/shm and / are two file systems, and both lie below /.
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("file"), "precious").unwrap();
    let Ok(outside) = tempfile::tempdir_in("/var/tmp") else { return };
    fs::write(outside.path().join("other"), "other").unwrap();
    // A walk of all of / would take too long: what it enters is excluded by one pattern.
    let here = |path: &Path| path.components().nth(1).unwrap().as_os_str().to_str().unwrap().to_owned();
    let options = options(|options| {
        options.one_file_system = true;
        options.exclude = patterns(&["/*", &format!("!/{}", here(&source))]);
    });
    let repository = place.open();
    repository.backup(&[Path::new("/"), &source, outside.path()], &options).unwrap();
    assert!(has(&repository, &source.join("file")));
    assert!(has(&repository, &outside.path().join("other")), "excluded on the way, and named all the same");
}

#[test]
fn only_the_cache_of_this_repository_is_left_out_and_that_is_told() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    fs::create_dir_all(source.join("big/docs")).unwrap();
    fs::write(source.join("big/docs/d"), "d").unwrap();
    let open = OpenOptions::default().cache_dir(source.join("big"));
    let repository = Repository::open(&place.location().unwrap(), &secret(), Access::Write, &open).unwrap();
    let report = back_up(&repository, &source);
    assert!(has(&repository, Path::new("source/big/docs/d")));
    let own = source.join("big").join(repository.id().to_string());
    assert!(own.is_dir() && !has(&repository, &own));
    assert!(report.notes.iter().any(|note| note.path == own), "{:?}", report.notes);
}

#[test]
fn arguments_that_cannot_be_saved_are_told_and_the_others_saved() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::write(source.join("file"), "f").unwrap();
    let socket = source.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let repository = place.open();
    let gone = source.join("gone/../../missing");
    let report =
        repository.backup(&[source.join("file"), gone.clone(), source.join("none"), socket.clone()], &options(|_| {}));
    let report = report.unwrap();
    assert!(has(&repository, Path::new("source/file")));
    let told: Vec<_> = report.warnings.iter().map(|warning| warning.path.clone()).collect();
    assert!(told.contains(&gone) && told.contains(&source.join("none")) && told.contains(&socket), "{told:?}");
    let reason = |paths: &[PathBuf], options: &BackupOptions| match repository.backup(paths, options) {
        Err(Error::NothingToBackUp { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(&[socket], &options(|_| {})).contains("socket"));
    for name in ["source", "source/file"] {
        let path = place.path(name);
        let excluded = options(|options| options.exclude = patterns(&[path.to_str().unwrap()]));
        assert!(reason(std::slice::from_ref(&path), &excluded).contains("exclude"), "{name}");
    }
    // Beside others it is a note: the user asked for both.
    let excluded = options(|options| options.exclude = patterns(&["none.*", "*.log"]));
    fs::write(source.join("a.log"), "").unwrap();
    let report = repository.backup(&[source.join("file"), source.join("a.log")], &excluded).unwrap();
    assert_eq!((report.warnings.len(), report.notes.len()), (0, 1));
    assert_eq!(report.excludes_without_effect, ["none.*"]);
}

#[test]
fn one_source_has_one_name() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::create_dir_all(place.path("other/deep")).unwrap();
    symlink("source", place.path("current")).unwrap();
    symlink("other/deep", place.path("link")).unwrap();
    let repository = place.open();
    let paths = |path: PathBuf| {
        let report = repository.backup(&[path], &BackupOptions::default()).unwrap();
        let id = report.snapshot.unwrap().to_string();
        (repository.snapshot(&id).unwrap().record.paths, report.parent.is_some())
    };
    let wanted = vec![source.as_os_str().as_bytes().to_vec()];
    assert_eq!(paths(source.clone()), (wanted.clone(), false));
    for way in ["source/", "source/.", "./source//", "other/../source", "other/deep/../../source/"] {
        assert_eq!(paths(place.path(way)), (wanted.clone(), true), "{way}");
    }
    // A link keeps its name, wherever one stands; what `..` stands for is for the file system to say.
    let link = vec![place.path("current").as_os_str().as_bytes().to_vec()];
    assert_eq!(paths(place.path("current")), (link.clone(), false));
    assert_eq!(paths(place.path("other/../current")), (link.clone(), true));
    assert_eq!(paths(place.path("link/../../current/")), (link, true));
}

#[test]
fn a_folder_knows_whether_all_that_is_in_it_was_saved() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for name in ["whole", "excluded", "socket", "large"] {
        fs::create_dir(source.join(name)).unwrap();
        fs::write(source.join(name).join("file"), "f").unwrap();
    }
    fs::write(source.join("excluded/a.tmp"), "x").unwrap();
    fs::write(source.join("large/large"), [1; 2000]).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(source.join("socket/s")).unwrap();
    let options = options(|options| {
        options.exclude = patterns(&["*.tmp"]);
        options.exclude_larger_than = Some(1000);
    });
    let repository = place.open();
    let report = repository.backup(&[&source], &options).unwrap();
    assert_eq!((report.sockets, report.warnings.len()), (1, 0));
    let is_complete = |what: &str| repository.is_complete(&SnapshotPath::parse(what.as_bytes()).unwrap()).unwrap();
    let left_out = |name: &str| !is_complete(&format!("latest:{}/{name}", source.display()));
    assert_eq!(
        ["whole", "excluded", "socket", "large", ""].map(left_out),
        [false, true, true, true, false],
        "of the folder above nothing is left out"
    );
    assert!(!is_complete("latest:/"), "of what is not named all is left out");
    // What is left out may change without a change of what is saved.
    fs::remove_file(source.join("excluded/a.tmp")).unwrap();
    repository.backup(&[&source], &options).unwrap();
    assert!(!left_out("excluded"));
}

#[test]
fn totals_are_those_of_the_backup() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::create_dir_all(source.join("big")).unwrap();
    (0..3000).for_each(|number| fs::write(source.join(format!("big/{number}")), "x").unwrap());
    fs::create_dir_all(source.join("ok/inner")).unwrap();
    fs::write(source.join("ok/a"), [7; 5000]).unwrap();
    fs::write(source.join("ok/inner/b"), [7; 100]).unwrap();
    let totals = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&totals);
    let options = options(|options| {
        options.exclude = patterns(&[source.join("big").to_str().unwrap()]);
        options.estimate = true;
        options.observer = Some(Arc::new(move |event: &Event| {
            if let Event::Total { files, bytes } = event {
                noting.lock().unwrap().push((*files, *bytes));
            }
        }));
    });
    let repository = place.open();
    // What is named twice counts once.
    let report = repository.backup(&[source.clone(), source.join("ok/inner")], &options).unwrap();
    assert_eq!((report.counts.files, report.counts.bytes), (2, 5100));
    let totals = totals.lock().unwrap();
    assert_eq!(totals.last(), Some(&(2, 5100)));
    assert!(totals.iter().all(|(files, bytes)| *files <= 2 && *bytes <= 5100), "{totals:?}");
}

#[test]
fn files_that_say_they_are_empty_are_read_on() {
    let place = Place::new(Kind::Memory);
    let repository = place.open();
    let version = fs::read("/proc/version").unwrap();
    assert_eq!(fs::metadata("/proc/version").unwrap().len(), 0);
    let report = repository.backup(&["/proc/version"], &BackupOptions::default()).unwrap();
    assert_eq!((report.warnings.len(), report.counts.bytes), (0, version.len() as u64));
    let target = temp();
    try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(fs::read(target.path().join("proc/version")).unwrap(), version);
    // As a whole it is no folder of files.
    let error = repository.backup(&["/proc"], &BackupOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::NothingToBackUp { reason, .. } if reason.contains("proc")), "{error}");
}

#[test]
fn a_file_that_falls_silent_does_not_hold_up_the_backup() {
    // A regular file that blocks, for root alone.
    let kmsg = Path::new("/proc/kmsg");
    if fs::File::open(kmsg).is_err() {
        return;
    }
    let place = Place::new(Kind::Memory);
    let begun = Instant::now();
    let report = place.open().backup(&[kmsg], &BackupOptions::default()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(report.warnings[0].message.contains("second"), "{:?}", report.warnings);
}

/// A folder `depth` folders deep, made without any path as long as that.
fn deep(root: &Path, depth: usize) -> PathBuf {
    let mut path = root.to_owned();
    let mut dir = rustix::fs::open(root, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "d", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        path.push("d");
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(&dir, "file", flags, rustix::fs::Mode::RWXU).unwrap();
    path
}

#[test]
fn what_is_saved_at_the_greatest_depth_can_be_restored_and_pruned() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let above = source.components().count() - 1;
    // A tree of /, then one more for each folder; 2,048 is the last depth that a reader takes.
    for (folders, is_saved) in [(2048 - above, true), (2049 - above, false), (2060 - above, false)] {
        let root = source.join(folders.to_string());
        fs::create_dir(&root).unwrap();
        deep(&root, folders - 1);
        let repository = place.open();
        for set in [|_: &mut BackupOptions| {}, |options: &mut BackupOptions| options.one_file_system = true] {
            let report = repository.backup(&[&root], &options(set)).unwrap();
            assert_eq!(report.warnings.is_empty(), is_saved, "{folders} {:?}", report.warnings);
            let files = listed(&repository).iter().filter(|path| path.ends_with("file")).count();
            assert_eq!(files, usize::from(is_saved), "{folders}");
        }
        repository.prune_plan(&PruneOptions::default()).unwrap();
        drop(repository);
        fs::remove_dir_all(&root)
            .unwrap_or_else(|_| drop(std::process::Command::new("rm").arg("-rf").arg(&root).status()));
    }
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

#[test]
fn attributes_never_cost_a_file_its_bytes_or_its_folder_its_files() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for name in ["sibling", "many", "long", "endless"] {
        fs::write(source.join(name), name).unwrap();
    }
    if !set_xattr(&source.join("many"), "user.0", b"") {
        return; // This file system has no attributes.
    }
    let set = |file: &str, count: usize, bytes: usize| {
        let value = vec![b'v'; bytes];
        (0..count).filter(|number| set_xattr(&source.join(file), &format!("user.{number:05x}"), &value)).count()
    };
    let many = set("many", 5000, 0);
    set("long", 40, 60_000);
    // Linux lists no more than 64 KiB of names.
    let endless = set("endless", 6000, 0);
    let repository = place.open();
    let report = repository.backup(&[&source], &BackupOptions::default()).unwrap();
    let target = temp();
    let restored = try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(restored.warnings, []);
    let at = daykeep_tests::place::below(target.path(), &source);
    for name in ["sibling", "many", "long", "endless"] {
        assert_eq!(fs::read(at.join(name)).unwrap(), name.as_bytes());
    }
    let mut names = vec![0; 65536];
    let count = rustix::fs::listxattr(at.join("many"), &mut names).unwrap();
    assert_eq!(names[..count].iter().filter(|byte| **byte == 0).count(), many + 1);
    let told: Vec<_> = report.warnings.iter().map(|warning| warning.path.file_name().unwrap()).collect();
    let beyond_list = endless * "user.00000\0".len() > 65536;
    assert!(told.contains(&OsStr::new("long")) && !told.contains(&OsStr::new("many")), "{:?}", report.warnings);
    assert_eq!(told.contains(&OsStr::new("endless")), beyond_list, "{:?}", report.warnings);
}

#[test]
fn a_file_replaced_with_its_times_kept_is_seen() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let file = source.join("file");
    let past = (1_600_000_000, 0);
    fs::write(&file, "one").unwrap();
    set_mtime(&file, past);
    let repository = place.open();
    back_up(&repository, &source);
    // What a file system of a coarse clock shows: another content under the same times, and the same inode.
    let replace_within_tick = |text: &str| {
        fs::write(&file, text).unwrap();
        set_mtime(&file, past);
    };
    replace_within_tick("two");
    let report = back_up(&repository, &source);
    assert_eq!((report.counts.files_changed, report.counts.files_unmodified), (1, 0));
    // A backup that was told to ignore ctimes does not look.
    std::thread::sleep(Duration::from_millis(2100));
    back_up(&repository, &source);
    replace_within_tick("six");
    let ignoring = options(|options| options.ignore_ctime = true);
    assert_eq!(repository.backup(&[&source], &ignoring).unwrap().counts.files_unmodified, 1);
    assert_eq!(back_up(&repository, &source).counts.files_changed, 1);
}

#[test]
fn a_file_under_another_inode_number_can_be_taken_for_unchanged() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let (one, two) = (source.join("one"), place.path("two"));
    for file in [&one, &two] {
        fs::write(file, "same").unwrap();
        set_mtime(file, (1_600_000_000, 0));
    }
    let repository = place.open();
    back_up(&repository, &source);
    fs::rename(&two, &one).unwrap();
    let opened = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&opened);
    let run = |set: fn(&mut BackupOptions)| {
        let options = options(|options| {
            set(options);
            let counting = Arc::clone(&counting);
            options.file_events = true;
            options.observer = Some(Arc::new(move |event: &Event| {
                if let Event::Progress { files: 0, .. } = event {
                    *counting.lock().unwrap() += 1;
                }
            }));
        });
        *opened.lock().unwrap() = 0;
        repository.backup(&[&source], &options).unwrap();
        *opened.lock().unwrap()
    };
    assert_eq!(run(|options| (options.ignore_inode, options.ignore_ctime) = (true, true)), 0, "not even opened");
    assert_ne!(run(|_| {}), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// An option either changes what is saved or is told.
    #[test]
    fn a_pattern_changes_the_outcome_or_is_told(
        chosen in prop::collection::vec(prop::sample::select(&[
            "*.txt", "a", "a/", "./a", "./a/b.txt", "../source/a", "a//c", "#x", "!a", "/none", "none*", "a/**", "**/c",
            "source", "../source", "A", "b.TXT", "a/./c/",
        ][..]), 1..4),
        ignores_case in any::<bool>(),
    ) {
        let place = Place::new(Kind::Memory);
        let source = place.folder("source");
        fs::create_dir_all(source.join("a/c")).unwrap();
        for name in ["a/b.txt", "a/c/d", "#x", "e.txt"] {
            fs::write(source.join(name), name).unwrap();
        }
        let repository = place.open();
        let run = |lines: &[&str]| {
            let builder = PatternsBuilder::default();
            let lines = lines.iter().copied();
            let built = if ignores_case {
                builder.ignoring_case_in(&source, lines)
            } else {
                builder.written_in(&source, lines)
            };
            let options = options(|options| options.exclude = built.unwrap().build().unwrap());
            match repository.backup(&[&source], &options) {
                Ok(report) => (listed(&repository), report.excludes_without_effect),
                Err(Error::NothingToBackUp { .. }) => (Vec::new(), Vec::new()),
                Err(error) => panic!("{error}"),
            }
        };
        let (_, without_effect) = run(&chosen);
        // Those that had no effect can go, and nothing changes.
        let others: Vec<&str> =
            chosen.iter().copied().filter(|line| !without_effect.contains(&(*line).to_owned())).collect();
        let (with_all, _) = run(&chosen);
        prop_assert_eq!(run(&others).0, with_all, "{:?} of {:?}", without_effect, chosen);
        // What has an effect alone, and matches something, is not called without.
        for line in &chosen {
            let (alone, told) = run(&[line]);
            let changes = alone != run(&[]).0;
            prop_assert!(!changes || told.is_empty(), "{line} changes something and is told: {told:?}");
            prop_assert!(changes || !told.is_empty() || line.starts_with('!'), "{line} changes nothing, silently");
        }
    }
}
