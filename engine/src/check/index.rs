//! Compares what the index objects list with the packs in the store, and deltas with what they stand on.

use crate::base::limits::DELTA_CLOSURE_MAX;
use crate::base::{ObjectId, ObjectKind, ShortId};
use crate::catalog::Catalog;
use crate::check::listed::{Listed, is_same};
use crate::check::options::CheckReport;
use crate::check::run::Check;
use crate::chunks::entries_of;
use crate::error::{Error, Result};
use crate::format::index::{ChunkRecord, DeltaRecord, PackRecord};
use crate::repo::{Repository, load_index, remove_unfounded};

impl Repository {
    /// Reads all index objects into `catalog` and compares their packs with those in the store. Returns the latter, and
    /// whether all deltas can be rebuilt, as far as index objects say.
    pub(super) fn check_index(&self, catalog: &Catalog, report: &mut CheckReport) -> Result<(Listed, bool)> {
        let mut listed = Listed::new(self.store.list(ObjectKind::Pack)?);
        report.packs = listed.packs.len() as u64;
        let indexes: Vec<ObjectId> = self.store.list(ObjectKind::Index)?.into_iter().map(|(id, _)| id).collect();
        let mut are_whole = true;
        for &id in &indexes {
            let mut index = match load_index(self.store.as_ref(), &self.codec, id) {
                Ok(index) => index,
                Err(error) => {
                    report.errors.push(error.to_string());
                    continue;
                }
            };
            listed.add(id, &index.packs);
            // Chunks of a pack that is missing or cut are missing, so that the files that need them are named.
            index.packs.retain(|record| {
                let (pack, bytes) = (record.id, record.bytes);
                match listed.packs.get(&pack).and_then(|place| place.stored_bytes) {
                    // Whatever becomes of it, nothing in it is used.
                    _ if record.is_condemned() => return false,
                    None => report.errors.push(format!("packs/{pack}: missing; index/{id} lists it")),
                    Some(stored) if stored != u64::from(bytes) && !self.heals(pack, bytes) => {
                        are_whole = false;
                        report.errors.push(format!("packs/{pack}: has {stored} bytes where index/{id} names {bytes}"));
                    }
                    Some(_) => return true,
                }
                false
            });
            let mut entries = entries_of(&index);
            drop(index);
            catalog.add(&id, &mut entries)?;
        }
        for part in listed.parts(&mut listed.again()) {
            let (_, failed) = listed.records(self, part, &mut |index, record, known| {
                if !is_same(record, known) {
                    let pack = record.id;
                    report
                        .errors
                        .push(format!("index/{index}: lists other chunks in packs/{pack} than another index does"));
                }
            });
            report.errors.extend(failed.iter().map(Error::to_string));
        }
        let is_whole = |id: &ObjectId| {
            let place = listed.packs.get(id);
            place
                .and_then(|place| Some((place.stored_bytes, place.first.as_ref()?.bytes)))
                .is_some_and(|(stored, bytes)| stored == Some(u64::from(bytes)) || self.heals(*id, bytes))
        };
        let are_founded = remove_unfounded(self.store.as_ref(), &self.codec, catalog, &indexes, &is_whole)?;
        listed.packs.retain(|_, place| place.stored_bytes.is_some());
        let unlisted = listed.packs.values().filter(|place| place.first.is_none()).count();
        if unlisted > 0 {
            let (packs, them) = if unlisted == 1 { ("pack is", "it") } else { ("packs are", "them") };
            report.notes.push(format!(
                "{unlisted} {packs} in no index: an interrupted backup left {them}, or an index object is gone, which `daykeep \
                 repair` makes anew"
            ));
        }
        report.chunks = catalog.chunks()?;
        Ok((listed, are_whole && are_founded))
    }

    /// Returns whether a pack that has another length than it should have has that length once it is healed.
    fn heals(&self, pack: ObjectId, bytes: u32) -> bool {
        self.healer.heal(pack).is_some_and(|pack| pack.len() == bytes as usize)
    }
}

impl Check<'_> {
    /// Finds the deltas that cannot be rebuilt, and those among them of which a base is not listed, or a base of a base. An
    /// interrupted prune may leave such, which nobody needs.
    pub(super) fn find_unfounded(&mut self, listed: &Listed) -> Result<()> {
        let mut packs: Vec<ObjectId> = listed.packs.keys().copied().collect();
        let parts = listed.parts(&mut packs);
        let mut deepest = 1;
        // What a delta stands on is less deep, so it has been looked at before.
        for depth in 1..=DELTA_CLOSURE_MAX {
            if depth > deepest {
                break;
            }
            for part in &parts {
                self.check_cancel()?;
                let (records, failed) = listed.records(self.repo, part, &mut |_, _, _| {});
                failed.iter().filter(|_| depth == 1).for_each(|error| self.report(|| error.to_string()));
                for record in records.values() {
                    let chunks = record.table.chunks.iter().filter(|chunk| !chunk.is_void());
                    for (chunk, delta) in chunks.filter_map(|chunk| Some((chunk, chunk.delta.as_ref()?))) {
                        deepest = deepest.max(delta.reach.depth);
                        if delta.reach.depth == depth {
                            self.found(record, chunk, delta)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks whether a delta can be rebuilt, and takes note if not.
    fn found(&mut self, record: &PackRecord, chunk: &ChunkRecord<ShortId>, delta: &DeltaRecord) -> Result<()> {
        match self.reader.locate(&chunk.id, chunk.kind) {
            Ok(location) if location.frame.pack != record.id => return Ok(()),
            Ok(_) => {}
            Err(Error::Missing { .. }) => {
                self.unfounded.insert(chunk.id);
                self.hurt.insert(chunk.id, record.id);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for base in &delta.bases {
            let found = self.reader.locate_base(base)?;
            let is_founded = match &found {
                Some((_, base)) if base.reach.depth >= delta.reach.depth || base.kind != chunk.kind => {
                    let (pack, id) = (record.id, chunk.id);
                    self.report(|| format!("packs/{pack}: chunk {id} names a base that cannot be its base"));
                    false
                }
                Some((id, _)) => !self.hurt.contains_key(id),
                None => false,
            };
            if !is_founded {
                self.hurt.insert(chunk.id, record.id);
                break;
            }
        }
        Ok(())
    }
}
