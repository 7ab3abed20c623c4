//! Streams to back up that can be given up while nothing comes: standard input, and what a command prints.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use daykeep_engine::{CancelToken, Error, Result};
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

/// What a command prints. It comes to an end without an error only if the command succeeded.
pub struct CommandOutput {
    name: String,
    child: Child,
    output: Stdin,
}

impl CommandOutput {
    /// Starts a command, which has no standard input of its own and the standard error of this program.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &[PathBuf], cancel: &CancelToken) -> Result<Self> {
        let (program, arguments) = command.split_first().ok_or_else(|| Error::InvalidOption {
            option: "stdin-from-command",
            reason: "name the command after `--`".into(),
        })?;
        let failed = |source| Error::File { path: program.clone(), action: "run this command", source };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let name = program.display().to_string();
        let output = child.stdout.take().map(OwnedFd::from).ok_or_else(|| failed(io::Error::other("has no output")))?;
        Ok(Self { name, child, output: Stdin { file: output.into(), cancel: cancel.clone() } })
    }
}

impl Read for CommandOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(0);
        }
        Err(io::Error::other(format!(
            "the command {} failed ({status}), so that what it printed is not whole",
            self.name
        )))
    }
}

impl Drop for CommandOutput {
    fn drop(&mut self) {
        // One that has ended already is not there to be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream that has to have at least one byte.
pub struct NotEmpty {
    stream: Box<dyn Read + Send>,
    /// What an empty one is refused with.
    refusal: Option<&'static str>,
}

impl NotEmpty {
    /// Refuses a stream without a byte, if there is a reason to refuse it with.
    pub fn new(stream: Box<dyn Read + Send>, refusal: Option<&'static str>) -> Self {
        Self { stream, refusal }
    }
}

impl Read for NotEmpty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        if count > 0 {
            self.refusal = None;
        } else if let Some(refusal) = self.refusal
            && !buffer.is_empty()
        {
            return Err(io::Error::other(format!("{refusal}; use --stdin-allow-empty if that is as it should be")));
        }
        Ok(count)
    }
}
