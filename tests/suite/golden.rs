//! A repository of each kind, made by this version of the format and committed: every later version reads it.
//!
//! `DAYKEEP_MAKE_GOLDEN=1 cargo test -p daykeep-tests golden` makes it anew, as long as the format is open.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use daykeep_engine::{
    Access, BackupOptions, CheckOptions, Location, OpenOptions, ReadData, RecoveryKey, Repository, Secret,
};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::place::{assert_clean, below, temp, try_restore};
use daykeep_tests::trees::{Bytes, Spec, Tree, What, acl};
use daykeep_tests::workspace;

/// The sources lie under this path, whoever makes the repositories.
const SOURCE: &str = "/tmp/daykeep-golden-source";
/// The parity of the one in a directory, in percent.
const PARITY: u8 = 5;
const PASSWORD: &str = "correct horse battery staple";

fn folder() -> PathBuf {
    workspace().join("tests/golden/format-1")
}

fn options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

/// Every kind of file and attribute that the format has a place for and that needs no root to be restored.
fn tree() -> Tree {
    let file = |name: &str, bytes| (name.as_bytes().to_vec(), Spec::plain(What::File(bytes)));
    let mut marked = Spec::plain(What::File(Bytes::Text(7, 1000)));
    marked.mode = 0o640;
    marked.mtime = (-1, 999_999_999);
    marked.xattrs = BTreeMap::from([
        (b"user.comment".to_vec(), b"\0\xffvalue".to_vec()),
        (b"system.posix_acl_access".to_vec(), acl(1000)),
    ]);
    let mut sticky = Spec::plain(What::Dir(BTreeMap::from([file("inner", Bytes::Text(8, 10))])));
    sticky.mode = 0o1777;
    let mut entries = BTreeMap::from([
        file("empty", Bytes::Zeros(0)),
        file("text", Bytes::Text(1, 9000)),
        file("random", Bytes::Random(2, 40_000)),
        file("photo.jpg", Bytes::Jpeg(3, 10_000)),
        file("chats.db", Bytes::Sqlite(4, 4096, 3 * 4096 + 100)),
        // So long that its list of chunks is stored in pieces, and yet one chunk.
        file("zeros", Bytes::Zeros(9 << 20)),
        file("holes", Bytes::Sparse(1 << 20, vec![(8192, 4096), (500_000, 10)])),
        (b"marked".to_vec(), marked),
        (b"sticky".to_vec(), sticky),
        (b"empty folder".to_vec(), Spec::plain(What::Dir(BTreeMap::new()))),
        (b"link".to_vec(), Spec::plain(What::Symlink(b"../no/where\xff".to_vec()))),
        (b"pipe".to_vec(), Spec::plain(What::Fifo)),
    ]);
    entries.insert(b"not \xff UTF-8".to_vec(), Spec::plain(What::File(Bytes::Text(9, 20))));
    Tree { root: Spec::plain(What::Dir(entries)), links: vec![(0, 0), (3, 1)] }
}

/// Returns one line for each path, with everything that every machine can restore: not owners, nor attributes and
/// holes, which depend on the file system.
fn manifest(inventory: &Inventory) -> String {
    let mut text = String::new();
    for (path, item) in inventory {
        let shown = path.escape_ascii();
        let content = item.content.as_ref().map_or_else(String::new, |(len, hash)| format!(" {len} {hash}"));
        let target = item.target.as_ref().map_or_else(String::new, |target| format!(" -> {}", target.escape_ascii()));
        let same_as = item.same_as.as_ref().map_or_else(String::new, |first| format!(" = {}", first.escape_ascii()));
        let (seconds, nanos) = item.mtime;
        text +=
            &format!("{} {:04o} {seconds}.{nanos:09} \"{shown}\"{content}{target}{same_as}\n", item.kind, item.mode);
    }
    text
}

/// Returns the attributes, which are compared where the file system has them.
fn attributes(inventory: &Inventory) -> String {
    let mut text = String::new();
    for (path, item) in inventory {
        for (name, value) in
            item.xattrs.iter().filter(|(name, _)| name.starts_with(b"user.") || name.starts_with(b"system."))
        {
            text += &format!("\"{}\" {} = {}\n", path.escape_ascii(), name.escape_ascii(), value.escape_ascii());
        }
    }
    text
}

fn make() {
    let (folder, source) = (folder(), Path::new(SOURCE));
    let _ = fs::remove_dir_all(&folder);
    let _ = fs::remove_dir_all(source);
    fs::create_dir_all(&folder).unwrap();
    tree().make(source);
    let wanted = read(source);
    let recovery = RecoveryKey::from_bytes([0x42; 32]);
    fs::write(folder.join("key"), format!("{}\n", *recovery.to_hex())).unwrap();
    fs::write(folder.join("manifest"), manifest(&wanted)).unwrap();
    fs::write(folder.join("attributes"), attributes(&wanted)).unwrap();
    let file = folder.join("repository.redb");
    for (location, percent) in
        [(Location::Directory(folder.join("repository")), PARITY), (Location::File(file.clone()), 0)]
    {
        let options = options().parity_percent(percent);
        let repository = Repository::create(&location, &recovery, Some(PASSWORD), &options).unwrap();
        // With another page first, so that one is stored as a delta then.
        let mut database = fs::read(source.join("chats.db")).unwrap();
        database[5000..5010].copy_from_slice(b"yesterday.");
        fs::write(source.join("chats.db"), &database).unwrap();
        let options = BackupOptions::default().host("golden").tags(["before"]);
        assert_eq!(repository.backup(&[source], &options).unwrap().warnings, []);
        fs::remove_dir_all(source).unwrap();
        tree().make(source);
        for tag in ["first", "second"] {
            let options = BackupOptions::default().host("golden").tags([tag]);
            assert_eq!(repository.backup(&[source], &options).unwrap().warnings, []);
        }
    }
    fs::remove_dir_all(source).unwrap();
    let packed = zstd::encode_all(fs::read(&file).unwrap().as_slice(), 19).unwrap();
    fs::write(folder.join("repository.redb.zst"), packed).unwrap();
    fs::remove_file(file).unwrap();
}

