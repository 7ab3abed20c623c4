//! A restore touches what was asked for: folders above keep their metadata, files of the user's their names, and links are
//! followed only where the user says so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use daykeep_engine::internals::format::content::Content;
use daykeep_engine::internals::format::tree::{Class, Entry, Metadata, Node, Tree};
use daykeep_engine::{
    BackupOptions, CancelToken, Error, Event, Overwrite, Patterns, Repository, RestoreOptions, RestoreReport,
    SnapshotPath,
};
use daykeep_tests::forge::{Forge, TIME};
use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::place::{Kind, Place, back_up};
use daykeep_tests::trees::set_mtime;
use daykeep_tests::{is_root, noise};

const OLD: (i64, i64) = (1_000_000_000, 0);

fn try_run(
    repository: &Repository,
    what: &str,
    target: &Path,
    change: impl FnOnce(&mut RestoreOptions),
) -> Result<RestoreReport, Error> {
    let mut options = RestoreOptions::default();
    change(&mut options);
    repository.restore(&SnapshotPath::parse(what.as_bytes()).unwrap(), target, &options)
}

fn run(repository: &Repository, what: &str, target: &Path, change: impl FnOnce(&mut RestoreOptions)) -> RestoreReport {
    try_run(repository, what, target, change).unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Mode and time of change.
fn look(path: &Path) -> (u32, (i64, i64)) {
    let found = fs::metadata(path).unwrap();
    (found.mode() & 0o7777, (found.mtime(), found.mtime_nsec()))
}

/// All names below a folder that begin like temporary ones.
fn temporary(folder: &Path) -> Vec<Vec<u8>> {
    read(folder).into_keys().filter(|path| path.windows(9).any(|part| part == b".daykeep-")).collect()
}

#[test]
fn folders_that_nobody_asked_for_keep_their_metadata() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("above/source");
    fs::create_dir(source.join("inner")).unwrap();
    fs::write(source.join("inner/file"), "file").unwrap();
    fs::write(source.join("other"), "other").unwrap();
    set_mode(&source, 0o750);
    let repository = place.open();
    back_up(&repository, &source);
    let folders = [place.path("above"), source.clone(), source.join("inner")];
    let disturb = || {
        fs::remove_file(source.join("inner/file")).unwrap();
        folders.iter().for_each(|folder| set_mode(folder, 0o711));
        folders.iter().for_each(|folder| set_mtime(folder, OLD));
    };
    let modes = || folders.each_ref().map(|folder| look(folder).0);
    // One file: no folder is part of what is restored.
    disturb();
    let report = run(&repository, "latest", Path::new("/"), |options| {
        options.include = Patterns::new([source.join("inner/file").to_str().unwrap()]).unwrap();
    });
    assert_eq!((report.files, report.directories, report.warnings.len()), (1, 0, 0));
    assert_eq!((modes(), look(&source).1, look(&folders[0]).1), ([0o711; 3], OLD, OLD));
    // All of it: the folder above is not part of it, even though the snapshot has it.
    disturb();
    run(&repository, "latest", Path::new("/"), |_| ());
    assert_eq!((modes(), look(&folders[0]).1), ([0o711, 0o750, 0o755], OLD));
    // Nothing may be overwritten, and that holds for the metadata of folders too.
    disturb();
    let report = run(&repository, "latest", Path::new("/"), |options| options.overwrite = Overwrite::Never);
    assert_eq!((report.files, report.files_kept, modes()), (1, 1, [0o711; 3]));
    assert_eq!(look(&source).1, OLD);
    // What is made gets what the snapshot has, asked for or not.
    fs::remove_dir_all(place.path("above")).unwrap();
    run(&repository, "latest", Path::new("/"), |options| {
        options.include = Patterns::new(["file"]).unwrap();
        options.overwrite = Overwrite::Never;
    });
    assert_eq!(modes()[1..], [0o750, 0o755]);
}

