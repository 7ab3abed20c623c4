//! Reads around what a disk does not give out of a body.
//!
//! After one read that failed, redb reads nothing more until the file is opened anew: one bad sector would take the whole
//! repository along. So redb is given zeros instead, and the store notes for which part of which object: it refuses that part,
//! as any other store does. Only bodies are read so: what redb itself goes by, zeros might make it take for something else,
//! and write it down.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

use super::tables::Listed;
use crate::base::limits::KIB;
use crate::base::{ObjectName, lock};

/// redb's page, which most disks read whole or not at all. What is no longer is part of a tree, or as small as one.
const PAGE_BYTES: usize = 4 * KIB;
/// What stands before the only body of a leaf.
const LEAF_BYTES: usize = 16;
/// With so many pages missing in one read it is not a sector that is bad. A failing disk may take seconds for each.
const GAPS_MAX: usize = 64;

/// A body of more bytes is alone in its leaf: redb puts two into one only if they fill a page together.
const ALONE_BYTES: u64 = 2 * PAGE_BYTES as u64;

/// What this thread reads.
struct Reading {
    /// The body, if it is known which.
    listed: Option<Listed>,
    /// Where zeros were given, by their place in memory.
    zeros: Vec<Range<usize>>,
}

thread_local! {
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

/// Runs `work`, in which this thread reads a body, and returns where in memory it was given zeros.
pub(super) fn reading_a_body<T>(listed: Option<Listed>, work: impl FnOnce() -> T) -> (T, Vec<Range<usize>>) {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            READING.set(None);
        }
    }
    READING.set(Some(Reading { listed, zeros: Vec::new() }));
    let end = End;
    let outcome = work();
    let zeros = READING.take().map_or(Vec::new(), |reading| reading.zeros);
    drop(end);
    (outcome, zeros)
}

/// Returns how a leaf of `leaf_bytes` bytes begins that holds one body and nothing else: a byte that says that it is a leaf, a
/// byte of no meaning, the number of entries, where the body ends, and its number, which is the key.
fn beginning_of_leaf((bytes, number): Listed, leaf_bytes: usize) -> Option<[u8; LEAF_BYTES]> {
    let end = u32::try_from(bytes + LEAF_BYTES as u64).ok()?;
    let is_alone =
        bytes > ALONE_BYTES && (end as usize).div_ceil(PAGE_BYTES).next_power_of_two() * PAGE_BYTES == leaf_bytes;
    let mut beginning = [0; LEAF_BYTES];
    beginning[..4].copy_from_slice(&[1, 0, 1, 0]);
    beginning[4..8].copy_from_slice(&end.to_le_bytes());
    beginning[8..].copy_from_slice(&number.to_le_bytes());
    is_alone.then_some(beginning)
}

/// Which parts of which bodies are zeros that nobody wrote. redb may keep the pages, so this is kept until the store is closed.
#[derive(Default)]
pub(super) struct Gaps {
    known: Mutex<HashMap<ObjectName, Vec<Range<usize>>>>,
    /// Whether zeros were given at all, for whatever.
    were_met: AtomicBool,
}

impl Gaps {
    /// Runs `work`, in which this thread reads a body that nobody asked for, to find the place of another or to take it away.
    pub fn passing<T>(&self, listed: Option<Listed>, work: impl FnOnce() -> T) -> T {
        let (outcome, zeros) = reading_a_body(listed, work);
        self.were_met.fetch_or(!zeros.is_empty(), Ordering::AcqRel);
        outcome
    }

    /// Notes what of `body`, just read, lies where zeros were given, and returns what is known of it.
    pub fn note(&self, name: &ObjectName, body: &[u8], zeros: Vec<Range<usize>>) -> Vec<Range<usize>> {
        self.were_met.fetch_or(!zeros.is_empty(), Ordering::AcqRel);
        let mut known = lock(&self.known);
        let start = body.as_ptr() as usize;
        let inside = |zeros: Range<usize>| {
            let (from, to) = (zeros.start.saturating_sub(start), zeros.end.saturating_sub(start).min(body.len()));
            (from < to).then_some(from..to)
        };
        let found: Vec<_> = zeros.into_iter().filter_map(inside).collect();
        if !found.is_empty() {
            known.insert(*name, found);
        }
        known.get(name).cloned().unwrap_or_default()
    }

    /// Forgets an object whose body is another now, or gone.
    pub fn forget(&self, name: &ObjectName) {
        lock(&self.known).remove(name);
    }

    /// Returns whether zeros were given, so that redb may have them in memory.
    pub fn were_met(&self) -> bool {
        self.were_met.load(Ordering::Acquire)
    }
}

/// A backend that reads around gaps.
#[derive(Debug)]
pub(super) struct AroundGaps<B>(pub(super) B);

impl<B: StorageBackend> AroundGaps<B> {
    /// Reads page by page; `error` is what came of reading all at once.
    fn read_pages(&self, offset: u64, out: &mut [u8], error: io::Error) -> io::Result<()> {
        let mut gaps_left = GAPS_MAX.min(out.len() / PAGE_BYTES - 1);
        let (leaf_bytes, mut at) = (out.len(), offset);
        for page in out.chunks_mut(PAGE_BYTES) {
            if self.0.read(at, page).is_err() {
                gaps_left = match gaps_left.checked_sub(1) {
                    Some(left) => left,
                    None => return Err(error),
                };
                page.fill(0);
                let zeros = page.as_ptr_range();
                let zeros = zeros.start as usize..zeros.end as usize;
                let listed = READING.with_borrow_mut(|reading| {
                    reading.as_mut().and_then(|reading| {
                        reading.zeros.push(zeros);
                        reading.listed
                    })
                });
                // Before the body stands what redb needs to find it, and that is known.
                if at == offset
                    && let Some(beginning) = listed.and_then(|listed| beginning_of_leaf(listed, leaf_bytes))
                {
                    page[..LEAF_BYTES].copy_from_slice(&beginning);
                }
            }
            at += page.len() as u64;
        }
        Ok(())
    }
}

impl<B: StorageBackend> StorageBackend for AroundGaps<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.read(offset, out) {
            // What the file ends before was never there.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(error),
            Err(error) if out.len() > PAGE_BYTES && READING.with_borrow(Option::is_some) => {
                self.read_pages(offset, out, error)
            }
            outcome => outcome,
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
