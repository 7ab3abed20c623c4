//! Files of several names: the first of them is restored, and the others are linked to it at the end, if it then is what
//! the snapshot has. If not, each is restored for itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::base::{Event, lock};
use crate::error::{Error, Result};
use crate::format::codec::Writer;
use crate::format::tree::{Class, Entry, Metadata, Node, Timestamp};
use crate::restore::delete::Displaced;
use crate::restore::files::{Done, Spot, Step};
use crate::restore::place::{Place, Trail};
use crate::restore::run::Restore;
use crate::restore::target_dir::{LocalOwners, TargetDir};
use crate::restore::waiting::Waiter;
use crate::source::{FileKind, Stat};

/// What tells names of one file from those of another.
type LinkKey = blake3::Hash;

/// Returns what an entry has in common with the other names of the same file, if it has any.
///
/// Device and inode alone would not do: an entry may have been taken over from a snapshot of another day, when the system
/// had numbered its devices in another way. So all must agree that is restored. The time of the last change of metadata is
/// no part of it: each link that is made while a backup runs changes it. Neither is what is only told.
fn key(entry: &Entry) -> Option<LinkKey> {
    entry.metadata.link_device?;
    let node = match &entry.node {
        Node::File { content, .. } => Node::File { content: content.clone(), class: Class::General, capture: None },
        other => other.clone(),
    };
    let metadata = Metadata {
        ctime: Timestamp::default(),
        birth: None,
        crypt_header: None,
        other: Vec::new(),
        ..entry.metadata.clone()
    };
    let mut record = Writer::default();
    Entry { name: Vec::new(), metadata, node }.write(&mut record);
    Some(blake3::hash(&record.finish()))
}

/// The name of a file that the others are linked to.
#[derive(Clone)]
struct First {
    trail: Arc<Trail>,
    name: Vec<u8>,
    /// Device and inode at the target.
    file: (u64, u64),
    /// Whether it has what the snapshot has; if not, it was there and stayed, and may have.
    is_known: bool,
}

/// Another name of a file that is restored elsewhere.
struct LaterLink {
    trail: Arc<Trail>,
    path: PathBuf,
    entry: Entry,
    owners: LocalOwners,
    /// Whether its folder gets the metadata that the snapshot has, so that nothing may show in its times.
    keeps_times: bool,
    companions: Vec<Vec<u8>>,
    key: LinkKey,
}

/// The files of several names that a restore met.
#[derive(Default)]
pub(super) struct Links {
    /// `None` as long as the first one is at work, and for good if it failed.
    firsts: Mutex<HashMap<LinkKey, Option<First>>>,
    later: Mutex<Vec<LaterLink>>,
}

impl Links {
    /// Returns whether this is the first name that is met of a file.
    fn begin(&self, key: LinkKey) -> bool {
        match lock(&self.firsts).entry(key) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert(None);
                true
            }
        }
    }

    fn first(&self, key: &LinkKey) -> Option<First> {
        lock(&self.firsts).get(key).cloned().flatten()
    }

    /// Notes what others can be linked to, unless something as good is known.
    fn note(&self, key: LinkKey, first: First) {
        let mut firsts = lock(&self.firsts);
        let slot = firsts.entry(key).or_default();
        if slot.as_ref().is_none_or(|other| first.is_known && !other.is_known) {
            *slot = Some(first);
        }
    }

    fn forget(&self, key: LinkKey) {
        lock(&self.firsts).insert(key, None);
    }
}

