#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::*;
use crate::error::Error;
use crate::format::tree::{Metadata, OwnerName, Timestamp, Tree, Xattr};
use crate::source::FileKind;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A target beside a folder that must never change.
struct Place {
    temp: tempfile::TempDir,
    target: TargetDir,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/file"), "outside").unwrap();
        // The folder for temporary files may itself lie behind a link.
        let real = temp.path().canonicalize().unwrap();
        let target = TargetDir::open_root(&real.join("target"), false).unwrap().0;
        Self { temp, target }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("target").join(name)
    }

    fn assert_nothing_outside(&self) {
        let names: Vec<_> = fs::read_dir(self.temp.path().join("outside")).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read_to_string(self.temp.path().join("outside/file")).unwrap(), "outside");
    }
}

fn is_unsafe<T>(result: Result<T, Error>) -> String {
    match result {
        Err(error @ Error::UnsafeTarget { .. }) => error.to_string(),
        Err(error) => format!("another error: {error}"),
        Ok(_) => "no error".to_owned(),
    }
}

fn meta(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { seconds: -86_400, nanos: 123_456_789 },
        ..Metadata::default()
    }
}

fn assert_applied(path: &Path, meta: &Metadata) {
    let found = fs::symlink_metadata(path).unwrap();
    assert_eq!((found.uid(), found.gid()), (meta.uid, meta.gid));
    assert_eq!((found.mtime(), found.mtime_nsec()), (meta.mtime.seconds, i64::from(meta.mtime.nanos)));
    if !found.is_symlink() {
        assert_eq!(found.mode() & 0o7777, u32::from(meta.mode));
    }
}

#[test]
fn the_target_is_made_for_its_owner_alone() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().canonicalize().unwrap();
    let path = real.join("a/../a/./b/c");
    assert!(matches!(TargetDir::open_existing_root(&real.join("a/b"), false), Ok(None)));
    assert!(!real.join("a").exists(), "a look makes nothing");
    // `a` is missing, so `a/..` is made on the way like everything else.
    assert!(TargetDir::open_root(&path, false).unwrap().1 && !TargetDir::open_root(&path, false).unwrap().1);
    assert_eq!(fs::metadata(real.join("a/b/c")).unwrap().mode() & 0o777, 0o700);
    assert!(TargetDir::open_existing_root(&real.join("a/b"), false).unwrap().is_some());
    assert!(TargetDir::open_root(Path::new("/"), false).is_ok() && TargetDir::open_root(Path::new("."), false).is_ok());
    assert!(is_unsafe(TargetDir::open_root(Path::new(""), false)).contains("no name"));
}

#[test]
fn a_target_behind_a_symbolic_link_is_refused_and_the_real_path_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().canonicalize().unwrap();
    fs::create_dir(real.join("dir")).unwrap();
    fs::write(real.join("file"), "").unwrap();
    symlink("dir", real.join("link")).unwrap();
    symlink("gone", real.join("dangling")).unwrap();
    symlink("file", real.join("filelink")).unwrap();
    for (path, told) in [("link/new/sub", "dir/new/sub as the target"), ("link", "dir as the target")] {
        let message = is_unsafe(TargetDir::open_root(&real.join(path), false));
        assert!(message.starts_with(&format!("{}/link: ", real.display())), "{message}");
        assert!(message.contains(&format!("{}/{told}", real.display())), "{message}");
        assert_eq!(message, is_unsafe(TargetDir::open_existing_root(&real.join(path), false)));
        assert!(TargetDir::open_root(&real.join(path), true).is_ok(), "unless it is to be followed");
        assert!(real.join("dir").exists());
    }
    for path in ["dangling", "dangling/sub", "filelink/sub"] {
        assert!(is_unsafe(TargetDir::open_root(&real.join(path), false)).contains("leads to no folder"), "{path}");
    }
    assert!(is_unsafe(TargetDir::open_root(&real.join("file/sub"), false)).contains("not a folder"));
    assert_eq!(fs::read_dir(real.join("dir")).unwrap().count(), 1, "what was made was to be");
    assert!(!real.join("gone").exists());
}

