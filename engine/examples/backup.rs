//! Backs up a folder into a repository file, which it makes if it is not there.
//!
//! `cargo run --release --example backup -- photos.redb "a password" ~/Pictures`

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::env;

use daykeep_engine::{Access, BackupOptions, Error, Location, OpenOptions, RecoveryKey, Repository, Secret};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [place, password, paths @ ..] = arguments.as_slice() else {
        return Err("give a repository, a password and paths".into());
    };
    let (location, options) = (Location::parse(place)?, OpenOptions::default());
    let repository = match Repository::open(&location, &Secret::password(password), Access::Write, &options) {
        Err(Error::RepositoryNotFound { .. }) => {
            let recovery = RecoveryKey::generate()?;
            println!("Keep this recovery key; it opens the repository too: {}", *recovery.to_hex());
            Repository::create(&location, &recovery, Some(password), &options)?
        }
        outcome => outcome?,
    };
    let report = repository.backup(paths, &BackupOptions::default())?;
    println!(
        "{} files, {} bytes, {} of them new, {} stored, in {:?}",
        report.counts.files, report.counts.bytes, report.counts.bytes_new, report.bytes_stored, report.duration
    );
    for warning in &report.warnings {
        println!("{}: {}", warning.path.display(), warning.message);
    }
    Ok(())
}