#[test]
fn what_is_not_known_of_a_folder_is_not_invented() {
    let mut forge = Forge::new();
    let metadata = Metadata { mode: 0o644, mtime: TIME, ..Metadata::default() };
    let content = Content { level: 0, parts: Vec::new() };
    let file = |name: &str| Entry {
        name: name.into(),
        metadata: metadata.clone(),
        node: Node::File { content: content.clone(), class: Class::General, capture: None },
    };
    let inner = forge.tree(&Tree { entries: vec![file("file")], ..Tree::default() }.encode());
    let folder =
        Entry { name: b"folder".to_vec(), metadata: Metadata::unknown(), node: Node::Directory { content: inner } };
    let root = forge.tree(&Tree { entries: vec![folder], ..Tree::default() }.encode());
    forge.snapshot(root);
    let place = Place::of_store(forge.store);
    let target = place.folder("target");
    let folder = target.join("folder");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o711);
    let report = run(&place.open(), "latest", &target, |_| ());
    assert_eq!((report.files, look(&folder).0), (1, 0o711));
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(place.path("usual")).unwrap();
    run(&place.open(), "latest", &target, |_| ());
    assert_eq!(look(&folder).0, look(&place.path("usual")).0, "a new one is as any other");
    assert!(look(&folder).1.0 > 1_700_000_000);
}

#[test]
fn links_above_what_is_restored_are_named_or_followed() {
    let place = Place::new(Kind::Memory);
    let real = place.folder("real");
    let docs = place.folder("home/me/docs");
    fs::write(docs.join("file"), "file").unwrap();
    fs::create_dir(docs.join("inner")).unwrap();
    fs::write(docs.join("inner/file"), "file").unwrap();
    let repository = place.open();
    back_up(&repository, &docs);
    fs::rename(place.path("home/me"), real.join("me")).unwrap();
    fs::remove_dir(place.path("home")).unwrap();
    symlink("real", place.path("home")).unwrap();
    fs::remove_dir_all(real.join("me/docs")).unwrap();
    for include in [None, Some("file")] {
        let report = run(&repository, "latest", Path::new("/"), |options| {
            options.include = Patterns::new(include).unwrap();
        });
        assert_eq!((report.files, report.warnings.len()), (0, 1), "{:?}", report.warnings);
        let said = &report.warnings[0].1;
        assert!(said.contains(real.to_str().unwrap()) && !said.contains("remove it"), "{said}");
    }
    let report = run(&repository, "latest", Path::new("/"), |options| options.follow_target_links = true);
    assert_eq!((report.files, report.warnings.len()), (2, 0), "{:?}", report.warnings);
    assert_eq!(fs::read_to_string(real.join("me/docs/file")).unwrap(), "file");
    // A second time, over what is there.
    let report = run(&repository, "latest", Path::new("/"), |options| options.follow_target_links = true);
    assert_eq!((report.files, report.warnings.len()), (2, 0), "{:?}", report.warnings);
    // Never one in what is restored.
    fs::remove_dir_all(real.join("me/docs/inner")).unwrap();
    fs::create_dir(place.path("outside")).unwrap();
    symlink(place.path("outside"), real.join("me/docs/inner")).unwrap();
    let report = run(&repository, "latest", Path::new("/"), |options| options.follow_target_links = true);
    assert_eq!((report.files, report.warnings.len()), (1, 1), "{:?}", report.warnings);
    assert_eq!(fs::read_dir(place.path("outside")).unwrap().count(), 0);
    // The path of the target lies above too.
    let target = place.path("home/new");
    let what = format!("latest:{}", docs.display());
    assert!(try_run(&repository, &what, &target, |_| ()).is_err());
    assert_eq!(run(&repository, &what, &target, |options| options.follow_target_links = true).files, 2);
}

#[test]
fn what_is_replaced_stays_until_all_is_whole() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for number in 0..40 {
        fs::write(source.join(number.to_string()), noise::random(number, 400_000)).unwrap();
    }
    let repository = place.open();
    back_up(&repository, &source);
    let target = place.folder("target");
    for number in 0..40 {
        fs::write(target.join(number.to_string()), "old").unwrap();
    }
    fs::write(target.join(".daykeep-mine.part"), "mine").unwrap();
    let cancel = CancelToken::default();
    let stop = cancel.clone();
    let what = format!("latest:{}", source.display());
    let outcome = try_run(&repository, &what, &target, |options| {
        options.cancel = cancel.clone();
        options.observer = Some(std::sync::Arc::new(move |event: &Event| {
            if matches!(event, Event::Progress { files: 1, .. }) {
                stop.cancel();
            }
        }));
    });
    assert!(matches!(outcome, Err(Error::Cancelled)));
    for number in 0..40 {
        assert_eq!(fs::read_to_string(target.join(number.to_string())).unwrap(), "old");
    }
    assert_eq!(temporary(&target), [b".daykeep-mine.part"], "nothing is left but what is the user's");
    run(&repository, &what, &target, |options| options.verify = true);
    fs::remove_file(target.join(".daykeep-mine.part")).unwrap();
    let times = fs::metadata(&source).unwrap();
    set_mtime(&target, (times.mtime(), times.mtime_nsec()));
    assert_same(&read(&source), &read(&target));
}

