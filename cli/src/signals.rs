//! Ctrl-C, `kill` and a closed terminal: the first stops the work cleanly, a second Ctrl-C stops it at once.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daykeep_engine::{CancelToken, Error, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::output::note;

/// What a shell expects of a program that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Listens for signals on a thread of its own for as long as the program runs.
#[derive(Clone)]
pub struct Signals {
    cancel: CancelToken,
    terminal: Arc<Mutex<Option<Terminal>>>,
}

/// The terminal as it was before a prompt changed it.
struct Terminal {
    file: File,
    modes: Termios,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses the handlers or the thread.
    pub fn listen() -> Result<Self> {
        let failed = |source| Error::File { path: "signals".into(), action: "listen for them", source };
        let ignored = ignored_at_start();
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let mut received = signal_hook::iterator::Signals::new(wanted).map_err(failed)?;
        let signals = Self { cancel: CancelToken::new(), terminal: Arc::default() };
        let listener = signals.clone();
        let listen = move || received.forever().for_each(|signal| listener.take(signal));
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(failed)?;
        Ok(signals)
    }

    fn take(&self, signal: i32) {
        let at_prompt = self.terminal().is_some();
        if at_prompt || (signal == SIGINT && self.cancel.is_cancelled()) {
            self.restore_terminal();
            std::process::exit(i32::from(INTERRUPTED));
        }
        let is_first = !self.cancel.is_cancelled();
        self.cancel.cancel();
        if is_first && signal == SIGINT {
            note("stopping; press Ctrl-C again to stop at once");
        }
    }

    /// Returns the token that the first signal cancels.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Runs `ask`, during which nothing needs to be stopped cleanly: any signal puts the terminal right and ends the
    /// program.
    pub fn at_prompt<T>(&self, ask: impl FnOnce() -> T) -> T {
        let saved = File::open("/dev/tty").ok().and_then(|file| Some((tcgetattr(&file).ok()?, file)));
        *self.terminal() = saved.map(|(modes, file)| Terminal { file, modes });
        let answer = ask();
        *self.terminal() = None;
        answer
    }

    fn terminal(&self) -> MutexGuard<'_, Option<Terminal>> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restore_terminal(&self) {
        if let Some(Terminal { file, modes }) = self.terminal().take() {
            // The program ends either way.
            let _ = tcsetattr(&file, OptionalActions::Now, &modes);
            let _ = io::Write::write_all(&mut io::stderr(), b"\n");
        }
    }
}

/// Returns the set of signals, bit 0 for signal 1, that were ignored when the program started: `nohup` asks for that,
/// and so does a shell for a job in the background. They stay ignored.
fn ignored_at_start() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
