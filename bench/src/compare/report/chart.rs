//! The charts of the page: bars as CSS, columns as SVG. No scripts: every figure stands beside its bar as text, and in
//! the attributes `data-seconds` or `data-bytes`.

use std::fmt::Write;

use super::super::results::Results;
use super::super::summary::{Cell, ScenarioSummary, StepSummary};
use super::super::tools::Role;
use super::html::escape;
use super::{shown_name, text};

/// Returns the class that gives a tool its colour.
fn class(role: Role) -> &'static str {
    match role {
        Role::Daykeep => "ours",
        Role::Rival => "rival",
        Role::Limit => "limit",
    }
}

/// One bar.
struct Bar<'a> {
    cell: &'a Cell,
    value: f64,
    /// From where to where the single runs went.
    spread: Option<(f64, f64)>,
    /// `data-seconds="…"` or `data-bytes="…"`.
    attribute: String,
    /// The figure.
    label: String,
    /// What stands beside it.
    aside: String,
}

/// Writes the times of one step.
pub fn times(out: &mut String, results: &Results, scenario: &str, step: &StepSummary) -> std::fmt::Result {
    let bars = step.cells.iter().filter_map(|cell| {
        let figures = cell.figures.as_ref()?;
        Some(Bar {
            cell,
            value: figures.seconds,
            spread: Some((figures.seconds_min, figures.seconds_max)),
            attribute: format!("data-seconds=\"{}\"", figures.seconds),
            label: text::seconds(figures.seconds),
            aside: figures.times_daykeep.map(text::times).unwrap_or_default(),
        })
    });
    write_bars(out, results, (scenario, step), &step.title, &bars.collect::<Vec<_>>())
}

/// Writes the sizes of the repositories after one step.
pub fn sizes(out: &mut String, results: &Results, scenario: &str, step: &StepSummary) -> std::fmt::Result {
    let daykeep = step.daykeep().and_then(|(_, figures)| figures.stored_bytes);
    let bars = step.cells.iter().filter_map(|cell| {
        let stored = cell.figures.as_ref()?.stored_bytes?;
        Some(Bar {
            cell,
            value: stored as f64,
            spread: None,
            attribute: format!("data-bytes=\"{stored}\""),
            label: text::bytes(stored),
            aside: multiple(stored, daykeep),
        })
    });
    let bars: Vec<Bar> = bars.collect();
    let title = format!("Stored after: {}", step.title.to_lowercase());
    if bars.is_empty() { Ok(()) } else { write_bars(out, results, (scenario, step), &title, &bars) }
}

/// Returns a size as a multiple of daykeep's.
fn multiple(bytes: u64, daykeep: Option<u64>) -> String {
    let daykeep = daykeep.filter(|daykeep| *daykeep > 0);
    daykeep.map(|daykeep| text::times(bytes as f64 / daykeep as f64)).unwrap_or_default()
}

fn write_bars(
    out: &mut String,
    results: &Results,
    (scenario, step): (&str, &StepSummary),
    title: &str,
    bars: &[Bar],
) -> std::fmt::Result {
    let longest = bars.iter().map(|bar| bar.spread.map_or(bar.value, |spread| spread.1)).fold(0.0, f64::max);
    let percent = |value: f64| if longest > 0.0 { 100.0 * value / longest } else { 0.0 };
    let (scenario, name) = (escape(scenario), escape(&step.step));
    writeln!(
        out,
        "<figure class=\"chart\" aria-describedby=\"legend\"><figcaption>{}</figcaption><ul class=\"bars\">",
        escape(title)
    )?;
    for bar in bars {
        let tool = escape(&bar.cell.tool);
        write!(
            out,
            "<li class=\"{}\"><span class=\"name\">{}</span><span class=\"track\" aria-hidden=\"true\"><span \
             class=\"bar\" data-scenario=\"{scenario}\" data-step=\"{name}\" data-tool=\"{tool}\" {} \
             style=\"width:{:.3}%\"></span>",
            class(bar.cell.role),
            escape(&shown_name(results, &bar.cell.tool)),
            bar.attribute,
            percent(bar.value)
        )?;
        if let Some((from, to)) = bar.spread.filter(|(from, to)| to > from) {
            let (from, width) = (percent(from), percent(to - from));
            write!(out, "<span class=\"spread\" style=\"left:{from:.3}%;width:{width:.3}%\"></span>")?;
        }
        writeln!(
            out,
            "</span><span class=\"value\">{}</span><span class=\"aside\">{}</span></li>",
            bar.label, bar.aside
        )?;
    }
    if title == step.title {
        for cell in step.cells.iter().filter(|cell| cell.figures.is_none()) {
            let reason = cell.failure.as_deref().unwrap_or("no run");
            writeln!(
                out,
                "<li class=\"failed\"><span class=\"name\">{}</span><span class=\"reason\" data-scenario=\"{scenario}\" \
                 data-step=\"{name}\" data-tool=\"{}\" data-failed=\"true\">failed: {}</span></li>",
                escape(&shown_name(results, &cell.tool)),
                escape(&cell.tool),
                escape(reason)
            )?;
        }
    }
    writeln!(out, "</ul></figure>")
}

