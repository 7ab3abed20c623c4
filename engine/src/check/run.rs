//! Check: everything that a restore would need is there and as it was written.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::base::{ObjectId, ShortId, lock};
use crate::catalog::Catalog;
use crate::check::hurt::Walk;
use crate::check::listed::Listed;
use crate::check::options::{CheckOptions, CheckReport, ReadData};
use crate::check::packs;
use crate::chunks::ChunkReader;
use crate::crypt::random;
use crate::error::{Error, Result};
use crate::repo::{Repository, no_random};

/// So many errors of objects are told one by one.
const ERRORS_MAX: usize = 1000;

/// One check at work.
pub(super) struct Check<'a> {
    pub repo: &'a Repository,
    pub options: &'a CheckOptions,
    pub reader: ChunkReader,
    /// Chunks that are listed and could not be read, and the pack of each.
    pub hurt: HashMap<ShortId, ObjectId>,
    /// Deltas of which a base is not listed.
    pub unfounded: HashSet<ShortId>,
    pub bytes_read: AtomicU64,
    errors: Mutex<Vec<String>>,
    /// How many more errors there were than are kept.
    untold: AtomicU64,
}

impl Repository {
    /// Checks the whole repository: every key slot, index object and snapshot, that every chunk that a snapshot needs is
    /// listed in a pack that is there and long enough; with [`CheckOptions::read_data`] also every byte of packs.
    ///
    /// The catalog is not believed: the index objects are read anew.
    ///
    /// # Errors
    /// `InvalidOption`, or what keeps the check itself from going on, such as a list that fails; damage is in the report.
    pub fn check(&self, options: &CheckOptions) -> Result<CheckReport> {
        let begun = Instant::now();
        options.check()?;
        if options.repair {
            self.check_writable("repair")?;
        }
        self.healer.forget();
        let mut report = CheckReport::default();
        self.check_keys(&mut report)?;
        let catalog = Catalog::open(None, &self.id(), self.memory_bytes / 8)?;
        let (listed, are_founded) = self.check_index(&catalog, &mut report)?;
        let mut check = Check {
            repo: self,
            options,
            reader: self.reader_with(Arc::new(catalog), self.memory_bytes / 8),
            hurt: HashMap::new(),
            unfounded: HashSet::new(),
            bytes_read: AtomicU64::new(0),
            errors: Mutex::default(),
            untold: AtomicU64::new(0),
        };
        if !are_founded {
            check.find_unfounded(&listed)?;
        }
        let (snapshots, unreadable) = self.snapshots()?;
        if let Some(gone) = self.gone_snapshot(&snapshots)? {
            report.errors.insert(0, gone.to_string());
            report.gone_snapshot = Some(gone);
        }
        report.snapshots = (snapshots.len() + unreadable.len()) as u64;
        if options.draws() {
            let drawn = || random().map(u64::from_le_bytes).map_err(no_random);
            report.seed = Some(options.seed.map_or_else(drawn, Ok)?);
        }
        let pool = crate::pool::within(self.memory_bytes, options.threads)?;
        // Packs come first, so that the walk can name the files that need what is hurt in them.
        report.packs_read = check.packs(&pool, &listed, report.seed.unwrap_or_default())?;
        let found = pool.install(|| Walk::run(&check, &snapshots))?;
        report.trees = found.trees;
        report.files_hurt = found.files;
        report.bytes_read = check.bytes_read.load(Ordering::Relaxed);
        // What it means comes first, then what is behind it.
        let mut objects = std::mem::replace(&mut report.errors, found.lines);
        report.errors.extend(unreadable.iter().map(Error::to_string));
        report.errors.append(&mut objects);
        let mut errors = std::mem::take(&mut *lock(&check.errors));
        errors.sort();
        report.errors.append(&mut errors);
        report_unfounded(&check, found.files > 0, &mut report);
        let untold = check.untold.into_inner();
        if untold > 0 {
            report.errors.push(format!("{untold} more errors like these"));
        }
        self.check_proofs(&mut report)?;
        if let Some(test) = &options.restore_test {
            self.restore_tests(test, options, &snapshots, &mut report)?;
            tell_restore_tests(&mut report);
            // Without reading packs that is how they show.
            let lost = report.restore_tests.iter().map(|tested| tested.lost).sum();
            report.files_hurt = report.files_hurt.max(lost);
        }
        self.heal_packs(options.repair, &mut report);
        self.check_small(options.repair, &mut report)?;
        report.duration = begun.elapsed();
        Ok(report)
    }

