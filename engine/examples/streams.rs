//! Backs up streams instead of files, shows progress, and stops cleanly at the first sign.
//!
//! `cargo run --release --example streams`

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::io::{Cursor, Read, repeat};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daykeep_engine::{
    BackupOptions, CancelToken, Event, MemoryStore, NamedReader, OpenOptions, RecoveryKey, Repository,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recovery = RecoveryKey::generate()?;
    let store = Arc::new(MemoryStore::new());
    let repository = Repository::create_in(store, &recovery, None, &OpenOptions::default())?;

    // Another thread, or a signal handler, may cancel the token at any time.
    let cancel = CancelToken::new();
    let bytes_done = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&bytes_done);
    let options = BackupOptions::default().cancel(&cancel).tags(["streams"]).observer(move |event: &Event| {
        if let Event::Progress { bytes, .. } = event {
            counter.fetch_add(*bytes, Ordering::Relaxed);
        }
    });
    let readers = vec![
        NamedReader { name: "notes/hello.txt".into(), reader: Box::new(Cursor::new("Hello, tomorrow.")) },
        NamedReader { name: "blank.img".into(), reader: Box::new(repeat(0).take(64 << 20)) },
    ];
    let report = repository.backup_readers(readers, &options)?;
    println!("{} bytes seen, {} stored", bytes_done.load(Ordering::Relaxed), report.bytes_stored);
    Ok(())
}