const COLUMN_WIDTH: usize = 10;
const COLUMN_HEIGHT: f64 = 40.0;

/// Writes what each backup after the first added, one small chart for each tool, all on one scale.
pub fn growth(
    out: &mut String,
    results: &Results,
    scenario: &ScenarioSummary,
    steps: &[&StepSummary],
) -> std::fmt::Result {
    let added = |tool: &str| -> Vec<(&StepSummary, Option<u64>)> {
        steps.iter().map(|step| (*step, step.figures(tool).and_then(|figures| figures.added_bytes))).collect()
    };
    // A full copy each time would leave nothing to see of the others.
    let tools = results.tools.iter().filter(|tool| tool.name != "cp");
    let with_figures: Vec<_> = tools
        .map(|tool| (tool, added(&tool.name)))
        .filter(|(_, added)| added.iter().any(|(_, bytes)| bytes.is_some()))
        .collect();
    let all = with_figures.iter().flat_map(|(_, added)| added.iter().filter_map(|(_, bytes)| *bytes));
    let highest = all.max().unwrap_or(0);
    if highest == 0 {
        return Ok(());
    }
    let told = if with_figures.iter().any(|(tool, _)| tool.name.starts_with("daykeep-redb")) {
        " Of daykeep’s one file it is what daykeep reports, for that grows by doubling."
    } else {
        ""
    };
    writeln!(
        out,
        "<figure class=\"chart wide\"><figcaption>Bytes added by each later backup <small>One column for each, {} at \
         the top; the figure is their sum.{told} <code>cp -r</code> stores everything anew each time and is not \
         drawn.</small></figcaption><ul class=\"bars columns\">",
        text::bytes(highest)
    )?;
    let sum = |added: &[(&StepSummary, Option<u64>)]| added.iter().filter_map(|(_, bytes)| *bytes).sum::<u64>();
    let daykeep = with_figures.iter().find(|(tool, _)| tool.role == Role::Daykeep).map(|(_, added)| sum(added));
    for (tool, added) in with_figures {
        let sum = sum(&added);
        let name = escape(&shown_name(results, &tool.name));
        let width = added.len() * COLUMN_WIDTH;
        write!(
            out,
            "<li class=\"{}\"><span class=\"name\">{name}</span><svg class=\"track\" role=\"img\" viewBox=\"0 0 {width} \
             {COLUMN_HEIGHT}\" preserveAspectRatio=\"none\"><title>{name}: {} added</title><desc>{}</desc>",
            class(tool.role),
            text::bytes(sum),
            escape(&added.iter().map(|(step, bytes)| described(step, *bytes)).collect::<Vec<_>>().join(", "))
        )?;
        for (index, (step, bytes)) in added.iter().enumerate() {
            let Some(bytes) = bytes else { continue };
            // A column that is too low to be seen would look like a missing one.
            let height = (COLUMN_HEIGHT * *bytes as f64 / highest as f64).max(0.5);
            write!(
                out,
                "<rect class=\"bar\" data-scenario=\"{}\" data-step=\"{}\" data-tool=\"{}\" data-bytes=\"{bytes}\" \
                 x=\"{}\" y=\"{:.3}\" width=\"{}\" height=\"{height:.3}\"></rect>",
                escape(&scenario.name),
                escape(&step.step),
                escape(&tool.name),
                index * COLUMN_WIDTH + 1,
                COLUMN_HEIGHT - height,
                COLUMN_WIDTH - 2
            )?;
        }
        writeln!(
            out,
            "</svg><span class=\"value\">{}</span><span class=\"aside\">{}</span></li>",
            text::bytes(sum),
            multiple(sum, daykeep)
        )?;
    }
    writeln!(out, "</ul></figure>")
}

fn described(step: &StepSummary, bytes: Option<u64>) -> String {
    format!("{}: {}", step.title, bytes.map_or_else(|| "none".into(), text::bytes))
}