#[test]
fn a_log_beside_a_database_goes_only_if_it_is_sqlites_and_its_database_is_replaced() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    let database = rusqlite::Connection::open(source.join("travel")).unwrap();
    database.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1);").unwrap();
    drop(database);
    let repository = place.open();
    back_up(&repository, &source);
    let target = place.folder("target");
    let what = format!("latest:{}", source.display());
    let wal = [0x377f_0682u32.to_be_bytes().as_slice(), &[0; 28]].concat();
    let names = ["travel-journal", "travel-wal", "travel-shm"];
    let spoil = || {
        for (name, bytes) in names.iter().zip([b"Day 1: Lisbon".as_slice(), &wal, b"mine, and long enough"]) {
            fs::write(target.join(name), bytes).unwrap();
        }
    };
    let there = || names.map(|name| target.join(name).exists());
    fs::write(target.join("travel"), "another").unwrap();
    spoil();
    run(&repository, &what, &target, |options| options.overwrite = Overwrite::Never);
    assert_eq!((there(), fs::read_to_string(target.join("travel")).unwrap()), ([true; 3], "another".into()));
    run(&repository, &what, &target, |_| ());
    assert_eq!(there(), [true, false, true]);
    // Where nothing may go, it is told that the log is another's.
    fs::remove_file(target.join("travel")).unwrap();
    spoil();
    let report = run(&repository, &what, &target, |options| options.overwrite = Overwrite::Never);
    assert_eq!((report.files, there()), (1, [true; 3]));
    let is_told =
        |(path, said): &(String, String)| path.ends_with("travel-wal") && said.contains("log of another state");
    assert!(report.warnings.iter().any(is_told), "{:?}", report.warnings);
}

const USER: u32 = 65_534;
const AS_USER: &str = "DAYKEEP_TEST_RESTORE_AS_USER";

fn as_user_in(folder: &Path) {
    let (source, target) = (folder.join("source"), folder.join("target"));
    let place = Place::new(Kind::Memory);
    let repository = place.open();
    fs::create_dir_all(source.join("closed/inner")).unwrap();
    fs::create_dir(source.join("hidden")).unwrap();
    for name in ["closed/a", "closed/inner/b", "hidden/c", "secret", "set"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::hard_link(source.join("secret"), source.join("closed/linked")).unwrap();
    set_mode(&source.join("set"), 0o4755);
    let close = |root: &Path, is_open: bool| {
        for (name, mode) in [("secret", 0), ("hidden", 0), ("closed", 0o300)] {
            set_mode(&root.join(name), if is_open { 0o700 } else { mode });
        }
    };
    back_up(&repository, &source);
    let what = format!("latest:{}", source.display());
    run(&repository, &what, &target, |_| ());
    close(&target, false);
    for turn in 0..2 {
        for overwrite in [Overwrite::Always, Overwrite::IfChanged, Overwrite::Never] {
            let report = run(&repository, &what, &target, |options| {
                (options.overwrite, options.verify) = (overwrite, true);
            });
            let others: Vec<_> = report.warnings.iter().filter(|(path, _)| !path.ends_with("/set")).collect();
            assert!(others.is_empty(), "{turn} {overwrite:?} {:?}", report.warnings);
            assert_eq!(report.files + report.files_kept, 6);
            if overwrite == Overwrite::Never {
                assert_eq!(look(&target.join("hidden")).0, 0o755, "what the run before gave it");
            }
            let linked = fs::metadata(target.join("closed/linked")).unwrap().ino();
            assert_eq!(linked, fs::metadata(target.join("secret")).unwrap().ino());
        }
        close(&target, false);
        let report = run(&repository, &what, &target, |options| options.overwrite = Overwrite::Never);
        assert_eq!((report.files_kept, report.warnings.len()), (6, 0), "{:?}", report.warnings);
        let modes = ["secret", "hidden", "closed"].map(|name| look(&target.join(name)).0);
        assert_eq!(modes, [0, 0, 0o300], "nothing of what is there is changed");
    }
    close(&target, true);
    assert_eq!(look(&target.join("set")).0, 0o755, "no set-id bits for a user");
    run(&repository, &what, &target, |options| options.set_id = true);
    assert_eq!(look(&target.join("set")).0, 0o4755, "unless he says so");
    // Folders above that are another's are not touched, and that is nothing to tell of.
    let report = run(&repository, "latest", Path::new("/"), |options| options.set_id = true);
    assert_eq!(report.warnings, []);
}

#[test]
fn as_user_child() {
    if let Some(folder) = std::env::var_os(AS_USER) {
        as_user_in(&PathBuf::from(folder));
    }
}

#[test]
fn a_user_restores_over_what_he_may_not_read() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("user");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "restore_in_place::as_user_child", "--nocapture"]).env(AS_USER, &folder);
    if is_root() {
        set_mode(place.dir.path(), 0o755);
        std::os::unix::fs::chown(&folder, Some(USER), Some(USER)).unwrap();
        command.uid(USER).gid(USER).current_dir("/");
    }
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
        }
        Err(error) => println!("skipped: the test program cannot be run by another user here: {error}"),
    }
}

