//! What stands before the sealed content: a protobuf message, or the 67 bytes of crypt12.

use super::Kind;

/// The longest message that is read, in bytes; those of 2024 have some 200.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// How much of a file [`parse`] needs to see: the message with its length and flag.
pub const HEAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 16;
/// Where crypt12 has its IV, after two versions, the server's salt and the account's.
const CRYPT12_IV: std::ops::Range<usize> = 51..67;
/// The IVs that are known: 16 bytes in all that WhatsApp wrote so far, 12 where GCM is used as usual.
const IV_BYTES: [usize; 2] = [12, 16];

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The layout.
    pub kind: Kind,
    /// The initialisation vector of GCM, of 12 or 16 bytes.
    pub iv: Vec<u8>,
    /// Where the ciphertext begins, in bytes.
    pub bytes: usize,
}

/// Why a beginning is not that of a file that can be opened.
#[derive(Debug, PartialEq, Eq)]
pub enum BadPrefix {
    /// It is another kind of file.
    NotOne,
    /// It is one, but this is not understood.
    Unknown(String),
}

/// A message breaks the encoding of protobuf.
struct Malformed;

impl From<Malformed> for BadPrefix {
    fn from(_: Malformed) -> Self {
        Self::NotOne
    }
}

/// Takes a varint off the front of `bytes`.
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Takes `length` bytes off the front of `bytes`.
fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// Returns the bytes of the field `wanted`, the last one if it is repeated, as protobuf has it. All other fields are
/// skipped, but must be well formed.
fn field(mut message: &[u8], wanted: u64) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        match tag & 7 {
            0 => drop(varint(&mut message)?),
            1 => drop(take(&mut message, 8)?),
            2 => {
                let length = varint(&mut message)?;
                let value = take(&mut message, length)?;
                found = if number == wanted { Some(value) } else { found };
            }
            5 => drop(take(&mut message, 4)?),
            _ => return Err(Malformed),
        }
    }
    Ok(found)
}

/// Reads the prefix from `head`, the first [`HEAD_BYTES_MAX`] bytes of a file, or all it has.
///
/// The message is WhatsApp's `BackupPrefix`: field 2 describes the cipher of crypt14 (1: its version, 5: the IV), field 3
/// that of crypt15 (1: the IV), field 4 the program that wrote it.
///
/// # Errors
/// `NotOne` for any other file, `Unknown` for a message without a usable IV.
pub fn parse(head: &[u8]) -> Result<Prefix, BadPrefix> {
    if let [0, 1, 1..=3, ..] = head {
        let iv = head.get(CRYPT12_IV).ok_or(BadPrefix::NotOne)?.to_vec();
        return Ok(Prefix { kind: Kind::Crypt12, iv, bytes: CRYPT12_IV.end });
    }
    let mut rest = head;
    let length = varint(&mut rest)?;
    // Some describe a flag byte 1 after the length. In what was seen it is the length's own second byte; no message
    // begins with it, so where it does stand by itself it can be told.
    rest = rest.strip_prefix(&[1]).unwrap_or(rest);
    if length == 0 || length > MESSAGE_BYTES_MAX as u64 {
        return Err(BadPrefix::NotOne);
    }
    let message = take(&mut rest, length)?;
    let (kind, iv) = match (field(message, 3)?, field(message, 2)?) {
        (Some(cipher), _) => (Kind::Crypt15, field(cipher, 1)?),
        (None, Some(cipher)) => {
            if let Some(version) = field(cipher, 1)?.filter(|version| *version != [0, 1]) {
                return Err(BadPrefix::Unknown(format!(
                    "its cipher has the version {version:?}, only [0, 1] is known"
                )));
            }
            (Kind::Crypt14, field(cipher, 5)?)
        }
        (None, None) if field(message, 4)?.is_some() => {
            return Err(BadPrefix::Unknown("it describes neither the cipher of crypt14 nor that of crypt15".into()));
        }
        (None, None) => return Err(BadPrefix::NotOne),
    };
    let iv = iv.unwrap_or_default();
    if !IV_BYTES.contains(&iv.len()) {
        let what = format!("its IV has {} bytes, expected 16 or 12", iv.len());
        return Err(BadPrefix::Unknown(format!("it looks like {kind}, but {what}")));
    }
    Ok(Prefix { kind, iv: iv.to_vec(), bytes: head.len() - rest.len() })
}
