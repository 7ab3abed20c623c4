//! What differs between two snapshots, beside a plain comparison of the two trees that they were made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::{
    CancelToken, Change, DiffEntry, DiffOptions, DiffReport, DiffSide, EntryKind, Error, Repository, SnapshotPath,
};
use daykeep_tests::forge::{Forge, directory, tree_writer};
use daykeep_tests::inventory::{Inventory, Item, read};
use daykeep_tests::is_long;
use daykeep_tests::place::{Kind, Place, back_up};
use proptest::prelude::*;

use crate::small_trees::small_tree;

fn diff(repository: &Repository, before: &str, after: &str) -> (Vec<DiffEntry>, DiffReport) {
    let path = |text: &str| SnapshotPath::parse(text.as_bytes()).unwrap();
    let mut found = Vec::new();
    let mut visit = |entry: &DiffEntry| {
        found.push(entry.clone());
        true
    };
    let report = repository.diff(&path(before), &path(after), &DiffOptions::default(), &mut visit);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    (found, report)
}

type Side = (EntryKind, u64);

fn shown(side: DiffSide) -> Side {
    (side.kind, side.bytes)
}

fn side(item: &Item) -> Side {
    let kind = match item.kind {
        '-' => EntryKind::File,
        'd' => EntryKind::Directory,
        'l' => EntryKind::Symlink,
        _ => EntryKind::Fifo,
    };
    (kind, item.content.as_ref().map_or(0, |(len, _)| *len))
}

/// What differs, path by path.
fn model(before: &Inventory, after: &Inventory) -> BTreeMap<Vec<u8>, (Change, Option<Side>, Option<Side>)> {
    let mut found = BTreeMap::new();
    let paths: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let (old, new) = (before.get(path), after.get(path));
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (Some(old), Some(new)) if old.kind != new.kind => Change::Kind,
            (Some(old), Some(new)) if (&old.content, &old.target) != (&new.content, &new.target) => Change::Content,
            (Some(old), Some(new)) => {
                let is_same = (old.mode, old.owner) == (new.mode, new.owner)
                    && old.xattrs == new.xattrs
                    && (old.kind == 'd' || old.mtime == new.mtime);
                if is_same {
                    continue;
                }
                Change::Metadata
            }
        };
        found.insert(path.clone(), (change, old.map(side), new.map(side)));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 3000 } else { 60 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_differences_are_the_model_s(before in small_tree(), after in small_tree()) {
        let place = Place::new(Kind::Memory);
        let repository = place.open();
        let source = place.path("source");
        let [(old, first), (new, second)] = [before, after].map(|tree| {
            let _ = fs::remove_dir_all(&source);
            tree.make(&source);
            let id = back_up(&repository, &source).snapshot.unwrap().to_string();
            (read(&source), id)
        });
        let (found, report) = diff(&repository, &first, &second);
        let prefix = [source.as_os_str().as_bytes(), b"/"].concat();
        let below = |path: &[u8]| path.strip_prefix(&prefix[..]).unwrap_or_default().to_vec();
        let as_map = found.iter().map(|entry| {
            (below(&entry.path), (entry.change, entry.before.map(shown), entry.after.map(shown)))
        });
        prop_assert_eq!(as_map.collect::<BTreeMap<_, _>>(), model(&old, &new));
        let paths: Vec<&Path> = found.iter().map(|entry| Path::new(std::ffi::OsStr::from_bytes(&entry.path))).collect();
        prop_assert!(paths.is_sorted() && paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");

        let count = |change| found.iter().filter(|entry| entry.change == change).count() as u64;
        prop_assert_eq!(report.added.files + report.added.directories, count(Change::Added));
        prop_assert_eq!(report.removed.files + report.removed.directories, count(Change::Removed));
        prop_assert_eq!([report.content, report.metadata, report.kind],
            [Change::Content, Change::Metadata, Change::Kind].map(count));
        let bytes = |inventory: &Inventory| {
            inventory.values().filter_map(|item| item.content.as_ref()).map(|(len, _)| len).sum::<u64>()
        };
        prop_assert_eq!(bytes(&new) + report.removed.bytes + report.bytes_before,
            bytes(&old) + report.added.bytes + report.bytes_after);
    }
}

/// A source with a folder in which something changes and one in which nothing does.
fn changing(place: &Place) -> [String; 2] {
    let repository = place.open();
    let source = place.folder("source");
    for folder in ["still/a/b", "still/c", "deep/er"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("file"), folder).unwrap();
    }
    ["still", "other"].map(|text| {
        fs::write(source.join("deep/er/file"), text).unwrap();
        back_up(&repository, &source).snapshot.unwrap().to_string()
    })
}

