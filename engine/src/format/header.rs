//! The 64 bytes that begin every object, in clear: what it is, of which repository, and under which name it was stored,
//! so that an object still says so when its name is lost. They are associated data of everything sealed in the object.

use crate::base::{ObjectId, ObjectKind, ObjectName, RepositoryId};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};

/// The format version that is written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;
/// The bytes of a header.
pub const HEADER_BYTES: usize = 64;
/// The bytes of the tag that ends everything sealed (AES-256-GCM, NIST SP 800-38D).
pub const TAG_BYTES: usize = 16;

/// What every object begins with.
pub const MAGIC: [u8; 8] = *b"daykeep\x1a";
const _: () = assert!(MAGIC.len() + 2 + 1 + 5 + RepositoryId::LEN + ObjectId::LEN == HEADER_BYTES);

/// The decoded beginning of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the format that the object was written in.
    pub version: u16,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// What it is and its name.
    pub name: ObjectName,
}

impl Header {
    /// Makes the header of a new object.
    pub const fn new(repository: RepositoryId, name: ObjectName) -> Self {
        Self { version: FORMAT_VERSION, repository, name }
    }

    /// Returns the encoded header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Writer::with_capacity(HEADER_BYTES);
        out.raw(&MAGIC);
        out.u16(self.version);
        out.u8(self.name.kind.code());
        out.raw(&[0; 5]);
        out.raw(self.repository.as_bytes());
        out.raw(self.name.id.as_bytes());
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(&out.finish());
        bytes
    }

    /// Decodes the first 64 bytes of an object.
    ///
    /// # Errors
    /// A [`FormatError`] for another magic, an unknown kind, or bytes that must be zero and are not. A later version is
    /// no error here: see [`Header::version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let start = input.clone();
        if input.array::<8>()? != MAGIC {
            return Err(start.error("the magic of a daykeep object", "other bytes"));
        }
        let version = input.u16()?;
        let at_kind = input.clone();
        let code = input.u8()?;
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.code() == code);
        let kind = kind.ok_or_else(|| at_kind.error("an object kind of 1 to 6", code))?;
        if input.array::<5>()? != [0; 5] {
            return Err(at_kind.error("five zero bytes after the kind", "other bytes"));
        }
        let repository = RepositoryId::from_bytes(input.array()?);
        let id = ObjectId::from_bytes(input.array()?);
        Ok(Self { version, repository, name: ObjectName::new(kind, id) })
    }
}
