//! Which snapshots hold what, beside a plain look into all the trees that they were made of.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::{BackupOptions, EntryKind, Error, FindOptions, FindReport, ObjectId, Patterns, Repository};
use daykeep_tests::forge::{Forge, directory, file, tree_writer};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::place::{Kind, Place, back_up};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::small_trees::small_tree;

const PATTERNS: [&str; 8] = ["b*", "*.txt", "b/", "a/b", "**/a/b", "!b0", "*", "c\u{e4}/**"];

/// A version: path, kind, bytes, seconds of its time, and the numbers of the snapshots that hold it.
type Version = (Vec<u8>, EntryKind, u64, i64, Vec<usize>);

fn find(repository: &Repository, options: &FindOptions, ids: &[ObjectId]) -> (Vec<Version>, FindReport) {
    let mut found = Vec::new();
    let report = repository.find(options, &mut |entry| {
        let number = |id: ObjectId| ids.iter().position(|known| *known == id).unwrap();
        let snapshots = entry.snapshots.iter().map(|snapshot| number(snapshot.id)).collect();
        found.push((entry.path.to_vec(), entry.kind, entry.bytes, entry.mtime.seconds, snapshots));
        true
    });
    (found, report.unwrap_or_else(|error| panic!("{error}")))
}

fn options(patterns: &[&str]) -> FindOptions {
    let mut options = FindOptions::default();
    options.patterns = Patterns::new(patterns.iter().copied()).unwrap();
    options
}

fn model(source: &Path, trees: &[Inventory], patterns: &Patterns) -> Vec<Version> {
    let mut found = BTreeMap::<_, Vec<usize>>::new();
    for (number, tree) in trees.iter().enumerate() {
        for (path, item) in tree.iter().filter(|(path, _)| !path.is_empty()) {
            let path = source.join(std::ffi::OsStr::from_bytes(path));
            if patterns.excludes(&path, item.kind == 'd') {
                let key = (path, item.kind, item.mtime, item.content.clone(), item.target.clone());
                found.entry(key).or_default().push(number);
            }
        }
    }
    let mut versions = Vec::new();
    for ((path, kind, (seconds, _), content, _), numbers) in found {
        let kind = match kind {
            '-' => EntryKind::File,
            'd' => EntryKind::Directory,
            'l' => EntryKind::Symlink,
            _ => EntryKind::Fifo,
        };
        let bytes = content.map_or(0, |(len, _)| len);
        versions.push((path.into_os_string().into_encoded_bytes(), kind, bytes, seconds, numbers));
    }
    versions
}

fn sorted(mut versions: Vec<Version>) -> Vec<Version> {
    versions.sort_by_key(|(path, kind, bytes, time, numbers)| {
        (path.clone(), format!("{kind:?}"), *bytes, *time, numbers.clone())
    });
    versions
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 2000 } else { 40 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_versions_are_the_model_s(
        kinds in vec(small_tree(), 1..4),
        order in vec(0usize..4, 1..7),
        patterns in vec(prop::sample::select(&PATTERNS[..]), 1..4),
    ) {
        let place = Place::new(Kind::Memory);
        let repository = place.open();
        let source = place.path("source");
        let (mut trees, mut ids) = (Vec::new(), Vec::new());
        for tree in order {
            let _ = fs::remove_dir_all(&source);
            kinds[tree % kinds.len()].make(&source);
            ids.push(back_up(&repository, &source).snapshot.unwrap());
            trees.push(read(&source));
        }
        let mut options = options(&patterns);
        let (found, report) = find(&repository, &options, &ids);
        let is_below = |(path, ..): &Version| path.starts_with(&[source.as_os_str().as_bytes(), b"/"].concat());
        prop_assert_eq!(report.found, found.len() as u64);
        let below: Vec<_> = found.into_iter().filter(is_below).collect();
        let paths: Vec<&Path> = below.iter().map(|(path, ..)| Path::new(std::ffi::OsStr::from_bytes(path))).collect();
        prop_assert!(paths.is_sorted());
        prop_assert_eq!(sorted(below), sorted(model(&source, &trees, &options.patterns)));
        // The same, of the last two alone.
        options.newest = Some(2);
        let from = ids.len().saturating_sub(2);
        let (found, report) = find(&repository, &options, &ids[from..]);
        prop_assert_eq!(report.snapshots, (ids.len() - from) as u64);
        let below = found.into_iter().filter(is_below).collect();
        prop_assert_eq!(sorted(below), sorted(model(&source, &trees[from..], &options.patterns)));
    }
}

