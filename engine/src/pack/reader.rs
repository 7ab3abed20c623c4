//! Reads a pack on its own, without any index.

use crate::base::limits::{FOOTER_BYTES_MAX, FRAME_BYTES_MAX};
use crate::base::{ObjectKind, ObjectName};
use crate::codec::{Codec, FrameDecoder};
use crate::crypt::BadSeal;
use crate::error::{Error, Result};
use crate::format::header::{HEADER_BYTES, TAG_BYTES};
use crate::format::pack::{Footer, TRAILER_BYTES, Trailer};
use crate::format::parity::Geometry;
use crate::{hash, parity};

/// Returns the footer of the pack `name`, of which `pack` is all the bytes.
///
/// # Errors
/// `Damaged` or `NewerFormat`.
pub fn read_footer(codec: &Codec, name: &ObjectName, pack: &[u8]) -> Result<Footer> {
    read_parts(codec, name, pack).map(|(footer, _)| footer)
}

/// Returns the footer of a whole pack, and how the pack is divided.
fn read_parts(codec: &Codec, name: &ObjectName, pack: &[u8]) -> Result<(Footer, Geometry)> {
    codec.check_header(name, pack)?;
    let (_, trailer) = pack.split_at(pack.len().saturating_sub(TRAILER_BYTES));
    let (geometry, footer_at) = place_footer(name, trailer, pack.len() as u64)?;
    let sealed = &pack[footer_at as usize..geometry.protected - TRAILER_BYTES];
    let footer = open_footer(codec, name, pack, sealed, trailer, footer_at)?;
    Ok((footer, geometry))
}

/// Returns how the pack `name` of `bytes` bytes is divided and where its footer begins, as its trailer says.
///
/// # Errors
/// `Damaged`.
pub fn place_footer(name: &ObjectName, trailer: &[u8], bytes: u64) -> Result<(Geometry, u64)> {
    let trailer = Trailer::decode(trailer).map_err(|error| Error::damaged(name, &error))?;
    let Trailer { footer_bytes, parity_bytes } = trailer;
    trailer.place(bytes).ok_or_else(|| {
        let reason = format!("has {bytes} bytes and names {footer_bytes} of a footer and {parity_bytes} of parity");
        Error::damaged_object(name, reason)
    })
}

/// Returns the footer of the pack `name` from parts of it alone: `start`, at least the header; `sealed`, which begins at byte
/// `footer_at` of the pack; and the trailer.
///
/// # Errors
/// `Damaged` or `NewerFormat`.
pub fn open_footer(
    codec: &Codec,
    name: &ObjectName,
    start: &[u8],
    sealed: &[u8],
    trailer: &[u8],
    footer_at: u64,
) -> Result<Footer> {
    let header = codec.check_header(name, start)?;
    let footer_bytes = sealed.len();
    if !(TAG_BYTES..=FOOTER_BYTES_MAX).contains(&footer_bytes) || trailer.len() != TRAILER_BYTES {
        return Err(Error::damaged_object(name, format!("names a footer of {footer_bytes} bytes")));
    }
    let mut associated = [0; HEADER_BYTES + TRAILER_BYTES];
    associated[..HEADER_BYTES].copy_from_slice(&header);
    associated[HEADER_BYTES..].copy_from_slice(trailer);
    let mut plain = vec![0; footer_bytes - TAG_BYTES];
    codec
        .keys
        .object(name)
        .open(footer_at, &associated, sealed, &mut plain)
        .map_err(|BadSeal| Error::damaged_object(name, "the seal of its footer does not fit"))?;
    let footer = Footer::decode(&plain).map_err(|error| Error::damaged(name, &error))?;
    let padding = if footer.padding_bytes == 0 { 0 } else { u64::from(footer.padding_bytes) + TAG_BYTES as u64 };
    if footer.table.end() + padding != footer_at {
        return Err(Error::damaged_object(name, "its frames do not end where its footer begins"));
    }
    Ok(footer)
}

/// Opens everything in the pack `name`, of which `pack` is all the bytes, recomputes the id of every whole chunk, and
/// returns the footer. Deltas are opened and not rebuilt.
///
/// # Errors
/// `Damaged` for the first thing that is not as it was written.
pub fn verify(codec: &Codec, name: &ObjectName, pack: &[u8]) -> Result<Footer> {
    debug_assert!(name.kind == ObjectKind::Pack, "only packs have footers");
    let (footer, geometry) = read_parts(codec, name, pack)?;
    let header = codec.header(name);
    let key = codec.keys.object(name);
    let failed = |error: std::io::Error| Error::damaged_object(name, format!("could not be read: {error}"));
    let mut decoder = FrameDecoder::new().map_err(failed)?;
    let mut plain = vec![0; FRAME_BYTES_MAX];
    let mut decoded = None;
    let mut outcome = Ok(());
    footer.table.locate(name.id, |chunk, location| {
        if outcome.is_err() {
            return;
        }
        let frame = location.frame;
        if decoded != Some(frame.offset) {
            let sealed = &pack[frame.offset as usize..][..frame.sealed_bytes as usize];
            let out = &mut plain[..frame.plain_bytes as usize];
            outcome = decoder.decode(&key, &header, &frame, sealed, out).map_err(|error| Error::damaged(name, &error));
            decoded = Some(frame.offset);
        }
        // What a delta makes is known only with its bases, which lie in other packs.
        if outcome.is_ok() && chunk.delta.is_none() && !chunk.is_void() {
            let bytes = &plain[location.offset as usize..][..location.bytes as usize];
            if hash::chunk_id(codec.keys.ids(chunk.kind), bytes) != chunk.id {
                outcome =
                    Err(Error::damaged_object(name, format!("chunk {} has other bytes than its id says", chunk.id)));
            }
        }
    });
    outcome?;
    let padding_at = footer.table.end() as usize;
    if footer.padding_bytes > 0 {
        let mut zeros = vec![0; footer.padding_bytes as usize];
        let sealed = &pack[padding_at..][..zeros.len() + TAG_BYTES];
        let opened = key.open(padding_at as u64, &header, sealed, &mut zeros);
        if opened.is_err() || zeros.iter().any(|&byte| byte != 0) {
            return Err(Error::damaged_object(name, "its padding is not as it was sealed"));
        }
    }
    if !parity::is_intact(pack, &geometry) {
        return Err(Error::damaged_object(name, "its parity is not as it was written"));
    }
    Ok(footer)
}
