//! What every generator needs of a file system.

use std::fs;
use std::io;
use std::path::Path;

/// Makes `folder` if need be, and makes sure that it is empty.
pub(crate) fn create_empty(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
    let mut entries = fs::read_dir(folder).map_err(|error| named(folder, error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let text = format!("{}: not empty; name a new folder or empty this one", folder.display());
            Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, text))
        }
    }
}

/// Returns the files below `folder` in the order of their names, with `/` between the parts of a path.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let failed = |error| named(&path, error);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            // A link is neither, and is left alone.
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Returns the error with the path that it is about.
pub(crate) fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
