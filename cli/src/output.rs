//! Standard output and standard error, neither of which may take the program down.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use daykeep_engine::{Error, Result};
use serde::Serialize;

use crate::text;

const BUFFER_BYTES: usize = 64 * 1024;

/// What the program prints. Once nobody reads standard output any more, the rest is dropped in silence: `ls | head`
/// is no failure, and a backup goes on to its end.
pub struct Out {
    is_json: bool,
    is_terminal: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    writer: BufWriter<Box<dyn Write + Send>>,
    failure: Option<io::Error>,
}

impl Inner {
    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut self.writer).err();
        }
    }
}

impl Out {
    /// Prints to standard output.
    pub fn new(is_json: bool) -> Self {
        Self::to(Box::new(io::stdout()), is_json, io::stdout().is_terminal())
    }

    fn to(writer: Box<dyn Write + Send>, is_json: bool, is_terminal: bool) -> Self {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
        Self { is_json, is_terminal, inner: Mutex::new(Inner { writer, failure: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the output is JSON, one object per line.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Returns whether someone looks at standard output directly.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether what is printed still goes anywhere.
    pub fn is_open(&self) -> bool {
        self.lock().failure.is_none()
    }

    /// Prints a line for people.
    pub fn line(&self, text: &str) {
        let mut inner = self.lock();
        inner.attempt(|writer| {
            writer.write_all(text.as_bytes())?;
            writer.write_all(b"\n")
        });
        // Someone who watches shall see each line at once.
        if self.is_terminal {
            inner.attempt(Write::flush);
        }
    }

    /// Prints an object for programs.
    pub fn json(&self, value: &impl Serialize) {
        self.lock().attempt(|writer| {
            serde_json::to_writer(&mut *writer, value).map_err(io::Error::from)?;
            writer.write_all(b"\n")
        });
    }

    /// Prints bytes as they are.
    pub fn raw(&self, bytes: &[u8]) {
        self.lock().attempt(|writer| writer.write_all(bytes));
    }

    /// Hands on what was printed so far.
    pub fn flush(&self) {
        self.lock().attempt(Write::flush);
    }

    /// Hands on the rest.
    ///
    /// # Errors
    /// If something printed did not get out, unless its reader had gone.
    pub fn finish(&self) -> Result<()> {
        self.flush();
        match self.lock().failure.take() {
            Some(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::File { path: "standard output".into(), action: "print to it", source })
            }
            _ => Ok(()),
        }
    }

    /// Tells of something that was left out or is odd while the work goes on.
    pub fn warning(&self, object: &str, message: &str) {
        self.warning_of(object, None, message);
    }

    /// As [`warning`](Self::warning), of a path that `object` shows.
    pub fn warning_of(&self, object: &str, path: Option<&Path>, message: &str) {
        if self.is_json {
            self.json(&JsonWarning { object, path_bytes: path_bytes(path), message });
            self.flush();
        }
        note(&format!("warning: {object}: {message}"));
    }

    /// Tells of something that needs no action.
    pub fn note(&self, object: &str, path: Option<&Path>, message: &str, is_quiet: bool) {
        if self.is_json {
            self.json(&JsonNote { object, path_bytes: path_bytes(path), message });
            self.flush();
        } else if !is_quiet {
            note(&format!("note: {object}: {message}"));
        }
    }

    /// Tells why the program ends without having done its work.
    pub fn error(&self, error: &Error, code: u8) {
        let message = error.to_string();
        if self.is_json {
            self.json(&JsonError { message: &message, code });
        }
        // What is on standard output belongs before the reason why nothing follows.
        self.flush();
        note(&format!("error: {message}"));
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "warning")]
struct JsonWarning<'a> {
    object: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "note")]
struct JsonNote<'a> {
    object: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "error")]
struct JsonError<'a> {
    message: &'a str,
    code: u8,
}

/// Returns the bytes of a path that text cannot hold, in hexadecimal digits.
fn path_bytes(path: Option<&Path>) -> Option<String> {
    let bytes = path?.as_os_str().as_bytes();
    str::from_utf8(bytes).is_err().then(|| text::hex(bytes))
}

/// Prints a line to standard error. A terminal that is gone is no reason to stop.
pub fn note(message: &str) {
    let _ = writeln!(io::stderr(), "daykeep: {}", text::escape(message));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
        for (kind, is_fine) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let out = Out::to(Box::new(Broken(kind)), false, false);
            assert!(out.is_open());
            out.line("text");
            out.flush();
            assert!(!out.is_open());
            out.line("more");
            assert_eq!(out.finish().is_ok(), is_fine, "{kind}");
        }
    }
}
