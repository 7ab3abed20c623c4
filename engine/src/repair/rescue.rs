//! Saves objects out of a redb file that redb cannot open any more.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::limits::{INDEX_BYTES_MAX, INDEX_PLAIN_BYTES_MAX, KEY_SLOTS_MAX, SMALL_OBJECT_BYTES_MAX};
use crate::base::{CancelToken, ObjectId, ObjectKind, ObjectName, RepositoryId, shown_path};
use crate::chunk::DEFAULT_PARAMS;
use crate::codec::Codec;
use crate::crypt::{self, Keys, MasterKey, SlotSecret};
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::codec::Reader;
use crate::format::config::Config;
use crate::format::header::{HEADER_BYTES, Header};
use crate::format::index::Index;
use crate::format::key_slot::KeySlot;
use crate::format::pack::TRAILER_BYTES;
use crate::format::parity::Geometry;
use crate::format::snapshot::SnapshotRecord;
use crate::format::tree::Timestamp;
use crate::pack;
use crate::repair::scan::{Damaged, Found};
use crate::repo::{Location, OpenOptions, Repository, Secret, at_location, no_random, seal_config, store_lease};
use crate::small;
use crate::store::{Access, Store};

/// More than a key slot takes with the longest label.
const SLOT_BYTES_MAX: usize = 1024;
/// A snapshot may be as long as an index object.
const SEALED_BYTES_MAX: usize = INDEX_BYTES_MAX;

/// What [`Repository::rescue`] saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RescueReport {
    /// Key slots.
    pub keys: u64,
    /// Packs whose footer is whole.
    pub packs: u64,
    /// Packs whose footer is not, and whose length an index object tells: their frames may be whole.
    pub packs_without_footer: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// What begins as an object of the repository and is none any more.
    pub left: u64,
    /// Whether the config was lost. Then a new one was made: files are cut as in a new repository.
    pub is_config_new: bool,
    /// Bytes of all objects saved.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// A key slot as it lies in the file.
struct Slot {
    name: ObjectName,
    repository: RepositoryId,
    object: Vec<u8>,
    slot: KeySlot,
}

impl Repository {
    /// Saves what can be saved of a damaged repository, in a redb file or a directory, that does not open any more into a new
    /// store at `to`. It is only read.
    ///
    /// Its bytes are looked through for objects, whatever redb's own structures say: each begins with a header, and its
    /// seals prove that it is whole. So objects that had been deleted and whose place was not used again come back too:
    /// forgotten snapshots, which may have lost parts, and removed keys. Then [`repair_plan`](Self::repair_plan) on the new
    /// repository, with [`read_data`](crate::RepairOptions::read_data), says what is lost.
    ///
    /// Memory is needed for the longest object, and a hundred bytes for each.
    ///
    /// # Errors
    /// `WrongKey` if `secret` opens none of the key slots that are left: without any nothing can be read; `Damaged` if there
    /// is none; `RepositoryExists` if there is anything at `to`; `Cancelled`; `File`; the new store's own. Then nothing is
    /// left at `to`.
    pub fn rescue(
        damaged: &Path,
        secret: &Secret,
        to: &Location,
        options: &OpenOptions,
        cancel: &CancelToken,
    ) -> Result<RescueReport> {
        options.check()?;
        let begun = Instant::now();
        let file = Damaged::open(damaged)?;
        let found = Found::in_file(&file, cancel)?;
        let slots = slots(&file, &found);
        let location = shown_path(damaged);
        let (repository, master) = master_of(&slots, secret, &location)?;
        let codec = Codec { repository, location, keys: Keys::new(&master), parity_percent: 0 };
        let (_, budget) = options.with_budget();
        let lease = store_lease(&budget, Access::Write);
        let store = to.create(lease.bytes());
        let store = store.map_err(|error| match error.kind {
            // What is missing is the folder in which it was to be made.
            StoreErrorKind::NotFound => error.into(),
            _ => at_location(&to.to_string(), error),
        })?;
        let mut rescue = Rescue {
            file,
            found,
            codec,
            cancel,
            saved: HashSet::new(),
            longest: None,
            report: RescueReport::default(),
        };
        let outcome = rescue.save(store.as_ref(), &slots);
        drop(store);
        if let Err(error) = outcome {
            to.remove_new();
            return Err(error);
        }
        rescue.report.duration = begun.elapsed();
        Ok(rescue.report)
    }
}

