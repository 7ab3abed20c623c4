//! How far the work is: a bar on a terminal, a plain line every few seconds elsewhere, or JSON.

use std::collections::VecDeque;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daykeep_engine::{Event, FileState, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::commands::{Context, JsonPath};
use crate::output::{Out, note};
use crate::text;

const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The rate is that of this span of time, so that it follows when the work changes.
const RATE_WINDOW: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    Bar,
    Lines,
    Json,
}

/// Shows progress until it is dropped.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

/// What the engine's threads write and the ticker reads.
struct Shared {
    out: Arc<Out>,
    mode: Mode,
    bar: ProgressBar,
    begun: Instant,
    files: AtomicU64,
    bytes: AtomicU64,
    files_total: AtomicU64,
    bytes_total: AtomicU64,
    has_total: AtomicBool,
}

impl Progress {
    /// Begins to show the progress of something that takes its time.
    pub fn start(context: &Context) -> Self {
        let mode = match (context.out.is_json(), context.global.quiet) {
            (_, true) => Mode::Silent,
            (true, false) => Mode::Json,
            (false, false) if stderr().is_terminal() => Mode::Bar,
            (false, false) => Mode::Lines,
        };
        let bar = if mode == Mode::Bar { ProgressBar::no_length() } else { ProgressBar::hidden() };
        if mode == Mode::Bar {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style("{spinner} {wide_msg}"));
        }
        let shared = Arc::new(Shared {
            out: Arc::clone(&context.out),
            mode,
            bar,
            begun: Instant::now(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            files_total: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            has_total: AtomicBool::new(false),
        });
        let interval = match mode {
            Mode::Silent => return Self { shared, ticker: None },
            Mode::Bar => BAR_INTERVAL,
            Mode::Json => JSON_INTERVAL,
            Mode::Lines => LINE_INTERVAL,
        };
        let (stop, stopped) = channel();
        let ticking = Arc::clone(&shared);
        let tick = move || {
            let mut rate = Rate::new(ticking.begun);
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                ticking.show(&mut rate);
            }
        };
        // Without a thread there is no progress to see, and the work is done all the same.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(tick);
        Self { shared, ticker: thread.ok().map(|thread| (stop, thread)) }
    }

    /// Returns what the engine is to tell its events to.
    pub fn observer(&self) -> Option<Arc<dyn Observer>> {
        Some(Arc::clone(&self.shared) as Arc<dyn Observer>)
    }

    /// Returns whether anyone sees how much is left, so that it is worth being counted.
    pub fn shows_total(&self) -> bool {
        matches!(self.shared.mode, Mode::Bar | Mode::Json)
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            // A ticker that panicked has said so itself.
            let _ = thread.join();
        }
        self.shared.bar.finish_and_clear();
        if self.shared.mode == Mode::Json {
            self.shared.show(&mut Rate::new(self.shared.begun));
        }
    }
}

impl Observer for Shared {
    fn event(&self, event: &Event) {
        match event {
            Event::Total { files, bytes } => {
                self.files_total.store(*files, Relaxed);
                self.bytes_total.store(*bytes, Relaxed);
                self.has_total.store(true, Relaxed);
            }
            Event::Progress { files, bytes } => {
                self.files.fetch_add(*files, Relaxed);
                self.bytes.fetch_add(*bytes, Relaxed);
            }
            Event::File { path, state } => self.file(path, *state),
            Event::Warning { object, path, message } => {
                self.bar.suspend(|| self.out.warning_of(object, path.as_deref(), message));
            }
            Event::Note { object, path, message } => {
                self.bar.suspend(|| self.out.note(object, path.as_deref(), message, self.mode == Mode::Silent));
            }
            // For people the report has the first of them.
            Event::Hurt { path, reason, snapshots } if self.out.is_json() => {
                let snapshots = snapshots.iter().map(ToString::to_string).collect();
                self.out.json(&JsonHurt { path: JsonPath::of_bytes(path), reason, snapshots });
            }
            _ => {}
        }
    }
}

impl Shared {
    /// Prints a file that was saved and is not as before.
    fn file(&self, path: &Path, state: FileState) {
        let state = match state {
            FileState::New => "new",
            FileState::Changed => "changed",
            _ => return,
        };
        if self.out.is_json() {
            self.out.json(&JsonFile { path: JsonPath::of(path), state });
            return;
        }
        let line = format!("{state:<7}  {}", text::name(path.as_os_str().as_encoded_bytes()));
        if self.out.is_terminal() {
            self.bar.suspend(|| self.out.line(&line));
        } else {
            self.out.line(&line);
        }
    }

