//! What a backup leaves out: one set of rules for the walk and for its estimate.

use std::ffi::CStr;
use std::path::Path;

use crate::backup::options::BackupOptions;
use crate::base::DirPath;
use crate::source::{Dir, Patterns, Stat, is_cache_dir, kernel_interface};

/// The device of the named folder that a walk began at, and of the folder in which it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Devices {
    pub root: u64,
    pub here: u64,
}

impl Devices {
    /// Returns the devices at a named folder.
    pub const fn at_root(device: u64) -> Self {
        Self { root: device, here: device }
    }

    /// Returns the devices in a folder on `device` below.
    pub const fn below(self, device: u64) -> Self {
        Self { here: device, ..self }
    }
}

/// Why a folder is saved without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    /// The user asked for it.
    Asked,
    /// What is in it are no files but an interface of the kernel.
    KernelInterface(&'static str),
}

/// The rules of one backup.
pub(super) struct Rules {
    /// What is left out by name.
    pub exclude: Patterns,
    exclude_caches: bool,
    exclude_if_present: Vec<std::ffi::CString>,
    exclude_larger_than: Option<u64>,
    one_file_system: bool,
    /// Device and inode of the repository and its cache.
    own_files: Vec<(u64, u64)>,
}

impl Rules {
    /// Takes the rules from the options.
    pub fn new(options: &BackupOptions, own_files: &[(u64, u64)]) -> Self {
        Self {
            exclude: options.exclude.fresh(),
            exclude_caches: options.exclude_caches,
            exclude_if_present: options.exclude_if_present.clone(),
            exclude_larger_than: options.exclude_larger_than,
            one_file_system: options.one_file_system,
            own_files: own_files.to_vec(),
        }
    }

    /// Returns whether a pattern leaves out `name` in the folder at `path`.
    pub fn excludes(&self, path: &DirPath<'_>, name: &CStr, is_dir: bool) -> bool {
        !self.exclude.is_empty() && self.excludes_path(&path.join(name.to_bytes()), is_dir)
    }

    /// Returns whether a pattern leaves out `path`.
    pub fn excludes_path(&self, path: &Path, is_dir: bool) -> bool {
        self.exclude.excludes(path, is_dir)
    }

    /// Returns whether this is the repository itself or its cache.
    pub fn is_own(&self, stat: &Stat) -> bool {
        self.own_files.contains(&stat.identity())
    }

    /// Returns whether a file is longer than the user wants.
    pub fn is_too_large(&self, stat: &Stat) -> bool {
        self.exclude_larger_than.is_some_and(|bytes| stat.size > bytes)
    }

    /// Returns whether a folder lies on another file system, which is to be left out.
    pub fn is_elsewhere(&self, stat: &Stat, devices: Devices) -> bool {
        self.one_file_system && stat.device != devices.root
    }

    /// Returns why the folder `child`, met in a walk, is saved without what is in it, if it is.
    pub fn empties(&self, child: &Dir, stat: &Stat, devices: Devices) -> Option<Emptied> {
        if stat.device != devices.here
            && let Some(name) = kernel_interface(child)
        {
            return Some(Emptied::KernelInterface(name));
        }
        let is_asked = (self.exclude_caches && is_cache_dir(child))
            || self.exclude_if_present.iter().any(|name| child.stat(name).is_ok());
        is_asked.then_some(Emptied::Asked)
    }
}