#[test]
fn what_is_the_same_in_both_is_not_read() {
    for kind in Kind::ALL {
        let place = Place::new(kind);
        let [first, second] = changing(&place);
        let repository = place.open();
        let source = place.path("source");
        let (found, report) = diff(&repository, &first, &second);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, source.join("deep/er/file").as_os_str().as_bytes());
        assert_eq!(found[0].change, Change::Content);
        // The root, the folders down to the source, and the two below it.
        let folders = 1 + source.components().count() as u64 - 1 + 2;
        assert_eq!(report.trees_read, 2 * folders);
        let (found, report) = diff(&repository, &second, &second);
        assert_eq!((found.len(), report), (0, DiffReport::default()));
    }
}

#[test]
fn two_paths_are_compared_wherever_they_lie() {
    let place = Place::new(Kind::Memory);
    let [first, second] = changing(&place);
    let repository = place.open();
    let source = place.path("source");
    let at = |id: &str, path: &str| format!("{id}:{}", source.join(path).display());
    let paths = |before: &str, after: &str| {
        let (found, _) = diff(&repository, before, after);
        let shown = |entry: DiffEntry| {
            let path = String::from_utf8(entry.path).unwrap();
            (entry.change, path.strip_prefix(source.to_str().unwrap()).unwrap_or(&path).to_owned())
        };
        found.into_iter().map(shown).collect::<Vec<_>>()
    };
    let wanted = [(Change::Added, "/deep/er"), (Change::Added, "/deep/er/file")].map(|(c, path)| (c, path.to_owned()));
    let found = paths(&at(&first, "still"), &at(&second, "deep"));
    assert_eq!(found[5..], wanted);
    let gone = ["/still/a", "/still/a/b", "/still/a/b/file", "/still/c", "/still/c/file"];
    assert_eq!(found[..5].iter().map(|(_, path)| path).collect::<Vec<_>>(), gone);
    assert_eq!(
        paths(&at(&first, "still/c/file"), &at(&second, "deep/er/file")),
        [(Change::Content, "/deep/er/file".into())]
    );
    let found = paths(&at(&first, "deep/er"), &at(&second, "deep/er/file"));
    assert_eq!(found, [(Change::Kind, "/deep/er/file".into()), (Change::Removed, "/deep/er/file".into())]);
    let found = paths(&first, &at(&second, "deep/er/file"));
    assert_eq!(found[0], (Change::Kind, "/deep/er/file".into()));
    let missing = SnapshotPath::parse(b"latest:/none").unwrap();
    let outcome = repository.diff(&missing, &missing, &DiffOptions::default(), &mut |_| true);
    assert!(matches!(outcome, Err(Error::PathNotFound { .. })));
}

#[test]
fn a_comparison_can_be_ended() {
    let place = Place::new(Kind::Memory);
    let [first, second] = changing(&place);
    let repository = place.open();
    let path = |text: String| SnapshotPath::parse(text.as_bytes()).unwrap();
    let at = |id: &str, name: &str| path(format!("{id}:{}", place.path("source").join(name).display()));
    let (still, deep) = (at(&first, "still"), at(&second, "deep"));
    for wanted in 1..7 {
        let mut told = 0;
        let mut visit = |_: &DiffEntry| {
            told += 1;
            told < wanted
        };
        repository.diff(&still, &deep, &DiffOptions::default(), &mut visit).unwrap();
        assert_eq!(told, wanted);
    }
    let mut options = DiffOptions::default();
    options.cancel = CancelToken::new();
    options.cancel.cancel();
    assert!(matches!(repository.diff(&still, &deep, &options, &mut |_| true), Err(Error::Cancelled)));
}

#[test]
fn folders_that_cannot_be_read_are_named() {
    let mut forge = Forge::new();
    let missing = Part::Chunk { id: daykeep_engine::internals::base::ShortId::from_bytes([5; 16]), bytes: 10 };
    let mut out = tree_writer();
    directory(&mut out, b"gone", &Content { level: 0, parts: vec![missing] });
    let mut deep = forge.tree(&tree_writer().finish());
    for _ in 0..2100 {
        let mut out = tree_writer();
        directory(&mut out, b"d", &deep);
        deep = forge.tree(&out.finish());
    }
    let empty = forge.tree(&tree_writer().finish());
    let root = forge.tree(&out.finish());
    let ids = [empty, root, deep].map(|root| forge.snapshot(root).to_string());
    let place = Place::of_store(forge.store);
    let repository = place.open();
    let refused = |before: &str, after: &str| {
        let path = |text: &str| SnapshotPath::parse(text.as_bytes()).unwrap();
        repository.diff(&path(before), &path(after), &DiffOptions::default(), &mut |_| true).unwrap_err().to_string()
    };
    assert!(refused(&ids[0], &ids[1]).starts_with("/gone/: chunk 0505"), "{}", refused(&ids[0], &ids[1]));
    assert!(refused(&ids[0], &ids[2]).contains("deeper than 2048"), "{}", refused(&ids[0], &ids[2]));
}
