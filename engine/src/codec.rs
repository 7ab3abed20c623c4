//! Rank 3: whole objects and frames, compressed and sealed, and back.

use crate::base::{ObjectKind, ObjectName, RepositoryId};
use crate::compress::{Compressor, Decompressor};
use crate::crypt::{BadSeal, Keys, ObjectKey};
use crate::error::{Error, FormatError, Result};
use crate::format::codec::{Reader, Writer};
use crate::format::header::{FORMAT_VERSION, HEADER_BYTES, Header, TAG_BYTES};
use crate::format::index::{Encoding, FrameLocation};
use crate::format::pack::padme;

/// What is needed to seal and open the objects of one repository.
pub struct Codec {
    /// The repository's id, part of every header.
    pub repository: RepositoryId,
    /// Where the repository lies, for messages.
    pub location: String,
    /// The repository's keys.
    pub keys: Keys,
    /// How much parity its new packs get, in percent.
    pub parity_percent: u8,
}

/// The level for index objects and snapshots, which are small.
const OBJECT_LEVEL: i32 = 3;
/// Encoding, plain length and stored length before the payload of a sealed object.
const PREFIX_BYTES: usize = 1 + 4 + 4;

impl Codec {
    /// Returns the header of an object of this repository.
    pub fn header(&self, name: &ObjectName) -> [u8; HEADER_BYTES] {
        Header::new(self.repository, *name).encode()
    }

    /// Checks that an object's header is the one that an object of this name must have.
    ///
    /// # Errors
    /// `NewerFormat` or `Damaged`.
    pub fn check_header(&self, name: &ObjectName, object: &[u8]) -> Result<[u8; HEADER_BYTES]> {
        let bytes = object.get(..HEADER_BYTES).unwrap_or(object);
        let header = Header::decode(bytes).map_err(|error| Error::damaged(name, &error))?;
        // Only the config says which version a repository has; in any other object a later one is damage.
        if header.version > FORMAT_VERSION && name.kind == ObjectKind::Config {
            let (found, supported) = (header.version, FORMAT_VERSION);
            return Err(Error::NewerFormat { repository: self.location.clone(), found, supported });
        }
        let wanted = self.header(name);
        if bytes == wanted {
            Ok(wanted)
        } else {
            Err(Error::damaged_object(name, format!("its header is that of {}, or of another repository", header.name)))
        }
    }

    /// Returns an object that holds `payload`: header, sealed payload, padded to a length that tells little.
    ///
    /// # Errors
    /// If memory is short.
    pub fn seal_object(&self, name: &ObjectName, payload: &[u8]) -> Result<Vec<u8>> {
        let mut compressed = Vec::new();
        let failed = |error: std::io::Error| Error::damaged_object(name, format!("not written: {error}"));
        let pays = Compressor::new(OBJECT_LEVEL)
            .and_then(|mut compressor| compressor.compress(payload, &mut compressed))
            .map_err(failed)?;
        let (encoding, stored) = if pays { (Encoding::Zstd, compressed.as_slice()) } else { (Encoding::Raw, payload) };
        let bare = HEADER_BYTES + PREFIX_BYTES + stored.len() + TAG_BYTES;
        let total = padme(bare as u64) as usize;
        let mut plain = Writer::with_capacity(total);
        plain.u8(encoding.code());
        plain.u32(payload.len() as u32);
        plain.u32(stored.len() as u32);
        plain.raw(stored);
        let mut plain = plain.finish();
        plain.resize(total - HEADER_BYTES - TAG_BYTES, 0);
        let header = self.header(name);
        let mut object = vec![0; total];
        object[..HEADER_BYTES].copy_from_slice(&header);
        self.keys
            .object(name)
            .seal(HEADER_BYTES as u64, &header, &plain, &mut object[HEADER_BYTES..])
            .map_err(|BadSeal| Error::damaged_object(name, "could not be sealed"))?;
        Ok(object)
    }

