//! Media libraries, small files and source trees: the same from the same seed, and what they claim to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "media/decode.rs"]
mod decode;
#[path = "media/text.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use daykeep_datasets::error::Error;
use daykeep_datasets::media::{self, Kind, Options};

/// Path, content and time of modification of all files below a folder.
fn state(folder: &Path) -> BTreeMap<String, (blake3::Hash, u64)> {
    let mut out = BTreeMap::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            out.insert(name, (blake3::hash(&fs::read(&path).unwrap()), seconds));
        }
    }
    out
}

fn library(seed: u64, threads: usize) -> BTreeMap<String, (blake3::Hash, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seed, bytes: 12_000_000, day_bytes: 3_000_000 };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        media::generate(folder.path(), &options).unwrap();
        media::grow(folder.path(), 1, &options).unwrap();
        media::grow(folder.path(), 2, &options).unwrap();
    });
    state(folder.path())
}

#[test]
fn a_seed_gives_the_same_library_on_any_number_of_threads() {
    let one = library(5, 1);
    assert_eq!(one, library(5, 3));
    let other = library(6, 2);
    let contents = |state: &BTreeMap<String, (blake3::Hash, u64)>| -> BTreeSet<[u8; 32]> {
        state.values().map(|(hash, _)| *hash.as_bytes()).collect()
    };
    assert!(contents(&one).is_disjoint(&contents(&other)));
}

#[test]
fn a_library_has_the_size_the_copies_and_the_entropy_it_should_and_decodes() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seed: 3, bytes: 40_000_000, ..Options::default() };
    let report = media::generate(folder.path(), &options).unwrap();
    let share = report.total.bytes as f64 / options.bytes as f64;
    assert!((0.95..1.05).contains(&share), "{share} of the bytes asked for: {report:?}");
    assert_eq!(report.kinds.keys().copied().collect::<BTreeSet<_>>(), Kind::ALL.into_iter().collect());

    let files = state(folder.path());
    assert_eq!(files.len() as u64, report.total.files);
    let whatsapp: Vec<_> = files.iter().filter(|(path, _)| path.starts_with("WhatsApp/")).collect();
    let distinct: BTreeSet<_> = whatsapp.iter().map(|(_, (hash, _))| *hash.as_bytes()).collect();
    let copies = 100.0 * (whatsapp.len() - distinct.len()) as f64 / whatsapp.len() as f64;
    assert!((10.0..14.0).contains(&copies), "{copies} % of {} files are copies", whatsapp.len());
    assert_eq!(report.duplicates.files as usize, whatsapp.len() - distinct.len());

    let mut photos = Vec::new();
    for (path, (_, modified)) in &files {
        let bytes = fs::read(folder.path().join(path)).unwrap();
        decode::check(path, &bytes);
        named_by_date(path, *modified);
        if path.ends_with(".jpg") {
            photos.push(bytes);
        }
    }
    let all: usize = photos.iter().map(Vec::len).sum();
    let compressed: usize = photos.iter().map(|bytes| zstd::bulk::compress(bytes, 3).unwrap().len()).sum();
    assert!(compressed * 100 > all * 97, "zstd makes {compressed} bytes of {all}");
}

/// The date in a file's name is the one it was modified at.
fn named_by_date(path: &str, modified: u64) {
    let name = path.rsplit('/').next().unwrap();
    let digits: String = name.chars().skip_while(|c| !c.is_ascii_digit()).take(8).collect();
    let part = |range: std::ops::Range<usize>| digits[range].parse::<u64>().unwrap();
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    // Days since 1970 by counting from March, as calendars with the leap day at the end of the year do.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    assert_eq!(modified / 86_400, days, "{path} was modified on day {}", modified / 86_400);
}

#[test]
fn a_day_does_what_it_reports() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seed: 4, bytes: 60_000_000, day_bytes: 6_000_000 };
    media::generate(folder.path(), &options).unwrap();
    let mut happened = [0; 6];
    for day in 1..=2 {
        let before = state(folder.path());
        let old: BTreeMap<String, Vec<u8>> =
            before.keys().map(|path| (path.clone(), fs::read(folder.path().join(path)).unwrap())).collect();
        let growth = media::grow(folder.path(), day, &options).unwrap();
        let after = state(folder.path());
        for (from, to) in growth.renamed.iter().chain(&growth.moved) {
            assert_eq!(after[to], before[from], "{from} became {to}");
            assert!(!after.contains_key(from));
        }
        for (from, to) in &growth.forwarded {
            assert!(!before.contains_key(to));
            assert_eq!(after[to].0, before[from].0);
        }
        for path in &growth.edited {
            let new = fs::read(folder.path().join(path)).unwrap();
            decode::same_image(&old[path], &new);
        }
        for (from, to) in &growth.trimmed {
            assert!(!before.contains_key(to));
            decode::part_of(&old[from], &fs::read(folder.path().join(to)).unwrap());
        }
        for path in &growth.deleted {
            assert!(before.contains_key(path) && !after.contains_key(path));
        }
        let new = growth.added.total.files as usize + growth.forwarded.len() + growth.trimmed.len();
        assert_eq!(after.len(), before.len() + new - growth.deleted.len());
        for path in after.keys().filter(|path| after.get(*path) != before.get(*path)) {
            decode::check(path, &fs::read(folder.path().join(path)).unwrap());
        }
        let lens = [&growth.renamed, &growth.moved, &growth.forwarded, &growth.trimmed].map(Vec::len);
        let counts = lens.into_iter().chain([growth.edited.len(), growth.deleted.len()]);
        happened.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(happened.iter().all(|count| *count > 0), "some kind of change never came: {happened:?}");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let error = media::generate(folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_day_comes_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seed: 4, bytes: 4_000_000, day_bytes: 1_000_000 };
    media::generate(folder.path(), &options).unwrap();
    media::grow(folder.path(), 1, &options).unwrap();
    let before = state(folder.path());
    let error = media::grow(folder.path(), 1, &options).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(state(folder.path()), before);
}

#[test]
fn a_single_video_has_the_length_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.mp4");
    media::video(&path, 9_876_543, 1).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 9_876_543);
    decode::check("video.mp4", &bytes);
}
