//! Medians, spread and ratios of the runs.

use serde::{Deserialize, Serialize};

use super::results::{Results, Run};
use super::tools::Role;

/// What a report shows of all complete rounds, in the order of the scenarios, their steps and the tools.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Those scenarios that have runs.
    pub scenarios: Vec<ScenarioSummary>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioSummary {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Files of its first state.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Those steps that have runs.
    pub steps: Vec<StepSummary>,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its name.
    pub step: String,
    /// Its title.
    pub title: String,
    /// The tools that did it or failed to.
    pub cells: Vec<Cell>,
}

/// One tool in one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The tool's name.
    pub tool: String,
    /// What the tool is here for.
    pub role: Role,
    /// How many runs went well.
    pub runs: usize,
    /// What they took; `None` if any failed.
    pub figures: Option<Figures>,
    /// Why the first that failed did, if any.
    pub failure: Option<String>,
}

/// Figures over all runs of a cell.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Wall seconds, median.
    pub seconds: f64,
    /// Wall seconds, least.
    pub seconds_min: f64,
    /// Wall seconds, most.
    pub seconds_max: f64,
    /// Processor seconds in and outside the kernel, median.
    pub cpu_seconds: f64,
    /// The most memory of any one process in any run.
    pub peak_bytes: u64,
    /// Bytes read, median.
    pub read_bytes: u64,
    /// Bytes written, median.
    pub written_bytes: u64,
    /// Bytes of the repository afterwards, median.
    pub stored_bytes: Option<u64>,
    /// Bytes added, median.
    pub added_bytes: Option<u64>,
    /// Bytes given back, median.
    pub freed_bytes: Option<u64>,
    /// Wall seconds as a multiple of daykeep's: opened by password and in a directory, as far as it was run so.
    pub times_daykeep: Option<f64>,
    /// Wall seconds as a multiple of those of `cp -r`.
    pub times_cp: Option<f64>,
}

impl StepSummary {
    /// Returns the figures of a tool.
    pub fn figures(&self, tool: &str) -> Option<&Figures> {
        self.cells.iter().find(|cell| cell.tool == tool)?.figures.as_ref()
    }

    /// Returns the tool that daykeep's ratios stand for, with its figures: one that is opened by password, as rivals are.
    pub fn daykeep(&self) -> Option<(&str, &Figures)> {
        let ours = || self.cells.iter().filter(|cell| cell.role == Role::Daykeep && cell.figures.is_some());
        let cell = ours().find(|cell| is_by_password(&cell.tool)).or_else(|| ours().next())?;
        Some((&cell.tool, cell.figures.as_ref()?))
    }

    /// Returns the rival that was fastest, with its figures.
    pub fn fastest_rival(&self) -> Option<(&str, &Figures)> {
        let rivals = self.cells.iter().filter(|cell| cell.role == Role::Rival);
        let with_figures = rivals.filter_map(|cell| Some((cell.tool.as_str(), cell.figures.as_ref()?)));
        with_figures.min_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds))
    }
}

/// Returns whether this variant of daykeep is opened by password.
pub fn is_by_password(tool: &str) -> bool {
    tool.ends_with("-password")
}

impl Summary {
    /// Works them out.
    pub fn of(results: &Results) -> Self {
        let scenarios = results.scenarios.iter().map(|info| {
            let steps = info.steps.iter().map(|(step, title)| {
                // A round that was not completed would give some tools one run more than others.
                let complete = results.runs.iter().filter(|run| run.round <= results.rounds_done);
                let runs: Vec<&Run> = complete.filter(|run| run.scenario == info.name && run.step == *step).collect();
                let cells = results.tools.iter().filter_map(|tool| cell(&tool.name, tool.role, &runs)).collect();
                with_ratios(StepSummary { step: step.clone(), title: title.clone(), cells })
            });
            let steps = steps.filter(|step| !step.cells.is_empty()).collect();
            let (name, title) = (info.name.clone(), info.title.clone());
            ScenarioSummary { name, title, files: info.files, bytes: info.bytes, steps }
        });
        Self { scenarios: scenarios.filter(|scenario| !scenario.steps.is_empty()).collect() }
    }
}

fn cell(tool: &str, role: Role, runs: &[&Run]) -> Option<Cell> {
    let mine: Vec<&&Run> = runs.iter().filter(|run| run.tool == tool).collect();
    let failure = mine.iter().find_map(|run| run.failure.clone());
    let well: Vec<&&&Run> = mine.iter().filter(|run| run.failure.is_none()).collect();
    let measured: Vec<_> = well.iter().filter_map(|run| run.measures).collect();
    if mine.is_empty() {
        return None;
    }
    let seconds: Vec<f64> = measured.iter().map(|measures| measures.seconds).collect();
    let middle = |value: fn(&super::measure::Measures) -> u64| {
        median(&measured.iter().map(|measures| value(measures) as f64).collect::<Vec<_>>()).unwrap_or(0.0) as u64
    };
    let sizes = |value: fn(&Run) -> Option<u64>| {
        let sizes: Vec<f64> = well.iter().filter_map(|run| value(run)).map(|bytes| bytes as f64).collect();
        median(&sizes).map(|bytes| bytes as u64)
    };
    let figures = median(&seconds).filter(|_| failure.is_none()).map(|middle_seconds| Figures {
        seconds: middle_seconds,
        seconds_min: seconds.iter().copied().fold(f64::INFINITY, f64::min),
        seconds_max: seconds.iter().copied().fold(0.0, f64::max),
        cpu_seconds: median(
            &measured.iter().map(|measures| measures.user_seconds + measures.system_seconds).collect::<Vec<_>>(),
        )
        .unwrap_or(0.0),
        peak_bytes: measured.iter().map(|measures| measures.peak_bytes).max().unwrap_or(0),
        read_bytes: middle(|measures| measures.read_bytes),
        written_bytes: middle(|measures| measures.written_bytes),
        stored_bytes: sizes(|run| run.stored_bytes),
        added_bytes: sizes(|run| run.added_bytes),
        freed_bytes: sizes(|run| run.freed_bytes),
        times_daykeep: None,
        times_cp: None,
    });
    Some(Cell { tool: tool.into(), role, runs: well.len(), figures, failure })
}

/// Returns the middle of the values, or the mean of the two in the middle; `None` of none.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let high = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { high } else { f64::midpoint(sorted[sorted.len() / 2 - 1], high) })
}

fn with_ratios(mut step: StepSummary) -> StepSummary {
    let daykeep = step.daykeep().map(|(_, figures)| figures.seconds);
    let cp = step.figures("cp").map(|figures| figures.seconds);
    let times = |seconds: f64, of: Option<f64>| of.filter(|of| *of > 0.0).map(|of| seconds / of);
    for figures in step.cells.iter_mut().filter_map(|cell| cell.figures.as_mut()) {
        figures.times_daykeep = times(figures.seconds, daykeep);
        figures.times_cp = times(figures.seconds, cp);
    }
    step
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
