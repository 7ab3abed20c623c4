//! Backs up folders into a repository of its own in the system's folder for temporary files, restores them, reads
//! everything back, and takes all of it away again.
//!
//! `cargo run --release --example roundtrip -- ~/Pictures`

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::{env, fs};

use daykeep_engine::{
    BackupOptions, CheckOptions, Location, OpenOptions, ReadData, RecoveryKey, Repository, RestoreOptions, SnapshotPath,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders: Vec<String> = env::args().skip(1).collect();
    // The target of a restore may not lie behind a symbolic link, as the folder for temporary files does on some systems.
    let place = env::temp_dir().canonicalize()?.join(format!("daykeep-roundtrip-{}", std::process::id()));
    fs::create_dir(&place)?;
    let outcome = roundtrip(&folders, &place);
    fs::remove_dir_all(&place)?;
    outcome
}

fn roundtrip(folders: &[String], place: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let location = Location::parse(&place.join("try.redb").display().to_string())?;
    let repository = Repository::create(&location, &RecoveryKey::generate()?, None, &OpenOptions::default())?;
    for day in ["first day", "second day"] {
        let report = repository.backup(folders, &BackupOptions::default())?;
        println!(
            "{day}: {} files of {} bytes, {} bytes new, {} stored, in {:.2?}",
            report.counts.files, report.counts.bytes, report.counts.bytes_new, report.bytes_stored, report.duration
        );
        for warning in &report.warnings {
            println!("{}: {}", warning.path.display(), warning.message);
        }
    }
    let mut options = RestoreOptions::default();
    options.verify = true;
    let report = repository.restore(&SnapshotPath::parse(b"latest")?, &place.join("restored"), &options)?;
    println!(
        "restored {} files, {} read back and equal, in {:.2?}",
        report.files, report.files_verified, report.duration
    );
    let mut options = CheckOptions::default();
    options.read_data = ReadData::All;
    let checked = repository.check(&options)?;
    println!("checked {} chunks in {} packs: {} errors", checked.chunks, checked.packs, checked.errors.len());
    if report.warnings.is_empty() && checked.errors.is_empty() { Ok(()) } else { Err("something differs".into()) }
}
