//! What a comparison found: everything that `results.json` says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use super::measure::{Invocation, Measures, quoted};
use super::place::Place;
use super::scenario::Prepared;
use super::summary::Summary;
use super::tools::{Role, Tool};
use super::{Error, Options, caution};

/// The version of the form of `results.json`.
pub const FORM: u32 = 2;

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`FORM`].
    pub form: u32,
    /// The machine.
    pub machine: Machine,
    /// `quick` or `full`.
    pub preset: String,
    /// The command line of the comparison itself.
    pub command_line: String,
    /// How many rounds were asked for.
    pub rounds: u32,
    /// How many were completed: medians are of these.
    pub rounds_done: u32,
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
    /// Why little or nothing follows from the figures, if so.
    pub cautions: Vec<String>,
    /// The folder that repositories, caches and restored files lay in.
    pub work_folder: String,
    /// The whole environment of every run. What looks like a secret of the user's is left out.
    pub environment: Vec<(String, String)>,
    /// The command line of every step, as a shell would take it.
    pub commands: Vec<CommandLine>,
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

/// What a tool was told to do in a step; it is the same in all rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandLine {
    /// Which scenario.
    pub scenario: String,
    /// Which of its steps, or `init`.
    pub step: String,
    /// Which tool.
    pub tool: String,
    /// The line, with the variables that this tool alone finds, and the folder if it runs in one of its own.
    pub line: String,
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
        place: &Place,
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
            machine: machine::describe(place.root()),
            preset: options.preset.name().into(),
            command_line: std::env::args_os().map(|word| quoted(&word)).collect::<Vec<_>>().join(" "),
            rounds: options.runs.unwrap_or_else(|| options.preset.runs()),
            rounds_done: 0,
            limit_seconds: options.limit,
            tools: tools.collect(),
            scenarios: scenarios.collect(),
            left_out,
            ended: None,
            cautions: Vec::new(),
            work_folder: place.root().display().to_string(),
            environment: environment(place),
            commands: Vec::new(),
            runs: Vec::new(),
            summary: Summary::default(),
        }
    }

    /// Notes what a tool is told to do in a step, once.
    pub fn note_command(&mut self, scenario: &str, step: &str, tool: &str, call: &Invocation) {
        let is_it = |known: &CommandLine| known.scenario == scenario && known.step == step && known.tool == tool;
        if self.commands.iter().any(is_it) {
            return;
        }
        let inside = call.folder.as_ref().map(|folder| format!("cd {} && ", quoted(folder.as_os_str())));
        let line = inside.unwrap_or_default() + &call.line();
        self.commands.push(CommandLine { scenario: scenario.into(), step: step.into(), tool: tool.into(), line });
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
        self.cautions = caution::cautions(self);
        let (path, partial) = (folder.join("results.json"), folder.join("results.json.part"));
        let failed = || Error::file("write", &path);
        let json = serde_json::to_vec_pretty(self).map_err(|error| failed()(error.into()))?;
        std::fs::write(&partial, json).map_err(failed())?;
        std::fs::rename(&partial, &path).map_err(failed())
    }
}

/// Names with one of these parts stand for secrets.
const SECRET_PARTS: [&str; 5] = ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL"];

/// Returns the variables of every run. The passwords that the comparison sets itself protect nothing and are told.
fn environment(place: &Place) -> Vec<(String, String)> {
    let own = place.environment().into_iter().map(|(name, value)| (name.to_owned(), value.display().to_string()));
    let passed = place.passed().iter().map(|(name, value)| {
        let is_secret = SECRET_PARTS.iter().any(|part| name.to_uppercase().contains(part));
        (name.clone(), if is_secret { "(not told)".into() } else { value.display().to_string() })
    });
    own.chain(passed).collect()
}
