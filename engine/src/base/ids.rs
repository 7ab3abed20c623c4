//! The names of things: repositories, objects in a store, and chunks.

use std::fmt;

/// Writes `bytes` as lower-case hexadecimal digits.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Returns the bytes that `text` names in hexadecimal digits, or `None` if it is anything else than `2 * N` of them.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// Makes the id of its bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
    };
}

byte_id!(
    /// The keyed BLAKE3 hash of a chunk's bytes, whole. It stands once in a repository, in the footer of the chunk's pack.
    ChunkId,
    32
);
byte_id!(
    /// The first 16 bytes of a [`ChunkId`], by which trees, chunk lists, the index and the catalog refer to a chunk.
    ///
    /// 128 bits of a keyed hash: among 2^40 chunks two share them with a probability below 2^-48, and nobody
    /// without the repository's key can search for such a pair.
    ShortId,
    16
);
byte_id!(
    /// The random 256-bit name of an object in a store. It is the salt of the key that seals the object.
    ObjectId,
    32
);
byte_id!(
    /// The random name of a repository, the same for its whole life.
    RepositoryId,
    16
);

impl ChunkId {
    /// Returns the prefix by which other objects refer to this chunk.
    pub fn short(&self) -> ShortId {
        let mut bytes = [0u8; ShortId::LEN];
        bytes.copy_from_slice(&self.0[..ShortId::LEN]);
        ShortId(bytes)
    }
}

impl ObjectId {
    /// Returns the id written as 64 hexadecimal digits in `text`, or `None` if it is not one.
    pub fn from_hex(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

/// What an object in a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ObjectKind {
    /// The one object that makes a store a repository; its id is all zeros.
    Config = 1,
    /// A key slot: the master key, wrapped by a password or by the recovery key.
    Key = 2,
    /// Many sealed chunks.
    Pack = 3,
    /// Says which chunks lie where in which packs.
    Index = 4,
    /// One backup: its time, host, paths and root tree.
    Snapshot = 5,
    /// What tests found that restored snapshots into nothing.
    Proof = 6,
}

impl ObjectKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Config, Self::Key, Self::Pack, Self::Index, Self::Snapshot, Self::Proof];

    /// Returns the number of the kind in stored objects.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind's name, also the name of its folder in a directory store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Pack => "packs",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
            Self::Proof => "proofs",
        }
    }
}

/// The full name of an object in a store: what it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// What the object is.
    pub kind: ObjectKind,
    /// Which of its kind.
    pub id: ObjectId,
}

impl ObjectName {
    /// The name of the repository's one config object.
    // Its header has a random id, so that a config made anew, after the first was lost, is sealed under a key of its own.
    pub const CONFIG: Self = Self::new(ObjectKind::Config, ObjectId::from_bytes([0; 32]));

    /// Puts kind and id together.
    pub const fn new(kind: ObjectKind, id: ObjectId) -> Self {
        Self { kind, id }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Config => f.write_str("config"),
            kind => write!(f, "{}/{}", kind.name(), self.id),
        }
    }
}
