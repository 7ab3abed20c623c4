//! What a repair would do.

use std::sync::Arc;

use crate::base::{ObjectId, ObjectKind};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::repair::copies::{HurtSnapshot, LostEntry, Readable, copy_of};
use crate::repair::listing::Listing;
use crate::repair::options::{RepairFigures, RepairOptions};
use crate::repair::packs::damage;
use crate::repo::Repository;
use crate::rewrite::Trees;

/// What a repair would do: made by [`Repository::repair_plan`], carried out by [`Repository::repair`].
pub struct RepairPlan {
    /// What was found.
    pub figures: RepairFigures,
    /// What is wrong with packs and index objects, and which snapshots cannot be read.
    pub findings: Vec<String>,
    /// The files and folders that are lost, sorted by path; the first 10,000 of them.
    pub lost: Vec<LostEntry>,
    /// The snapshots that need something that is lost, oldest first.
    pub snapshots: Vec<HurtSnapshot>,
    pub(super) listing: Listing,
    pub(super) catalog: Arc<Catalog>,
    pub(super) known: Vec<ObjectId>,
}

impl RepairPlan {
    /// Returns whether there is nothing to do: all is well, or all that can be done was done before.
    pub fn is_empty(&self) -> bool {
        self.listing.is_true() && self.copies().next().is_none()
    }

    /// Returns the snapshots of which a copy is to be made.
    pub(super) fn copies(&self) -> impl Iterator<Item = &HurtSnapshot> {
        self.snapshots.iter().filter(|hurt| hurt.copy.is_some() && hurt.copy_id.is_none())
    }
}

impl Repository {
    /// Finds out which packs can be read, what of them the index objects do not say as it is, and what every snapshot has
    /// lost. Changes nothing.
    ///
    /// The catalog is not believed. Memory stays within the budget but for some two hundred bytes for each pack and a byte
    /// for each chunk of a hurt one; a temporary file takes 60 bytes for each chunk.
    ///
    /// # Errors
    /// Only what keeps the plan from being made, such as a list or a disk that fails; `Cancelled`. Damage is in the plan.
    pub fn repair_plan(&self, options: &RepairOptions) -> Result<RepairPlan> {
        crate::pool::within(self.memory_bytes, options.threads)?.install(|| {
            self.healer.forget();
            let mut figures = RepairFigures::default();
            let mut listing = Listing::read(self, options, &mut figures)?;
            let catalog = Catalog::open(None, &self.id(), self.memory_bytes / 8)?;
            listing.enter(self, &catalog, options)?;
            listing.compare(self, &catalog, options)?;
            figures.chunks = catalog.chunks()?;
            figures.index_objects_replaced = listing.replaced().len() as u64;
            figures.index_objects_damaged = listing.damaged.len() as u64;
            let (findings, known) = (std::mem::take(&mut listing.findings), self.sorted_ids(ObjectKind::Snapshot)?);
            let (catalog, lost, snapshots) = (Arc::new(catalog), Vec::new(), Vec::new());
            let mut plan = RepairPlan { figures, findings, lost, snapshots, listing, catalog, known };
            plan.walk(self, options)?;
            Ok(plan)
        })
    }
}

impl RepairPlan {
    /// Finds what each snapshot has lost.
    fn walk(&mut self, repo: &Repository, options: &RepairOptions) -> Result<()> {
        let (snapshots, unreadable) = repo.snapshots()?;
        self.findings.extend(unreadable.iter().map(Error::to_string));
        self.figures.snapshots = snapshots.len() as u64;
        self.figures.snapshots_unreadable = unreadable.len() as u64;
        self.findings.extend(repo.healer.healed().iter().map(|(id, _)| {
            format!(
                "packs/{id}: damaged; its parity heals it: run `daykeep check --repair`, for which nothing need be lost"
            )
        }));
        let readable = readable(repo, &self.catalog);
        let trees = Trees::new(repo, &self.catalog, &readable, &options.cancel, true)?;
        for snapshot in &snapshots {
            readable.begin(snapshot.id);
            let (copy, lost) = match trees.root(&snapshot.record.root) {
                Ok(tree) => (copy_of(snapshot, &tree), tree.left_out),
                Err(error) => {
                    damage(error)?;
                    (None, 1)
                }
            };
            if lost > 0 {
                let same = snapshots.iter().find(|other| copy.as_ref() == Some(&other.record));
                let copy_id = same.map(|same| same.id);
                self.snapshots.push(HurtSnapshot { snapshot: snapshot.clone(), copy, copy_id, lost });
            }
        }
        drop(trees);
        (self.lost, self.figures.lost) = readable.lost();
        Ok(())
    }
}

/// Returns what keeps whatever can be read by a catalog.
pub(super) fn readable(repo: &Repository, catalog: &Arc<Catalog>) -> Readable {
    Readable::new(repo.reader_by(catalog))
}