    /// Writes back what was healed while everything was read, or says that this can be done.
    fn heal_packs(&self, is_wanted: bool, report: &mut CheckReport) {
        let count = |blocks: usize| match blocks {
            1 => "1 block of 4 KiB is".to_owned(),
            _ => format!("{blocks} blocks of 4 KiB are"),
        };
        let (healed, error) = if is_wanted { self.healer.write_back() } else { (Vec::new(), None) };
        report.errors.extend(error.map(|error| error.to_string()));
        report.objects_healed = healed.len() as u64;
        for (id, blocks) in healed {
            report.notes.push(format!("packs/{id}: {} healed; it is as it was written again", count(blocks)));
        }
        let healable = self.healer.healed();
        report.objects_healable = healable.len() as u64;
        report.errors.extend(healable.into_iter().map(|(id, blocks)| {
            let advice = "its parity heals it: run `daykeep check --repair`";
            format!("packs/{id}: {} damaged; {advice}", count(blocks))
        }));
    }

    fn check_proofs(&self, report: &mut CheckReport) -> Result<()> {
        let (_, unreadable) = self.proofs()?;
        report.errors.extend(unreadable.iter().map(Error::to_string));
        Ok(())
    }

    fn check_keys(&self, report: &mut CheckReport) -> Result<()> {
        let (keys, unreadable) = self.keys()?;
        report.errors.extend(unreadable.iter().map(Error::to_string));
        for key in keys.iter().filter(|key| !key.is_intact) {
            report
                .errors
                .push(format!("keys/{}: was changed by someone without the repository's key; remove it", key.id));
        }
        Ok(())
    }
}

/// Puts what the restore tests found in words.
fn tell_restore_tests(report: &mut CheckReport) {
    let CheckReport { restore_tests, errors, notes, .. } = report;
    for tested in restore_tests {
        let id = tested.snapshot.to_string();
        let line = |(path, reason): &(String, String)| format!("{}:{path}: {reason}", &id[..8]);
        let tell = |named: &[(String, String)], count: u64, lines: &mut Vec<String>, what: &str| {
            lines.extend(named.iter().map(line));
            let more = count - named.len() as u64;
            if more > 0 {
                lines.push(format!("{}: {more} more {what}", &id[..8]));
            }
        };
        tell(&tested.problems_named, tested.problems, errors, "files failed the restore test");
        tell(&tested.hints_named, tested.hints, notes, "hints of the restore test");
    }
}

/// Tells of deltas that stand on nothing. If no file needs any, an interrupted prune has left them.
fn report_unfounded(check: &Check<'_>, is_needed: bool, report: &mut CheckReport) {
    if is_needed {
        let named = check.unfounded.iter().filter_map(|id| Some((id, check.hurt.get(id)?))).take(ERRORS_MAX);
        report.errors.extend(named.map(|(id, pack)| {
            format!("packs/{pack}: chunk {id} stands on a chunk that is missing; the files that need it are named")
        }));
    } else if !check.unfounded.is_empty() {
        let count = check.unfounded.len();
        report
            .notes
            .push(format!("{count} deltas that no file needs stand on chunks that are gone; prune removes them"));
    }
}

impl Check<'_> {
    pub fn report(&self, error: impl FnOnce() -> String) {
        let mut errors = lock(&self.errors);
        if errors.len() < ERRORS_MAX {
            errors.push(error());
        } else {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn check_cancel(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Reads the packs that are to be read, notes which of their chunks cannot be, and returns how many packs there were.
    fn packs(&mut self, pool: &ThreadPool, listed: &Listed, seed: u64) -> Result<u64> {
        if self.options.read_data == ReadData::None {
            return Ok(0);
        }
        let packs = listed.packs.iter().map(|(id, place)| (*id, place.stored_bytes.unwrap_or_default())).collect();
        let mut chosen = packs::choose(packs, self.options.read_data, seed);
        let hurt = Mutex::new(std::mem::take(&mut self.hurt));
        let outcome = listed.parts(&mut chosen).into_iter().try_for_each(|part| {
            let (records, failed) = listed.records(self.repo, part, &mut |_, _, _| {});
            failed.iter().for_each(|error| self.report(|| error.to_string()));
            pool.install(|| part.par_iter().try_for_each(|id| self.pack(*id, records.get(id), &hurt)))
        });
        self.hurt = hurt.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.map(|()| chosen.len() as u64)
    }
}
