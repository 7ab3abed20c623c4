//! Key slots of a repository: list, add, change, remove.

use crate::base::limits::{KEY_SLOTS_MAX, SMALL_OBJECT_BYTES_MAX};
use crate::base::{ObjectId, ObjectKind, ObjectName, RepositoryId};
use crate::codec::Codec;
use crate::crypt::{self, Keys, MasterKey, RecoveryKey, SlotSecret};
use crate::error::{Error, Result};
use crate::format::codec::Reader;
use crate::format::header::{HEADER_BYTES, Header};
use crate::format::key_slot::{Argon2Params, KeySlot, LABEL_BYTES_MAX, SlotKind};
use crate::format::tree::Timestamp;
use crate::format::twice::copies;
use crate::repo::{Repository, Secret, new_object_id, no_random};
use crate::small;
use crate::store::Store;

/// What opens a key slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOpens {
    /// A password.
    Password,
    /// The recovery key, or a key file that holds it.
    RecoveryKey,
}

/// A key slot as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The slot's random id.
    pub id: ObjectId,
    /// What opens it.
    pub opens: KeyOpens,
    /// The user's word for it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is as someone made it who had the repository's key.
    pub is_intact: bool,
}

/// What a new slot opens with.
pub(super) enum NewSlot<'a> {
    Password(&'a str, Argon2Params),
    Recovery(&'a RecoveryKey),
}

/// Stores a new slot and returns its id.
pub(super) fn put_slot(
    store: &dyn Store,
    codec: &Codec,
    master: &MasterKey,
    new: &NewSlot<'_>,
    label: &str,
    created: Timestamp,
) -> Result<ObjectId> {
    if label.len() > LABEL_BYTES_MAX {
        let reason = format!("{} bytes is too long; use at most {LABEL_BYTES_MAX}", label.len());
        return Err(Error::InvalidOption { option: "label", reason });
    }
    if slot_ids(store)?.len() >= KEY_SLOTS_MAX {
        let reason = format!("there are {KEY_SLOTS_MAX} keys already; remove one first");
        return Err(Error::InvalidKey { object: "keys".into(), reason });
    }
    let secret = match new {
        NewSlot::Password("", _) => {
            let reason = "an empty password protects nothing; choose another".into();
            return Err(Error::InvalidKey { object: "password".into(), reason });
        }
        NewSlot::Password(password, argon2) => SlotSecret::Password(password, *argon2),
        NewSlot::Recovery(key) => SlotSecret::Recovery(key),
    };
    let name = ObjectName::new(ObjectKind::Key, new_object_id()?);
    let header = codec.header(&name);
    let slot = crypt::make_slot(master, &secret, &header, label, created).map_err(no_random)?;
    let mut object = header.to_vec();
    object.extend_from_slice(&slot.encode_body());
    object.extend_from_slice(&slot.mac);
    small::put(store, codec, &name, &object)?;
    Ok(name.id)
}

/// A slot as it was found, of which nothing is proven yet.
pub(crate) struct FoundSlot {
    /// The slot as an object.
    pub object: Vec<u8>,
    slot: KeySlot,
}

impl FoundSlot {
    /// Returns whether it is as someone made it who had the repository's key.
    fn is_intact(&self, keys: &Keys) -> bool {
        crypt::slot_mac_matches(keys, &self.object[..HEADER_BYTES], &self.slot)
    }
}

/// Reads a slot; if it is stored twice and the copies differ, both. Without parity anything behind it is damage, but who has
/// not opened the repository does not know whether there is parity: for them it `may_be_twice`.
fn get_slot(store: &dyn Store, repository: RepositoryId, id: ObjectId, may_be_twice: bool) -> Result<Vec<FoundSlot>> {
    let name = ObjectName::new(ObjectKind::Key, id);
    let stored = small::get(store, &name, SMALL_OBJECT_BYTES_MAX)?;
    let (mut found, mut damage): (Vec<FoundSlot>, _) = (Vec::new(), None);
    for copy in copies(&stored) {
        match decode_slot(repository, &name, copy) {
            Ok(slot) if found.iter().all(|known| known.object != slot.object) => found.push(slot),
            Ok(_) => {}
            Err(error) => damage = damage.or(Some(error)),
        }
    }
    if !may_be_twice && found.iter().any(|slot| slot.object.len() < stored.len()) {
        return Err(Error::damaged_object(&name, "more bytes follow its end"));
    }
    match damage {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Takes a slot from the beginning of `bytes`.
fn decode_slot(repository: RepositoryId, name: &ObjectName, bytes: &[u8]) -> Result<FoundSlot> {
    let header = Header::decode(bytes).map_err(|error| Error::damaged(name, &error))?;
    if header != Header::new(repository, *name) {
        return Err(Error::damaged_object(name, "its header is that of another object or repository"));
    }
    let mut input = Reader::new(&bytes[HEADER_BYTES..]);
    let slot = KeySlot::read(&mut input).map_err(|error| Error::damaged(name, &error))?;
    Ok(FoundSlot { object: bytes[..bytes.len() - input.remaining()].to_vec(), slot })
}

fn slot_ids(store: &dyn Store) -> Result<Vec<ObjectId>> {
    let ids = store.list(ObjectKind::Key)?;
    if ids.len() > KEY_SLOTS_MAX {
        let reason = format!("there are {} key slots, more than {KEY_SLOTS_MAX}", ids.len());
        return Err(Error::Damaged { object: "keys".into(), reason });
    }
    Ok(ids.into_iter().map(|(id, _)| id).collect())
}

/// Returns the master key from the first slot that `secret` opens. Slots that are damaged are passed over; if none
/// opens, the damage is what is told.
pub(super) fn find_master(
    store: &dyn Store,
    repository: RepositoryId,
    location: &str,
    secret: &Secret,
) -> Result<MasterKey> {
    let secret = match secret {
        Secret::Password(password) => SlotSecret::Password(password, crypt::DEFAULT_ARGON2),
        Secret::Recovery(key) => SlotSecret::Recovery(key),
    };
    let ids = slot_ids(store)?;
    let mut damage = None;
    if ids.is_empty() {
        let reason = "there is none left, and without one nothing can be opened; bring one back from a copy".into();
        damage = Some(Error::Damaged { object: "keys".into(), reason });
    }
    for &id in &ids {
        match get_slot(store, repository, id, true) {
            Ok(found) => {
                for found in found {
                    let Some(master) = crypt::open_slot(&found.slot, &secret).map_err(no_random)? else { continue };
                    // A slot of another repository may open with the same key; its MAC shows that it is not ours.
                    if found.is_intact(&Keys::new(&master)) {
                        return Ok(master);
                    }
                    let reason = "was changed by someone without the repository's key";
                    damage = Some(Error::damaged_object(&ObjectName::new(ObjectKind::Key, id), reason));
                }
            }
            Err(error) => damage = Some(error),
        }
    }
    Err(damage.unwrap_or_else(|| Error::WrongKey { repository: location.to_owned(), slots: ids.len() }))
}

impl Repository {
    /// Returns a slot, and whether it is intact.
    pub(crate) fn slot(&self, id: ObjectId) -> Result<(FoundSlot, bool)> {
        let may_be_twice = self.codec.parity_percent > 0;
        let mut found = get_slot(self.store.as_ref(), self.codec.repository, id, may_be_twice)?;
        let intact = found.iter().position(|slot| slot.is_intact(&self.codec.keys));
        Ok((found.swap_remove(intact.unwrap_or(0)), intact.is_some()))
    }

    /// Returns every key slot, oldest first, and an error for each one that cannot be read.
    ///
    /// # Errors
    /// If the list of slots cannot be had.
    pub fn keys(&self) -> Result<(Vec<KeyInfo>, Vec<Error>)> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for id in slot_ids(self.store.as_ref())? {
            match self.slot(id) {
                Ok((FoundSlot { slot, .. }, is_intact)) => keys.push(KeyInfo {
                    id,
                    opens: match slot.kind {
                        SlotKind::Password { .. } => KeyOpens::Password,
                        SlotKind::Recovery { .. } => KeyOpens::RecoveryKey,
                    },
                    created: slot.created,
                    is_intact,
                    label: slot.label,
                }),
                Err(error) => errors.push(error),
            }
        }
        keys.sort_by_key(|key| (key.created, key.id));
        Ok((keys, errors))
    }

    /// Adds a password, under a label of the user's, and returns the new slot's id.
    ///
    /// # Errors
    /// `InvalidKey` for an empty password; the store's own.
    pub fn add_password(&self, password: &str, label: &str) -> Result<ObjectId> {
        self.check_writable("key add")?;
        let slot = NewSlot::Password(password, crypt::DEFAULT_ARGON2);
        let id = put_slot(self.store.as_ref(), &self.codec, &self.master, &slot, label, self.now())?;
        self.store.sync()?;
        Ok(id)
    }

    /// Adds `new` and removes every slot that `old` opens.
    ///
    /// # Errors
    /// `WrongKey` if `old` opens none; then nothing was changed.
    pub fn change_password(&self, old: &str, new: &str) -> Result<ObjectId> {
        self.check_writable("key change-password")?;
        let mut replaced = Vec::new();
        let ids = slot_ids(self.store.as_ref())?;
        for &id in &ids {
            if let Ok((FoundSlot { slot, .. }, _)) = self.slot(id) {
                let secret = SlotSecret::Password(old, crypt::DEFAULT_ARGON2);
                if crypt::open_slot(&slot, &secret).map_err(no_random)?.is_some() {
                    replaced.push((id, slot.label));
                }
            }
        }
        let Some((_, label)) = replaced.first() else {
            return Err(Error::WrongKey { repository: self.location(), slots: ids.len() });
        };
        let added = self.add_password(new, label)?;
        for (id, _) in replaced {
            self.store.delete(&ObjectName::new(ObjectKind::Key, id))?;
        }
        self.store.sync()?;
        Ok(added)
    }

    /// Removes the slot whose id begins with `prefix`.
    ///
    /// # Errors
    /// `InvalidKey` if none or several match, or if no intact slot would be left to open the repository with.
    pub fn remove_key(&self, prefix: &str) -> Result<ObjectId> {
        self.check_writable("key remove")?;
        let ids = slot_ids(self.store.as_ref())?;
        let matching: Vec<_> = ids.into_iter().filter(|id| id.to_string().starts_with(prefix)).collect();
        let refused = |reason: &str| Err(Error::InvalidKey { object: format!("key {prefix}"), reason: reason.into() });
        let id = match matching.as_slice() {
            [id] if !prefix.is_empty() => *id,
            [] => return refused("no key has such an id; `key list` shows them"),
            _ => return refused("several keys have such an id; give more digits"),
        };
        if !self.keys()?.0.iter().any(|key| key.id != id && key.is_intact) {
            return refused("it is the last key; without it nobody could open the repository, so add another first");
        }
        self.store.delete(&ObjectName::new(ObjectKind::Key, id))?;
        self.store.sync()?;
        Ok(id)
    }

    /// Returns the recovery key.
    ///
    /// # Errors
    /// `InvalidKey` if its slot was removed.
    pub fn recovery_key(&self) -> Result<RecoveryKey> {
        let mut keys = slot_ids(self.store.as_ref())?.into_iter().filter_map(|id| self.slot(id).ok());
        let found = keys.find_map(|(found, _)| crypt::unseal_recovery(&self.codec.keys, &found.slot));
        found.ok_or_else(|| Error::InvalidKey {
            object: "recovery key".into(),
            reason: "its slot was removed from this repository; a password still opens it".into(),
        })
    }
}
