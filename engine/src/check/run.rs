//! Check: everything that a restore would need is there and as it was written.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use crate::base::limits::{DELTA_DEPTH_MAX, PACK_BYTES_MAX, TREE_DEPTH_MAX};
use crate::base::{ChunkId, Event, ObjectId, ObjectKind, ObjectName, ShortId, lock};
use crate::catalog::Catalog;
use crate::check::options::{CheckOptions, CheckReport};
use crate::chunks::{ChunkReader, entries_of};
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::index::{ChunkKind, ChunkRecord, Index, PackRecord};
use crate::format::tree::{Entry, Node};
use crate::pack;
use crate::repo::{Repository, load_index, remove_unfounded};
use crate::tree::{self, PieceWalk};

/// One check at work.
struct Check<'a> {
    repo: &'a Repository,
    options: &'a CheckOptions,
    reader: ChunkReader,
    /// Contents of trees that were walked already, by a hash of their whole record.
    seen: Mutex<HashSet<ChunkId>>,
    pieces: PieceWalk,
    /// Chunks that are listed and could not be read, and the pack of each.
    hurt: HashMap<ShortId, ObjectId>,
    /// Deltas of which a base is not listed.
    unfounded: HashSet<ShortId>,
    trees: AtomicU64,
    bytes_read: AtomicU64,
    errors: Mutex<Vec<String>>,
    /// How many more errors there were than are kept.
    untold: AtomicU64,
}

/// So many deltas are rebuilt at once, for what they stand on lies in the same frames.
const DELTAS_AT_ONCE: usize = 2048;
/// So many errors are told one by one; whoever loses more has lost a folder, or everything.
const ERRORS_MAX: usize = 10_000;

