//! Restores the newest snapshot, or a path of it, and proves it by reading it back.
//!
//! `cargo run --release --example restore -- photos.redb "a password" latest:/home/me/Pictures /tmp/restored`

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::env;
use std::path::Path;

use daykeep_engine::{Access, Location, OpenOptions, Repository, RestoreOptions, Secret, SnapshotPath};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [place, password, what, target] = arguments.as_slice() else {
        return Err("give a repository, a password, SNAPSHOT[:PATH] and a folder".into());
    };
    let location = Location::parse(place)?;
    let repository = Repository::open(&location, &Secret::password(password), Access::Read, &OpenOptions::default())?;
    let mut options = RestoreOptions::default();
    options.verify = true;
    let report = repository.restore(&SnapshotPath::parse(what.as_bytes())?, Path::new(target), &options)?;
    println!(
        "{} files, {} bytes, {} verified, in {:?}",
        report.files, report.bytes, report.files_verified, report.duration
    );
    for (path, message) in &report.warnings {
        println!("{path}: {message}");
    }
    Ok(())
}
