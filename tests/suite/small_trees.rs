//! Small random trees with few names, so that two of them share much.

use std::collections::BTreeMap;

use daykeep_tests::trees::{Bytes, Spec, Tree, What};
use proptest::prelude::*;

fn dressed(what: impl Strategy<Value = What>) -> impl Strategy<Value = Spec> {
    (what, 0i64..8, 0i64..8).prop_map(|(what, mode, time)| {
        let mut spec = Spec::plain(what);
        // Most have the same, so that the same entry comes again.
        spec.mode |= u32::from(mode == 0) << 3;
        spec.mtime.0 += i64::from(time == 0);
        spec
    })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(&["a", "b", "b.txt", "b0", "c\u{e4}"][..]).prop_map(|name| name.as_bytes().to_vec())
}

/// Makes a tree of at most four levels.
pub fn small_tree() -> impl Strategy<Value = Tree> {
    let file = (0u64..2, prop::sample::select(&[0usize, 10, 5000][..])).prop_map(|(seed, len)| Bytes::Text(seed, len));
    let leaf = prop_oneof![
        6 => file.prop_map(What::File),
        1 => prop_oneof![Just(b"x"), Just(b"y")].prop_map(|target| What::Symlink(target.to_vec())),
        1 => Just(What::Fifo),
        1 => Just(What::Dir(BTreeMap::new())),
    ];
    let inner = dressed(leaf).prop_recursive(3, 20, 5, |inner| {
        dressed(prop::collection::btree_map(name(), inner, 0..5).prop_map(What::Dir))
    });
    prop::collection::btree_map(name(), inner, 0..5)
        .prop_map(|entries| Tree { root: Spec::plain(What::Dir(entries)), links: Vec::new() })
}
