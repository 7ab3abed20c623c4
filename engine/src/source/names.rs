//! The names in one directory, in one piece of memory.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::RawDir;

use crate::format::tree::is_valid_name;
use crate::source::stat::FileKind;

/// What one call takes from the kernel: about 2,000 names.
const READ_BYTES: usize = 64 * 1024;

/// One name: where it lies in the arena, and what sorting and walking want to know without looking there.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The eight bytes after the prefix that all names share, as a number that sorts like them.
    key: u64,
    start: u32,
    /// Without the NUL.
    len: u16,
    kind: Option<FileKind>,
}

/// The names in a directory, sorted bytewise, no name twice, without `.` and `..`.
#[derive(Debug, Default)]
pub struct Names {
    /// The names in the order of the kernel, each with its NUL.
    arena: Vec<u8>,
    slots: Vec<Slot>,
}

impl Names {
    /// Reads the directory `fd` from where its cursor stands to the end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn read(fd: impl AsFd) -> io::Result<Self> {
        let mut names = Self::default();
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            // A damaged or hostile file system may show a name with a slash in it.
            if is_valid_name(entry.file_name().to_bytes()) {
                names.push(name, FileKind::of(entry.file_type()))?;
            }
        }
        names.sort();
        Ok(names)
    }

    fn push(&mut self, name: &[u8], kind: Option<FileKind>) -> io::Result<()> {
        let place = u32::try_from(self.arena.len()).ok().zip(u16::try_from(name.len() - 1).ok());
        let Some((start, len)) = place else {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the directory has more than 4 GiB of names"));
        };
        self.arena.extend_from_slice(name);
        self.slots.push(Slot { key: 0, start, len, kind });
        Ok(())
    }

    /// Sorts the names. The names of a directory often share a long prefix (`IMG-2024…`), so the eight bytes after it
    /// are what tells most of them apart, and the rest is compared only where those agree.
    fn sort(&mut self) {
        let Self { arena, slots } = self;
        let name = |slot: &Slot| name_in(arena, slot);
        let Some(first) = slots.first().map(name) else { return };
        let shared = slots.iter().fold(first.len(), |shared, slot| common_prefix(&first[..shared], name(slot)));
        for slot in slots.iter_mut() {
            slot.key = key_of(&name_in(arena, slot)[shared..]);
        }
        slots.sort_unstable_by(|a, b| a.key.cmp(&b.key).then_with(|| name(a).cmp(name(b))));
        // A directory that changes while it is read may show a name twice.
        slots.dedup_by(|a, b| a.key == b.key && name(a) == name(b));
    }

    /// Adds names that the directory does not show.
    pub fn with<'n>(mut self, names: impl Iterator<Item = &'n [u8]>) -> Self {
        for name in names {
            // One that cannot be added is not in the directory either.
            let _ = self.push(&[name, b"\0"].concat(), None);
        }
        // Those that the directory shows come first of two, with what it says of them.
        self.sort();
        self
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the name at `index`, counted from 0; an empty one beyond the end.
    pub fn get(&self, index: usize) -> &CStr {
        self.slots.get(index).map_or(c"", |slot| self.c_str(slot))
    }

    /// Returns what the directory says the file at `index` is, or `None` where the file system does not say.
    ///
    /// It saves a `stat` where the file is opened in any case; it may have become another since.
    pub fn kind(&self, index: usize) -> Option<FileKind> {
        self.slots.get(index).and_then(|slot| slot.kind)
    }

    /// Returns where `name` is among them.
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.slots.binary_search_by(|slot| name_in(&self.arena, slot).cmp(name)).ok()
    }

    /// Returns the names in order.
    #[cfg(test)]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &CStr> {
        self.slots.iter().map(|slot| self.c_str(slot))
    }

    fn c_str(&self, slot: &Slot) -> &CStr {
        let start = slot.start as usize;
        // Every name was taken over with its one NUL, so this cannot fail.
        CStr::from_bytes_with_nul(&self.arena[start..=start + usize::from(slot.len)]).unwrap_or_default()
    }
}

fn name_in<'a>(arena: &'a [u8], slot: &Slot) -> &'a [u8] {
    let start = slot.start as usize;
    &arena[start..start + usize::from(slot.len)]
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    if b.starts_with(a) { a.len() } else { a.iter().zip(b).take_while(|(a, b)| a == b).count() }
}

/// Returns the first eight bytes as a number; missing ones count as 0, which no name contains.
fn key_of(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = rest.len().min(bytes.len());
    bytes[..len].copy_from_slice(&rest[..len]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn sorted(names: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut made = Names::default();
        for name in names {
            made.push(&[name, b"\0".as_slice()].concat(), None).unwrap();
        }
        made.sort();
        made.iter().map(|name| name.to_bytes().to_vec()).collect()
    }

    #[test]
    fn names_are_sorted_bytewise_and_each_once() {
        let wanted: Vec<Vec<u8>> =
            [b"a".as_slice(), b"a ", b"a\x01", b"a-12345678", b"a-123456789", b"a-1234567890", b"ab", b"\xff"]
                .iter()
                .map(|name| name.to_vec())
                .collect();
        let mut wanted = wanted;
        wanted.sort();
        assert_eq!(
            sorted(&[b"ab", b"a-1234567890", b"\xff", b"a-12345678", b"a ", b"a-123456789", b"ab", b"a", b"a\x01"]),
            wanted
        );
        assert_eq!(sorted(&[]), Vec::<Vec<u8>>::new());
        assert_eq!(sorted(&[b"one", b"one"]), vec![b"one".to_vec()]);
    }

    #[test]
    fn the_prefix_that_all_share_does_not_hide_the_shortest() {
        assert_eq!(
            sorted(&[b"img-2", b"img-1", b"img-"]),
            vec![b"img-".to_vec(), b"img-1".to_vec(), b"img-2".to_vec()]
        );
    }

    #[test]
    fn a_name_is_found() {
        let mut names = Names::default();
        names.push(b"b\0", None).unwrap();
        names.push(b"a\0", Some(FileKind::Directory)).unwrap();
        names.sort();
        let has = |name: &[u8]| names.position(name).is_some();
        assert!(has(b"a") && has(b"b") && !has(b"c") && !has(b""));
        assert_eq!(names.kind(0), Some(FileKind::Directory));
        assert_eq!(names.get(2), c"");
    }
}
