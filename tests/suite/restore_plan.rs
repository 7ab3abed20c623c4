//! A dry run tells what a run does, whatever lies at the target; a run deletes only what was asked for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use daykeep_engine::{
    BackupOptions, Event, Overwrite, Patterns, Repository, RestoreOptions, RestoreReport, SnapshotPath,
};
use daykeep_tests::inventory::read;
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng, Seed};
use daykeep_tests::place::{Kind, Place, back_up, below};

const NAMES: [&str; 7] = ["a", "b", "c.txt", "d.txt", "sub", "deep", "x.db"];

fn run(repository: &Repository, what: &str, target: &Path, change: impl FnOnce(&mut RestoreOptions)) -> RestoreReport {
    let mut options = RestoreOptions::default();
    change(&mut options);
    repository.restore(&SnapshotPath::parse(what.as_bytes()).unwrap(), target, &options).unwrap()
}

/// Makes something of any kind at `path`.
fn make(rng: &mut Rng, path: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    match rng.below(if depth == 0 { 5 } else { 8 }) {
        0 | 1 => {
            fs::write(path, noise::text(rng.below(5) as u64, rng.below(3000))).unwrap();
            files.push(path.to_owned());
        }
        2 => fs::write(path, noise::random(rng.below(5) as u64, 300_000)).unwrap(),
        3 => symlink("a", path).unwrap(),
        4 if !files.is_empty() => fs::hard_link(&files[rng.below(files.len())], path).unwrap(),
        4 => rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap(),
        _ => {
            fs::create_dir(path).unwrap();
            for name in NAMES {
                if rng.below(3) > 0 {
                    make(rng, &path.join(name), depth - 1, files);
                }
            }
        }
    }
}

/// Changes here and there what is at the target.
fn disturb(rng: &mut Rng, folder: &Path) {
    for name in NAMES.iter().chain(&["extra", "other"]) {
        let path = folder.join(name);
        let is_there = fs::symlink_metadata(&path).is_ok();
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        match rng.below(7) {
            0 if is_dir => fs::remove_dir_all(&path).unwrap(),
            0 if is_there => fs::remove_file(&path).unwrap(),
            1 if is_dir => {
                fs::remove_dir_all(&path).unwrap();
                make(rng, &path, 1, &mut Vec::new());
            }
            1 if is_there => {
                fs::remove_file(&path).unwrap();
                make(rng, &path, 1, &mut Vec::new());
            }
            2 if !is_there => make(rng, &path, 1, &mut Vec::new()),
            _ if is_dir => disturb(rng, &path),
            _ => {}
        }
    }
}

#[test]
fn a_dry_run_tells_what_a_run_does() {
    let mut rng = Rng::new(Seed::first());
    for _ in 0..if is_long() { 600 } else { 60 } {
        let place = Place::new(Kind::Memory);
        let source = place.folder("source");
        let mut files = Vec::new();
        for name in NAMES {
            make(&mut rng, &source.join(name), 3, &mut files);
        }
        let repository = place.open();
        let mut backup = BackupOptions::default();
        if rng.below(3) == 0 {
            backup.exclude = Patterns::new(["b"]).unwrap();
        }
        repository.backup(&[&source], &backup).unwrap();
        let target = place.path("target");
        let what = match rng.below(3) {
            0 => "latest".to_owned(),
            1 => format!("latest:{}", source.display()),
            _ => format!("latest:{}", source.parent().unwrap().display()),
        };
        if rng.below(4) > 0 {
            run(&repository, &what, &target, |_| ());
            let inner = if what == "latest" { below(&target, &source) } else { target.clone() };
            disturb(&mut rng, &inner);
        }
        let overwrite = [Overwrite::Always, Overwrite::IfChanged, Overwrite::Never][rng.below(3)];
        let include = [vec![], vec![], vec!["*.txt"], vec!["sub", "none"], vec!["sub/", "!b"]][rng.below(5)].clone();
        let exclude = [vec![], vec![], vec!["deep"], vec!["a"]][rng.below(4)].clone();
        let (delete, delete_excluded) = (rng.below(2) == 0, rng.below(2) == 0);
        let set = |options: &mut RestoreOptions| {
            options.overwrite = overwrite;
            options.include = Patterns::new(include.iter().copied()).unwrap();
            options.exclude = Patterns::new(exclude.iter().copied()).unwrap();
            (options.delete, options.delete_excluded) = (delete, delete_excluded);
        };
        let before = target.exists().then(|| read(&target));
        let dry = run(&repository, &what, &target, |options| {
            set(options);
            options.dry_run = true;
        });
        assert_eq!(target.exists().then(|| read(&target)), before, "a dry run changes nothing");
        let wet = run(&repository, &what, &target, set);
        let counts = |report: &RestoreReport| {
            let RestoreReport { files, directories, bytes, files_kept, deleted, folders_spared, .. } = *report;
            // Which file below a folder in the way is the first to be told is not the same.
            let mut warned: Vec<_> = report.warnings.iter().map(|(_, message)| message.clone()).collect();
            warned.sort();
            let unmatched = report.includes_unmatched.clone();
            (files, directories, bytes, files_kept, deleted, folders_spared, unmatched, warned)
        };
        let how = format!("{what} {overwrite:?} +{include:?} -{exclude:?} delete {delete} {delete_excluded}");
        assert_eq!(counts(&dry), counts(&wet), "{how}");
        if delete && delete_excluded && overwrite == Overwrite::Always && include.is_empty() && exclude.is_empty() {
            assert_eq!(wet.warnings, [], "whatever was in the way is gone: {how}");
        }
    }
}

