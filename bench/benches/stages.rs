//! Times each stage of a backup on one core: `cargo bench -p daykeep-bench --bench stages [-- FILTER]`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

mod work;

use std::time::Duration;

use criterion::{Criterion, Throughput};

use work::Amount;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for name in work::NAMES {
        let (stage, variant) = name.split_once('/').unwrap();
        let mut group = criterion.benchmark_group(stage);
        let mut work = work::prepare(name).unwrap();
        group.throughput(match work.amount {
            Amount::Bytes(bytes) => Throughput::Bytes(bytes),
            Amount::Items(items) => Throughput::Elements(items),
        });
        group.bench_function(variant, |bencher| bencher.iter(&mut work.round));
        group.finish();
    }
    criterion.final_summary();
}
