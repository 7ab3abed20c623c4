//! The paths that the user named, as one tree from `/` down.
//!
//! Each of them is a root of its own, wherever else it lies: whatever the walk of another one leaves out on the way to it,
//! it is saved.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::backup::capture::entry_name;
use crate::backup::engine::{DirPath, Engine};
use crate::backup::outcome::{Outcome, Spot, content_of};
use crate::backup::rules::Devices;
use crate::error::Result;
use crate::format::content::Content;
use crate::format::tree::{Entry, Metadata};
use crate::source::names::Names;
use crate::source::xattrs::path_xattrs;
use crate::source::{Dir, FileKind, Stat, kernel_interface};

/// A folder above the named paths, or one of them.
#[derive(Clone, Default)]
pub(super) struct Root {
    pub is_named: bool,
    children: BTreeMap<Vec<u8>, Root>,
}

/// Returns the absolute form of a path, without a slash at its end, empty names and `.`; `..` is resolved by the file
/// system, and what follows it stays as it was written. One source thus has one name, however it is written.
///
/// # Errors
/// The system's, for `..` after what is no folder.
pub fn source_path(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut out = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => out = out.join("..").canonicalize()?,
            other => out.push(other),
        }
    }
    Ok(out)
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

    /// Returns what stands for `name` in this folder, if it is named or leads to something that is.
    pub fn child(&self, name: &[u8]) -> Option<&Self> {
        self.children.get(name)
    }

    /// Returns the names in this folder that are named or lead to something that is, which `listed` gets in addition.
    pub fn names(&self, listed: Names) -> Names {
        if self.children.is_empty() { listed } else { listed.with(self.children.keys().map(Vec::as_slice)) }
    }
}

