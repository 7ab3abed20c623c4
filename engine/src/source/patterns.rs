//! What is left out of a backup, and what a restore takes: the patterns of `.gitignore`.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};

use crate::base::shown_path;
use crate::error::Error;
use crate::source::anchor::{Written, anchored};

/// Patterns as in `.gitignore`, matched against paths from the file system's root.
///
/// A pattern with a `/` at its start or in its middle is anchored (see [`PatternsBuilder`]), one without matches at any
/// depth, as one that begins with `**/` does; a `/` at its end asks for a directory; `!` takes back what an earlier pattern
/// matched. Beyond git, `{a,b}` matches either.
///
/// They note which of them had an effect; clones share these notes, [`fresh`](Self::fresh) patterns have their own.
#[derive(Clone, Debug)]
pub struct Patterns {
    set: Gitignore,
    effects: Arc<Effects>,
}

/// Which patterns decided about a path.
#[derive(Debug, Default)]
struct Effects {
    /// As they were written, in order.
    written: Vec<String>,
    /// The numbers of those with this text for the library.
    numbers: HashMap<String, Vec<usize>>,
    had_effect: Vec<AtomicBool>,
}

impl Effects {
    fn note(&self, glob: &Glob) {
        for &number in self.numbers.get(glob.original()).into_iter().flatten() {
            self.had_effect[number].store(true, Ordering::Relaxed);
        }
    }
}

impl Default for Patterns {
    fn default() -> Self {
        Self { set: Gitignore::empty(), effects: Arc::default() }
    }
}

/// Collects patterns; a later one outweighs an earlier.
pub struct PatternsBuilder {
    globs: GitignoreBuilder,
    effects: Effects,
}

impl Default for PatternsBuilder {
    fn default() -> Self {
        // Paths are stripped of their leading slash here, so the library has no root to take away; `.` says that.
        Self { globs: GitignoreBuilder::new("."), effects: Effects::default() }
    }
}

impl PatternsBuilder {
    /// Adds patterns that somebody wrote in the folder `base`: one that has a slash before its end and does not begin with
    /// one is taken from there, with `.` and `..` resolved. `#` is a character like any other.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for one that is blank, leads above the root, or is no pattern.
    pub fn written_in<'a>(mut self, base: &Path, patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        for pattern in patterns {
            self.add(&Written { base: Some(base), ..Written::default() }, pattern, "")?;
        }
        Ok(self)
    }

    /// As [`written_in`](Self::written_in), for what lies below `folder` of a snapshot: a slash at the start stands for that
    /// folder, unless the pattern begins with the folder's own path.
    ///
    /// # Errors
    /// As [`written_in`](Self::written_in).
    pub fn written_below<'a>(
        mut self,
        folder: &Path,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        for pattern in patterns {
            self.add(&Written { base: Some(folder), is_root: true }, pattern, "")?;
        }
        Ok(self)
    }

    /// As [`written_in`](Self::written_in), for patterns that match upper and lower case alike.
    ///
    /// # Errors
    /// As [`written_in`](Self::written_in).
    pub fn ignoring_case_in<'a>(
        mut self,
        base: &Path,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let _ = self.globs.case_insensitive(true);
        self = self.written_in(base, patterns)?;
        let _ = self.globs.case_insensitive(false);
        Ok(self)
    }

    /// Adds the patterns in the lines of a file, which `name` is the name of. Blank lines and those that begin with `#` are
    /// passed over; a pattern with a slash before its end is anchored at `/`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] that names the line which is no pattern.
    pub fn lines_of(mut self, name: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let place = format!("{}, line {}: ", shown_path(name), index + 1);
            let Ok(line) = std::str::from_utf8(line) else {
                let reason = format!("{place}not UTF-8; write `*` for the bytes that are not");
                return Err(Error::InvalidOption { option: "pattern", reason });
            };
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.trim().is_empty() && !line.starts_with('#') {
                self.add(&Written::default(), line, &place)?;
            }
        }
        Ok(self)
    }

    fn add(&mut self, written: &Written<'_>, pattern: &str, place: &str) -> Result<(), Error> {
        let invalid = |reason: String| Error::InvalidOption { option: "pattern", reason };
        let text = anchored(written, pattern).map_err(|why| invalid(format!("{place}`{pattern}`: {why}")))?;
        self.globs.add_line(None, &text).map_err(|error| {
            let how = "write it as in .gitignore, with \\ before a literal *?[{\\";
            invalid(format!("{place}`{pattern}`: {error}; {how}"))
        })?;
        let effects = &mut self.effects;
        effects.numbers.entry(text).or_default().push(effects.written.len());
        effects.written.push(pattern.to_owned());
        effects.had_effect.push(AtomicBool::new(false));
        Ok(())
    }

    /// Returns the patterns.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if they are too many or too long together.
    pub fn build(self) -> Result<Patterns, Error> {
        let invalid = |error| Error::InvalidOption {
            option: "pattern",
            reason: format!("all patterns together: {error}; give fewer or shorter ones"),
        };
        Ok(Patterns { set: self.globs.build().map_err(invalid)?, effects: Arc::new(self.effects) })
    }
}

