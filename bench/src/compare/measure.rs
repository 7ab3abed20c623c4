//! Running one command with a limit, and what it took.
//!
//! The command is not started by the comparison itself but by a small copy of this program, [`child_main`], which runs
//! nothing else. So `getrusage` of its children is exactly that command with all its descendants, and the memory that a
//! process has before it becomes the command, which the kernel counts as the command's peak, is that of the small copy.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid};
use serde::{Deserialize, Serialize};

use super::Error;
use super::interrupt::Interrupt;
use super::place::Place;

/// The first argument that makes this program the small copy.
pub const CHILD_ARGUMENT: &str = "run-measured";
/// How often the comparison looks whether the command has ended; the time is taken elsewhere.
const POLL: Duration = Duration::from_millis(4);
/// How long killed processes are waited for.
const GROUP_LIMIT: Duration = Duration::from_secs(1);
/// How much of what a failed command wrote is kept.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 4;
/// In what part of a second Linux tells processor time to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// From before the start to after the end, by the monotonic clock.
    pub seconds: f64,
    /// Processor time outside the kernel, of the command and all its descendants that it waited for.
    pub user_seconds: f64,
    /// Processor time in the kernel, of the same.
    pub system_seconds: f64,
    /// The most memory that was resident in any one of these processes.
    pub peak_bytes: u64,
    /// Bytes asked of the kernel by reading, whether they came from a disk or from memory.
    pub read_bytes: u64,
    /// Bytes given to the kernel by writing.
    pub written_bytes: u64,
    /// Bytes that were read from a disk; 0 in memory.
    pub disk_read_bytes: u64,
    /// Bytes that were made to be written to a disk; 0 in memory.
    pub disk_written_bytes: u64,
    /// Processor time that others used or took meanwhile: other programs, and what a shared machine's host kept back.
    /// The system counts that in hundredths of a second, so of a short run it may come out a little below 0.
    pub other_seconds: f64,
}

/// A command to run.
#[derive(Debug, Default)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder to run it in; the home folder of the work folder if not given.
    pub folder: Option<PathBuf>,
    /// Folders to create before, which is not measured.
    pub create: Vec<PathBuf>,
    /// Variables that it finds beside those of every run.
    pub variables: Vec<(&'static str, &'static str)>,
}

impl Invocation {
    /// Returns the words of the command as a shell would take them: variables, program, arguments.
    pub fn line(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={}", quoted(value.as_ref())));
        let words = std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        variables.chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns a word as a shell must be given it. Bytes that are no text stay readable and lose nothing.
pub fn quoted(word: &OsStr) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(byte);
    let bytes = word.as_bytes();
    match word.to_str() {
        Some(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(|c| c.is_control() && c != '\n') => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let shown = bytes.iter().map(|&byte| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).to_string(),
                byte => format!("\\x{byte:02x}"),
            });
            format!("$'{}'", shown.collect::<String>())
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With exit code 0.
    Done(Measures),
    /// With another exit code, by a signal, or not at all; the text says which, with the last lines it wrote.
    Failed(String),
    /// It was killed, with all processes of its group.
    TimedOut,
}

/// What the small copy reports.
#[derive(Serialize, Deserialize)]
enum ChildReport {
    /// The command ran: how it ended, as `wait` gives it, and what it took.
    Ran { status: i32, measures: Measures },
    /// The command could not be started.
    NotStarted(String),
}

/// Runs commands in the work folder.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// The work folder.
    pub place: &'a Place,
    /// How long a command may take.
    pub limit: Duration,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Runs a command to its end, within the limit. Its output is in the work folder until the next run.
    ///
    /// # Errors
    /// An interrupt, which kills the command first; a failure of the work folder. What goes wrong with the command is
    /// not an error but [`Ended::Failed`].
    pub fn run(&self, invocation: &Invocation) -> Result<Ended, Error> {
        self.interrupt.check()?;
        for folder in &invocation.create {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        // What the run before has left to write must not fall into this one.
        self.place.sync();
        let report = self.place.path("report.json");
        let _ = fs::remove_file(&report);
        let output = |name: &str| {
            let path = self.place.path(name);
            File::create(&path).map_err(Error::file("create", &path))
        };
        let own = std::env::current_exe().map_err(Error::file("find", Path::new("this program")))?;
        let mut child = Command::new(&own)
            .arg(CHILD_ARGUMENT)
            .arg(&report)
            .arg(&invocation.program)
            .args(&invocation.arguments)
            .env_clear()
            .envs(self.place.environment())
            .envs(self.place.passed().iter().map(|(name, value)| (name, value)))
            .envs(invocation.variables.iter().copied())
            .current_dir(invocation.folder.as_deref().unwrap_or(&self.place.path("home")))
            .stdin(Stdio::null())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .process_group(0)
            .spawn()
            .map_err(Error::file("start", &own))?;
        let pid = Pid::from_child(&child);
        let ended = self.wait(pid);
        // The group is ended in any case: what a command leaves behind would run beside the next one. The leader is
        // waited for only afterwards, so its number cannot belong to somebody else yet.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
        wait_for_group(pid);
        if !ended? {
            return Ok(Ended::TimedOut);
        }
        self.outcome(&report)
    }

    /// Waits for the end and returns whether it came in time.
    fn wait(&self, pid: Pid) -> Result<bool, Error> {
        let begun = Instant::now();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(pid), options) {
                Ok(Some(_)) => return Ok(true),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::file("wait for", Path::new("the command"))(error.into())),
            }
            self.interrupt.check()?;
            if begun.elapsed() > self.limit {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }

