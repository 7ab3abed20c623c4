//! What follows from the figures: what limits a first backup, and which settings would help.

use crate::base::limits::MEMORY_BYTES_DEFAULT;
use crate::measure::report::{Measurement, Stage};

/// How far one measurement may be from the next, up and down. A rate is told as the range that this makes of it, and
/// another store is named only where its range lies above: advice must not change from one run to the next.
const VARIATION: f64 = 0.15;
/// Another level is worth naming if a first backup would be faster by this factor. Most of what varies is the same for both.
const GAIN_MIN: f64 = 1.2;
/// More cores help if all did so many times the work of one.
const SCALING_MIN: f64 = 1.3;
/// The catalog is in the way if entering chunks could keep up with no more than so many times the expected rate: it is
/// done beside the rest, and at the end alone.
const CATALOG_MARGIN: f64 = 2.0;
/// If less than this of what was read came from memory, the time of reading is the disk's.
const CACHED_SHARE_MIN: f64 = 0.9;
/// The stages that follow each other on a core.
const STEPS: [Stage; 6] = [Stage::Open, Stage::Read, Stage::Chunk, Stage::Hash, Stage::Compress, Stage::Seal];

/// What a first backup waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The disk that the files are read from.
    Reading,
    /// The processor.
    Processing,
    /// The disk of the repository.
    Storing,
    /// The disk of the catalog.
    Catalog,
}

/// A setting that would make a first backup faster.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Advice {
    /// More threads: as many as there are cores.
    Threads {
        /// How many cores there are.
        cores: usize,
    },
    /// Another level of compression.
    Compression {
        /// Which.
        level: i32,
        /// Bytes of files per second to expect with it.
        bytes_per_second: f64,
        /// What would be left of a byte, between 0 and 1.
        stored_share: f64,
    },
    /// A repository of the other kind.
    Store {
        /// Whether that is a directory; otherwise one file.
        directory: bool,
        /// Bytes of files per second to expect with it.
        bytes_per_second: f64,
    },
    /// A folder on a faster disk for the catalog.
    CacheDir,
    /// A memory budget that is not below the usual one.
    Memory {
        /// The usual budget in bytes.
        bytes: usize,
    },
}

/// What follows from a measurement.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conclusion {
    /// What a first backup of files like these waits for.
    pub limit: Limit,
    /// Bytes of files per second to expect of it, in a repository of the kind that was assumed
    /// ([`Measurement::is_directory`]).
    pub bytes_per_second: f64,
    /// The least of these to expect, since no two runs are alike.
    pub bytes_per_second_min: f64,
    /// The most.
    pub bytes_per_second_max: f64,
    /// The stage that takes most of the processor's time, of those up to sealing.
    pub slowest: Stage,
    /// Its part of the time of these stages, between 0 and 1.
    pub slowest_share: f64,
    /// Whether the same work would be done sooner on more cores.
    pub more_cores_help: bool,
    /// Settings that would help, the best first.
    pub advice: Vec<Advice>,
}

impl Measurement {
    /// Returns what follows: the slowest of what goes on side by side is the limit. What needs the processor does not go on
    /// side by side: it shares it.
    pub fn conclusion(&self) -> Conclusion {
        let rates = self.rates(self.level, self.is_directory);
        let (limit, bytes_per_second) = slowest_of(&rates);
        let (slowest, slowest_share) = self.slowest_step();
        let scales = self.stage(Stage::Backup).is_none_or(|backup| backup.best() >= SCALING_MIN * backup.one_core);
        let more_cores_help = limit == Limit::Processing && (self.threads == 1 || scales);
        Conclusion {
            limit,
            bytes_per_second,
            bytes_per_second_min: bytes_per_second * (1.0 - VARIATION),
            bytes_per_second_max: bytes_per_second * (1.0 + VARIATION),
            slowest,
            slowest_share,
            more_cores_help,
            advice: self.advice(limit, bytes_per_second, more_cores_help),
        }
    }