#[test]
fn names_that_are_no_single_component_are_refused_by_every_call() {
    let place = Place::new();
    let (dir, applier) = (&place.target, Applier::new(false, false));
    for name in [b"..".as_slice(), b".", b"", b"a/b", b"/etc", b"../outside/file", b"a\0b", &[b'x'; 5000]] {
        let calls = [
            is_unsafe(dir.make_dir(name, Mode::RWXU)),
            is_unsafe(dir.open_dir(name, Opening::Enter)),
            is_unsafe(dir.stat(name)),
            is_unsafe(dir.create_file(name)),
            is_unsafe(dir.create_replacement(name)),
            is_unsafe(dir.open_for_read(name)),
            is_unsafe(dir.symlink(name, b"x")),
            is_unsafe(dir.make_fifo(name)),
            is_unsafe(dir.make_device(name, false, 0)),
            is_unsafe(dir.link(name, dir, b"x")),
            is_unsafe(dir.link(b"x", dir, name)),
            is_unsafe(dir.remove_non_dir(name)),
            is_unsafe(applier.other(dir, name, &meta(0o600), &LocalOwners::default(), false)),
        ];
        assert!(calls.iter().all(|message| message.contains("no single path component")), "{name:?}: {calls:?}");
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
    place.assert_nothing_outside();
}

#[test]
fn a_symbolic_link_in_the_way_is_never_followed() {
    let place = Place::new();
    let dir = &place.target;
    symlink("../outside", place.path("dir")).unwrap();
    symlink("../outside/file", place.path("file")).unwrap();
    symlink("../outside/new", place.path("dangling")).unwrap();
    assert!(is_unsafe(dir.make_dir(b"dir", Mode::RWXU)).contains("a symbolic link is where a folder"));
    assert!(is_unsafe(dir.open_dir(b"dir", Opening::Enter)).contains("not followed"));
    assert!(is_unsafe(dir.make_dir(b"dangling", Mode::RWXU)).contains("a symbolic link is where a folder"));
    assert!(dir.create_file(b"file").unwrap().is_none());
    assert!(dir.create_file(b"dangling").unwrap().is_none());
    assert!(is_unsafe(dir.open_for_read(b"file")).contains("symbolic link"));
    assert!(!dir.symlink(b"file", b"x").unwrap() && !dir.make_fifo(b"dangling").unwrap());
    assert_eq!(dir.stat(b"file").unwrap().unwrap().kind, FileKind::Symlink);

    // Metadata goes to the link, a replacement takes its place, a removal removes it.
    let applier = Applier::new(true, false);
    let problems = applier.other(dir, b"file", &meta(0o777), &LocalOwners::default(), true).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    // Even if a link stands where a pipe was made, its mode is not set on what it points to.
    let problems = applier.other(dir, b"dir", &meta(0o4777), &LocalOwners::default(), false).unwrap();
    assert!(problems.iter().any(|problem| problem.what == "the permissions"), "{problems:?}");
    let outside = fs::metadata(place.temp.path().join("outside")).unwrap();
    assert_ne!(outside.mode() & 0o7777, 0o4777);
    assert_ne!(outside.mtime(), -86_400);

    let replacement = dir.create_replacement(b"file").unwrap();
    replacement.file().write_all_at(b"inside", 0).unwrap();
    replacement.commit().unwrap();
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "inside");
    dir.remove_non_dir(b"dir").unwrap();
    dir.remove_non_dir(b"dir").unwrap();
    assert!(dir.make_dir(b"dir", Mode::RWXU).unwrap().1);
    place.assert_nothing_outside();
}

#[test]
fn files_folders_and_links_are_made_once() {
    let place = Place::new();
    let dir = &place.target;
    let name = b"\xff\xfe name".as_slice();
    let file = dir.create_file(name).unwrap().unwrap();
    file.write_all_at(b"text", 0).unwrap();
    assert_eq!(fs::metadata(place.path("").join(OsStr::from_bytes(name))).unwrap().mode() & 0o777, 0o600);
    assert!(dir.create_file(name).unwrap().is_none());
    let mut text = String::new();
    dir.open_for_read(name).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");

    let (sub, created) = dir.make_dir(b"sub", Mode::RWXU).unwrap();
    assert!(created && !dir.make_dir(b"sub", Mode::RWXU).unwrap().1);
    assert!(
        dir.open_dir(b"sub", Opening::Enter).unwrap().is_some()
            && dir.open_dir(b"none", Opening::Enter).unwrap().is_none()
    );
    assert!(is_unsafe(dir.make_dir(name, Mode::RWXU)).contains("a file is where a folder"));
    assert!(sub.link(b"linked", dir, name).unwrap() && !sub.link(b"linked", dir, name).unwrap());
    let (first, second) = (dir.stat(name).unwrap().unwrap(), sub.stat(b"linked").unwrap().unwrap());
    assert_eq!((first.metadata.inode, first.links, first.size), (second.metadata.inode, 2, 4));
    sub.remove_non_dir(b"linked").unwrap();

    assert!(dir.symlink(b"link", b"\xffwhere/ever").unwrap());
    assert_eq!(fs::read_link(place.path("link")).unwrap(), Path::new(OsStr::from_bytes(b"\xffwhere/ever")));
    assert!(dir.make_fifo(b"fifo").unwrap());
    assert!(is_unsafe(dir.open_for_read(b"fifo")).contains("not a regular file"));
    assert!(is_unsafe(dir.remove_non_dir(b"sub")).contains("a folder"));
    assert!(dir.stat(b"none").unwrap().is_none());
}

