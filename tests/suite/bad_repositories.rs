//! What is no repository, was one, or is a newer one; and catalogs that are of no use.

use std::fs;
use std::path::{Path, PathBuf};

use daykeep_engine::{Access, Error, Location, Repository};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, check_all, key, secret, temp};

fn open(location: &Location) -> Result<Repository, Error> {
    let options = daykeep_engine::OpenOptions::default().memory_bytes(64 << 20);
    Repository::open(location, &secret(), Access::Write, &options)
}

fn error(location: &Location) -> Error {
    match open(location) {
        Ok(_) => panic!("{location} opens"),
        Err(error) => error,
    }
}

/// A repository with a snapshot of two files.
fn filled(kind: Kind) -> (Place, PathBuf, Inventory) {
    let place = Place::new(kind);
    let source = place.folder("source");
    fs::write(source.join("photo"), noise::random(1, 300_000)).unwrap();
    fs::create_dir(source.join("notes")).unwrap();
    fs::write(source.join("notes/text"), noise::text(2, 5_000)).unwrap();
    back_up(&place.open(), &source);
    let wanted = read(&source);
    (place, source, wanted)
}

#[test]
fn what_is_no_repository_is_said_to_be_none() {
    let dir = temp();
    let path = |name: &str| dir.path().join(name);
    assert!(matches!(error(&Location::File(path("nothing"))), Error::RepositoryNotFound { .. }));
    assert!(matches!(error(&Location::Directory(path("nothing"))), Error::RepositoryNotFound { .. }));
    fs::create_dir(path("empty")).unwrap();
    let text = error(&Location::Directory(path("empty"))).to_string();
    assert!(text.contains("empty"), "{text}");
    fs::create_dir(path("other")).unwrap();
    fs::write(path("other/config"), "[core]\n\tbare = false\n").unwrap();
    let text = error(&Location::Directory(path("other"))).to_string();
    assert!(text.contains("other") || text.contains("config"), "{text}");
    for (name, bytes) in [("zero", Vec::new()), ("garbage", noise::random(1, 100_000)), ("text", b"hello".to_vec())] {
        fs::write(path(name), &bytes).unwrap();
        let text = error(&Location::File(path(name))).to_string();
        assert!(text.contains(name), "{text}");
        assert_eq!(fs::read(path(name)).unwrap(), bytes, "and stays as it was");
        // Nor is it overwritten by a new repository.
        let options = daykeep_engine::OpenOptions::default();
        let made = Repository::create(&Location::File(path(name)), &key(), None, &options);
        assert!(made.is_err(), "{name}");
        assert_eq!(fs::read(path(name)).unwrap(), bytes);
    }
    // A folder as a file and a file as a folder.
    assert!(open(&Location::File(path("empty"))).is_err());
    assert!(open(&Location::Directory(path("garbage"))).is_err());
}

#[test]
fn a_redb_file_of_another_program_is_refused_and_left_alone() {
    let dir = temp();
    let path = dir.path().join("other.redb");
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("theirs");
    write.open_table(table).unwrap().insert("key", 7).unwrap();
    write.commit().unwrap();
    drop(database);
    let text = error(&Location::File(path.clone())).to_string();
    assert!(text.contains("other.redb"), "{text}");
    let database = redb::Database::open(&path).unwrap();
    let read = redb::ReadableDatabase::begin_read(&database).unwrap();
    assert_eq!(read.open_table(table).unwrap().get("key").unwrap().unwrap().value(), 7);
}

#[test]
fn a_redb_file_cut_short_is_an_error() {
    let (place, ..) = filled(Kind::Redb);
    let path = place.path("repository.redb");
    let whole = fs::read(&path).unwrap();
    for len in [1, 100, 4096, 65_536, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let text = match place.try_open(Access::Write) {
            Ok(repository) => {
                check_all(&repository).map_or_else(|error| error.to_string(), |report| report.errors.join("\n"))
            }
            Err(error) => error.to_string(),
        };
        assert!(!text.is_empty(), "cut to {len} of {}", whole.len());
    }
    fs::write(&path, &whole).unwrap();
    assert_clean(&place.open());
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let (place, ..) = filled(Kind::Directory);
    let path = place.path("repository/config");
    let mut config = fs::read(&path).unwrap();
    config[8] = 2;
    writable(&path);
    fs::write(&path, config).unwrap();
    let error = error(&place.location().unwrap());
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer daykeep"));
}

/// A stick or an unpacked archive from somebody else: nothing is made, locked or removed where a link in it leads.
#[test]
fn nothing_in_a_directory_leads_elsewhere() {
    use std::os::unix::fs::symlink;
    let (place, source, wanted) = filled(Kind::Directory);
    let (root, victim) = (place.path("repository"), place.folder("victim"));
    let refused = |what: &str| {
        for access in [Access::Read, Access::Write] {
            let error = place.try_open(access).err();
            assert!(
                matches!(&error, Some(Error::Store(error)) if error.message.contains("never makes")),
                "{what}: {error:?}"
            );
        }
    };
    let lock = root.join("lock");
    fs::remove_file(&lock).unwrap();
    symlink(victim.join("nologin"), &lock).unwrap();
    refused("a link to nothing");
    assert!(!victim.join("nologin").exists());
    fs::remove_file(&lock).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    refused("a pipe");
    fs::remove_file(&lock).unwrap();
    for folder in ["index", "snapshots", "keys", "packs"] {
        let (own, aside) = (root.join(folder), place.path("aside"));
        fs::write(victim.join(".tmp-0123456789abcdef"), "mine").unwrap();
        fs::rename(&own, &aside).unwrap();
        symlink(&victim, &own).unwrap();
        refused(folder);
        assert!(victim.join(".tmp-0123456789abcdef").exists(), "{folder}");
        fs::remove_file(&own).unwrap();
        fs::rename(&aside, &own).unwrap();
    }
    // Of what lies in its own folders, only what a writer leaves goes.
    fs::write(root.join("index/.tmp-important"), "mine").unwrap();
    fs::write(root.join("index/.tmp-0123456789abcdef"), "left").unwrap();
    assert_restores(&place.open(), "latest", &source, &wanted);
    assert!(root.join("index/.tmp-important").exists() && !root.join("index/.tmp-0123456789abcdef").exists());
}

