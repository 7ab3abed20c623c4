//! Brings a catalog in line with the store that it is of.

use crate::base::{ObjectId, ObjectKind};
use crate::catalog::{Catalog, CatalogEntry};
use crate::chunks::{self, load_index};
use crate::codec::Codec;
use crate::error::Result;
use crate::store::Store;

/// Brings a catalog in line with the store: an entry counts only while its index object is in the store's list now. It is
/// begun anew if one that it knew is gone.
pub(super) fn load_catalog(store: &dyn Store, codec: &Codec, catalog: &Catalog) -> Result<()> {
    let listed: Vec<ObjectId> = store.list(ObjectKind::Index)?.into_iter().map(|(id, _)| id).collect();
    let mut known = catalog.index_objects()?;
    known.sort_unstable();
    let live: std::collections::HashSet<_> = listed.iter().collect();
    if known.iter().any(|id| !live.contains(id)) {
        catalog.clear()?;
        known.clear();
    }
    let (mut has_gaps, mut is_whole) = (known.is_empty(), true);
    for &id in &listed {
        if known.binary_search(&id).is_err() {
            // An index object that an interrupted prune has left may list deltas whose bases are gone.
            has_gaps = true;
            match load_index(store, codec, id) {
                Ok(index) => catalog.add(&id, &mut chunks::entries_of(&index))?,
                // What it lists counts as missing: a restore names the files concerned, a backup stores the chunks
                // again, and `check` names the object. To refuse the whole repository would help nobody.
                Err(error) if error.is_of_object() => is_whole = false,
                Err(error) => return Err(error),
            }
        }
    }
    if has_gaps {
        remove_unfounded(store, codec, catalog, &listed, &|_| true)?;
    }
    if !is_whole {
        // Deltas that stand on what it lists are taken out, and would stay out once it is mended.
        catalog.distrust();
    }
    Ok(())
}

/// Takes out deltas of which a base is not in the catalog, and enters other copies of the same chunks, if the index objects
/// `listed` have any, in packs that are there, that can be rebuilt. A backup that misses a chunk stores it again, beside the copy of no use.
/// Returns whether there was nothing to take out, and every delta is deeper than its bases and of the same kind.
pub(crate) fn remove_unfounded(
    store: &dyn Store,
    codec: &Codec,
    catalog: &Catalog,
    listed: &[ObjectId],
    is_there: &dyn Fn(&ObjectId) -> bool,
) -> Result<bool> {
    let (removed, are_possible) = catalog.remove_unfounded()?;
    let mut is_done = removed == 0;
    if !is_done {
        // Of what is taken out not all may be found again.
        catalog.retain_sound(&|_| false)?;
    }
    while !is_done {
        is_done = true;
        for id in listed {
            let index = match load_index(store, codec, *id) {
                Err(error) if error.is_of_object() => continue,
                outcome => outcome?,
            };
            let mut others = Vec::new();
            for entry in chunks::entries_of(&index) {
                let is_there = is_there(&entry.location.frame.pack);
                if is_there && catalog.find(&entry.id)?.is_none() && has_bases(catalog, &entry)? {
                    others.push(entry);
                }
            }
            if !others.is_empty() {
                is_done = false;
                catalog.add(id, &mut others)?;
            }
        }
    }
    Ok(removed == 0 && are_possible)
}

fn has_bases(catalog: &Catalog, entry: &CatalogEntry) -> Result<bool> {
    for base in &entry.bases {
        if catalog.find_base(base)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
