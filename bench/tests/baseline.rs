//! How counts of instructions are compared with the committed ones.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../benches/baseline.rs"]
mod baseline;

use std::collections::BTreeMap;

use baseline::{Baseline, Environment, Verdict};

fn baseline() -> Baseline {
    let environment = Environment {
        rustc: "rustc 1.2.3 (abc)".into(),
        cc: "cc 1".into(),
        valgrind: "valgrind-3".into(),
        target: "x".into(),
        profile: "counts".into(),
    };
    Baseline { environment, counts: BTreeMap::from([("a/b".into(), 1_000_000), ("c".into(), 1)]) }
}

#[test]
fn what_is_written_is_read_again() {
    let text = baseline().render("# a\n# b");
    assert_eq!(Baseline::parse(&text).unwrap(), baseline());
    assert!(text.starts_with("# a\n# b\nrustc = \"rustc 1.2.3 (abc)\"\n") && text.ends_with("\"c\" = 1\n"), "{text}");
    for (text, wrong) in [("", "rustc is missing"), ("x", "not understood: x"), ("[instructions]\na = b", "a = b")] {
        assert!(Baseline::parse(text).unwrap_err().contains(wrong), "{text}");
    }
}

#[test]
fn five_percent_pass_and_more_does_not() {
    let verdict = |count| baseline().verdict("a/b", count);
    assert!(matches!(verdict(1_050_000), Verdict::Same(_)) && matches!(verdict(950_000), Verdict::Same(_)));
    assert!(matches!(verdict(1_050_001), Verdict::Dearer(_)) && verdict(1_050_001).is_failure());
    assert!(matches!(verdict(949_999), Verdict::Cheaper(_)) && !verdict(949_999).is_failure());
    assert_eq!(baseline().verdict("d", 1), Verdict::New);
    assert!(Verdict::New.is_failure() && !verdict(1_000_000).is_failure());
}

#[test]
fn another_compiler_is_told() {
    let own = baseline().environment;
    assert!(own.differences(&own).is_empty());
    let other = Environment { rustc: "rustc 1.3.0".into(), ..own.clone() };
    assert_eq!(own.differences(&other), ["rustc is rustc 1.3.0, the baseline's is rustc 1.2.3 (abc)"]);
}

#[test]
fn the_committed_baseline_is_whole() {
    let text = include_str!("../benches/instructions.toml");
    let committed = Baseline::parse(text).unwrap();
    assert!(committed.counts.len() > 10 && committed.counts.values().all(|&count| count > 0));
}