#[test]
fn what_no_machine_can_give_is_refused() {
    let (place, source, _) = filled(Kind::Memory);
    for bytes in [0, (64 << 20) - 1, (64 << 30) + 1, usize::MAX] {
        let options = place.options().memory_bytes(bytes);
        let error = Repository::open_in(place.store(), &secret(), Access::Write, &options).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "memory", .. })), "{bytes} {error:?}");
    }
    let mut options = daykeep_engine::BackupOptions::default();
    for threads in [513, 65_536, usize::MAX] {
        options.threads = threads;
        let error = place.open().backup(&[&source], &options).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "threads", .. })), "{threads} {error:?}");
    }
}

fn writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    read(folder)
        .into_iter()
        .filter(|(_, item)| item.kind == '-')
        .map(|(path, _)| folder.join(String::from_utf8(path).unwrap()))
        .collect()
}

#[test]
fn a_missing_pack_names_the_files_it_hurts() {
    let (place, source, _) = filled(Kind::Directory);
    let packs = files_in(&place.path("repository/packs"));
    let mut files_named = 0;
    for pack in &packs {
        let bytes = fs::read(pack).unwrap();
        for cut in [None, Some(bytes.len() - 1)] {
            let _ = fs::remove_file(pack);
            if let Some(cut) = cut {
                fs::write(pack, &bytes[..cut]).unwrap();
            }
            let repository = place.open();
            // Without reading any data.
            let report = repository.check(&daykeep_engine::CheckOptions::default()).unwrap();
            let name = pack.file_name().unwrap().to_string_lossy();
            assert!(report.errors.iter().any(|error| error.contains(&*name)), "{:?}", report.errors);
            files_named += report.errors.iter().filter(|error| error.contains(&*source.to_string_lossy())).count();
            assert!(report.errors.len() >= 2, "the pack and what it hurts: {:?}", report.errors);
            let target = temp();
            let outcome = daykeep_tests::place::try_restore(&repository, "latest", target.path());
            // Without its last byte the pack still has every chunk.
            assert!(cut.is_some() || outcome.map_or(true, |report| !report.warnings.is_empty()));
        }
        fs::write(pack, bytes).unwrap();
    }
    assert!(files_named > 0, "no file was named");
    assert_clean(&place.open());
}

#[test]
fn a_missing_index_is_noticed_and_what_it_listed_is_stored_anew() {
    let (place, source, wanted) = filled(Kind::Directory);
    let index = &files_in(&place.path("repository/index"))[0];
    fs::remove_file(index).unwrap();
    let repository = place.open();
    let report = check_all(&repository).unwrap();
    assert!(!report.errors.is_empty() && !report.notes.is_empty(), "{report:?}");
    // Whoever backs up now stores what is not listed any more.
    repository.backup(&[&source], &forced()).unwrap();
    assert_restores(&repository, "latest", &source, &wanted);
}

fn forced() -> daykeep_engine::BackupOptions {
    let mut options = daykeep_engine::BackupOptions::default();
    options.force = true;
    options
}

#[test]
fn a_catalog_that_is_lost_foreign_or_garbage_changes_nothing() {
    let (place, source, wanted) = filled(Kind::Directory);
    let (other, ..) = filled(Kind::Directory);
    let catalogs = files_in(&place.path("cache"));
    assert!(!catalogs.is_empty(), "the catalog is in the cache folder");
    let foreign = files_in(&other.path("cache"));
    let hurt: [&dyn Fn(&Path); 5] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::write(path, noise::random(5, 50_000)).unwrap(),
        &|path| fs::write(path, []).unwrap(),
        &|path| {
            fs::copy(&foreign[0], path).unwrap();
        },
        &|path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
    ];
    for (number, hurt) in hurt.into_iter().enumerate() {
        catalogs.iter().for_each(|path| hurt(path));
        let repository = place.open();
        let report = back_up(&repository, &source);
        assert!(report.counts.bytes_new < 600, "{number}: {} bytes", report.counts.bytes_new);
        assert_restores(&repository, "latest", &source, &wanted);
        assert_clean(&repository);
        assert!(!files_in(&place.path("cache")).is_empty(), "{number}: there is a catalog again");
    }
}

/// A catalog that knows more than the repository, which was put back to an older state: nothing may be taken as stored.
#[test]
fn a_catalog_newer_than_its_repository_is_not_believed() {
    let (place, source, _) = filled(Kind::Directory);
    let old: Vec<(PathBuf, Vec<u8>)> =
        files_in(&place.path("repository")).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    fs::write(source.join("later"), noise::random(7, 200_000)).unwrap();
    back_up(&place.open(), &source);
    for path in files_in(&place.path("repository")) {
        if !old.iter().any(|(known, _)| *known == path) {
            fs::remove_file(path).unwrap();
        }
    }
    let wanted = read(&source);
    let repository = place.open();
    let report = back_up(&repository, &source);
    assert!(report.counts.bytes_new >= 200_000, "what was put away is stored again");
    assert_restores(&repository, "latest", &source, &wanted);
    assert_clean(&repository);
}