/// Returns all key slots that can be decoded, each once.
fn slots(file: &Damaged, found: &Found) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    for (at, header) in found.headers.iter().filter(|(_, header)| header.name.kind == ObjectKind::Key) {
        let start = file.get(*at, SLOT_BYTES_MAX);
        let mut input = Reader::new(&start[HEADER_BYTES..]);
        let Ok(slot) = KeySlot::read(&mut input) else { continue };
        let object = start[..start.len() - input.remaining()].to_vec();
        let (name, repository) = (header.name, header.repository);
        if slots.len() < KEY_SLOTS_MAX && !slots.iter().any(|other| other.object == object) {
            slots.push(Slot { name, repository, object, slot });
        }
    }
    slots
}

/// Returns the master key from the first slot that `secret` opens, and whose it is.
fn master_of(slots: &[Slot], secret: &Secret, location: &str) -> Result<(RepositoryId, MasterKey)> {
    let secret = match secret {
        Secret::Password(password) => SlotSecret::Password(password, crypt::DEFAULT_ARGON2),
        Secret::Recovery(key) => SlotSecret::Recovery(key),
    };
    for found in slots {
        if let Some(master) = crypt::open_slot(&found.slot, &secret).map_err(no_random)?
            && found.is_of(&Keys::new(&master))
        {
            return Ok((found.repository, master));
        }
    }
    if slots.is_empty() {
        let reason = "no key slot is left in it, and without one nothing can be opened; look for an older copy";
        return Err(Error::Damaged { object: location.to_owned(), reason: reason.into() });
    }
    Err(Error::WrongKey { repository: location.to_owned(), slots: slots.len() })
}

impl Slot {
    fn is_of(&self, keys: &Keys) -> bool {
        crypt::slot_mac_matches(keys, &self.object[..HEADER_BYTES], &self.slot)
    }
}

/// A rescue at work.
struct Rescue<'a> {
    file: Damaged,
    found: Found,
    codec: Codec,
    cancel: &'a CancelToken,
    saved: HashSet<ObjectName>,
    /// How the longest pack with a footer is divided.
    longest: Option<Geometry>,
    report: RescueReport,
}

