//! The tables of a redb store, and how its memory is shared out among them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{
    Database, OwnedAccessGuard, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};

use super::gaps::{Gaps, reading_a_body};
use crate::base::limits::MIB;
use crate::base::{ObjectId, ObjectKind, ObjectName};
use crate::store::Access;

/// The number of an object's kind, and its id.
pub(super) type NameKey = (u8, &'static [u8; ObjectId::LEN]);

/// An object's length in bytes, and its number in the table of its body.
pub(super) type Listed = (u64, u64);

pub(super) const NAMES: TableDefinition<NameKey, Listed> = TableDefinition::new("names");
/// Bodies go by ascending numbers: a new one lies next to the last one, which is still in memory. By their random names
/// they would lie next to any other, and redb reads the neighbour, 4 MiB, to find the place.
pub(super) const PACKS: TableDefinition<u64, &[u8]> = TableDefinition::new("packs");
pub(super) const OBJECTS: TableDefinition<u64, &[u8]> = TableDefinition::new("objects");

/// Returns the table that has the bodies of a kind.
pub(super) fn bodies(kind: ObjectKind) -> TableDefinition<'static, u64, &'static [u8]> {
    if kind == ObjectKind::Pack { PACKS } else { OBJECTS }
}

pub(super) enum Handle {
    Write(Database),
    Read(ReadOnlyDatabase),
}

impl Handle {
    pub(super) fn begin_read(&self, recent_max: usize, gaps: Arc<Gaps>) -> Result<Tables, redb::Error> {
        let transaction = match self {
            Self::Write(database) => database.begin_read()?,
            Self::Read(database) => database.begin_read()?,
        };
        Tables::open(&transaction, recent_max, gaps)
    }
}

/// A body in redb's own memory.
pub(super) struct Body {
    guard: OwnedAccessGuard<&'static [u8]>,
    /// What of it the disk does not give out.
    gaps: Vec<Range<usize>>,
}

impl Body {
    /// Returns the bytes, with zeros in gaps.
    pub(super) fn bytes(&self) -> &[u8] {
        self.guard.value()
    }

    /// Returns whether the disk gives out all bytes of a range.
    pub(super) fn has(&self, range: &Range<usize>) -> bool {
        self.gaps.iter().all(|gap| gap.end <= range.start || range.end <= gap.start)
    }
}

/// The tables as of the last commit.
pub(super) struct Tables {
    names: ReadOnlyTable<NameKey, Listed>,
    packs: ReadOnlyTable<u64, &'static [u8]>,
    objects: ReadOnlyTable<u64, &'static [u8]>,
    /// The packs of which ranges were read last, the latest at the end. redb reads a value whole, and its cache does not
    /// keep values of this size: it has 131 parts, makes room only in the part that the new page belongs to, and so,
    /// once full, throws out what it just read. Without these, each range would cost a read of its whole pack.
    recent: Mutex<VecDeque<(ObjectId, Arc<Body>)>>,
    pub(super) recent_max: usize,
    gaps: Arc<Gaps>,
    is_counted: AtomicBool,
}

/// How the memory that a store may use is shared out.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) redb_bytes: usize,
    pub(super) recent_max: usize,
}

impl Memory {
    pub(super) fn share_out(bytes: usize, access: Access) -> Self {
        let recent_bytes = match access {
            // The tables are small beside the packs, and the packs' pages are held here.
            Access::Read => bytes / 4 * 3,
            // What is about to be written needs room as well.
            Access::Write => bytes / 4,
        };
        let recent_max = (recent_bytes / (4 * MIB)).max(1);
        Self { redb_bytes: bytes.saturating_sub(recent_max * 4 * MIB), recent_max }
    }
}

impl Tables {
    pub(super) fn open(transaction: &ReadTransaction, recent_max: usize, gaps: Arc<Gaps>) -> Result<Self, redb::Error> {
        Ok(Self {
            names: transaction.open_table(NAMES)?,
            packs: transaction.open_table(PACKS)?,
            objects: transaction.open_table(OBJECTS)?,
            recent: Mutex::default(),
            recent_max,
            gaps,
            is_counted: AtomicBool::new(false),
        })
    }

    /// Returns the body of a pack, and keeps it for the next call.
    pub(super) fn recent_pack(&self, id: &ObjectId) -> Result<Option<Arc<Body>>, redb::Error> {
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut recent = lock();
            if let Some(at) = recent.iter().rposition(|(kept, _)| kept == id)
                && let Some(entry) = recent.remove(at)
            {
                let body = Arc::clone(&entry.1);
                recent.push_back(entry);
                return Ok(Some(body));
            }
        }
        // Read without the lock, so that other threads can go on with packs that are here.
        let Some(body) = self.body(&ObjectName::new(ObjectKind::Pack, *id))? else { return Ok(None) };
        let body = Arc::new(body);
        let mut recent = lock();
        recent.push_back((*id, Arc::clone(&body)));
        let oldest = if recent.len() > self.recent_max { recent.pop_front() } else { None };
        drop(recent);
        drop(oldest);
        Ok(Some(body))
    }

    /// Returns an object's length and number.
    pub(super) fn listed(&self, name: &ObjectName) -> Result<Option<Listed>, redb::Error> {
        Ok(self.names.get((name.kind.code(), name.id.as_bytes()))?.map(|listed| listed.value()))
    }

    /// Returns an object's body.
    pub(super) fn body(&self, name: &ObjectName) -> Result<Option<Body>, redb::Error> {
        let Some(listed) = self.listed(name)? else { return Ok(None) };
        let table = if name.kind == ObjectKind::Pack { &self.packs } else { &self.objects };
        let (guard, zeros) = reading_a_body(Some(listed), || table.get_owned(listed.1));
        Ok(guard?.map(|guard| {
            let gaps = self.gaps.note(name, guard.value(), zeros);
            Body { guard, gaps }
        }))
    }

    /// Returns id and length of every object of a kind.
    pub(super) fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, redb::Error> {
        let (first, last) = ((kind.code(), &[0; ObjectId::LEN]), (kind.code(), &[u8::MAX; ObjectId::LEN]));
        let mut objects = Vec::new();
        for entry in self.names.range(first..=last)? {
            let (name, listed) = entry?;
            objects.push((ObjectId::from_bytes(*name.value().1), listed.value().0));
        }
        // Where a snapshot is hidden, a prune would take what it needs.
        if kind == ObjectKind::Snapshot && !self.is_counted.load(Ordering::Acquire) {
            self.count()?;
            self.is_counted.store(true, Ordering::Release);
        }
        Ok(objects)
    }

    /// Counts all names: redb does not look at its checksums when it reads, and one changed byte in its tables may hide some.
    fn count(&self) -> Result<(), redb::Error> {
        let mut names = 0;
        for entry in self.names.iter()? {
            entry?;
            names += 1;
        }
        let (wanted, bodies) = (self.names.len()?, self.packs.len()? + self.objects.len()?);
        if (names, bodies) == (wanted, wanted) {
            return Ok(());
        }
        let text = format!("its tables count {wanted} objects, {names} have a name and {bodies} a body");
        Err(redb::Error::Corrupted(text))
    }
}
