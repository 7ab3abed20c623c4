//! Rounds, scenarios, tools: what is run when.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::adapters::{Action, Job};
use super::interrupt::Interrupt;
use super::measure::{Ended, Measures, Runner};
use super::place::Place;
use super::results::{Results, Run};
use super::scenario::{Prepared, Source, State};
use super::tools::Tool;
use super::{Error, Options, note, tree};

/// The steps after the backups, with their titles.
pub const AFTERWARDS: [(&str, &str); 6] = [
    ("unchanged", "Unchanged, backed up again"),
    ("open", "Open: list the snapshots"),
    ("forget", "The older half forgotten, its space given back"),
    ("restore", "Restore everything"),
    ("restore-one", "Restore one file"),
    ("check", "Check with all data"),
];

const ORIGINAL: &str = "original";
const COPY: &str = "copy";
const RENAMED: &str = "renamed";

/// A comparison to make.
pub struct Comparison<'a> {
    /// What is done.
    pub scenarios: &'a [Prepared],
    /// By which tools.
    pub tools: &'a [Tool],
    /// Where.
    pub place: &'a Place,
    /// Until a signal comes.
    pub interrupt: &'a Interrupt,
    /// As the user wants it.
    pub options: &'a Options,
}

impl Comparison<'_> {
    /// Runs everything and adds to `results`, which are written after each scenario.
    ///
    /// # Errors
    /// An interrupt, or a failure of this program's own files; `results` has what was measured before.
    pub fn run(&self, results: &mut Results) -> Result<(), Error> {
        let runnable: Vec<(&Tool, &Path)> =
            self.tools.iter().filter_map(|tool| Some((tool, tool.program.as_deref()?))).collect();
        // Who failed once is not run again in that scenario: a program that hangs would cost its limit in each round.
        let mut given_up = HashSet::new();
        for round in 1..=results.rounds {
            for prepared in self.scenarios {
                self.warm(prepared)?;
                // Every round begins with another tool, so that none is always first.
                let mut order = runnable.clone();
                order.rotate_left((round as usize - 1) % runnable.len().max(1));
                for (tool, program) in order {
                    let key = (prepared.scenario.name, tool.kind.name);
                    if given_up.contains(&key) {
                        continue;
                    }
                    let mut turn = Turn { comparison: self, prepared, tool, program, round, number: 0, results };
                    if !turn.run()? {
                        given_up.insert(key);
                    }
                }
                results.write_json(&self.options.out)?;
            }
            results.rounds_done = round;
            note(&format!("round {round} of {} is done", results.rounds));
        }
        Ok(())
    }

    /// Reads the source once, so that nobody is the first to fetch it from the disk.
    fn warm(&self, prepared: &Prepared) -> Result<(), Error> {
        let mut folders = prepared.folders.iter();
        folders.try_for_each(|(folder, listing)| tree::read_all(folder, listing, self.interrupt))
    }
}

/// Bytes of a repository, as far as a step is about them.
#[derive(Default)]
struct Sizes {
    stored: Option<u64>,
    added: Option<u64>,
    freed: Option<u64>,
}

/// One tool's way through one scenario.
struct Turn<'a> {
    comparison: &'a Comparison<'a>,
    prepared: &'a Prepared,
    tool: &'a Tool,
    program: &'a Path,
    round: u32,
    /// How many backups there have been.
    number: usize,
    results: &'a mut Results,
}

