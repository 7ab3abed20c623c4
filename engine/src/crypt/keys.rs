//! The master key and the keys drawn from it, one per use.

use std::fmt;

use zeroize::Zeroizing;

use crate::base::{ObjectKind, ObjectName, ids};
use crate::crypt::seal::{ObjectKey, peek};
use crate::format::config::GearKey;
use crate::format::index::ChunkKind;

/// Returns random bytes of the system's generator: asked directly, since AWS-LC's own gathers entropy for milliseconds
/// when a process first uses it.
///
/// # Errors
/// If the system has none to give.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// The random key from which all others of a repository are drawn. Wiped from memory when dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Takes the key's bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn derive(&self, context: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, self.0.as_ref()))
    }
}

/// The second way into a repository: 256 random bits, written as 64 hexadecimal digits. A key file holds the same.
/// Wiped from memory when dropped; its `Debug` shows nothing.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<[u8; 32]>);

impl RecoveryKey {
    /// Takes the key's bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn generate() -> std::io::Result<Self> {
        random().map(Self::from_bytes)
    }

    /// Returns the key that `text` writes in 64 hexadecimal digits; spaces, line ends and hyphens between them are
    /// ignored, as people copy keys by hand.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect());
        ids::parse_hex(&digits).map(Self::from_bytes)
    }

    /// Returns the 64 hexadecimal digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

/// The keys drawn from a master key, one for each use, by BLAKE3's key derivation.
pub struct Keys {
    data_ids: Zeroizing<[u8; 32]>,
    tree_ids: Zeroizing<[u8; 32]>,
    list_ids: Zeroizing<[u8; 32]>,
    gear: Zeroizing<[u8; 32]>,
    objects: [Zeroizing<[u8; 32]>; 5],
    slot_mac: Zeroizing<[u8; 32]>,
    recovery: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Draws all keys.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            data_ids: master.derive("daykeep format 1: ids of data chunks"),
            tree_ids: master.derive("daykeep format 1: ids of tree chunks"),
            list_ids: master.derive("daykeep format 1: ids of list chunks"),
            gear: master.derive("daykeep format 1: gear table"),
            objects: [
                master.derive("daykeep format 1: seal of config"),
                master.derive("daykeep format 1: seal of packs"),
                master.derive("daykeep format 1: seal of index objects"),
                master.derive("daykeep format 1: seal of snapshots"),
                master.derive("daykeep format 1: seal of proofs"),
            ],
            slot_mac: master.derive("daykeep format 1: mac of key slots"),
            recovery: master.derive("daykeep format 1: seal of the recovery key"),
        }
    }

    /// Returns the key of the ids of one kind of chunk. Each has its own, so that nothing can pass for another kind.
    pub fn ids(&self, kind: ChunkKind) -> &[u8; 32] {
        match kind {
            ChunkKind::Data => &self.data_ids,
            ChunkKind::Tree => &self.tree_ids,
            ChunkKind::List => &self.list_ids,
        }
    }

    /// Returns the key of the gear table.
    pub fn gear_key(&self) -> GearKey {
        GearKey::from_bytes(*self.gear)
    }

    /// Returns the gear table of the repository's own key.
    pub fn gear(&self) -> Box<[u64; 256]> {
        Self::gear_of(&self.gear_key())
    }

    /// Returns the 256 words of the chunker's gear table: the XOF output of BLAKE3 under the gear key.
    pub fn gear_of(key: &GearKey) -> Box<[u64; 256]> {
        let mut bytes = [0u8; 2048];
        blake3::Hasher::new_keyed(key.as_bytes()).finalize_xof().fill(&mut bytes);
        let mut words = Box::new([0u64; 256]);
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        words
    }

    /// Returns the key that seals one object: the object's random name is its salt, so no two objects share a key and
    /// an object under another's name cannot be opened.
    pub fn object(&self, name: &ObjectName) -> ObjectKey {
        ObjectKey::new(&self.object_bytes(name))
    }

    /// Decrypts the first bytes of what was sealed in an object at `position`, in place. Nothing is proven of them: they are
    /// only to find the end by, and the tag there.
    pub fn peek(&self, name: &ObjectName, position: u64, sealed: &mut [u8]) {
        peek(&self.object_bytes(name), position, sealed);
    }

    fn object_bytes(&self, name: &ObjectName) -> Zeroizing<[u8; 32]> {
        let of_kind = match name.kind {
            // Key slots are not sealed under the master key, which they hold; their part of it is the MAC.
            ObjectKind::Config | ObjectKind::Key => &self.objects[0],
            ObjectKind::Pack => &self.objects[1],
            ObjectKind::Index => &self.objects[2],
            ObjectKind::Snapshot => &self.objects[3],
            ObjectKind::Proof => &self.objects[4],
        };
        Zeroizing::new(*blake3::keyed_hash(of_kind, name.id.as_bytes()).as_bytes())
    }

    pub(super) fn slot_mac(&self) -> &[u8; 32] {
        &self.slot_mac
    }

    pub(super) fn recovery(&self) -> &[u8; 32] {
        &self.recovery
    }
}