    /// Returns what each resource could do, in bytes of files per second, at one of the two levels and with either kind of
    /// store: a disk alone, the processor with what storing takes of it.
    fn rates(&self, level: i32, is_directory: bool) -> [(Limit, f64); 4] {
        let store = if is_directory { Stage::StoreDirectory } else { Stage::StoreFile };
        let is_other = level != self.level;
        let share = if is_other { self.stored_share_other } else { self.stored_share };
        let mut nanos = 1e9 / self.best(Stage::Backup);
        if is_other {
            let of = |stage| 1e9 / self.best(stage);
            let more = of(Stage::CompressOther) - of(Stage::Compress);
            // A stronger level never takes less of the processor, whatever a busy machine measured.
            let least = if level > self.level { nanos } else { nanos / 4.0 };
            nanos = (nanos + more).max(least);
        }
        let storing = self.best(store) / share.max(1e-3);
        let busy_share = if is_directory { self.busy_share_directory } else { self.busy_share_file };
        nanos += busy_share * 1e9 / storing;
        [
            (Limit::Processing, 1e9 / nanos),
            (Limit::Storing, storing),
            (Limit::Reading, self.best(Stage::Read)),
            (Limit::Catalog, self.best(Stage::CatalogAdd) * self.chunk_bytes_mean),
        ]
    }

    /// Returns the nanoseconds that one core spends on a byte of the files in one of [`STEPS`].
    fn step_nanos(&self, stage: Stage) -> f64 {
        let Some(report) = self.stage(stage) else { return 0.0 };
        match stage {
            Stage::Open => report.nanos() * self.sample.files as f64 / (self.sample.bytes as f64).max(1.0),
            Stage::Seal => report.nanos() * self.stored_share,
            // What a core waits for the disk is no time of the processor's.
            Stage::Read if self.cached_share.is_none_or(|share| share < CACHED_SHARE_MIN) => 0.0,
            _ => report.nanos(),
        }
    }

    fn slowest_step(&self) -> (Stage, f64) {
        let total: f64 = STEPS.iter().map(|&stage| self.step_nanos(stage)).sum();
        let slowest = STEPS.into_iter().max_by(|&a, &b| self.step_nanos(a).total_cmp(&self.step_nanos(b)));
        let slowest = slowest.unwrap_or(Stage::Read);
        (slowest, self.step_nanos(slowest) / total)
    }

    fn advice(&self, limit: Limit, now: f64, more_cores_help: bool) -> Vec<Advice> {
        let mut advice = Vec::new();
        if more_cores_help && self.threads < self.cores {
            advice.push(Advice::Threads { cores: self.cores });
        }
        let (_, other_store) = slowest_of(&self.rates(self.level, !self.is_directory));
        if other_store * (1.0 - VARIATION) >= now * (1.0 + VARIATION) {
            advice.push(Advice::Store { directory: !self.is_directory, bytes_per_second: other_store });
        }
        let (_, other_level) = slowest_of(&self.rates(self.other_level, self.is_directory));
        if other_level >= GAIN_MIN * now {
            let (level, stored_share) = (self.other_level, self.stored_share_other);
            advice.push(Advice::Compression { level, bytes_per_second: other_level, stored_share });
        }
        let catalog = self.best(Stage::CatalogAdd) * self.chunk_bytes_mean;
        if catalog < CATALOG_MARGIN * now {
            advice.push(Advice::CacheDir);
        }
        if limit == Limit::Processing && self.memory_bytes < MEMORY_BYTES_DEFAULT {
            advice.push(Advice::Memory { bytes: MEMORY_BYTES_DEFAULT });
        }
        advice
    }
}

