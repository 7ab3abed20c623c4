//! Whether anything follows from the figures: too few rounds, or a machine that was busy with something else.

use super::results::{Results, Run};
use super::summary::Figures;

/// So many rounds show how much runs vary.
const ROUNDS_MIN: u32 = 3;
/// What part of all processors others may have while tools run.
const OTHERS_SHARE_MAX: f64 = 0.1;
/// Less processor time than this cannot be told from the system's rounding, so the load at the beginning is asked.
const JUDGED_SECONDS_MIN: f64 = 2.0;
const LOAD_PER_CORE_MAX: f64 = 0.75;
/// A time varies if its runs are apart by more than this part of their median; shorter times always do.
const SPREAD_MAX: f64 = 0.3;
const SPREAD_SECONDS_MIN: f64 = 0.05;
/// What part of all times may vary.
const VARYING_SHARE_MAX: f64 = 0.1;

/// Returns why nothing, or little, can be concluded; nothing if all is well.
pub fn cautions(results: &Results) -> Vec<String> {
    let few = match results.rounds_done {
        0 => Some("No round was completed, so there are no medians; results.json has the single runs.".to_owned()),
        1 => Some("One round: too few to conclude anything. Three or more show how much runs vary.".to_owned()),
        rounds if rounds < ROUNDS_MIN => {
            Some(format!("{rounds} rounds: too few to conclude anything. Three or more show how much runs vary."))
        }
        _ => None,
    };
    [few, busy(results), varying(results)].into_iter().flatten().collect()
}

/// Says whether the processors had something else to do.
fn busy(results: &Results) -> Option<String> {
    let cores = results.machine.cores.max(1) as f64;
    let measured = || results.runs.iter().filter_map(|run: &Run| run.measures.as_ref());
    let available = measured().map(|measures| measures.seconds).sum::<f64>() * cores;
    let share = measured().map(|measures| measures.other_seconds).sum::<f64>() / available.max(f64::MIN_POSITIVE);
    if available >= JUDGED_SECONDS_MIN {
        return (share > OTHERS_SHARE_MAX).then(|| {
            format!(
                "The machine was too busy to conclude anything: while the tools ran, others used or were given {:.0} % of \
                 the processors. Run this again when nothing else runs.",
                share * 100.0
            )
        });
    }
    (results.machine.load > LOAD_PER_CORE_MAX * cores).then(|| {
        format!(
            "The machine was too busy to conclude anything: the load was {:.2} at the beginning. Run this again when \
             nothing else runs.",
            results.machine.load
        )
    })
}

/// Says whether many times differ from round to round.
fn varying(results: &Results) -> Option<String> {
    if results.rounds_done < 2 {
        return None;
    }
    let steps = results.summary.scenarios.iter().flat_map(|scenario| &scenario.steps);
    let times: Vec<&Figures> = steps.flat_map(|step| &step.cells).filter_map(|cell| cell.figures.as_ref()).collect();
    let varies = |figures: &&&Figures| {
        figures.seconds >= SPREAD_SECONDS_MIN
            && figures.seconds_max - figures.seconds_min > SPREAD_MAX * figures.seconds
    };
    let count = times.iter().filter(varies).count();
    (count as f64 > VARYING_SHARE_MAX * times.len() as f64).then(|| {
        format!(
            "{count} of {} times differ by more than {:.0} % from round to round: compare their spreads, not their medians.",
            times.len(),
            SPREAD_MAX * 100.0
        )
    })
}
