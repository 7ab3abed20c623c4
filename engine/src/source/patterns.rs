//! What is left out of a backup, and what a restore takes: the patterns of `.gitignore`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::Error;

/// Patterns as in `.gitignore`, matched against paths from the file system's root.
///
/// A pattern with a `/` at its start or in its middle is anchored at the root (for a restore: of the snapshot), one
/// without matches at any depth; a `/` at its end asks for a directory; `!` takes back what an earlier line matched; a
/// line that begins with `#` is a comment. Beyond git, `{a,b}` matches either.
#[derive(Clone, Debug)]
pub struct Patterns {
    set: Gitignore,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { set: Gitignore::empty() }
    }
}

impl Patterns {
    /// Takes one pattern from each of `lines`; a later one outweighs an earlier.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] that names the pattern which is none.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        Self::build(lines.into_iter().map(|line| (line, String::new())))
    }

    /// Takes one pattern from each line of the file at `path`.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::InvalidOption`] that names the line which is no pattern.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::File {
            path: path.to_path_buf(),
            action: "reading patterns from it",
            source,
        })?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut lines = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let place = format!("{}, line {}: ", path.display(), index + 1);
            let Ok(line) = std::str::from_utf8(line) else {
                let reason = format!("{place}not UTF-8; write `*` for the bytes that are not");
                return Err(Error::InvalidOption { option: "pattern", reason });
            };
            lines.push((line, place));
        }
        Self::build(lines)
    }

    fn build<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> Result<Self, Error> {
        let invalid = |place: &str, line: &str, error: ignore::Error| Error::InvalidOption {
            option: "pattern",
            reason: format!("{place}`{line}`: {error}; write it as in .gitignore, with \\ before a literal *?[{{\\"),
        };
        // Paths are stripped of their leading slash here, so the library has no root to take away; `.` says that.
        let mut builder = GitignoreBuilder::new(".");
        for (line, place) in lines {
            builder.add_line(None, line).map_err(|error| invalid(&place, line, error))?;
        }
        let set = builder.build().map_err(|error| invalid("", "all patterns together", error))?;
        Ok(Self { set })
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
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
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
        assert!(!excludes(&["# a comment", "", "   "], "/# a comment", false));
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
        assert!(Patterns::new([]).unwrap().is_empty() && Patterns::new(["# none"]).unwrap().is_empty());
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
