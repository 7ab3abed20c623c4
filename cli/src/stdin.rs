//! Standard input that can be given up while nothing comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use daykeep_engine::CancelToken;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Standard input. While it waits for more it looks up now and then whether the work was cancelled: the engine cannot,
/// since it is inside this very read.
pub struct Stdin {
    file: File,
    cancel: CancelToken,
}

impl Stdin {
    /// Takes over standard input.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(cancel: &CancelToken) -> io::Result<Self> {
        // The standard library's handle has a buffer, which polling would not see.
        Ok(Self { file: io::stdin().as_fd().try_clone_to_owned()?.into(), cancel: cancel.clone() })
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&LOOK_UP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    let read = self.file.read(buffer)?;
                    // Ctrl-C ends both sides of a pipe; what its other side left unsaid must not pass for the whole.
                    if read > 0 || !self.cancel.is_cancelled() {
                        return Ok(read);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
