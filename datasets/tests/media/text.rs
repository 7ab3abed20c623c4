use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use daykeep_datasets::{files, versions};

use crate::state;

/// The contents of a folder, without times.
fn contents(folder: &Path) -> BTreeMap<String, blake3::Hash> {
    state(folder).into_iter().map(|(path, (hash, _))| (path, hash)).collect()
}

#[test]
fn small_files_are_as_many_and_as_long_as_they_should_be() {
    let make = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let bytes =
            files::generate(folder.path(), &files::Options { seed, count: 2345, ..files::Options::default() }).unwrap();
        (folder, bytes)
    };
    let ((one, bytes), (same, _), (other, _)) = (make(1), make(1), make(2));
    let all = contents(one.path());
    assert_eq!(all.len(), 2345);
    assert_eq!(all.keys().last().unwrap(), "d002/f0344.txt");
    let texts: Vec<Vec<u8>> = all.keys().map(|path| fs::read(one.path().join(path)).unwrap()).collect();
    assert!(texts.iter().all(|text| (200..=2600).contains(&text.len())));
    assert_eq!(texts.iter().map(Vec::len).sum::<usize>() as u64, bytes);
    assert_eq!(all, contents(same.path()));
    let other = contents(other.path());
    assert!(all.iter().all(|(path, hash)| other[path] != *hash));
    // Text of a language: about half of it goes when it is compressed, neither nearly all nor nearly none.
    let text = texts.concat();
    let share = zstd::bulk::compress(&text, 3).unwrap().len() as f64 / text.len() as f64;
    assert!((0.3..0.6).contains(&share), "{share}");
}

#[test]
fn releases_differ_as_releases_do() {
    let folder = tempfile::tempdir().unwrap();
    let options = versions::Options { seed: 1, releases: 5, files: 400 };
    versions::generate(folder.path(), &options).unwrap();
    let path = |release| folder.path().join(format!("release-{release:02}"));
    let releases: Vec<_> = (1..=5).map(|release| contents(&path(release))).collect();
    assert_eq!(releases[0].len(), 400);
    for (release, pair) in (2..).zip(releases.windows(2)) {
        let (old, new) = (&pair[0], &pair[1]);
        let edited = old.iter().filter(|(path, hash)| new.get(*path).is_some_and(|new| new != *hash)).count();
        let gone = old.keys().filter(|path| !new.contains_key(*path)).count();
        let renamed =
            new.iter().filter(|(path, hash)| !old.contains_key(*path) && old.values().any(|old| old == *hash));
        let added = new.keys().filter(|path| !old.contains_key(*path)).count();
        // One release changes the year in every file, so the renamed ones differ too.
        let everywhere = release == 3;
        assert!(
            if everywhere { edited + gone == 400.max(old.len()) } else { (20..80).contains(&edited) },
            "{edited} edited"
        );
        assert!(everywhere || renamed.count() > 0, "release {release}");
        assert!(gone > 0 && added > 0, "{gone} gone, {added} added");
        let log = |release| fs::read_to_string(path(release).join("CHANGELOG.md")).unwrap();
        let old_log = log(release - 1);
        assert!(log(release).ends_with(old_log.strip_prefix("# Changes\n").unwrap()));
    }
    let year = |release: u64| {
        let files = contents(&path(release));
        let first =
            |name: &String| fs::read_to_string(path(release).join(name)).unwrap().lines().next().unwrap().to_owned();
        let mut years: Vec<String> = files.keys().filter(|name| *name != "CHANGELOG.md").map(first).collect();
        years.dedup();
        years
    };
    assert_eq!((year(2).len(), year(3).len()), (1, 1));
    assert_ne!(year(2), year(3));
}

#[test]
fn a_tree_that_is_advanced_holds_what_the_release_holds() {
    let options = versions::Options { seed: 9, releases: 4, files: 200 };
    let (apart, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    versions::generate(apart.path(), &options).unwrap();
    for release in 1..=4 {
        versions::advance(place.path(), release, &options).unwrap();
        assert_eq!(contents(place.path()), contents(&apart.path().join(format!("release-{release:02}"))));
    }
    let other = tempfile::tempdir().unwrap();
    versions::advance(other.path(), 1, &versions::Options { seed: 8, ..options }).unwrap();
    assert_ne!(contents(other.path()), contents(&apart.path().join("release-01")));
}
