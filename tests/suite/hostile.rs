//! Repositories made with the right key by someone who means harm: restore and check say what is wrong, write nothing
//! outside the target, and end.

use std::fs;
use std::sync::Arc;

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::codec::Writer;
use daykeep_engine::internals::format::content::{Content, Part, encode_list};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::{Access, BackupOptions, Repository, SnapshotPath};
use daykeep_tests::forge::{Forge, directory, entry, file, tree_writer};
use daykeep_tests::inventory::read;
use daykeep_tests::place::{Place, assert_clean, check_all, temp, try_restore};

/// A content that is one chunk of file data.
fn data(forge: &mut Forge, bytes: &[u8]) -> Content {
    Content { level: 0, parts: vec![forge.part(ChunkKind::Data, bytes)] }
}

fn open(forge: &Forge) -> (Place, Repository) {
    let place = Place::of_store(Arc::clone(&forge.store));
    let repository = place.try_open(Access::Read).unwrap();
    (place, repository)
}

/// Expects that a check finds fault with the repository and that a restore says so, and that nothing but what is in
/// `allowed` appears, all of it in the target.
#[track_caller]
fn refuse(forge: &mut Forge, root: Content, allowed: &[&str]) -> Vec<String> {
    forge.snapshot(root);
    let (place, repository) = open(forge);
    let outer = place.folder("outer");
    let target = outer.join("target/inner");
    let said = match try_restore(&repository, "latest", &target) {
        Err(error) => vec![error.to_string()],
        Ok(report) => report.warnings.iter().map(|(path, message)| format!("{path}: {message}")).collect(),
    };
    assert!(!said.is_empty(), "the restore says nothing");
    let mut found: Vec<String> =
        read(&outer).into_keys().map(|path| String::from_utf8_lossy(&path).into_owned()).collect();
    found.retain(|path| !["", "target", "target/inner"].contains(&path.as_str()));
    let allowed: Vec<String> = allowed.iter().map(|name| format!("target/inner/{name}")).collect();
    assert_eq!(found, allowed, "only this may be there");
    let report = check_all(&repository).map(|report| report.errors).unwrap_or_else(|error| vec![error.to_string()]);
    assert!(!report.is_empty(), "the check says nothing");
    let _ = repository.list(&SnapshotPath::parse(b"latest").unwrap(), &mut |_| true);
    // A backup must not take such a tree as its parent either.
    drop(repository);
    let repository = place.try_open(Access::Write).unwrap();
    let source = place.folder("source");
    fs::write(source.join("file"), "fine").unwrap();
    repository.backup(&[source], &BackupOptions::default().host("forge")).unwrap();
    said
}

#[test]
fn the_forge_makes_repositories_that_are_fine() {
    let mut forge = Forge::new();
    let content = data(&mut forge, b"hello");
    let mut out = tree_writer();
    file(&mut out, b"file", &content);
    let inner = forge.tree(&out.finish());
    let mut out = tree_writer();
    directory(&mut out, b"folder", &inner);
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let (_place, repository) = open(&forge);
    let target = temp();
    let report = try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(report.warnings, []);
    assert_eq!(fs::read(target.path().join("folder/file")).unwrap(), b"hello");
    assert_clean(&repository);
}

#[test]
fn names_that_are_no_single_component_are_refused() {
    for name in [b"..".as_slice(), b".", b"", b"/x", b"a/b", b"../x", b"a\0b", b"/", &[b'n'; 5000]] {
        for kind in [1u8, 2, 3, 4] {
            let mut forge = Forge::new();
            let content = data(&mut forge, b"harm");
            let empty = forge.tree(&tree_writer().finish());
            let mut out = tree_writer();
            match kind {
                1 => file(&mut out, name, &content),
                2 => directory(&mut out, name, &empty),
                _ => {
                    entry(&mut out, name, kind);
                    if kind == 3 {
                        out.bytes(b"/etc/passwd");
                    }
                }
            }
            let root = forge.tree(&out.finish());
            refuse(&mut forge, root, &[]);
        }
    }
}

#[test]
fn names_twice_or_out_of_order_are_refused() {
    for names in [[b"a".as_slice(), b"a"], [b"b", b"a"]] {
        let mut forge = Forge::new();
        let content = data(&mut forge, b"harm");
        let mut out = tree_writer();
        // First a link out of the target, then a file of the same name that would be written through it.
        entry(&mut out, names[0], 3);
        out.bytes(b"..");
        file(&mut out, names[1], &content);
        let root = forge.tree(&out.finish());
        refuse(&mut forge, root, &[]);
    }
}

