//! SQLite's locks (<https://www.sqlite.org/src/file/src/os_unix.c>), taken through an open file.
//!
//! They are locks of the open file description: those of the process would be lost whenever any other descriptor of the
//! same file is closed, and would not be seen beside those of a program that embeds the engine.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The byte that a writer holds who waits for the readers to end.
const PENDING: Bytes = (0x4000_0000, 1);
/// The byte of the one who is going to write.
const RESERVED: Bytes = (0x4000_0001, 1);
/// The bytes of which each reader holds a share, and a writer all.
const SHARED: Bytes = (0x4000_0002, 510);
/// All of them.
const ALL: Bytes = (0x4000_0000, 512);
/// The byte in a `-shm` file of which everybody holds a share who has it open.
const SHM_OPEN: Bytes = (128, 1);
/// How long writers may be kept waiting.
const HELD_MAX: Duration = Duration::from_millis(500);

/// Where a range of bytes begins, and how long it is.
type Bytes = (i64, i64);

fn flock(kind: i32, (start, bytes): Bytes) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: start as _,
        l_len: bytes as _,
        // So the system wants it for locks of this kind.
        l_pid: 0,
    }
}

fn set(file: &File, kind: i32, bytes: Bytes) -> Result<(), Errno> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&flock(kind, bytes))).map(drop)
}

fn is_held(file: &File, bytes: Bytes) -> bool {
    let mut lock = flock(libc::F_WRLCK, bytes);
    let asked = fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short
}

/// Returns whether anybody else holds one of SQLite's locks on a database.
pub fn is_locked(file: &File) -> bool {
    is_held(file, ALL)
}

/// Returns whether anybody else is going to write to a database, so that its journal is at work.
pub fn is_reserved(file: &File) -> bool {
    is_held(file, RESERVED)
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Asked<L> {
    /// It is held.
    Held(L),
    /// Somebody else keeps it from us.
    Busy,
    /// The file system has no locks.
    Unknown,
}

const HELD: u8 = 0;
const OVER: u8 = 1;
const EXPIRED: u8 = 2;

/// SQLite's shared lock: nobody writes to the database by SQLite's rules, and the last one to close it does not remove its
/// log.
#[derive(Debug)]
pub struct SharedLock<'f> {
    file: &'f File,
    state: AtomicU8,
}

impl<'f> SharedLock<'f> {
    /// Asks for the lock, without waiting.
    pub fn ask(file: &'f File) -> Asked<Self> {
        // As SQLite does it: who wants to write keeps new readers out by the first.
        let asked = set(file, libc::F_RDLCK, PENDING).and_then(|()| {
            let shared = set(file, libc::F_RDLCK, SHARED);
            // Nothing else can be done about it; it goes with the file.
            let _ = set(file, libc::F_UNLCK, PENDING);
            shared
        });
        match asked {
            Ok(()) => Asked::Held(Self { file, state: AtomicU8::new(HELD) }),
            Err(Errno::EAGAIN | Errno::EACCES) => Asked::Busy,
            Err(_) => Asked::Unknown,
        }
    }

    /// Gives the lock back, since all is read that it was taken for.
    pub fn end(&self) {
        self.release(OVER);
    }

    fn release(&self, to: u8) {
        if self.state.compare_exchange(HELD, to, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let _ = set(self.file, libc::F_UNLCK, ALL);
        }
    }

    /// Returns whether the lock was held until it was no longer needed.
    pub fn was_held(&self) -> bool {
        self.state.load(Ordering::Acquire) != EXPIRED
    }

    /// Lets `work` be done, and gives the lock back after half a second if it is not done then.
    pub fn for_half_a_second<T>(&self, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (done, is_done) = channel::<()>();
            let watch = move || {
                if is_done.recv_timeout(HELD_MAX) == Err(RecvTimeoutError::Timeout) {
                    self.release(EXPIRED);
                }
            };
            if std::thread::Builder::new().spawn_scoped(scope, watch).is_err() {
                // Nobody would give it back in time.
                self.release(EXPIRED);
            }
            let outcome = work();
            drop(done);
            outcome
        })
    }
}

impl Drop for SharedLock<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A `-shm` file that others have open; as long as this is held, whoever opens it too does not begin it anew.
#[derive(Debug)]
pub struct SharedMemory {
    _file: File,
}

impl SharedMemory {
    /// Joins those who have it open; `None` if nobody has.
    pub fn join(file: File) -> Option<Self> {
        // First the lock, then the look: in between the last one could close it.
        set(&file, libc::F_RDLCK, SHM_OPEN).ok()?;
        is_held(&file, SHM_OPEN).then_some(Self { _file: file })
    }
}
