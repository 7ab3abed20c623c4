//! Verifies a file, then gives what is in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};
use md5::{Digest, Md5};

use super::envelope::Envelope;
use super::gcm::{self, BLOCK_BYTES, Decrypter, TAG_BYTES, TEXT_BYTES_MAX, Tagger};
use super::prefix::{self, BadPrefix, HEAD_BYTES_MAX, Prefix};
use super::{Kind, Refused, WhatsAppKey};
use crate::base::CancelToken;
use crate::base::limits::KIB;

const MD5_BYTES: usize = 16;
/// crypt12 ends with the last digits of the phone number: `--42`.
const CRYPT12_END_BYTES: usize = 4;
/// How much is read at once; whole blocks.
const BUFFER_BYTES: usize = 256 * KIB;

const _: () = assert!(BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));

/// The database (or whatever WhatsApp put there) inside an encrypted backup, decrypted and, if it is a zlib stream, inflated
/// as it is read; anything else, such as the ZIP of `stickers.db.crypt15`, is given as it is.
///
/// What is read may only be relied upon once `read` has returned 0: only then is the whole ciphertext known to be the one
/// that was verified. An error before that means that the file was changed meanwhile, or that WhatsApp sealed something
/// that is no whole zlib stream, and that what was read is to be thrown away. Memory stays below 1 MiB, however long the
/// content is; nothing limits that, since a few kilobytes of ciphertext can hold megabytes of plaintext.
pub struct Opened<'f> {
    file: &'f File,
    kind: Kind,
    /// What stands before the sealed content.
    head: Vec<u8>,
    has_md5: bool,
    key_check: [u8; 8],
    /// Where the ciphertext that is not yet read begins, and where it ends.
    at: u64,
    end: u64,
    tag: [u8; TAG_BYTES],
    tagger: Tagger,
    decrypter: Decrypter,
    /// `None`: what is sealed is not compressed.
    inflater: Option<Decompress>,
    /// What is decrypted and, from `used` on, not yet inflated.
    buffer: Vec<u8>,
    used: usize,
    is_done: bool,
}

/// The sealed part of a file that was verified.
struct Sealed {
    end: u64,
    tag: [u8; TAG_BYTES],
    has_md5: bool,
}

/// As [`open_with_any`], with one key.
///
/// # Errors
/// As there.
pub fn open<'f>(file: &'f File, bytes: u64, key: &WhatsAppKey, cancel: &CancelToken) -> Result<Opened<'f>, Refused> {
    open_with_any(file, bytes, std::slice::from_ref(key), cancel)
}

/// Recognises an encrypted backup of WhatsApp by its content, verifies all of it, and opens it with the key that fits. `file`
/// has `bytes` bytes; it is read by position, once here and once more by whoever reads what is returned, with at most 1 MiB
/// of memory.
///
/// Verified are the tag of AES-256-GCM, which proves the content and the key, and the MD5 over the whole file, which
/// backups of several files lack.
///
/// # Errors
/// See [`Refused`]; a file of another kind is known by its first bytes, nearly always without reading on.
pub fn open_with_any<'f>(
    file: &'f File,
    bytes: u64,
    keys: &[WhatsAppKey],
    cancel: &CancelToken,
) -> Result<Opened<'f>, Refused> {
    let mut head = vec![0; bytes.min(HEAD_BYTES_MAX as u64) as usize];
    file.read_exact_at(&mut head, 0)?;
    let prefix = prefix::parse(&head).map_err(|bad| match bad {
        BadPrefix::NotOne => Refused::NotOne,
        BadPrefix::Unknown(what) => Refused::Unknown { what },
    })?;
    head.truncate(prefix.bytes);
    let end = end_of_file(file, bytes, &prefix)?;
    let mut tried = Vec::with_capacity(keys.len());
    for key in keys {
        let key = key.cipher_key(prefix.kind).ok_or_else(|| io::Error::other("the key could not be derived"))?;
        let is_zlib = begins_a_zlib_stream(file, prefix.bytes as u64, end, gcm::begin(&key, &prefix.iv).1)?;
        tried.push((key, is_zlib));
    }
    let taggers = tried.iter().map(|(key, _)| gcm::begin(key, &prefix.iv).0).collect();
    let may_fit = tried.iter().any(|(_, is_zlib)| *is_zlib);
    let (number, sealed) = verify(file, &prefix, &head, end, taggers, may_fit, cancel)?;
    let (key, is_zlib) = &tried[number];
    let (tagger, decrypter) = gcm::begin(key, &prefix.iv);
    Ok(Opened {
        file,
        kind: prefix.kind,
        head,
        has_md5: sealed.has_md5,
        key_check: Envelope::check_of(key),
        at: prefix.bytes as u64,
        end: sealed.end,
        tag: sealed.tag,
        tagger,
        decrypter,
        inflater: is_zlib.then(|| Decompress::new(true)),
        buffer: Vec::new(),
        used: 0,
        is_done: false,
    })
}