/// What is sorted is found by bisection, and what comes twice could mean one thing here and another there.
#[test]
fn attributes_and_owners_twice_or_out_of_order_are_refused() {
    let make = |owners: &[u64], attributes: &[&[u8]]| {
        let mut out = Writer::default();
        out.varint(owners.len() as u64);
        for owner in owners {
            out.varint(*owner);
            out.bytes(b"me");
        }
        out.varint(0);
        out.varint(0);
        entry(&mut out, b"pipe", 0x80 | 4);
        out.varint(attributes.len() as u64);
        for attribute in attributes {
            out.bytes(attribute);
            out.bytes(b"value");
        }
        out.finish()
    };
    let fine: [&[u8]; 2] = [b"user.a", b"user.b"];
    let mut forge = Forge::new();
    let root = forge.tree(&make(&[1, 2], &fine));
    forge.snapshot(root);
    assert_clean(&open(&forge).1);
    for (owners, attributes) in
        [([1, 1], fine), ([2, 1], fine), ([1, 2], [b"user.a", b"user.a"]), ([1, 2], [b"user.b", b"user.a"])]
    {
        let mut forge = Forge::new();
        let root = forge.tree(&make(&owners, &attributes));
        refuse(&mut forge, root, &[]);
    }
}

/// A link and below it, in a tree of its own, a file: the link is no folder, so nothing goes through it.
#[test]
fn nothing_is_written_through_a_link_that_an_earlier_restore_made() {
    let mut forge = Forge::new();
    let mut out = tree_writer();
    entry(&mut out, b"way", 3);
    out.bytes(b"../../outside");
    let link = forge.tree(&out.finish());
    let first = forge.snapshot(link).to_string();
    let content = data(&mut forge, b"harm");
    let mut out = tree_writer();
    file(&mut out, b"file", &content);
    let inner = forge.tree(&out.finish());
    let mut out = tree_writer();
    directory(&mut out, b"way", &inner);
    let root = forge.tree(&out.finish());
    let second = forge.snapshot(root).to_string();
    let (place, repository) = open(&forge);
    let (outside, target) = (place.folder("outside"), place.path("above/target"));
    fs::create_dir(place.path("above")).unwrap();
    try_restore(&repository, &first, &target).unwrap();
    assert!(target.join("way").exists(), "the link leads somewhere");
    let report = try_restore(&repository, &second, &target);
    assert!(report.is_err() || !report.unwrap().warnings.is_empty());
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0, "nothing outside");
}

#[test]
fn counts_and_lengths_that_lie_are_refused() {
    let huge = |write: &dyn Fn(&mut Writer)| {
        let mut out = Writer::default();
        write(&mut out);
        out.finish()
    };
    let trees = [
        huge(&|out| out.varint(u64::MAX)),
        huge(&|out| out.varint(200 << 20)),
        huge(&|out| {
            out.varint(0);
            out.varint(1 << 40);
        }),
        huge(&|out| {
            out.varint(0);
            out.varint(0);
            out.varint(1 << 62);
        }),
        huge(&|out| {
            out.varint(0);
            out.varint(0);
            entry(out, b"x", 0x81);
            out.varint(u64::MAX);
        }),
        huge(&|out| {
            out.varint(0);
            out.varint(0);
            entry(out, b"x", 3);
            out.varint(1 << 50);
        }),
        huge(&|out| {
            out.varint(0);
            out.varint(0);
            entry(out, b"x", 9);
        }),
        b"no tree at all".to_vec(),
    ];
    for bytes in trees {
        let mut forge = Forge::new();
        let root = forge.tree(&bytes);
        refuse(&mut forge, root, &[]);
    }
}

