//! The commands that the README promises run as they stand there.

use std::fs;
use std::process::Command;

use daykeep_tests::place::temp;
use daykeep_tests::workspace;

/// Returns the lines of commands between `<!-- try -->` and `<!-- /try -->`, without the fences and without the line
/// that runs the tests, which is what runs this.
fn commands(readme: &str) -> Vec<String> {
    let marked = readme.split("<!-- try -->").skip(1).filter_map(|rest| rest.split("<!-- /try -->").next());
    let lines = marked.flat_map(str::lines).map(str::trim);
    let wanted = lines.filter(|line| !line.is_empty() && !line.starts_with("```") && !line.starts_with("cargo test"));
    wanted.map(str::to_owned).collect()
}

#[test]
fn commands_are_found_between_the_marks() {
    let text = "x\n<!-- try -->\n```sh\ncargo run -- a\n\n```\n<!-- /try -->\ny\n<!-- try -->\n```sh\ncargo test\nls\n```\n<!-- /try -->";
    assert_eq!(commands(text), ["cargo run -- a", "ls"]);
    assert_eq!(commands("cargo run"), [""; 0]);
}

#[test]
fn the_readme_s_commands_run() {
    let root = workspace();
    let path = root.join("README.md");
    if !path.exists() {
        println!("skipped: there is no README.md yet");
        return;
    }
    let commands = commands(&fs::read_to_string(path).unwrap());
    assert!(!commands.is_empty(), "README.md marks no commands by <!-- try --> and <!-- /try -->");
    let home = temp();
    // cargo and rustup live in the home folder unless told otherwise, and are to be found all the same.
    let old_home = std::env::home_dir().unwrap_or_default();
    let kept = |name: &str, folder: &str| std::env::var_os(name).unwrap_or_else(|| old_home.join(folder).into());
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| root.join("target").into());
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", &commands.join("\n")])
        .current_dir(&root)
        .env("HOME", home.path())
        .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
        .env("CARGO_TARGET_DIR", target);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("DAYKEEP_") || name.starts_with("XDG_") {
            shell.env_remove(name);
        }
    }
    let output = shell.output().unwrap();
    let said = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    assert!(output.status.success(), "{:?}: {}\n{}", commands, output.status, String::from_utf8_lossy(&said));
}
