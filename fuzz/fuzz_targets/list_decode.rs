//! Any bytes as a piece of a chunk list, of any level.
#![no_main]

use daykeep_engine::internals::base::{ShortId, limits};
use daykeep_engine::internals::format::content::{Part, decode_list, encode_list};
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let chunk = |number: u8, bytes| Part::Chunk { id: ShortId::from_bytes([number; 16]), bytes };
    let pages: Vec<Part> = (0..40).map(|number| chunk(number, 4096)).collect();
    let sparse = [chunk(1, 100), Part::Hole { bytes: 1 << 40 }, chunk(2, 1 << 20), chunk(3, 7)];
    let pieces = [chunk(9, 1 << 50), chunk(8, 1 << 33)];
    vec![encode_list(0, &pages), encode_list(0, &sparse), encode_list(1, &pieces), encode_list(2, &[])]
}

fuzz_target!(init: daykeep_fuzz::plant_seeds(&seeds()), |bytes: &[u8]| {
    for level in 0..=limits::LIST_LEVELS_MAX {
        let Ok(parts) = decode_list(level, bytes) else { continue };
        assert_eq!(bytes[0], level, "only the level that was asked for is read");
        assert!(parts.len() <= limits::LIST_ENTRIES_MAX);
        let total = parts.iter().try_fold(0u64, |total, part| total.checked_add(part.bytes()));
        assert!(total.is_some(), "the lengths can be added up");
        let encoded = encode_list(level, &parts);
        assert!(encoded.len() <= bytes.len(), "nothing is written longer than it was read");
        assert_eq!(decode_list(level, &encoded), Ok(parts));
    }
});
