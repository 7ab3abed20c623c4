//! Files of several names, what takes the place of something else, and disks that do not give out all: nothing at the target
//! is given up before there is something better, and nothing passes for what it is not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path};
use std::sync::Arc;

use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::internals::format::tree::{Class, Entry, Metadata, Node, Tree};
use daykeep_engine::internals::hash;
use daykeep_engine::{
    Access, BackupOptions, Error, ObjectKind, ObjectName, OpenOptions, Overwrite, Repository, RestoreOptions,
    RestoreReport, SnapshotPath, SnapshotRecord, Store, StoreErrorKind, Timestamp,
};
use daykeep_tests::forge::{Forge, TIME};
use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, back_up, below, key, restore, secret, temp, try_restore};
use daykeep_tests::stores::{BadSectors, objects};
use daykeep_tests::trees::set_mtime;

/// Restores on one core, so that of the names of a file the first is the first.
fn run(repository: &Repository, target: &Path, overwrite: Overwrite) -> RestoreReport {
    let mut options = RestoreOptions::default();
    (options.overwrite, options.threads) = (overwrite, 1);
    repository.restore(&SnapshotPath::parse(b"latest").unwrap(), target, &options).unwrap()
}

/// A file with more than one name.
fn linked(name: &str, (device, inode): (u64, u64), parts: Vec<Part>) -> Entry {
    let content = Content { level: 0, parts };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let metadata = Metadata {
        mode: 0o644,
        uid,
        gid,
        mtime: TIME,
        ctime: TIME,
        inode,
        link_device: Some(device),
        ..Metadata::default()
    };
    Entry { name: name.into(), metadata, node: Node::File { content, class: Class::General, capture: None } }
}

fn special(name: &str, node: Node) -> Entry {
    let mut entry = linked(name, (0, 1), Vec::new());
    (entry.node, entry.metadata.link_device) = (node, None);
    entry
}

/// A snapshot of these entries.
fn snapshot(mut forge: Forge, entries: Vec<Entry>) -> (Place, Repository) {
    let tree = Tree { entries, ..Tree::default() };
    let root = forge.tree(&tree.encode());
    forge.snapshot(root);
    let place = Place::of_store(forge.store);
    let repository = place.open();
    (place, repository)
}

