//! Seals content again as WhatsApp does, so that a phone can read it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use flate2::{Compress, Compression, FlushCompress, Status};
use md5::{Digest, Md5};

use super::envelope::Envelope;
use super::gcm::{self, BLOCK_BYTES, Decrypter, TAG_BYTES, Tagger};
use super::prefix::{self, Prefix};
use super::{Kind, WhatsAppKey};
use crate::base::CancelToken;
use crate::base::limits::KIB;

/// How much is sealed at once; whole blocks.
const BUFFER_BYTES: usize = 256 * KIB;
/// The levels of zlib that WhatsApp was seen to use, and the usual one.
const LEVELS: [u32; 3] = [1, 9, 6];

const _: () = assert!(BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));

/// Why content could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// None of the keys is the one that had opened it.
    #[error("none of the WhatsApp keys is the one that opened it")]
    OtherKey,
    /// What was kept of the original is not understood.
    #[error("what was kept of the original is not understood")]
    Unknown,
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The token was cancelled.
    #[error("interrupted")]
    Cancelled,
}

/// What came of sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// The original, byte for byte.
    Original,
    /// The same content under a fresh IV.
    Anew,
}

/// Returns the ending of the name of the encrypted file that has this envelope.
pub fn ending(envelope: &Envelope) -> Option<&'static str> {
    match prefix::parse(&envelope.head).ok()?.kind {
        Kind::Crypt12 => None,
        Kind::Crypt14 => Some(".crypt14"),
        Kind::Crypt15 => Some(".crypt15"),
    }
}

/// Seals `plain` into the empty file `out`.
///
/// The IV of the original is used only if that gives the original, byte for byte: under it no other text may ever be sealed,
/// since both could be read then (NIST SP 800-38D, section 8). Its tag tells before anything is written.
///
/// # Errors
/// See [`NotSealed`].
pub fn seal(
    plain: &File,
    out: &File,
    envelope: &Envelope,
    keys: &[WhatsAppKey],
    cancel: &CancelToken,
) -> Result<Sealed, NotSealed> {
    let prefix = prefix::parse(&envelope.head).map_err(|_| NotSealed::Unknown)?;
    if prefix.bytes != envelope.head.len() {
        return Err(NotSealed::Unknown);
    }
    let key = keys
        .iter()
        .filter_map(|key| key.cipher_key(prefix.kind))
        .find(|key| Envelope::check_of(key) == envelope.key_check)
        .ok_or(NotSealed::OtherKey)?;
    let levels: Vec<Option<u32>> = match envelope.is_compressed {
        true => LEVELS.into_iter().map(Some).collect(),
        false => vec![None],
    };
    for &level in &levels {
        let text = Text { plain, level, cancel };
        if text.seal(gcm::begin(&key, &prefix.iv), &mut |_| Ok(()))? == envelope.tag {
            text.write(out, envelope, &envelope.head, gcm::begin(&key, &prefix.iv))?;
            return Ok(Sealed::Original);
        }
    }
    let (head, iv) = with_fresh_iv(&envelope.head, &prefix)?;
    let text = Text { plain, level: levels.last().copied().flatten(), cancel };
    text.write(out, envelope, &head, gcm::begin(&key, &iv))?;
    Ok(Sealed::Anew)
}

/// Returns the beginning with another IV, and that.
fn with_fresh_iv(head: &[u8], prefix: &Prefix) -> Result<(Vec<u8>, Vec<u8>), NotSealed> {
    let at = head.windows(prefix.iv.len()).position(|part| part == prefix.iv).ok_or(NotSealed::Unknown)?;
    let random: [u8; 16] = crate::crypt::random()?;
    let iv = random.get(..prefix.iv.len()).ok_or(NotSealed::Unknown)?.to_vec();
    let mut head = head.to_vec();
    head[at..at + iv.len()].copy_from_slice(&iv);
    // Had the same bytes stood elsewhere before, another field would have been changed.
    match prefix::parse(&head) {
        Ok(parsed) if parsed.iv == iv && parsed.kind == prefix.kind => Ok((head, iv)),
        _ => Err(NotSealed::Unknown),
    }
}

/// What is to be sealed.
struct Text<'t> {
    plain: &'t File,
    /// The level of zlib; `None`: as it is.
    level: Option<u32>,
    cancel: &'t CancelToken,
}

impl Text<'_> {
    /// Gives the ciphertext in pieces and returns the tag.
    fn seal(
        &self,
        (mut tagger, mut encrypter): (Tagger, Decrypter),
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<[u8; TAG_BYTES], NotSealed> {
        let mut sealed = |text: &mut [u8]| {
            if !encrypter.apply(text) {
                return Err(io::Error::other("it is longer than AES-GCM can seal"));
            }
            tagger.update(text);
            take(text)
        };
        let mut compress = self.level.map(|level| Compress::new(Compression::new(level), true));
        let mut read = vec![0; BUFFER_BYTES];
        let mut gathered = Vec::with_capacity(2 * BUFFER_BYTES);
        let mut at = 0;
        loop {
            if self.cancel.is_cancelled() {
                return Err(NotSealed::Cancelled);
            }
            let count = read_up_to(self.plain, &mut read, at)?;
            at += count as u64;
            let is_end = count < read.len();
            match &mut compress {
                Some(compress) => deflate(compress, &read[..count], is_end, &mut |part| {
                    gathered.extend_from_slice(part);
                    give_whole(&mut gathered, &mut sealed)
                })?,
                None => {
                    gathered.extend_from_slice(&read[..count]);
                    give_whole(&mut gathered, &mut sealed)?;
                }
            }
            if is_end {
                sealed(&mut gathered)?;
                return Ok(tagger.finish());
            }
        }
    }

    fn write(&self, out: &File, envelope: &Envelope, head: &[u8], begun: (Tagger, Decrypter)) -> Result<(), NotSealed> {
        let mut md5 = Md5::new();
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            md5.update(bytes);
            out.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
            io::Result::Ok(())
        };
        put(head)?;
        let tag = self.seal(begun, &mut put)?;
        put(&tag)?;
        if envelope.has_md5 {
            out.write_all_at(&md5.finalize(), at)?;
        }
        Ok(())
    }
}

/// Gives pieces of whole buffers, which are whole blocks, and keeps the rest.
fn give_whole(gathered: &mut Vec<u8>, give: &mut dyn FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let whole = gathered.len() / BUFFER_BYTES * BUFFER_BYTES;
    give_unless_empty(&mut gathered[..whole], give)?;
    gathered.drain(..whole);
    Ok(())
}

fn give_unless_empty(piece: &mut [u8], give: &mut dyn FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<()> {
    if piece.is_empty() { Ok(()) } else { give(piece) }
}

fn deflate(
    compress: &mut Compress,
    mut plain: &[u8],
    is_end: bool,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let flush = if is_end { FlushCompress::Finish } else { FlushCompress::None };
    loop {
        let (taken, given) = (compress.total_in(), compress.total_out());
        let status = compress.compress(plain, &mut buffer, flush).map_err(io::Error::other)?;
        plain = &plain[(compress.total_in() - taken) as usize..];
        take(&buffer[..(compress.total_out() - given) as usize])?;
        if status == Status::StreamEnd || (!is_end && plain.is_empty()) {
            return Ok(());
        }
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