/// Contents of a file that are refused: how they are made from the id of a chunk of four bytes.
#[test]
fn contents_that_lie_are_refused() {
    type Make = fn(&mut Forge, ShortId) -> Content;
    let lies: [(&str, Make); 8] = [
        ("a chunk named longer than it is", |_, id| Content { level: 0, parts: vec![Part::Chunk { id, bytes: 5 }] }),
        ("a chunk named shorter than it is", |_, id| Content { level: 0, parts: vec![Part::Chunk { id, bytes: 3 }] }),
        ("a chunk that is not there", |_, _| {
            let id = ShortId::from_bytes([1; 16]);
            Content { level: 0, parts: vec![Part::Chunk { id, bytes: 4 }] }
        }),
        ("a chunk of data as a list", |_, id| Content { level: 1, parts: vec![Part::Chunk { id, bytes: 4 }] }),
        ("a list as data", |forge, id| {
            let list = encode_list(0, &[Part::Chunk { id, bytes: 4 }]);
            Content { level: 0, parts: vec![forge.part(ChunkKind::List, &list)] }
        }),
        ("a list whose sum lies", |forge, id| {
            let list = encode_list(0, &[Part::Chunk { id, bytes: 4 }, Part::Hole { bytes: 10 }]);
            let id = forge.chunk(ChunkKind::List, &list);
            Content { level: 1, parts: vec![Part::Chunk { id, bytes: 4 }] }
        }),
        ("a list of another level", |forge, id| {
            let list = encode_list(1, &[Part::Chunk { id, bytes: 4 }]);
            let id = forge.chunk(ChunkKind::List, &list);
            Content { level: 1, parts: vec![Part::Chunk { id, bytes: 4 }] }
        }),
        ("a list that is cut short", |forge, id| {
            let list = encode_list(0, &[Part::Chunk { id, bytes: 4 }]);
            let id = forge.chunk(ChunkKind::List, &list[..list.len() - 1]);
            Content { level: 1, parts: vec![Part::Chunk { id, bytes: 4 }] }
        }),
    ];
    for (what, lie) in lies {
        let mut forge = Forge::new();
        let id = forge.chunk(ChunkKind::Data, b"four");
        let lying = lie(&mut forge, id);
        // A fine file beside it is restored all the same.
        let fine = data(&mut forge, b"fine");
        let mut out = tree_writer();
        file(&mut out, b"file", &lying);
        file(&mut out, b"good", &fine);
        let root = forge.tree(&out.finish());
        forge.snapshot(root);
        let (place, repository) = open(&forge);
        let target = place.path("target");
        let report = try_restore(&repository, "latest", &target).unwrap();
        assert_eq!(report.warnings.len(), 1, "{what}");
        assert!(report.warnings[0].0.ends_with("/file"), "{what}: {:?}", report.warnings);
        assert_eq!(fs::read(target.join("good")).unwrap(), b"fine", "{what}");
        let errors = check_all(&repository).unwrap().errors;
        assert!(errors.iter().any(|error| error.contains("/file")), "{what}: {errors:?}");
    }
}

/// A file's content that the format's reader refuses outright takes its whole tree with it.
#[test]
fn contents_that_break_the_format_are_refused() {
    let chunk = Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: 4 };
    let contents = [
        Content { level: 7, parts: vec![chunk] },
        Content { level: 255, parts: vec![chunk] },
        Content { level: 0, parts: vec![chunk; 17] },
        Content { level: 0, parts: vec![Part::Hole { bytes: 0 }] },
        Content { level: 0, parts: vec![Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: (1 << 20) + 1 }] },
        Content { level: 0, parts: vec![Part::Hole { bytes: u64::MAX }, Part::Hole { bytes: u64::MAX }] },
    ];
    for lying in contents {
        let mut forge = Forge::new();
        let mut out = tree_writer();
        file(&mut out, b"file", &lying);
        let root = forge.tree(&out.finish());
        refuse(&mut forge, root, &[]);
    }
}

/// A tree whose bytes are those of a file: data and trees have ids under different keys, so one cannot pass for the
/// other even if both are the same bytes.
#[test]
fn a_file_does_not_pass_for_a_tree() {
    let mut forge = Forge::new();
    let mut out = tree_writer();
    let content = data(&mut forge, b"harm");
    file(&mut out, b"file", &content);
    let root = data(&mut forge, &out.finish());
    refuse(&mut forge, root, &[]);
}

/// A content that stands for nearly 2^64 bytes: five levels of lists, each of which names one piece as often as it may.
fn bomb(forge: &mut Forge, part: Part, repeats: usize) -> Content {
    let mut part = part;
    let mut repeats = repeats;
    for level in 0..5 {
        let parts = vec![part; repeats];
        let bytes = parts.iter().map(Part::bytes).sum();
        part = Part::Chunk { id: forge.chunk(ChunkKind::List, &encode_list(level, &parts)), bytes };
        repeats = 4096;
    }
    Content { level: 5, parts: vec![part; 15] }
}

