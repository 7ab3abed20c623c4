//! Counts what there is to do, beside the backup itself, so that progress can say how much is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backup::roots::Root;
use crate::backup::rules::{Devices, Rules};
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{DirPath, Event, Observer, lock};
use crate::source::names::Names;
use crate::source::{Dir, FileKind, Stat};

/// How many files are counted between two events.
const FILES_PER_EVENT: u64 = 10_000;

/// A count that goes on in a thread of its own. Nobody waits for that thread: a file system that hangs may hold it for ever.
pub(super) struct Estimate {
    shared: Arc<Shared>,
}

struct Shared {
    observer: Arc<dyn Observer>,
    is_over: AtomicBool,
    /// Held while totals are told, so that none follows the last.
    telling: std::sync::Mutex<()>,
}

impl Shared {
    fn tell(&self, files: u64, bytes: u64) {
        let _telling = lock(&self.telling);
        if !self.is_over.load(Ordering::Relaxed) {
            self.observer.event(&Event::Total { files, bytes });
        }
    }
}

impl Estimate {
    /// Begins to count what a backup by `rules` of what is named saves. What cannot be read is not counted; the backup itself
    /// will say so.
    pub fn start(rules: Arc<Rules>, root: Arc<Root>, observer: Arc<dyn Observer>) -> Self {
        let shared = Arc::new(Shared { observer, is_over: AtomicBool::new(false), telling: std::sync::Mutex::new(()) });
        let counting = Arc::clone(&shared);
        let count = move || {
            let mut count = Count { rules: &rules, shared: &counting, files: 0, bytes: 0, told: 0 };
            if root.is_named {
                count.named_directory(&root, Path::new("/"));
            } else {
                count.above(&root, &DirPath::named(b"/"));
            }
            count.tell();
        };
        // Without a thread there is no total, and the backup is made all the same.
        let _ = std::thread::Builder::new().name("estimate".into()).stack_size(STACK_BYTES).spawn(count);
        Self { shared }
    }

    /// Ends the count, and tells what was found in fact.
    pub fn end(self, files: u64, bytes: u64) {
        self.shared.tell(files, bytes);
        let _telling = lock(&self.shared.telling);
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// Directories nest on the thread's stack; only what is used of it takes memory.
const STACK_BYTES: usize = 16 << 20;

struct Count<'a> {
    rules: &'a Rules,
    shared: &'a Shared,
    files: u64,
    bytes: u64,
    told: u64,
}

impl Count<'_> {
    fn above(&mut self, root: &Root, path: &DirPath<'_>) {
        let names = root.names(Names::default());
        for index in 0..names.len() {
            let name = names.get(index);
            if let Some(child) = root.child(name.to_bytes()) {
                self.rooted(child, path.join(name.to_bytes()));
            }
        }
    }

    fn rooted(&mut self, root: &Root, path: PathBuf) {
        if !root.is_named {
            return self.above(root, &DirPath::named(path.as_os_str().as_encoded_bytes()));
        }
        let Ok(metadata) = path.metadata() else { return };
        if self.rules.excludes_path(&path, metadata.is_dir()) {
            return;
        }
        if metadata.is_dir() {
            self.named_directory(root, &path);
        } else {
            self.file(metadata.len());
        }
    }

    fn named_directory(&mut self, root: &Root, path: &Path) {
        let opened = Dir::open(path).and_then(|dir| Ok((dir.stat_self()?, dir)));
        let Ok((stat, dir)) = opened else { return };
        if !self.rules.is_own(&stat) {
            let path = DirPath::named(path.as_os_str().as_encoded_bytes());
            self.directory(&dir, &path, Devices::at_root(stat.device), Some(root));
        }
    }

    fn directory(&mut self, dir: &Dir, path: &DirPath<'_>, devices: Devices, named: Option<&Root>) {
        let Ok(names) = dir.names() else { return };
        for index in 0..names.len() {
            if self.shared.is_over.load(Ordering::Relaxed) || path.depth > TREE_DEPTH_MAX {
                return;
            }
            let name = names.get(index);
            let child = named.and_then(|root| root.child(name.to_bytes()));
            if let Some(child) = child.filter(|child| child.is_named) {
                self.rooted(child, path.join(name.to_bytes()));
                continue;
            }
            let Ok(stat) = dir.stat(name) else { continue };
            let is_dir = stat.kind == FileKind::Directory;
            let is_left_out = stat.kind == FileKind::Socket || self.rules.is_own(&stat);
            if is_left_out || self.rules.excludes(path, name, is_dir) {
                continue;
            }
            if !is_dir {
                self.non_directory(&stat);
            } else if !self.rules.is_elsewhere(&stat, devices)
                && let Ok(opened) = dir.open_child(name)
                && self.rules.empties(&opened, &stat, devices).is_none()
            {
                self.directory(&opened, &path.below(name.to_bytes()), devices.below(stat.device), child);
            }
        }
    }

    fn non_directory(&mut self, stat: &Stat) {
        if stat.kind != FileKind::File {
            self.file(0);
        } else if !self.rules.is_too_large(stat) {
            self.file(stat.size);
        }
    }

    fn file(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if self.files - self.told >= FILES_PER_EVENT {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.told = self.files;
        self.shared.tell(self.files, self.bytes);
    }
}
