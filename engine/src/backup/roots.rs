//! The paths that the user named, as one tree from `/` down.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::backup::capture::{self, entry_name};
use crate::backup::engine::{DirPath, Engine};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata, Node};
use crate::source::{Dir, FileKind};

/// A folder above the named paths, or one of them.
#[derive(Default)]
pub(super) struct Root {
    is_named: bool,
    children: BTreeMap<Vec<u8>, Root>,
}

/// Returns the absolute form of a path, with `..` resolved by the file system.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |source| Error::File { path: path.to_owned(), action: "find the folder it is in", source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    if absolute.components().any(|component| component == Component::ParentDir) {
        return absolute.canonicalize().map_err(failed);
    }
    Ok(absolute)
}

impl Root {
    /// Adds an absolute path.
    pub fn add(&mut self, path: &Path) {
        let mut at = self;
        for component in path.components() {
            if let Component::Normal(name) = component {
                at = at.children.entry(name.as_bytes().to_vec()).or_default();
            }
        }
        at.is_named = true;
    }
}

impl Engine<'_> {
    /// Backs up everything named and returns the tree of `/`.
    pub fn roots(&self, root: &Root, parent: Option<&Content>) -> Result<Content> {
        if root.is_named {
            let path = DirPath::root(b"/");
            let dir = Dir::open(Path::new("/")).and_then(|dir| Ok((dir.stat_self()?.device, dir)));
            let (device, dir) =
                dir.map_err(|source| Error::File { path: "/".into(), action: "open the folder", source })?;
            return Ok(self.directory(&dir, &path, device, parent)?.unwrap_or_default());
        }
        self.above(root, Path::new("/"), parent)
    }

    /// Makes the tree of a folder of which only some entries are backed up.
    fn above(&self, node: &Root, path: &Path, parent: Option<&Content>) -> Result<Content> {
        let parent_tree = self.parent_tree(parent);
        let mut entries = Vec::new();
        for (name, child) in &node.children {
            let child_path = path.join(OsStr::from_bytes(name));
            let previous = parent_tree.as_ref().and_then(|tree| capture::previous(&tree.entries, 0, name));
            if child.is_named {
                match self.named(&child_path, name, previous) {
                    Ok(entry) => entries.extend(entry?),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.warn(child_path, "there is no such file or folder; check the path".into());
                    }
                    Err(error) => self.warn_io(child_path, "open it", &error),
                }
            } else {
                let content = match previous.map(|entry| &entry.node) {
                    Some(Node::Directory { content }) => Some(content),
                    _ => None,
                };
                let content = self.above(child, &child_path, content)?;
                if !content.parts.is_empty() {
                    let metadata = folder_metadata(&child_path);
                    entries.push(Entry { name: name.clone(), metadata, node: Node::Directory { content } });
                }
            }
        }
        if entries.is_empty() { Ok(Content::default()) } else { self.store_tree(entries.iter(), parent) }
    }

    /// Backs up a path that the user named. It may be a link: what it leads to is meant.
    fn named(&self, path: &Path, name: &[u8], previous: Option<&Entry>) -> io::Result<Result<Option<Entry>>> {
        let real = path.canonicalize()?;
        if real.is_dir() {
            return self.named_directory(path, &real, name, previous);
        }
        let (folder, real_name) = match (real.parent(), real.file_name()) {
            (Some(folder), Some(name)) => (folder, CString::new(name.as_bytes())?),
            _ => return Err(io::Error::other("has no name")),
        };
        let dir = Dir::open(folder)?;
        let device = dir.stat_self()?.device;
        let above = path.parent().unwrap_or(Path::new("/"));
        let dir_path = DirPath::root(above.as_os_str().as_bytes());
        Ok(self.entry(&dir, &real_name, None, &dir_path, device, previous).map(|outcome| {
            outcome
                .entry(previous)
                .cloned()
                .map(|entry| Entry { name: entry_name(name, &entry.node).to_vec(), ..entry })
        }))
    }

    fn named_directory(
        &self,
        path: &Path,
        real: &Path,
        name: &[u8],
        previous: Option<&Entry>,
    ) -> io::Result<Result<Option<Entry>>> {
        let dir = Dir::open(real)?;
        let stat = dir.stat_self()?;
        if stat.kind != FileKind::Directory {
            return Err(io::Error::other("is no folder any more"));
        }
        let xattrs = dir.xattrs_self()?;
        let dir_path = DirPath::root(path.as_os_str().as_bytes());
        let previous = match previous.map(|entry| &entry.node) {
            Some(Node::Directory { content }) => Some(content),
            _ => None,
        };
        let content = match self.directory(&dir, &dir_path, stat.device, previous) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let mut metadata = stat.metadata;
        metadata.xattrs = xattrs;
        Ok(Ok(Some(Entry { name: name.to_vec(), metadata, node: Node::Directory { content } })))
    }
}

/// Returns the metadata of a folder above what is backed up; a plain one if it cannot be had.
fn folder_metadata(path: &Path) -> Metadata {
    let read = Dir::open(path).and_then(|dir| Ok((dir.stat_self()?.metadata, dir.xattrs_self()?)));
    match read {
        Ok((metadata, xattrs)) => Metadata { xattrs, ..metadata },
        Err(_) => Metadata { mode: 0o755, ..Metadata::default() },
    }
}
