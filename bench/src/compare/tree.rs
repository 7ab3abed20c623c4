//! Trees of files: listed, counted, copied, brought from one state to the next, compared, removed.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Error;
use super::interrupt::Interrupt;

const BLOCK_BYTES: usize = 256 * 1024;

/// What an entry of a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file of so many bytes.
    File(u64),
    /// A symbolic link to this.
    Link(PathBuf),
    /// Something else: compared by being there.
    Other,
}

/// The entries below a folder, by their relative paths.
pub type Listing = BTreeMap<PathBuf, Kind>;

/// Lists everything below `root`.
///
/// # Errors
/// A folder cannot be read, or an interrupt.
pub fn list(root: &Path, interrupt: &Interrupt) -> Result<Listing, Error> {
    let mut found = Listing::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        interrupt.check()?;
        let path = root.join(&folder);
        let failed = || Error::file("read", &path);
        for entry in fs::read_dir(&path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let relative = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(failed())?;
            let kind = if kind.is_dir() {
                folders.push(relative.clone());
                Kind::Folder
            } else if kind.is_symlink() {
                Kind::Link(fs::read_link(entry.path()).map_err(failed())?)
            } else if kind.is_file() {
                Kind::File(entry.metadata().map_err(failed())?.len())
            } else {
                Kind::Other
            };
            found.insert(relative, kind);
        }
    }
    Ok(found)
}

/// Returns the number and the bytes of the files in a listing.
pub fn count(listing: &Listing) -> (u64, u64) {
    let sizes = listing.values().filter_map(|kind| match kind {
        Kind::File(bytes) => Some(*bytes),
        _ => None,
    });
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}

/// Returns the sum of the lengths of all files at or below `path`; 0 if there is nothing.
///
/// # Errors
/// A folder cannot be read, or an interrupt.
pub fn size_bytes(path: &Path, interrupt: &Interrupt) -> Result<u64, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(count(&list(path, interrupt)?).1),
        Ok(metadata) => Ok(metadata.len()),
        Err(_) => Ok(0),
    }
}

/// Reads every file below `root`, so that all of it is in memory as far as memory goes.
///
/// # Errors
/// A file cannot be read, or an interrupt.
pub fn read_all(root: &Path, listing: &Listing, interrupt: &Interrupt) -> Result<(), Error> {
    listing.par_iter().filter(|(_, kind)| matches!(kind, Kind::File(_))).try_for_each(|(relative, _)| {
        let path = root.join(relative);
        let failed = || Error::file("read", &path);
        let mut file = File::open(&path).map_err(failed())?;
        let mut block = vec![0; BLOCK_BYTES];
        while file.read(&mut block).map_err(failed())? > 0 {
            interrupt.check()?;
        }
        Ok(())
    })
}

/// Copies one entry with its mode and, for a file, its time of modification; but where size and time would stay as they
/// are although the content changes, which no tool could notice, the time is now. Parents must be there.
fn copy_entry(from: &Path, to: &Path, kind: &Kind) -> io::Result<()> {
    match kind {
        Kind::Folder => fs::create_dir_all(to),
        Kind::Link(target) => std::os::unix::fs::symlink(target, to),
        Kind::File(_) => {
            let looks = |path: &Path| fs::metadata(path).and_then(|meta| Ok((meta.len(), meta.modified()?)));
            let before = looks(to).ok();
            let wanted = looks(from)?;
            fs::copy(from, to)?;
            if before == Some(wanted) {
                return Ok(());
            }
            File::options().write(true).open(to)?.set_times(FileTimes::new().set_modified(wanted.1))
        }
        Kind::Other => Ok(()),
    }
}