/// A chunk that is not there.
fn lost(forge: &Forge) -> Part {
    let bytes = b"lost";
    let id = hash::chunk_id(forge.codec.keys.ids(ChunkKind::Data), bytes).short();
    Part::Chunk { id, bytes: bytes.len() as u64 }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// All names in a folder, those of temporary files too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn warned(report: &RestoreReport) -> Vec<&str> {
    report.warnings.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn links_to_a_file_that_is_lost_leave_what_was_there() {
    let forge = Forge::new();
    let entries = ["a", "b", "c"].map(|name| linked(name, (1, 7), vec![lost(&forge)]));
    let (place, repository) = snapshot(forge, entries.into());
    let target = place.folder("target");
    fs::write(target.join("a"), "old a").unwrap();
    fs::write(target.join("b"), "old b").unwrap();
    let report = run(&repository, &target, Overwrite::Always);
    assert_eq!((report.files, warned(&report)), (0, vec!["/a", "/b", "/c"]));
    assert_eq!(names(&target), ["a", "b"]);
    assert_eq!(["a", "b"].map(|name| text(&target.join(name))), ["old a", "old b"]);
}

#[test]
fn a_link_takes_the_place_of_a_file_in_one_step() {
    let mut forge = Forge::new();
    let part = forge.part(ChunkKind::Data, b"new");
    let entries = ["a", "b", "c"].map(|name| linked(name, (1, 7), vec![part]));
    let (place, repository) = snapshot(forge, entries.into());
    let target = place.folder("target");
    fs::write(target.join("b"), "old").unwrap();
    fs::hard_link(target.join("b"), place.path("mine")).unwrap();
    let report = run(&repository, &target, Overwrite::Always);
    assert_eq!((report.files, report.files_kept, report.warnings.len()), (3, 0, 0));
    assert_eq!((names(&target), text(&target.join("a"))), (["a", "b", "c"].map(String::from).into(), "new".into()));
    for name in ["b", "c"] {
        assert_eq!(inode(&target.join("a")), inode(&target.join(name)));
    }
    assert_eq!(text(&place.path("mine")), "old", "another name of what stood there is as it was");
    // A folder in the way stays too.
    fs::remove_file(target.join("b")).unwrap();
    fs::create_dir_all(target.join("b/mine")).unwrap();
    let report = run(&repository, &target, Overwrite::Always);
    assert_eq!((warned(&report).len(), names(&target).len()), (1, 3));
    assert!(target.join("b/mine").is_dir());
}

#[test]
fn what_was_kept_is_linked_to_only_if_it_is_the_same() {
    let mut forge = Forge::new();
    let (first, last) = (forge.part(ChunkKind::Data, b"new"), forge.part(ChunkKind::Data, b"end"));
    let parts = vec![first, Part::Hole { bytes: 70_000 }, last];
    let entries = ["a", "b", "c"].map(|name| linked(name, (1, 7), parts.clone()));
    let (place, repository) = snapshot(forge, entries.into());
    let wanted = [b"new".as_slice(), &[0; 70_000], b"end"].concat();
    let mut filled = wanted.clone();
    filled[40_000] = 1;
    let (mut number, time) = (0, (TIME.seconds, i64::from(TIME.nanos)));
    let mut restored = |a: &[u8], time: (i64, i64), mode: u32, overwrite: Overwrite| {
        number += 1;
        let target = place.folder(&number.to_string());
        fs::write(target.join("a"), a).unwrap();
        fs::set_permissions(target.join("a"), fs::Permissions::from_mode(mode)).unwrap();
        set_mtime(&target.join("a"), time);
        let report = run(&repository, &target, overwrite);
        assert_eq!((report.files, report.files_kept, report.warnings.len()), (2, 1, 0));
        assert_eq!(fs::read(target.join("a")).unwrap(), a, "it was kept");
        assert!(fs::read(target.join("b")).unwrap() == wanted);
        assert_eq!(inode(&target.join("b")), inode(&target.join("c")), "the first that is restored has links");
        assert_eq!(fs::metadata(target.join("b")).unwrap().mode() & 0o7777, 0o644);
        inode(&target.join("a")) == inode(&target.join("b"))
    };
    let with_other_end = [b"new".as_slice(), &[0; 70_000], b"END"].concat();
    assert!(!restored(b"foreign", time, 0o644, Overwrite::Never));
    for overwrite in [Overwrite::Never, Overwrite::IfChanged] {
        // As long and as old as the snapshot's, which the eye takes for the same.
        assert!(!restored(&with_other_end, time, 0o644, overwrite));
        assert!(!restored(&filled, time, 0o644, overwrite), "data in a hole");
        assert!(!restored(&wanted, time, 0o600, overwrite), "other permissions");
        assert!(restored(&wanted, time, 0o644, overwrite), "a restore that ended early is done again");
    }
    assert!(!restored(&wanted, (1_000_000_000, 0), 0o644, Overwrite::Never), "another time");
}

#[test]
fn files_that_agree_in_device_and_inode_alone_are_not_joined() {
    let mut forge = Forge::new();
    let (one, two) = (forge.part(ChunkKind::Data, b"one"), forge.part(ChunkKind::Data, b"two"));
    let mut entries: Vec<Entry> = [("a", one), ("b", two), ("c", one), ("d", two), ("e", one)]
        .map(|(name, part)| linked(name, (5, 7), vec![part]))
        .into();
    entries[4].metadata.mtime.seconds += 1;
    // A link that was made while the backup ran changes no more than this.
    entries[2].metadata.ctime.seconds += 1;
    let (place, repository) = snapshot(forge, entries);
    let target = place.folder("target");
    assert_eq!(run(&repository, &target, Overwrite::Always).warnings, []);
    let inode = |name: &str| inode(&target.join(name));
    assert_eq!(["a", "b", "c", "d", "e"].map(|name| text(&target.join(name))), ["one", "two", "one", "two", "one"]);
    assert!(inode("a") == inode("c") && inode("b") == inode("d"));
    assert!(inode("a") != inode("b") && inode("a") != inode("e"));
}

/// The tree of `/` with one file in a folder.
fn nested(forge: &mut Forge, folder: &Path, file: Entry) -> Content {
    let mut entry = file;
    for component in folder.components().rev().filter(|component| *component != Component::RootDir) {
        let content = forge.tree(&Tree { entries: vec![entry], ..Tree::default() }.encode());
        let (name, metadata) = (component.as_os_str().as_bytes().to_vec(), Metadata::default());
        entry = Entry { name, metadata, node: Node::Directory { content } };
    }
    forge.tree(&Tree { entries: vec![entry], ..Tree::default() }.encode())
}

/// The system was started anew and calls the device by another number: nothing is read again, and links are known.
#[test]
fn an_unmodified_file_gets_the_device_of_today() {
    let mut forge = Forge::new();
    let place = Place::of_store(forge.store.clone());
    let source = place.folder("source");
    fs::create_dir(source.join("old")).unwrap();
    fs::write(source.join("a"), "linked").unwrap();
    fs::hard_link(source.join("a"), source.join("old/b")).unwrap();
    set_mtime(&source.join("a"), (1_000_000_000, 0));
    let found = fs::metadata(source.join("a")).unwrap();
    let part = forge.part(ChunkKind::Data, b"linked");
    let mut file = linked("a", (found.dev() + 1, found.ino()), vec![part]);
    let time = |seconds, nanos: i64| Timestamp { seconds, nanos: nanos as u32 };
    file.metadata.mode = (found.mode() & 0o7777) as u16;
    file.metadata.mtime = time(found.mtime(), found.mtime_nsec());
    file.metadata.ctime = time(found.ctime(), found.ctime_nsec());
    let root = nested(&mut forge, &source, file);
    forge.flush();
    let paths = vec![source.as_os_str().as_bytes().to_vec()];
    // A snapshot that began after the file last changed.
    let started = time(found.ctime() + 3, 0);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let record =
        SnapshotRecord { started, ended: started, host: "forge".into(), root, paths, ..SnapshotRecord::default() };
    let name = forge.name(ObjectKind::Snapshot);
    forge.store.put(&name, &forge.codec.seal_object(&name, &record.encode()).unwrap()).unwrap();
    // What is in a folder that gets another name stays as it is, but is found elsewhere.
    fs::rename(source.join("old"), source.join("new")).unwrap();
    let repository = place.open();
    let mut options = BackupOptions::default();
    options.host = Some("forge".into());
    for (new, unmodified) in [(1, 1), (0, 2)] {
        let report = repository.backup(&[&source], &options).unwrap();
        assert_eq!((report.counts.files_new, report.counts.files_unmodified), (new, unmodified), "{report:?}");
        assert_eq!((report.counts.files_changed, report.warnings.len()), (0, 0));
        let target = temp();
        assert_same(&read(&source), &read(&restore(&repository, "latest", &source, target.path())));
    }
}

/// What is linked at the end leaves no trace in its folder.
#[test]
fn a_folder_of_links_keeps_its_metadata() {
    let place = Place::new(Kind::Memory);
    let source = place.folder("source");
    for folder in ["1", "2", "3"] {
        fs::create_dir(source.join(folder)).unwrap();
    }
    fs::write(source.join("1/a"), "linked").unwrap();
    symlink("a", source.join("1/link")).unwrap();
    for folder in ["2", "3"] {
        fs::hard_link(source.join("1/a"), source.join(folder).join("b")).unwrap();
        fs::hard_link(source.join("1/link"), source.join(folder).join("link")).unwrap();
    }
    let set_mode = |root: &Path, mode| {
        for folder in ["1", "2", "3"] {
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set_mode(&source, 0o555);
    let repository = place.open();
    back_up(&repository, &source);
    let target = place.folder("target");
    let restored = restore(&repository, "latest", &source, &target);
    assert_same(&read(&source), &read(&restored));
    // Once more over what is there, with the folders as they are.
    assert_eq!(try_restore(&repository, "latest", &target).unwrap().warnings, []);
    assert_eq!(fs::metadata(restored.join("2")).unwrap().mode() & 0o777, 0o555);
    assert_same(&read(&source), &read(&restored));
    // Who is not root could not remove them.
    set_mode(&source, 0o755);
    set_mode(&restored, 0o755);
}

#[test]
fn what_cannot_be_made_takes_no_file_away() {
    // No system makes a link that leads so far.
    let far = Node::Symlink { target: vec![b'x'; 5000] };
    let entries = vec![
        special("far", far),
        special("fifo", Node::Fifo),
        special("link", Node::Symlink { target: b"there".to_vec() }),
        special("taken", Node::Symlink { target: b"there".to_vec() }),
    ];
    let (place, repository) = snapshot(Forge::new(), entries);
    let target = place.folder("target");
    for name in ["far", "fifo", "link"] {
        fs::write(target.join(name), "old").unwrap();
    }
    fs::create_dir_all(target.join("taken/mine")).unwrap();
    // What a restore left that was killed between making a link and giving it its name.
    let left = format!(".daykeep-{}-0.part", &blake3::hash(b"link").to_hex()[..16]);
    symlink("left", target.join(left)).unwrap();
    for turn in 0..2 {
        let report = run(&repository, &target, Overwrite::Always);
        assert_eq!((report.files, warned(&report)), (2, vec!["/far", "/taken"]), "{turn}: {:?}", report.warnings);
        assert_eq!(names(&target), ["far", "fifo", "link", "taken"]);
        assert_eq!(text(&target.join("far")), "old");
        assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("there"));
        let found = read(&target);
        assert_eq!((found[b"fifo".as_slice()].kind, found[b"fifo".as_slice()].mode), ('p', 0o644));
        for name in [b"fifo", b"link"] {
            assert_eq!(found[name.as_slice()].mtime, (TIME.seconds, i64::from(TIME.nanos)));
        }
        assert!(target.join("taken/mine").is_dir());
    }
    for overwrite in [Overwrite::Never, Overwrite::IfChanged] {
        fs::remove_file(target.join("link")).unwrap();
        fs::write(target.join("link"), "mine").unwrap();
        run(&repository, &target, overwrite);
        assert_eq!(target.join("link").is_symlink(), overwrite == Overwrite::IfChanged);
    }
}

#[test]
fn a_bad_place_of_a_disk_costs_only_what_lies_there() {
    let disk = Arc::new(BadSectors::new(2 << 20));
    let options = OpenOptions::default().memory_bytes(64 << 20);
    let dir = temp();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for number in 0..6 {
        fs::write(source.join(number.to_string()), noise::random(number, 1_500_000)).unwrap();
    }
    fs::hard_link(source.join("0"), source.join("linked")).unwrap();
    let repository = Repository::create_in(disk.clone(), &key(), None, &options).unwrap();
    back_up(&repository, &source);
    drop(repository);
    let wanted = read(&source);
    let open = || Repository::open_in(disk.clone(), &secret(), Access::Read, &options).unwrap();
    let names = objects(&disk.inner).into_iter().map(|(name, _)| name);
    let packs: Vec<ObjectName> = names.filter(|name| name.kind == ObjectKind::Pack).collect();
    let (mut partial, mut refused) = (0, 0);
    for pack in &packs {
        let repository = open();
        let target = temp();
        *disk.bad.lock().unwrap() = vec![(*pack, 0..u64::MAX)];
        match try_restore(&repository, "latest", target.path()) {
            Ok(report) => {
                assert!(!report.warnings.is_empty(), "{pack}");
                let found = read(&below(target.path(), &source));
                for (path, item) in wanted.iter().filter(|(_, item)| item.kind == '-') {
                    let named = report.warnings.iter().find(|(named, _)| named.as_bytes().ends_with(path));
                    let is_there = found.get(path).is_some_and(|found| found.content == item.content);
                    assert!(is_there != named.is_some(), "{pack}, {path:?}: {:?}", report.warnings);
                    assert!(named.is_none_or(|(_, message)| message.contains("Input/output error")), "{named:?}");
                }
                partial += 1;
                // If the store gives out nothing else either, the rest is not tried.
                disk.bad.lock().unwrap().push((ObjectName::CONFIG, 0..u64::MAX));
                let error = try_restore(&open_again(&disk, &options), "latest", temp().path()).unwrap_err();
                assert!(matches!(&error, Error::Store(error) if error.kind == StoreErrorKind::Io), "{error}");
            }
            // Without the topmost folder there is nothing.
            Err(error) => {
                assert!(matches!(&error, Error::Store(error) if error.kind == StoreErrorKind::Io), "{error}");
                refused += 1;
            }
        }
        disk.bad.lock().unwrap().clear();
    }
    assert!(partial >= 3 && refused <= 1, "{partial} of {} packs cost files, {refused} all", packs.len());
}

/// Opens a repository while its disk is well for a moment.
fn open_again(disk: &Arc<BadSectors>, options: &OpenOptions) -> Repository {
    let bad = std::mem::take(&mut *disk.bad.lock().unwrap());
    let repository = Repository::open_in(disk.clone() as Arc<dyn Store>, &secret(), Access::Read, options).unwrap();
    *disk.bad.lock().unwrap() = bad;
    repository
}
