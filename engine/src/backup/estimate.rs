//! Counts what there is to do, beside the backup itself, so that progress can say how much is left.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backup::engine::{DirPath, Engine};
use crate::base::Event;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::source::{Dir, FileKind};

/// How many files are counted between two events.
const FILES_PER_EVENT: u64 = 10_000;

/// A count as it grows.
pub(super) struct Estimate<'a> {
    engine: &'a Engine<'a>,
    is_over: &'a AtomicBool,
    files: u64,
    bytes: u64,
    told: u64,
}

impl<'a> Estimate<'a> {
    /// Counts all files below `paths` until done or told that the backup is over. What cannot be read is not counted;
    /// the backup itself will say so.
    pub fn run(engine: &'a Engine<'a>, is_over: &'a AtomicBool, paths: &[impl AsRef<Path>]) {
        let mut estimate = Self { engine, is_over, files: 0, bytes: 0, told: 0 };
        for path in paths {
            let path = path.as_ref();
            if let Ok(dir) = Dir::open(path) {
                estimate.directory(&dir, &DirPath::root(path.as_os_str().as_encoded_bytes()));
            } else if let Ok(metadata) = path.metadata() {
                estimate.files += 1;
                estimate.bytes += metadata.len();
            }
        }
        estimate.tell();
    }

    fn directory(&mut self, dir: &Dir, path: &DirPath<'_>) {
        let Ok(names) = dir.names() else { return };
        for index in 0..names.len() {
            if self.is_over.load(Ordering::Relaxed) || path.depth > TREE_DEPTH_MAX {
                return;
            }
            let name = names.get(index);
            let Ok(stat) = dir.stat(name) else { continue };
            let is_dir = stat.kind == FileKind::Directory;
            if self.engine.is_excluded(path, name, is_dir) {
                continue;
            }
            if !is_dir {
                self.files += 1;
                self.bytes += if stat.kind == FileKind::File { stat.size } else { 0 };
                if self.files - self.told >= FILES_PER_EVENT {
                    self.tell();
                }
            } else if let Ok(child) = dir.open_child(name) {
                self.directory(&child, &path.below(name.to_bytes()));
            }
        }
    }

    fn tell(&mut self) {
        self.told = self.files;
        self.engine.send(&Event::Total { files: self.files, bytes: self.bytes });
    }
}