/// Copies a whole tree into `to`, which is made.
///
/// # Errors
/// Something cannot be read or written, or an interrupt.
pub fn copy(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<(), Error> {
    let all = Change { removed: Vec::new(), written: list(from, interrupt)?.into_iter().collect() };
    fs::create_dir_all(to).map_err(Error::file("create", to))?;
    all.apply(from, to, interrupt)
}

/// What makes one state of a tree from the one before.
#[derive(Debug, Default)]
pub struct Change {
    /// Relative paths to remove, deepest first.
    removed: Vec<PathBuf>,
    /// Relative paths to copy, parents first.
    written: Vec<(PathBuf, Kind)>,
}

impl Change {
    /// Finds out what differs between two states, by content.
    ///
    /// # Errors
    /// Something cannot be read, or an interrupt.
    pub fn between(before: &Path, after: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        let (old, new) = (list(before, interrupt)?, list(after, interrupt)?);
        let same_type = |a: &Kind, b: &Kind| std::mem::discriminant(a) == std::mem::discriminant(b);
        let gone = old.iter().rev().filter(|(path, kind)| !new.get(*path).is_some_and(|other| same_type(kind, other)));
        let removed = gone.map(|(path, _)| path.clone()).collect();
        let written: Result<Vec<_>, Error> = new
            .par_iter()
            .map(|(path, kind)| {
                let is_same = match old.get(path) {
                    Some(other) if other == kind => {
                        !matches!(kind, Kind::File(_))
                            || difference(&before.join(path), &after.join(path), interrupt)?.is_none()
                    }
                    _ => false,
                };
                Ok((!is_same).then(|| (path.clone(), kind.clone())))
            })
            .filter_map(Result::transpose)
            .collect();
        Ok(Self { removed, written: written? })
    }

    /// Makes `to`, which is in the state before, what `from` is.
    ///
    /// # Errors
    /// Something cannot be read or written, or an interrupt.
    pub fn apply(&self, from: &Path, to: &Path, interrupt: &Interrupt) -> Result<(), Error> {
        for path in &self.removed {
            let path = to.join(path);
            remove(&path).map_err(Error::file("remove", &path))?;
        }
        for (relative, kind) in &self.written {
            interrupt.check()?;
            let path = to.join(relative);
            if matches!(kind, Kind::Link(_)) {
                // A link cannot be written over.
                let _ = fs::remove_file(&path);
            }
            copy_entry(&from.join(relative), &path, kind).map_err(Error::file("copy to", &path))?;
        }
        Ok(())
    }
}

/// Returns in what `restored` is not what `source` is, if in anything: names, types, links and every byte, but neither
/// times nor owners, which not all tools keep. Both may be files.
///
/// # Errors
/// The source cannot be read, or an interrupt.
pub fn compare(source: &Path, restored: &Path, interrupt: &Interrupt) -> Result<Option<String>, Error> {
    if source.is_file() {
        let name = Path::new(source.file_name().unwrap_or_default());
        return Ok(difference(source, restored, interrupt)?.map(|what| format!("{} {what}", name.display())));
    }
    if !restored.is_dir() {
        return Ok(Some("nothing was restored".into()));
    }
    let (wanted, found) = (list(source, interrupt)?, list(restored, interrupt)?);
    let first = wanted.par_iter().find_map_first(|(path, kind)| {
        let what = match (kind, found.get(path)) {
            (_, None) => Ok(Some("is missing".to_owned())),
            (Kind::File(_), Some(Kind::File(_))) => difference(&source.join(path), &restored.join(path), interrupt),
            (kind, Some(other)) => Ok((kind != other).then(|| "is something else".to_owned())),
        };
        what.map(|what| what.map(|what| format!("{} {what}", path.display()))).transpose()
    });
    let extra = || found.keys().find(|path| !wanted.contains_key(*path));
    Ok(first.transpose()?.or_else(|| extra().map(|path| format!("{} is too much", path.display()))))
}

/// Returns how the content of `other` differs from that of `file`, if it does.
fn difference(file: &Path, other: &Path, interrupt: &Interrupt) -> Result<Option<String>, Error> {
    let failed = || Error::file("read", file);
    let mine = File::open(file).map_err(failed())?;
    let theirs = match File::open(other) {
        Ok(theirs) => theirs,
        Err(error) => return Ok(Some(format!("cannot be read: {error}"))),
    };
    let length = |file: &File| file.metadata().map(|metadata| metadata.len());
    let (wanted, found) = (length(&mine).map_err(failed())?, length(&theirs).unwrap_or(0));
    if wanted != found {
        return Ok(Some(format!("has {found} bytes instead of {wanted}")));
    }
    let (mut a, mut b) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut at = 0;
    while at < wanted {
        interrupt.check()?;
        let len = usize::try_from(wanted - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        mine.read_exact_at(&mut a[..len], at).map_err(failed())?;
        if theirs.read_exact_at(&mut b[..len], at).is_err() || a[..len] != b[..len] {
            let off = a[..len].iter().zip(&b[..len]).position(|(a, b)| a != b).unwrap_or(0) as u64;
            return Ok(Some(format!("differs at byte {}", at + off)));
        }
        at += len as u64;
    }
    Ok(None)
}

/// Removes whatever is at `path`, if anything is, even folders that forbid it.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).or_else(|_| {
            open_up(path)?;
            fs::remove_dir_all(path)
        }),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Allows everything to the owner of `folder` and the folders below.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    /// Writes a file whose time of modification is always the same.
    fn write(root: &Path, name: &str, content: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    #[test]
    fn one_state_becomes_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, here] = ["old", "new", "here"].map(|name| folder.path().join(name));
        for (name, content) in [("same", "1"), ("longer", "1"), ("other", "1"), ("gone/a/b", "1"), ("file-to-dir", "1")]
        {
            write(&old, name, content);
        }
        write(&old, "dir-to-file/x", "1");
        std::os::unix::fs::symlink("same", old.join("link")).unwrap();
        for (name, content) in
            [("same", "1"), ("longer", "12"), ("other", "2"), ("new/a/b", "1"), ("file-to-dir/x", "1")]
        {
            write(&new, name, content);
        }
        write(&new, "dir-to-file", "1");
        std::os::unix::fs::symlink("other", new.join("link")).unwrap();
        let interrupt = Interrupt::default();
        copy(&old, &here, &interrupt).unwrap();
        assert_eq!(compare(&old, &here, &interrupt).unwrap(), None);
        let change = Change::between(&old, &new, &interrupt).unwrap();
        let before = fs::metadata(here.join("same")).unwrap();
        change.apply(&new, &here, &interrupt).unwrap();
        assert_eq!(compare(&new, &here, &interrupt).unwrap(), None);
        let modified = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(here.join("same")).unwrap().ctime_nsec(), before.ctime_nsec(), "left alone");
        assert_eq!(modified(here.join("longer")), modified(new.join("longer")));
        assert_ne!(modified(here.join("other")), modified(new.join("other")), "nobody would notice");
    }

    #[test]
    fn folders_that_forbid_it_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        write(&root, "a/b/c", "1");
        for name in ["a/b", "a", ""] {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o500)).unwrap();
        }
        remove(&root).unwrap();
        assert!(!root.exists());
        remove(&root).unwrap();
    }
}
