//! Where a comparison was made: without it no figure means anything.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine, as far as it bears on figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// How many processors this program may use.
    pub cores: usize,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// The kernel's name, release and architecture.
    pub kernel: String,
    /// The file system of the work folder.
    pub work_file_system: String,
    /// How many processes wanted to run before the first run, on average over a minute.
    pub load: f64,
    /// The day of the comparison, in UTC, as `YYYY-MM-DD`.
    pub date: String,
}

/// Describes this machine and the file system below `work`. What cannot be found out is called unknown.
pub fn describe(work: &Path) -> Machine {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let unknown = || "unknown".to_owned();
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory_bytes("MemTotal").unwrap_or(0),
        kernel: format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
        work_file_system: file_system(work).unwrap_or_else(unknown),
        load: fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0.0),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
    }
}

/// Returns the value of the first line of `file` that begins with `name`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns a field of `/proc/meminfo`, in bytes.
pub fn memory_bytes(name: &str) -> Option<u64> {
    Some(field("/proc/meminfo", name)?.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Returns the type of the file system that `path` lies in.
pub fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // A line reads: id parent major:minor root mount-point options … - type source options
    let parsed = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        Some((point, after.split(' ').next()?.to_owned()))
    });
    // Of two mounts at the same point the later one lies on top.
    let inside = parsed.filter(|(point, _)| path.starts_with(point));
    inside.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}