/// Returns the number in a temporary name: `.daykeep-HASH-NUMBER-PROOF.part`.
fn left_number(name: &OsStr) -> String {
    name.to_string_lossy().split('-').nth(2).unwrap().to_owned()
}

#[test]
fn a_replacement_that_is_dropped_leaves_the_old_file() {
    let place = Place::new();
    let dir = &place.target;
    fs::write(place.path("file"), "old").unwrap();
    let replacement = dir.create_replacement(b"file").unwrap();
    replacement.file().write_all_at(b"half", 0).unwrap();
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2);
    drop(replacement);
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "old");
    // What a killed run left is taken away by the next, unless somebody still writes it.
    let (first, second) = (dir.create_replacement(b"file").unwrap(), dir.create_replacement(b"file").unwrap());
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 3);
    let is_temporary = |entry: &fs::DirEntry| {
        entry.file_name().as_bytes().starts_with(b".daykeep-") && left_number(&entry.file_name()) == "0"
    };
    let left = fs::read_dir(place.path("")).unwrap().map(Result::unwrap).find(is_temporary).unwrap().path();
    drop((first, second));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
    fs::write(left, "half").unwrap();
    drop(dir.create_replacement(b"file").unwrap());
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
    dir.make_dir(b"sub", Mode::RWXU).unwrap();
    assert!(is_unsafe(dir.create_replacement(b"sub").unwrap().commit()).contains("a folder"));
    dir.create_replacement(b"new").unwrap().commit().unwrap();
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn what_is_new_gets_its_name_only_where_nothing_is() {
    let place = Place::new();
    let dir = &place.target;
    let count = || fs::read_dir(place.path("")).unwrap().count();
    let first = dir.create_replacement(b"file").unwrap();
    assert!(!place.path("file").exists());
    first.place().unwrap();
    assert!(place.path("file").exists() && count() == 1);
    assert!(is_unsafe(dir.create_replacement(b"file").unwrap().place()).contains("in its place"));
    assert_eq!(count(), 1, "the other one is gone");
    // What waits is whole, and nobody else's.
    let waiting = dir.create_replacement(b"file").unwrap().wait();
    assert_eq!(count(), 2);
    dir.commit(&waiting).unwrap();
    assert_eq!(count(), 1);
    assert!(is_unsafe(dir.commit(&waiting)).contains("another restore"));
    // A folder has its name when it is filled.
    let (inner, nursery) = dir.make_nursery(b"folder", Mode::RWXU).unwrap();
    inner.create_file(b"file").unwrap().unwrap();
    assert!(!place.path("folder").exists());
    dir.place_nursery(&nursery, b"folder").unwrap();
    assert!(place.path("folder/file").exists() && count() == 2);
    let (_, nursery) = dir.make_nursery(b"folder", Mode::RWXU).unwrap();
    assert!(is_unsafe(dir.place_nursery(&nursery, b"folder")).contains("in its place"));
}

#[test]
fn what_a_killed_restore_left_is_removed_and_nothing_else() {
    let place = Place::new();
    let dir = &place.target;
    let users =
        [".daykeep-notes.part", ".daykeep-0123456789abcdef-0.part", ".daykeep-0123456789abcdef-0-01234567.part"];
    for name in users {
        fs::write(place.path(name), "mine").unwrap();
    }
    let (inner, nursery) = dir.make_nursery(b"folder", Mode::RWXU).unwrap();
    inner.create_file(b"file").unwrap().unwrap();
    let waiting = dir.create_replacement(b"file").unwrap().wait();
    let in_snapshot = dir.create_replacement(b"saved").unwrap().wait();
    let written = dir.create_replacement(b"written").unwrap();
    let names: Vec<Vec<u8>> =
        fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name().into_vec()).collect();
    let saved = names.iter().find(|name| temporary::temporary_name(b"saved", 0) == **name).unwrap();
    dir.remove_left([saved.as_slice()].into_iter());
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 6, "the folder is locked, and one is being written");
    drop((inner, written));
    dir.remove_left([saved.as_slice()].into_iter());
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 4, "what is the user's, and what the snapshot has");
    drop((waiting, in_snapshot, nursery));
    for name in users {
        assert_eq!(fs::read_to_string(place.path(name)).unwrap(), "mine");
    }
    // A folder in which somebody made something is not what a restore left.
    let (inner, _) = dir.make_nursery(b"folder", Mode::RWXU).unwrap();
    inner.make_dir(b"sub", Mode::RWXU).unwrap();
    drop(inner);
    dir.remove_left(std::iter::empty());
    let left = fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().path()).find(|path| path.join("sub").is_dir());
    assert!(left.is_some());
}

