//! The temporary folder: where it goes, that there is room for it, and that it is gone afterwards.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::crypt::random;
use crate::error::{Error, Result, StoreError, StoreErrorKind};
use crate::repo::Location;

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, action, source }
}

/// What the names of temporary folders begin with; 16 hexadecimal digits follow.
const PREFIX: &str = ".daykeep-benchmark-";
/// How many names are tried, should others remove the folder before it is locked.
const TRIES: u32 = 8;

/// A folder that only the user may look into, and that is removed with all that is in it when this is dropped.
///
/// It is locked as long as this lives. Who was killed leaves an unlocked one, which the next one in the same place
/// removes.
pub(super) struct TempFolder {
    path: PathBuf,
    /// Nobody else's while it is open. Removed first, then unlocked.
    _lock: File,
}

impl TempFolder {
    /// Makes a new folder in `parent`, and removes those that killed processes of this user left there.
    ///
    /// # Errors
    /// `File` if it cannot be made.
    pub fn create(parent: &Path) -> Result<Self> {
        remove_abandoned(parent);
        for _ in 0..TRIES {
            let tail = random().map(u64::from_le_bytes).map_err(failed(parent, "ask the system for a random name"))?;
            let path = parent.join(format!("{PREFIX}{tail:016x}"));
            DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path, "make a temporary folder"))?;
            // Until it is locked another process may take it for an abandoned one.
            let lock = match open_folder(&path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, "open the temporary folder")(error)),
            };
            // A file system without locks refuses them to those too who look for abandoned folders.
            let is_taken = matches!(try_lock(&lock), Err(Errno::WOULDBLOCK));
            if !is_taken && is_same(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        let source = io::Error::other("other processes removed each that was made");
        Err(failed(parent, "make a temporary folder there")(source))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Nobody is left to be told; the name says whose it is, and the next one removes it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the temporary folders of this user in `parent` that no process has locked. What cannot be removed stays: it
/// is no reason not to measure.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(io::Result::ok) {
        let name = entry.file_name();
        let tail = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if !tail.is_some_and(|tail| tail.len() == 16 && tail.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            continue;
        }
        let path = entry.path();
        let Ok(folder) = open_folder(&path) else { continue };
        let is_own = folder.metadata().is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
        // The lock is kept until it is gone, so that who has just made it finds out.
        if is_own && try_lock(&folder).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Opens a folder, and nothing else: no file and no link.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

fn try_lock(folder: &File) -> std::result::Result<(), Errno> {
    loop {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// Returns whether an open folder is still the one at `path`.
fn is_same(folder: &File, path: &Path) -> bool {
    match (folder.metadata(), fs::symlink_metadata(path)) {
        (Ok(own), Ok(found)) => (own.dev(), own.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Returns the folder on whose disk the stores are measured: the one that the repository lies in.
///
/// # Errors
/// `File` if it is not there; `InvalidOption` if the repository is a file system's uppermost folder, beside which nothing
/// lies on the same disk.
pub(super) fn beside(location: Option<&Location>) -> Result<PathBuf> {
    let Some(location) = location else { return Ok(std::env::temp_dir()) };
    let action = "find the repository's disk there";
    let path = match location.path().canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(location.path()).map_err(failed(location.path(), action))?
        }
        Err(source) => return Err(failed(location.path(), action)(source)),
    };
    let parent = path.parent().unwrap_or(&path);
    let folder = parent.metadata().map_err(failed(parent, action))?;
    if path.metadata().is_ok_and(|own| own.dev() != folder.dev()) || path == parent {
        let reason = format!(
            "{}: is the uppermost folder of a disk, and nothing is written into a repository; name a place on that disk \
             that has a folder above it",
            path.display()
        );
        return Err(Error::InvalidOption { option: "repository", reason });
    }
    Ok(parent.to_owned())
}

/// Checks that `bytes` bytes are free below `folder`.
///
/// # Errors
/// `NoSpace` if not; `File` if the system does not tell.
pub(super) fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    let told =
        rustix::fs::statvfs(folder).map_err(|error| failed(folder, "ask how much space is free")(error.into()))?;
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let message = format!(
        "the measurement needs {} MiB for a moment and {} MiB are free; make room there, or name a repository on another \
         disk",
        bytes >> 20,
        free >> 20
    );
    Err(StoreError::new(StoreErrorKind::NoSpace, folder.display(), message).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn abandoned_folders_go_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let place = |name: &str| parent.path().join(name);
        let first = TempFolder::create(parent.path()).unwrap();
        let in_use = first.path().join("file");
        fs::write(&in_use, "1").unwrap();
        let abandoned = place(".daykeep-benchmark-0123456789abcdef");
        fs::create_dir_all(abandoned.join("directory/packs")).unwrap();
        fs::write(abandoned.join("directory/packs/pack"), "1").unwrap();
        let others =
            [".daykeep-benchmark-", ".daykeep-benchmark-0123456789abcdeg", "daykeep-benchmark-0123456789abcdef"];
        others.iter().for_each(|name| fs::create_dir(place(name)).unwrap());
        let (file, link) = (place(".daykeep-benchmark-000000000000000f"), place(".daykeep-benchmark-000000000000001f"));
        fs::write(&file, "1").unwrap();
        std::os::unix::fs::symlink(others[0], &link).unwrap();

        let second = TempFolder::create(parent.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(in_use.exists(), "it is locked");
        assert!(others.iter().all(|name| place(name).exists()) && file.exists() && link.symlink_metadata().is_ok());

        // Whoever drops it removes it himself.
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }

    #[test]
    fn many_at_once_keep_their_own() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let folder = TempFolder::create(parent.path()).unwrap();
                        fs::write(folder.path().join("file"), "1").unwrap();
                        std::thread::yield_now();
                        assert!(folder.path().join("file").exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
