//! Wrapping the master key by a password or by the recovery key.

use std::io;

use zeroize::Zeroizing;

use crate::crypt::keys::{Keys, MasterKey, RecoveryKey, random};
use crate::crypt::seal::{BadSeal, ObjectKey};
use crate::format::key_slot::{Argon2Params, KEY_BYTES, KeySlot, MAC_BYTES, SlotKind, WRAPPED_BYTES};
use crate::format::tree::Timestamp;

/// Argon2id as RFC 9106 recommends second: 64 MiB, 3 passes, 4 lanes.
pub const DEFAULT_ARGON2: Argon2Params = Argon2Params { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

/// What opens a slot.
pub enum SlotSecret<'a> {
    /// A password, and how a new slot stretches it.
    Password(&'a str, Argon2Params),
    /// The recovery key.
    Recovery(&'a RecoveryKey),
}

fn stretch(password: &str, salt: &[u8; 32], params: &Argon2Params) -> io::Result<Zeroizing<[u8; 32]>> {
    let bad = |error: argon2::Error| io::Error::other(format!("Argon2: {error}"));
    let params = argon2::Params::new(params.memory_kib, params.passes, params.lanes, Some(KEY_BYTES)).map_err(bad)?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    argon2.hash_password_into(password.as_bytes(), salt, key.as_mut()).map_err(bad)?;
    Ok(key)
}

fn from_recovery(recovery: &RecoveryKey, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(recovery.as_bytes());
    material[32..].copy_from_slice(salt);
    Zeroizing::new(blake3::derive_key("daykeep format 1: wrap by the recovery key", material.as_ref()))
}

fn wrap(key: &[u8; 32], secret: &[u8; 32]) -> io::Result<[u8; WRAPPED_BYTES]> {
    let mut out = [0; WRAPPED_BYTES];
    ObjectKey::new(key).seal(0, &[], secret, &mut out).map_err(|BadSeal| io::Error::other("sealing failed"))?;
    Ok(out)
}

fn unwrap(key: &[u8; 32], wrapped: &[u8; WRAPPED_BYTES]) -> Option<Zeroizing<[u8; 32]>> {
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    ObjectKey::new(key).open(0, &[], wrapped, out.as_mut()).ok()?;
    Some(out)
}

/// The key that seals the recovery key in its slot: of the slot's salt, so that no two slots share a key and nonce.
fn recovery_seal(keys: &Keys, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*blake3::keyed_hash(keys.recovery(), salt).as_bytes())
}

fn mac(keys: &Keys, header: &[u8], body: &[u8]) -> [u8; MAC_BYTES] {
    *blake3::Hasher::new_keyed(keys.slot_mac()).update(header).update(body).finalize().as_bytes()
}

/// Makes a slot that opens with `secret`. `header` is the header of the object that will hold it.
///
/// # Errors
/// If the system has no random numbers or not the memory that Argon2 asks for.
pub fn make_slot(
    master: &MasterKey,
    secret: &SlotSecret<'_>,
    header: &[u8],
    label: &str,
    created: Timestamp,
) -> io::Result<KeySlot> {
    let keys = Keys::new(master);
    let salt = random()?;
    let (kind, wrapping) = match secret {
        SlotSecret::Password(password, argon2) => {
            (SlotKind::Password { argon2: *argon2 }, stretch(password, &salt, argon2)?)
        }
        SlotSecret::Recovery(recovery) => {
            let sealed = wrap(&recovery_seal(&keys, &salt), recovery.as_bytes())?;
            (SlotKind::Recovery { sealed }, from_recovery(recovery, &salt))
        }
    };
    let wrapped = wrap(&wrapping, master.as_bytes())?;
    let mut slot = KeySlot { kind, created, label: label.to_owned(), salt, wrapped, mac: [0; MAC_BYTES] };
    slot.mac = mac(&keys, header, &slot.encode_body());
    Ok(slot)
}

/// Returns the master key if `secret` opens the slot.
///
/// # Errors
/// If Argon2 cannot have the memory that the slot asks for.
pub fn open_slot(slot: &KeySlot, secret: &SlotSecret<'_>) -> io::Result<Option<MasterKey>> {
    let wrapping = match (&slot.kind, secret) {
        (SlotKind::Password { argon2 }, SlotSecret::Password(password, _)) => stretch(password, &slot.salt, argon2)?,
        (SlotKind::Recovery { .. }, SlotSecret::Recovery(recovery)) => from_recovery(recovery, &slot.salt),
        _ => return Ok(None),
    };
    Ok(unwrap(&wrapping, &slot.wrapped).map(|key| MasterKey::from_bytes(*key)))
}

/// Returns whether the slot is as it was made by someone who had the master key.
pub fn slot_mac_matches(keys: &Keys, header: &[u8], slot: &KeySlot) -> bool {
    // BLAKE3's Hash compares in constant time.
    blake3::Hash::from_bytes(mac(keys, header, &slot.encode_body())) == blake3::Hash::from_bytes(slot.mac)
}

/// Returns the recovery key that a recovery slot keeps under the master key.
pub fn unseal_recovery(keys: &Keys, slot: &KeySlot) -> Option<RecoveryKey> {
    match &slot.kind {
        SlotKind::Recovery { sealed } => {
            unwrap(&recovery_seal(keys, &slot.salt), sealed).map(|key| RecoveryKey::from_bytes(*key))
        }
        SlotKind::Password { .. } => None,
    }
}
