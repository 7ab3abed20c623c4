//! Where a restore writes and where not, and what it takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use daykeep_engine::{Error, Overwrite, Patterns, Repository, RestoreOptions, RestoreReport, SnapshotPath};
use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::place::{Kind, Place, back_up, below, try_restore};
use daykeep_tests::trees::set_mtime;

/// A repository with a snapshot of `folder/{one.txt, inner/two.jpg, inner/deep/three.txt}`.
fn place() -> (Place, Repository, PathBuf) {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    fs::create_dir_all(source.join("inner/deep")).unwrap();
    fs::write(source.join("one.txt"), "one").unwrap();
    fs::write(source.join("inner/two.jpg"), "two").unwrap();
    fs::write(source.join("inner/deep/three.txt"), "three").unwrap();
    let repository = place.open();
    back_up(&repository, &source);
    (place, repository, source)
}

fn run(
    repository: &Repository,
    path: Option<&Path>,
    target: &Path,
    change: impl FnOnce(&mut RestoreOptions),
) -> Result<RestoreReport, Error> {
    let what = path.map_or_else(|| "latest".to_owned(), |path| format!("latest:{}", path.display()));
    let mut options = RestoreOptions::default();
    change(&mut options);
    repository.restore(&SnapshotPath::parse(what.as_bytes()).unwrap(), target, &options)
}

fn names(root: &Path) -> Vec<String> {
    read(root)
        .into_iter()
        .filter(|(_, item)| item.kind != 'd')
        .map(|(path, _)| String::from_utf8(path).unwrap())
        .collect()
}

