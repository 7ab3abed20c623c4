//! Runs a piece of work again and again for a while, on one core and on all, and says how much of it is done in a second.

use std::time::{Duration, Instant};

use rayon::ThreadPool;
use rustix::time::{ClockId, clock_gettime};

use crate::error::Result;
use crate::measure::options::MeasureOptions;

/// How much was done in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub per_second: f64,
    pub amount: u64,
}

impl Rate {
    /// Returns the rate of an amount done in a span, which is taken for a nanosecond at least.
    pub fn of(amount: u64, span: Duration) -> Self {
        Self { per_second: amount as f64 / span.as_secs_f64().max(1e-9), amount }
    }
}

/// Returns the processor time that this process has had so far, on all threads and in the kernel too.
pub(super) fn processor_time() -> Duration {
    let told = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(told.tv_sec).unwrap_or(0), u32::try_from(told.tv_nsec).unwrap_or(0))
}

/// Does `work` with each item in turn, from item `first` on and again from the beginning, until the time is over.
/// Returns the sum of the amounts that `work` returned.
fn loop_over<T, S>(
    options: &MeasureOptions,
    items: &[T],
    first: usize,
    state: &mut S,
    work: &(impl Fn(&mut S, &T) -> Result<u64> + Sync),
) -> Result<u64> {
    let begun = Instant::now();
    let mut amount = 0;
    for item in items.iter().cycle().skip(first) {
        options.check_cancel()?;
        amount += work(state, item)?;
        if begun.elapsed() >= options.stage_time {
            break;
        }
    }
    Ok(amount)
}

/// Measures `work` on the calling thread. `state` is what a thread keeps from item to item. There is at least one item.
pub(super) fn one_core<T, S>(
    options: &MeasureOptions,
    items: &[T],
    state: &mut S,
    work: &(impl Fn(&mut S, &T) -> Result<u64> + Sync),
) -> Result<Rate> {
    let begun = Instant::now();
    let amount = loop_over(options, items, 0, state, work)?;
    Ok(Rate::of(amount, begun.elapsed()))
}

/// Measures `work` on all threads of `pool` at once, each beginning at an item of its own.
pub(super) fn all_cores<T: Sync, S>(
    options: &MeasureOptions,
    pool: &ThreadPool,
    items: &[T],
    new_state: &(impl Fn() -> Result<S> + Sync),
    work: &(impl Fn(&mut S, &T) -> Result<u64> + Sync),
) -> Result<Rate> {
    let begun = Instant::now();
    let amounts = pool.broadcast(|thread| {
        let first = thread.index() * items.len() / thread.num_threads();
        loop_over(options, items, first, &mut new_state()?, work)
    });
    let amount = amounts.into_iter().sum::<Result<u64>>()?;
    Ok(Rate::of(amount, begun.elapsed()))
}
