//! Where a pattern is anchored: relative ones are resolved against a folder, as a shell resolves a path.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// How a pattern was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// The folder from which a relative pattern is taken. `None`: a line of a file, taken from `/`.
    pub base: Option<&'a Path>,
    /// Whether a slash at the start stands for that folder too.
    pub is_root: bool,
}

/// Returns the pattern as a line of a `.gitignore` at `/`.
///
/// # Errors
/// Why it can match nothing, and what would do.
pub fn anchored(written: &Written<'_>, pattern: &str) -> Result<String, String> {
    let (negation, body) = match pattern.strip_prefix('!') {
        Some(body) => ("!", body),
        None => ("", pattern),
    };
    if body.trim().is_empty() {
        return Err("is blank, and would match nothing; leave it out, or write `*` for everything".into());
    }
    let Some(slash) = body.find('/') else {
        // A line of a `.gitignore` that begins with `#` would be a comment.
        let escape = if body.starts_with('#') && negation.is_empty() { "\\" } else { "" };
        return Ok(format!("{negation}{escape}{body}"));
    };
    let is_at_any_depth = body.starts_with("**/") || slash == body.trim_end_matches('/').len();
    if is_at_any_depth {
        let resolved = resolve(Vec::new(), body)?;
        return Ok(format!("{negation}{}", resolved.trim_start_matches('/')));
    }
    let base = written.base.map_or_else(Vec::new, components);
    let is_within_base =
        || body.strip_prefix(&joined(&base)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_from_base = match body.starts_with('/') {
        true => written.is_root && !is_within_base(),
        false if written.base.is_none() && (body.starts_with("./") || body.starts_with("../")) => {
            return Err("a file of patterns has no folder of its own; write the path from `/` down".into());
        }
        false => true,
    };
    let resolved = resolve(if is_from_base { base } else { Vec::new() }, body)?;
    Ok(format!("{negation}{resolved}"))
}

/// Returns the names of a path, each as a pattern that matches it alone. A name that is not UTF-8 matches by `?`.
fn components(path: &Path) -> Vec<String> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(escape(&String::from_utf8_lossy(name.as_bytes()))),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        match c {
            char::REPLACEMENT_CHARACTER => out.push('*'),
            '\\' | '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' | ' ' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

fn joined(names: &[String]) -> String {
    names.iter().fold(String::new(), |all, name| all + "/" + name)
}

/// Appends a pattern to the names of a folder, without empty names, `.` and `..`.
fn resolve(mut names: Vec<String>, pattern: &str) -> Result<String, String> {
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                let above = names.pop().ok_or("leads above `/`; write the path from `/` down")?;
                if above == "**" {
                    return Err("`..` cannot follow `**`; write the path without it".into());
                }
            }
            _ => names.push(name.to_owned()),
        }
    }
    if names.is_empty() {
        return Err("stands for `/` itself, which no pattern matches; name what is in it".into());
    }
    let end = if pattern.ends_with('/') { "/" } else { "" };
    Ok(joined(&names) + end)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn at(base: &str, pattern: &str) -> Result<String, String> {
        anchored(&Written { base: Some(Path::new(base)), is_root: false }, pattern)
    }

    #[test]
    fn relative_patterns_are_resolved_as_paths_are() {
        for (pattern, wanted) in [
            ("src/a", "/w/src/a"),
            ("./src/a", "/w/src/a"),
            ("./a", "/w/a"),
            ("../x", "/x"),
            ("a//b/", "/w/a/b/"),
            ("a/./b/../c", "/w/a/c"),
            ("/a//b", "/a/b"),
            ("!src/a", "!/w/src/a"),
            ("a/**/b", "/w/a/**/b"),
            ("**/a//b", "**/a/b"),
            ("a", "a"),
            ("a/", "a/"),
            ("*.tmp", "*.tmp"),
            ("#recycle", "\\#recycle"),
            ("!#a", "!#a"),
            ("src/a/.", "/w/src/a"),
        ] {
            assert_eq!(at("/w", pattern).unwrap(), wanted, "{pattern}");
        }
        for pattern in ["../../x", "", " ", "!", "/", "./", "**/../x", "//"] {
            assert!(at("/w", pattern).is_err(), "{pattern}");
        }
        assert!(anchored(&Written::default(), "./x").is_err() && anchored(&Written::default(), "../x").is_err());
        assert_eq!(anchored(&Written::default(), "a//b").unwrap(), "/a/b");
    }

    #[test]
    fn a_folder_of_any_name_is_matched_by_itself_alone() {
        assert_eq!(at("/a b/#[x]*", "c/d").unwrap(), "/a\\ b/\\#\\[x\\]\\*/c/d");
    }
}
