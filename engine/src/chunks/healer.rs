//! Heals packs by their parity, in memory, for whoever met one that is not as it was written.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::base::limits::PACK_BYTES_MAX;
use crate::base::{Event, ObjectId, ObjectKind, ObjectName, Observer, lock};
use crate::chunks::load_index;
use crate::codec::Codec;
use crate::error::{StoreError, StoreErrorKind};
use crate::format::pack::{TRAILER_BYTES, Trailer};
use crate::format::parity::{Geometry, SHARD_BYTES};
use crate::store::{Store, read_around};
use crate::{pack, parity};

/// What became of a pack that was hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Its parity makes it what it was; it differs from that in so many blocks of 4 KiB.
    Healed { blocks: usize, is_told: bool },
    /// There is not enough of it left.
    Lost,
}

#[derive(Default)]
struct Known {
    outcomes: BTreeMap<ObjectId, Outcome>,
    /// The pack healed last, since its other frames are most often wanted next.
    last: Option<(ObjectId, Arc<Vec<u8>>)>,
    /// The lengths of packs by the index objects, once they were asked for: a pack that is cut short does not tell its own.
    lengths: Option<HashMap<ObjectId, usize>>,
}

/// Heals the packs of one repository that has parity. Used by many threads at once; one pack is healed at a time.
pub struct Healer {
    codec: Arc<Codec>,
    store: Arc<dyn Store>,
    known: Mutex<Known>,
}

impl Healer {
    /// Makes one.
    pub fn new(codec: Arc<Codec>, store: Arc<dyn Store>) -> Self {
        Self { codec, store, known: Mutex::default() }
    }

    /// Returns whether packs have parity at all.
    pub fn has_parity(&self) -> bool {
        self.codec.parity_percent > 0
    }

    /// Forgets all that is known, for whoever looks at everything anew.
    pub fn forget(&self) {
        *lock(&self.known) = Known::default();
    }

