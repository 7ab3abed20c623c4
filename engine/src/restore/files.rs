//! Restores one file, link or device: first what is to be done, which a dry run tells too, then that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::Event;
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::tree::{CaptureKind, Class, Entry, Node};
use crate::restore::delete::Displaced;
use crate::restore::options::Overwrite;
use crate::restore::place::{Place, Trail};
use crate::restore::run::Restore;
use crate::restore::sealed::Seal;
use crate::restore::taker::Taker;
use crate::restore::target_dir::{LocalOwners, Replacement, TargetDir};
use crate::restore::waiting::Waiter;
use crate::source::{FileKind, Stat, database};

/// Where something is restored: its path in the snapshot, the folder at the target, and who its owners are there.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    pub path: &'a dyn Fn() -> PathBuf,
    pub dir: &'a TargetDir,
    pub trail: &'a dyn Fn() -> Arc<Trail>,
    /// Whether the folder gets the metadata that the snapshot has.
    pub keeps_times: bool,
    /// Whether the folder has a temporary name, so that nothing in it needs one.
    pub is_nursery: bool,
    pub owners: &'a LocalOwners,
    /// Names of logs that do not belong to what is restored.
    pub companions: &'a dyn Fn() -> Vec<Vec<u8>>,
}

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// What is there stays.
    Keep,
    /// Nothing is there.
    Create,
    /// What is there is replaced.
    Replace {
        /// What it is.
        kind: FileKind,
        /// Its device and inode.
        file: (u64, u64),
    },
}

/// What was done with an entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Whether what the snapshot has is known to be at the target now, or will be when it waited; it is not if what was
    /// there stayed.
    pub is_known: bool,
    /// Device and inode of what was made, where they were learnt on the way.
    pub identity: Option<(u64, u64)>,
}

