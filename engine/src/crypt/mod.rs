//! Rank 2: keys and seals.

mod keys;
mod seal;
mod slots;

pub use keys::{Keys, MasterKey, RecoveryKey, random};
pub use seal::{BadSeal, ObjectKey};
pub use slots::{DEFAULT_ARGON2, SlotSecret, make_slot, open_slot, slot_mac_matches, unseal_recovery};
