//! Stub rivals: shell scripts that take the command lines of the real programs and store by copying.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// What the stubs share: each backup is a folder `REPOSITORY/NUMBER` that holds the source's absolute path.
const COMMON: &str = r#"#!/bin/sh
set -e
newest() { ls "$repo" | sort -n | tail -n 1; }
save() { n=$(($(newest) + 1)); mkdir -p "$repo/$n$1"; cp -r "$1/." "$repo/$n$1"; }
last() { echo "$repo/$(newest)"; }
keep() { ls "$repo" | sort -n | head -n "-$1" | while read -r n; do rm -r "$repo/$n"; done; }
"#;

pub const RESTIC: &str = r#"
[ "$1" = version ] && { echo "restic 0.16.4 compiled by nobody"; exit; }
[ -z "$RESTIC_REPOSITORY" ] || { echo "the user's settings are seen" >&2; exit 9; }
[ "$RESTIC_PASSWORD" = x ] && [ "$1 $2" = "-q -r" ]
repo=$3
case $4 in
init) mkdir "$repo" ;;
backup) save "$5" ;;
restore)
    [ "$5 $6" = "latest --target" ]
    if [ "$8" = --include ]; then
        mkdir -p "$7$(dirname "$9")"; cp "$(last)$9" "$7$9"
    else
        mkdir "$7"; cp -r "$(last)/." "$7"
    fi ;;
snapshots) ls "$repo" ;;
forget) [ "$5 $7" = "--keep-last --prune" ]; keep "$6" ;;
check) [ "$5" = --read-data ] ;;
*) exit 8 ;;
esac
"#;

/// Its variants that are opened by key file must not find a password.
pub const DAYKEEP: &str = r#"
[ "$1" = --version ] && { echo "daykeep 0.1.0"; exit; }
[ "$2" = -r ]
out=$1; named=$3; repo=${3%/}; shift 3
if [ "$1" = --key-file ]; then
    [ -z "$DAYKEEP_PASSWORD" ]; key=$2; shift 2
else
    [ "$DAYKEEP_PASSWORD" = x ]; key=$HOME/key
fi
touch "$key"
case $1 in
init) mkdir "$repo" ;;
backup) save "$2"; [ "$out" = -q ] || echo '{"type":"summary","bytes_stored":4711}' ;;
snapshots) ls "$repo" ;;
restore)
    [ "$3" = --target ]; mkdir "$4"
    case $2 in
    latest) cp -r "$(last)/." "$4" ;;
    latest:*) cp -r "$(last)${2#latest:}" "$4" ;;
    esac ;;
forget) [ "$2" = --keep-last ]; echo "$3" >"$key" ;;
prune)
    case $named in
    */) [ -z "$2" ] ;;
    *) [ "$2" = --compact ] ;;
    esac
    keep "$(cat "$key")" ;;
check) [ "$2" = --read-data ] ;;
*) exit 8 ;;
esac
"#;

pub const KOPIA: &str = r#"
[ "$1" = --version ] && { echo "0.17.0 build: abc from: kopia/kopia"; exit; }
[ "$KOPIA_PASSWORD" = x ]
repo=$(cat "$KOPIA_CONFIG_PATH" 2>/dev/null || true)
case "$1 $2" in
"repository create") [ "$3 $4" = "filesystem --path" ]; mkdir "$5"; echo "$5" >"$KOPIA_CONFIG_PATH" ;;
"snapshot create") save "$4" ;;
"restore --no-progress")
    if [ -d "$(last)$3" ]; then mkdir "$4"; cp -r "$(last)$3/." "$4"; else cp "$(last)$3" "$4"; fi ;;
"snapshot list") ls "$repo" ;;
"snapshot verify") [ "$3" = --verify-files-percent=100 ] ;;
*) exit 8 ;;
esac
"#;

pub const BUPSTASH: &str = r#"
[ "$1" = version ] && { echo "bupstash-0.12.0"; exit; }
repo=$BUPSTASH_REPOSITORY
case $1 in
init) mkdir "$repo" ;;
new-key) [ "$2" = -o ]; touch "$3" ;;
put) [ -f "$BUPSTASH_KEY" ]; n=${3#number=}; mkdir "$repo/$n"; cp -r "$4/." "$repo/$n" ;;
restore) [ "$3" = --into ] && [ -d "$4" ]; cp -r "$repo/${5#number=}/." "$4" ;;
list) ls "$repo" ;;
get) [ "$3" = --pick ]; cat "$repo/${5#number=}/$4" ;;
*) exit 8 ;;
esac
"#;

