//! Draws from distributions, in whole numbers or plain arithmetic: logarithms and powers differ between systems.

use crate::random::Random;

/// Returns the stream of numbers that belongs to `index` among those of `purpose`.
pub(crate) fn stream(seed: u64, purpose: &str, index: u64) -> Random {
    let mut state = Random(seed).next();
    for byte in purpose.bytes() {
        state = Random(state ^ u64::from(byte)).next();
    }
    Random(Random(state ^ index).next())
}

/// Returns a number of the distribution whose quantiles at equal steps from 0 to 1 are `quantiles`.
///
/// Between two of them it is uniform. An empty slice gives 0.
pub(crate) fn quantile(quantiles: &[u64], random: &mut Random) -> u64 {
    let [first, .., _] = quantiles else { return quantiles.first().copied().unwrap_or(0) };
    let at = random.below((quantiles.len() - 1) as u64) as usize;
    let low = quantiles.get(at).unwrap_or(first);
    let high = quantiles.get(at + 1).unwrap_or(low);
    low + random.below(high.saturating_sub(*low) + 1)
}

/// Returns true in `percent` of 100 cases.
pub(crate) fn chance(percent: u64, random: &mut Random) -> bool {
    random.below(100) < percent
}

/// Returns one of `items`, or `None` if there are none.
pub(crate) fn pick<'a, T>(items: &'a [T], random: &mut Random) -> Option<&'a T> {
    items.get(random.below(items.len() as u64) as usize)
}

/// Removes one of `items` and returns it.
pub(crate) fn take<T>(items: &mut Vec<T>, random: &mut Random) -> Option<T> {
    (!items.is_empty()).then(|| items.swap_remove(random.below(items.len() as u64) as usize))
}
