//! Key slots: the master key wrapped by a password or by the recovery key.

use crate::base::limits::{ARGON2_KIB_MAX, ARGON2_LANES_MAX, ARGON2_PASSES_MAX, ARGON2_WORK_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::header::TAG_BYTES;
use crate::format::tree::Timestamp;

/// The bytes of the master key and of the recovery key.
pub const KEY_BYTES: usize = 32;
/// The bytes of a wrapped key.
pub const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;
/// The bytes of the MAC that ends a slot.
pub const MAC_BYTES: usize = 32;
/// The longest label of a slot.
pub const LABEL_BYTES_MAX: usize = 256;

/// How a password becomes a key: Argon2id (RFC 9106), version 0x13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// What opens a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A password.
    Password {
        /// How it becomes a key.
        argon2: Argon2Params,
    },
    /// The recovery key, which is random and needs no stretching. It is kept here too, sealed under the master key, so
    /// that whoever opened the repository can see it again.
    Recovery {
        /// The recovery key, sealed under the master key.
        sealed: [u8; WRAPPED_BYTES],
    },
}

/// The content of a key slot, after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// What opens it.
    pub kind: SlotKind,
    /// When it was made.
    pub created: Timestamp,
    /// The user's word for it.
    pub label: String,
    /// Random; makes the wrapping key unique.
    pub salt: [u8; 32],
    /// The master key, sealed under the wrapping key.
    pub wrapped: [u8; WRAPPED_BYTES],
    /// Keyed BLAKE3 under a key of the master key, over the header and all of the above.
    pub mac: [u8; MAC_BYTES],
}

impl KeySlot {
    /// Returns everything but the MAC, encoded: what the MAC is over, after the header.
    pub fn encode_body(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match &self.kind {
            SlotKind::Password { argon2 } => {
                out.u8(1);
                [argon2.memory_kib, argon2.passes, argon2.lanes].into_iter().for_each(|param| out.u32(param));
            }
            SlotKind::Recovery { sealed } => {
                out.u8(2);
                out.raw(sealed);
            }
        }
        out.varint_signed(self.created.seconds);
        out.varint(u64::from(self.created.nanos));
        out.bytes(self.label.as_bytes());
        out.raw(&self.salt);
        out.raw(&self.wrapped);
        out.finish()
    }

    /// Decodes what follows the header.
    ///
    /// # Errors
    /// A [`FormatError`] that says where; Argon2 parameters beyond their limits too.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let slot = Self::read(&mut input)?;
        input.finish()?;
        Ok(slot)
    }

    /// Takes a slot from its beginning, which tells its end.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let start = input.clone();
        let kind = match input.u8()? {
            1 => {
                let argon2 = Argon2Params { memory_kib: input.u32()?, passes: input.u32()?, lanes: input.u32()? };
                let lanes_fit = (1..=ARGON2_LANES_MAX).contains(&argon2.lanes);
                let memory_fits = lanes_fit && (8 * argon2.lanes..=ARGON2_KIB_MAX).contains(&argon2.memory_kib);
                let passes_fit = (1..=ARGON2_PASSES_MAX).contains(&argon2.passes);
                let work = u64::from(argon2.memory_kib) * u64::from(argon2.passes);
                if !memory_fits || !passes_fit || work > ARGON2_WORK_MAX {
                    return Err(start.error("Argon2 parameters within their limits", format!("{argon2:?}")));
                }
                SlotKind::Password { argon2 }
            }
            2 => SlotKind::Recovery { sealed: input.array()? },
            other => return Err(start.error("a slot kind of 1 or 2", other)),
        };
        let seconds = input.varint_signed()?;
        let created = Timestamp { seconds, nanos: input.varint_u32(999_999_999, "nanoseconds below 10^9")? };
        let label = input.string(LABEL_BYTES_MAX, "a label of at most 256 bytes")?;
        Ok(Self { kind, created, label, salt: input.array()?, wrapped: input.array()?, mac: input.array()? })
    }
}