#[test]
fn flags_of_inodes_come_back_at_the_end() {
    // Not in memory: that file system has few of them.
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    for name in ["a", "folder/b"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::hard_link(source.join("a"), source.join("folder/linked")).unwrap();
    let chattr = |flags: &str, root: &Path| {
        let paths = ["a", "folder/b", "folder"].map(|name| root.join(name));
        Command::new("chattr").arg(flags).args(paths).output().is_ok_and(|output| output.status.success())
    };
    if !is_root() || !chattr("+id", &source) {
        println!("skipped: no flags here");
        return;
    }
    let place = Place::new(Kind::Memory);
    let repository = place.open();
    let backed_up = repository.backup(&[&source], &BackupOptions::default());
    let target = dir.path().join("target");
    let what = format!("latest:{}", source.display());
    let report = backed_up.and_then(|_| try_run(&repository, &what, &target, |_| ()));
    let is_immutable = fs::remove_file(target.join("folder/b")).is_err() && fs::remove_file(target.join("a")).is_err();
    let is_linked = fs::metadata(target.join("a")).unwrap().nlink() == 2;
    // Otherwise nobody could remove them.
    assert!(chattr("-i", &source) && chattr("-i", &target));
    let report = report.unwrap();
    assert!(is_immutable && is_linked && report.flags_failed == 0 && report.warnings.is_empty(), "{report:?}");
}

/// What waits for the disk takes the space of what it replaces once more, but no restore fails for that.
#[test]
fn a_disk_with_little_room_is_enough_to_replace_files() {
    let Some(disk) = crate::faults::SmallDisk::mount(20 << 20) else { return };
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for number in 0..6 {
        fs::write(source.join(number.to_string()), noise::random(number, 2 << 20)).unwrap();
    }
    let repository = place.open();
    back_up(&repository, &source);
    let target = disk.path().join("target");
    let what = format!("latest:{}", source.display());
    run(&repository, &what, &target, |_| ());
    let report = run(&repository, &what, &target, |options| options.verify = true);
    assert_eq!((report.files, report.warnings.len()), (6, 0), "{:?}", report.warnings);
    for number in 0..6 {
        assert!(fs::read(target.join(number.to_string())).unwrap() == noise::random(number, 2 << 20));
    }
    // What is too much in any case ends the restore, and the files that were there stay.
    fs::write(disk.path().join("full"), noise::random(9, 7 << 20)).unwrap();
    fs::write(target.join("0"), "old").unwrap();
    fs::write(disk.path().join("fuller"), vec![1; 1_900_000]).unwrap();
    let error = try_run(&repository, &what, &target, |options| options.threads = 1).unwrap_err();
    assert!(error.to_string().contains("free some"), "{error}");
    assert_eq!(temporary(&target).len(), 0);
}