#[test]
fn a_list_that_repeats_itself_takes_no_time_and_no_space() {
    let mut forge = Forge::new();
    let byte = forge.part(ChunkKind::Data, b"x");
    let bomb = bomb(&mut forge, byte, 4096);
    let fine = data(&mut forge, b"fine");
    let mut out = tree_writer();
    file(&mut out, b"bomb", &bomb);
    file(&mut out, b"good", &fine);
    file(&mut out, b"once more", &bomb);
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let (place, repository) = open(&forge);
    assert_clean(&repository);
    let mut listed = Vec::new();
    let path = SnapshotPath::parse(b"latest").unwrap();
    repository
        .list(&path, &mut |entry| {
            listed.push(entry.bytes);
            true
        })
        .unwrap();
    assert_eq!(listed, [15 << 60, 4, 15 << 60]);
    let target = place.folder("target");
    let report = try_restore(&repository, "latest", &target).unwrap();
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    for ((path, message), name) in report.warnings.iter().zip(["/bomb", "/once more"]) {
        assert_eq!(path, name);
        let sizes = message.split(|c: char| !c.is_ascii_digit()).filter(|number| number.len() > 6).collect::<Vec<_>>();
        let disk = rustix::fs::statvfs(&target).unwrap();
        assert_eq!(sizes, [(15u64 << 60).to_string(), (disk.f_blocks * disk.f_frsize).to_string()], "{message}");
    }
    assert_eq!(fs::read(target.join("good")).unwrap(), b"fine");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "nothing of the others is there");
    // One that is there already stays as it is.
    fs::write(target.join("bomb"), "mine").unwrap();
    try_restore(&repository, "latest", &target).unwrap();
    assert_eq!(fs::read(target.join("bomb")).unwrap(), b"mine");
}

/// Lists of nothing but holes would keep a restore busy for ever and write nothing.
#[test]
fn lists_whose_holes_meet_are_refused() {
    for meets_in_a_piece in [false, true] {
        let mut forge = Forge::new();
        let bomb = bomb(&mut forge, Part::Hole { bytes: 1 }, 1 + usize::from(meets_in_a_piece));
        let mut out = tree_writer();
        file(&mut out, b"file", &bomb);
        let root = forge.tree(&out.finish());
        refuse(&mut forge, root, &[]);
    }
}

#[test]
fn a_hole_above_level_0_is_refused() {
    let mut forge = Forge::new();
    let mut out = tree_writer();
    file(&mut out, b"file", &Content { level: 1, parts: vec![Part::Hole { bytes: 1 }] });
    let root = forge.tree(&out.finish());
    refuse(&mut forge, root, &[]);
}

/// A hole that no file system takes, and one that takes no space.
#[test]
fn a_hole_of_exabytes_is_a_warning() {
    let mut forge = Forge::new();
    let mut out = tree_writer();
    file(&mut out, b"huge", &Content { level: 0, parts: vec![Part::Hole { bytes: u64::MAX }] });
    file(&mut out, b"long", &Content { level: 0, parts: vec![Part::Hole { bytes: 1 << 40 }] });
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    let (place, repository) = open(&forge);
    let target = place.path("target");
    let report = try_restore(&repository, "latest", &target).unwrap();
    assert!(report.warnings.iter().any(|(path, _)| path.ends_with("/huge")), "{:?}", report.warnings);
    assert!(report.warnings.iter().all(|(path, _)| path.starts_with('/')));
}

/// A directory whose tree is said to be zeros by the hundred megabyte.
#[test]
fn a_tree_of_holes_is_refused() {
    for bytes in [100 << 20, 1 << 30, u64::MAX] {
        let mut forge = Forge::new();
        refuse(&mut forge, Content { level: 0, parts: vec![Part::Hole { bytes }] }, &[]);
    }
}

