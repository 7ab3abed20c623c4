//! Finds, for many new chunks at once, the old ones that share the most features.

use crate::base::ShortId;
use crate::delta::{FEATURES, Sketch};

/// A feature that so many old chunks have had says little, and is passed over from then on.
const MATCHES_MAX: u8 = 32;
const FILTER_BITS: usize = 1 << 18;
const _: () = assert!(FEATURES <= 8);

/// New chunks, waiting for old ones to be shown to them.
///
/// The few new ones are indexed and the many old ones pass by, so that the index of a database stays small, and what is
/// kept of the old ones can be a plain list.
pub struct Similar {
    /// Feature, new chunk, the feature's bit, how many old chunks had it.
    features: Vec<(u32, u32, u8, u8)>,
    /// A bit for each value of a feature's low bits: most features of old chunks are no new chunk's.
    filter: Vec<u64>,
    /// For each new chunk the old ones that share a feature with it, once for each, with the feature's bit.
    candidates: Vec<Vec<(u32, u8)>>,
}

/// An old chunk that shares features with a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The number that it was shown by.
    pub old: u32,
    /// A bit for each of the new chunk's features that it has.
    pub shared: u8,
}

impl Similar {
    /// Indexes the sketches of new chunks.
    pub fn new(sketches: &[Sketch]) -> Self {
        let mut features = Vec::with_capacity(sketches.len() * FEATURES);
        let mut filter = vec![0; FILTER_BITS / 64];
        for (new, sketch) in (0u32..).zip(sketches) {
            for (at, feature) in sketch.features().enumerate() {
                features.push((feature, new, 1 << at, 0));
                let bit = feature as usize % FILTER_BITS;
                filter[bit / 64] |= 1u64 << (bit % 64);
            }
        }
        features.sort_unstable();
        Self { features, filter, candidates: vec![Vec::new(); sketches.len()] }
    }

    /// Shows an old chunk, by whatever number.
    pub fn show(&mut self, old: u32, sketch: &Sketch) {
        for feature in sketch.features() {
            let bit = feature as usize % FILTER_BITS;
            if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
                continue;
            }
            let first = self.features.partition_point(|&(other, ..)| other < feature);
            for (_, new, bit, matches) in self.features[first..].iter_mut().take_while(|(other, ..)| *other == feature)
            {
                if *matches == MATCHES_MAX {
                    continue;
                }
                *matches += 1;
                self.candidates[*new as usize].push((old, *bit));
            }
        }
    }

    /// Returns, for each new chunk, the old ones that share features with it, the most similar first.
    pub fn finish(mut self) -> Vec<Vec<Candidate>> {
        let weigh = |found: &mut Vec<(u32, u8)>| {
            found.sort_unstable();
            let same =
                |one: &[(u32, u8)]| Candidate { old: one[0].0, shared: one.iter().fold(0, |all, (_, bit)| all | bit) };
            let mut candidates: Vec<Candidate> = found.chunk_by(|a, b| a.0 == b.0).map(same).collect();
            // Among equals the one shown last: later versions lie nearer.
            candidates.sort_unstable_by_key(|one| std::cmp::Reverse((one.shared.count_ones(), one.old)));
            candidates
        };
        self.candidates.iter_mut().map(weigh).collect()
    }
}

/// What lies at a chunk's place is tried first, unless another shares more features than it by more than this.
const SHARED_LESS_MAX: u32 = 2;

/// Returns the old chunks that a new one may best stand on, the best first: those `in_place`, as far as they resemble it,
/// then the candidates that have something to add. `id` names a chunk by the number that it was shown by.
pub fn likely_bases(
    in_place: &[ShortId],
    candidates: &[Candidate],
    id: impl Fn(u32) -> ShortId,
    count_max: usize,
) -> Vec<ShortId> {
    let shared = |wanted: ShortId| candidates.iter().find(|one| id(one.old) == wanted).map_or(0, |one| one.shared);
    let most = candidates.first().map_or(0, |best| best.shared.count_ones());
    // Where rows were put in or taken out, what lies at its place is another page.
    let is_near = |id: &&ShortId| shared(**id).count_ones() + SHARED_LESS_MAX >= most;
    let mut bases: Vec<ShortId> = in_place.iter().filter(is_near).copied().collect();
    let covered = bases.iter().fold(0, |covered, id| covered | shared(*id));
    bases.extend(cover(candidates, covered, count_max).into_iter().map(&id));
    if bases.is_empty() {
        bases.extend_from_slice(in_place);
    }
    bases
}

/// Chooses the candidate that shares the most features which are not `covered`, then the next beside it, and so on. Once half
/// of all features are covered, one more is chance: then each has to add two.
///
/// What many chunks have in common is found in the first of them; the others would only be more to read.
fn cover(candidates: &[Candidate], mut covered: u8, count_max: usize) -> Vec<u32> {
    let mut chosen = Vec::new();
    while chosen.len() < count_max {
        let gain = |one: &Candidate| (one.shared & !covered).count_ones();
        let gain_min = if covered.count_ones() as usize >= FEATURES / 2 { 2 } else { 1 };
        // The first of those with the greatest gain.
        let best = candidates.iter().rev().max_by_key(|one| gain(one)).filter(|one| gain(one) >= gain_min);
        let Some(best) = best else { break };
        covered |= best.shared;
        chosen.push(best.old);
    }
    chosen
}
