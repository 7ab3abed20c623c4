//! Counts the instructions of each stage under valgrind and compares them with a committed baseline. Unlike times, counts
//! do not drift on a busy machine, so that a change that costs more than 5 % is found wherever it is made.
//!
//! ```text
//! cargo bench -p daykeep-bench --bench instructions --profile counts                      compares; fails if dearer
//! cargo bench -p daykeep-bench --bench instructions --profile counts -- --save            renews the baseline
//! cargo bench -p daykeep-bench --bench instructions --profile counts -- chunk seal        only those that begin so
//! ```
//!
//! The program runs itself under callgrind, once with one round of a stage's work and once with three: half the difference
//! is one round, whatever starting, preparing and ending take. That needs no symbols of the code measured, which the
//! compiler may inline or rename, nothing in the code, and no runner to be installed in the one version that goes with a
//! library, as gungraun wants. What a count depends on beside the code stands in the baseline, and where something else
//! is found the counts are shown beside it and none is a failure; nor is it one that there is no valgrind. Valgrind has
//! neither AVX-512 nor VAES nor SHA instructions, so the counts are those of the AVX2 code (on other processors less),
//! and comparable among machines, but say nothing of how fast the wider code is.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

mod baseline;
#[expect(dead_code, reason = "what is timed by the byte is counted by the round")]
mod work;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use baseline::{Baseline, Environment, Verdict};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Set for the program under valgrind: `STAGE ROUNDS`.
const ORDER: &str = "DAYKEEP_BENCH_ORDER";
const HEAD: &str = "\
# Instructions that one round of each stage takes under callgrind; see instructions.rs. Renewed, after a change that is
# worth its cost or saves some, by:
#   cargo bench -p daykeep-bench --bench instructions --profile counts -- --save";
const RENEW: &str = "cargo bench -p daykeep-bench --bench instructions --profile counts -- --save";

fn main() -> ExitCode {
    if let Ok(order) = env::var(ORDER) {
        return obey(&order);
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(io::stderr(), "instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does some rounds of one stage, to be counted.
fn obey(order: &str) -> ExitCode {
    let Some((name, rounds)) = order.split_once(' ') else { return ExitCode::FAILURE };
    let (Some(mut work), Ok(rounds)) = (work::prepare(name), rounds.parse::<u32>()) else { return ExitCode::FAILURE };
    (0..rounds).for_each(|_| (work.round)());
    ExitCode::SUCCESS
}

/// Counts and compares; returns whether all is well.
fn run() -> Outcome<bool> {
    let mut out = io::stdout().lock();
    // Cargo adds `--bench`; whatever else begins so is meant for other harnesses.
    let (flags, wanted): (Vec<String>, Vec<String>) = env::args().skip(1).partition(|word| word.starts_with("--"));
    let save = flags.iter().any(|flag| flag == "--save");
    let is_wanted = |name: &&str| wanted.is_empty() || wanted.iter().any(|begin| name.starts_with(begin.as_str()));
    let Ok(valgrind) = version("valgrind") else {
        writeln!(out, "instructions: not counted, since valgrind is not installed")?;
        return Ok(true);
    };
    let environment = environment(valgrind)?;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml");
    let old = std::fs::read_to_string(&path).ok().map(|text| Baseline::parse(&text)).transpose()?;
    let differences = old.as_ref().filter(|_| !save).map(|old| old.environment.differences(&environment));
    let differences = differences.unwrap_or_default();
    if !differences.is_empty() {
        writeln!(out, "instructions: only shown, since {}", differences.join("; "))?;
    }
    let names: Vec<&str> = work::NAMES.iter().copied().filter(is_wanted).collect();
    let counts = count_all(&names)?;
    if save {
        let kept = old.filter(|old| old.environment == environment).map(|old| old.counts).unwrap_or_default();
        let kept = kept.into_iter().filter(|(name, _)| work::NAMES.contains(&name.as_str()));
        let counts: BTreeMap<String, u64> = kept.chain(counts).collect();
        std::fs::write(&path, Baseline { environment, counts }.render(HEAD))?;
        writeln!(out, "instructions: saved to {}", path.display())?;
        return Ok(true);
    }
    let Some(old) = old else { return Err(format!("there is no {}; make it by: {RENEW}", path.display()).into()) };
    let verdicts = show(&mut out, &old, &counts)?;
    if !differences.is_empty() {
        return Ok(true);
    }
    let is_well = !verdicts.iter().any(|verdict| verdict.is_failure());
    if !is_well {
        writeln!(out, "instructions: more than 5 % dearer, or not in the baseline. If it is worth that: {RENEW}")?;
    } else if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Cheaper(_))) {
        writeln!(out, "instructions: cheaper; keep the gain by: {RENEW}")?;
    }
    Ok(is_well)
}

/// Shows the counts beside those of the baseline.
fn show(out: &mut impl Write, old: &Baseline, counts: &BTreeMap<String, u64>) -> Outcome<Vec<Verdict>> {
    let percent = |change: f64| format!("{:+.2} %", change * 100.0);
    let mut verdicts = Vec::new();
    for (name, &count) in counts {
        let verdict = old.verdict(name, count);
        let said = match verdict {
            Verdict::Same(change) => percent(change),
            Verdict::Dearer(change) => format!("{} DEARER", percent(change)),
            Verdict::Cheaper(change) => format!("{} cheaper", percent(change)),
            Verdict::New => "NOT IN THE BASELINE".into(),
        };
        writeln!(out, "{name:<18} {count:>12}  {said}")?;
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// Returns the first line of what a program says of its version.
fn version(program: impl AsRef<OsStr>) -> Outcome<String> {
    let said = String::from_utf8(Command::new(program).arg("--version").output()?.stdout)?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

/// Returns what a variable names, or else what is usual.
fn program(variable: &str, usual: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| usual.into())
}

fn environment(valgrind: String) -> Outcome<Environment> {
    // target/PROFILE/deps/instructions-HASH
    let profile = env::current_exe()?.ancestors().nth(2).and_then(|path| Some(path.file_name()?.to_owned()));
    Ok(Environment {
        rustc: version(program("RUSTC", "rustc"))?,
        cc: version(program("CC", "cc"))?,
        valgrind,
        target: target(),
        profile: profile.unwrap_or_default().to_string_lossy().into_owned(),
    })
}

fn target() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return format!("{} with AVX2", env::consts::ARCH);
    }
    env::consts::ARCH.to_owned()
}

/// Counts each of the stages, as many at once as there are cores.
fn count_all(names: &[&str]) -> Outcome<BTreeMap<String, u64>> {
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(BTreeMap::new());
    let failures = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match count_round(name) {
                        Ok(count) => drop(counts.lock().unwrap().insert((*name).to_owned(), count)),
                        Err(error) => failures.lock().unwrap().push(format!("{name}: {error}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if failures.is_empty() { Ok(counts.into_inner().unwrap()) } else { Err(failures.join("\n").into()) }
}

/// Returns the instructions of one round of a stage.
fn count_round(name: &str) -> Outcome<u64> {
    let (one, three) = (count(name, 1)?, count(name, 3)?);
    Ok(three.checked_sub(one).ok_or("three rounds took fewer instructions than one")? / 2)
}

/// Returns the instructions of a run of this program that does some rounds.
fn count(name: &str, rounds: u32) -> Outcome<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .env(ORDER, format!("{name} {rounds}"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    match collected.and_then(|count| count.parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind ended with {}:\n{said}", output.status).into()),
    }
}