impl Engine<'_> {
    /// Backs up everything named and returns the tree of `/`; none if there is nothing.
    pub fn roots(&self, root: &Root, parent: Option<&Content>) -> Result<Content> {
        let path = DirPath::named(b"/");
        if !root.is_named {
            return Ok(self.above(root, &path, parent)?.unwrap_or_default());
        }
        let dir = Dir::open(Path::new("/")).and_then(|dir| Ok((Devices::at_root(dir.stat_self()?.device), dir)));
        match dir {
            Ok((devices, dir)) => Ok(self.directory(&dir, &path, devices, parent, Some(root))?.unwrap_or_default()),
            Err(error) => {
                self.warn_io("/".into(), "open the folder", &error);
                Ok(Content::default())
            }
        }
    }

    /// Makes the tree of a folder of which only what is named is backed up; `None` if there is nothing of it.
    pub fn above(&self, root: &Root, path: &DirPath<'_>, parent: Option<&Content>) -> Result<Option<Content>> {
        let names = root.names(Names::default());
        self.folder(None, &names, path, Devices::at_root(0), parent, Some(root))
    }

    /// Backs up what is named, or leads to something that is. `dir` is the folder it was met in, if that is walked.
    pub fn rooted(&self, root: &Root, dir: Option<&Dir>, spot: Spot<'_>) -> Result<Outcome> {
        let full_path = spot.full_path();
        if root.is_named {
            return match self.named(root, &full_path, spot) {
                Ok(outcome) => outcome,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.warn(full_path, "there is no such file or folder; check the path".into());
                    Ok(Outcome::LeftOut)
                }
                Err(error) => {
                    self.warn_io(full_path, "open it", &error);
                    Ok(Outcome::LeftOut)
                }
            };
        }
        let is_dir = |dir: &&Dir| dir.stat(spot.name).is_ok_and(|stat| stat.kind == FileKind::Directory);
        if let Some(dir) = dir.filter(is_dir) {
            let outcome = self.entry(dir, spot, None, Some(root))?;
            if !matches!(outcome, Outcome::LeftOut) {
                return Ok(outcome);
            }
        }
        // The walk left it out, or there is none: what is named below is saved all the same.
        let path = spot.path.below(spot.name.to_bytes());
        let Some(content) = self.above(root, &path, content_of(spot.previous))? else { return Ok(Outcome::LeftOut) };
        Ok(spot.folder(folder_metadata(&full_path), content))
    }

    /// Backs up a path that the user named. It may be a link: what it leads to is meant.
    fn named(&self, root: &Root, path: &Path, spot: Spot<'_>) -> io::Result<Result<Outcome>> {
        let real = path.canonicalize()?;
        if self.rules.excludes_path(path, real.is_dir()) {
            self.tell(path.to_owned(), "is left out, as a pattern to exclude matches it".into());
            return Ok(Ok(Outcome::LeftOut));
        }
        if real.is_dir() {
            return self.named_directory(root, path, &real, spot);
        }
        let (folder, real_name) = match (real.parent(), real.file_name()) {
            (Some(folder), Some(name)) => (folder, CString::new(name.as_bytes())?),
            _ => return Err(io::Error::other("has no name")),
        };
        let dir = Dir::open_path(folder)?;
        let stat = dir.stat(&real_name)?;
        let refused = match stat.kind {
            FileKind::Socket => Some("is a socket, which means nothing without the process that listens; left out"),
            _ if self.rules.is_own(&stat) => Some("is the repository itself; left out"),
            _ => None,
        };
        if let Some(refused) = refused {
            self.warn(path.to_owned(), refused.into());
            return Ok(Ok(Outcome::LeftOut));
        }
        let above = path.parent().unwrap_or(Path::new("/"));
        let dir_path = DirPath::named(above.as_os_str().as_bytes());
        let real_spot = Spot { name: &real_name, path: &dir_path, devices: Devices::at_root(stat.device), ..spot };
        Ok(self.unruled_entry(&dir, real_spot, &stat).map(|outcome| match outcome {
            Outcome::Read(entry) => {
                let name = entry_name(spot.name.to_bytes(), &entry.node).to_vec();
                Outcome::of(Some(Entry { name, ..*entry }), spot.previous)
            }
            other => other,
        }))
    }

    fn named_directory(&self, root: &Root, path: &Path, real: &Path, spot: Spot<'_>) -> io::Result<Result<Outcome>> {
        let dir = Dir::open(real)?;
        let stat = dir.stat_self()?;
        let dir_path = DirPath::named(path.as_os_str().as_bytes());
        let is_mount_point = || real.parent().and_then(|above| Dir::open_path(above).ok()?.stat_self().ok());
        let refused = if stat.kind != FileKind::Directory {
            Some("is no folder any more; left out".to_owned())
        } else if self.rules.is_own(&stat) {
            Some("is the repository or its cache itself; left out".to_owned())
        } else if let Some(interface) = kernel_interface(&dir)
            && is_mount_point().is_none_or(|above| above.device != stat.device)
        {
            Some(format!(
                "is {interface}, an interface of the kernel and no folder of files; left out. Name files in it"
            ))
        } else {
            None
        };
        if let Some(refused) = refused {
            self.warn(path.to_owned(), refused);
            return Ok(match self.above(root, &dir_path, content_of(spot.previous)) {
                Ok(Some(content)) => Ok(spot.folder(folder_metadata(path), content)),
                Ok(None) => Ok(Outcome::LeftOut),
                Err(error) => Err(error),
            });
        }
        let devices = Devices::at_root(stat.device);
        let content = match self.directory(&dir, &dir_path, devices, content_of(spot.previous), Some(root)) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Ok(Outcome::LeftOut)),
            Err(error) => return Ok(Err(error)),
        };
        let metadata = self.directory_metadata(&dir, stat.metadata, || path.to_owned());
        Ok(Ok(spot.folder(metadata, content)))
    }
}

/// Returns the metadata of a folder above what is backed up. A user may look at one that he may not list; of what he may not
/// even look at nothing is known.
fn folder_metadata(path: &Path) -> Metadata {
    let known = || -> io::Result<Metadata> {
        let path = CString::new(path.canonicalize()?.into_os_string().into_vec())?;
        let stat = Stat::of_path(&path)?;
        Ok(Metadata { xattrs: path_xattrs(&path).list, ..stat.metadata })
    };
    known().unwrap_or_else(|_| Metadata::unknown())
}
