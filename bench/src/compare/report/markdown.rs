//! `report.md`: a table for each scenario.

use std::fmt::Write;

use super::super::results::Results;
use super::super::summary::{Cell, ScenarioSummary};
use super::{COMMANDS_SAY, command_lines, environment, method, shown_name, text};

/// Returns the whole report.
pub fn page(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write_page(&mut out, results);
    out
}

fn write_page(out: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(out, "# Backup programs, side by side\n")?;
    writeln!(
        out,
        "{}: {} × {}, {} of memory, {}, work folder on {}, load {:.2} at the beginning.\n",
        machine.date,
        machine.cores,
        machine.cpu,
        text::bytes(machine.memory_bytes),
        machine.kernel,
        machine.work_file_system,
        machine.load
    )?;
    if let Some(ended) = &results.ended {
        writeln!(out, "**Ended early: {}. What follows was measured before.**\n", cell_text(ended))?;
    }
    for caution in &results.cautions {
        writeln!(out, "**{}**\n", cell_text(caution))?;
    }
    writeln!(out, "{}\n", method(results).join(" "))?;
    write_tools(out, results)?;
    for scenario in &results.summary.scenarios {
        write_scenario(out, results, scenario)?;
    }
    if !results.left_out.is_empty() {
        writeln!(out, "## Left out\n")?;
        for left in &results.left_out {
            writeln!(out, "- {}: {}", left.scenario, cell_text(&left.reason))?;
        }
        writeln!(out)?;
    }
    write_failures(out, results)?;
    write_commands(out, results)
}

/// Writes what every tool was told, so that compression, caches and passwords can be judged.
fn write_commands(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "## Command lines\n\n{COMMANDS_SAY} The comparison itself:\n")?;
    write_block(out, &results.command_line)?;
    for (tool, lines) in command_lines(results) {
        writeln!(out, "{}:\n", shown_name(results, tool))?;
        let lines = lines.iter().map(|(title, line)| format!("# {title}\n{line}"));
        write_block(out, &lines.collect::<Vec<_>>().join("\n"))?;
    }
    writeln!(out, "The environment of all, and nothing else:\n")?;
    write_block(out, &environment(results))
}

/// Writes lines as they are; the fence is longer than any in them.
fn write_block(out: &mut String, lines: &str) -> std::fmt::Result {
    let mut fence = "```".to_owned();
    while lines.contains(&fence) {
        fence.push('`');
    }
    writeln!(out, "{fence}sh\n{lines}\n{fence}\n")
}

fn write_tools(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "| tool | version | |\n|---|---|---|")?;
    for tool in &results.tools {
        let status = Some(tool.status.as_str()).filter(|status| *status != "found");
        let remarks: Vec<&str> =
            status.into_iter().chain(Some(tool.note.as_str()).filter(|note| !note.is_empty())).collect();
        let remarks = cell_text(&remarks.join("; "));
        writeln!(out, "| {} | {} | {remarks} |", shown_name(results, &tool.name), cell_text(&tool.version))?;
    }
    writeln!(out)
}

fn write_scenario(out: &mut String, results: &Results, scenario: &ScenarioSummary) -> std::fmt::Result {
    let size = format!("{}, {}", text::files(scenario.files), text::bytes(scenario.bytes));
    writeln!(out, "## {}\n\n{size}.\n", scenario.title)?;
    writeln!(
        out,
        "| step | tool | time | spread | × daykeep | × `cp -r` | processor | memory | read | written | stored | added |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for step in &scenario.steps {
        for cell in &step.cells {
            let name = shown_name(results, &cell.tool);
            writeln!(out, "| {} | {name} | {} |", step.title, row(cell).join(" | "))?;
        }
    }
    writeln!(out)
}

/// Returns the figures of a cell, in the order of the table's columns.
pub fn row(cell: &Cell) -> Vec<String> {
    let Some(figures) = &cell.figures else {
        let mut row = vec!["–".to_owned(); 10];
        row[0] = "failed".into();
        return row;
    };
    let dash = || "–".to_owned();
    vec![
        text::seconds(figures.seconds),
        format!("{} – {}", text::seconds(figures.seconds_min), text::seconds(figures.seconds_max)),
        figures.times_daykeep.map_or_else(dash, text::times),
        figures.times_cp.map_or_else(dash, text::times),
        text::seconds(figures.cpu_seconds),
        text::bytes(figures.peak_bytes),
        text::bytes(figures.read_bytes),
        text::bytes(figures.written_bytes),
        figures.stored_bytes.map_or_else(dash, text::bytes),
        match (figures.added_bytes, figures.freed_bytes) {
            (Some(added), _) => text::bytes(added),
            (None, Some(freed)) => format!("−{}", text::bytes(freed)),
            (None, None) => dash(),
        },
    ]
}

fn write_failures(out: &mut String, results: &Results) -> std::fmt::Result {
    let failed: Vec<_> = results.runs.iter().filter_map(|run| Some((run, run.failure.as_ref()?))).collect();
    if failed.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Failed\n\nWhat follows a failed backup in the same scenario was not run.\n")?;
    for (run, failure) in failed {
        let name = shown_name(results, &run.tool);
        writeln!(out, "- {name}, {}, {}, round {}: {}", run.scenario, run.step, run.round, cell_text(failure))?;
    }
    Ok(())
}

/// Returns a text that stays within its cell of a table.
fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}
