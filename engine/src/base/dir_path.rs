//! The path of a directory that is being walked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The path of a directory, kept as a chain on the stack: it is spelled out only for messages and patterns.
#[derive(Clone, Copy)]
pub struct DirPath<'a> {
    above: Option<&'a Self>,
    /// The directory's own name; of the first one, its whole path.
    pub name: &'a [u8],
    /// How many directories are above it.
    pub depth: usize,
}

impl<'a> DirPath<'a> {
    /// Begins a walk at the directory that messages call `path`.
    pub fn root(path: &'a [u8]) -> Self {
        Self { above: None, name: path, depth: 0 }
    }

    /// Begins a walk at a directory that lies as deep as its absolute path says.
    pub fn named(path: &'a [u8]) -> Self {
        let depth = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count();
        Self { above: None, name: path, depth }
    }

    /// Returns the path of the directory `name` in this one.
    pub fn below(&'a self, name: &'a [u8]) -> Self {
        Self { above: Some(self), name, depth: self.depth + 1 }
    }

    /// Spells out the path of `name` in this directory; of the directory itself if `name` is empty.
    pub fn join(&self, name: &[u8]) -> PathBuf {
        let mut path = match self.above {
            Some(above) => above.join(self.name),
            None => PathBuf::from(OsStr::from_bytes(self.name)),
        };
        path.push(OsStr::from_bytes(name));
        path
    }
}