impl Patterns {
    /// Takes patterns; a later one outweighs an earlier. One with a slash before its end is anchored at `/`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] that names the pattern which is none, or is blank.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        PatternsBuilder::default().written_in(Path::new("/"), patterns)?.build()
    }

    /// Takes the patterns in the lines of the file at `path`, as [`PatternsBuilder::lines_of`].
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::InvalidOption`] that names the line which is no pattern.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::File {
            path: path.to_path_buf(),
            action: "reading patterns from it",
            source,
        })?;
        PatternsBuilder::default().lines_of(path, &bytes)?.build()
    }

    /// Returns the same patterns, of which none has had an effect yet.
    pub fn fresh(&self) -> Self {
        let had_effect = self.effects.written.iter().map(|_| AtomicBool::new(false)).collect();
        let (written, numbers) = (self.effects.written.clone(), self.effects.numbers.clone());
        Self { set: self.set.clone(), effects: Arc::new(Effects { written, numbers, had_effect }) }
    }

    /// Returns the patterns that decided about no path so far, as they were written.
    pub fn without_effect(&self) -> Vec<String> {
        let effects = &self.effects;
        let mut unused: Vec<String> = Vec::new();
        for (pattern, had_effect) in effects.written.iter().zip(&effects.had_effect) {
            if !had_effect.load(Ordering::Relaxed) && !unused.contains(pattern) {
                unused.push(pattern.clone());
            }
        }
        unused
    }

    /// Returns whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Returns whether the patterns match this very path; its parents are not looked at, since a walk from the root has
    /// asked about them before.
    pub fn excludes(&self, path_from_root: &Path, is_dir: bool) -> bool {
        self.verdict(path_from_root, is_dir) == Some(true)
    }

    /// Returns whether the last pattern that matches takes the path (`true`) or takes it back (`false`).
    fn verdict(&self, path: &Path, is_dir: bool) -> Option<bool> {
        if self.is_empty() {
            return None;
        }
        let bytes = path.as_os_str().as_bytes();
        let relative = bytes.strip_prefix(b"/").unwrap_or(bytes);
        if relative.is_empty() {
            return None;
        }
        match self.set.matched(Path::new(std::ffi::OsStr::from_bytes(relative)), is_dir) {
            Match::None => None,
            Match::Ignore(glob) => {
                self.effects.note(glob);
                Some(true)
            }
            Match::Whitelist(glob) => {
                self.effects.note(glob);
                Some(false)
            }
        }
    }
}

/// What a selection says of one entry, given what it said of the directory above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Neither it nor anything below it is wanted.
    Excluded,
    /// It is not wanted itself; something below it may be.
    Open,
    /// It is wanted, and what lies below it unless a pattern says otherwise.
    Selected,
}

/// What a restore takes: what the `include` patterns match, or everything if there are none, without what the `exclude`
/// patterns match.
///
/// A directory that is included includes all below it, but for what a later `!` pattern takes back; one that is excluded
/// excludes all below it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What is wanted; everything if there is no pattern.
    pub include: Patterns,
    /// What is not.
    pub exclude: Patterns,
}

impl Selection {
    /// Returns whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Returns what it says of the root, where a walk begins.
    pub fn root(&self) -> Reach {
        if self.include.is_empty() { Reach::Selected } else { Reach::Open }
    }

    /// Returns what it says of the entry at `path_from_root`, whose directory it said `above` of. A walk that hands this
    /// down matches each path once.
    pub fn step(&self, above: Reach, path_from_root: &Path, is_dir: bool) -> Reach {
        if above == Reach::Excluded || self.exclude.excludes(path_from_root, is_dir) {
            return Reach::Excluded;
        }
        match self.include.verdict(path_from_root, is_dir) {
            None => above,
            Some(true) => Reach::Selected,
            Some(false) => Reach::Open,
        }
    }

    /// Returns whether the entry at `path_from_root` is wanted, looking at all directories above it.
    #[cfg(test)]
    fn selects(&self, path_from_root: &Path, is_dir: bool) -> bool {
        let mut above: Vec<&Path> = path_from_root.ancestors().skip(1).collect();
        above.reverse();
        let reach = above.into_iter().fold(self.root(), |reach, dir| self.step(reach, dir, true));
        self.step(reach, path_from_root, is_dir) == Reach::Selected
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::ffi::OsStr;

    use super::*;

    fn excludes(lines: &[&str], path: &str, is_dir: bool) -> bool {
        Patterns::new(lines.iter().copied()).unwrap().excludes(Path::new(path), is_dir)
    }

    #[test]
    fn a_pattern_is_anchored_by_a_slash_before_its_end() {
        assert!(excludes(&["*.tmp"], "/home/a/b.tmp", false));
        assert!(excludes(&["*.tmp"], "/b.tmp", false));
        assert!(excludes(&["/home/a"], "/home/a", true));
        assert!(!excludes(&["/a"], "/home/a", true));
        assert!(excludes(&["home/a"], "/home/a", true));
        assert!(!excludes(&["home/a"], "/x/home/a", true));
        assert!(excludes(&["**/cache/*.db"], "/home/a/cache/x.db", false));
        assert!(!excludes(&["/home/*.db"], "/home/a/x.db", false), "a star does not match a slash");
        assert!(excludes(&["/home/**"], "/home/a", false) && !excludes(&["/home/**"], "/home", true));
    }

    #[test]
    fn a_slash_at_the_end_asks_for_a_directory_and_a_later_line_outweighs() {
        assert!(excludes(&["node_modules/"], "/p/node_modules", true));
        assert!(!excludes(&["node_modules/"], "/p/node_modules", false));
        assert!(!excludes(&["*.log", "!keep.log"], "/p/keep.log", false));
        assert!(excludes(&["!keep.log", "*.log"], "/p/keep.log", false));
        assert!(excludes(&["#recycle"], "/home/#recycle", true), "only a file of patterns has comments");
        assert!(excludes(&["\\#x"], "/#x", false));
        assert!(!excludes(&["*"], "/", true), "the root itself has no name to match");
    }

    #[test]
    fn paths_need_not_be_utf8() {
        let patterns = Patterns::new(["/data/*.jpg", "gone*"]).unwrap();
        assert!(patterns.excludes(Path::new(OsStr::from_bytes(b"/data/\xff\xfe.jpg")), false));
        assert!(patterns.excludes(Path::new(OsStr::from_bytes(b"/x\xff/gone\xff")), false));
        assert!(!patterns.excludes(Path::new(OsStr::from_bytes(b"/data/\xff\xfe.png")), false));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let error = Patterns::new(["*.tmp", "a[z-a]"]).unwrap_err().to_string();
        assert!(error.contains("`a[z-a]`") && error.starts_with("pattern: "), "{error}");
        assert!(Patterns::new([]).unwrap().is_empty());
        for blank in ["", "  ", "!", "\t"] {
            let error = Patterns::new(["a", blank]).unwrap_err().to_string();
            assert!(error.contains("blank"), "{error}");
        }
    }

    #[test]
    fn patterns_come_from_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("patterns");
        std::fs::write(&path, "\u{feff}*.tmp\r\n# comment\n\n/home/b/\n").unwrap();
        let patterns = Patterns::from_file(&path).unwrap();
        assert!(patterns.excludes(Path::new("/a.tmp"), false) && patterns.excludes(Path::new("/home/b"), true));
        std::fs::write(&path, b"*.tmp\nx\xff\n").unwrap();
        let error = Patterns::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("patterns, line 2: "), "{error}");
        let error = Patterns::from_file(&temp.path().join("none")).unwrap_err();
        assert!(matches!(error, Error::File { .. }));
    }

    #[test]
    fn patterns_know_which_of_them_had_an_effect() {
        let patterns = Patterns::new(["*.tmp", "none", "/a/b", "!kept.tmp", "none"]).unwrap();
        assert_eq!(patterns.without_effect(), ["*.tmp", "none", "/a/b", "!kept.tmp"]);
        assert!(patterns.excludes(Path::new("/x.tmp"), false) && !patterns.excludes(Path::new("/kept.tmp"), false));
        assert_eq!(patterns.clone().without_effect(), ["none", "/a/b"]);
        assert_eq!(patterns.fresh().without_effect().len(), 4);
    }

    #[test]
    fn what_is_written_in_a_folder_is_taken_from_there() {
        let built =
            PatternsBuilder::default().written_in(Path::new("/w/s[1]"), ["src/a", "./b", "../c/", "*.o"]).unwrap();
        let patterns = built.ignoring_case_in(Path::new("/w"), ["*.JPG"]).unwrap().build().unwrap();
        let excludes = |path: &str, is_dir| patterns.excludes(Path::new(path), is_dir);
        assert!(excludes("/w/s[1]/src/a", false) && excludes("/w/s[1]/b", false) && excludes("/w/c", true));
        assert!(!excludes("/w/s1/src/a", false) && !excludes("/src/a", false) && !excludes("/w/s[1]/x/b", false));
        assert!(excludes("/x/y.o", false) && excludes("/x/y.jPg", false) && !excludes("/x/y.O", false));
        let below =
            PatternsBuilder::default().written_below(Path::new("/home/me"), ["/a", "b/c", "/home/me/d"]).unwrap();
        let patterns = below.build().unwrap();
        let excludes = |path: &str| patterns.excludes(Path::new(path), false);
        assert!(excludes("/home/me/a") && excludes("/home/me/b/c") && excludes("/home/me/d") && !excludes("/a"));
    }

    #[test]
    fn a_selection_reaches_below_directories() {
        let selection = Selection {
            include: Patterns::new(["/home/a/photos", "*.pdf", "!/home/a/photos/raw"]).unwrap(),
            exclude: Patterns::new(["*.tmp", "/home/a/photos/private/", "!kept.tmp"]).unwrap(),
        };
        let selects = |path: &str| selection.selects(Path::new(path), false);
        assert!(selects("/home/a/photos/2024/x.jpg") && selects("/srv/deep/x.pdf"));
        assert!(!selects("/home/a/x.jpg") && !selects("/home/a/photos/raw/x.dng"));
        assert!(!selects("/home/a/photos/x.tmp") && selects("/home/a/photos/kept.tmp"));
        assert!(!selects("/home/a/photos/private/x.jpg") && !selects("/home/a/photos/private/kept.tmp"));
        assert!(selection.selects(Path::new("/home/a/photos"), true));
        assert!(!selection.selects(Path::new("/home/a"), true) && !selection.is_everything());
        assert_eq!(selection.step(Reach::Open, Path::new("/home"), true), Reach::Open);

        let all = Selection::default();
        assert!(all.selects(Path::new("/x"), false) && all.selects(Path::new("/"), true) && all.is_everything());
    }
}