    /// Returns a pack as it was written, every byte of it proven; `None` if that cannot be had. The last one is kept
    /// in memory until another is healed.
    pub fn heal(&self, id: ObjectId) -> Option<Arc<Vec<u8>>> {
        if !self.has_parity() {
            return None;
        }
        let mut known = lock(&self.known);
        match (&known.last, known.outcomes.get(&id)) {
            (Some((last, pack)), _) if *last == id => return Some(Arc::clone(pack)),
            (_, Some(Outcome::Lost)) => return None,
            _ => {}
        }
        known.last = None;
        let name = ObjectName::new(ObjectKind::Pack, id);
        let found = match self.store.get(&name, PACK_BYTES_MAX) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return None,
            found => found.ok(),
        };
        let Some((pack, blocks)) = self.restore(&name, found, &mut known) else {
            known.outcomes.insert(id, Outcome::Lost);
            return None;
        };
        // One that is whole after all was only hard to read.
        if blocks > 0 {
            known.outcomes.entry(id).or_insert(Outcome::Healed { blocks, is_told: false });
        }
        let pack = Arc::new(pack);
        known.last = Some((id, Arc::clone(&pack)));
        Some(pack)
    }

    /// Returns a pack, of which `found` are all bytes if the store gives them, healed, and in how many blocks of
    /// 4 KiB it differs from what was found.
    fn restore(&self, name: &ObjectName, found: Option<Vec<u8>>, known: &mut Known) -> Option<(Vec<u8>, usize)> {
        let listed = known.lengths.get_or_insert_with(|| self.lengths()).get(&name.id).copied();
        let found = match found {
            Some(found) => found,
            None => self.read_around(name, listed?)?,
        };
        // What an index object lists is sealed. A pack that none lists has its own length or none.
        let bytes = listed.unwrap_or(found.len());
        let mut pack = found.clone();
        pack.resize(bytes, 0);
        let trailer = Trailer::decode(&pack[bytes.saturating_sub(TRAILER_BYTES)..]).ok();
        let geometries = [
            Geometry::of_pack(bytes, self.codec.parity_percent),
            // A rescue that found no config may have made one that names another percentage.
            trailer.and_then(|trailer| Geometry::of_trailer(bytes as u64, trailer.parity_bytes)),
        ];
        if !geometries.into_iter().flatten().any(|geometry| parity::heal(&mut pack, &geometry)) {
            return None;
        }
        pack::verify(&self.codec, name, &pack).ok()?;
        let blocks = differing(&found, &pack);
        Some((pack, blocks))
    }

    /// Returns the bytes of a pack as far as the disk gives them out. What its parity could not heal need not be known.
    fn read_around(&self, name: &ObjectName, bytes: usize) -> Option<Vec<u8>> {
        let section = Geometry::of_pack(bytes, self.codec.parity_percent)?.section_bytes();
        read_around(self.store.as_ref(), name, bytes, section / SHARD_BYTES + 2)
    }

    /// Returns the lengths of all packs that index objects list, as far as these can be read.
    fn lengths(&self) -> HashMap<ObjectId, usize> {
        let indexes = self.store.list(ObjectKind::Index).unwrap_or_default();
        let read = indexes.into_iter().filter_map(|(id, _)| load_index(self.store.as_ref(), &self.codec, id).ok());
        let records = read.flat_map(|index| index.packs);
        // What is condemned is listed with the length that it had come to.
        let records = records.filter(|record| !record.is_condemned() && record.bytes as usize <= PACK_BYTES_MAX);
        records.map(|record| (record.id, record.bytes as usize)).collect()
    }

    /// Gives the packs that were healed so far their bytes back in the store, and returns those that have them safely,
    /// with the number of blocks that were damaged, and the first error. The others stay among the healed.
    pub fn write_back(&self) -> (Vec<(ObjectId, usize)>, Option<StoreError>) {
        let mut failure = None;
        let mut replace = |id: ObjectId| {
            let pack = self.heal(id)?;
            let outcome = self.store.replace(&ObjectName::new(ObjectKind::Pack, id), &pack);
            outcome.map_err(|error| failure.get_or_insert(error)).ok()
        };
        let mut written = self.healed();
        written.retain(|(id, _)| replace(*id).is_some());
        if let Err(error) = self.store.sync() {
            written.clear();
            failure.get_or_insert(error);
        }
        let mut known = lock(&self.known);
        known.outcomes.retain(|id, _| written.binary_search_by_key(id, |(id, _)| *id).is_err());
        (written, failure)
    }

    /// Returns the packs that were healed so far, and how many blocks of each are damaged.
    pub fn healed(&self) -> Vec<(ObjectId, usize)> {
        let known = lock(&self.known);
        let healed = known.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            Outcome::Healed { blocks, .. } => Some((*id, *blocks)),
            Outcome::Lost => None,
        });
        healed.collect()
    }

    /// Tells an observer of the packs that were healed since this was done last, and returns how many there were.
    pub fn tell(&self, observer: Option<&Arc<dyn Observer>>) -> u64 {
        let mut told = 0;
        for (id, outcome) in &mut lock(&self.known).outcomes {
            if let Outcome::Healed { is_told: is_told @ false, .. } = outcome {
                *is_told = true;
                told += 1;
                if let Some(observer) = observer {
                    let message = "damaged; its parity healed what was read: run `daykeep check --repair`".to_owned();
                    observer.event(&Event::Warning { object: format!("packs/{id}"), path: None, message });
                }
            }
        }
        told
    }
}

/// Returns how many blocks of one are not those of the other.
fn differing(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.len().max(other.len()).div_ceil(SHARD_BYTES);
    let block = |bytes: &[u8], number: usize| {
        let at = (number * SHARD_BYTES).min(bytes.len());
        at..(at + SHARD_BYTES).min(bytes.len())
    };
    (0..blocks).filter(|number| one[block(one, *number)] != other[block(other, *number)]).count()
}
