//! The mark beside a catalog that is open for writing. redb may end the process where a byte of its file was changed, and
//! would do so each time: a mark whose process is gone says that the catalog is to be begun anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::create_file;

/// A mark, which is removed when this is dropped.
pub(super) struct Running {
    path: PathBuf,
    text: String,
}

/// Tells the catalogs apart that one process has open.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Running {
    /// Marks the catalog at `catalog`, in place of any mark that is there.
    pub(super) fn mark(catalog: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let text = format!("{pid} {} {number}\n", started(pid).unwrap_or_default());
        let path = path_beside(catalog);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        io::Write::write_all(&mut create_file(&path)?, text.as_bytes())?;
        Ok(Self { path, text })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Another's is not ours to remove.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a mark says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The process that has the catalog open is there.
    InUse,
    /// It ended without closing it.
    ByDead,
}

/// Returns what the mark beside the catalog at `catalog` says, if there is one.
pub(super) fn left(catalog: &Path) -> Option<Left> {
    let text = fs::read_to_string(path_beside(catalog)).ok()?;
    let mut words = text.split_ascii_whitespace();
    let pid: Option<u32> = words.next().and_then(|word| word.parse().ok());
    let start: Option<u64> = words.next().and_then(|word| word.parse().ok());
    // A mark that is not whole is of a process that was ended while it wrote it.
    let is_there = pid.is_some_and(|pid| start.is_some() && started(pid) == start);
    Some(if is_there { Left::InUse } else { Left::ByDead })
}

fn path_beside(catalog: &Path) -> PathBuf {
    catalog.with_extension("open")
}

/// Returns when a process was started, in the kernel's ticks since the system was; `None` if there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the start is the 20th word behind it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_mark_tells_whether_its_process_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = dir.path().join("catalog.redb");
        assert_eq!(left(&catalog), None);
        let mark = Running::mark(&catalog).unwrap();
        assert_eq!(left(&catalog), Some(Left::InUse), "this process lives");
        drop(mark);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let pid = std::process::id();
        fs::write(path_beside(&catalog), format!("{pid} {} 0\n", started(pid).unwrap() + 1)).unwrap();
        assert_eq!(left(&catalog), Some(Left::ByDead), "another process has its number");
        fs::write(path_beside(&catalog), format!("{pid}")).unwrap();
        assert_eq!(left(&catalog), Some(Left::ByDead));
    }
}