    fn outcome(&self, report: &Path) -> Result<Ended, Error> {
        let Some(report) = fs::read(report).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
            let reason =
                if self.place.is_full() { self.full("it left no report") } else { "killed from outside".into() };
            return Ok(Ended::Failed(reason));
        };
        let (status, measures) = match report {
            ChildReport::Ran { status, measures } => (ExitStatus::from_raw(status), measures),
            ChildReport::NotStarted(reason) => return Ok(Ended::Failed(format!("could not be started: {reason}"))),
        };
        if status.success() {
            return Ok(Ended::Done(measures));
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        let said = [self.place.path("stderr"), self.place.path("stdout")]
            .iter()
            .map(|path| tail(path))
            .find(|text| !text.is_empty());
        let reason = match &said {
            Some(text) => format!("{how}: {text}"),
            None => format!("{how}, without a word"),
        };
        // Some programs take their last files away before they end, so what they say counts too.
        let is_full = self.place.is_full() || said.is_some_and(|text| tells_of_full_disk(&text));
        Ok(Ended::Failed(if is_full { self.full(&reason) } else { reason }))
    }

    /// Says that not the command but the disk is at fault.
    fn full(&self, reason: &str) -> String {
        let base = self.place.root().parent().unwrap_or_else(|| self.place.root());
        let disk = base.display();
        format!("the work disk is full ({disk}): free some space or name another folder with --work ({reason})")
    }

    /// Returns the last part of what the last command wrote to standard output, at most 4 KiB.
    pub fn output(&self) -> String {
        read_end(&self.place.path("stdout")).unwrap_or_default()
    }

    /// Returns the last part of what the last command wrote to standard error, at most 4 KiB.
    pub fn complaints(&self) -> String {
        read_end(&self.place.path("stderr")).unwrap_or_default()
    }
}

/// Returns whether a program complains of a full disk.
fn tells_of_full_disk(text: &str) -> bool {
    let text = text.to_lowercase();
    ["no space left", "os error 28", "enospc", "disk quota exceeded"].iter().any(|words| text.contains(words))
}

/// Waits until no process of a killed group is left, since one that dies may still write into the work folder.
fn wait_for_group(group: Pid) {
    let begun = Instant::now();
    // Whoever should wait for a dead orphan may not do so, which is no reason to stay here.
    while test_kill_process_group(group).is_ok() && begun.elapsed() < GROUP_LIMIT {
        std::thread::sleep(POLL);
    }
}

fn read_end(path: &Path) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the last lines of a file that say something, as one line.
fn tail(path: &Path) -> String {
    let text = read_end(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join(" / ").chars().filter(|c| !c.is_control()).collect()
}

/// The small copy: runs a command and writes what it took into a file. `arguments`: that file, the program, its
/// arguments.
pub fn child_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(report), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::FAILURE;
    };
    let outcome = run_here(&program, arguments).unwrap_or_else(|error| ChildReport::NotStarted(error.to_string()));
    let written = serde_json::to_vec(&outcome).map_err(io::Error::from).and_then(|bytes| fs::write(report, bytes));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_here(program: &OsString, arguments: impl Iterator<Item = OsString>) -> io::Result<ChildReport> {
    let mut command = Command::new(program);
    command.args(arguments);
    let all_before = busy_seconds();
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    while let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let all_seconds = busy_seconds() - all_before;
    // Counted by the kernel until the process is waited for, with the descendants that it waited for itself.
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
    let status = child.wait()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let counted = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let user_seconds = usage.user_time().num_microseconds() as f64 / 1e6;
    let system_seconds = usage.system_time().num_microseconds() as f64 / 1e6;
    let measures = Measures {
        seconds,
        user_seconds,
        system_seconds,
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
        read_bytes: counted("rchar"),
        written_bytes: counted("wchar"),
        disk_read_bytes: counted("read_bytes"),
        disk_written_bytes: counted("write_bytes"),
        other_seconds: all_seconds - user_seconds - system_seconds,
    };
    Ok(ChildReport::Ran { status: status.into_raw(), measures })
}

/// Returns for how long all processors together have been busy, or kept back by the host of a virtual machine; 0 where
/// the system does not tell.
fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("cpu ")) else { return 0.0 };
    // user, nice, system, idle, waiting for disks, interrupts of two kinds, kept back; guests are part of user.
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let busy: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&index| ticks.get(index)).sum();
    busy / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_line_can_be_given_to_a_shell() {
        let words = ["plain-1.2", "", "two words", "it's", "$HOME", "a\nb", "tab\t"].map(OsString::from);
        let strange = OsString::from_vec(b"\xff'\\".to_vec());
        let arguments: Vec<OsString> = words.into_iter().chain([strange]).collect();
        let call = Invocation { program: "printf".into(), arguments: arguments.clone(), ..Invocation::default() };
        let script = call.line().replacen("printf", "printf '%s\\0'", 1);
        let Ok(output) = Command::new("bash").args(["-c", &script]).output() else { return };
        let wanted: Vec<u8> = arguments.iter().flat_map(|word| [word.as_bytes(), &b"\0"[..]].concat()).collect();
        assert_eq!(output.stdout, wanted, "{script}");
    }

    #[test]
    fn complaints_of_a_full_disk_are_known() {
        assert!(tells_of_full_disk("Fatal: write /x: no space left on device"));
        assert!(tells_of_full_disk("cannot write (os error 28)"));
        assert!(!tells_of_full_disk("the disk is on fire"));
    }
}
