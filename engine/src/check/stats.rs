//! What a repository holds, in figures.

use crate::base::ObjectKind;
use crate::check::options::Stats;
use crate::error::Result;
use crate::repo::{Repository, load_index};

impl Repository {
    /// Counts what is in the repository, from its index objects and snapshots; no pack is read.
    ///
    /// # Errors
    /// If a list or an index object cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats { parity_percent: self.parity_percent(), ..Stats::default() };
        for kind in ObjectKind::ALL {
            let objects = self.store.list(kind)?;
            stats.bytes_stored += objects.iter().map(|(_, bytes)| bytes).sum::<u64>();
            match kind {
                ObjectKind::Pack => stats.packs = objects.len() as u64,
                ObjectKind::Index => stats.index_objects = objects.len() as u64,
                ObjectKind::Snapshot => stats.snapshots = objects.len() as u64,
                _ => {}
            }
        }
        stats.chunks = self.catalog.chunks()?;
        for (id, _) in self.store.list(ObjectKind::Index)? {
            let index = load_index(self.store.as_ref(), &self.codec, id)?;
            let chunks = index.packs.iter().flat_map(|pack| &pack.table.chunks);
            stats.chunk_bytes += chunks.map(|chunk| u64::from(chunk.bytes)).sum::<u64>();
        }
        let (snapshots, _) = self.snapshots()?;
        stats.snapshot_bytes = snapshots.iter().map(|snapshot| snapshot.record.counts.bytes).sum();
        Ok(stats)
    }
}