#[test]
fn folders_nested_too_deep_are_an_error() {
    for (depth, is_fine) in [(500, true), (3000, false)] {
        let mut forge = Forge::new();
        let content = data(&mut forge, b"deep");
        let mut out = tree_writer();
        file(&mut out, b"file", &content);
        let mut at = forge.tree(&out.finish());
        for _ in 0..depth {
            let mut out = tree_writer();
            directory(&mut out, b"d", &at);
            at = forge.tree(&out.finish());
        }
        forge.snapshot(at);
        let (place, repository) = open(&forge);
        let report = try_restore(&repository, "latest", &place.path("target"));
        assert_eq!(report.is_ok_and(|report| report.warnings.is_empty()), is_fine, "{depth}");
        let report = check_all(&repository).unwrap();
        assert_eq!(report.errors.is_empty(), is_fine, "{depth}: {:?}", report.errors);
        let listed = repository.list(&SnapshotPath::parse(b"latest").unwrap(), &mut |_| true);
        assert_eq!(listed.is_ok(), is_fine);
    }
}

/// The same lies one level up, in the snapshot itself.
#[test]
fn a_snapshot_that_lies_is_refused() {
    use daykeep_engine::{ObjectKind, SnapshotRecord};
    let mut forge = Forge::new();
    let whole = SnapshotRecord { root: Content { level: 7, parts: Vec::new() }, ..SnapshotRecord::default() }.encode();
    let mut long = Writer::default();
    [0, 0, 0, 0, u64::MAX].into_iter().for_each(|number| long.varint(number));
    let named = |tags: [&str; 2], paths: [&str; 2]| {
        let (tags, paths) = (tags.map(str::to_owned).to_vec(), paths.map(|path| path.into()).to_vec());
        SnapshotRecord { tags, paths, ..SnapshotRecord::default() }.encode()
    };
    let sorted = ["/a", "/b"];
    assert!(SnapshotRecord::decode(&named(sorted, sorted)).is_ok());
    let twice = [named(["a", "a"], sorted), named(sorted, ["/a", "/a"])];
    let turned = [named(["b", "a"], sorted), named(sorted, ["/b", "/a"])];
    let lies = [[whole, long.finish()], [Vec::new(), vec![0xff; 100]], twice, turned].concat();
    for payload in &lies {
        let name = forge.name(ObjectKind::Snapshot);
        let object = forge.codec.seal_object(&name, payload).unwrap();
        forge.store.put(&name, &object).unwrap();
    }
    let (_place, repository) = open(&forge);
    let (snapshots, errors) = repository.snapshots().unwrap();
    assert_eq!((snapshots.len(), errors.len()), (0, lies.len()));
    assert_eq!(check_all(&repository).unwrap().errors.len(), lies.len());
    assert!(repository.snapshot("latest").is_err());
}

/// An index that places chunks where they are not.
#[test]
fn an_index_that_lies_is_noticed() {
    use daykeep_engine::internals::format::index::{ChunkRecord, Encoding, FrameRecord, FrameTable, Index, PackRecord};
    use daykeep_engine::{ObjectId, ObjectKind};
    let mut forge = Forge::new();
    let content = data(&mut forge, b"true");
    let other = data(&mut forge, b"else");
    let mut out = tree_writer();
    file(&mut out, b"file", &content);
    let root = forge.tree(&out.finish());
    forge.snapshot(root);
    // The second index object names the second frame as the place of the first chunk.
    let pack = ObjectId::from_bytes([2; 32]);
    let bytes = forge.store.list(ObjectKind::Pack).unwrap()[0].1 as u32;
    let id = |content: &Content| match content.parts[0] {
        Part::Chunk { id, .. } => id,
        Part::Hole { .. } => unreachable!(),
    };
    let record = |id| ChunkRecord { id, kind: ChunkKind::Data, bytes: 4, delta: None };
    let frame = FrameRecord { encoding: Encoding::Raw, sealed_bytes: 20, plain_bytes: 4, chunks: 1 };
    let table = FrameTable { frames: vec![frame; 2], chunks: vec![record(id(&other)), record(id(&content))] };
    let index = Index { packs: vec![PackRecord { id: pack, bytes, table }] };
    let name = forge.name(ObjectKind::Index);
    forge.store.put(&name, &forge.codec.seal_object(&name, &index.encode()).unwrap()).unwrap();
    let (place, repository) = open(&forge);
    let target = place.path("target");
    let outcome = try_restore(&repository, "latest", &target);
    let is_right = fs::read(target.join("file")).is_ok_and(|bytes| bytes == b"true");
    assert!(is_right || outcome.is_err() || !outcome.unwrap().warnings.is_empty(), "never other bytes without a word");
    assert!(!check_all(&repository).unwrap().errors.is_empty());
}
