//! Files whose length is said to be 0: most are empty, and some are made when they are read (procfs, some FUSE file systems).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::base::limits::MIB;

/// How long such a file may be silent.
const SILENCE: Duration = Duration::from_secs(1);
/// How long to wait before a file is read again that claims to be readable and is not.
const PAUSE: Duration = Duration::from_millis(10);
/// Maximum bytes of such a file: some never end.
const BYTES_MAX: u64 = 64 * MIB as u64;

/// Reads a file, open with `O_NONBLOCK`, to its end, to a second of silence, or for 64 MiB.
pub struct UnsizedFile<'a> {
    file: &'a File,
    left: u64,
    /// Why it was not read to its end.
    pub stopped: Option<&'static str>,
}

impl<'a> UnsizedFile<'a> {
    /// Begins where the file's cursor stands.
    pub fn new(file: &'a File) -> Self {
        Self { file, left: BYTES_MAX, stopped: None }
    }

    /// Waits until there is something to read, or for so long.
    fn wait(&self, time: Duration) -> io::Result<()> {
        let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut fds, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            // Not every file system can tell, and such a file always counts as readable.
            Ok(_) => {
                std::thread::sleep(PAUSE);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for UnsizedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.is_some() {
            return Ok(0);
        }
        let len = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if len == 0 && !buffer.is_empty() {
            self.stopped = Some("it did not end after 64 MiB");
            return Ok(0);
        }
        let begun = Instant::now();
        loop {
            match self.file.read(&mut buffer[..len]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Some(left) = SILENCE.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                        self.stopped = Some("nothing came for a second");
                        return Ok(0);
                    };
                    self.wait(left.min(SILENCE / 2))?;
                }
                Ok(count) => {
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