    fn show(&self, rate: &mut Rate) {
        let (files, bytes) = (self.files.load(Relaxed), self.bytes.load(Relaxed));
        let total = self.has_total.load(Relaxed).then(|| {
            // More may have been done than was counted: files grow, and counting goes on beside the work.
            (self.files_total.load(Relaxed).max(files), self.bytes_total.load(Relaxed).max(bytes))
        });
        let sample = Sample { files, bytes, total, elapsed: self.begun.elapsed(), rate: rate.update(bytes) };
        match self.mode {
            Mode::Silent => {}
            Mode::Json => {
                self.out.json(&sample.to_json());
                self.out.flush();
            }
            Mode::Lines => note(&sample.describe()),
            Mode::Bar => {
                if let Some((_, bytes_total)) = total {
                    if self.bar.length().is_none() {
                        self.bar.set_style(style("[{bar:20}] {wide_msg}"));
                    }
                    self.bar.set_length(bytes_total);
                }
                self.bar.set_position(bytes);
                self.bar.set_message(sample.describe());
                self.bar.tick();
            }
        }
    }
}

/// Bytes per second over the last while.
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new(begun: Instant) -> Self {
        Self { samples: VecDeque::from([(begun, 0)]) }
    }

    fn update(&mut self, bytes: u64) -> u64 {
        let now = Instant::now();
        while self.samples.len() > 1
            && self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, bytes));
        self.samples.push_back((now, bytes));
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { (bytes.saturating_sub(before) as f64 / seconds) as u64 } else { 0 }
    }
}

/// How far the work is at one moment.
struct Sample {
    files: u64,
    bytes: u64,
    total: Option<(u64, u64)>,
    elapsed: Duration,
    rate: u64,
}

impl Sample {
    fn remaining(&self) -> Option<Duration> {
        let (_, bytes_total) = self.total?;
        (self.rate > 0).then(|| Duration::from_secs_f64((bytes_total - self.bytes) as f64 / self.rate as f64))
    }

    fn describe(&self) -> String {
        let mut parts = Vec::with_capacity(4);
        match self.total {
            Some((files_total, bytes_total)) => {
                parts.push(format!("{} of {}", text::size(self.bytes), text::size(bytes_total)));
                parts.push(format!("{} of {} files", text::count(self.files), text::count(files_total)));
            }
            None => {
                parts.push(text::size(self.bytes));
                parts.push(text::counted(self.files, "file", "files"));
            }
        }
        parts.push(format!("{}/s", text::size(self.rate)));
        if let Some(remaining) = self.remaining() {
            parts.push(format!("{} left", text::clock(remaining)));
        }
        parts.join(", ")
    }

    fn to_json(&self) -> JsonProgress {
        JsonProgress {
            files_done: self.files,
            bytes_done: self.bytes,
            files_total: self.total.map(|(files, _)| files),
            bytes_total: self.total.map(|(_, bytes)| bytes),
            seconds_elapsed: self.elapsed.as_secs_f64(),
            seconds_remaining: self.remaining().map(|remaining| remaining.as_secs_f64()),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "progress")]
struct JsonProgress {
    files_done: u64,
    bytes_done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
    seconds_elapsed: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_remaining: Option<f64>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct JsonFile {
    #[serde(flatten)]
    path: JsonPath,
    state: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "hurt")]
struct JsonHurt<'a> {
    #[serde(flatten)]
    path: JsonPath,
    reason: &'a str,
    snapshots: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_says_what_is_left_only_when_it_is_known() {
        let mut sample =
            Sample { files: 2, bytes: 1 << 20, total: None, elapsed: Duration::from_secs(1), rate: 1 << 20 };
        assert_eq!(sample.describe(), "1.0 MiB, 2 files, 1.0 MiB/s");
        sample.total = Some((20, 11 << 20));
        assert_eq!(sample.describe(), "1.0 MiB of 11.0 MiB, 2 of 20 files, 1.0 MiB/s, 10 s left");
        sample.rate = 0;
        assert_eq!(sample.remaining(), None);
    }
}