#[test]
fn an_include_that_matches_nothing_is_told_and_totals_count_what_is_selected() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for name in ["a.txt", "b.txt", "c.jpg"] {
        fs::write(source.join(name), name).unwrap();
    }
    let repository = place.open();
    back_up(&repository, &source);
    let totals = Arc::new(Mutex::new(Vec::new()));
    let mut number = 0;
    let mut restored = |include: &[&str], what: &str| {
        number += 1;
        let told = Arc::clone(&totals);
        run(&repository, what, &place.path(format!("target-{number}")), |options| {
            options.include = Patterns::new(include.iter().copied()).unwrap();
            options.observer = Some(Arc::new(move |event: &Event| {
                if let Event::Total { files, .. } = event {
                    told.lock().unwrap().push(*files);
                }
            }));
        })
    };
    let report = restored(&["*.txt", "none", "/nowhere/*"], "latest");
    assert_eq!((report.files, report.includes_unmatched), (2, vec!["none".to_owned(), "/nowhere/*".to_owned()]));
    let report = restored(&["*.jpg"], &format!("latest:{}", source.display()));
    assert_eq!((report.files, report.includes_unmatched.len()), (1, 0));
    assert_eq!(restored(&["gone"], "latest").files, 0);
    assert_eq!(restored(&[], "latest").files, 3);
    // A total that comes too late does not come at all.
    assert!(
        totals.lock().unwrap().iter().all(|total| [0, 1, 2, 3].contains(total)) && totals.lock().unwrap().contains(&3)
    );
    assert!(totals.lock().unwrap().iter().filter(|&&total| total == 3).count() == 1, "only the last was whole");
}

#[test]
fn delete_takes_what_the_snapshot_has_not_and_nothing_else() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    fs::create_dir_all(source.join("kept/inner")).unwrap();
    fs::create_dir_all(source.join("partly")).unwrap();
    for name in ["a", "kept/inner/b", "partly/c", "partly/left.tmp", "x.db"] {
        fs::write(source.join(name), name).unwrap();
    }
    let repository = place.open();
    let mut backup = BackupOptions::default();
    backup.exclude = Patterns::new(["*.tmp"]).unwrap();
    repository.backup(&[&source], &backup).unwrap();
    let extra = ["extra", "kept/inner/extra/deep/file", "partly/extra", "x.db-wal"];
    let spoil = || {
        for name in extra {
            fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
            fs::write(source.join(name), "mine").unwrap();
        }
        fs::write(place.path("beside"), "not in the source").unwrap();
    };
    let there = || extra.map(|name| source.join(name).exists());
    let what = format!("latest:{}", source.display());
    spoil();
    let dry = run(&repository, &what, &source, |options| (options.delete, options.dry_run) = (true, true));
    assert_eq!((dry.deleted, dry.folders_spared, there()), (4, 1, [true; 4]));
    let report = run(&repository, &what, &source, |options| options.delete = true);
    assert_eq!((report.deleted, report.folders_spared, report.warnings.len()), (4, 1, 0), "{:?}", report.warnings);
    assert_eq!(there(), [false, false, true, true], "what was left out, and the log of a database, stay");
    assert!(source.join("partly/left.tmp").exists() && place.path("beside").exists());
    // In place, from the root: the folders above the source are not part of it, and the repository is beside it.
    spoil();
    let report = run(&repository, "latest", Path::new("/"), |options| {
        (options.delete, options.delete_excluded) = (true, true);
    });
    assert_eq!((report.deleted, report.folders_spared, report.warnings.len()), (6, 0, 0), "{:?}", report.warnings);
    assert!(!source.join("partly/left.tmp").exists() && place.path("beside").exists());
    assert!(place.path("repository").is_dir() && place.path("cache").is_dir());
    // Not outside of what was included.
    spoil();
    let report = run(&repository, &what, &source, |options| {
        options.delete = true;
        options.include = Patterns::new(["kept"]).unwrap();
    });
    assert_eq!((report.deleted, there()), (3, [true, false, true, true]));
    // The repository is in what is restored, and stays.
    let place = Place::new(Kind::Directory);
    let source = place.dir.path().to_owned();
    fs::write(source.join("a"), "a").unwrap();
    let repository = place.open();
    repository.backup(&[&source], &BackupOptions::default()).unwrap();
    let report = run(&repository, "latest", Path::new("/"), |options| {
        (options.delete, options.delete_excluded) = (true, true);
    });
    assert_eq!(report.deleted, 0);
    assert!(place.path("repository").is_dir() && place.path("cache").is_dir());
}
