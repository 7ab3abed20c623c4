//! The user's key, in each of the forms in which people have it.

use std::fmt;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use super::Kind;
use crate::base::ids::parse_hex;

const KEY_BYTES: usize = 32;
/// How Java serializes an array of bytes: magic, version, the class `[B` with its number and flags; what follows are the
/// array's length (4 bytes, big-endian) and its bytes. WhatsApp's key files are such arrays.
const JAVA_BYTES: [u8; 23] =
    [0xac, 0xed, 0, 5, b'u', b'r', 0, 2, b'[', b'B', 0xac, 0xf3, 0x17, 0xf8, 6, 8, 0x54, 0xe0, 2, 0, 0, b'x', b'p'];
/// The array in the `key` file of crypt12 and crypt14: versions, salts, an empty IV, and last the key.
const ARRAY_BYTES: usize = 131;

/// What was given as a key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the 64 hexadecimal digits that WhatsApp showed, or its file `encrypted_backup.key` (crypt15) or `key` \
     (crypt12 and crypt14, 158 bytes), found {found}"
)]
pub struct KeyError {
    found: String,
}

/// A user's WhatsApp key, 32 bytes. Wiped from memory when dropped; its `Debug` shows nothing.
///
/// It is not said which kind of backup it is for: the bytes themselves are the key of crypt12 and crypt14, and that of
/// crypt15 is derived from them.
#[derive(Clone)]
pub struct WhatsAppKey(Zeroizing<[u8; KEY_BYTES]>);

impl WhatsAppKey {
    /// The longest key file that is read, in bytes; a longer one is none.
    pub const FILE_BYTES_MAX: usize = 4096;

    /// Returns the key that `text` writes in 64 hexadecimal digits; spaces, line ends and hyphens between them are
    /// ignored.
    ///
    /// # Errors
    /// If there are more or fewer, or anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let digits: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect());
        let found = || match digits.chars().filter(|c| !c.is_ascii_hexdigit()).count() {
            0 => format!("{} digits", digits.len()),
            others => format!("{others} characters that are no hexadecimal digits"),
        };
        parse_hex(&digits).map(|key| Self(Zeroizing::new(key))).ok_or_else(|| KeyError { found: found() })
    }

    /// Returns the key in a key file, of which `bytes` is the whole content: one of WhatsApp's, the bare 32 bytes, or a
    /// text of 64 hexadecimal digits.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn from_file(bytes: &[u8]) -> Result<Self, KeyError> {
        let found = || KeyError { found: format!("a file of {} bytes that is none of these", bytes.len()) };
        if let Some(rest) = bytes.strip_prefix(&JAVA_BYTES) {
            let (length, array) = rest.split_first_chunk().ok_or_else(found)?;
            return match u32::from_be_bytes(*length) as usize == array.len() {
                true => Self::last_of(array).ok_or_else(found),
                false => Err(KeyError { found: "a key file that is cut short or too long".into() }),
            };
        }
        match bytes {
            [0, 1, 1..=3, ..] if bytes.len() == ARRAY_BYTES => Self::last_of(bytes).ok_or_else(found),
            // Half of the digits would pass for a bare key.
            _ if bytes.len() == KEY_BYTES && !bytes.iter().all(u8::is_ascii_hexdigit) => {
                Self::last_of(bytes).ok_or_else(found)
            }
            _ if bytes.len() <= Self::FILE_BYTES_MAX => {
                str::from_utf8(bytes).map_err(|_| found()).and_then(Self::parse)
            }
            _ => Err(found()),
        }
    }

    fn last_of(bytes: &[u8]) -> Option<Self> {
        bytes.last_chunk().map(|key| Self(Zeroizing::new(*key)))
    }

    /// Returns the key of the cipher of one kind of backup; for crypt15 that is HKDF-SHA256 (RFC 5869) of the bytes,
    /// without salt.
    pub(super) fn cipher_key(&self, kind: Kind) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        if kind != Kind::Crypt15 {
            return Some(self.0.clone());
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_ref());
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        root.expand(&[b"backup encryption"], hkdf::HKDF_SHA256).ok()?.fill(key.as_mut()).ok()?;
        Some(key)
    }
}

impl fmt::Debug for WhatsAppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhatsAppKey(..)")
    }
}
