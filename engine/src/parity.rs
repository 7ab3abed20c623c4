//! Rank 2: what heals a pack: Reed–Solomon shards over it, with a check of each shard that tells which are whole.
//!
//! The code is the one over GF(2^16) of crate `reed-solomon-simd`, by Lin, Chung and Han's additive FFT (FOCS 2014). It
//! restores what is missing and proves nothing: that is for the seals of what was restored.

use reed_solomon_simd::{Error, ReedSolomonDecoder, ReedSolomonEncoder};

use crate::base::limits::MIB;
use crate::format::pack::TRAILER_BYTES;
use crate::format::parity::{CHECK_BYTES, Geometry, SHARD_BYTES};

/// What the code's tables take in memory from the first use on.
pub const TABLE_BYTES: usize = 9 * MIB;
/// Shards are coded in slices of so many bytes, each by itself, so that the work takes a quarter of the pack's memory and
/// stays in the processor's cache.
const SLICE_BYTES: usize = 1024;

/// A pack's protected bytes as shards.
struct Data<'a> {
    body: &'a [u8],
    /// What does not fill a shard, the trailer and zeros: one or two shards.
    tail: Vec<u8>,
}

impl<'a> Data<'a> {
    fn new(body: &'a [u8], trailer: &[u8], geometry: &Geometry) -> Self {
        let (body, rest) = body.split_at(body.len() / SHARD_BYTES * SHARD_BYTES);
        let mut tail = [rest, trailer].concat();
        tail.resize(geometry.data * SHARD_BYTES - body.len(), 0);
        Self { body, tail }
    }

    fn shard(&self, number: usize) -> &[u8] {
        let at = number * SHARD_BYTES;
        match self.body.get(at..at + SHARD_BYTES) {
            Some(shard) => shard,
            None => &self.tail[at - self.body.len()..][..SHARD_BYTES],
        }
    }
}

/// The parts of a parity section.
struct Section<T> {
    first: T,
    recovery: T,
    second: T,
}

impl<'a> Section<&'a [u8]> {
    fn split(section: &'a [u8], geometry: &Geometry) -> Self {
        let (first, rest) = section.split_at(geometry.table_bytes());
        let (recovery, second) = rest.split_at(geometry.recovery * SHARD_BYTES);
        Self { first, recovery, second }
    }

    /// Returns how many of the tables name this check for a shard; recovery shards are counted after data shards.
    fn matches(&self, number: usize, shard: &[u8]) -> usize {
        let (at, check) = (number * CHECK_BYTES, check(shard));
        [self.first, self.second].iter().filter(|table| table[at..at + CHECK_BYTES] == check).count()
    }
}

/// Returns what stands in the table for a shard: the first bytes of its BLAKE3 hash, which need no key, since the shard is
/// sealed.
fn check(shard: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(shard).as_bytes()[..CHECK_BYTES]);
    check
}

/// Returns body, section and trailer of a pack.
fn parts<'a>(pack: &'a [u8], geometry: &Geometry) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let (body, rest) = pack.split_at(geometry.protected - TRAILER_BYTES);
    let (section, trailer) = rest.split_at(rest.len() - TRAILER_BYTES);
    (body, section, trailer)
}

/// Fills the parity section of a pack, of which all else is there.
///
/// # Errors
/// If there are more shards than the code can have, which is far beyond the longest pack.
pub fn write(pack: &mut [u8], geometry: &Geometry) -> Result<(), Error> {
    if geometry.recovery == 0 {
        return Ok(());
    }
    let (body, rest) = pack.split_at_mut(geometry.protected - TRAILER_BYTES);
    let (section, trailer) = rest.split_at_mut(geometry.section_bytes());
    let data = Data::new(body, trailer, geometry);
    let (first, rest) = section.split_at_mut(geometry.table_bytes());
    let (recovery, second) = rest.split_at_mut(geometry.recovery * SHARD_BYTES);
    let mut encoder = ReedSolomonEncoder::new(geometry.data, geometry.recovery, SLICE_BYTES)?;
    for at in (0..SHARD_BYTES).step_by(SLICE_BYTES) {
        for number in 0..geometry.data {
            encoder.add_original_shard(&data.shard(number)[at..at + SLICE_BYTES])?;
        }
        let encoded = encoder.encode()?;
        for (shard, slice) in recovery.chunks_exact_mut(SHARD_BYTES).zip(encoded.recovery_iter()) {
            shard[at..at + SLICE_BYTES].copy_from_slice(slice);
        }
    }
    let shards = (0..geometry.data).map(|number| data.shard(number)).chain(recovery.chunks_exact(SHARD_BYTES));
    for (entry, shard) in first.chunks_exact_mut(CHECK_BYTES).zip(shards) {
        entry.copy_from_slice(&check(shard));
    }
    second.copy_from_slice(first);
    Ok(())
}

