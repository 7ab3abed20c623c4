//! A home, a source, a repository with a key file, and `daykeep` run among them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub struct World {
    pub dir: TempDir,
}

impl World {
    /// Makes a home with nothing in it and a small source.
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path("home")).unwrap();
        std::fs::create_dir_all(world.path("source/folder")).unwrap();
        world.write("source/a", b"hello");
        world.write("source/folder/b", &noise(300_000));
        std::os::unix::fs::symlink("a", world.path("source/link")).unwrap();
        world
    }

    /// Makes a repository too, which the key file `key` opens.
    pub fn with_repository() -> Self {
        let world = Self::new();
        world.daykeep(&["init"]).succeeds();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Returns `program` with nothing in its environment but a home, and nothing to ask a password at.
    fn bare_program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path("home")).env("TZ", "UTC").current_dir(self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns `daykeep` with nothing configured.
    pub fn bare(&self, args: &[&str]) -> Run {
        let mut command = self.bare_program(env!("CARGO_BIN_EXE_daykeep"));
        command.args(args);
        Run(command)
    }

    /// Returns `daykeep` with the repository and its key file.
    pub fn daykeep(&self, args: &[&str]) -> Run {
        self.bare(args).env("DAYKEEP_REPOSITORY", "r.redb").env("DAYKEEP_KEY_FILE", "key")
    }

    /// As [`daykeep`](Self::daykeep), started by `env` with an option about signals. A test may itself run where
    /// signals are ignored.
    pub fn daykeep_with_signals(&self, option: &str, args: &[&str]) -> Run {
        let mut command = self.bare_program("env");
        command.arg(option).arg(env!("CARGO_BIN_EXE_daykeep")).args(args);
        Run(command).env("DAYKEEP_REPOSITORY", "r.redb").env("DAYKEEP_KEY_FILE", "key")
    }

    pub fn snapshot_count(&self) -> usize {
        self.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot").len()
    }
}

/// A command to run.
pub struct Run(Command);

/// How it ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn with_stdout(mut self, file: std::fs::File) -> Self {
        self.0.stdout(file);
        self
    }

    pub fn ends(mut self) -> Ended {
        Ended::of(self.0.output().unwrap())
    }

    /// Runs with `input` on standard input.
    pub fn ends_with_input(mut self, input: &[u8]) -> Ended {
        let mut child = self.0.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    pub fn succeeds(self) -> Ended {
        self.fails_with(0)
    }

    /// Runs to its end and demands an exit code.
    pub fn fails_with(self, code: i32) -> Ended {
        let ended = self.ends();
        assert_eq!(ended.code, code, "stdout: {}\nstderr: {}", ended.stdout, ended.stderr);
        ended
    }

    pub fn spawn(mut self) -> Child {
        self.0.spawn().unwrap()
    }

    /// Starts it with a standard input that stays open until the child's handle is dropped.
    pub fn spawn_with_input(mut self) -> Child {
        self.0.stdin(Stdio::piped()).spawn().unwrap()
    }
}

impl Ended {
    pub fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Returns the JSON objects on standard output that are of a type.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        self.all_objects().into_iter().filter(|object| object["type"] == kind).collect()
    }

    /// Returns every line of standard output as JSON.
    pub fn all_objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the last line of standard output as JSON.
    pub fn last_object(&self) -> Value {
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

/// Starts a backup that holds the repository until its standard input is closed, and waits until it does.
pub fn hold(world: &World) -> Child {
    let mut child = world
        .daykeep_with_signals("--default-signal=INT,TERM,HUP", &["backup", "--stdin", "--stdin-allow-empty", "--json"])
        .spawn_with_input();
    wait_for_line(child.stdout.as_mut().unwrap());
    child
}

/// Waits until something was printed.
pub fn wait_for_line(stdout: &mut ChildStdout) {
    let mut line = String::new();
    BufReader::with_capacity(1, stdout).read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "the program ended before it printed anything");
}

/// Returns bytes that nothing compresses, the same each time.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(count.div_ceil(8)).flatten().collect();
    bytes.truncate(count);
    bytes
}

/// Demands that two folders hold the same, byte for byte.
pub fn assert_same(left: &Path, right: &Path) {
    let status = Command::new("diff").args(["-r", "--no-dereference"]).arg(left).arg(right).status().unwrap();
    assert!(status.success(), "{} and {} differ", left.display(), right.display());
}
