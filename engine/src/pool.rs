//! Rank 0: the worker threads of one operation.

use crate::base::limits::THREADS_MAX;
use crate::error::{Error, Result, StoreError};

/// Directories nest on the stacks of the workers; only what is used of a stack takes memory.
const STACK_BYTES: usize = 64 << 20;

/// Makes the workers of one operation; 0: one for each core.
///
/// # Errors
/// `InvalidOption` above 512; if the system refuses to start threads.
pub fn new(threads: usize) -> Result<rayon::ThreadPool> {
    if threads > THREADS_MAX {
        let reason = format!("{threads} is more than {THREADS_MAX}; give 0 for one thread for each core");
        return Err(Error::InvalidOption { option: "threads", reason });
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK_BYTES)
        .thread_name(|index| format!("daykeep-{index}"))
        .build()
        .map_err(|error| StoreError::from_io("worker threads", "start", std::io::Error::other(error)).into())
}
