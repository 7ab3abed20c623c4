//! The memory that operations share.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::base::lock;

/// Bytes of memory that buffers and caches may take together, in all threads, operations and repositories that share it.
///
/// Whatever may get large takes a [`Lease`] first. Nobody waits for one: who cannot have what it wants works with less, or
/// does without. So nothing that holds a lease can keep another thread from going on, however leases are held: an
/// embedder's stream may be read from an operation on the same repository.
///
/// What an operation cannot do without, a few MiB, it takes even if nothing is left, and others have the less until it is
/// given back.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes: usize,
    /// What nobody holds; below zero if operations took more than there was.
    free: Mutex<i64>,
}

impl MemoryBudget {
    /// Makes a budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, free: Mutex::new(bytes as i64) })
    }

    /// Returns how many bytes there are in all.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many bytes nobody holds.
    pub fn free(&self) -> usize {
        usize::try_from(*lock(&self.free)).unwrap_or(0)
    }

    /// Takes `bytes` bytes if at least `left` stay free for others.
    pub fn take(self: &Arc<Self>, bytes: usize, left: usize) -> Option<Lease> {
        let mut free = lock(&self.free);
        let after = *free - bytes as i64;
        (after >= left as i64).then(|| {
            *free = after;
            Lease { budget: Arc::clone(self), bytes }
        })
    }

    /// Takes up to `most` bytes, but no more than half of what is free, so that others have something left; at least
    /// `least` in any case.
    pub fn take_some(self: &Arc<Self>, least: usize, most: usize) -> Lease {
        let mut free = lock(&self.free);
        let half = usize::try_from(*free / 2).unwrap_or(0);
        let bytes = most.min(half).max(least);
        *free -= bytes as i64;
        Lease { budget: Arc::clone(self), bytes }
    }

    /// As [`take_some`](Self::take_some), but nothing if that is less than `least`.
    pub fn take_some_or_none(self: &Arc<Self>, least: usize, most: usize) -> Option<Lease> {
        let mut free = lock(&self.free);
        let bytes = most.min(usize::try_from(*free / 2).unwrap_or(0));
        (bytes >= least).then(|| {
            *free -= bytes as i64;
            Lease { budget: Arc::clone(self), bytes }
        })
    }

    /// Takes `bytes` bytes, whether that many are free or not.
    pub fn take_anyway(self: &Arc<Self>, bytes: usize) -> Lease {
        *lock(&self.free) -= bytes as i64;
        Lease { budget: Arc::clone(self), bytes }
    }
}

/// A part of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Lease {
    /// Returns how many bytes it is of.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *lock(&self.budget.free) += self.bytes as i64;
    }
}

/// What the workers of one operation borrow one each, kept from one use to the next: as many as are used at once, and as the
/// budget has room for.
///
/// Who borrows one where there is none left waits until another comes back. So whoever holds one must not borrow a second,
/// wait for another thread, nor fork on rayon, which may take up a job of that kind: then every holder goes on, and every
/// one comes back.
pub struct Stock<T> {
    budget: Arc<MemoryBudget>,
    each_bytes: usize,
    state: Mutex<Shelf<T>>,
    returned: Condvar,
}

struct Shelf<T> {
    idle: Vec<T>,
    leases: Vec<Lease>,
}

impl<T> Stock<T> {
    /// Makes an empty stock of things of `each_bytes` bytes.
    pub fn new(budget: &Arc<MemoryBudget>, each_bytes: usize) -> Self {
        let state = Mutex::new(Shelf { idle: Vec::new(), leases: Vec::new() });
        Self { budget: Arc::clone(budget), each_bytes, state, returned: Condvar::new() }
    }

    /// Borrows one that was given back last, or makes one. The first is made even if the budget has no room for it; others
    /// leave a quarter of it to what is no stock.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn lend<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut state = lock(&self.state);
        loop {
            if let Some(one) = state.idle.pop() {
                return Ok(one);
            }
            let lease = match state.leases.is_empty() {
                true => Some(self.budget.take_anyway(self.each_bytes)),
                false => self.budget.take(self.each_bytes, self.budget.bytes() / 4),
            };
            if let Some(lease) = lease {
                state.leases.push(lease);
                drop(state);
                return make().inspect_err(|_| {
                    drop(lock(&self.state).leases.pop());
                    self.returned.notify_one();
                });
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back what [`lend`](Self::lend) gave.
    pub fn give_back(&self, one: T) {
        lock(&self.state).idle.push(one);
        self.returned.notify_one();
    }

    /// Returns what nobody has borrowed, to be given back or not.
    pub fn idle(&self) -> impl DerefMut<Target = Vec<T>> {
        IdleGuard(lock(&self.state))
    }
}

struct IdleGuard<'s, T>(std::sync::MutexGuard<'s, Shelf<T>>);

impl<T> Deref for IdleGuard<'_, T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0.idle
    }
}

impl<T> DerefMut for IdleGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0.idle
    }
}