impl Rescue<'_> {
    /// Saves everything, in the order in which objects refer to one another; the config, which makes it a repository, last.
    fn save(&mut self, store: &dyn Store, slots: &[Slot]) -> Result<()> {
        let repository = self.codec.repository;
        let ours = |(_, header): &&(u64, Header)| header.repository == repository;
        let headers: Vec<(u64, ObjectName)> =
            self.found.headers.iter().filter(ours).map(|(at, header)| (*at, header.name)).collect();
        let of = |kind| headers.iter().copied().filter(move |(_, name)| name.kind == kind);
        let lengths = self.listed_lengths(of(ObjectKind::Index))?;
        for (at, name) in of(ObjectKind::Pack) {
            let Some((object, has_footer)) = self.pack(at, &name, &lengths)? else { continue };
            if self.put(store, &name, &object)? {
                *(if has_footer { &mut self.report.packs } else { &mut self.report.packs_without_footer }) += 1;
            }
        }
        store.sync()?;
        let can_be_read = |(_, payload): &(_, Vec<u8>)| Config::decode(payload).is_ok();
        let configs = of(ObjectKind::Config)
            .find_map(|(at, name)| self.sealed(at, &name, SMALL_OBJECT_BYTES_MAX).filter(can_be_read));
        let (config, payload) = configs.map_or_else(|| self.new_config(slots), Ok)?;
        // What is wrong with it, if anything, shows when the repository is opened.
        self.codec.parity_percent = Config::decode(&payload).map_or(0, |config| config.parity_percent);
        for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
            // One that opens and cannot be read would stand in the way of those that can.
            let can_be_read = |payload: &[u8]| match kind {
                ObjectKind::Index => Index::decode(payload).is_ok(),
                _ => SnapshotRecord::decode(payload).is_ok(),
            };
            for (at, name) in of(kind) {
                if let Some((object, payload)) = self.sealed(at, &name, SEALED_BYTES_MAX)
                    && can_be_read(&payload)
                    && self.put(store, &name, &object)?
                {
                    let report = &mut self.report;
                    *(if kind == ObjectKind::Index { &mut report.index_objects } else { &mut report.snapshots }) += 1;
                }
            }
            store.sync()?;
        }
        for slot in slots {
            if slot.is_of(&self.codec.keys) && self.put(store, &slot.name, &slot.object)? {
                self.report.keys += 1;
            }
        }
        store.sync()?;
        self.put(store, &ObjectName::CONFIG, &config)?;
        let stored_as = |name: &ObjectName| if name.kind == ObjectKind::Config { ObjectName::CONFIG } else { *name };
        let left: HashSet<ObjectName> = headers.iter().map(|(_, name)| stored_as(name)).collect();
        self.report.left = left.difference(&self.saved).count() as u64;
        Ok(store.sync()?)
    }

    fn put(&mut self, store: &dyn Store, name: &ObjectName, object: &[u8]) -> Result<bool> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if !self.saved.insert(*name) {
            return Ok(false);
        }
        self.report.bytes += if small::KINDS.contains(&name.kind) {
            small::put(store, &self.codec, name, object)?
        } else {
            store.put(name, object)?;
            object.len() as u64
        };
        Ok(true)
    }

    /// Returns the sealed object that begins at `at` if it is whole, and its payload. It tells its length itself.
    fn sealed(&self, at: u64, name: &ObjectName, bytes_max: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let start = self.file.get(at, 2 * HEADER_BYTES);
        let bytes = self.codec.peek_length(name, &start)?;
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= bytes_max)?;
        if at + bytes as u64 > self.file.bytes {
            return None;
        }
        let object = self.file.get(at, bytes);
        let payload = self.codec.open_object(name, &object, INDEX_PLAIN_BYTES_MAX).ok()?;
        Some((object, payload))
    }

    /// Returns the lengths of the packs that index objects list.
    fn listed_lengths(&self, indexes: impl Iterator<Item = (u64, ObjectName)>) -> Result<HashMap<ObjectId, u32>> {
        let mut lengths = HashMap::new();
        for (at, name) in indexes {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let index = self.sealed(at, &name, SEALED_BYTES_MAX).and_then(|(_, payload)| Index::decode(&payload).ok());
            lengths.extend(index.into_iter().flat_map(|index| index.packs).map(|pack| (pack.id, pack.bytes)));
        }
        Ok(lengths)
    }

    /// Returns the pack that begins at `at`, and whether its footer is whole.
    fn pack(
        &mut self,
        at: u64,
        name: &ObjectName,
        lengths: &HashMap<ObjectId, u32>,
    ) -> Result<Option<(Vec<u8>, bool)>> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.saved.contains(name) {
            return Ok(None);
        }
        for bytes in self.found.pack_lengths(at) {
            let object = self.file.get(at, bytes);
            if pack::read_footer(&self.codec, name, &object).is_ok() {
                let (geometry, _) = pack::place_footer(name, &object[bytes - TRAILER_BYTES..], bytes as u64)?;
                if self.longest.is_none_or(|longest| longest.protected < geometry.protected) {
                    self.longest = Some(geometry);
                }
                return Ok(Some((object, true)));
            }
        }
        let listed = lengths.get(&name.id).filter(|bytes| at + u64::from(**bytes) <= self.file.bytes);
        Ok(listed.map(|bytes| (self.file.get(at, *bytes as usize), false)))
    }

    /// Makes a config in place of one that is lost. It is dated as the oldest key, which was made with the repository; packs
    /// get as much parity as the longest has.
    fn new_config(&mut self, slots: &[Slot]) -> Result<(Vec<u8>, Vec<u8>)> {
        self.report.is_config_new = true;
        let ours = slots.iter().filter(|slot| slot.is_of(&self.codec.keys));
        let created = ours.map(|slot| slot.slot.created).min().unwrap_or(Timestamp::default());
        let parity_percent = self.longest.map_or(0, |geometry| geometry.percent());
        let config = Config { created, chunker: DEFAULT_PARAMS, shared_gear: None, parity_percent };
        let payload = config.encode();
        Ok((seal_config(&self.codec, &config)?, payload))
    }
}
