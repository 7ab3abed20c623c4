//! Bytes and numbers that are the same in every run.

/// A small generator of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Begins at a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub const fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A seed, which is told if the test fails.
pub struct Seed(pub u64);

impl Seed {
    /// Returns the one that `DAYKEEP_SEED` asks for.
    pub fn wanted() -> Option<u64> {
        Self::named("DAYKEEP_SEED")
    }

    /// Returns the one to begin with: 1, or what `DAYKEEP_FIRST_SEED` says, so that a long run can go on where one ended.
    pub fn first() -> u64 {
        Self::named("DAYKEEP_FIRST_SEED").unwrap_or(1)
    }

    fn named(variable: &str) -> Option<u64> {
        std::env::var(variable).ok().map(|seed| seed.parse().unwrap())
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was DAYKEEP_SEED={}", self.0);
        }
    }
}

/// Returns incompressible bytes.
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Returns bytes that compress about as text does.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "morning",
        "photo",
        "the",
        "of",
        "chat",
        "and",
        "yesterday",
        "a",
        "Anna",
        "video",
        "to",
        "keep",
        "sent",
        "every",
        "message",
        "day",
    ];
    let mut rng = Rng::new(seed);
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        let number = rng.next();
        out.extend_from_slice(WORDS[(number & 15) as usize].as_bytes());
        if number & 0xf0 == 0 {
            out.extend_from_slice(format!(" {}", number >> 40).as_bytes());
        }
        out.push(if number & 0xf00 == 0 { b'\n' } else { b' ' });
    }
    out.truncate(len);
    out
}

/// Returns a file that begins like an SQLite database of this page size and has other bytes in every page.
pub fn sqlite(seed: u64, page_bytes: u16, len: usize) -> Vec<u8> {
    let mut out = random(seed, len);
    let head = [b"SQLite format 3\0".as_slice(), &page_bytes.to_be_bytes()].concat();
    let known = head.len().min(len);
    out[..known].copy_from_slice(&head[..known]);
    out
}
