//! What a comparison found: everything that `results.json` says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::measure::Measures;
use super::scenario::Prepared;
use super::summary::Summary;
use super::tools::{Role, Tool};
use super::{Error, Options};

/// The version of the form of `results.json`.
pub const FORM: u32 = 1;

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`FORM`].
    pub form: u32,
    /// The machine.
    pub machine: Machine,
    /// `quick` or `full`.
    pub preset: String,
    /// How many rounds were asked for.
    pub rounds: u32,
    /// How many seconds a run was allowed.
    pub limit_seconds: u64,
    /// The tools, those that were not run included.
    pub tools: Vec<ToolInfo>,
    /// The scenarios.
    pub scenarios: Vec<ScenarioInfo>,
    /// Scenarios that were asked for and not made.
    pub left_out: Vec<LeftOut>,
    /// Why the comparison ended early, if it did.
    pub ended: Option<String>,
    /// Every run.
    pub runs: Vec<Run>,
    /// Medians, spread and ratios.
    pub summary: Summary,
}

/// A tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToolInfo {
    /// Its name in `--tools`.
    pub name: String,
    /// What it is here for.
    pub role: Role,
    /// Its version, empty if unknown.
    pub version: String,
    /// `found`, or why it was not run.
    pub status: String,
    /// Whether its command lines have ever been run with the real program.
    pub tried: bool,
    /// What a reader must know.
    pub note: String,
}

/// A scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Its name in `--scenarios`.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Files in its first state.
    pub files: u64,
    /// Bytes in these.
    pub bytes: u64,
    /// The names and titles of its steps, in order.
    pub steps: Vec<(String, String)>,
}

/// A scenario that was not made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which.
    pub scenario: String,
    /// Why.
    pub reason: String,
}

/// One step by one tool in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Which scenario.
    pub scenario: String,
    /// Which of its steps.
    pub step: String,
    /// Which tool.
    pub tool: String,
    /// Which round, from 1.
    pub round: u32,
    /// What it took; absent if it was killed or could not be started.
    pub measures: Option<Measures>,
    /// Bytes of the repository afterwards, measured from outside; for backups and for forgetting.
    pub stored_bytes: Option<u64>,
    /// What the backup added: the growth of the repository, or what the tool says where its note says so.
    pub added_bytes: Option<u64>,
    /// By how much forgetting made the repository smaller.
    pub freed_bytes: Option<u64>,
    /// Why it counts for nothing, if so.
    pub failure: Option<String>,
}

impl Results {
    /// Begins with nothing measured.
    pub fn new(
        options: &Options,
        machine: Machine,
        tools: &[Tool],
        scenarios: &[Prepared],
        left_out: Vec<LeftOut>,
    ) -> Self {
        let tools = tools.iter().map(|tool| ToolInfo {
            name: tool.kind.name.into(),
            role: tool.kind.role,
            version: tool.version.clone(),
            status: tool.status.clone(),
            tried: tool.kind.tried,
            note: tool.kind.note.into(),
        });
        let scenarios = scenarios.iter().map(|prepared| {
            let states = prepared.scenario.states.iter().map(|state| (state.step.clone(), state.title.clone()));
            let then = super::run::AFTERWARDS.iter().map(|(step, title)| ((*step).into(), (*title).into()));
            ScenarioInfo {
                name: prepared.scenario.name.into(),
                title: prepared.scenario.title.into(),
                files: prepared.files,
                bytes: prepared.bytes,
                steps: states.chain(then).collect(),
            }
        });
        Self {
            form: FORM,
            machine,
            preset: options.preset.name().into(),
            rounds: options.runs.unwrap_or_else(|| options.preset.runs()),
            limit_seconds: options.limit,
            tools: tools.collect(),
            scenarios: scenarios.collect(),
            left_out,
            ended: None,
            runs: Vec::new(),
            summary: Summary::default(),
        }
    }

    /// Returns how many runs failed.
    pub fn failures(&self) -> usize {
        self.runs.iter().filter(|run| run.failure.is_some()).count()
    }

    /// Works out the medians of what there is and writes `results.json` in `folder`, in one move.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&mut self, folder: &Path) -> Result<(), Error> {
        self.summary = Summary::of(self);
        let (path, partial) = (folder.join("results.json"), folder.join("results.json.part"));
        let failed = || Error::file("write", &path);
        let json = serde_json::to_vec_pretty(self).map_err(|error| failed()(error.into()))?;
        std::fs::write(&partial, json).map_err(failed())?;
        std::fs::rename(&partial, &path).map_err(failed())
    }
}
