//! The committed counts of instructions: read, written and compared.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What counts depend on beside the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// As `rustc --version` says.
    pub rustc: String,
    /// As the first line of `cc --version` says: BLAKE3, zstd and AWS-LC are compiled by it.
    pub cc: String,
    /// As `valgrind --version` says: it decides which instructions the program finds.
    pub valgrind: String,
    /// The processor's architecture, and the widest of its vectors that valgrind passes on.
    pub target: String,
    /// Cargo's profile.
    pub profile: String,
}

impl Environment {
    fn fields(&self) -> [(&'static str, &String); 5] {
        let Self { rustc, cc, valgrind, target, profile } = self;
        [("rustc", rustc), ("cc", cc), ("valgrind", valgrind), ("target", target), ("profile", profile)]
    }

    /// Returns what differs, in words; empty if nothing does.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = self.fields().into_iter().zip(other.fields());
        let differing = pairs.filter(|(own, other)| own != other);
        differing.map(|((name, own), (_, other))| format!("{name} is {other}, the baseline's is {own}")).collect()
    }
}

/// Instructions by stage, and what they hold for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// What the counts hold for.
    pub environment: Environment,
    /// The counts.
    pub counts: BTreeMap<String, u64>,
}

const INSTRUCTIONS: &str = "[instructions]";

impl Baseline {
    /// Reads what [`render`](Self::render) wrote, a small part of TOML: comments, texts, and numbers in one table.
    ///
    /// # Errors
    /// The line that is none of these, or a field that is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        let mut counts = BTreeMap::new();
        let mut in_counts = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line == INSTRUCTIONS {
                in_counts = true;
                continue;
            }
            let strange = || format!("not understood: {line}");
            let (name, value) = line.split_once('=').ok_or_else(strange)?;
            let (name, value) = (name.trim().trim_matches('"').to_owned(), value.trim());
            if in_counts {
                counts.insert(name, value.replace('_', "").parse().map_err(|_| strange())?);
            } else {
                fields.insert(name, value.trim_matches('"').to_owned());
            }
        }
        let mut take = |name: &str| fields.remove(name).ok_or_else(|| format!("{name} is missing"));
        let environment = Environment {
            rustc: take("rustc")?,
            cc: take("cc")?,
            valgrind: take("valgrind")?,
            target: take("target")?,
            profile: take("profile")?,
        };
        Ok(Self { environment, counts })
    }

    /// Returns the file's text; `head` explains it, in lines that begin with `#`.
    pub fn render(&self, head: &str) -> String {
        let mut out = format!("{head}\n");
        // Writing to a string cannot fail.
        for (name, value) in self.environment.fields() {
            let _ = writeln!(out, "{name} = \"{value}\"");
        }
        let _ = writeln!(out, "\n{INSTRUCTIONS}");
        for (name, count) in &self.counts {
            let _ = writeln!(out, "\"{name}\" = {count}");
        }
        out
    }

    /// Returns what became of a stage that now takes `count` instructions.
    pub fn verdict(&self, name: &str, count: u64) -> Verdict {
        let Some(&before) = self.counts.get(name) else { return Verdict::New };
        let change = count as f64 / before.max(1) as f64 - 1.0;
        // In whole numbers, so that five percent are five percent.
        let percent = u128::from(count) * 100;
        if percent > u128::from(before) * u128::from(100 + TOLERANCE_PERCENT) {
            Verdict::Dearer(change)
        } else if percent < u128::from(before) * u128::from(100 - TOLERANCE_PERCENT) {
            Verdict::Cheaper(change)
        } else {
            Verdict::Same(change)
        }
    }
}

/// The change that is let pass.
pub const TOLERANCE_PERCENT: u64 = 5;

/// How a count compares with the baseline's; the numbers are the change as a part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Same(f64),
    /// Beyond the tolerance: a failure.
    Dearer(f64),
    /// Beyond the tolerance: the baseline is to be renewed, or it would let the gain be lost again.
    Cheaper(f64),
    /// The baseline does not have it: a failure, or it would never be compared.
    New,
}

impl Verdict {
    /// Returns whether the change must not go in as it is.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Dearer(_) | Self::New)
    }
}
