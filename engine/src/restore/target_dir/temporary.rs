//! Names for what is not whole yet, and what a killed restore left under such names.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir, flock, openat, unlinkat};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::Error;
use crate::source::{FileKind, Stat};

const PREFIX: &str = ".daykeep-";
const SUFFIX: &str = ".part";
/// Digits of the hash of the name that something will have.
const HASH_DIGITS: usize = 16;
/// Digits that prove that a name was made here.
const PROOF_DIGITS: usize = 8;
/// What one call takes from the kernel.
const READ_BYTES: usize = 32 * 1024;

fn hash_of(name: &[u8]) -> String {
    blake3::hash(name).to_hex()[..HASH_DIGITS].to_owned()
}

fn proof_of(beginning: &str) -> String {
    blake3::hash(beginning.as_bytes()).to_hex()[..PROOF_DIGITS].to_owned()
}

/// Returns the temporary name of this number for what will be called `name`.
pub(super) fn temporary_name(name: &[u8], number: u64) -> Vec<u8> {
    let beginning = format!("{PREFIX}{}-{number:x}", hash_of(name));
    let proof = proof_of(&beginning);
    format!("{beginning}-{proof}{SUFFIX}").into_bytes()
}

/// What a name tells of itself.
enum Looks {
    /// It was made here.
    Ours,
    /// It may have been made by the first version of this program, for a name of this hash.
    OursIfHash(String),
    /// It is the user's.
    Users,
}

fn looks(name: &[u8]) -> Looks {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = std::str::from_utf8(name).ok();
    let Some(inner) = text.and_then(|text| text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)) else {
        return Looks::Users;
    };
    let parts: Vec<&str> = inner.split('-').collect();
    match parts[..] {
        [hash, number, proof] if proof == proof_of(&format!("{PREFIX}{hash}-{number}")) => Looks::Ours,
        [hash, number] if hash.len() == HASH_DIGITS && is_hex(hash) && is_hex(number) => {
            Looks::OursIfHash(hash.to_owned())
        }
        _ => Looks::Users,
    }
}

impl TargetDir {
    /// Returns whether a name is one that is given here to what is not whole.
    pub fn is_temporary(name: &[u8]) -> bool {
        matches!(looks(name), Looks::Ours)
    }

    /// Removes what a killed restore left in the folder. A name proves that it was made here; `snapshot_names` are what the
    /// snapshot has in this folder, and none of those is touched, whatever it is called.
    pub fn remove_left<'a>(&self, snapshot_names: impl Iterator<Item = &'a [u8]> + Clone) {
        for name in self.looking_left() {
            let is_ours = match looks(&name) {
                Looks::Ours => true,
                Looks::OursIfHash(hash) => snapshot_names.clone().any(|name| hash_of(name) == hash),
                Looks::Users => false,
            };
            if is_ours && snapshot_names.clone().all(|other| other != name) && self.is_left(&name) {
                // What cannot be removed is in nobody's way.
                let _ = self.remove_one_left(&name);
            }
        }
    }

    /// Returns the names in the folder that may be temporary ones.
    fn looking_left(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let _ = self.for_each_name(&mut |name| {
            if !matches!(looks(name), Looks::Users) {
                found.push(name.to_vec());
            }
            Ok(())
        });
        found
    }

    /// Calls `visit` with each name in the folder, in no order.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be listed, and what `visit` returns.
    pub fn for_each_name(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let failed = |error: Errno| super::file_error(self.path().to_path_buf(), "listing the folder", error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Opened anew, since where a descriptor stands in its folder is shared by its copies.
        let fd = openat(self.fd(), c".", flags, Mode::empty()).map_err(failed)?;
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                visit(&name)?;
            }
        }
        Ok(())
    }

    /// Returns whether nobody is at work with what has a temporary name: who writes in it holds a lock on it, and anything
    /// else has such a name for a moment only, or while a restore holds the lock on its whole target.
    pub(super) fn is_left(&self, temporary: &[u8]) -> bool {
        match self.stat(temporary) {
            Ok(Some(Stat { kind: FileKind::File | FileKind::Directory, .. })) => {
                let flags = OFlags::RDONLY | super::dir::OPEN_FILE;
                match openat(self.fd(), temporary, flags, Mode::empty()) {
                    Ok(opened) => flock(&opened, FlockOperation::NonBlockingLockExclusive).is_ok(),
                    // Whole, with the permissions that it is to have, so nobody writes in it.
                    Err(error) => error == Errno::ACCESS,
                }
            }
            Ok(Some(_)) => true,
            _ => false,
        }
    }

    /// Removes one that was left: a folder only with the files in it, since a restore makes nothing else in one that is not
    /// whole.
    pub(super) fn remove_one_left(&self, temporary: &[u8]) -> Result<(), Error> {
        let is_dir = self.stat(temporary)?.is_some_and(|found| found.kind == FileKind::Directory);
        if !is_dir {
            return self.remove_non_dir(temporary);
        }
        let failed = |error| self.error(temporary, "removing what an earlier restore left", error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd: OwnedFd = openat(self.fd(), temporary, flags, Mode::empty()).map_err(failed)?;
        let folder = Self::new(fd, self.path().join(OsStr::from_bytes(temporary)));
        let mut names = Vec::new();
        folder.for_each_name(&mut |name| {
            names.push(name.to_vec());
            Ok(())
        })?;
        for name in &names {
            if folder.stat(name)?.is_some_and(|found| found.kind != FileKind::File) {
                return Err(failed(Errno::NOTEMPTY));
            }
        }
        for name in &names {
            folder.remove_non_dir(name)?;
        }
        unlinkat(self.fd(), temporary, AtFlags::REMOVEDIR).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_were_made_here_are_known() {
        for (name, number) in [(b"file".as_slice(), 0), (b"\xff", 17)] {
            assert!(matches!(looks(&temporary_name(name, number)), Looks::Ours));
        }
        for name in [
            ".daykeep-notes.part",
            ".daykeep-0123456789abcdef-0-00000000.part",
            ".daykeep-x-0.part",
            ".daykeep--.part",
            ".daykeep-0123456789abcdef-0.part.txt",
            ".daykeep",
        ] {
            assert!(matches!(looks(name.as_bytes()), Looks::Users), "{name}");
        }
        assert!(matches!(looks(b".daykeep-0123456789abcdef-0.part"), Looks::OursIfHash(_)));
    }
}
