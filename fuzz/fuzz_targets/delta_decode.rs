//! Any bytes as a delta upon any bytes, and any two chunks as a delta that must make the second from the first.
#![no_main]

use daykeep_engine::internals::delta::{DeltaDecoder, DeltaEncoder};
use libfuzzer_sys::fuzz_target;

/// The first two bytes say how long the base is, the rest is base and delta, or base and target.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let base_bytes = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    Some(rest.split_at(base_bytes))
}

fn encode(base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    let mut encoder = DeltaEncoder::new(3).expect("zstd has its memory");
    encoder.encode(base, target, &mut delta).expect("zstd has its memory");
    delta
}

fn seeds() -> Vec<Vec<u8>> {
    let base = b"a page of a database, as it was yesterday; ".repeat(20);
    let target = [&base[..400], b"a new message", &base[400..]].concat();
    let delta = encode(&base, &target);
    let length = (base.len() as u16).to_le_bytes();
    vec![[&length[..], &base, &delta].concat(), [&length[..], &base, &target].concat()]
}

fuzz_target!(init: daykeep_fuzz::plant_seeds(&seeds()), |bytes: &[u8]| {
    let Some((base, other)) = split(bytes) else { return };
    let mut decoder = DeltaDecoder::new().expect("zstd has its memory");
    for length in [0, 1, 853, 4096] {
        let mut out = vec![0; length];
        // Whatever it is, it makes as many bytes as were asked for, or none.
        let _ = decoder.decode(base, other, &mut out);
    }
    let mut back = vec![0; other.len()];
    decoder.decode(base, &encode(base, other), &mut back).expect("a delta that was just made is one");
    assert_eq!(back, other);
});