/// Copies the repositories to where they may be written.
fn unpack(to: &Path) -> [Location; 2] {
    let golden = folder();
    for (path, item) in read(&golden.join("repository")) {
        let name = String::from_utf8(path).unwrap();
        let (from, to) = (golden.join("repository").join(&name), to.join("repository").join(&name));
        if item.kind == 'd' {
            fs::create_dir_all(to).unwrap();
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    // git keeps no empty folders.
    for kind in ["keys", "packs", "index", "snapshots"] {
        fs::create_dir_all(to.join("repository").join(kind)).unwrap();
    }
    let file = to.join("repository.redb");
    fs::write(&file, zstd::decode_all(fs::File::open(golden.join("repository.redb.zst")).unwrap()).unwrap()).unwrap();
    [Location::Directory(to.join("repository")), Location::File(file)]
}

#[test]
fn the_golden_repositories_are_read() {
    if std::env::var_os("DAYKEEP_MAKE_GOLDEN").is_some() {
        make();
    }
    let dir = temp();
    let text = |name: &str| fs::read_to_string(folder().join(name)).unwrap();
    let recovery = RecoveryKey::parse(&text("key")).unwrap();
    for location in unpack(dir.path()) {
        for secret in [Secret::Recovery(recovery.clone()), Secret::password(PASSWORD)] {
            let repository = Repository::open(&location, &secret, Access::Read, &options()).unwrap();
            assert_clean(&repository);
            let (snapshots, errors) = repository.snapshots().unwrap();
            assert_eq!((snapshots.len(), errors.len()), (3, 0));
            assert_eq!(snapshots[2].record.tags, ["second"]);
            for snapshot in &snapshots[1..] {
                let target = temp();
                let report = try_restore(&repository, &snapshot.id.to_string(), target.path()).unwrap();
                let found = read(&below(target.path(), Path::new(SOURCE)));
                assert_eq!(manifest(&found), text("manifest"), "{location}");
                // A file system without attributes makes warnings, and only those.
                if report.warnings.is_empty() {
                    assert_eq!(attributes(&found), text("attributes"), "{location}");
                }
                for (path, message) in report.warnings {
                    assert!(message.contains("attribute"), "{path}: {message}");
                }
            }
        }
    }
}

/// A later version goes on with an old repository: the same files are found known.
#[test]
fn the_golden_repositories_are_continued() {
    let dir = temp();
    let text = |name: &str| fs::read_to_string(folder().join(name)).unwrap();
    let secret = Secret::Recovery(RecoveryKey::parse(&text("key")).unwrap());
    for location in unpack(dir.path()) {
        let repository = Repository::open(&location, &secret, Access::Write, &options()).unwrap();
        let source = dir.path().join("source");
        let _ = fs::remove_dir_all(&source);
        tree().make(&source);
        let report = repository.backup(&[&source], &BackupOptions::default()).unwrap();
        assert!(
            report.counts.bytes_new < 8000,
            "trees are new, {} bytes; the cuts and ids are those of old",
            report.counts.bytes_new
        );
        assert_clean(&repository);
    }
}

/// The parity of old packs heals them, so the code and the places of the shards are those of old.
#[test]
fn the_golden_parity_heals() {
    let dir = temp();
    let key = fs::read_to_string(folder().join("key")).unwrap();
    let [location, _] = unpack(dir.path());
    let packs = || read(&dir.path().join("repository/packs"));
    let whole = packs();
    for (name, _) in whole.iter().filter(|(_, item)| item.kind == '-') {
        let path = dir.path().join("repository/packs").join(String::from_utf8(name.clone()).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[..4096].fill(0);
        fs::write(path, bytes).unwrap();
    }
    let secret = Secret::Recovery(RecoveryKey::parse(&key).unwrap());
    let repository = Repository::open(&location, &secret, Access::Write, &options()).unwrap();
    assert_eq!(repository.parity_percent(), PARITY);
    let mut check = CheckOptions::default();
    (check.read_data, check.repair) = (ReadData::All, true);
    let report = repository.check(&check).unwrap();
    assert!(report.errors.is_empty() && report.objects_healed > 0, "{report:?}");
    let content =
        |inventory: Inventory| inventory.into_iter().map(|(name, item)| (name, item.content)).collect::<Vec<_>>();
    assert_eq!(content(packs()), content(whole));
}
