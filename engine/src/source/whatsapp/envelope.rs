//! What an encrypted backup has around its content, kept so that the content can be sealed again.

use super::gcm::TAG_BYTES;

/// How many bytes tell which key a file was opened by.
const KEY_CHECK_BYTES: usize = 8;

const HAS_MD5: u8 = 1;
const IS_COMPRESSED: u8 = 2;

/// All of an encrypted backup that does not follow from its content and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What stands before the sealed content, in clear.
    pub head: Vec<u8>,
    /// The tag that proves the content as WhatsApp had sealed it.
    pub tag: [u8; TAG_BYTES],
    /// Tells the key that opened it from others: a part of a hash of it.
    pub key_check: [u8; KEY_CHECK_BYTES],
    /// Whether the MD5 of the whole file follows the tag.
    pub has_md5: bool,
    /// Whether the content was a zlib stream.
    pub is_compressed: bool,
}

impl Envelope {
    /// Returns what tells the key of a cipher from others.
    pub fn check_of(cipher_key: &[u8; 32]) -> [u8; KEY_CHECK_BYTES] {
        let mut check = [0; KEY_CHECK_BYTES];
        let mut hasher = blake3::Hasher::new_derive_key("daykeep 2026 which key a WhatsApp backup has");
        hasher.update(cipher_key).finalize_xof().fill(&mut check);
        check
    }

    /// Returns it in one piece: the beginning, the tag, what tells the key, and a byte of flags (1: an MD5 follows; 2: a zlib
    /// stream was sealed).
    pub fn to_bytes(&self) -> Vec<u8> {
        let flags = if self.has_md5 { HAS_MD5 } else { 0 } | if self.is_compressed { IS_COMPRESSED } else { 0 };
        [self.head.as_slice(), &self.tag, &self.key_check, &[flags]].concat()
    }

    /// Takes it out of one piece; `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_last()?;
        let (rest, key_check) = rest.split_last_chunk()?;
        let (head, tag) = rest.split_last_chunk()?;
        let is_known = flags & !(HAS_MD5 | IS_COMPRESSED) == 0;
        is_known.then(|| Self {
            head: head.to_vec(),
            tag: *tag,
            key_check: *key_check,
            has_md5: flags & HAS_MD5 != 0,
            is_compressed: flags & IS_COMPRESSED != 0,
        })
    }
}
