//! What can be read of one pack.

use crate::base::limits::{FRAME_BYTES_MAX, PACK_BYTES_MAX};
use crate::base::{ObjectId, ObjectKind, ObjectName, ShortId};
use crate::chunks::{shorten, verify_pack};
use crate::codec::FrameDecoder;
use crate::error::{Error, Result};
use crate::format::header::HEADER_BYTES;
use crate::format::index::{FrameLocation, FrameTable, PackRecord};
use crate::format::pack::{Footer, TRAILER_BYTES};
use crate::hash;
use crate::pack;
use crate::repo::Repository;

/// Returns an error if it tells of damage.
///
/// # Errors
/// The error, if it tells of anything else: what a disk does not give out now it may give out later, and must not pass for
/// lost.
pub fn damage(error: Error) -> Result<Error> {
    if error.is_damage() { Ok(error) } else { Err(error) }
}

/// Returns the record of a pack of `bytes` bytes, from its footer. Reads its beginning and end alone, unless it has to be
/// healed.
pub fn record_of(repo: &Repository, id: ObjectId, bytes: u64) -> Result<PackRecord> {
    let name = ObjectName::new(ObjectKind::Pack, id);
    let (footer, bytes) = read_footer(repo, &name, bytes).map(|footer| (footer, bytes)).or_else(|error| {
        let Some(pack) = repo.healer.heal(id) else { return Err(error) };
        Ok((pack::read_footer(&repo.codec, &name, &pack)?, pack.len() as u64))
    })?;
    Ok(PackRecord { id, bytes: bytes as u32, table: shorten(&footer.table) })
}

fn read_footer(repo: &Repository, name: &ObjectName, bytes: u64) -> Result<Footer> {
    if !((HEADER_BYTES + TRAILER_BYTES) as u64..=PACK_BYTES_MAX as u64).contains(&bytes) {
        return Err(Error::damaged_object(name, format!("has {bytes} bytes")));
    }
    let (mut header, mut trailer, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    repo.store.get_range(name, 0, HEADER_BYTES, &mut header)?;
    repo.store.get_range(name, bytes - TRAILER_BYTES as u64, TRAILER_BYTES, &mut trailer)?;
    let (geometry, at) = pack::place_footer(name, &trailer, bytes)?;
    repo.store.get_range(name, at, geometry.protected - TRAILER_BYTES - at as usize, &mut sealed)?;
    pack::open_footer(&repo.codec, name, &header, &sealed, &trailer, at)
}

/// Reads a whole pack and proves every byte of it.
pub fn verify(repo: &Repository, record: &PackRecord) -> Result<()> {
    let name = ObjectName::new(ObjectKind::Pack, record.id);
    let bytes = repo.store.get(&name, PACK_BYTES_MAX)?;
    verify_pack(&repo.codec, &name, &bytes, Some(record))
}

/// Returns whether a pack that is not as its record says is so once it is healed.
pub fn heals(repo: &Repository, record: &PackRecord) -> bool {
    let name = ObjectName::new(ObjectKind::Pack, record.id);
    let healed = repo.healer.heal(record.id).filter(|healed| healed.len() == record.bytes as usize);
    healed.is_some_and(|healed| verify_pack(&repo.codec, &name, &healed, Some(record)).is_ok())
}

/// Returns of each chunk of a hurt pack whether it is lost: its frame does not open, or it has not the bytes that its id
/// says. Of deltas only the frame is looked at.
pub fn lost_chunks(repo: &Repository, id: ObjectId, table: &FrameTable<ShortId>) -> Result<Vec<bool>> {
    let name = ObjectName::new(ObjectKind::Pack, id);
    let (header, key) = (repo.codec.header(&name), repo.codec.keys.object(&name));
    let failed = |error: std::io::Error| Error::damaged_object(&name, format!("not read: {error}"));
    let mut decoder = FrameDecoder::new().map_err(failed)?;
    let (mut sealed, mut plain) = (Vec::new(), vec![0; FRAME_BYTES_MAX]);
    let mut lost = Vec::with_capacity(table.chunks.len());
    let mut last: Option<(FrameLocation, bool)> = None;
    let mut failure = None;
    table.locate(id, |chunk, location| {
        let frame = location.frame;
        let is_open = match last {
            Some((known, is_open)) if known.offset == frame.offset => is_open,
            _ => {
                let read =
                    repo.store.get_range(&name, u64::from(frame.offset), frame.sealed_bytes as usize, &mut sealed);
                let out = &mut plain[..(frame.plain_bytes as usize).min(FRAME_BYTES_MAX)];
                match read {
                    Ok(()) => decoder.decode(&key, &header, &frame, &sealed, out).is_ok(),
                    Err(error) => {
                        failure = damage(error.into()).err().or(failure.take());
                        false
                    }
                }
            }
        };
        last = Some((frame, is_open));
        let is_right = || {
            let bytes = plain.get(location.offset as usize..(location.offset + location.stored_bytes) as usize);
            let id = |bytes: &[u8]| hash::chunk_id(repo.codec.keys.ids(chunk.kind), bytes).short();
            chunk.delta.is_some() || bytes.is_some_and(|bytes| id(bytes) == chunk.id)
        };
        lost.push(!is_open || !is_right());
    });
    failure.map_or(Ok(lost), Err)
}

/// Returns the bytes of a pack from its beginning to the end of its last frame, zeros where none of `is_wanted` of the
/// chunks of a frame is.
pub fn image(repo: &Repository, record: &PackRecord, is_wanted: &[bool]) -> Result<Vec<u8>> {
    let name = ObjectName::new(ObjectKind::Pack, record.id);
    let mut image = vec![0; record.table.end() as usize];
    let (mut at, mut first, mut sealed) = (HEADER_BYTES, 0, Vec::new());
    for frame in &record.table.frames {
        let (len, chunks) = (frame.sealed_bytes as usize, frame.chunks as usize);
        if is_wanted[first..first + chunks].contains(&true) {
            repo.store.get_range(&name, at as u64, len, &mut sealed)?;
            image[at..at + len].copy_from_slice(&sealed);
        }
        (at, first) = (at + len, first + chunks);
    }
    Ok(image)
}