/// Returns where the tag and the MD5 end: crypt12 has a few digits after them.
fn end_of_file(file: &File, bytes: u64, prefix: &Prefix) -> Result<u64, Refused> {
    if bytes > TEXT_BYTES_MAX {
        return Err(Refused::Unknown { what: format!("{bytes} bytes are more than AES-GCM can seal") });
    }
    let data = prefix.bytes as u64;
    let end = match prefix.kind {
        Kind::Crypt14 | Kind::Crypt15 => bytes,
        Kind::Crypt12 => {
            let end = bytes.saturating_sub(CRYPT12_END_BYTES as u64);
            let mut digits = [0; CRYPT12_END_BYTES];
            file.read_exact_at(&mut digits, end)?;
            // Its first three bytes alone are too few to tell it by.
            if !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
                return Err(Refused::NotOne);
            }
            end
        }
    };
    if end < data + TAG_BYTES as u64 {
        let what = format!("it ends after {bytes} bytes, where its content should be");
        return Err(Refused::Damaged { kind: prefix.kind, what });
    }
    Ok(end)
}

/// Returns whether the first two bytes decrypt to the header of a zlib stream. A wrong key gives that once in 16,384
/// times.
fn begins_a_zlib_stream(file: &File, data: u64, end: u64, mut decrypter: Decrypter) -> Result<bool, Refused> {
    let mut first = [0; 2];
    if end < data + (first.len() + TAG_BYTES) as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut first, data)?;
    let is_decrypted = decrypter.apply(&mut first);
    // RFC 1950: deflate with a window of 32 KiB, no preset dictionary, and a check of both bytes.
    Ok(is_decrypted && first[0] == 0x78 && first[1] & 0x20 == 0 && u16::from_be_bytes(first).is_multiple_of(31))
}

