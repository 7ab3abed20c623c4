//! The reports: `results.json`, `report.md` and `index.html`, which say the same.

mod chart;
mod html;
mod markdown;
pub mod text;

use std::path::Path;

use super::Error;
use super::measure::quoted;
use super::results::Results;
use super::summary::is_by_password;
use super::tools::Role;

/// Writes all three into `folder`.
///
/// # Errors
/// A file cannot be written.
pub fn write(results: &mut Results, folder: &Path) -> Result<(), Error> {
    results.write_json(folder)?;
    for (name, content) in [("report.md", markdown::page(results)), ("index.html", html::page(results))] {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(Error::file("write", &path))?;
    }
    Ok(())
}

/// Returns what every report must say about how it came about, a sentence each.
fn method(results: &Results) -> Vec<String> {
    let medians = match results.rounds_done {
        0 => "Every round has all tools take their turn".to_owned(),
        1 => "Medians of one round, in which all tools took their turn".to_owned(),
        count => format!("Medians of {count} rounds, in each of which all tools took their turn"),
    };
    let mut sentences = vec![
        format!("{medians}, another one first each time; sources were read once before."),
        "Every restore was compared with its source, byte for byte.".to_owned(),
        "Times are wall seconds from before the start of a program to after its end; processor time, bytes read and \
         written include its children; memory is the most that any one process held."
            .to_owned(),
        "Stored is the sum of the lengths of the repository's files; added is how much it grew, or shrank, where snapshots \
         were forgotten."
            .to_owned(),
        format!("A run of more than {} s is ended and counts as failed.", results.limit_seconds),
    ];
    sentences.extend(secrets(results));
    if results.tools.iter().any(|tool| !tool.tried) {
        sentences
            .push("Tools marked as untried: their command lines have never been run with the real program.".into());
    }
    sentences
}

/// Says what daykeep's ratios are of, and how much of the rivals' times is that of opening.
fn secrets(results: &Results) -> Option<String> {
    let mut ours = results.tools.iter().filter(|tool| tool.role == Role::Daykeep && tool.status == "found");
    let text = "Other programs are opened by password, and stretch it at every start, which is most of a short step: the step \
                \"Open\" shows it.";
    Some(match ours.clone().find(|tool| is_by_password(&tool.name)).or_else(|| ours.next()) {
        Some(tool) if is_by_password(&tool.name) => {
            format!("{text} × daykeep is the multiple of {}, which is opened so too.", tool.name)
        }
        Some(tool) => format!(
            "{text} × daykeep is the multiple of {}, which is opened by key file and stretches nothing: of short steps that \
             is no fair comparison.",
            tool.name
        ),
        None => text.to_owned(),
    })
}

/// The steps that are no backups of a later state.
const ORDINARY: [&str; 7] = ["first", "unchanged", "open", "forget", "restore", "restore-one", "check"];

/// Returns for each tool its command lines, each with the title of its step, the work folder written as `$WORK`. Those of
/// the first scenario stand for all: in others paths and numbers differ, nothing else.
fn command_lines(results: &Results) -> Vec<(&str, Vec<(String, String)>)> {
    let titles = &super::run::AFTERWARDS;
    let of_tool = |tool: &str| {
        let mut lines: Vec<(String, String)> = Vec::new();
        for command in results.commands.iter().filter(|command| command.tool == tool) {
            let title = match command.step.as_str() {
                "init" => "Make the repository",
                "first" => "First backup",
                step if ORDINARY.contains(&step) => titles.iter().find(|(name, _)| *name == step).map_or("", |it| it.1),
                _ => "Backup of a later state",
            };
            if !lines.iter().any(|(known, _)| known == title) {
                lines.push((title.to_owned(), command.line.replace(&results.work_folder, "$WORK")));
            }
        }
        lines
    };
    let tools = results.tools.iter().map(|tool| (tool.name.as_str(), of_tool(&tool.name)));
    tools.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// Says how to read the command lines.
const COMMANDS_SAY: &str = "$WORK is the work folder, with repositories, caches and what is restored. In other scenarios \
                            paths and numbers differ; results.json has every line.";

/// Returns the variables of every run, a line each.
fn environment(results: &Results) -> String {
    let lines = results.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value.as_ref())));
    lines.collect::<Vec<_>>().join("\n").replace(&results.work_folder, "$WORK")
}

/// Returns a tool's name as a reader should see it.
fn shown_name(results: &Results, name: &str) -> String {
    let untried = results.tools.iter().any(|tool| tool.name == name && !tool.tried);
    if untried { format!("{name} (untried)") } else { name.to_owned() }
}
