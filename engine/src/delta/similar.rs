//! Finds, for many new chunks at once, the old ones that share the most features.

use crate::delta::Sketch;

/// A feature that so many old chunks have had says little, and is passed over from then on.
const MATCHES_MAX: u8 = 32;
const FILTER_BITS: usize = 1 << 18;

/// New chunks, waiting for old ones to be shown to them.
///
/// The few new ones are indexed and the many old ones pass by, so that the index of a database stays small, and what is
/// kept of the old ones can be a plain list.
pub struct Similar {
    /// Feature, new chunk, how many old chunks had it.
    features: Vec<(u32, u32, u8)>,
    /// A bit for each value of a feature's low bits: most features of old chunks are no new chunk's.
    filter: Vec<u64>,
    /// For each new chunk the old ones that share a feature with it, once for each.
    candidates: Vec<Vec<u32>>,
}

impl Similar {
    /// Indexes the sketches of new chunks.
    pub fn new(sketches: &[Sketch]) -> Self {
        let mut features = Vec::with_capacity(sketches.len() * crate::delta::FEATURES);
        let mut filter = vec![0; FILTER_BITS / 64];
        for (new, sketch) in (0u32..).zip(sketches) {
            for feature in sketch.features() {
                features.push((feature, new, 0));
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
            for (_, new, matches) in self.features[first..].iter_mut().take_while(|(other, ..)| *other == feature) {
                if *matches == MATCHES_MAX {
                    continue;
                }
                *matches += 1;
                self.candidates[*new as usize].push(old);
            }
        }
    }

    /// Returns, for each new chunk, the old ones that share features with it, the most similar first, and how many
    /// features they share.
    pub fn finish(mut self) -> Vec<Vec<(u32, u8)>> {
        let weigh = |candidates: &mut Vec<u32>| {
            candidates.sort_unstable();
            let mut weighed: Vec<(u32, u8)> =
                candidates.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u8)).collect();
            // Among equals the one shown last: later versions lie nearer.
            weighed.sort_unstable_by_key(|&(old, shared)| std::cmp::Reverse((shared, old)));
            weighed
        };
        self.candidates.iter_mut().map(weigh).collect()
    }
}
