//! The files of the cache directory: made for their owner alone, and some without a name.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A file without a name, which is gone with the process: to wait until it is safe from a crash would be in vain.
#[derive(Debug)]
pub(super) struct Unsynced(pub FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
}

/// Makes the folder of a catalog, and those above it, for its owner alone.
pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Creates a file whose name is removed at once: its space is freed when it is closed, however the process ends.
pub(super) fn create_unnamed(dir: &Path) -> io::Result<File> {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let path = dir.join(format!(".daykeep-catalog-{random:016x}"));
        match create_file(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns where the catalog lies in its folder.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join("catalog.redb")
}
