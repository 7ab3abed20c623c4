//! The order of the modules, and what no source file may have: held by tests, since taste alone does not hold it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use daykeep_tests::workspace;

/// Each rank imports only lower ones. The modules of rank 0 may know each other.
const RANKS: &[(u32, &[&str])] = &[
    (0, &["base", "error", "pool"]),
    (1, &["format"]),
    (2, &["chunk", "hash", "compress", "crypt", "delta", "parity"]),
    (3, &["codec", "source", "store", "catalog"]),
    (4, &["pack", "small"]),
    (5, &["chunks"]),
    (6, &["tree", "snapshot"]),
    (7, &["repo"]),
    (8, &["backup", "restore", "chats", "forget", "tag", "diff", "find", "prune", "rewrite"]),
    (9, &["check", "copy", "measure", "repair"]),
];
const LINES_MAX: usize = 500;

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

/// Returns all Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn is_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests") || path.components().any(|part| part.as_os_str() == "tests")
}

/// Returns a file's code: without comments, without the contents of strings, and without what follows `#[cfg(test)]` up
/// to the end of that item.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                while chars.peek().is_some_and(|&c| c != '\n') {
                    chars.next();
                }
            }
            '"' if previous != '\'' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => {
                            chars.next();
                        }
                        '"' => break,
                        '\n' => out.push('\n'),
                        _ => {}
                    }
                }
                out.push('"');
            }
            _ => out.push(c),
        }
        previous = c;
    }
    without_tests(&out)
}

fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut depth = 0;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => {
                    end = at + 1;
                    break;
                }
                '}' => depth -= 1,
                ';' if depth == 0 => {
                    end = at + 1;
                    break;
                }
                _ => {}
            }
        }
        out.extend(rest[..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    out + rest
}

/// Returns the modules at the crate's root that the code names by `crate::…`, also within braces: `crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(inner) => top_level(inner),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            found.insert(name[..end].to_owned());
        }
    }
    found
}

/// Splits at the commas of the outermost braces, which are open already.
fn top_level(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(inner[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn violations(module: &str, code: &str) -> Vec<String> {
    let Some(own) = rank(module) else { return vec![format!("{module} has no rank; give it one in this test")] };
    let allowed = |name: &str| match rank(name) {
        Some(0) if own == 0 => true,
        Some(other) => name == module || other < own,
        // What is no module is a name that lib.rs re-exports, of rank 10.
        None => false,
    };
    let wrong = imports(code).into_iter().filter(|name| !allowed(name));
    wrong.map(|name| format!("{module} (rank {own}) uses crate::{name} (rank {:?})", rank(&name))).collect()
}

#[test]
fn the_reader_of_imports_sees_what_it_should() {
    let text = "use crate::{a::{b, c}, d};\n// crate::comment\nfn f() { crate::e::g(\"crate::text\") }\n#[cfg(test)]\nmod tests { use crate::t; }\nuse crate::z;";
    let found: Vec<String> = imports(&code(text)).into_iter().collect();
    assert_eq!(found, ["a", "d", "e", "z"]);
    assert_eq!(violations("chunk", "use crate::format::x; use crate::chunk::y;"), [""; 0]);
    assert_eq!(violations("chunk", "use crate::crypt;").len(), 1, "a sibling");
    assert_eq!(violations("chunk", "use crate::repo;").len(), 1, "a higher rank");
    assert_eq!(violations("error", "use crate::base::X;"), [""; 0]);
    assert_eq!(violations("chunk", "use crate::Repository;").len(), 1, "the face");
}

#[test]
fn no_module_imports_a_sibling_or_a_higher_rank() {
    let folder = workspace().join("engine/src");
    let files = sources(&folder);
    assert!(files.len() > 40, "the engine is where this test looks for it");
    let mut wrong = Vec::new();
    for path in files.iter().filter(|path| !is_tests(path)) {
        let inner = path.strip_prefix(&folder).unwrap();
        let first = inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs");
        if module != "lib" {
            let text = fs::read_to_string(path).unwrap();
            wrong.extend(
                violations(module, &code(&text)).into_iter().map(|line| format!("{}: {line}", inner.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The root of every package whose sources are held to the style.
fn packages() -> Vec<PathBuf> {
    ["engine", "cli"].map(|name| workspace().join(name).join("src")).into_iter().filter(|path| path.is_dir()).collect()
}

#[test]
fn no_source_file_is_too_long() {
    let files = packages().into_iter().flat_map(|folder| sources(&folder)).filter(|path| !is_tests(path));
    let mut wrong = Vec::new();
    for path in files {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines, more than {LINES_MAX}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_neither_panics_nor_prints() {
    const BANNED: [&str; 9] = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "println!(",
        "eprintln!(",
        "print!(",
        "todo!(",
        "unimplemented!(",
        "process::exit(",
    ];
    let mut wrong = Vec::new();
    for path in sources(&workspace().join("engine/src")).into_iter().filter(|path| !is_tests(path)) {
        let code = code(&fs::read_to_string(&path).unwrap());
        for (number, line) in code.lines().enumerate() {
            if let Some(word) = BANNED.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in packages().into_iter().flat_map(|folder| sources(&folder)).filter(|path| !is_tests(path)) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} begins without a word on what it is for", path.display());
    }
}
