//! Chunks: joined they are the bytes that were cut, on all cores as on one, and where the paper says.

use daykeep_engine::Class;
use daykeep_engine::internals::chunk::{Chunker, Cutter, DEFAULT_PARAMS, cut_all, sniff};
use daykeep_engine::internals::format::config::{CdcSizes, ChunkerParams};
use daykeep_tests::{is_long, noise};
use proptest::prelude::*;

use crate::chunking_oracle as oracle;

fn gear(seed: u64) -> Box<[u64; 256]> {
    let mut rng = noise::Rng::new(seed);
    let mut words = Box::new([0; 256]);
    words.iter_mut().for_each(|word| *word = rng.next());
    words
}

fn chunker(sizes: CdcSizes, seed: u64) -> Chunker {
    Chunker::new(ChunkerParams { general: sizes, ..DEFAULT_PARAMS }, gear(seed))
}

fn config(cases: u32) -> ProptestConfig {
    let cases = if is_long() { 20 * cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Data of every kind: random, text, one byte again and again, a short pattern again and again, and mixtures.
fn data(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = (0u8..5, any::<u64>(), 0..max).prop_map(|(kind, seed, len)| match kind {
        0 => noise::random(seed, len),
        1 => noise::text(seed, len),
        2 => vec![0; len],
        3 => vec![seed as u8; len],
        _ => noise::random(seed, 1 + seed as usize % 5000).into_iter().cycle().take(len).collect(),
    });
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// Sizes as a config may hold them, small ones so that little data makes many chunks.
fn sizes() -> impl Strategy<Value = CdcSizes> {
    (10u32..13, 32u32..500, 1u32..4000).prop_map(|(bits, half_min, half_more)| {
        let avg = 1 << bits;
        CdcSizes { min: (2 * half_min).min(avg - 2), avg, max: avg + 2 * half_more }
    })
}

fn serial(chunker: &Chunker, cutter: &Cutter, bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = chunker.cut(cutter, &bytes[at..]);
        assert!(len > 0, "a cut makes progress");
        at += len;
        ends.push(at);
    }
    ends
}

fn check_lengths(sizes: &CdcSizes, ends: &[usize], total: usize) {
    let mut start = 0;
    for &end in ends {
        let len = end - start;
        assert!(len <= sizes.max as usize, "{len} bytes are more than {}", sizes.max);
        assert!(len >= sizes.min as usize || end == total, "{len} bytes are less than {}", sizes.min);
        start = end;
    }
    assert_eq!(start, total, "all bytes are in chunks");
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn the_chunker_agrees_with_the_paper(sizes in sizes(), seed in any::<u64>(), bytes in data(60_000)) {
        let (chunker, gear) = (chunker(sizes, seed), gear(seed));
        let ends = serial(&chunker, &Cutter::Content(sizes), &bytes);
        check_lengths(&sizes, &ends, bytes.len());
        prop_assert_eq!(ends, oracle::cut_all(&sizes, &gear, &bytes));
    }

    #[test]
    fn the_chunker_agrees_with_the_paper_at_every_limit(sizes in sizes(), seed in any::<u64>(), limit in 0usize..3, more in 0usize..4) {
        let (chunker, gear) = (chunker(sizes, seed), gear(seed));
        let limit = [sizes.min, sizes.avg, sizes.max][limit] as usize;
        // Zeros reach the greatest length, random bytes rarely the average.
        for bytes in [noise::random(seed, limit + more - 2), vec![0; limit + more - 2]] {
            let found = chunker.cut(&Cutter::Content(sizes), &bytes);
            prop_assert_eq!(found, oracle::cut(&sizes, &gear, &bytes));
        }
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn all_cores_cut_as_one(seed in any::<u64>(), bytes in data(9 << 20), segments in 1usize..9, media in any::<bool>()) {
        let sizes = if media { DEFAULT_PARAMS.media } else { DEFAULT_PARAMS.general };
        let (chunker, cutter) = (chunker(sizes, seed), Cutter::Content(sizes));
        let one = serial(&chunker, &cutter, &bytes);
        check_lengths(&sizes, &one, bytes.len());
        prop_assert_eq!(&cut_all(&chunker, &cutter, &bytes, true, segments), &one);
        // If more may follow, the same ends but for those that what follows may change.
        let open = cut_all(&chunker, &cutter, &bytes, false, segments);
        prop_assert_eq!(&open[..], &one[..open.len()]);
        let left = bytes.len() - open.last().copied().unwrap_or(0);
        prop_assert!(left < sizes.max as usize + 1, "{} bytes are left", left);
        if !media {
            prop_assert_eq!(oracle::cut_all(&sizes, &gear(seed), &bytes), one);
        }
    }
}

/// Data in which no segment's guess is ever right until late: a period that is no multiple of any chunk.
#[test]
fn all_cores_cut_as_one_where_guesses_fail() {
    let sizes = DEFAULT_PARAMS.general;
    let (chunker, cutter) = (chunker(sizes, 5), Cutter::Content(sizes));
    for period in [1usize, 3, 1000, 70_001, 300_007] {
        let bytes: Vec<u8> = noise::random(period as u64, period).into_iter().cycle().take(17 << 20).collect();
        let one = serial(&chunker, &cutter, &bytes);
        for segments in [1, 2, 3, 4, 8, 100] {
            assert_eq!(cut_all(&chunker, &cutter, &bytes, true, segments), one, "{period} {segments}");
        }
    }
}

/// Chunks near the average that the parameters name, or the parameters would be something else.
#[test]
fn the_average_is_what_the_parameters_say() {
    for (sizes, low, high) in [(DEFAULT_PARAMS.general, 0.8, 1.6), (DEFAULT_PARAMS.media, 0.8, 1.8)] {
        let bytes = noise::random(1, 64 << 20);
        let ends = serial(&chunker(sizes, 1), &Cutter::Content(sizes), &bytes);
        let ratio = bytes.len() as f64 / ends.len() as f64 / f64::from(sizes.avg);
        assert!((low..high).contains(&ratio), "{sizes:?}: {ratio}");
    }
}

/// The mean number of cuts that an insertion moves is small: that is what content-defined means.
#[test]
fn an_insertion_moves_few_cuts() {
    let sizes = DEFAULT_PARAMS.general;
    let (chunker, cutter) = (chunker(sizes, 2), Cutter::Content(sizes));
    let bytes = noise::random(3, 16 << 20);
    let ends: std::collections::HashSet<usize> = serial(&chunker, &cutter, &bytes).into_iter().collect();
    let at = 8 << 20;
    let longer = [&bytes[..at], b"one sentence more", &bytes[at..]].concat();
    let moved = serial(&chunker, &cutter, &longer)
        .into_iter()
        .filter(|&end| !ends.contains(&end) && !ends.contains(&end.wrapping_sub(17)))
        .count();
    assert!(moved <= 8, "{moved} cuts moved");
}

#[test]
fn databases_are_cut_at_their_pages() {
    let chunker = Chunker::new(DEFAULT_PARAMS, gear(1));
    for (stored, page) in [(512u16, 4096), (4096, 4096), (8192, 8192), (32_768, 32_768), (1, 65_536)] {
        let bytes = noise::sqlite(1, stored, 1_000_000);
        let sniffed = sniff(&bytes);
        assert_eq!(sniffed.class, Class::Sqlite);
        let cutter = chunker.cutter(sniffed);
        assert_eq!(cutter, Cutter::Fixed(page));
        for segments in [1, 4] {
            let ends = cut_all(&chunker, &cutter, &bytes, true, segments);
            let wanted: Vec<usize> =
                (1..=bytes.len().div_ceil(page as usize)).map(|n| (n * page as usize).min(bytes.len())).collect();
            assert_eq!(ends, wanted);
        }
    }
    // A page length that no database can have is no database.
    for stored in [0u16, 3, 256, 1000, 4095] {
        let sniffed = sniff(&noise::sqlite(1, stored, 100));
        assert_eq!((sniffed.class, sniffed.page_bytes), (Class::General, 0));
    }
}

#[test]
fn nothing_is_no_chunk() {
    let chunker = Chunker::new(DEFAULT_PARAMS, gear(1));
    for cutter in [Cutter::Fixed(4096), Cutter::Content(DEFAULT_PARAMS.general)] {
        assert_eq!(chunker.cut(&cutter, &[]), 0);
        assert_eq!(cut_all(&chunker, &cutter, &[], true, 4), [0usize; 0]);
        assert_eq!(cut_all(&chunker, &cutter, &[], false, 4), [0usize; 0]);
    }
}