/// Returns whether every shard of a pack is what both tables say of it.
pub fn is_intact(pack: &[u8], geometry: &Geometry) -> bool {
    if geometry.recovery == 0 {
        return true;
    }
    let (body, section, trailer) = parts(pack, geometry);
    let (data, section) = (Data::new(body, trailer, geometry), Section::split(section, geometry));
    let mut shards = (0..geometry.data).map(|number| data.shard(number)).chain(section.recovery.chunks(SHARD_BYTES));
    let mut number = 0;
    shards.all(|shard| {
        number += 1;
        section.matches(number - 1, shard) == 2
    })
}

/// Restores a pack from what is whole in it; returns whether there was enough. A shard is whole if either table names its
/// check. Nothing is proven by this.
pub fn heal(pack: &mut [u8], geometry: &Geometry) -> bool {
    let (mut lost, mut restored) = (Vec::new(), Vec::new());
    if geometry.recovery > 0 {
        let (body, section, trailer) = parts(pack, geometry);
        let (data, section) = (Data::new(body, trailer, geometry), Section::split(section, geometry));
        lost.extend((0..geometry.data).filter(|&number| section.matches(number, data.shard(number)) == 0));
        let recovery = section.recovery.chunks_exact(SHARD_BYTES).enumerate();
        let whole = recovery.filter(|(number, shard)| section.matches(geometry.data + number, shard) > 0);
        let whole: Vec<(usize, &[u8])> = whole.take(lost.len()).collect();
        restored = vec![0; lost.len() * SHARD_BYTES];
        if whole.len() < lost.len() || restore(geometry, &data, &lost, &whole, &mut restored).is_err() {
            return false;
        }
    }
    let body = geometry.protected - TRAILER_BYTES;
    for (number, shard) in lost.into_iter().zip(restored.chunks_exact(SHARD_BYTES)) {
        let at = number * SHARD_BYTES;
        let in_body = body.saturating_sub(at).min(SHARD_BYTES);
        pack[at..at + in_body].copy_from_slice(&shard[..in_body]);
        // The trailer may begin in this shard, or in the one before.
        let begins = body.max(at);
        let ends = geometry.protected.min(at + SHARD_BYTES);
        if begins < ends {
            let section = geometry.section_bytes();
            pack[begins + section..ends + section].copy_from_slice(&shard[begins - at..ends - at]);
        }
    }
    write(pack, geometry).is_ok()
}

/// Makes the `lost` data shards out of all others and as many recovery shards.
fn restore(
    geometry: &Geometry,
    data: &Data<'_>,
    lost: &[usize],
    recovery: &[(usize, &[u8])],
    restored: &mut [u8],
) -> Result<(), Error> {
    if lost.is_empty() {
        return Ok(());
    }
    let mut decoder = ReedSolomonDecoder::new(geometry.data, geometry.recovery, SLICE_BYTES)?;
    for at in (0..SHARD_BYTES).step_by(SLICE_BYTES) {
        for number in (0..geometry.data).filter(|number| lost.binary_search(number).is_err()) {
            decoder.add_original_shard(number, &data.shard(number)[at..at + SLICE_BYTES])?;
        }
        for (number, shard) in recovery {
            decoder.add_recovery_shard(*number, &shard[at..at + SLICE_BYTES])?;
        }
        let decoded = decoder.decode()?;
        for (number, shard) in lost.iter().zip(restored.chunks_exact_mut(SHARD_BYTES)) {
            let slice = decoded.restored_original(*number).unwrap_or_default();
            shard[at..at + slice.len()].copy_from_slice(slice);
        }
    }
    Ok(())
}
