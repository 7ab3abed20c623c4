#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::data::{Language, Random, media};
use super::*;
use crate::base::CancelToken;
use crate::base::limits::MIB;
use crate::compress::{Compressor, looks_incompressible};
use crate::error::{Error, StoreErrorKind};
use crate::repo::Location;

const STAGES: [Stage; 12] = [
    Stage::Open,
    Stage::Read,
    Stage::Chunk,
    Stage::Hash,
    Stage::Compress,
    Stage::CompressOther,
    Stage::Seal,
    Stage::StoreDirectory,
    Stage::StoreFile,
    Stage::CatalogAdd,
    Stage::CatalogFind,
    Stage::Backup,
];

/// Options that take a second or two in all, with the repository in `folder`.
fn quick(folder: &Path) -> MeasureOptions {
    let mut options = MeasureOptions::default()
        .location(Location::File(folder.join("r.redb")))
        .cache_dir(folder.join("cache"))
        .stage_time(Duration::from_millis(10));
    options.disk_bytes = 64 * MIB as u64;
    options.sample_bytes = 2 * MIB as u64;
    options
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_sane(measurement: &Measurement) {
    let measured: Vec<Stage> = measurement.stages.iter().map(|report| report.stage).collect();
    assert_eq!(measured, STAGES);
    for report in &measurement.stages {
        for rate in [Some(report.one_core), report.all_cores].into_iter().flatten() {
            assert!(rate.is_finite() && rate > 0.0, "{report:?}");
        }
        assert!(report.amount > 0 && report.nanos().is_finite(), "{report:?}");
    }
    for share in [measurement.stored_share, measurement.stored_share_other] {
        assert!(share > 0.0 && share <= 1.0, "{share}");
    }
    let conclusion = measurement.conclusion();
    assert!(conclusion.bytes_per_second.is_finite() && conclusion.bytes_per_second > 0.0, "{conclusion:?}");
    assert!(conclusion.slowest_share > 0.0 && conclusion.slowest_share <= 1.0, "{conclusion:?}");
}

#[test]
fn generated_data_give_figures_for_every_stage_and_nothing_stays() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("cache")).unwrap();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&begun);
    let measurement = measure(&quick(temp.path()).observer(move |stage| told.lock().unwrap().push(stage))).unwrap();
    assert_sane(&measurement);
    assert_eq!(*begun.lock().unwrap(), STAGES);
    assert_eq!(measurement.place, temp.path().canonicalize().unwrap());
    assert_eq!(names_in(temp.path()), ["cache"]);
    assert!(names_in(&temp.path().join("cache")).is_empty());
    let sample = &measurement.sample;
    assert!(sample.path.is_none() && sample.is_whole && sample.bytes == 2 * MIB as u64);
    // All of it fits into memory: as much as was written of each.
    assert_eq!(sample.bytes_by_class, [MIB as u64 / 2, MIB as u64, MIB as u64 / 2]);
    assert_eq!((sample.backup_files, sample.backup_bytes), (sample.files, sample.bytes));
    // Half of it is noise, the rest text.
    assert!(measurement.stored_share > 0.5 && measurement.stored_share < 0.9, "{}", measurement.stored_share);
}

#[test]
fn the_user_s_files_are_measured_and_stay_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    let text = Language::default().text(&mut Random::new(9), 300_000);
    fs::write(source.join("a"), &text).unwrap();
    fs::write(source.join("below/b"), &text[..5000]).unwrap();
    fs::write(source.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("/", source.join("link")).unwrap();
    // The repository's folder, and so the temporary one, lies among the files.
    let options = quick(&source).sample(&source);
    let measurement = measure(&options).unwrap();
    assert_sane(&measurement);
    let sample = &measurement.sample;
    assert_eq!((sample.files, sample.bytes, sample.bytes_by_class), (2, 305_000, [305_000, 0, 0]));
    assert_eq!((sample.backup_files, sample.backup_bytes), (4, 305_000), "two files, an empty one and a link");
    assert_eq!(names_in(&source), ["a", "below", "empty", "link"]);
    assert_eq!(fs::read(source.join("a")).unwrap(), text);
    // One file alone.
    assert_sane(&measure(&quick(temp.path()).sample(source.join("a"))).unwrap());
}

#[test]
fn a_cancel_at_any_stage_ends_it_and_nothing_stays() {
    for stop_at in STAGES {
        let temp = tempfile::tempdir().unwrap();
        let cancel = CancelToken::new();
        let stop = cancel.clone();
        let observer = move |stage| {
            if stage == stop_at {
                stop.cancel();
            }
        };
        let outcome = measure(&quick(temp.path()).cancel(&cancel).observer(observer));
        assert!(matches!(outcome, Err(Error::Cancelled)), "{stop_at:?}: {outcome:?}");
        assert!(names_in(temp.path()).is_empty(), "{stop_at:?}: {:?}", names_in(temp.path()));
    }
}

