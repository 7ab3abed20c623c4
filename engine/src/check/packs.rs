//! Reads packs and proves every byte of them: all, or a sample.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::base::limits::PACK_BYTES_MAX;
use crate::base::{Event, ObjectId, ObjectKind, ObjectName, ShortId, lock};
use crate::check::options::ReadData;
use crate::check::run::Check;
use crate::chunks::verify_pack;
use crate::error::{Error, Result};
use crate::format::index::{ChunkRecord, PackRecord};
use crate::hash;

/// So many deltas are rebuilt at once, for what they stand on lies in the same frames.
const DELTAS_AT_ONCE: usize = 2048;

/// Returns which of the packs, each with its length, are to be read. A sample is drawn by `seed`: the same one gives the
/// same packs.
pub(super) fn choose(mut packs: Vec<(ObjectId, u64)>, what: ReadData, seed: u64) -> Vec<ObjectId> {
    let all: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
    let wanted = match what {
        ReadData::None => 0,
        ReadData::All => u64::MAX,
        ReadData::Percent(percent) => (u128::from(all) * u128::from(percent)).div_ceil(100) as u64,
        ReadData::Bytes(bytes) => bytes,
        ReadData::Part { number, of } => {
            packs.retain(|(id, _)| part_of(id, of) == number);
            u64::MAX
        }
    };
    packs.sort_by_cached_key(|(id, _)| *hash::chunk_id(&key(seed), id.as_bytes()).as_bytes());
    let mut taken = 0;
    packs
        .into_iter()
        .take_while(|(_, bytes)| {
            taken < wanted && {
                taken += bytes;
                true
            }
        })
        .map(|(id, _)| id)
        .collect()
}

/// Returns the key by which a sample is drawn.
pub(super) fn key(seed: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key
}

/// Returns which of `of` parts, from 1 on, a pack belongs to. Ids are random, so all parts are about as large.
fn part_of(id: &ObjectId, of: u32) -> u32 {
    let mut first = [0; 4];
    first.copy_from_slice(&id.as_bytes()[..4]);
    u32::from_be_bytes(first) % of.max(1) + 1
}

impl Check<'_> {
    /// Reads a pack, proves every byte of it, and compares it with what the index says of it. Adds the chunks in it that
    /// cannot be read to `hurt`.
    pub(super) fn pack(
        &self,
        id: ObjectId,
        record: Option<&PackRecord>,
        hurt: &Mutex<HashMap<ShortId, ObjectId>>,
    ) -> Result<()> {
        self.check_cancel()?;
        // One that a repair condemned is known to be hurt, and nothing in it is used.
        if record.is_some_and(PackRecord::is_condemned) {
            return Ok(());
        }
        let name = ObjectName::new(ObjectKind::Pack, id);
        let outcome = self.repo.store.get(&name, PACK_BYTES_MAX).map_err(Error::from).and_then(|bytes| {
            self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.send(bytes.len() as u64);
            verify_pack(&self.repo.codec, &name, &bytes, record)
        });
        let outcome = outcome.or_else(|error| {
            let healed = self.repo.healer.heal(id).ok_or(error)?;
            verify_pack(&self.repo.codec, &name, &healed, record)
        });
        let outcome = outcome.and_then(|()| self.deltas(&name, record, hurt));
        if let Err(error) = outcome {
            let is_lost = self.repo.healer.has_parity() && self.repo.healer.heal(id).is_none();
            let advice = match is_lost {
                true => "; its parity cannot heal it: `daykeep repair` saves what can be read",
                false => "",
            };
            self.report(|| format!("{error}{advice}"));
            let chunks = record.iter().flat_map(|record| &record.table.chunks);
            for chunk in chunks.filter(|chunk| !chunk.is_void()) {
                // Read as a restore reads it: a chunk may be whole in a hurt pack, or lie in another pack too.
                if self.reader.read(&chunk.id, chunk.kind, &mut Vec::new()).is_err() {
                    lock(hurt).insert(chunk.id, id);
                }
            }
        }
        Ok(())
    }

    /// Rebuilds every delta in a pack that is whole itself: many at once, and one by one where that fails.
    fn deltas(
        &self,
        pack: &ObjectName,
        record: Option<&PackRecord>,
        hurt: &Mutex<HashMap<ShortId, ObjectId>>,
    ) -> Result<()> {
        let mut outcome = Ok(());
        let mut bytes = Vec::new();
        let chunks = record.map_or(&[][..], |record| &record.table.chunks);
        for run in chunks.chunk_by(|a, b| a.kind == b.kind).flat_map(|run| run.chunks(DELTAS_AT_ONCE)) {
            self.check_cancel()?;
            let is_open = |id: &ShortId| !lock(hurt).contains_key(id);
            let delta = |chunk: &ChunkRecord<ShortId>| Some((chunk.id, u64::from(chunk.delta.as_ref()?.bytes)));
            let chunks = run.iter().filter(|chunk| !chunk.is_void());
            let deltas: Vec<(ShortId, u64)> = chunks.filter_map(delta).filter(|(id, _)| is_open(id)).collect();
            bytes.clear();
            if self.reader.read_run(&deltas, run[0].kind, &mut bytes).is_ok() {
                continue;
            }
            for (id, _) in deltas {
                bytes.clear();
                if let Err(error) = self.reader.read(&id, run[0].kind, &mut bytes) {
                    lock(hurt).insert(id, pack.id);
                    // Where a base is at fault, its own pack is reported.
                    if matches!(&error, Error::Damaged { object, .. } if *object == pack.to_string()) {
                        outcome = Err(error);
                    }
                }
            }
        }
        outcome
    }

    fn send(&self, bytes: u64) {
        if let Some(observer) = &self.options.observer {
            observer.event(&Event::Progress { files: 0, bytes });
        }
    }
}