pub const DUPLICACY: &str = r#"
[ "$1" = -version ] && { echo "duplicacy version 3.2.3 (254953)"; exit; }
[ -n "$DUPLICACY_PASSWORD" ]
if [ "$1" = init ]; then
    [ "$2 $3 $5" = "-e -repository bench" ] && [ -d "$4" ] && [ -d "$6" ]
    printf '%s\n%s\n' "$4" "$6" >.duplicacy
    exit
fi
source=$(sed -n 1p .duplicacy); repo=$(sed -n 2p .duplicacy)
case $1 in
backup) n=$(($(ls "$repo" | wc -l) + 1)); mkdir "$repo/$n"; cp -r "$source/." "$repo/$n" ;;
restore)
    [ "$2" = -r ]
    if [ -n "$4" ]; then mkdir -p "$source/$(dirname "$4")"; cp "$repo/$3/$4" "$source/$4"; else cp -r "$repo/$3/." "$source"; fi ;;
list) ls "$repo" ;;
check) [ "$2" = -chunks ] ;;
*) exit 8 ;;
esac
"#;

/// A folder with data, stubs, and places for work and results.
pub struct Bench {
    root: TempDir,
}

impl Bench {
    /// Makes data of a few kilobytes for every scenario, but no stub.
    pub fn new() -> Self {
        // In memory if possible: each run waits until the file system has written everything, other programs' files too.
        let memory = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
        let bench = Self { root: tempfile::tempdir_in(memory).unwrap() };
        for name in ["bin", "work", "data"] {
            fs::create_dir(bench.path(name)).unwrap();
        }
        bench.data("media/2024/IMG-1.jpg", "a photo");
        bench.data("media/2024/a name with spaces.jpg", "another photo");
        bench.data("media/voice/PTT-1.opus", "a voice");
        bench
    }

    /// Adds data for the scenarios that have several states.
    pub fn with_series(self) -> Self {
        for day in 0..3 {
            self.data(&format!("chats/day-{day:02}/msgstore.db"), &"hello ".repeat(1000 + day));
            self.data(&format!("versions/release-{day:02}/src/lib.rs"), &format!("fn version() {{ {day} }}"));
            self.data(&format!("versions/release-{day:02}/src/only-{day}.rs"), "here today, gone tomorrow");
            self.data(&format!("month/day-{day:02}/diary.txt"), &"a line\n".repeat(1 + day));
        }
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    pub fn data(&self, name: &str, content: &str) {
        let path = self.path("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Installs a stub.
    pub fn stub(&self, name: &str, script: &str) -> &Self {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("{COMMON}{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Installs restic's stub with lines before it, in which `$4` is the command, as in `-q -r REPO backup`.
    pub fn restic_that(&self, lines: &str) -> &Self {
        self.stub("restic", &format!("if [ \"$1\" != version ]; then\n{lines}\nfi\n{RESTIC}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daykeep-bench"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.env("PATH", path).env("RESTIC_REPOSITORY", "/nowhere").env("RUST_BACKTRACE", "1");
        command.args(["compare", "--work"]).arg(self.path("work")).arg("--out").arg(self.path("out"));
        if !arguments.contains(&"--data") {
            command.arg("--data").arg(self.path("data"));
        }
        // A daykeep that was built beside this program would be found before the stub.
        let stub = self.path("bin/daykeep");
        if stub.exists() {
            command.arg("--program").arg(format!("daykeep={}", stub.display()));
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(self.is_tidy(), "left behind in the work folder: {}", said(&output));
        output
    }

    /// Runs, and returns the results; the exit code must be this.
    pub fn results(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        self.json()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.report("results.json")).unwrap()
    }

    pub fn report(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap()
    }

    /// Whether nothing is left in the work folder.
    pub fn is_tidy(&self) -> bool {
        fs::read_dir(self.path("work")).unwrap().next().is_none()
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until a file is there and not empty, and returns what is in it; the child must go on meanwhile.
pub fn wait_for(path: &Path, child: &mut Child) -> String {
    let begun = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => {}
        }
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        assert!(begun.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process still runs.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which stands in brackets.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

/// The runs of a tool, or of one step of it.
pub fn runs_of<'a>(results: &'a Value, tool: &str, step: Option<&str>) -> Vec<&'a Value> {
    let all = results["runs"].as_array().unwrap().iter();
    all.filter(|run| run["tool"] == tool && step.is_none_or(|step| run["step"] == step)).collect()
}