impl Turn<'_> {
    /// Goes through all steps and returns whether none failed.
    fn run(&mut self) -> Result<bool, Error> {
        let place = self.comparison.place;
        place.clear()?;
        let states = &self.prepared.scenario.states;
        let source = match states.first().map(|state| &state.source) {
            Some(Source::Is(folder)) => folder.clone(),
            _ => place.source(),
        };
        if source == place.source() {
            // Some tools want the source to be there when the repository is made.
            fs::create_dir_all(&source).map_err(Error::file("create", &source))?;
        }
        if let Some(Err(failure)) = self.execute("init", &source, Action::Init)? {
            self.record("first", None, Sizes::default(), Some(format!("cannot make a repository: {failure}")));
            return Ok(false);
        }
        let mut before: Option<&Path> = None;
        for (index, state) in states.iter().enumerate() {
            self.bring(index, state)?;
            if !self.back_up(&state.step, &source, Action::Backup { before })? {
                return Ok(false);
            }
            if let Source::Becomes(folder) = &state.source {
                before = Some(folder);
            }
        }
        let all = self.back_up("unchanged", &source, Action::Unchanged)?
            && self.open(&source)?
            && self.forget(&source)?
            && self.restore(&source)?;
        place.clear()?;
        Ok(all)
    }

    /// Brings the source into the state.
    fn bring(&self, index: usize, state: &State) -> Result<(), Error> {
        let (place, interrupt) = (self.comparison.place, self.comparison.interrupt);
        let source = place.source();
        match &state.source {
            Source::Is(_) => Ok(()),
            Source::Original(folder) => tree::copy(folder, &source.join(ORIGINAL), interrupt),
            Source::Duplicate => tree::copy(&source.join(ORIGINAL), &source.join(COPY), interrupt),
            Source::Rename => {
                let (from, to) = (source.join(ORIGINAL), source.join(RENAMED));
                fs::rename(&from, &to).map_err(Error::file("rename", &from))
            }
            Source::Becomes(folder) => match index.checked_sub(1).and_then(|at| self.prepared.changes.get(at)) {
                None => tree::copy(folder, &source, interrupt),
                Some(change) => change.apply(folder, &source, interrupt),
            },
        }
    }

    /// Backs up, and returns whether that went well.
    fn back_up(&mut self, step: &str, source: &Path, action: Action) -> Result<bool, Error> {
        let (repository, interrupt) = (self.comparison.place.repository(), self.comparison.interrupt);
        let before = tree::size_bytes(&repository, interrupt)?;
        self.number += 1;
        let Some(outcome) = self.execute(step, source, action)? else {
            self.number -= 1;
            return Ok(true);
        };
        let after = tree::size_bytes(&repository, interrupt)?;
        match outcome {
            Err(failure) => {
                self.record(step, None, Sizes::default(), Some(failure));
                Ok(false)
            }
            // Looking stores nothing.
            Ok(measures) if after == 0 => {
                self.record(step, Some(measures), Sizes::default(), None);
                Ok(true)
            }
            Ok(measures) => {
                let told = self.tool.kind.stored.and_then(|stored| stored(&self.runner().output()));
                let added = told.unwrap_or_else(|| after.saturating_sub(before));
                let sizes = Sizes { stored: Some(after), added: Some(added), freed: None };
                self.record(step, Some(measures), sizes, None);
                Ok(true)
            }
        }
    }

    /// Lists the snapshots, which takes what opening takes, and returns whether that went well.
    fn open(&mut self, source: &Path) -> Result<bool, Error> {
        let Some(outcome) = self.execute("open", source, Action::Open)? else {
            return Ok(true);
        };
        let well = outcome.is_ok();
        self.record("open", outcome.as_ref().ok().copied(), Sizes::default(), outcome.err());
        Ok(well)
    }

    /// Forgets the older half of the snapshots, where the scenario wants it, and returns whether that went well.
    fn forget(&mut self, source: &Path) -> Result<bool, Error> {
        if !self.prepared.scenario.forgets {
            return Ok(true);
        }
        let (repository, interrupt) = (self.comparison.place.repository(), self.comparison.interrupt);
        let before = tree::size_bytes(&repository, interrupt)?;
        let Some(outcome) = self.execute("forget", source, Action::Forget { keep: self.number.div_ceil(2) })? else {
            return Ok(true);
        };
        let after = tree::size_bytes(&repository, interrupt)?;
        let well = outcome.is_ok();
        let sizes = Sizes { stored: Some(after), added: None, freed: Some(before.saturating_sub(after)) };
        self.record("forget", outcome.as_ref().ok().copied(), sizes, outcome.err());
        Ok(well)
    }

    /// Restores everything and one file, compares, checks, and returns whether all went well.
    fn restore(&mut self, source: &Path) -> Result<bool, Error> {
        let (place, interrupt) = (self.comparison.place, self.comparison.interrupt);
        let mut well = true;
        if let Some(outcome) = self.execute("restore", source, Action::Restore)? {
            let restored = whole_tree(&place.restored(), source);
            well &= self.compared("restore", outcome, source, &restored)?;
        }
        let one = if well { Prepared::one_file(source, interrupt)? } else { None };
        if let Some(file) = &one {
            self.forget_restored()?;
            if let Some(outcome) = self.execute("restore-one", source, Action::RestoreOne(file))? {
                let restored = single_file(&place.restored(), source, file);
                well &= self.compared("restore-one", outcome, &source.join(file), &restored)?;
            }
        }
        self.forget_restored()?;
        if let Some(outcome) = self.execute("check", source, Action::Check)? {
            well &= outcome.is_ok();
            self.record("check", outcome.as_ref().ok().copied(), Sizes::default(), outcome.err());
        }
        Ok(well)
    }

    fn forget_restored(&self) -> Result<(), Error> {
        let path = self.comparison.place.restored();
        tree::remove(&path).map_err(Error::file("remove", &path))
    }

    /// Records a restore after comparing, and returns whether it was right.
    fn compared(
        &mut self,
        step: &str,
        outcome: Result<Measures, String>,
        source: &Path,
        restored: &Path,
    ) -> Result<bool, Error> {
        let measures = match outcome {
            Err(failure) => {
                self.record(step, None, Sizes::default(), Some(failure));
                return Ok(false);
            }
            Ok(measures) => measures,
        };
        let differs = match tree::compare(source, restored, self.comparison.interrupt) {
            Ok(differs) => differs,
            Err(Error::Interrupted(signal)) => return Err(Error::Interrupted(signal)),
            // Restored folders that cannot even be read are the tool's doing.
            Err(error) => Some(error.to_string()),
        };
        let failure = differs.map(|what| format!("restored data differ: {what}"));
        let well = failure.is_none();
        self.record(step, Some(measures), Sizes::default(), failure);
        Ok(well)
    }

    fn runner(&self) -> Runner<'_> {
        let limit = Duration::from_secs(self.comparison.options.limit);
        Runner { place: self.comparison.place, interrupt: self.comparison.interrupt, limit }
    }

    /// Does one step: what it took, or why it failed; `None` if the tool has no such step.
    fn execute(
        &mut self,
        step: &str,
        source: &Path,
        action: Action,
    ) -> Result<Option<Result<Measures, String>>, Error> {
        let (tool, program, number) = (self.tool, self.program, self.number);
        let job = Job { program, place: self.comparison.place, source, number, action };
        let Some(mut invocation) = (tool.kind.command)(&job) else {
            return Ok(None);
        };
        if invocation.program.as_os_str().is_empty() {
            invocation.program = program.to_owned();
        }
        self.results.note_command(self.prepared.scenario.name, step, tool.kind.name, &invocation);
        Ok(Some(match self.runner().run(&invocation)? {
            Ended::Done(measures) => Ok(measures),
            Ended::Failed(reason) => Err(reason),
            Ended::TimedOut => Err(format!("timed out after {} s and was killed", self.comparison.options.limit)),
        }))
    }

    fn record(&mut self, step: &str, measures: Option<Measures>, sizes: Sizes, failure: Option<String>) {
        let (scenario, tool) = (self.prepared.scenario.name, self.tool.kind.name);
        let took = match (&failure, measures) {
            (Some(failure), _) => format!("FAILED: {failure}"),
            (None, measures) => format!("{:.3} s", measures.map_or(0.0, |measures| measures.seconds)),
        };
        note(&format!("round {}, {scenario}, {step}, {tool}: {took}", self.round));
        self.results.runs.push(Run {
            scenario: scenario.into(),
            step: step.into(),
            tool: tool.into(),
            round: self.round,
            measures,
            stored_bytes: sizes.stored,
            added_bytes: sizes.added,
            freed_bytes: sizes.freed,
            failure,
        });
    }
}

/// Returns where a restored tree begins: some tools rebuild the absolute path, some put the content into the target.
fn whole_tree(target: &Path, source: &Path) -> PathBuf {
    let rebuilt = target.join(source.strip_prefix("/").unwrap_or(source));
    if rebuilt.is_dir() { rebuilt } else { target.to_owned() }
}

/// Returns where a single restored file is, likewise.
fn single_file(target: &Path, source: &Path, file: &Path) -> PathBuf {
    let rebuilt = target.join(source.strip_prefix("/").unwrap_or(source)).join(file);
    let alone = target.join(file.file_name().unwrap_or_default());
    [rebuilt, target.join(file), alone].into_iter().find(|path| path.is_file()).unwrap_or_else(|| target.to_owned())
}
