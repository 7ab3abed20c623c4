//! Rank 0: the worker threads of one operation.

use crate::base::limits::{MIB, THREADS_MAX};
use crate::error::{Error, Result, StoreError};

/// Directories nest on the stacks of the workers; only what is used of a stack takes memory.
const STACK_BYTES: usize = 64 << 20;

/// What a worker takes at least. More workers than fit into the memory budget would only wait for it.
const WORKER_BYTES: usize = 8 * MIB;

/// Makes the workers of one operation that has a memory budget of `memory_bytes`; 0: one for each core. There are fewer if
/// not all fit into the budget.
///
/// # Errors
/// As [`new`].
pub fn within(memory_bytes: usize, threads: usize) -> Result<rayon::ThreadPool> {
    check(threads)?;
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    new(threads.min((memory_bytes / WORKER_BYTES).max(1)).min(THREADS_MAX))
}

/// Makes the workers of one operation; 0: one for each core.
///
/// # Errors
/// `InvalidOption` above 512; if the system refuses to start threads.
pub fn new(threads: usize) -> Result<rayon::ThreadPool> {
    check(threads)?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK_BYTES)
        .thread_name(|index| format!("daykeep-{index}"))
        .build()
        .map_err(|error| StoreError::from_io("worker threads", "start", std::io::Error::other(error)).into())
}

fn check(threads: usize) -> Result<()> {
    if threads <= THREADS_MAX {
        return Ok(());
    }
    let reason = format!("{threads} is more than {THREADS_MAX}; give 0 for one thread for each core");
    Err(Error::InvalidOption { option: "threads", reason })
}
