//! What takes the place of something else waits until it is on disk: only then is what it replaces gone. Many wait
//! together, since one sync for all costs little more than one for each, and not so many that space would double.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::base::lock;
use crate::error::{Error, Result};
use crate::restore::delete::Displaced;
use crate::restore::place::Trail;
use crate::restore::run::Restore;
use crate::restore::target_dir::{TargetDir, Waiting};

/// Together they have at most about this many bytes.
const BYTES_MAX: u64 = 1 << 30;
/// At most this many wait.
const COUNT_MAX: usize = 10_000;

/// One that is whole and waits under its temporary name.
pub(super) struct Waiter {
    pub trail: Arc<Trail>,
    /// Whether the folder gets the metadata that the snapshot has, so that nothing may show in its times.
    pub keeps_times: bool,
    pub waiting: Waiting,
    /// Its path in the snapshot.
    pub path: PathBuf,
    pub bytes: u64,
    /// The device on which it lies.
    pub device: u64,
    /// Whether a folder is in its place, which is to go.
    pub displaced: Option<Displaced>,
    /// Names of logs of another state that may lie beside it, if it is a database.
    pub companions: Vec<Vec<u8>>,
}

/// Those that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiters: Vec<Waiter>,
    bytes: u64,
}

impl Restore<'_> {
    /// Lets one wait; the one with which there are enough commits all.
    pub fn let_wait(&self, waiter: Waiter) -> Result<()> {
        let mut queue = lock(&self.queue);
        queue.bytes += waiter.bytes;
        queue.waiters.push(waiter);
        if queue.bytes >= BYTES_MAX || queue.waiters.len() >= COUNT_MAX { self.commit_all(queue) } else { Ok(()) }
    }

    /// Commits all that wait; returns whether any did.
    pub fn commit_waiting(&self) -> Result<bool> {
        let queue = lock(&self.queue);
        let any = !queue.waiters.is_empty();
        self.commit_all(queue).map(|()| any)
    }

    /// The lock is held to the end: the others wait, so that no more space is taken meanwhile.
    fn commit_all(&self, mut queue: MutexGuard<'_, Queue>) -> Result<()> {
        queue.bytes = 0;
        let mut waiters = std::mem::take(&mut queue.waiters);
        let Some(root) = &self.root else { return Ok(()) };
        waiters.sort_by_key(|waiter| Arc::as_ptr(&waiter.trail) as usize);
        let is_cancelled = self.options.cancel.is_cancelled() && !waiters.is_empty();
        let outcome = if is_cancelled { Err(Error::Cancelled) } else { sync(root, &waiters) };
        for folder in waiters.chunk_by(|a, b| Arc::ptr_eq(&a.trail, &b.trail)) {
            let Some(first) = folder.first() else { continue };
            match (&outcome, first.trail.reopen(root)) {
                (Ok(()), Ok(dir)) => self.commit_folder(&dir, folder)?,
                (Ok(()), Err(error)) => folder.iter().for_each(|waiter| self.warn(&waiter.path, error.to_string())),
                (Err(error), dir) => {
                    // What the disk did not take is given up, and so nothing is given up for it.
                    if let Ok(dir) = dir {
                        folder.iter().for_each(|waiter| dir.discard(&waiter.waiting));
                        let _ = dir.leave();
                    }
                    if !matches!(error, Error::Cancelled) {
                        folder.iter().for_each(|waiter| self.warn(&waiter.path, format!("not restored: {error}")));
                    }
                }
            }
        }
        match outcome {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Ok(()) => {
                self.commits.fetch_add(u64::from(!waiters.is_empty()), Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn commit_folder(&self, dir: &TargetDir, waiters: &[Waiter]) -> Result<()> {
        let before = dir.begin_change()?;
        for waiter in waiters {
            let outcome = self.commit_one(dir, waiter);
            self.unless_fatal(|| waiter.path.clone(), outcome)?;
        }
        if waiters.iter().any(|waiter| waiter.keeps_times) { dir.end_change(&before) } else { dir.leave() }
    }

    fn commit_one(&self, dir: &TargetDir, waiter: &Waiter) -> Result<()> {
        if let Some(displaced) = &waiter.displaced
            && let Err(error) = self.remove_displaced(dir, displaced)
        {
            dir.discard(&waiter.waiting);
            return Err(error);
        }
        dir.commit(&waiter.waiting)?;
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(waiter.bytes, Ordering::Relaxed);
        self.remove_companions(&waiter.companions, dir, &waiter.path)
    }

    /// Removes what waits, after the restore has failed.
    pub fn discard_waiting(&self) {
        let waiters = std::mem::take(&mut lock(&self.queue).waiters);
        let Some(root) = &self.root else { return };
        for folder in waiters.chunk_by(|a, b| Arc::ptr_eq(&a.trail, &b.trail)) {
            if let Some(Ok(dir)) = folder.first().map(|first| first.trail.reopen(root)) {
                folder.iter().for_each(|waiter| dir.discard(&waiter.waiting));
                let _ = dir.leave();
            }
        }
    }
}

/// Brings to disk what waits, on each device once.
fn sync(root: &TargetDir, waiters: &[Waiter]) -> Result<()> {
    let mut devices: Vec<u64> = Vec::new();
    for waiter in waiters {
        if !devices.contains(&waiter.device)
            && let Ok(dir) = waiter.trail.reopen(root)
        {
            dir.sync()?;
            devices.push(waiter.device);
        }
    }
    Ok(())
}
