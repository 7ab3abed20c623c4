//! Where data sets are written to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Makes sure that `folder` is there and empty, and makes it if need be.
///
/// # Errors
/// It holds something, is no folder, or cannot be made or read.
pub fn make_empty_folder(folder: &Path) -> Result<(), Error> {
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
        make_empty_folder(&folder).unwrap();
        make_empty_folder(&folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
        assert!(matches!(make_empty_folder(&folder), Err(Error::NotEmpty { .. })));
        assert!(matches!(make_empty_folder(&folder.join("file")), Err(Error::NotEmpty { .. })));
        assert!(beside(&folder, ".manifest").unwrap().ends_with("a/b.manifest"));
        assert!(beside(Path::new("/"), ".manifest").is_err());
    }
}
