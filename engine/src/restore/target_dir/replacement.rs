//! What is made under a temporary name and gets its own once it is whole.

use std::fs::File;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, RenameFlags, fstat, mkdirat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::TargetDir;
use super::dir::Opening;
use super::temporary::temporary_name;
use crate::error::Error;
use crate::source::Stat;

/// Something new under a temporary name, in the directory where it is to be: a `File`, or whatever else has a name.
/// Dropped without [`place`](Self::place), [`commit`](Self::commit) or [`wait`](Self::wait), it is removed, and what has
/// its name stays.
#[derive(Debug)]
pub struct Replacement<'a, T> {
    dir: &'a TargetDir,
    name: Vec<u8>,
    temporary: Vec<u8>,
    /// Device and inode.
    id: (u64, u64),
    new: T,
    is_done: bool,
}

/// Something that is whole and waits under its temporary name until it is on disk.
#[derive(Debug)]
pub struct Waiting {
    name: Vec<u8>,
    temporary: Vec<u8>,
    /// Device and inode.
    id: (u64, u64),
}

/// A new folder under a temporary name, to be filled with files.
#[derive(Debug)]
pub struct Nursery {
    temporary: Vec<u8>,
}

impl TargetDir {
    /// Begins a file that replaces `name` when it is whole; until then the old one stays.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn create_replacement(&self, name: &[u8]) -> Result<Replacement<'_, File>, Error> {
        self.replacement(name, |temporary| {
            let Some(file) = self.create_file(temporary)? else { return Ok(None) };
            // Where there are no such locks, what is left stays.
            let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            let stat = fstat(&file).map_err(|error| self.error(name, "looking at the file just made", error))?;
            Ok(Some((Stat::of(&stat).identity(), file)))
        })
    }

    /// Makes something other than a new file that replaces `name`; until it is committed the old one stays. `make` makes
    /// it under the name that it is given, or returns `false` if something of that name is there.
    ///
    /// # Errors
    /// What `make` returns, and [`Error::File`] for what the system refuses.
    pub fn make_replacement(
        &self,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<Replacement<'_, ()>, Error> {
        self.replacement(name, |temporary| {
            let found = if make(temporary)? { self.stat(temporary)? } else { None };
            Ok(found.map(|found| (found.identity(), ())))
        })
    }

    fn replacement<T>(
        &self,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<Option<((u64, u64), T)>, Error>,
    ) -> Result<Replacement<'_, T>, Error> {
        self.check(name)?;
        let found = self.aside(name, make, |(temporary, (id, new))| {
            let new = Replacement { dir: self, name: name.to_vec(), temporary, id, new, is_done: false };
            // Another restore may have taken it for what is left, before it was locked.
            new.has_its_name().then_some(new)
        })?;
        found.ok_or_else(|| self.error(name, "finding a temporary name beside it", Errno::EXIST))
    }

    /// Makes something under the first temporary name for `name` that is free, or was left by a restore that was killed.
    fn aside<T, U>(
        &self,
        name: &[u8],
        make: impl Fn(&[u8]) -> Result<Option<T>, Error>,
        accept: impl Fn((Vec<u8>, T)) -> Option<U>,
    ) -> Result<Option<U>, Error> {
        for number in 0u64..1 << 20 {
            let temporary = temporary_name(name, number);
            let mut made = make(&temporary)?;
            if made.is_none() && self.is_left(&temporary) && self.remove_one_left(&temporary).is_ok() {
                made = make(&temporary)?;
            }
            if let Some(accepted) = made.and_then(|made| accept((temporary, made))) {
                return Ok(Some(accepted));
            }
        }
        Ok(None)
    }

    /// Makes the folder `name` under a temporary name, for its owner alone.
    ///
    /// # Errors
    /// [`Error::File`] for what the system refuses.
    pub fn make_nursery(&self, name: &[u8], mode: Mode) -> Result<(Self, Nursery), Error> {
        self.check(name)?;
        let make = |temporary: &[u8]| match mkdirat(self.fd(), temporary, mode) {
            Ok(()) => Ok(Some(())),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(self.error(name, "making the folder", error)),
        };
        let found = self.aside(name, make, |(temporary, ())| Some(temporary))?;
        let temporary = found.ok_or_else(|| self.error(name, "finding a temporary name beside it", Errno::EXIST))?;
        let opened = self.open_dir(&temporary, Opening::Enter)?;
        let mut dir = opened.ok_or_else(|| self.error(name, "opening the folder just made", Errno::NOENT))?;
        dir.set_path(self.path_of(name));
        // Where there are no such locks, what is left stays.
        let _ = rustix::fs::flock(dir.fd(), FlockOperation::NonBlockingLockExclusive);
        Ok((dir, Nursery { temporary }))
    }

    /// Gives a folder its name, at which nothing may be.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if something is there by now.
    pub fn place_nursery(&self, nursery: &Nursery, name: &[u8]) -> Result<(), Error> {
        self.rename_to_free(&nursery.temporary, name)
    }

    /// Renames something to a name that nothing may have.
    fn rename_to_free(&self, temporary: &[u8], name: &[u8]) -> Result<(), Error> {
        let in_the_way = || self.unsafe_target(name, "something was put in its place during the restore; run it again");
        let outcome = match renameat_with(self.fd(), temporary, self.fd(), name, RenameFlags::NOREPLACE) {
            // There are file systems that only know how to replace.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match self.stat(name)? {
                Some(_) => Err(Errno::EXIST),
                None => renameat(self.fd(), temporary, self.fd(), name),
            },
            outcome => outcome,
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(in_the_way()),
            Err(error) => Err(self.error(name, "giving it its name", error)),
        }
    }

    fn has_named(&self, temporary: &[u8], id: (u64, u64)) -> bool {
        let named = statat(self.fd(), temporary, AtFlags::SYMLINK_NOFOLLOW);
        named.is_ok_and(|named| Stat::of(&named).identity() == id)
    }

    /// Puts what waited in the place of the old one, in one step. What stood there goes, be it a symbolic link; what that
    /// points to stays.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if a directory is in the way, or the new one is no longer there; it is removed then.
    pub fn commit(&self, waiting: &Waiting) -> Result<(), Error> {
        if !self.has_named(&waiting.temporary, waiting.id) {
            let reason = "another restore works on the same file: run one after the other";
            return Err(self.unsafe_target(&waiting.name, reason));
        }
        let outcome = match renameat(self.fd(), waiting.temporary.as_slice(), self.fd(), waiting.name.as_slice()) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR) => {
                let reason = "a folder is where a file is to be: remove it, or choose an empty target";
                Err(self.unsafe_target(&waiting.name, reason))
            }
            Err(error) => Err(self.error(&waiting.name, "putting the new file in its place", error)),
        };
        // It has that name after a success too if old and new are one file: then the system renames nothing.
        self.discard(waiting);
        outcome
    }

    /// Removes what waited.
    pub fn discard(&self, waiting: &Waiting) {
        if self.has_named(&waiting.temporary, waiting.id) {
            // If this fails, the next restore into this folder removes it.
            let _ = unlinkat(self.fd(), waiting.temporary.as_slice(), AtFlags::empty());
        }
    }
}