#[test]
fn whatever_has_a_name_can_replace_a_file() {
    let place = Place::new();
    let dir = &place.target;
    let count = || fs::read_dir(place.path("")).unwrap().count();
    fs::write(place.path("file"), "old").unwrap();
    fs::write(place.path("other"), "new").unwrap();
    let link = |name: &[u8]| dir.link(name, dir, b"other");
    drop(dir.make_replacement(b"file", link).unwrap());
    assert_eq!((fs::read_to_string(place.path("file")).unwrap(), count()), ("old".into(), 2));
    // The second time both are names of one file already.
    for _ in 0..2 {
        dir.make_replacement(b"file", link).unwrap().commit().unwrap();
        assert_eq!((fs::read_to_string(place.path("file")).unwrap(), count()), ("new".into(), 2));
    }
    // What cannot be made takes nothing away.
    assert!(dir.make_replacement(b"file", |name| dir.link(name, dir, b"none")).is_err());
    assert!(dir.make_replacement(b"file", |name| dir.symlink(name, &[b'x'; 5000])).is_err());
    assert_eq!((fs::read_to_string(place.path("file")).unwrap(), count()), ("new".into(), 2));
    // Somebody else's work under the first name is let be, and what a killed run left is not.
    let first = dir.create_replacement(b"file").unwrap();
    let second = dir.make_replacement(b"file", |name| dir.symlink(name, b"there")).unwrap();
    assert!(first.temporary() != second.temporary() && count() == 4);
    std::mem::forget(second);
    drop(first);
    dir.make_replacement(b"file", |name| dir.make_fifo(name)).unwrap().commit().unwrap();
    dir.make_dir(b"sub", Mode::RWXU).unwrap();
    assert!(is_unsafe(dir.make_replacement(b"sub", link).unwrap().commit()).contains("a folder"));
    assert_eq!(count(), 4, "file, other, sub and what was left under another number");
}

#[test]
fn metadata_is_applied_to_every_kind() {
    let place = Place::new();
    let (dir, applier, owners) = (&place.target, Applier::new(false, false), LocalOwners::default());
    for mode in [0o600, 0o644, 0o400, 0o000, 0o4755, 0o2755] {
        let name = format!("file {mode:o}");
        let file = dir.create_file(name.as_bytes()).unwrap().unwrap();
        let problems = applier.new_file(dir, &file, &meta(mode), &owners);
        assert!(problems.is_empty(), "{problems:?}");
        assert_applied(&place.path(&name), &meta(mode));
    }
    let (sub, _) = dir.make_dir(b"sub", Mode::RWXU).unwrap();
    sub.create_file(b"file").unwrap();
    assert!(applier.dir(&sub, &meta(0o2555), &owners).is_empty());
    assert_applied(&place.path("sub"), &meta(0o2555));

    dir.symlink(b"link", b"nowhere").unwrap();
    assert!(applier.other(dir, b"link", &meta(0o777), &owners, true).unwrap().is_empty());
    assert_applied(&place.path("link"), &meta(0o777));
    dir.make_fifo(b"fifo").unwrap();
    assert!(applier.other(dir, b"fifo", &meta(0o622), &owners, false).unwrap().is_empty());
    assert_applied(&place.path("fifo"), &meta(0o622));
    if is_root() {
        // A device may be forbidden even to root, in a container.
        if dir.make_device(b"null", false, rustix::fs::makedev(1, 3)).unwrap_or(false) {
            assert!(applier.other(dir, b"null", &meta(0o666), &owners, false).unwrap().is_empty());
            assert_applied(&place.path("null"), &meta(0o666));
            let stat = dir.stat(b"null").unwrap().unwrap();
            assert_eq!((stat.kind, stat.rdev), (FileKind::CharDevice, rustix::fs::makedev(1, 3)));
        }
    }
}