#[test]
fn what_cannot_be_measured_is_named() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("nothing")).unwrap();
    let options = quick(temp.path());
    let refused = |options: MeasureOptions| measure(&options).unwrap_err();
    assert!(matches!(refused(options.clone().sample(temp.path().join("none"))), Error::File { .. }));
    let error = refused(options.clone().sample(temp.path().join("nothing")));
    assert!(matches!(&error, Error::NothingToBackUp { path, .. } if path.ends_with("nothing")), "{error}");
    assert!(matches!(refused(options.clone().sample("/dev/null")), Error::NothingToBackUp { .. }));
    assert!(matches!(refused(quick(&temp.path().join("no/folder"))), Error::File { .. }));
    let root = options.clone().location(Location::Directory("/".into()));
    assert!(matches!(refused(root), Error::InvalidOption { option: "repository", .. }));
    let changed = |change: fn(&mut MeasureOptions)| {
        let mut options = options.clone();
        change(&mut options);
        refused(options)
    };
    let too_large = changed(|options| options.disk_bytes = 1 << 60);
    assert!(matches!(too_large, Error::Store(ref error) if error.kind == StoreErrorKind::NoSpace), "{too_large}");
    assert!(matches!(changed(|options| options.memory_bytes = 1), Error::InvalidOption { option: "memory", .. }));
    assert!(matches!(changed(|options| options.disk_bytes = 1), Error::InvalidOption { .. }));
    assert!(matches!(changed(|options| options.level = 20), Error::InvalidOption { option: "compression", .. }));
    assert_eq!(names_in(temp.path()), ["nothing"]);
}

#[test]
fn pieces_come_to_what_was_asked_for_and_from_everywhere() {
    let temp = tempfile::tempdir().unwrap();
    let lengths = [70_000u64, 1, 200_000, 3000];
    for (number, len) in lengths.iter().enumerate() {
        fs::write(temp.path().join(number.to_string()), vec![0; *len as usize]).unwrap();
    }
    let found = sample::Found::list(temp.path(), &MeasureOptions::default()).unwrap();
    let all = found.pieces(1000, u64::MAX);
    assert_eq!(all.iter().map(|piece| piece.bytes).sum::<u64>(), 273_001);
    let some = found.pieces(1000, 100_000);
    let bytes: u64 = some.iter().map(|piece| piece.bytes).sum();
    assert!((99_000..=100_000).contains(&bytes), "{bytes}");
    let mut places: Vec<_> = some.iter().map(|piece| (&piece.file.path, piece.offset)).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), some.len(), "a piece came twice");
    assert!(some.iter().all(|piece| piece.bytes > 0 && piece.offset + piece.bytes <= piece.file.bytes));
    // Of the longest file about as much as of all.
    let of_longest: u64 = some.iter().filter(|piece| piece.file.bytes == 200_000).map(|piece| piece.bytes).sum();
    assert!((68_000..79_000).contains(&of_longest), "{of_longest}");
    // Small files come whole, many for one large piece.
    fs::create_dir(temp.path().join("small")).unwrap();
    (0..500).for_each(|number| fs::write(temp.path().join(format!("small/{number}")), [0; 500]).unwrap());
    let found = sample::Found::list(temp.path(), &MeasureOptions::default()).unwrap();
    let some = found.pieces(10_000, 200_000);
    let of_small: u64 = some.iter().filter(|piece| piece.file.bytes == 500).map(|piece| piece.bytes).sum();
    assert!((75_000..115_000).contains(&of_small), "{of_small} of 200,000, where 95,600 are their part");
}

#[test]
fn generated_data_are_what_they_stand_for() {
    let (mut random, language) = (Random::new(5), Language::default());
    let share = |bytes: &[u8]| {
        let mut out = Vec::new();
        Compressor::new(1).unwrap().compress(bytes, &mut out).unwrap();
        out.len() as f64 / bytes.len() as f64
    };
    let text = language.text(&mut random, 256 * 1024);
    assert!((0.3..0.6).contains(&share(&text)), "{}", share(&text));
    let pages = language.pages(&mut random, 256 * 1024);
    assert!((0.3..0.7).contains(&share(&pages)), "{}", share(&pages));
    assert!(looks_incompressible(&media(&mut random, 256 * 1024)));
    assert_eq!((text.len(), pages.len(), language.pages(&mut random, 5).len()), (256 * 1024, 256 * 1024, 5));
}