impl Restore<'_> {
    /// Restores anything but a directory, or leaves it for the end if another name of the same file comes first.
    pub fn file_or_link(&self, entry: &Entry, place: &Place<'_>, owners: &LocalOwners) -> Result<()> {
        // Where nothing is made, or each is sealed under a name of its own, there is nothing to link to: each name stands for itself.
        let makes = !self.options.dry_run && self.taker.is_none() && self.seal_of(entry).is_none();
        let Some(key) = makes.then(|| key(entry)).flatten() else { return self.leaf(entry, place, owners).map(drop) };
        if self.links.begin(key) {
            let done = self.leaf(entry, place, owners)?;
            return self.note_first(key, place.make()?.as_ref(), place.trail(), &entry.name, done);
        }
        // The folder is made now, since it gets its metadata before the link is made.
        place.make()?;
        lock(&self.links.later).push(LaterLink {
            trail: place.trail(),
            path: place.join(&entry.name),
            entry: entry.clone(),
            owners: owners.clone(),
            keeps_times: place.gets_metadata(),
            companions: self.companions(entry, place),
            key,
        });
        Ok(())
    }

    fn note_first(&self, key: LinkKey, dir: &TargetDir, trail: Arc<Trail>, name: &[u8], done: Done) -> Result<()> {
        let file = match done.identity {
            Some(file) => Some(file),
            None => dir.stat(name)?.map(|found| found.identity()),
        };
        if let Some(file) = file {
            self.links.note(key, First { trail, name: name.to_vec(), file, is_known: done.is_known });
        }
        Ok(())
    }

    /// Makes the other links, now that every first one is there or failed.
    pub fn link_later(&self) -> Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        for link in std::mem::take(&mut *lock(&self.links.later)) {
            self.check_cancel()?;
            let outcome = self.later(root, &link);
            self.unless_fatal(|| link.path.clone(), outcome)?;
        }
        Ok(())
    }

    fn later(&self, root: &TargetDir, link: &LaterLink) -> Result<()> {
        let folder = link.trail.reopen(root)?;
        // The folder has its metadata already; what is done in it now must not show in it.
        let before = folder.begin_change()?;
        let outcome = self.link_or_restore(root, &folder, link);
        outcome.and(if link.keeps_times { folder.end_change(&before) } else { folder.leave() })
    }

    fn link_or_restore(&self, root: &TargetDir, folder: &TargetDir, link: &LaterLink) -> Result<()> {
        let name = link.entry.name.as_slice();
        let path = || link.path.clone();
        let step = self.step(&link.entry, folder.stat(name)?, path)?;
        let mut refused = None;
        if !matches!(step, Step::Keep)
            && let Some((first_folder, first)) = self.usable_first(root, link)?
        {
            match self.link(folder, &step, (&first_folder, &first), link) {
                Err(Error::File { action, source, .. }) if source.kind() != io::ErrorKind::StorageFull => {
                    // There are file systems without hard links, and limits of how many a file may have.
                    self.links.forget(link.key);
                    refused = Some(format!("restored as a file of its own: {action}: {source}"));
                }
                outcome => return outcome,
            }
        }
        let spot = Spot {
            path: &path,
            dir: folder,
            trail: &|| Arc::clone(&link.trail),
            keeps_times: link.keeps_times,
            is_nursery: false,
            owners: &link.owners,
            companions: &|| link.companions.clone(),
        };
        let done = self.put(&link.entry, &step, spot)?;
        // The next one may be linked to it.
        self.commit_waiting()?;
        if let Some(reason) = refused {
            self.warn(&link.path, reason);
        }
        self.note_first(link.key, folder, Arc::clone(&link.trail), name, done)
    }

    /// Returns the first name and its folder, if what is there now is what the snapshot has.
    fn usable_first(&self, root: &TargetDir, link: &LaterLink) -> Result<Option<(TargetDir, First)>> {
        let Some(mut first) = self.links.first(&link.key) else { return Ok(None) };
        let opened = first.trail.reopen(root).and_then(|folder| Ok((folder.stat(&first.name)?, folder)));
        if let Ok((Some(found), folder)) = opened
            && found.identity() == first.file
            && (first.is_known || self.is_as_stored(&folder, &first.name, &found, link)?)
        {
            first.is_known = true;
            self.links.note(link.key, first.clone());
            return Ok(Some((folder, first)));
        }
        self.links.forget(link.key);
        Ok(None)
    }

    /// Returns whether a file that was kept is in all respects what a restore would make: to link to it is no better.
    fn is_as_stored(&self, folder: &TargetDir, name: &[u8], found: &Stat, link: &LaterLink) -> Result<bool> {
        let Node::File { content, .. } = &link.entry.node else { return Ok(false) };
        let wanted = &link.entry.metadata;
        let seems_so = found.kind == FileKind::File
            && found.size == content.bytes()
            && found.metadata.mtime == wanted.mtime
            && found.metadata.mode == wanted.mode
            && self.applier.is_owner(&found.metadata, wanted, &link.owners);
        let compare = |path: &Path| Ok(self.difference(&folder.open_for_read(name)?, content, path)?.is_none());
        match seems_so.then(|| compare(&folder.path_of(name))) {
            Some(Err(Error::Cancelled)) => Err(Error::Cancelled),
            // One that cannot be read is not known, and what the snapshot has is read once more to restore the link.
            Some(outcome) => Ok(outcome.unwrap_or(false)),
            None => Ok(false),
        }
    }

    fn link(
        &self,
        folder: &TargetDir,
        step: &Step,
        (first_folder, first): (&TargetDir, &First),
        link: &LaterLink,
    ) -> Result<()> {
        let (entry, bytes) = (&link.entry, link.entry.node.file_bytes());
        match step {
            Step::Replace { file, .. } if *file == first.file => self.kept(bytes),
            // What is there stays until the link is made and on disk.
            Step::Replace { kind, .. } => {
                let linked = |temporary: &[u8]| folder.link(temporary, first_folder, &first.name);
                let new = folder.make_replacement(&entry.name, linked)?;
                self.send(&Event::Progress { files: 1, bytes });
                let is_folder = *kind == FileKind::Directory;
                self.let_wait(Waiter {
                    trail: Arc::clone(&link.trail),
                    keeps_times: link.keeps_times,
                    path: link.path.clone(),
                    bytes,
                    device: first.file.0,
                    displaced: is_folder.then(|| Displaced { name: entry.name.clone() }),
                    companions: link.companions.clone(),
                    waiting: new.wait(),
                })?;
            }
            Step::Create | Step::Keep => {
                if !folder.link(&entry.name, first_folder, &first.name)? {
                    return Err(Self::in_the_way(link.path.clone()));
                }
                self.remove_companions(&link.companions, folder, &link.path)?;
                self.done(bytes, 0);
            }
        }
        Ok(())
    }
}
