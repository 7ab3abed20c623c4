//! The reports: `results.json`, `report.md` and `index.html`, which say the same.

mod chart;
mod html;
mod markdown;
pub mod text;

use std::path::Path;

use super::Error;
use super::results::Results;

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
    let count = |count: u32| if count == 1 { "one round".to_owned() } else { format!("{count} rounds") };
    let mut sentences = vec![
        format!(
            "Medians of {}, in each of which all tools took their turn, another one first each time; sources were read \
             once before.",
            count(results.rounds)
        ),
        "Every restore was compared with its source, byte for byte.".to_owned(),
        "Times are wall seconds from before the start of a program to after its end; processor time, bytes read and \
         written include its children; memory is the most that any one process held."
            .to_owned(),
        "Stored is the sum of the lengths of the repository's files; added is how much it grew, or shrank, where snapshots \
         were forgotten."
            .to_owned(),
        format!("A run of more than {} s is ended and counts as failed.", results.limit_seconds),
    ];
    if results.tools.iter().any(|tool| !tool.tried) {
        sentences
            .push("Tools marked as untried: their command lines have never been run with the real program.".into());
    }
    sentences
}

/// Returns a tool's name as a reader should see it.
fn shown_name(results: &Results, name: &str) -> String {
    let untried = results.tools.iter().any(|tool| tool.name == name && !tool.tried);
    if untried { format!("{name} (untried)") } else { name.to_owned() }
}
