//! Numbers that follow from a seed, the same on every machine: nothing here uses a function of the platform's
//! mathematics library, whose last digits differ between machines.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A small generator of pseudo-random numbers: SplitMix64 (Steele et al., OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// Returns a generator of its own for whatever `label` names. It depends on the state of this one, which it leaves
    /// as it is: whatever draws from a fork does not shift what others draw.
    pub fn fork(&self, label: &str) -> Random {
        // FNV-1a, 64 bits.
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Random(mix(self.0 ^ hash))
    }

    /// Returns a generator of its own for the `n`-th of many things of one kind, and leaves this one as it is.
    pub fn nth(&self, n: u64) -> Random {
        Random(mix(self.0.wrapping_add(mix(n.wrapping_add(GOLDEN)))))
    }

    /// Returns the generator that belongs to `index` among those of `purpose`. Not a root's [`fork`](Self::fork) and its
    /// [`nth`](Self::nth): each has its own numbers, and the bytes of the data sets follow from them.
    pub fn stream(seed: u64, purpose: &str, index: u64) -> Random {
        let mut state = Random(seed).next();
        for byte in purpose.bytes() {
            state = Random(state ^ u64::from(byte)).next();
        }
        Random(Random(state ^ index).next())
    }

    /// Returns the next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "an endless sequence needs no `Some`")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Returns a number below `end`, or 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Returns a number below `end`, or 0 if that is 0; small ones are likelier, their magnitudes about equally likely.
    pub fn skewed(&mut self, end: u64) -> u64 {
        let bits = self.below(u64::from(u64::BITS - end.leading_zeros()) + 1);
        self.next() % 1_u64.checked_shl(bits as u32).unwrap_or(u64::MAX).min(end.max(1))
    }

    /// Returns a number from 0 to just below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Returns a number of the distribution whose quantiles at equal steps from 0 to 1 are `quantiles`; between two of
    /// them it is uniform. An empty slice gives 0.
    pub fn quantile(&mut self, quantiles: &[u64]) -> u64 {
        let [first, .., _] = quantiles else { return quantiles.first().copied().unwrap_or(0) };
        let at = self.below((quantiles.len() - 1) as u64) as usize;
        let low = quantiles.get(at).unwrap_or(first);
        let high = quantiles.get(at + 1).unwrap_or(low);
        low + self.below(high.saturating_sub(*low) + 1)
    }

    /// Returns one of `items`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Returns one of `items`, or `None` if there are none.
    pub fn pick_any<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Removes one of `items` and returns it, or returns `None` if there are none.
    pub fn take<T>(&mut self, items: &mut Vec<T>) -> Option<T> {
        (!items.is_empty()).then(|| items.swap_remove(self.below(items.len() as u64) as usize))
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        let (words, rest) = out.as_chunks_mut::<8>();
        for word in words {
            *word = self.next().to_le_bytes();
        }
        if !rest.is_empty() {
            let len = rest.len();
            rest.copy_from_slice(&self.next().to_le_bytes()[..len]);
        }
    }
}

/// Draws ranks with the frequencies of the Zipf–Mandelbrot law, 1 / (rank + shift), in constant time (Vose's alias
/// method, IEEE Transactions on Software Engineering 17, 1991).
#[derive(Debug)]
pub struct Zipf {
    /// The chance to stay in a cell, in 2^-16, and where to go otherwise: small, so that they stay in the cache.
    cells: Vec<(u16, u16)>,
}

impl Zipf {
    /// Ranks from 0 to below `ranks`, which is taken as 1 to 65,536; the larger `shift` (at least 0), the flatter the top.
    pub fn new(ranks: u32, shift: f64) -> Zipf {
        let ranks = ranks.clamp(1, 1 << 16);
        let weights: Vec<f64> = (0..ranks).map(|rank| 1.0 / (f64::from(rank) + 1.0 + shift)).collect();
        let mean = weights.iter().sum::<f64>() / f64::from(ranks);
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) = (0..ranks).partition(|&rank| shares[rank as usize] < 1.0);
        let mut cells: Vec<(u16, u16)> = (0..ranks).map(|rank| (u16::MAX, rank as u16)).collect();
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            let share = shares[less as usize];
            cells[less as usize] = ((share * 65_536.0) as u16, more as u16);
            shares[more as usize] -= 1.0 - share;
            if shares[more as usize] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        Zipf { cells }
    }

    /// Returns a rank; 0 is the most frequent.
    pub fn rank(&self, random: &mut Random) -> usize {
        let bits = random.next();
        let cell = ((bits >> 32) * self.cells.len() as u64) >> 32;
        let (stay, other) = self.cells[cell as usize];
        if (bits as u16) < stay { cell as usize } else { usize::from(other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        // The first outputs of the reference implementation for the seed 1234567.
        let mut random = Random(1_234_567);
        let found: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn forks_differ_and_leave_their_root_alone() {
        let root = Random(7);
        assert_ne!(root.fork("text").next(), root.fork("media").next());
        assert_ne!(root.nth(0).next(), root.nth(1).next());
        assert_eq!(root.fork("text").next(), Random(7).fork("text").next());
    }

    #[test]
    fn zipf_has_the_frequencies_of_its_law() {
        let (ranks, shift, draws) = (50, 2.0, 400_000);
        let zipf = Zipf::new(ranks, shift);
        let mut counts = vec![0_u32; ranks as usize];
        let mut random = Random(3);
        (0..draws).for_each(|_| counts[zipf.rank(&mut random)] += 1);
        let sum: f64 = (1..=ranks).map(|rank| 1.0 / (f64::from(rank) + shift)).sum();
        for (rank, &count) in counts.iter().enumerate() {
            let expected = f64::from(draws) / (rank as f64 + 1.0 + shift) / sum;
            assert!((f64::from(count) - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {count}, {expected}");
        }
    }

    #[test]
    fn skewed_and_unit_stay_within_their_limits() {
        let mut random = Random(5);
        assert_eq!(random.skewed(0), 0);
        let drawn: Vec<u64> = (0..10_000).map(|_| random.skewed(1000)).collect();
        assert!(drawn.iter().all(|&number| number < 1000));
        let small = drawn.iter().filter(|&&number| number < 32).count();
        assert!((4_000..8_000).contains(&small), "{small}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
        assert!(random.skewed(u64::MAX) < u64::MAX);
    }

    #[test]
    fn filling_takes_the_words_in_order() {
        let mut bytes = [0; 19];
        Random(9).fill(&mut bytes);
        let mut random = Random(9);
        let words: Vec<u8> = (0..3).flat_map(|_| random.next().to_le_bytes()).collect();
        assert_eq!(bytes, words[..19]);
    }
}
