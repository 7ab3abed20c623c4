//! Opening the target itself, component by component.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use super::{Opening, TargetDir, file_error};
use crate::error::Error;

/// What to do where a component is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Stop,
}

impl TargetDir {
    /// Opens the target folder and makes what is missing of its path, for the owner alone (mode 0700). Returns it, and
    /// whether it was made.
    ///
    /// No component may be a symbolic link, unless `follows`: whoever can change the link decides where the restore goes.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] for a symbolic link, naming the path to give instead, and for a component that is no
    /// folder; [`Error::File`] for what the system refuses.
    pub fn open_root(path: &Path, follows: bool) -> Result<(Self, bool), Error> {
        // The walk never stops early when it makes what is missing; should it, that is the system's answer.
        walk(path, Missing::Make, follows)?
            .ok_or_else(|| file_error(path.to_path_buf(), "opening the target", Errno::NOENT))
    }

    /// Opens the target folder if it is there and makes nothing, to tell what a restore would do.
    ///
    /// # Errors
    /// As [`open_root`](Self::open_root).
    pub fn open_existing_root(path: &Path, follows: bool) -> Result<Option<(Self, bool)>, Error> {
        walk(path, Missing::Stop, follows)
    }
}

fn walk(path: &Path, missing: Missing, follows: bool) -> Result<Option<(TargetDir, bool)>, Error> {
    if path.as_os_str().is_empty() {
        let reason = "the target has no name; give a folder, or `.` for the current one".to_owned();
        return Err(Error::UnsafeTarget { path: path.to_path_buf(), reason });
    }
    let start = if path.is_absolute() { "/" } else { "." };
    // Walking needs no right to read the folders on the way, hence PATH.
    let follow = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
    let fail = |path: &Path, source: Errno| file_error(path.to_path_buf(), "opening the target", source);
    let mut walked = PathBuf::from(start);
    let mut at = openat(rustix::fs::CWD, start, flags, Mode::empty()).map_err(|error| fail(&walked, error))?;
    let mut is_new = false;
    let mut components = path.components();
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name,
            // A parent is no link, so this goes where the path says.
            Component::ParentDir => component.as_os_str(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        walked.push(name);
        let mut opened = openat(&at, name, flags, Mode::empty());
        is_new = false;
        if matches!(opened, Err(Errno::NOENT)) {
            if missing == Missing::Stop {
                return Ok(None);
            }
            match mkdirat(&at, name, Mode::RWXU) {
                // Someone else was quicker; what they made is looked at like anything that was there before.
                Ok(()) => is_new = true,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(file_error(walked, "making the target", error)),
            }
            opened = openat(&at, name, flags, Mode::empty());
        }
        at = match opened {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(refusal(&at, walked, components.as_path())),
            Err(error) => return Err(fail(&walked, error)),
        };
    }
    let opening = if missing == Missing::Make { Opening::Enter } else { Opening::Look };
    TargetDir::of_named(at, path.to_path_buf(), opening)
        .map(|dir| Some((dir, is_new)))
        .map_err(|error| fail(path, error))
}

/// Says why the component at the end of `walked`, which is no folder, stops the walk. `rest` is what would follow.
fn refusal(parent: &OwnedFd, walked: PathBuf, rest: &Path) -> Error {
    let is_link = walked
        .file_name()
        .and_then(|name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok())
        .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    let reason = match std::fs::canonicalize(&walked) {
        Ok(real) if is_link && real.is_dir() => {
            // Collecting the components leaves no slash at the end where nothing follows.
            let real: PathBuf = real.join(rest).components().collect();
            format!("a symbolic link, which a restore does not follow; give {} as the target instead", real.display())
        }
        _ if is_link => "a symbolic link that leads to no folder; choose another target".to_owned(),
        _ => "not a folder; choose another target".to_owned(),
    };
    Error::UnsafeTarget { path: walked, reason }
}
