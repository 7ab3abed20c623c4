//! A whole first backup that stores nothing: everything but the disk of the repository.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::backup::BackupOptions;
use crate::base::{CancelToken, Event, Observer};
use crate::error::{Error, Result};
use crate::measure::report::{Stage, StageReport};
use crate::measure::run::Run;
use crate::measure::timing::Rate;

/// It is measured so many times as long as a stage of its own, on all cores and on one.
const ALL_TIMES: u32 = 12;
const ONE_TIMES: u32 = 8;

/// Counts, and ends the backup when enough is done or the user wants no more.
struct Watch {
    begun: Instant,
    time_max: Duration,
    bytes_max: u64,
    files: AtomicU64,
    bytes: AtomicU64,
    /// How long it took to do more than that.
    reached: OnceLock<Duration>,
    user: CancelToken,
    own: CancelToken,
}

impl Observer for Watch {
    fn event(&self, event: &Event) {
        let Event::Progress { files, bytes } = event else { return };
        if self.reached.get().is_some() {
            return;
        }
        self.files.fetch_add(*files, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(*bytes, Ordering::Relaxed) + bytes;
        if bytes > self.bytes_max || self.begun.elapsed() >= self.time_max {
            self.reached.get_or_init(|| self.begun.elapsed());
            self.own.cancel();
        }
        if self.user.is_cancelled() {
            self.own.cancel();
        }
    }
}

/// What one such backup did.
pub(super) struct Done {
    pub files: u64,
    pub bytes: u64,
    span: Duration,
}

fn back_up(run: &Run, root: &Path, pool: &Arc<ThreadPool>, time_max: Duration, bytes_max: u64) -> Result<Done> {
    let watch = Arc::new(Watch {
        begun: Instant::now(),
        time_max,
        bytes_max,
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        reached: OnceLock::new(),
        user: run.options.cancel.clone(),
        own: CancelToken::new(),
    });
    run.options.check_cancel()?;
    let observer: Arc<dyn Observer> = watch.clone();
    let options = BackupOptions {
        dry_run: true,
        level: run.options.level,
        observer: Some(observer),
        cancel: watch.own.clone(),
        pool: Some(Arc::clone(pool)),
        ..BackupOptions::default()
    };
    let outcome = run.repository.backup(&[root], &options);
    run.options.check_cancel()?;
    let span = match (outcome, watch.reached.get()) {
        (Ok(report), None) => report.duration,
        // It may have come to its end before it saw the token.
        (Ok(_) | Err(Error::Cancelled), Some(span)) => *span,
        (Err(error), _) => return Err(error),
    };
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(Done { files: get(&watch.files), bytes: get(&watch.bytes), span })
}

/// Backs up `root` on all cores and on one, in either case with the files in memory as far as they were read before.
///
/// # Errors
/// `NothingToBackUp` if nothing below `root` can be read; `Cancelled`.
pub(super) fn measure(run: &Run, root: &Path) -> Result<(StageReport, Done)> {
    run.begin(Stage::Backup);
    let time = run.options.stage_time;
    // This one brings the files into memory, so that the next are not kept waiting for the disk.
    let first = back_up(run, root, &run.pool, time * ALL_TIMES, run.options.sample_bytes)?;
    let all = back_up(run, root, &run.pool, time * ALL_TIMES, first.bytes)?;
    let one = back_up(run, root, &run.one, time * ONE_TIMES, first.bytes)?;
    let rate = |done: &Done| Rate::of(done.bytes.max(1), done.span);
    let report = StageReport::new(Stage::Backup, rate(&one), Some(rate(&all)));
    Ok((report, all))
}
