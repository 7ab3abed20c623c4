//! What every generator needs of a folder: an empty one to write to, what lies in it, and a place beside it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Makes sure that `folder` is there and empty, and makes it if need be.
///
/// # Errors
/// It holds something, is no folder, or cannot be made or read.
pub(crate) fn create_empty(folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::NotEmpty { path: folder.to_owned() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(folder).map_err(Error::io(folder)),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(Error::NotEmpty { path: folder.to_owned() }),
        Err(error) => Err(Error::io(folder)(error)),
    }
}

/// Returns the files below `folder` in the order of their names, with `/` between the parts of a path.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        for entry in fs::read_dir(&path).map_err(Error::io(&path))? {
            let entry = entry.map_err(Error::io(&path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            // A link is neither, and is left alone.
            let kind = entry.file_type().map_err(Error::io(&path))?;
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() {
                files.push(name);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Returns the path of what belongs to `folder` and lies beside it: its name with `suffix` at the end.
///
/// # Errors
/// The folder is not there, or it is a root and has no name.
pub fn beside(folder: &Path, suffix: &str) -> Result<PathBuf, Error> {
    // `.` and `..` have a name only when resolved.
    let folder = fs::canonicalize(folder).map_err(Error::io(folder))?;
    let Some(name) = folder.file_name() else {
        return Err(Error::refused(&folder, "is a root, nothing can lie beside it; name a folder below it"));
    };
    let mut name = name.to_owned();
    name.push(suffix);
    Ok(folder.with_file_name(name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_an_empty_or_new_folder_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        create_empty(&folder).unwrap();
        create_empty(&folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
        assert!(matches!(create_empty(&folder), Err(Error::NotEmpty { .. })));
        assert!(matches!(create_empty(&folder.join("file")), Err(Error::NotEmpty { .. })));
        assert!(beside(&folder, ".manifest").unwrap().ends_with("a/b.manifest"));
        assert!(beside(Path::new("/"), ".manifest").is_err());
    }
}