impl Repository {
    /// Checks the whole repository: every key slot, index object and snapshot, that every chunk that a snapshot needs is
    /// listed in a pack that is there and long enough; with [`CheckOptions::read_data`] also every byte of every pack.
    ///
    /// The catalog is not believed: the index objects are read anew.
    ///
    /// # Errors
    /// Only what keeps the check itself from going on, such as a list that fails; damage is in the report.
    pub fn check(&self, options: &CheckOptions) -> Result<CheckReport> {
        let begun = Instant::now();
        let mut report = CheckReport::default();
        self.check_keys(&mut report)?;
        let catalog = Catalog::open(None, &self.id(), self.memory_bytes / 8)?;
        let listed = self.check_index(&catalog, &mut report)?;
        let reader = ChunkReader::new(
            Arc::clone(&self.codec),
            Arc::new(catalog),
            Arc::clone(&self.store),
            self.memory_bytes / 8,
        );
        let (hurt, unfounded) = self.unfounded(&reader, &listed, &mut report)?;
        let mut check = Check {
            repo: self,
            options,
            reader,
            seen: Mutex::default(),
            pieces: PieceWalk::default(),
            hurt,
            unfounded,
            trees: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            errors: Mutex::default(),
            untold: AtomicU64::new(0),
        };
        let pool = crate::pool::new(options.threads)?;
        let (snapshots, unreadable) = self.snapshots()?;
        report.snapshots = (snapshots.len() + unreadable.len()) as u64;
        report.errors.extend(unreadable.iter().map(Error::to_string));
        pool.install(|| -> Result<()> {
            // Packs come first, so that the walk can name the files that need what is hurt in them.
            if options.read_data {
                let packs: Vec<_> = listed.iter().collect();
                let hurt = Mutex::new(std::mem::take(&mut check.hurt));
                packs.par_iter().try_for_each(|(id, record)| check.pack(**id, record.as_ref(), &hurt))?;
                check.hurt = hurt.into_inner().unwrap_or_else(PoisonError::into_inner);
            }
            for snapshot in &snapshots {
                let name = snapshot.id.to_string();
                let path = || format!("snapshot {}:", &name[..8]);
                check.tree(&snapshot.record.root, &path, 0)?;
            }
            Ok(())
        })?;
        report.trees = check.trees.load(Ordering::Relaxed);
        report.bytes_read = check.bytes_read.load(Ordering::Relaxed);
        let mut errors = std::mem::take(&mut *lock(&check.errors));
        errors.sort();
        let is_needed = !errors.is_empty();
        report.errors.append(&mut errors);
        report_unfounded(&check, is_needed, &mut report);
        let untold = check.untold.into_inner();
        if untold > 0 {
            report
                .errors
                .push(format!("{untold} more errors like these; a restore names every file that it leaves out"));
        }
        report.duration = begun.elapsed();
        Ok(report)
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

    /// Reads all index objects into `catalog` and compares their packs with those in the store. Returns every pack of
    /// either, with its record if an index object lists it.
    fn check_index(
        &self,
        catalog: &Catalog,
        report: &mut CheckReport,
    ) -> Result<HashMap<ObjectId, Option<PackRecord>>> {
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
            let is_there = |record: &&PackRecord| stored.get(&record.id) == Some(&u64::from(record.bytes));
            // Chunks of a pack that is missing or cut are missing, so that the files that need them are named.
            let whole = Index { packs: index.packs.iter().filter(is_there).cloned().collect() };
            catalog.add(&id, &mut entries_of(&whole))?;
            for record in index.packs {
                match stored.get(&record.id) {
                    // Whatever becomes of it, nothing in it is used.
                    _ if record.is_condemned() => {}
                    None => report.errors.push(format!("packs/{}: missing; index/{id} lists it", record.id)),
                    Some(&bytes) if bytes != u64::from(record.bytes) => report.errors.push(format!(
                        "packs/{}: has {bytes} bytes where index/{id} names {}",
                        record.id, record.bytes
                    )),
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
            record.is_some_and(|record| stored.get(id) == Some(&u64::from(record.bytes)))
        };
        remove_unfounded(self.store.as_ref(), &self.codec, catalog, &indexes, &is_whole)?;
        let unlisted = stored.keys().filter(|id| !packs.contains_key(id)).copied().collect::<Vec<_>>();
        if !unlisted.is_empty() {
            report.notes.push(format!("{} packs are in no index; an interrupted backup left them", unlisted.len()));
        }
        packs.extend(unlisted.into_iter().map(|id| (id, None)));
        packs.retain(|id, _| stored.contains_key(id));
        report.packs = packs.len() as u64;
        report.chunks = catalog.chunks()?;
        Ok(packs)
    }

    /// Returns the deltas that cannot be rebuilt, each with its pack; and those among them of which a base is not listed, or
    /// a base of a base. An interrupted prune may leave such, which nobody needs.
    fn unfounded(
        &self,
        reader: &ChunkReader,
        listed: &HashMap<ObjectId, Option<PackRecord>>,
        report: &mut CheckReport,
    ) -> Result<(HashMap<ShortId, ObjectId>, HashSet<ShortId>)> {
        let (mut hurt, mut unfounded) = (HashMap::new(), HashSet::new());
        for depth in 1..=DELTA_DEPTH_MAX {
            for record in listed.values().flatten() {
                for chunk in record.table.chunks.iter().filter(|chunk| !chunk.is_void()) {
                    let Some(delta) = chunk.delta.as_ref().filter(|delta| delta.reach.depth == depth) else { continue };
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
                            Some((_, location)) if location.reach.depth >= depth || location.kind != chunk.kind => {
                                report.errors.push(format!(
                                    "packs/{}: chunk {} names a base that cannot be its base",
                                    record.id, chunk.id
                                ));
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
            }
        }
        Ok((hurt, unfounded))
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

impl Check<'_> {
    fn report(&self, error: impl FnOnce() -> String) {
        let mut errors = lock(&self.errors);
        if errors.len() < ERRORS_MAX {
            errors.push(error());
        } else {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn check_cancel(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Returns whether the very same content was walked before, and notes that it is now.
    fn is_seen(&self, content: &Content) -> bool {
        !lock(&self.seen).insert(tree::fingerprint(content))
    }

    fn tree(&self, content: &Content, path: &(dyn Fn() -> String + Sync), depth: usize) -> Result<()> {
        self.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            let reason = format!("is nested deeper than {TREE_DEPTH_MAX} folders");
            self.report(|| format!("{} {}", path(), Error::Damaged { object: "tree".into(), reason }));
            return Ok(());
        }
        if self.is_seen(content) {
            return Ok(());
        }
        let tree = match tree::load(&self.reader, content) {
            Ok(tree) => tree,
            Err(error) => {
                self.report(|| format!("{} {error}", path()));
                return Ok(());
            }
        };
        self.trees.fetch_add(1, Ordering::Relaxed);
        tree.entries.par_iter().try_for_each(|entry: &Entry| {
            let path = || format!("{}/{}", path(), String::from_utf8_lossy(&entry.name));
            match &entry.node {
                Node::Directory { content } => self.tree(content, &path, depth + 1),
                Node::File { content, .. } => {
                    match self.file(content) {
                        Err(Error::Cancelled) => return Err(Error::Cancelled),
                        Err(error) => self.report(|| format!("{} {error}", path())),
                        Ok(()) => {}
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }

    /// Checks that every chunk of a file is listed, with the length that the file needs.
    fn file(&self, content: &Content) -> Result<()> {
        let visit = |id: &ShortId, bytes| {
            self.check_cancel()?;
            if let Some(pack) = self.hurt.get(id) {
                let reason = format!("lies in packs/{pack}, which could not be read there");
                return Err(Error::Damaged { object: format!("chunk {id}"), reason });
            }
            let location = self.reader.locate(id, ChunkKind::Data)?;
            tree::check_length(id, u64::from(location.bytes), bytes)
        };
        self.pieces.data_bytes(&self.reader, content, &visit).map(drop)
    }

    /// Reads a pack, proves every byte of it, and compares it with what the index says of it. Adds the chunks in it that
    /// cannot be read to `hurt`.
    fn pack(&self, id: ObjectId, record: Option<&PackRecord>, hurt: &Mutex<HashMap<ShortId, ObjectId>>) -> Result<()> {
        self.check_cancel()?;
        // One that a repair condemned is known to be hurt, and nothing in it is used.
        if record.is_some_and(PackRecord::is_condemned) {
            return Ok(());
        }
        let name = ObjectName::new(ObjectKind::Pack, id);
        let outcome = self.repo.store.get(&name, PACK_BYTES_MAX).map_err(Error::from).and_then(|bytes| {
            self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.send(bytes.len() as u64);
            pack::verify(&self.repo.codec, &name, &bytes)
        });
        let outcome = outcome.and_then(|footer| {
            let short = crate::chunks::shorten(&footer.table);
            if record.is_none_or(|record| record.table.agrees_with(&short)) {
                return self.deltas(&name, record, hurt);
            }
            Err(Error::damaged_object(&name, "its footer and the index list other chunks"))
        });
        if let Err(error) = outcome {
            self.report(|| error.to_string());
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
