//! AES-256-GCM (NIST SP 800-38D) over a stream, in its two halves: what proves the ciphertext, and what decrypts it.
//!
//! AWS-LC offers GCM over whole messages only, and a backup of several gigabytes is not held in memory. The IVs here
//! mostly have 16 bytes, so the first counter block is their hash (section 7.1 of the standard).

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use ctr::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

/// The length of a block, in bytes.
pub const BLOCK_BYTES: usize = 16;
/// The length of a tag, in bytes.
pub const TAG_BYTES: usize = 16;
/// The longest text under one IV, in bytes: beyond it counter blocks would repeat.
pub const TEXT_BYTES_MAX: u64 = (1 << 36) - 32;

/// Computes the tag of a ciphertext.
#[derive(Clone)]
pub struct Tagger {
    hash: GHash,
    mask: [u8; BLOCK_BYTES],
    bytes: u64,
}

/// Decrypts a ciphertext, from its beginning.
pub struct Decrypter(Ctr32BE<Aes256>);

/// Begins a text under `key` and `iv`; there is no associated data.
pub fn begin(key: &[u8; 32], iv: &[u8]) -> (Tagger, Decrypter) {
    let aes = Aes256::new(key.into());
    let encrypted = |mut block: [u8; BLOCK_BYTES]| {
        aes.encrypt_block((&mut block).into());
        block
    };
    let hash = GHash::new(&encrypted([0; BLOCK_BYTES]).into());
    let first = first_counter(hash.clone(), iv);
    let tagger = Tagger { hash, mask: encrypted(first), bytes: 0 };
    // The first counter block masks the tag, the text begins with the next.
    let mut next = first;
    let [.., a, b, c, d] = &mut next;
    [*a, *b, *c, *d] = u32::from_be_bytes([*a, *b, *c, *d]).wrapping_add(1).to_be_bytes();
    (tagger, Decrypter(Ctr32BE::new(key.into(), &next.into())))
}

/// Returns the block J0 of the standard.
fn first_counter(mut hash: GHash, iv: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    if iv.len() == 12 {
        block[..12].copy_from_slice(iv);
        block[15] = 1;
        return block;
    }
    block[8..].copy_from_slice(&(iv.len() as u64 * 8).to_be_bytes());
    hash.update_padded(iv);
    hash.update(&[block.into()]);
    hash.finalize().into()
}

impl Tagger {
    /// Takes in more of the ciphertext. Only the last piece may have a length that is no multiple of a block.
    pub fn update(&mut self, ciphertext: &[u8]) {
        debug_assert!(self.bytes.is_multiple_of(BLOCK_BYTES as u64), "a piece before the last was no whole blocks");
        self.hash.update_padded(ciphertext);
        self.bytes += ciphertext.len() as u64;
    }

    /// Returns the tag.
    pub fn finish(mut self) -> [u8; TAG_BYTES] {
        let mut lengths = [0; BLOCK_BYTES];
        lengths[8..].copy_from_slice(&(self.bytes * 8).to_be_bytes());
        self.hash.update(&[lengths.into()]);
        let mut tag: [u8; TAG_BYTES] = self.hash.finalize().into();
        tag.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        tag
    }
}

impl Decrypter {
    /// Decrypts the next piece in place; of any length. Encryption is the same.
    ///
    /// Returns false, and leaves the rest as it is, beyond [`TEXT_BYTES_MAX`].
    pub fn apply(&mut self, text: &mut [u8]) -> bool {
        self.0.try_apply_keystream(text).is_ok()
    }
}