fn slowest_of(rates: &[(Limit, f64); 4]) -> (Limit, f64) {
    rates.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Limit::Processing, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::report::{SampleReport, StageReport};

    /// Rates in MB/s, or thousands of items per second: one core, all cores.
    fn measured(change: impl FnOnce(&mut Measurement)) -> Conclusion {
        let stage = |stage, one: f64, all: Option<f64>| StageReport {
            stage,
            one_core: one * 1e6,
            all_cores: all.map(|rate| rate * 1e6),
            amount: 1,
        };
        let stages = vec![
            stage(Stage::Open, 0.2, Some(0.4)),
            stage(Stage::Read, 4000.0, Some(8000.0)),
            stage(Stage::Chunk, 3000.0, Some(6000.0)),
            stage(Stage::Hash, 3000.0, Some(6000.0)),
            stage(Stage::Compress, 400.0, Some(800.0)),
            stage(Stage::CompressOther, 200.0, Some(400.0)),
            stage(Stage::Seal, 3000.0, Some(6000.0)),
            stage(Stage::StoreDirectory, 2000.0, Some(2000.0)),
            stage(Stage::StoreFile, 1000.0, None),
            stage(Stage::CatalogAdd, 0.4, None),
            stage(Stage::CatalogFind, 0.4, Some(0.8)),
            stage(Stage::Backup, 250.0, Some(500.0)),
        ];
        let sample = SampleReport {
            path: None,
            files: 1000,
            bytes: 1_000_000_000,
            is_whole: true,
            unreadable: 0,
            bytes_by_class: [1, 0, 0],
            backup_files: 1000,
            backup_bytes: 1_000_000_000,
        };
        let mut measurement = Measurement {
            stages,
            sample,
            place: "/".into(),
            is_directory: false,
            threads: 2,
            cores: 2,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            level: 1,
            other_level: 3,
            stored_share: 0.5,
            stored_share_other: 0.4,
            busy_share_directory: 0.0,
            busy_share_file: 0.0,
            chunk_bytes_mean: 32_768.0,
            cached_share: Some(1.0),
            features: Vec::new(),
            duration: std::time::Duration::ZERO,
        };
        change(&mut measurement);
        measurement.conclusion()
    }

    fn set(measurement: &mut Measurement, stage: Stage, one: f64, all: Option<f64>) {
        for report in measurement.stages.iter_mut().filter(|report| report.stage == stage) {
            (report.one_core, report.all_cores) = (one * 1e6, all.map(|rate| rate * 1e6));
        }
    }

    #[test]
    fn a_fast_disk_leaves_the_processor_to_wait_for() {
        let found = measured(|_| {});
        assert_eq!((found.limit, found.bytes_per_second), (Limit::Processing, 500e6));
        assert_eq!(found.slowest, Stage::Compress);
        // 2.5 of 0.005 + 0.25 + 0.33 + 0.33 + 2.5 + 0.33 / 2 ns.
        assert!((found.slowest_share - 0.696).abs() < 0.005, "{}", found.slowest_share);
        assert!(found.more_cores_help && found.advice.is_empty(), "{:?}", found.advice);
    }

    #[test]
    fn a_store_in_memory_shares_the_processor_and_the_rate_is_a_range() {
        let in_memory = |directory| {
            move |measurement: &mut Measurement| {
                measurement.is_directory = directory;
                (measurement.stored_share, measurement.stored_share_other) = (1.0, 1.0);
                (measurement.busy_share_directory, measurement.busy_share_file) = (1.0, 0.5);
                set(measurement, Stage::Backup, 1300.0, Some(2600.0));
                set(measurement, Stage::StoreDirectory, 2500.0, Some(5000.0));
                set(measurement, Stage::StoreFile, 2500.0, None);
            }
        };
        // 1 / 2600 + 1 / 5000: neither of the two alone. One thread that stores takes half of both cores.
        let found = measured(in_memory(true));
        assert_eq!(found.limit, Limit::Processing);
        assert!((found.bytes_per_second / 1e6 - 1710.5).abs() < 1.0, "{}", found.bytes_per_second);
        let (least, most) = (found.bytes_per_second_min / 1e6, found.bytes_per_second_max / 1e6);
        assert!((1400.0..1600.0).contains(&least) && (1800.0..2000.0).contains(&most), "{least} {most}");
        assert!((measured(in_memory(false)).bytes_per_second / 1e6 - 1710.5).abs() < 1.0);
    }

    #[test]
    fn advice_is_the_same_for_all_that_one_machine_may_measure() {
        // Each rate goes up and down by a tenth, on a machine whose two stores are about as fast.
        for case in 0..64u32 {
            let vary = |bit: u32| if case >> bit & 1 == 1 { 1.1 } else { 1.0 / 1.1 };
            let found = measured(|measurement| {
                measurement.stored_share = 0.8;
                measurement.stored_share_other = 0.78;
                (measurement.busy_share_directory, measurement.busy_share_file) = (0.9, 0.5);
                set(measurement, Stage::Backup, 1300.0 * vary(0), Some(2600.0 * vary(1)));
                set(measurement, Stage::StoreDirectory, 2000.0 * vary(2), Some(3500.0 * vary(3)));
                set(measurement, Stage::StoreFile, 2000.0 * vary(4), None);
                set(measurement, Stage::CompressOther, 200.0, Some(400.0 * vary(5)));
            });
            assert!(found.advice.is_empty(), "{case}: {:?}", found.advice);
        }
    }

    #[test]
    fn a_stronger_level_is_not_quicker_whatever_was_measured() {
        let found = measured(|measurement| {
            set(measurement, Stage::Compress, 100.0, Some(150.0));
            set(measurement, Stage::CompressOther, 400.0, Some(800.0));
            set(measurement, Stage::Backup, 100.0, Some(120.0));
        });
        assert!(found.limit == Limit::Processing && found.advice.is_empty(), "{:?}", found.advice);
    }

    #[test]
    fn on_fewer_threads_than_cores_more_are_named_only_where_they_help() {
        let found = measured(|measurement| measurement.cores = 8);
        assert_eq!(found.advice, [Advice::Threads { cores: 8 }]);
        let found = measured(|measurement| {
            measurement.cores = 8;
            set(measurement, Stage::Backup, 490.0, Some(500.0));
        });
        assert!(!found.more_cores_help && found.advice.is_empty(), "{:?}", found.advice);
        let found = measured(|measurement| {
            measurement.cores = 8;
            set(measurement, Stage::StoreFile, 100.0, None);
            set(measurement, Stage::StoreDirectory, 100.0, Some(100.0));
        });
        assert!(!found.more_cores_help && !found.advice.contains(&Advice::Threads { cores: 8 }));
    }

    #[test]
    fn a_slow_disk_is_the_limit_and_stronger_compression_helps() {
        let found = measured(|measurement| {
            set(measurement, Stage::StoreFile, 40.0, None);
            set(measurement, Stage::StoreDirectory, 40.0, Some(40.0));
        });
        // 40 MB/s of which each stands for two of the files; at level 3 for two and a half.
        assert_eq!((found.limit, found.bytes_per_second, found.more_cores_help), (Limit::Storing, 80e6, false));
        let better = Advice::Compression { level: 3, bytes_per_second: 100e6, stored_share: 0.4 };
        assert_eq!(found.advice, [better]);
    }

    #[test]
    fn the_other_store_is_named_if_it_is_faster() {
        let slow_file = |measurement: &mut Measurement| set(measurement, Stage::StoreFile, 100.0, None);
        let found = measured(slow_file);
        assert_eq!(found.limit, Limit::Storing);
        assert_eq!(found.advice[0], Advice::Store { directory: true, bytes_per_second: 500e6 });
        let found = measured(|measurement| {
            slow_file(measurement);
            measurement.is_directory = true;
        });
        assert!(found.advice.is_empty(), "{:?}", found.advice);
    }

    #[test]
    fn a_level_that_costs_more_than_it_saves_is_left() {
        let found = measured(|measurement| {
            (measurement.level, measurement.other_level) = (19, 1);
            set(measurement, Stage::Compress, 5.0, Some(10.0));
            set(measurement, Stage::CompressOther, 400.0, Some(800.0));
            set(measurement, Stage::Backup, 5.0, Some(9.8));
            (measurement.stored_share, measurement.stored_share_other) = (0.4, 0.5);
        });
        // 102 ns on both cores, of which 100 were for compressing: at the other level 3.3 ns, but not trusted that far.
        let better = matches!(found.advice[..], [Advice::Compression { level: 1, bytes_per_second, .. }]
            if bytes_per_second > 30e6 && bytes_per_second < 40e6);
        assert!(better, "{:?}", found.advice);
    }

    #[test]
    fn slow_reading_a_slow_catalog_and_little_memory_are_told() {
        let found = measured(|measurement| set(measurement, Stage::Read, 30.0, Some(50.0)));
        assert_eq!((found.limit, found.bytes_per_second), (Limit::Reading, 50e6));
        assert!(found.advice.is_empty() && !found.more_cores_help);
        for (cached_share, slowest) in [(Some(1.0), Stage::Read), (Some(0.0), Stage::Compress), (None, Stage::Compress)]
        {
            let found = measured(|measurement| {
                measurement.cached_share = cached_share;
                set(measurement, Stage::Read, 100.0, Some(1000.0));
            });
            assert_eq!((found.limit, found.slowest), (Limit::Processing, slowest), "{cached_share:?}");
        }
        let found = measured(|measurement| set(measurement, Stage::CatalogAdd, 0.001, None));
        assert_eq!((found.limit, found.advice.as_slice()), (Limit::Catalog, &[Advice::CacheDir][..]));
        let found = measured(|measurement| measurement.memory_bytes = 64 << 20);
        assert_eq!(found.advice, [Advice::Memory { bytes: MEMORY_BYTES_DEFAULT }]);
    }
}
