//! AES-256-GCM (NIST SP 800-38D) with a key per object and the position in the object as nonce.

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use ctr::Ctr32BE;

use crate::format::header::TAG_BYTES;

/// The bytes are not what was sealed under this key, at this position, with this associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSeal;

/// The key of one object.
///
/// The key is used for this object alone and each position in it is sealed once, so no nonce comes twice.
pub struct ObjectKey(Option<LessSafeKey>);

impl ObjectKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // A key of 32 bytes is always accepted; should that ever fail, sealing and opening fail too.
        Self(UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new))
    }

    fn nonce(position: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&position.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Writes the sealed `plain` and its tag to `out`, which is 16 bytes longer.
    ///
    /// # Errors
    /// If the lengths do not fit together.
    pub fn seal(&self, position: u64, associated: &[u8], plain: &[u8], out: &mut [u8]) -> Result<(), BadSeal> {
        if out.len() != plain.len() + TAG_BYTES {
            return Err(BadSeal);
        }
        let (body, tag) = out.split_at_mut(plain.len());
        let key = self.0.as_ref().ok_or(BadSeal)?;
        key.seal_out_of_place_scatter(Self::nonce(position), Aad::from(associated), plain, body, &[], tag)
            .map_err(|_| BadSeal)
    }

    /// Writes the opened `sealed`, which ends with its tag, to `out`, which is 16 bytes shorter.
    ///
    /// # Errors
    /// If the bytes are not what was sealed; then `out` holds nothing of use.
    pub fn open(&self, position: u64, associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), BadSeal> {
        if sealed.len() != out.len() + TAG_BYTES {
            return Err(BadSeal);
        }
        let (body, tag) = sealed.split_at(out.len());
        let key = self.0.as_ref().ok_or(BadSeal)?;
        key.open_separate_gather(Self::nonce(position), Aad::from(associated), body, tag, out).map_err(|_| BadSeal)
    }
}

/// Decrypts the first bytes of what was sealed at `position`, in place, without the tag at its end: nothing is proven of
/// them. GCM (NIST SP 800-38D) is counter mode from the second counter block on, if the nonce has 12 bytes.
pub(super) fn peek(key: &[u8; 32], position: u64, sealed: &mut [u8]) {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&position.to_le_bytes());
    block[15] = 2;
    Ctr32BE::<Aes256>::new(key.into(), &block.into()).apply_keystream(sealed);
}
