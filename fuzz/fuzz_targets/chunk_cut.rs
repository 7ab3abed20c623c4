//! Any bytes and any parameters: the cuts cover the bytes, keep the limits, and are the same in parallel, in series, and
//! through a window.
#![no_main]

use daykeep_engine::Timestamp;
use daykeep_engine::internals::chunk::{Chunker, Cutter, cut_all, sniff};
use daykeep_engine::internals::format::config::{CdcSizes, ChunkerParams, Config};
use daykeep_fuzz::codec;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Two segments are cut in parallel from 4 MiB on.
const BYTES_MAX: usize = 6 << 20;

/// A run of bytes of one sort, so that a short input makes a long file.
#[derive(Arbitrary, Debug)]
enum Run {
    Given(Vec<u8>),
    Same(u8, u32),
    Repeated(Vec<u8>, u32),
    Noise(u64, u32),
}

#[derive(Arbitrary, Debug)]
struct Input {
    min: u32,
    avg_bits: u8,
    max: u32,
    block_bits: u8,
    runs: Vec<Run>,
    segments: u8,
    window: u32,
}

fn bytes(runs: &[Run]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in runs {
        let room = BYTES_MAX - out.len();
        let len = |wanted: u32| wanted as usize % (room + 1);
        match run {
            Run::Given(bytes) => out.extend_from_slice(&bytes[..bytes.len().min(room)]),
            Run::Same(byte, wanted) => out.resize(out.len() + len(*wanted), *byte),
            Run::Repeated(bytes, wanted) if !bytes.is_empty() => {
                out.extend(bytes.iter().cycle().take(len(*wanted)));
            }
            Run::Repeated(..) => {}
            Run::Noise(seed, wanted) => {
                // Knuth's multiplier for linear congruential generators.
                let mut state = *seed;
                out.extend((0..len(*wanted)).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                }));
            }
        }
    }
    out
}

fn serial(chunker: &Chunker, cutter: &Cutter, bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at += chunker.cut(cutter, &bytes[at..]);
        ends.push(at);
    }
    ends
}

/// Cuts as a backup does that reads a file through a buffer.
fn windowed(chunker: &Chunker, cutter: &Cutter, bytes: &[u8], window: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..bytes.len().min(at + window)];
        let is_end = at + rest.len() == bytes.len();
        let len = chunker.cut(cutter, rest);
        assert!(is_end || len < rest.len() || len == cutter.max(), "a window of two chunks always has a cut");
        at += len;
        ends.push(at);
    }
    ends
}

fn check(chunker: &Chunker, cutter: &Cutter, min: usize, input: &Input, bytes: &[u8]) {
    let ends = serial(chunker, cutter, bytes);
    assert_eq!(ends.last().copied().unwrap_or(0), bytes.len(), "the chunks are the bytes");
    let mut start = 0;
    for &end in &ends {
        assert!(end > start && end - start <= cutter.max(), "no chunk is empty or too long");
        assert!(end - start >= min || end == bytes.len(), "only the last chunk may be short");
        start = end;
    }
    let segments = usize::from(input.segments);
    assert_eq!(cut_all(chunker, cutter, bytes, true, segments), ends, "parallel cuts are the serial ones");
    let known = cut_all(chunker, cutter, bytes, false, segments);
    assert!(ends.starts_with(&known), "what is cut before the end is known stays cut");
    let left = bytes.len() - known.last().copied().unwrap_or(0);
    assert!(left < cutter.max(), "a cut that can be known is found");
    let window = cutter.max() + input.window as usize % (2 * cutter.max());
    assert_eq!(windowed(chunker, cutter, bytes, window), ends, "windows change nothing");
}

fuzz_target!(|input: Input| {
    let sizes = CdcSizes {
        min: input.min % (1 << 20),
        avg: 1 << (10 + u32::from(input.avg_bits) % 10),
        max: input.max % ((1 << 20) + 1),
    };
    let sqlite_block_min = 1 << (9 + u32::from(input.block_bits) % 8);
    let even = |size: u32| size & !1;
    let general = CdcSizes { min: even(sizes.min).max(64) % sizes.avg, max: even(sizes.max), ..sizes };
    let chunker = ChunkerParams { general, media: general, sqlite_block_min };
    let config = Config { created: Timestamp::default(), chunker, shared_gear: None, parity_percent: 0 };
    // The reader of the config decides which parameters a chunker must be able to live with.
    let Ok(config) = Config::decode(&config.encode()) else { return };
    let chunker = Chunker::new(config.chunker, codec().keys.gear());
    let bytes = bytes(&input.runs);
    check(&chunker, &Cutter::Content(general), general.min as usize, &input, &bytes);
    check(&chunker, &Cutter::Fixed(sqlite_block_min), sqlite_block_min as usize, &input, &bytes);
    let sniffed = chunker.cutter(sniff(&bytes[..bytes.len().min(32)]));
    check(&chunker, &sniffed, 0, &input, &bytes);
});