#[test]
fn a_target_behind_a_link_is_refused_by_name() {
    let (place, repository, _) = place();
    let real = place.folder("real");
    symlink(&real, place.path("link")).unwrap();
    for target in [place.path("link"), place.path("link/below"), place.path("link/below/deeper")] {
        let error = run(&repository, None, &target, |_| ()).unwrap_err();
        assert!(matches!(&error, Error::UnsafeTarget { path, .. } if *path == place.path("link")), "{error}");
        assert!(error.to_string().contains(&*real.to_string_lossy()), "it says what to give instead: {error}");
    }
    assert_eq!(read(&real).len(), 1, "nothing was written");
    fs::write(place.path("file"), "in the way").unwrap();
    let error = run(&repository, None, &place.path("file"), |_| ()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn links_in_the_target_are_not_followed() {
    let (place, repository, source) = place();
    let (outside, target) = (place.folder("outside"), place.folder("target"));
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::create_dir_all(outside.join("inner")).unwrap();
    // A link where a folder is to be, and one where a file is to be.
    symlink(outside.join("inner"), target.join("inner")).unwrap();
    symlink(outside.join("victim"), target.join("one.txt")).unwrap();
    let report = run(&repository, Some(&source), &target, |_| ()).unwrap();
    assert!(report.warnings.iter().any(|(path, _)| path.ends_with("/inner")), "{:?}", report.warnings);
    assert_eq!(names(&outside), ["victim"]);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::read(target.join("one.txt")).unwrap(), b"one");
    assert!(!target.join("one.txt").is_symlink(), "the file took the link's place");
}

#[test]
fn what_is_in_the_way_is_named_and_stays() {
    let (place, repository, source) = place();
    let target = place.folder("target");
    fs::create_dir_all(target.join("one.txt/mine")).unwrap();
    fs::write(target.join("inner"), "a file where a folder is to be").unwrap();
    let report = run(&repository, Some(&source), &target, |_| ()).unwrap();
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    assert!(target.join("one.txt/mine").is_dir() && target.join("inner").is_file());
}

#[test]
fn overwrite_does_what_it_says() {
    let (place, repository, source) = place();
    let target = place.folder("target");
    run(&repository, Some(&source), &target, |_| ()).unwrap();
    let set = |change: bool| {
        fs::write(target.join("one.txt"), "ONE").unwrap();
        if !change {
            // As long and as old as the snapshot's: it passes for the same.
            let time = fs::metadata(source.join("one.txt")).unwrap().modified().unwrap();
            fs::File::options().write(true).open(target.join("one.txt")).unwrap().set_modified(time).unwrap();
        } else {
            set_mtime(&target.join("one.txt"), (1_000_000_000, 0));
        }
    };
    let text = || fs::read_to_string(target.join("one.txt")).unwrap();
    for (overwrite, change, wanted) in [
        (Overwrite::Never, true, "ONE"),
        (Overwrite::IfChanged, false, "ONE"),
        (Overwrite::IfChanged, true, "one"),
        (Overwrite::Always, false, "one"),
        (Overwrite::Always, true, "one"),
    ] {
        set(change);
        let report = run(&repository, Some(&source), &target, |options| options.overwrite = overwrite).unwrap();
        assert_eq!(text(), wanted, "{overwrite:?} {change}");
        assert_eq!((report.files + report.files_kept, report.warnings.len()), (3, 0));
        if overwrite == Overwrite::Never {
            assert_eq!((report.files, report.files_kept), (0, 3));
        }
    }
    // A file that is not there is restored whatever is said.
    fs::remove_file(target.join("inner/two.jpg")).unwrap();
    let report = run(&repository, Some(&source), &target, |options| options.overwrite = Overwrite::Never).unwrap();
    assert_eq!((report.files, report.files_kept), (1, 2));
}

#[test]
fn verify_reads_back_and_tells_what_differs() {
    let (place, repository, source) = place();
    let target = place.folder("target");
    let report = run(&repository, Some(&source), &target, |options| options.verify = true).unwrap();
    assert_eq!((report.files_verified, report.warnings.len()), (3, 0));
    fs::write(target.join("one.txt"), "ONE").unwrap();
    let report = run(&repository, Some(&source), &target, |options| {
        options.verify = true;
        options.overwrite = Overwrite::Never;
    })
    .unwrap();
    assert_eq!(report.files_verified, 2);
    assert_eq!(report.warnings.len(), 1);
    assert!(
        report.warnings[0].0.ends_with("/one.txt") && report.warnings[0].1.contains("differs"),
        "{:?}",
        report.warnings
    );
}

#[test]
fn include_and_exclude_choose() {
    let (place, repository, source) = place();
    let chosen = |include: &[&str], exclude: &[&str], name: &str| {
        let target = place.path(name);
        run(&repository, Some(&source), &target, |options| {
            options.include = Patterns::new(include.iter().copied()).unwrap();
            options.exclude = Patterns::new(exclude.iter().copied()).unwrap();
        })
        .unwrap();
        if target.exists() { names(&target) } else { Vec::new() }
    };
    assert_eq!(chosen(&["*.txt"], &[], "1"), ["inner/deep/three.txt", "one.txt"]);
    assert_eq!(chosen(&["deep/"], &[], "2"), ["inner/deep/three.txt"]);
    assert_eq!(chosen(&[], &["*.txt"], "3"), ["inner/two.jpg"]);
    assert_eq!(chosen(&["*.txt"], &["inner/deep", "deep"], "4"), ["one.txt"]);
    assert_eq!(chosen(&["nothing"], &[], "5"), [""; 0]);
    let anchored = format!("{}/inner", source.display());
    assert_eq!(chosen(&[&anchored], &[], "6"), ["inner/deep/three.txt", "inner/two.jpg"]);
    assert!(!place.path("2").join("inner/two.jpg").exists());
}

#[test]
fn a_path_of_a_snapshot_goes_into_the_target_itself() {
    let (place, repository, source) = place();
    run(&repository, Some(&source), &place.path("all"), |_| ()).unwrap();
    assert_same(&read(&source), &read(&place.path("all")));
    run(&repository, Some(&source.join("inner")), &place.path("inner"), |_| ()).unwrap();
    assert_same(&read(&source.join("inner")), &read(&place.path("inner")));
    let report = run(&repository, Some(&source.join("inner/two.jpg")), &place.path("file"), |_| ()).unwrap();
    assert_eq!((report.files, names(&place.path("file"))), (1, vec!["two.jpg".to_owned()]));
    for path in ["missing", "one.txt/below", "inner/missing"] {
        let error = run(&repository, Some(&source.join(path)), &place.path("none"), |_| ()).unwrap_err();
        assert!(matches!(&error, Error::PathNotFound { path: named, .. } if named.ends_with(path)), "{error}");
    }
    assert!(!place.path("none").exists());
    assert!(SnapshotPath::parse(b"latest:/a/../b").is_err());
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let (place, repository, source) = place();
    let target = place.path("target");
    let dry = run(&repository, None, &target, |options| options.dry_run = true).unwrap();
    assert!(!target.exists());
    let wet = run(&repository, None, &target, |_| ()).unwrap();
    assert_eq!((dry.files, dry.bytes, dry.directories), (wet.files, wet.bytes, wet.directories));
    assert_same(&read(&source), &read(&below(&target, &source)));
}

#[test]
fn snapshots_are_found_by_the_first_digits_of_their_ids() {
    let (place, repository, source) = place();
    back_up(&repository, &source);
    let (snapshots, _) = repository.snapshots().unwrap();
    for snapshot in &snapshots {
        let id = snapshot.id.to_string();
        assert_eq!(repository.snapshot(&id).unwrap().id, snapshot.id);
        assert_eq!(repository.snapshot(&id[..20].to_uppercase()).unwrap().id, snapshot.id);
    }
    assert_eq!(repository.snapshot("latest").unwrap().id, snapshots[1].id);
    for wanted in ["", "xyz", "lates", &"0".repeat(64)] {
        let error = try_restore(&repository, wanted, &place.path("none")).unwrap_err();
        assert!(matches!(error, Error::SnapshotNotFound { .. }), "{wanted}: {error}");
    }
    assert!(!place.path("none").exists());
}

#[test]
fn a_target_that_may_not_be_written_is_named() {
    if daykeep_tests::is_root() {
        println!("skipped: root may write everywhere");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let (place, repository, _) = place();
    let target = place.folder("target");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o500)).unwrap();
    let said = match run(&repository, None, &target, |_| ()) {
        Err(error) => error.to_string(),
        Ok(report) => format!("{:?}", report.warnings),
    };
    assert!(said.contains("Permission denied"), "{said}");
}
