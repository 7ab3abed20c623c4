//! What runs in a process of its own, to be killed: a test of this binary that does nothing unless it finds these variables.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daykeep_engine::{Access, Location, OpenOptions, Repository};

use crate::place::{Place, secret};

const REPOSITORY: &str = "DAYKEEP_TEST_KILLED_REPOSITORY";
const CACHE: &str = "DAYKEEP_TEST_KILLED_CACHE";

/// A process that another test starts has its locks too until its program begins.
pub const WAIT: Duration = Duration::from_secs(10);

/// Runs `test` in another process, with what else it shall find in its environment, and kills it after a while, or waits for
/// its end. Returns how long it ran and whether it was killed.
#[track_caller]
pub fn run_and_kill(test: &str, place: &Place, more: &[(&str, &OsStr)], after: Option<Duration>) -> (Duration, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(REPOSITORY, place.location().unwrap().path())
        .env(CACHE, place.options().cache_dir.unwrap())
        .envs(more.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    if let Some(after) = after {
        std::thread::sleep(after);
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    assert!(after.is_some() || status.success(), "{test} itself succeeds");
    (begun.elapsed(), !status.success())
}

/// Returns the repository of the place, in the process that [`run_and_kill`] started; `None` in any other.
pub fn open_in_child() -> Option<Repository> {
    Some(open(&std::env::var_os(REPOSITORY)?, Access::Write))
}

/// Opens another repository, in the process that [`run_and_kill`] started.
pub fn open(path: &OsStr, access: Access) -> Repository {
    let cache = PathBuf::from(std::env::var_os(CACHE).unwrap());
    let options = OpenOptions::default().memory_bytes(64 << 20).cache_dir(cache).wait(WAIT);
    Repository::open(&Location::parse(path.to_str().unwrap()).unwrap(), &secret(), access, &options).unwrap()
}
