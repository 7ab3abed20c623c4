//! Which packs a prune writes anew: the decision, against a slow way to the same one.

use daykeep_engine::internals::prune::{Fate, Limits, PackUse, decide};
use proptest::prelude::*;

/// Decides as `decide` does, by looking at everything again for each step.
fn decide_slowly(packs: &[PackUse], limits: &Limits) -> Vec<Fate> {
    let mut fates = vec![Fate::Keep; packs.len()];
    let mut refused = vec![false; packs.len()];
    for (fate, pack) in fates.iter_mut().zip(packs) {
        if !pack.is_used {
            *fate = Fate::Delete;
        }
    }
    let repacked = |fates: &[Fate]| -> u64 {
        packs.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Repack).map(|(pack, _)| pack.bytes).sum()
    };
    loop {
        let (mut all, mut unused) = (0u128, 0u128);
        for (pack, fate) in packs.iter().zip(&fates) {
            match fate {
                Fate::Keep => (all, unused) = (all + u128::from(pack.bytes), unused + u128::from(pack.unused_bytes)),
                Fate::Repack => all += u128::from(pack.bytes - pack.unused_bytes),
                Fate::Delete => {}
            }
        }
        if unused * 100 <= all * u128::from(limits.unused_percent_max) {
            break;
        }
        let mut best: Option<usize> = None;
        for (at, pack) in packs.iter().enumerate() {
            let is_open = fates[at] == Fate::Keep && !refused[at] && pack.unused_bytes > 0;
            let is_better = |other: usize| {
                u128::from(pack.unused_bytes) * u128::from(packs[other].bytes)
                    > u128::from(packs[other].unused_bytes) * u128::from(pack.bytes)
            };
            if is_open && best.is_none_or(is_better) {
                best = Some(at);
            }
        }
        let Some(best) = best else { break };
        if repacked(&fates) + packs[best].bytes > limits.repack_bytes_max {
            refused[best] = true;
        } else {
            fates[best] = Fate::Repack;
        }
    }
    let is_small = |at: &usize| fates[*at] == Fate::Keep && packs[*at].bytes < limits.small_bytes;
    let small: Vec<usize> = (0..packs.len()).filter(is_small).collect();
    let new = if fates.contains(&Fate::Repack) { limits.small_packs_new } else { 0 };
    if small.len() + new >= limits.small_packs_min {
        for at in small {
            if repacked(&fates) + packs[at].bytes <= limits.repack_bytes_max {
                fates[at] = Fate::Repack;
            }
        }
    }
    fates
}

fn pack_use() -> impl Strategy<Value = PackUse> {
    (1u64..1000, 0u64..1000, prop::bool::weighted(0.8)).prop_map(|(bytes, unused, is_used)| PackUse {
        bytes,
        unused_bytes: if is_used { unused * bytes / 1000 } else { bytes },
        is_used,
    })
}

proptest! {
    #[test]
    fn a_decision_is_that_of_the_slow_way_and_within_its_limits(
        packs in prop::collection::vec(pack_use(), 0..60),
        unused_percent_max in 0u8..=100,
        repack_bytes_max in prop_oneof![Just(u64::MAX), 0u64..20_000],
        small_bytes in 0u64..600,
        small_packs_min in 3usize..30,
        small_packs_new in 0usize..3,
        first_percent in 0u64..=100,
    ) {
        let limits = Limits { unused_percent_max, repack_bytes_max, small_bytes, small_packs_min, small_packs_new };
        let fates = decide(&packs, &limits);
        prop_assert_eq!(&fates, &decide_slowly(&packs, &limits));
        let (mut all, mut unused, mut repacked, mut rewritten) = (0, 0, 0, 0);
        for (pack, fate) in packs.iter().zip(&fates) {
            prop_assert_eq!(*fate == Fate::Delete, !pack.is_used, "what is needed is never deleted");
            match fate {
                Fate::Keep => (all, unused) = (all + pack.bytes, unused + pack.unused_bytes),
                Fate::Repack => {
                    let needed = pack.bytes - pack.unused_bytes;
                    (all, repacked, rewritten) = (all + needed, repacked + pack.bytes, rewritten + needed);
                }
                Fate::Delete => {}
            }
        }
        prop_assert!(repacked <= repack_bytes_max);
        if repack_bytes_max == u64::MAX {
            prop_assert!(unused * 100 <= all * u64::from(unused_percent_max));
        }
        if repack_bytes_max == u64::MAX && (small_packs_new == 2 || repacked == 0) {
            // Done, it leaves nothing to do.
            let first = rewritten * first_percent / 100;
            let kept = packs.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Keep).map(|(pack, _)| *pack);
            let new = [first, rewritten - first].into_iter().filter(|bytes| *bytes > 0);
            let new = new.map(|bytes| PackUse { bytes, unused_bytes: 0, is_used: true });
            let after: Vec<PackUse> = kept.chain(new).collect();
            prop_assert!(decide(&after, &limits).iter().all(|fate| *fate == Fate::Keep));
        }
    }
}