/// Verifies all of the file up to `end` and returns by which of the keys which part of it is sealed. `may_fit`: the
/// beginning is what it would be under the right key.
fn verify(
    file: &File,
    prefix: &Prefix,
    head: &[u8],
    end: u64,
    mut taggers: Vec<Tagger>,
    may_fit: bool,
    cancel: &CancelToken,
) -> Result<(usize, Sealed), Refused> {
    const ENDS_BYTES: u64 = (TAG_BYTES + MD5_BYTES) as u64;
    let kind = prefix.kind;
    let mut md5 = Md5::new_with_prefix(head);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = prefix.bytes as u64;
    // What comes after these blocks is the tag alone, or tag and MD5; which of it only shows at the end.
    let blocks_end = at + (end - at).saturating_sub(ENDS_BYTES) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    while at < blocks_end {
        if cancel.is_cancelled() {
            return Err(Refused::Cancelled);
        }
        let piece = &mut buffer[..(blocks_end - at).min(BUFFER_BYTES as u64) as usize];
        file.read_exact_at(piece, at)?;
        md5.update(&*piece);
        taggers.iter_mut().for_each(|tagger| tagger.update(piece));
        at += piece.len() as u64;
    }
    let rest = &mut buffer[..(end - at) as usize];
    file.read_exact_at(rest, at)?;
    let (before, last) = rest.split_at(rest.len() - MD5_BYTES);
    md5.update(before);
    let is_intact = md5.finalize().as_slice() == last;
    let tagged = |text: &[u8], tag: &[u8], has_md5: bool| {
        taggers.iter().enumerate().find_map(|(number, tagger)| {
            let mut tagger = tagger.clone();
            tagger.update(text);
            let computed = tagger.finish();
            (computed == *tag).then_some((number, Sealed { end: at + text.len() as u64, tag: computed, has_md5 }))
        })
    };
    let with_md5 = before.split_last_chunk::<TAG_BYTES>().and_then(|(text, tag)| tagged(text, tag, true));
    match (with_md5, tagged(before, last, false)) {
        (Some(sealed), _) if is_intact => Ok(sealed),
        (Some(_), _) => {
            let what = format!("its MD5 at byte {} is not that of what precedes", end - MD5_BYTES as u64);
            Err(Refused::Damaged { kind, what })
        }
        (None, Some(sealed)) => Ok(sealed),
        (None, None) if may_fit && !is_intact => {
            let what = "the key fits, but neither MD5 nor tag do, so bytes are wrong or missing somewhere".into();
            Err(Refused::Damaged { kind, what })
        }
        (None, None) => Err(Refused::WrongKey { kind, is_intact }),
    }
}

impl Opened<'_> {
    /// Returns what kind of backup it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what it takes, beside content and key, to seal the content again; `None` for crypt12, which nothing reads any
    /// more.
    pub fn envelope(&self) -> Option<Envelope> {
        let is_kept = self.kind != Kind::Crypt12;
        is_kept.then(|| Envelope {
            head: self.head.clone(),
            tag: self.tag,
            key_check: self.key_check,
            has_md5: self.has_md5,
            is_compressed: self.inflater.is_some(),
        })
    }

    /// Reads and decrypts the next piece.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.resize((self.end - self.at).min(BUFFER_BYTES as u64) as usize, 0);
        self.used = 0;
        self.file.read_exact_at(&mut self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.tagger.update(&self.buffer);
        if self.decrypter.apply(&mut self.buffer) { Ok(()) } else { Err(invalid("it is longer than GCM allows")) }
    }

    /// Checks that all was read, and that it is what was verified.
    fn finish(&mut self) -> io::Result<()> {
        if self.used < self.buffer.len() || self.at < self.end {
            return Err(invalid("something follows the end of its compressed content"));
        }
        if self.tagger.clone().finish() != self.tag {
            return Err(invalid("it was changed while it was read"));
        }
        self.is_done = true;
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the WhatsApp backup cannot be read: {what}"))
}

impl Read for Opened<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.is_done && !out.is_empty() {
            if self.used == self.buffer.len() && self.at < self.end {
                self.fill()?;
            }
            let Some(inflater) = &mut self.inflater else {
                let given = out.len().min(self.buffer.len() - self.used);
                out[..given].copy_from_slice(&self.buffer[self.used..][..given]);
                self.used += given;
                if self.used == self.buffer.len() && self.at == self.end {
                    self.finish()?;
                }
                return Ok(given);
            };
            let (taken, given) = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(&self.buffer[self.used..], out, FlushDecompress::None)
                .map_err(|error| invalid(&format!("its content does not inflate ({error})")))?;
            let taken = (inflater.total_in() - taken) as usize;
            let given = (inflater.total_out() - given) as usize;
            self.used += taken;
            if status == Status::StreamEnd {
                self.finish()?;
            } else if taken == 0 && given == 0 {
                return Err(invalid("its compressed content is cut short"));
            }
            if given > 0 {
                return Ok(given);
            }
        }
        Ok(0)
    }
}
