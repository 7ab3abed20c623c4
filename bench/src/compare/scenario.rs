//! What is done with the data: states that are backed up one after the other, and what follows.

use std::path::{Path, PathBuf};

use super::Error;
use super::data::Data;
use super::interrupt::Interrupt;
use super::results::LeftOut;
use super::tree::{self, Kind, Listing};

/// The names of all scenarios.
pub const NAMES: [&str; 8] = ["media", "video", "chats", "small", "versions", "library", "moved", "month"];

/// How many times the data a repository may take at its largest: redb grows its file by doubling.
const REPOSITORY_FACTOR: u64 = 3;
/// Room for caches and output.
const SPACE_EXTRA_BYTES: u64 = 256 << 20;

/// What one scenario is about.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name in `--scenarios` and in the results.
    pub name: &'static str,
    /// Its title in the report.
    pub title: &'static str,
    /// What is backed up, in this order.
    pub states: Vec<State>,
    /// Whether the older half of the snapshots is forgotten afterwards.
    pub forgets: bool,
}

/// One state of the source.
#[derive(Clone, Debug)]
pub struct State {
    /// Its step's name in the results.
    pub step: String,
    /// Its step's title in the report.
    pub title: String,
    /// How the source comes into it.
    pub source: Source,
}

/// How the source comes into a state.
#[derive(Clone, Debug)]
pub enum Source {
    /// The data is backed up where it lies.
    Is(PathBuf),
    /// A copy at a place that stays the same becomes what this folder is.
    Becomes(PathBuf),
    /// A copy of this folder is made in a folder.
    Original(PathBuf),
    /// A second copy is made beside it.
    Duplicate,
    /// The first copy gets another name.
    Rename,
}

/// A scenario with what had to be found out before.
#[derive(Debug)]
pub struct Prepared {
    /// The scenario.
    pub scenario: Scenario,
    /// What is in the data of the first state.
    pub files: u64,
    /// The bytes of these files.
    pub bytes: u64,
    /// Bytes of the largest state.
    bytes_max: u64,
    /// For each state that becomes another: how.
    pub changes: Vec<tree::Change>,
    /// The folders that are read before, with what is in them.
    pub folders: Vec<(PathBuf, Listing)>,
}

impl Prepared {
    /// Returns an estimate of the space that the work folder needs: the copy of the source, the repository, what is
    /// restored.
    pub fn space_bytes(&self) -> u64 {
        let source = match self.scenario.states.first().map(|state| &state.source) {
            Some(Source::Is(_)) | None => 0,
            Some(Source::Original(_)) => self.bytes_max.saturating_mul(2),
            Some(_) => self.bytes_max,
        };
        let restored = source.max(self.bytes_max);
        let repository = self.bytes_max.saturating_mul(REPOSITORY_FACTOR);
        source.saturating_add(restored).saturating_add(repository).saturating_add(SPACE_EXTRA_BYTES)
    }

    /// Returns a file of the source to restore alone: the one in the middle of all names, or `None` where it would be
    /// everything.
    pub fn one_file(source: &Path, interrupt: &Interrupt) -> Result<Option<PathBuf>, Error> {
        let listing = tree::list(source, interrupt)?;
        let files: Vec<&PathBuf> =
            listing.iter().filter(|(_, kind)| matches!(kind, Kind::File(_))).map(|(path, _)| path).collect();
        Ok((files.len() > 1).then(|| files[files.len() / 2].clone()))
    }
}

/// Returns the scenarios of these names, or all, and those for which there is no data.
///
/// # Errors
/// There is data for none.
pub fn choose(data: &Data, names: &[String]) -> Result<(Vec<Scenario>, Vec<LeftOut>), Error> {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for name in NAMES.into_iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        match scenario(name, data) {
            Ok(scenario) => chosen.push(scenario),
            Err(reason) => left_out.push(LeftOut { scenario: name.into(), reason }),
        }
    }
    if chosen.is_empty() {
        let reasons: Vec<String> = left_out.iter().map(|left| format!("{}: {}", left.scenario, left.reason)).collect();
        return Err(Error::Request(format!("there is nothing to compare on ({})", reasons.join("; "))));
    }
    Ok((chosen, left_out))
}

