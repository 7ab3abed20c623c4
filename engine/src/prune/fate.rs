//! Decides which packs stay, go, or are written anew: a pure function.

/// What a decision needs to know of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackUse {
    /// Its length.
    pub bytes: u64,
    /// How many bytes less it would have if it were written anew; at most `bytes`.
    pub unused_bytes: u64,
    /// Whether anything in it is needed.
    pub is_used: bool,
}

/// How much is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So much of what stays may be unused, in percent.
    pub unused_percent_max: u8,
    /// Packs of at most so many bytes together are written anew.
    pub repack_bytes_max: u64,
    /// Packs below this length are small.
    pub small_bytes: u64,
    /// If there are so many small packs, they are written into few.
    pub small_packs_min: usize,
    /// So many small packs come about whenever anything is written anew.
    pub small_packs_new: usize,
}

/// What becomes of a pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is deleted: nothing in it is needed.
    Delete,
    /// What is needed of it is written into new packs, then it is deleted.
    Repack,
}

/// Decides the fate of each pack.
///
/// Those in which nothing is needed go. Of the others those with the greatest unused share are written anew until what is
/// unused is within its limit, then small ones if there are many. What `repack_bytes_max` has no room for is passed over.
pub fn decide(packs: &[PackUse], limits: &Limits) -> Vec<Fate> {
    let mut fates: Vec<Fate> = packs.iter().map(|pack| if pack.is_used { Fate::Keep } else { Fate::Delete }).collect();
    let used = || (0..packs.len()).filter(|&at| packs[at].is_used);
    let mut kept_bytes: u64 = used().map(|at| packs[at].bytes).sum();
    let mut unused_bytes: u64 = used().map(|at| packs[at].unused_bytes).sum();
    let mut room = limits.repack_bytes_max;
    let mut wasteful: Vec<usize> = used().filter(|&at| packs[at].unused_bytes > 0).collect();
    wasteful.sort_by(|&a, &b| {
        let (a, b) = (&packs[a], &packs[b]);
        // The shares as fractions, multiplied out.
        let share = |one: &PackUse, other: &PackUse| u128::from(one.unused_bytes) * u128::from(other.bytes);
        share(b, a).cmp(&share(a, b))
    });
    for at in wasteful {
        if u128::from(unused_bytes) * 100 <= u128::from(kept_bytes) * u128::from(limits.unused_percent_max) {
            break;
        }
        let Some(left) = room.checked_sub(packs[at].bytes) else { continue };
        room = left;
        fates[at] = Fate::Repack;
        kept_bytes -= packs[at].unused_bytes;
        unused_bytes -= packs[at].unused_bytes;
    }
    let is_small = |at: &usize| fates[*at] == Fate::Keep && packs[*at].bytes < limits.small_bytes;
    let small: Vec<usize> = (0..packs.len()).filter(is_small).collect();
    // Those that will come count too, or the next decision would find them and write all of them once more.
    let new = if fates.contains(&Fate::Repack) { limits.small_packs_new } else { 0 };
    if small.len() + new >= limits.small_packs_min {
        for at in small {
            let Some(left) = room.checked_sub(packs[at].bytes) else { continue };
            room = left;
            fates[at] = Fate::Repack;
        }
    }
    fates
}
