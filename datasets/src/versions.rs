//! A source tree through several releases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use crate::error::Error;
use crate::files::Words;
use crate::folder::create_empty;
use crate::random::Random;

/// How to make a source tree.
#[derive(Clone, Debug)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// How many releases there are.
    pub releases: u64,
    /// How many files the first one has.
    pub files: u64,
}

impl Default for Options {
    /// Eight releases of about 2,600 files and 34 MB each.
    fn default() -> Self {
        Options { seed: 1, releases: 8, files: 2500 }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// Writes each release into a folder of its own, `release-01` and so on, below `folder`, which must be empty.
///
/// # Errors
/// `NotEmpty` if something is in the folder, or what writing runs into.
pub fn generate(folder: &Path, options: &Options) -> Result<Report, Error> {
    create_empty(folder)?;
    let mut tree = Tree::new(options);
    let mut report = Report::default();
    for release in 1..=options.releases {
        if release > 1 {
            tree.advance();
        }
        let written = write(&folder.join(format!("release-{release:02}")), &Files::new(), &tree.files)?;
        report.files += written.files;
        report.bytes += written.bytes;
    }
    Ok(report)
}

/// Turns `folder`, which holds the release before, into release number `release`, counted from 1 on.
///
/// The first release wants an empty folder. Only files that the release changes are written.
///
/// # Errors
/// `NotEmpty` if something is in the first release's folder, or what writing runs into, such as a file of the release before
/// that is not there.
pub fn advance(folder: &Path, release: u64, options: &Options) -> Result<Report, Error> {
    let mut tree = Tree::new(options);
    if release <= 1 {
        create_empty(folder)?;
        return write(folder, &Files::new(), &tree.files);
    }
    (2..release).for_each(|_| tree.advance());
    let before = tree.files.clone();
    tree.advance();
    write(folder, &before, &tree.files)
}

/// Contents by path.
type Files = BTreeMap<String, String>;

/// Writes what differs between two states of a tree.
fn write(folder: &Path, before: &Files, after: &Files) -> Result<Report, Error> {
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        let path = folder.join(path);
        fs::remove_file(&path).map_err(Error::io(&path))?;
        // A folder that holds nothing any more goes too; one that does stays, with an error that says so.
        let _ = path.parent().map(fs::remove_dir);
    }
    let changed: Vec<(&String, &String)> =
        after.iter().filter(|(path, text)| before.get(*path) != Some(text)).collect();
    let folders: BTreeSet<&str> =
        changed.iter().map(|(path, _)| path.rsplit_once('/').map_or("", |(above, _)| above)).collect();
    for below in folders {
        let path = folder.join(below);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
    }
    changed.par_iter().try_for_each(|(path, text)| {
        let path = folder.join(path);
        fs::write(&path, text).map_err(Error::io(&path))
    })?;
    Ok(Report { files: changed.len() as u64, bytes: changed.iter().map(|(_, text)| text.len() as u64).sum() })
}

/// A source tree at one of its releases.
struct Tree {
    random: Random,
    words: Words,
    release: u64,
    /// The release that changes the year in every file.
    year_release: u64,
    year: u64,
    folders: Vec<String>,
    files: Files,
}

/// Lengths in bytes that divide source files into ten equal parts.
const LENS: [u64; 11] = [300, 900, 1500, 2300, 3300, 4700, 6500, 9200, 13_500, 24_000, 120_000];
/// Endings of source files.
const ENDINGS: [&str; 6] = ["rs", "rs", "c", "h", "py", "toml"];
/// Files in a folder, on average.
const FOLDER_FILES: u64 = 12;
/// Folders within folders at most.
const DEPTH_MAX: usize = 6;
/// Of 1,000 files, those that a release edits, removes, renames and adds.
const EDITED: u64 = 100;
const REMOVED: u64 = 10;
const RENAMED: u64 = 10;
const ADDED: u64 = 20;
/// The file that tells what each release brought.
const CHANGELOG: &str = "CHANGELOG.md";

impl Tree {
    /// Makes the first release.
    fn new(options: &Options) -> Self {
        let mut tree = Tree {
            random: Random::stream(options.seed, "versions", 0),
            words: Words::new(options.seed),
            release: 1,
            year_release: options.releases / 2 + 1,
            year: 2023,
            folders: vec!["src".to_owned()],
            files: Files::new(),
        };
        for _ in 0..options.files / FOLDER_FILES {
            let parent = tree.folders[tree.random.below(tree.folders.len() as u64) as usize].clone();
            if parent.split('/').count() < DEPTH_MAX {
                let folder = format!("{parent}/{}", tree.word());
                tree.folders.push(folder);
            }
        }
        for _ in 0..options.files.saturating_sub(1) {
            tree.add();
        }
        tree.log();
        tree
    }