/// Returns a scenario, or why there is none.
fn scenario(name: &'static str, data: &Data) -> Result<Scenario, String> {
    let one = |folder: &Option<PathBuf>| {
        let folder = folder.clone().ok_or_else(|| format!("the data has no folder {name}"))?;
        Ok::<_, String>(vec![first(Source::Is(folder))])
    };
    let (title, states) = match name {
        "media" => ("Photos, videos and voice notes", one(&data.media)?),
        "video" => ("One large video", one(&data.video)?),
        "small" => ("Many small files", one(&data.small)?),
        "chats" => ("A week of chatting", series(name, &data.chats)?),
        "versions" => ("Source trees, release by release", series(name, &data.versions)?),
        "library" => ("A week of a growing library", series(name, &data.library)?),
        "month" => ("A month of daily backups, half of it forgotten", series(name, &data.month)?),
        _ => ("Duplicated and renamed", moved(data)?),
    };
    Ok(Scenario { name, title, states, forgets: name == "month" })
}

fn first(source: Source) -> State {
    State { step: "first".into(), title: "First backup".into(), source }
}

/// One state after the other, at a place that stays the same.
fn series(name: &str, folders: &[PathBuf]) -> Result<Vec<State>, String> {
    if folders.len() < 2 {
        return Err(format!("the data has no two folders in {name}"));
    }
    let states = folders.iter().enumerate().map(|(index, folder)| {
        let source = Source::Becomes(folder.clone());
        let step = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match index {
            0 => first(source),
            _ => State {
                title: step.replacen(['d', 'r'], if step.starts_with('d') { "D" } else { "R" }, 1).replace('-', " "),
                step,
                source,
            },
        }
    });
    Ok(states.collect())
}

fn moved(data: &Data) -> Result<Vec<State>, String> {
    let folder = data.media.as_ref().or(data.library.first()).or(data.versions.last()).or(data.small.as_ref());
    let folder = folder.ok_or("the data has neither media, library, versions nor small")?;
    let state = |step: &str, title: &str, source| State { step: step.into(), title: title.into(), source };
    Ok(vec![
        first(Source::Original(folder.clone())),
        state("duplicated", "A copy beside it", Source::Duplicate),
        state("renamed", "The folder renamed", Source::Rename),
    ])
}

/// Returns the folder to compare in which `path` lies, if there is one. Both are canonical.
pub fn source_around<'a>(scenarios: &'a [Prepared], path: &Path) -> Option<&'a Path> {
    let mut folders = scenarios.iter().flat_map(|prepared| &prepared.folders);
    folders.find(|(folder, _)| path.starts_with(folder)).map(|(folder, _)| folder.as_path())
}

/// Lists the data and finds out what changes from state to state.
///
/// # Errors
/// The data cannot be read, or an interrupt.
pub fn measure(scenarios: Vec<Scenario>, interrupt: &Interrupt) -> Result<Vec<Prepared>, Error> {
    scenarios.into_iter().map(|scenario| prepare(scenario, interrupt)).collect()
}

fn prepare(scenario: Scenario, interrupt: &Interrupt) -> Result<Prepared, Error> {
    let mut folders = Vec::new();
    let mut changes = Vec::new();
    for state in &scenario.states {
        let (Source::Is(folder) | Source::Becomes(folder) | Source::Original(folder)) = &state.source else {
            continue;
        };
        folders.push((folder.clone(), tree::list(folder, interrupt)?));
    }
    for pair in folders.windows(2) {
        changes.push(tree::Change::between(&pair[0].0, &pair[1].0, interrupt)?);
    }
    let counts: Vec<(u64, u64)> = folders.iter().map(|(_, listing)| tree::count(listing)).collect();
    let (files, bytes) = counts.first().copied().unwrap_or_default();
    let bytes_max = counts.iter().map(|count| count.1).max().unwrap_or(0);
    Ok(Prepared { scenario, files, bytes, bytes_max, changes, folders })
}