#[test]
fn attributes_are_set_and_those_that_cannot_be_are_told() {
    let place = Place::new();
    let (dir, applier, owners) = (&place.target, Applier::new(false, false), LocalOwners::default());
    let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
    // The file ends up read-only, which must not keep the attributes away.
    let mut wanted = meta(0o400);
    wanted.xattrs = vec![xattr("nonsense", b"x"), xattr("user.a", b"1"), xattr("user.b", &[7; 2000])];
    let file = dir.create_file(b"file").unwrap().unwrap();
    let problems = applier.new_file(dir, &file, &wanted, &owners);
    if problems.len() == 3 {
        return; // This file system has no attributes.
    }
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("the attribute nonsense could not be restored: "), "{}", problems[0]);
    let mut value = [0; 3000];
    assert_eq!(rustix::fs::fgetxattr(&file, "user.b", &mut value).unwrap(), 2000);
    assert_applied(&place.path("file"), &wanted);

    // An ACL that gives user 1 the right to read: version 2, then (tag, permissions, id) for each entry.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 1), (4, 0, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)]
    {
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    let mut wanted = meta(0o640);
    wanted.xattrs = vec![xattr("system.posix_acl_access", &acl)];
    let file = dir.create_file(b"with acl").unwrap().unwrap();
    if applier.new_file(dir, &file, &wanted, &owners).is_empty() {
        assert_applied(&place.path("with acl"), &wanted);
        let len = rustix::fs::fgetxattr(&file, "system.posix_acl_access", &mut value).unwrap();
        assert_eq!(value[..len], acl);
    }
}

#[test]
fn root_gives_files_to_their_owners_by_name_or_number() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let dir = &place.target;
    let name = |id: u32, name: &str| OwnerName { id, name: name.into() };
    let tree = Tree {
        users: vec![name(0, "root"), name(4000, "daemon"), name(4001, "nobody at all")],
        groups: vec![name(0, "root"), name(4000, "daemon")],
        entries: vec![],
        ..Tree::default()
    };
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    let by_name = Applier::new(false, false).local_owners(&tree);
    assert_eq!((by_name.user(4000), by_name.user(4001)), (daemon.uid.as_raw(), 4001));
    assert_eq!((by_name.user(0), by_name.user(77), by_name.group(4000)), (0, 77, daemon.gid.as_raw()));
    assert_eq!(Applier::new(true, false).local_owners(&tree), LocalOwners::default());

    let wanted = Metadata { uid: 4000, gid: 4000, ..meta(0o6755) };
    let file = dir.create_file(b"named").unwrap().unwrap();
    assert!(Applier::new(false, false).new_file(dir, &file, &wanted, &by_name).is_empty());
    let local = Metadata { uid: daemon.uid.as_raw(), gid: daemon.gid.as_raw(), ..wanted.clone() };
    assert_applied(&place.path("named"), &local);
    let file = dir.create_file(b"numbered").unwrap().unwrap();
    assert!(Applier::new(true, false).new_file(dir, &file, &wanted, &LocalOwners::default()).is_empty());
    assert_applied(&place.path("numbered"), &wanted);
    dir.symlink(b"link", b"x").unwrap();
    assert!(Applier::new(true, false).other(dir, b"link", &wanted, &LocalOwners::default(), true).unwrap().is_empty());
    assert_applied(&place.path("link"), &wanted);

    // Nobody's number is left alone, and such a file gets no set-id bits: it would lend them root's rights.
    let hostile = Metadata { uid: u32::MAX, gid: u32::MAX, ..meta(0o6755) };
    let file = dir.create_file(b"nobody's").unwrap().unwrap();
    let problems = Applier::new(true, false).new_file(dir, &file, &hostile, &LocalOwners::default());
    assert!(problems.len() == 1 && problems[0].what.contains("set-user-id"), "{problems:?}");
    assert_applied(&place.path("nobody's"), &meta(0o755));
}

#[test]
fn a_folder_that_gives_its_group_does_not_confuse_the_saved_calls() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (sub, _) = place.target.make_dir(b"sub", Mode::RWXU).unwrap();
    let applier = Applier::new(true, false);
    let owners = LocalOwners::default();
    assert!(applier.dir(&sub, &Metadata { gid: 4000, ..meta(0o2770) }, &owners).is_empty());
    for name in ["first", "second"] {
        let file = sub.create_file(name.as_bytes()).unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().gid(), 4000, "the folder gives its group");
        assert!(applier.new_file(&sub, &file, &meta(0o600), &owners).is_empty());
        assert_applied(&place.path("sub").join(name), &meta(0o600));
    }
}

#[test]
fn a_full_disk_is_told_with_what_to_do() {
    let place = Place::new();
    let error = place.target.error(b"file", "writing it", rustix::io::Errno::NOSPC);
    assert!(error.to_string().contains("target/file: there is no space left for it; free some"), "{error}");
    let error = place.target.error(b"file", "writing it", rustix::io::Errno::IO);
    assert!(error.to_string().contains("target/file: writing it: "), "{error}");
}