impl Restore<'_> {
    /// Returns whether a file that is at the target already stays.
    pub fn keeps(&self, existing: &Stat, entry: &Entry) -> bool {
        match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::Always => false,
            Overwrite::IfChanged => {
                let bytes = entry.node.content().map_or(0, Content::bytes);
                // Of a database in use, length and time tell less than what lay beside it.
                let is_file = matches!(entry.node, Node::File { capture: None, .. });
                is_file
                    && existing.kind == FileKind::File
                    && existing.size == bytes
                    && existing.metadata.mtime == entry.metadata.mtime
            }
        }
    }

    /// Returns what is to be done with an entry, given what is at its place.
    ///
    /// # Errors
    /// `UnsafeTarget` if a folder is in the way.
    pub fn step(&self, entry: &Entry, found: Option<Stat>, path: impl FnOnce() -> PathBuf) -> Result<Step> {
        match found {
            None => Ok(Step::Create),
            Some(found) if self.keeps(&found, entry) => Ok(Step::Keep),
            Some(found) if found.kind == FileKind::Directory && !self.options.delete => {
                let reason = "a folder is where a file is to be: remove it, or choose an empty target";
                Err(Error::UnsafeTarget { path: path(), reason: reason.into() })
            }
            Some(found) => Ok(Step::Replace { kind: found.kind, file: found.identity() }),
        }
    }

    /// Restores anything but a directory.
    pub fn leaf(&self, entry: &Entry, place: &Place<'_>, owners: &LocalOwners) -> Result<Done> {
        if let Some(taker) = self.taker {
            return self.give(taker, entry, place).map(|()| Done::default());
        }
        let path = || place.join(&entry.name);
        let at = place.enter()?;
        let seal = self.seal_of(entry);
        let name = seal.as_ref().map_or(entry.name.as_slice(), Seal::name);
        let step = self.step(entry, at.find(name)?, path)?;
        let dir = match &at.dir {
            Some(dir) if !self.options.dry_run => dir,
            _ => return self.tell(&step, (entry, name), at.dir.as_deref()).map(|()| Done::default()),
        };
        let spot = Spot {
            path: &path,
            dir,
            trail: &|| place.trail(),
            keeps_times: place.gets_metadata(),
            is_nursery: at.is_nursery,
            owners,
            companions: &|| self.companions(entry, place),
        };
        match seal {
            Some(seal) if self.sealed(entry, &step, spot, &seal)? => Ok(Done::default()),
            Some(_) => self.put(entry, &self.step(entry, at.find(&entry.name)?, path)?, spot),
            None => self.put(entry, &step, spot),
        }
    }

    /// Counts what a run would do.
    fn tell(&self, step: &Step, (entry, name): (&Entry, &[u8]), dir: Option<&TargetDir>) -> Result<()> {
        let bytes = entry.node.file_bytes();
        match step {
            Step::Keep => self.kept(bytes),
            Step::Create => self.done(bytes, 0),
            Step::Replace { kind, .. } => {
                if let (FileKind::Directory, Some(dir)) = (*kind, dir) {
                    self.remove_displaced(dir, &Displaced { name: name.to_vec() })?;
                }
                self.done(bytes, 0);
            }
        }
        Ok(())
    }

    /// Restores anything but a directory into a folder.
    pub fn put(&self, entry: &Entry, step: &Step, spot: Spot<'_>) -> Result<Done> {
        match &entry.node {
            Node::File { content, class, .. } => {
                let done = loop {
                    let commits = self.commits.load(Ordering::Relaxed);
                    match self.file(entry, (content, *class), step, spot) {
                        // What waits takes the space twice; without it there may be enough.
                        Err(Error::File { source, .. })
                            if source.kind() == io::ErrorKind::StorageFull
                                && (self.commit_waiting()? || commits != self.commits.load(Ordering::Relaxed)) => {}
                        outcome => break outcome?,
                    }
                };
                if done.is_known {
                    self.set_flags_later(spot.trail, &entry.name, entry.metadata.flags);
                }
                Ok(done)
            }
            _ => self.special(entry, step, spot),
        }
    }

    /// Gives a file to a taker; anything else is well if its tree could be read.
    fn give(&self, taker: &dyn Taker, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let Node::File { content, class, .. } = &entry.node else { return Ok(()) };
        let path = place.join(&entry.name);
        let data_bytes = self.pieces.data_bytes(&self.reader, content, &|_, _| self.check_cancel())?;
        taker.take(&path, entry, data_bytes, &|output| {
            let told = self.write(output, content, *class, &path)?;
            self.done(content.bytes(), told);
            Ok(())
        })
    }

    /// Counts a file of `bytes` bytes, of which `told` were sent as progress before.
    pub fn done(&self, bytes: u64, told: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes: bytes.saturating_sub(told) });
    }

    pub fn kept(&self, bytes: u64) {
        self.files_kept.fetch_add(1, Ordering::Relaxed);
        self.send(&Event::Progress { files: 1, bytes });
    }

    fn file(&self, entry: &Entry, (content, class): (&Content, Class), step: &Step, spot: Spot<'_>) -> Result<Done> {
        let Spot { path, dir, .. } = spot;
        let name = entry.name.as_slice();
        self.check_fits(content, dir, path)?;
        if matches!(step, Step::Keep) {
            self.kept(content.bytes());
            if self.options.verify {
                self.verify(&dir.open_for_read(name)?, content, &path())?;
            }
            return Ok(Done::default());
        }
        if spot.is_nursery {
            // The name is not what the user looks at: the folder has a temporary one.
            let file = dir.create_file(name)?.ok_or_else(|| Self::in_the_way(path()))?;
            return match self.fill(&file, entry, (content, class), spot) {
                Ok(told) => {
                    self.done(content.bytes(), told);
                    Ok(Done { is_known: true, identity: None })
                }
                Err(error) => {
                    let _ = dir.remove_non_dir(name);
                    Err(error)
                }
            };
        }
        let new = dir.create_replacement(name)?;
        let told = self.fill(new.file(), entry, (content, class), spot)?;
        let identity = Some(new.identity());
        self.finish(new, entry.node.file_bytes(), step, spot, told)?;
        Ok(Done { is_known: true, identity })
    }

    /// Writes a new file and gives it its metadata; returns how many bytes were sent as progress. If the bytes are to be
    /// read back, they are read through the descriptor that they were written by, which no permissions forbid.
    fn fill(
        &self,
        file: &File,
        entry: &Entry,
        (content, class): (&Content, Class),
        Spot { path, dir, owners, .. }: Spot<'_>,
    ) -> Result<u64> {
        if entry.metadata.flags != 0 {
            self.set_flags(file, entry.metadata.flags);
        }
        let told = self.write(file, content, class, &path())?;
        for problem in self.applier.new_file(dir, file, &entry.metadata, owners) {
            self.warn(&path(), problem.to_string());
        }
        if self.options.verify {
            self.verify_new(file, content, &path())?;
        }
        Ok(told)
    }

    /// Gives what is whole its name, or lets it wait for that if something else has to go.
    pub fn finish<T>(&self, new: Replacement<'_, T>, bytes: u64, step: &Step, spot: Spot<'_>, told: u64) -> Result<()> {
        let companions = (spot.companions)();
        if let Step::Replace { kind, .. } = step {
            let is_folder = *kind == FileKind::Directory;
            let waiter = Waiter {
                trail: (spot.trail)(),
                keeps_times: spot.keeps_times,
                path: (spot.path)(),
                bytes,
                device: new.identity().0,
                displaced: is_folder.then(|| Displaced { name: new.name().to_vec() }),
                companions,
                waiting: new.wait(),
            };
            self.send(&Event::Progress { files: 1, bytes: bytes.saturating_sub(told) });
            self.let_wait(waiter)?;
        } else {
            new.place()?;
            self.remove_companions(&companions, spot.dir, &(spot.path)())?;
            self.done(bytes, told);
        }
        Ok(())
    }

    /// Returns the names beside a database where SQLite would look for a log, without those that the snapshot has itself: a
    /// log that lies there belongs to another state, and SQLite would change the restored one by it.
    pub fn companions(&self, entry: &Entry, place: &Place<'_>) -> Vec<Vec<u8>> {
        let Node::File { class, capture, .. } = &entry.node else { return Vec::new() };
        let is_captured = capture.is_some_and(|capture| capture.kind == CaptureKind::Sqlite);
        if place.is_new() || !is_captured && *class != Class::Sqlite {
            return Vec::new();
        }
        let names = database::SUFFIXES.iter().map(|suffix| [&entry.name, suffix.as_bytes()].concat());
        names.filter(|name| !place.has_entry(name)).collect()
    }

    /// Removes logs of SQLite's beside a database that is whole at its place. What is not SQLite's stays, and so does all if
    /// nothing may be overwritten.
    pub fn remove_companions(&self, names: &[Vec<u8>], dir: &TargetDir, path: &Path) -> Result<()> {
        for name in names {
            let found = match dir.stat(name) {
                // With a longer name it could not be there.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::InvalidFilename => None,
                found => found?,
            };
            if found.is_none_or(|found| found.kind != FileKind::File)
                || !database::is_companion(name, &dir.open_for_read(name)?)
                    .map_err(|error| dir.error(name, "looking at it", error))?
            {
                continue;
            }
            if self.options.overwrite == Overwrite::Never {
                let log =
                    path.with_file_name(std::os::unix::ffi::OsStrExt::from_bytes(name.as_slice()) as &std::ffi::OsStr);
                let message = "is a log of another state of the database beside it, and SQLite would apply it: move it away \
                               before the database is opened";
                self.warn(&log, message.into());
            } else {
                dir.remove_non_dir(name)?;
            }
        }
        Ok(())
    }

    /// Refuses a file that the target's file system could not hold if it were empty: a few chunk lists that repeat one
    /// another can stand for more than all the disks there are, and would fill this one before that shows.
    pub fn check_fits(&self, content: &Content, dir: &TargetDir, path: &dyn Fn() -> PathBuf) -> Result<()> {
        // Without lists there are 16 MiB of data at most.
        if content.level == 0 {
            return Ok(());
        }
        let Some(disk) = dir.disk_bytes().filter(|&disk| disk < content.bytes()) else { return Ok(()) };
        let bytes = self.pieces.data_bytes(&self.reader, content, &|_, _| self.check_cancel())?;
        if bytes <= disk {
            return Ok(());
        }
        let reason = format!(
            "holds {bytes} bytes of data, more than the {disk} bytes of the target's whole file system; not restored. \
             Restore it to a larger one"
        );
        Err(Error::LimitExceeded { object: path().display().to_string(), reason })
    }

    fn special(&self, entry: &Entry, step: &Step, spot: Spot<'_>) -> Result<Done> {
        let Spot { path, dir, owners, .. } = spot;
        let name = entry.name.as_slice();
        let make = |name: &[u8]| match &entry.node {
            Node::Symlink { target } => dir.symlink(name, target),
            Node::Fifo => dir.make_fifo(name),
            Node::CharDevice { device } => dir.make_device(name, false, *device),
            Node::BlockDevice { device } => dir.make_device(name, true, *device),
            Node::File { .. } | Node::Directory { .. } => Ok(false),
        };
        let apply = |name: &[u8]| -> Result<()> {
            let is_symlink = matches!(entry.node, Node::Symlink { .. });
            for problem in self.applier.other(dir, name, &entry.metadata, owners, is_symlink)? {
                self.warn(&path(), problem.to_string());
            }
            Ok(())
        };
        if matches!(step, Step::Keep) {
            self.kept(0);
            return Ok(Done::default());
        }
        if spot.is_nursery {
            if !make(name)? {
                return Err(Self::in_the_way(path()));
            }
            apply(name)?;
            self.done(0, 0);
            return Ok(Done { is_known: true, identity: None });
        }
        let new = dir.make_replacement(name, make)?;
        apply(new.temporary())?;
        let identity = Some(new.identity());
        self.finish(new, 0, step, spot, 0)?;
        Ok(Done { is_known: true, identity })
    }

    /// Makes the error for something that was not there a moment ago.
    pub fn in_the_way(path: PathBuf) -> Error {
        let reason = "something was put in its place during the restore; run it again".into();
        Error::UnsafeTarget { path, reason }
    }
}
