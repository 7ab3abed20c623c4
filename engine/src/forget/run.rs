//! The two steps: plan, then apply.

use std::collections::BTreeSet;

use super::options::{ForgetOptions, ForgetPlan};
use super::plan;
use crate::base::{CancelToken, ObjectId, ObjectKind, ObjectName};
use crate::error::{Error, Result};
use crate::repo::Repository;
use crate::snapshot::{self, Snapshot};

impl Repository {
    /// Says which snapshots would stay, and why, and which would go; changes nothing.
    ///
    /// A snapshot that cannot be read stays unless its id is given, and is named in the plan. So do those whose time has not come yet, without
    /// taking the place of another; and those that are dated before the one they were compared with stay as long as any
    /// rule still has a place when all made after them have theirs: then the clock was wrong, and what was made under it
    /// must not go too early.
    ///
    /// # Errors
    /// `InvalidOption` for options that name neither what stays nor what goes, or both, and if a group would lose its last
    /// snapshot without [`ForgetOptions::allow_empty_groups`]; `SnapshotNotFound` or `SnapshotAmbiguous` for one that is
    /// named.
    pub fn forget_plan(&self, options: &ForgetOptions) -> Result<ForgetPlan> {
        let id_of = |wanted: &String| match wanted.as_str() {
            "latest" => self.snapshot(wanted).map(|found| found.id),
            digits => self.snapshot_id(digits),
        };
        let named: BTreeSet<_> = options.ids.iter().map(id_of).collect::<Result<_>>()?;
        let (snapshots, mut unreadable) = self.snapshots()?;
        let readable: BTreeSet<_> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        let hurt: Vec<_> = named.difference(&readable).copied().collect();
        if !hurt.is_empty() {
            let stays = |id: &ObjectId| !readable.contains(id) && !named.contains(id);
            let others = self.sorted_ids(ObjectKind::Snapshot)?.into_iter().filter(stays);
            let trouble = |id| snapshot::load(self.store.as_ref(), &self.codec, id).err();
            unreadable = others.filter_map(trouble).collect();
        }
        Ok(ForgetPlan { groups: plan::plan(snapshots, &named, options, self.now())?, unreadable, hurt })
    }

    /// Removes the snapshots that go, newest last. What they alone refer to stays until it is pruned.
    ///
    /// # Errors
    /// `InvalidOption` if the repository was opened for reading; `Cancelled`; the store's own. Some may be gone then, and
    /// forgetting again goes on.
    pub fn forget(&self, plan: &ForgetPlan, cancel: &CancelToken) -> Result<()> {
        self.check_writable("forget")?;
        let mut gone: Vec<_> = plan.forgotten().map(|snapshot| (snapshot.record.started, snapshot.id)).collect();
        gone.sort_unstable();
        let mut outcome = Ok(());
        let mut removed = BTreeSet::new();
        // If one of them ever comes back, it may be after a prune.
        let first: BTreeSet<_> = plan.forgotten().map(Snapshot::first_id).collect();
        self.catalog.retain_sound(&|id| !first.contains(id))?;
        for id in plan.hurt.iter().copied().chain(gone.into_iter().map(|(_, id)| id)) {
            if cancel.is_cancelled() {
                outcome = Err(Error::Cancelled);
                break;
            }
            self.store.delete(&ObjectName::new(ObjectKind::Snapshot, id))?;
            removed.insert(id);
        }
        self.store.sync()?;
        self.forgot(|id| removed.contains(id))?;
        outcome
    }
}