#[test]
fn a_folder_that_many_snapshots_share_is_read_once() {
    for kind in Kind::ALL {
        let place = Place::new(kind);
        let repository = place.open();
        let source = place.folder("source");
        for folder in ["still/a/b", "deep/er"] {
            fs::create_dir_all(source.join(folder)).unwrap();
            fs::write(source.join(folder).join("file"), folder).unwrap();
        }
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(back_up(&repository, &source).snapshot.unwrap());
        }
        let all = options(&["file"]);
        let (found, report) = find(&repository, &all, &ids);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(.., numbers)| numbers.len() == 20));
        // The source and the five folders in it; those above it change whenever someone else works there.
        let above = source.components().count() as u64 - 1;
        assert!(report.trees_read <= 20 * above + 6, "{kind:?}: {}", report.trees_read);
        fs::write(source.join("deep/er/file"), "another").unwrap();
        ids.push(back_up(&repository, &source).snapshot.unwrap());
        let (found, report) = find(&repository, &all, &ids);
        let numbers: Vec<_> = found.iter().map(|(.., numbers)| numbers.len()).collect();
        assert_eq!(numbers, [20, 1, 21]);
        // What changed, from the source down, is read twice.
        assert!(report.trees_read <= 21 * above + 9, "{kind:?}: {}", report.trees_read);
    }
}

#[test]
fn snapshots_are_chosen_by_name_and_host() {
    let place = Place::new(Kind::Memory);
    let repository = place.open();
    let source = place.folder("source");
    fs::write(source.join("file"), "text").unwrap();
    let ids: Vec<ObjectId> = ["a", "b", "a"]
        .into_iter()
        .map(|host| repository.backup(&[&source], &BackupOptions::default().host(host)).unwrap().snapshot.unwrap())
        .collect();
    let numbers = |change: &dyn Fn(&mut FindOptions)| {
        let mut options = options(&["file"]);
        change(&mut options);
        find(&repository, &options, &ids).0.into_iter().flat_map(|(.., numbers)| numbers).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&|_| {}), [0, 1, 2]);
    assert_eq!(numbers(&|options| options.host = Some("a".into())), [0, 2]);
    assert_eq!(numbers(&|options| (options.host, options.newest) = (Some("a".into()), Some(1))), [2]);
    assert_eq!(numbers(&|options| options.snapshots = vec![ids[1].to_string(), ids[1].to_string()]), [1]);
    assert_eq!(numbers(&|options| options.newest = Some(0)), [0; 0]);
    let mut none = options(&["file"]);
    none.snapshots = vec!["0123".into()];
    assert!(matches!(repository.find(&none, &mut |_| true), Err(Error::SnapshotNotFound { .. })));
    let nothing = options(&[]);
    assert!(matches!(repository.find(&nothing, &mut |_| true), Err(Error::InvalidOption { option: "find", .. })));
    let cancelled = options(&["file"]);
    cancelled.cancel.cancel();
    assert!(matches!(repository.find(&cancelled, &mut |_| true), Err(Error::Cancelled)));
    let mut told = 0;
    let mut first_only = |_: &daykeep_engine::FoundEntry<'_>| {
        told += 1;
        false
    };
    repository.find(&options(&["*"]), &mut first_only).unwrap();
    assert_eq!(told, 1);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_found() {
    let mut forge = Forge::new();
    let missing = Part::Chunk { id: ShortId::from_bytes([5; 16]), bytes: 10 };
    let mut deep = forge.tree(&tree_writer().finish());
    for _ in 0..2100 {
        let mut out = tree_writer();
        directory(&mut out, b"d", &deep);
        deep = forge.tree(&out.finish());
    }
    let mut out = tree_writer();
    directory(&mut out, b"deep", &deep);
    directory(&mut out, b"gone", &Content { level: 0, parts: vec![missing] });
    file(&mut out, b"here", &Content::default());
    let root = forge.tree(&out.finish());
    let id = forge.snapshot(root);
    let name = forge.name(daykeep_engine::ObjectKind::Snapshot);
    forge.store.put(&name, b"no snapshot").unwrap();
    let place = Place::of_store(forge.store);
    let (found, report) = find(&place.open(), &options(&["here"]), &[id]);
    assert_eq!((found.len(), report.snapshots), (1, 1));
    let errors: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains(&name.to_string()), "{errors:?}");
    assert!(errors[1].contains("deeper than 2048"), "{errors:?}");
    assert!(errors[2].starts_with(&format!("{}:/gone/: chunk 0505", &id.to_string()[..8])), "{errors:?}");
}