    /// Returns how long an object is of which `start` is the beginning, as it says itself; `None` if `start` is too short.
    /// Nothing is proven: opening that many bytes shows whether it is so.
    pub fn peek_length(&self, name: &ObjectName, start: &[u8]) -> Option<u64> {
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(start.get(HEADER_BYTES..HEADER_BYTES + PREFIX_BYTES)?);
        self.keys.peek(name, HEADER_BYTES as u64, &mut prefix);
        let [.., a, b, c, d] = prefix;
        let stored = u64::from(u32::from_le_bytes([a, b, c, d]));
        Some(padme((HEADER_BYTES + PREFIX_BYTES + TAG_BYTES) as u64 + stored))
    }

    /// Returns the payload of an object, which may have at most `payload_max` bytes.
    ///
    /// # Errors
    /// `NewerFormat` or `Damaged`.
    pub fn open_object(&self, name: &ObjectName, object: &[u8], payload_max: usize) -> Result<Vec<u8>> {
        let header = self.check_header(name, object)?;
        let sealed = &object[HEADER_BYTES..];
        if sealed.len() < TAG_BYTES + PREFIX_BYTES {
            return Err(Error::damaged_object(name, format!("only {} bytes long", object.len())));
        }
        let mut plain = vec![0; sealed.len() - TAG_BYTES];
        self.keys
            .object(name)
            .open(HEADER_BYTES as u64, &header, sealed, &mut plain)
            .map_err(|BadSeal| Error::damaged_object(name, "its seal does not fit its bytes"))?;
        unpack_payload(&plain, payload_max).map_err(|error| Error::damaged(name, &error))
    }
}

fn unpack_payload(plain: &[u8], payload_max: usize) -> Result<Vec<u8>, FormatError> {
    let mut input = Reader::new(plain);
    let start = input.clone();
    let code = input.u8()?;
    let encoding = Encoding::from_code(code).ok_or_else(|| start.error("an encoding of 0 or 1", code))?;
    let plain_bytes = input.u32()? as usize;
    let stored_bytes = input.u32()? as usize;
    if plain_bytes > payload_max {
        return Err(start.error("a payload within its limit", plain_bytes));
    }
    let stored = input.raw(stored_bytes)?;
    if input.raw(input.remaining())?.iter().any(|&byte| byte != 0) {
        return Err(input.error("padding of zeros", "other bytes"));
    }
    let mut payload = vec![0; plain_bytes];
    match encoding {
        Encoding::Raw if stored.len() == plain_bytes => payload.copy_from_slice(stored),
        Encoding::Raw => return Err(start.error("as many bytes stored as there are", stored.len())),
        Encoding::Zstd => Decompressor::new()
            .and_then(|mut decompressor| decompressor.decompress(stored, &mut payload))
            .map_err(|error| start.error("a zstd frame", error))?,
    }
    Ok(payload)
}

/// Opens and decodes frames; keeps its working memory from call to call.
pub struct FrameDecoder {
    decompressor: Decompressor,
    opened: Vec<u8>,
}

impl FrameDecoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, opened: Vec::new() })
    }

    /// Fills `plain`, whose length must be the frame's plain length, from the frame's sealed bytes.
    ///
    /// # Errors
    /// A [`FormatError`] with the frame's place in the pack.
    pub fn decode(
        &mut self,
        key: &ObjectKey,
        header: &[u8; HEADER_BYTES],
        frame: &FrameLocation,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), FormatError> {
        let bad = |expected, found: String| FormatError { offset: u64::from(frame.offset), expected, found };
        let position = u64::from(frame.offset);
        match frame.encoding {
            Encoding::Raw => key
                .open(position, header, sealed, plain)
                .map_err(|BadSeal| bad("a sealed frame", "bytes that do not fit their seal".into())),
            Encoding::Zstd => {
                self.opened.resize(sealed.len().saturating_sub(TAG_BYTES), 0);
                key.open(position, header, sealed, &mut self.opened)
                    .map_err(|BadSeal| bad("a sealed frame", "bytes that do not fit their seal".into()))?;
                self.decompressor
                    .decompress(&self.opened, plain)
                    .map_err(|error| bad("a zstd frame", error.to_string()))
            }
        }
    }
}
