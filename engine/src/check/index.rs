//! Compares what the index objects list with the packs in the store, and deltas with what they stand on.

use std::collections::{HashMap, HashSet};

use crate::base::{ObjectId, ObjectKind, ShortId};
use crate::catalog::Catalog;
use crate::check::options::CheckReport;
use crate::chunks::{ChunkReader, entries_of};
use crate::error::{Error, Result};
use crate::format::index::{Index, PackRecord};
use crate::repo::{Repository, load_index, remove_unfounded};

/// Every pack in the store: its length, and its record if an index object lists it.
pub(super) type Listed = HashMap<ObjectId, (u64, Option<PackRecord>)>;

impl Repository {
    /// Reads all index objects into `catalog` and compares their packs with those in the store. Returns the latter.
    pub(super) fn check_index(&self, catalog: &Catalog, report: &mut CheckReport) -> Result<Listed> {
        let mut packs: HashMap<ObjectId, Option<PackRecord>> = HashMap::new();
        let stored: HashMap<ObjectId, u64> = self.store.list(ObjectKind::Pack)?.into_iter().collect();
        let indexes: Vec<ObjectId> = self.store.list(ObjectKind::Index)?.into_iter().map(|(id, _)| id).collect();
        for &id in &indexes {
            let index = match load_index(self.store.as_ref(), &self.codec, id) {
                Ok(index) => index,
                Err(error) => {
                    report.errors.push(error.to_string());
                    continue;
                }
            };
            let is_there = |record: &&PackRecord| {
                let bytes = stored.get(&record.id).copied();
                bytes == Some(u64::from(record.bytes))
                    || bytes.is_some() && !record.is_condemned() && self.heals(record)
            };
            // Chunks of a pack that is missing or cut are missing, so that the files that need them are named.
            let whole = Index { packs: index.packs.iter().filter(is_there).cloned().collect() };
            catalog.add(&id, &mut entries_of(&whole))?;
            for record in index.packs {
                match stored.get(&record.id) {
                    // Whatever becomes of it, nothing in it is used.
                    _ if record.is_condemned() => {}
                    None => report.errors.push(format!("packs/{}: missing; index/{id} lists it", record.id)),
                    Some(&bytes) if bytes != u64::from(record.bytes) && !self.heals(&record) => report.errors.push(
                        format!("packs/{}: has {bytes} bytes where index/{id} names {}", record.id, record.bytes),
                    ),
                    Some(_) => {}
                }
                let pack = record.id;
                if let Some(Some(known)) = packs.get_mut(&pack) {
                    if !is_same(&record, known) {
                        report
                            .errors
                            .push(format!("index/{id}: lists other chunks in packs/{pack} than another index does"));
                    }
                    // An interrupted prune leaves both: what only the older one needs may be gone.
                    void_alike(known, &record);
                    continue;
                }
                packs.insert(pack, Some(record));
            }
        }
        let is_whole = |id: &ObjectId| {
            let record = packs.get(id).and_then(Option::as_ref);
            record.is_some_and(|record| stored.get(id) == Some(&u64::from(record.bytes)) || self.heals(record))
        };
        remove_unfounded(self.store.as_ref(), &self.codec, catalog, &indexes, &is_whole)?;
        let unlisted = stored.keys().filter(|id| !packs.contains_key(id)).count();
        if unlisted > 0 {
            report.notes.push(format!("{unlisted} packs are in no index; an interrupted backup left them"));
        }
        report.packs = stored.len() as u64;
        report.chunks = catalog.chunks()?;
        Ok(stored.into_iter().map(|(id, bytes)| (id, (bytes, packs.remove(&id).flatten()))).collect())
    }

    /// Returns whether a pack that has another length than its record says has that length once it is healed.
    fn heals(&self, record: &PackRecord) -> bool {
        self.healer.heal(record.id).is_some_and(|pack| pack.len() == record.bytes as usize)
    }

    /// Returns the deltas that cannot be rebuilt, each with its pack; and those among them of which a base is not listed, or
    /// a base of a base. An interrupted prune may leave such, which nobody needs.
    pub(super) fn unfounded(
        &self,
        reader: &ChunkReader,
        listed: &Listed,
        report: &mut CheckReport,
    ) -> Result<(HashMap<ShortId, ObjectId>, HashSet<ShortId>)> {
        let (mut hurt, mut unfounded) = (HashMap::new(), HashSet::new());
        let records = listed.values().filter_map(|(_, record)| record.as_ref());
        let chunks = records.flat_map(|record| record.table.chunks.iter().map(move |chunk| (record, chunk)));
        let deltas = chunks.filter(|(_, chunk)| !chunk.is_void());
        let mut deltas: Vec<_> =
            deltas.filter_map(|(record, chunk)| Some((record, chunk, chunk.delta.as_ref()?))).collect();
        // What a delta stands on is less deep, so it has been looked at before.
        deltas.sort_unstable_by_key(|(.., delta)| delta.reach.depth);
        for (record, chunk, delta) in deltas {
            match reader.locate(&chunk.id, chunk.kind) {
                Ok(location) if location.frame.pack != record.id => continue,
                Ok(_) => {}
                Err(Error::Missing { .. }) => {
                    unfounded.insert(chunk.id);
                    hurt.insert(chunk.id, record.id);
                    continue;
                }
                Err(error) => return Err(error),
            }
            for base in &delta.bases {
                let found = reader.locate_base(base)?;
                let is_founded = match &found {
                    Some((_, base)) if base.reach.depth >= delta.reach.depth || base.kind != chunk.kind => {
                        let (pack, id) = (record.id, chunk.id);
                        report.errors.push(format!("packs/{pack}: chunk {id} names a base that cannot be its base"));
                        false
                    }
                    Some((id, _)) => !hurt.contains_key(id),
                    None => false,
                };
                if !is_founded {
                    hurt.insert(chunk.id, record.id);
                    break;
                }
            }
        }
        Ok((hurt, unfounded))
    }
}

/// Returns whether two index objects say the same of a pack, but for what either voids.
fn is_same(one: &PackRecord, other: &PackRecord) -> bool {
    let mut voided = other.clone();
    void_alike(&mut voided, one);
    one.bytes == other.bytes && voided.table.agrees_with(&one.table)
}

/// Voids in `one` what is void in `other`.
fn void_alike(one: &mut PackRecord, other: &PackRecord) {
    for (chunk, other) in one.table.chunks.iter_mut().zip(&other.table.chunks) {
        if other.is_void() {
            chunk.id = other.id;
        }
    }
}
