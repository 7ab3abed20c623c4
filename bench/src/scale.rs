//! A terabyte through the whole engine, into a store that forgets the bodies of packs: does memory stay flat, and speed?

use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use daykeep_datasets::random::Random;
use daykeep_engine::{
    BackupOptions, Event, MemoryStore, NamedReader, ObjectId, ObjectKind, ObjectName, OpenOptions, RecoveryKey,
    Repository, Store, StoreError,
};

use crate::Outcome;

/// Keeps everything but packs, which it only counts.
struct Discarding {
    kept: MemoryStore,
    packs: AtomicU64,
}

impl Store for Discarding {
    fn location(&self) -> String {
        "a store that keeps no packs".into()
    }

    fn pack_bytes(&self) -> usize {
        8 << 20
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        match name.kind {
            // Index objects are never read again in this run; keeping them would measure the memory store.
            ObjectKind::Pack | ObjectKind::Index => {
                self.packs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            _ => self.kept.put(name, bytes),
        }
    }

    fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.kept.replace(name, bytes)
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        self.kept.get(name, bytes_max)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.kept.get_range(name, offset, len, out)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, StoreError> {
        self.kept.list(kind)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.kept.delete(name)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.kept.sync()
    }
}

/// An endless video: random bytes of which every 16 KiB get a number of their own, so that no chunk comes twice.
struct Generated {
    template: Arc<Vec<u8>>,
    at: usize,
    left: u64,
    stamp: Random,
}

const STAMP_EVERY: usize = 16 * 1024;

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(self.template.len() - self.at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out[..len].copy_from_slice(&self.template[self.at..self.at + len]);
        for block in out[..len].chunks_mut(STAMP_EVERY).filter(|block| block.len() >= 64) {
            let middle = block.len() / 2;
            block[middle..middle + 8].copy_from_slice(&self.stamp.next().to_le_bytes());
        }
        self.at = (self.at + len) % self.template.len();
        self.left -= len as u64;
        Ok(len)
    }
}

/// Returns the memory that is resident now, and the most that ever was, in bytes.
fn resident() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse::<u64>().ok());
        number.unwrap_or(0) * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

const STREAM_BYTES: u64 = 10_000_000_000;

/// Feeds `gigabytes` (10^9 bytes) of streams of 10 GB each and prints rate and memory after each.
pub fn run(gigabytes: u64) -> Outcome {
    let folder = std::env::temp_dir().join(format!("daykeep-scale-{}", std::process::id()));
    let mut template = vec![0; 64 << 20];
    Random(3).fill(&mut template);
    template[..12].copy_from_slice(b"\0\0\0\x20ftypisom");
    let template = Arc::new(template);
    let store = Arc::new(Discarding { kept: MemoryStore::new(), packs: AtomicU64::new(0) });
    let options = OpenOptions::default().cache_dir(&folder);
    let repository = Repository::create_in(store.clone(), &RecoveryKey::generate()?, None, &options)?;
    let streams = (gigabytes * 1_000_000_000).div_ceil(STREAM_BYTES);
    let readers = (0..streams).map(|index| NamedReader {
        name: format!("video-{index:04}.mp4"),
        reader: Box::new(Generated {
            template: Arc::clone(&template),
            at: 0,
            left: STREAM_BYTES.min(gigabytes * 1_000_000_000 - index * STREAM_BYTES),
            stamp: Random(index << 32),
        }),
    });
    let (begun, done) = (Instant::now(), AtomicU64::new(0));
    let last = std::sync::Mutex::new((0u64, 0f64));
    let observer = move |event: &Event| {
        if let Event::Progress { files, bytes } = event {
            let done = done.fetch_add(*bytes, Ordering::Relaxed) + bytes;
            if *files > 0
                && let Ok(mut last) = last.lock()
            {
                let seconds = begun.elapsed().as_secs_f64();
                let rate = (done - last.0) as f64 / 1e9 / (seconds - last.1);
                let (now, most) = resident();
                // A measurement that cannot be printed is not worth stopping for.
                let _ = writeln!(
                    io::stdout(),
                    "{:6} GB {rate:.2} GB/s resident {} MB, at most {} MB",
                    done / 1_000_000_000,
                    now / 1_000_000,
                    most / 1_000_000
                );
                *last = (done, seconds);
            }
        }
    };
    let report = repository.backup_readers(readers.collect(), &BackupOptions::default().observer(observer));
    let _ = fs::remove_dir_all(&folder);
    let report = report?;
    writeln!(
        io::stdout(),
        "{} bytes, {} new, {} stored in {:?}; {} packs and index objects",
        report.counts.bytes,
        report.counts.bytes_new,
        report.bytes_stored,
        report.duration,
        store.packs.load(Ordering::Relaxed)
    )?;
    Ok(())
}