impl Replacement<'_, File> {
    /// Returns the new file, to be written and given its metadata before it gets its name.
    pub fn file(&self) -> &File {
        &self.new
    }
}

impl<T> Replacement<'_, T> {
    /// Returns the name that the new one is to have.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the temporary name, by which it is given its metadata before it gets its own.
    pub fn temporary(&self) -> &[u8] {
        &self.temporary
    }

    /// Returns device and inode of the new one.
    pub fn identity(&self) -> (u64, u64) {
        self.id
    }

    /// Returns whether the temporary name is still the one of what was made.
    fn has_its_name(&self) -> bool {
        self.dir.has_named(&self.temporary, self.id)
    }

    /// Gives the new one its name, at which nothing may be.
    ///
    /// # Errors
    /// [`Error::UnsafeTarget`] if something is there by now; the new one is removed then.
    pub fn place(mut self) -> Result<(), Error> {
        let outcome = self.dir.rename_to_free(&self.temporary, &self.name);
        self.is_done = outcome.is_ok();
        outcome
    }

    /// Lets the new one wait under its temporary name.
    pub fn wait(mut self) -> Waiting {
        self.is_done = true;
        Waiting { name: self.name.clone(), temporary: self.temporary.clone(), id: self.id }
    }

    /// Puts the new one in the place of the old one at once, in one step.
    ///
    /// # Errors
    /// As [`TargetDir::commit`].
    #[cfg(test)]
    pub fn commit(self) -> Result<(), Error> {
        let dir = self.dir;
        dir.commit(&self.wait())
    }
}

impl<T> Drop for Replacement<'_, T> {
    fn drop(&mut self) {
        if !self.is_done && self.has_its_name() {
            // Nobody is left to tell if this fails; the next restore into this folder removes it.
            let _ = unlinkat(self.dir.fd(), self.temporary.as_slice(), AtFlags::empty());
        }
    }
}