    /// Makes the next release.
    fn advance(&mut self) {
        self.release += 1;
        let paths: Vec<String> = self.files.keys().filter(|path| *path != CHANGELOG).cloned().collect();
        for path in &paths {
            match self.random.below(1000) {
                0..REMOVED => drop(self.files.remove(path)),
                at if at < REMOVED + RENAMED => {
                    let to = self.free_path();
                    let text = self.files.remove(path);
                    self.files.extend(text.map(|text| (to, text)));
                }
                at if at < REMOVED + RENAMED + EDITED => self.edit(path),
                _ => {}
            }
        }
        for _ in 0..paths.len() as u64 * ADDED / 1000 {
            self.add();
        }
        if self.release == self.year_release {
            let (old, new) = (format!("Copyright {}", self.year), format!("Copyright {}", self.year + 1));
            self.year += 1;
            self.files.values_mut().for_each(|text| *text = text.replacen(&old, &new, 1));
        }
        self.log();
    }

    fn add(&mut self) {
        let path = self.free_path();
        let len = self.random.quantile(&LENS) as usize;
        let mut text = format!("// Copyright {} The {} authors. See LICENSE for terms.\n\n", self.year, "example");
        while text.len() < len {
            text.push_str(&self.line());
        }
        self.files.insert(path, text);
    }

    /// Changes, inserts or removes some lines at one to six places of a file.
    fn edit(&mut self, path: &str) {
        let Some(text) = self.files.remove(path) else { return };
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        for _ in 0..1 + self.random.below(6) {
            // The first two lines hold the notice.
            let at = lines.len().min(2 + self.random.below(lines.len() as u64) as usize);
            let removed = (self.random.below(4) as usize).min(lines.len() - at);
            let inserted: Vec<String> = (0..self.random.below(6)).map(|_| self.line()).collect();
            lines.splice(at..at + removed, inserted);
        }
        self.files.insert(path.to_owned(), lines.concat());
    }

    /// Tells in the changelog, at its top, what the release brought.
    fn log(&mut self) {
        let mut text = format!("# Changes\n\n## Release {}\n", self.release);
        for _ in 0..8 + self.random.below(20) {
            let count = 5 + self.random.below(12);
            let words: Vec<String> = (0..count).map(|_| self.word()).collect();
            text.push_str(&format!("- {}\n", words.join(" ")));
        }
        let before = self.files.remove(CHANGELOG).unwrap_or_default();
        text.push_str(before.strip_prefix("# Changes\n").unwrap_or_default());
        self.files.insert(CHANGELOG.to_owned(), text);
    }

    /// Returns a path that no file has.
    fn free_path(&mut self) -> String {
        loop {
            let folder = self.random.below(self.folders.len() as u64) as usize;
            let ending = ENDINGS[self.random.below(ENDINGS.len() as u64) as usize];
            let name = format!("{}_{}.{ending}", self.word(), self.word());
            let path = format!("{}/{name}", self.folders[folder]);
            if !self.files.contains_key(&path) {
                return path;
            }
        }
    }

    fn word(&mut self) -> String {
        String::from_utf8_lossy(self.words.draw(&mut self.random)).into_owned()
    }

    /// Returns a line of code.
    fn line(&mut self) -> String {
        let indent = " ".repeat(4 * self.random.below(5) as usize);
        let [a, b, c, d] = [(); 4].map(|()| self.word());
        match self.random.below(12) {
            0 => "\n".to_owned(),
            1 => format!("{indent}// {a} {b} {c} {d} {} {}\n", self.word(), self.word()),
            2 => format!("{indent}fn {a}_{b}({c}: &{d}) -> Result<{}> {{\n", self.word()),
            3 => format!("{indent}if {a}.{b}() > {} {{\n", self.random.below(1000)),
            4 => format!("{indent}}}\n"),
            5 => format!("{indent}for {a} in {b}.{c}() {{\n"),
            6 => format!("{indent}return {a}({b}, {c});\n"),
            7 => format!("{indent}{a}.{b} = {c};\n"),
            8 => format!("{indent}{a}_{b}({c}, \"{d} {}\");\n", self.word()),
            _ => format!("{indent}let {a} = {b}.{c}({d});\n"),
        }
    }
}
