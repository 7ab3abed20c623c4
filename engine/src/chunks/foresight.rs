//! Looks up many chunks at once, and all that they stand on, on all cores and in the order of their ids, which lie near each
//! other in the catalog then.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::base::limits::DELTA_CLOSURE_MAX;
use crate::base::{IdHash, ShortId};
use crate::catalog::CatalogEntry;
use crate::chunks::reader::{ChunkReader, Crew};
use crate::format::index::{BasePrefix, ChunkLocation};

/// So many are looked up by one task.
const KEYS_PER_TASK: usize = 1024;
/// So many are kept at most; others are looked up one by one, when they are met.
const ENTRIES_MAX: usize = 112 * 1024;

/// What the catalog has of some chunks, by the beginnings of their ids.
#[derive(Default)]
pub struct Foresight(HashMap<BasePrefix, CatalogEntry, IdHash>);

impl Foresight {
    /// Returns where a chunk lies, if it is known.
    pub fn place(&self, id: &ShortId) -> Option<&ChunkLocation> {
        self.entry(id).map(|entry| &entry.location)
    }

    /// Returns what a chunk stands on and where that lies, if all is known.
    pub fn bases(&self, id: &ShortId) -> Option<Vec<(ShortId, ChunkLocation)>> {
        let base = |prefix| self.0.get(prefix).map(|entry| (entry.id, entry.location));
        self.entry(id)?.bases.iter().map(base).collect()
    }

    fn entry(&self, id: &ShortId) -> Option<&CatalogEntry> {
        self.0.get(&prefix(id)).filter(|entry| entry.id == *id)
    }
}

/// Returns how a base is named.
pub(super) fn prefix(id: &ShortId) -> BasePrefix {
    let mut prefix = BasePrefix::default();
    prefix.copy_from_slice(&id.as_bytes()[..size_of::<BasePrefix>()]);
    prefix
}

impl ChunkReader {
    /// Looks up chunks, what they stand on, and what that stands on. What cannot be found is left out, for whoever needs it
    /// to say what is wrong.
    pub fn foresee(&self, crew: Crew, ids: impl Iterator<Item = ShortId>) -> Foresight {
        let mut known = Foresight::default();
        let mut next: Vec<BasePrefix> = ids.map(|id| prefix(&id)).collect();
        for _ in 0..=DELTA_CLOSURE_MAX {
            next.sort_unstable_by_key(|prefix| u64::from_be_bytes(*prefix));
            next.dedup();
            next.retain(|prefix| !known.0.contains_key(prefix));
            next.truncate(ENTRIES_MAX.saturating_sub(known.0.len()));
            if next.is_empty() {
                break;
            }
            let look_up = |prefixes| self.catalog.entries(prefixes).unwrap_or_default();
            let found: Vec<Vec<Option<CatalogEntry>>> =
                next.par_chunks(KEYS_PER_TASK).with_min_len(crew.min_len()).map(look_up).collect();
            next.clear();
            known.0.reserve(found.iter().map(Vec::len).sum());
            for entry in found.into_iter().flatten().flatten() {
                next.extend_from_slice(&entry.bases);
                known.0.insert(prefix(&entry.id), entry);
            }
        }
        known
    }
}
