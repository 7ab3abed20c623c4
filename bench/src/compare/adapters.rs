//! The command lines of each tool, step by step.
//!
//! Every function returns `None` for what its tool cannot do, or what nobody has told it to do yet. All tools find the same environment
//! ([`Place::environment`]): a home and caches in the work folder, and their passwords.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::measure::Invocation;
use super::place::{PASSWORD, Place};

/// Makes an invocation of arguments of different types.
macro_rules! call {
    ($($argument:expr),* $(,)?) => {
        Invocation { arguments: vec![$(OsString::from($argument)),*], ..Invocation::default() }
    };
}

/// A step to do.
pub struct Job<'a> {
    /// The tool's program.
    pub program: &'a Path,
    /// The work folder.
    pub place: &'a Place,
    /// What is backed up: an absolute path of a folder.
    pub source: &'a Path,
    /// How many backups there have been with this one, from 1.
    pub number: usize,
    /// What to do.
    pub action: Action<'a>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Make the repository.
    Init,
    /// Back up. The state before is given where there was one and it lies in a folder of its own.
    Backup { before: Option<&'a Path> },
    /// Back up what has not changed.
    Unchanged,
    /// List the snapshots: little more than to open the repository.
    Open,
    /// Restore everything.
    Restore,
    /// Restore one file, given by its path in the source.
    RestoreOne(&'a Path),
    /// Forget all snapshots but so many, the latest, and give their space back.
    Forget { keep: usize },
    /// Check the repository with all data.
    Check,
}

impl Job<'_> {
    fn repository(&self) -> PathBuf {
        self.place.repository()
    }

    fn restored(&self) -> PathBuf {
        self.place.restored()
    }

    /// Returns the numbers of the backups that are not among the last `keep`, from 1.
    fn all_but(&self, keep: usize) -> std::ops::RangeInclusive<usize> {
        1..=self.number.saturating_sub(keep)
    }

    /// Returns an invocation of the shell, in whose script `"$0"` is the tool's program.
    fn shell(&self, script: &str, arguments: Vec<OsString>) -> Invocation {
        let mut call = call!["-c", script, self.program];
        call.program = "/bin/sh".into();
        call.arguments.extend(arguments);
        call
    }
}

/// Returns two paths joined by a colon.
fn after_colon(before: impl Into<OsString>, path: &Path) -> OsString {
    let mut text: OsString = before.into();
    text.push(":");
    text.push(path);
    text
}

pub fn daykeep_dir(job: &Job) -> Option<Invocation> {
    daykeep_directory(job, Secret::KeyFile)
}

pub fn daykeep_dir_password(job: &Job) -> Option<Invocation> {
    daykeep_directory(job, Secret::Password)
}

pub fn daykeep_redb(job: &Job) -> Option<Invocation> {
    daykeep_file(job, Secret::KeyFile)
}

pub fn daykeep_redb_password(job: &Job) -> Option<Invocation> {
    daykeep_file(job, Secret::Password)
}

/// What opens a repository of daykeep's. There is no option for a password, only variables.
enum Secret {
    KeyFile,
    Password,
}

fn daykeep_directory(job: &Job, secret: Secret) -> Option<Invocation> {
    // The slash at the end asks for a directory.
    let mut repository = job.repository().into_os_string();
    repository.push("/");
    daykeep(job, repository, &secret, "-q", "")
}

fn daykeep_file(job: &Job, secret: Secret) -> Option<Invocation> {
    let backs_up = matches!(job.action, Action::Backup { .. } | Action::Unchanged);
    // The one file becomes shorter only if that is asked for.
    daykeep(job, job.repository().into(), &secret, if backs_up { "--json" } else { "-q" }, "--compact")
}

/// `prune` is how the repository is pruned beside what is done by default.
fn daykeep(job: &Job, repository: OsString, secret: &Secret, output: &str, prune: &str) -> Option<Invocation> {
    let mut call = call![output, "-r", repository];
    match secret {
        Secret::KeyFile => call.arguments.extend(["--key-file".into(), job.place.key().into()]),
        Secret::Password => call.variables.push(("DAYKEEP_PASSWORD", PASSWORD)),
    }
    let more = match job.action {
        Action::Init => call!["init"],
        Action::Backup { .. } | Action::Unchanged => call!["backup", job.source],
        Action::Open => call!["snapshots"],
        Action::Restore => call!["restore", "latest", "--target", job.restored()],
        Action::RestoreOne(file) => {
            call!["restore", after_colon("latest", &job.source.join(file)), "--target", job.restored()]
        }
        Action::Check => call!["check", "--read-data"],
        Action::Forget { keep } => {
            let script = format!(r#""$0" "$@" forget --keep-last {keep} && "$0" "$@" prune {prune}"#);
            return Some(Invocation { variables: call.variables, ..job.shell(&script, call.arguments) });
        }
    };
    call.arguments.extend(more.arguments);
    Some(call)
}

/// Returns `bytes_stored` of the summary that `daykeep --json backup` prints last.
pub fn daykeep_stored(output: &str) -> Option<u64> {
    let summary: serde_json::Value = serde_json::from_str(output.lines().last()?).ok()?;
    summary.get("bytes_stored")?.as_u64()
}

pub fn restic(job: &Job) -> Option<Invocation> {
    let mut call = call!["-q", "-r", job.repository()];
    let more = match job.action {
        Action::Init => call!["init"],
        Action::Backup { .. } | Action::Unchanged => call!["backup", job.source],
        Action::Open => call!["snapshots"],
        Action::Restore => call!["restore", "latest", "--target", job.restored()],
        Action::RestoreOne(file) => {
            call!["restore", "latest", "--target", job.restored(), "--include", job.source.join(file)]
        }
        Action::Forget { keep } => call!["forget", "--keep-last", keep.to_string(), "--prune"],
        Action::Check => call!["check", "--read-data"],
    };
    call.arguments.extend(more.arguments);
    Some(call)
}

pub fn rustic(job: &Job) -> Option<Invocation> {
    let mut call = call!["--no-progress", "-r", job.repository()];
    let more = match job.action {
        Action::Init => call!["init"],
        Action::Backup { .. } | Action::Unchanged => call!["backup", job.source],
        Action::Open => call!["snapshots"],
        Action::Restore => call!["restore", "latest", job.restored()],
        Action::RestoreOne(file) => call!["restore", after_colon("latest", &job.source.join(file)), job.restored()],
        // Otherwise what is not needed any more would only be marked, and be deleted a day later.
        Action::Forget { keep } => call!["forget", "--keep-last", keep.to_string(), "--prune", "--instant-delete"],
        Action::Check => call!["check", "--read-data"],
    };
    call.arguments.extend(more.arguments);
    Some(call)
}

pub fn borg(job: &Job) -> Option<Invocation> {
    let archive = |number: usize| {
        let mut text = job.repository().into_os_string();
        text.push(format!("::backup-{number}"));
        text
    };
    // Borg stores paths without the slash at their beginning, and extracts into the folder it runs in.
    let stored = |path: PathBuf| path.strip_prefix("/").map(Path::to_owned).unwrap_or(path);
    let inside = |mut call: Invocation| {
        call.folder = Some(job.restored());
        call.create = vec![job.restored()];
        call
    };
    Some(match job.action {
        Action::Init => call!["init", "-e", "repokey-blake2", job.repository()],
        Action::Backup { .. } | Action::Unchanged => call!["create", archive(job.number), job.source],
        Action::Open => call!["list", job.repository()],
        Action::Restore => inside(call!["extract", archive(job.number)]),
        Action::RestoreOne(file) => inside(call!["extract", archive(job.number), stored(job.source.join(file))]),
        // By name: its rule of the last ones counts one archive for each second, and these come faster.
        Action::Forget { keep } => {
            let names = job.all_but(keep).map(|number| format!("backup-{number}").into());
            let script = "repository=$1; shift; \"$0\" delete \"$repository\" \"$@\" && \"$0\" compact \"$repository\"";
            job.shell(script, std::iter::once(job.repository().into()).chain(names).collect())
        }
        Action::Check => call!["check", "--verify-data", job.repository()],
    })
}

pub fn conserve(job: &Job) -> Option<Invocation> {
    Some(match job.action {
        Action::Init => call!["init", job.repository()],
        Action::Backup { .. } | Action::Unchanged => call!["backup", "--no-progress", job.repository(), job.source],
        Action::Open => call!["versions", job.repository()],
        Action::Restore => call!["restore", "--no-progress", job.repository(), job.restored()],
        Action::RestoreOne(file) => {
            // It makes no parents of what alone is restored.
            let only = Path::new("/").join(file);
            let parent = job.restored().join(file.parent().unwrap_or(Path::new("")));
            Invocation {
                create: vec![parent],
                ..call!["restore", "--no-progress", "-f", "-i", only, job.repository(), job.restored()]
            }
        }
        // This deletes the blocks too that nothing refers to any more. Its first backup is b0000.
        Action::Forget { keep } => {
            let names: Vec<String> = job.all_but(keep).map(|number| format!("b{:04}", number - 1)).collect();
            call!["delete", "--no-progress", "-b", names.join(","), job.repository()]
        }
        Action::Check => call!["validate", "--no-progress", job.repository()],
    })
}

pub fn kopia(job: &Job) -> Option<Invocation> {
    Some(match job.action {
        Action::Init => call!["repository", "create", "filesystem", "--path", job.repository()],
        Action::Backup { .. } | Action::Unchanged => call!["snapshot", "create", "--no-progress", job.source],
        Action::Open => call!["snapshot", "list"],
        Action::Restore => call!["restore", "--no-progress", job.source, job.restored()],
        Action::RestoreOne(file) => call!["restore", "--no-progress", job.source.join(file), job.restored()],
        Action::Check => call!["snapshot", "verify", "--verify-files-percent=100"],
        Action::Forget { .. } => return None,
    })
}

pub fn bupstash(job: &Job) -> Option<Invocation> {
    let query = format!("number={}", job.number);
    Some(match job.action {
        // The key does not exist before the repository: both are made in one step.
        Action::Init => job.shell("\"$0\" init && \"$0\" new-key -o \"$1\"", vec![job.place.key().into()]),
        Action::Backup { .. } | Action::Unchanged => call!["put", "-q", query, job.source],
        Action::Open => call!["list"],
        Action::Restore => {
            Invocation { create: vec![job.restored()], ..call!["restore", "-q", "--into", job.restored(), query] }
        }
        Action::RestoreOne(file) => job.shell(
            "\"$0\" get -q --pick \"$1\" \"$2\" >\"$3\"",
            vec![file.into(), query.into(), job.restored().into()],
        ),
        Action::Check | Action::Forget { .. } => return None,
    })
}

/// Duplicacy restores to the folder that its preferences name, so a restore begins with preferences of its own.
const DUPLICACY_RESTORE: &str = "\"$0\" init -e -repository \"$1\" bench \"$2\" && shift 2 && \"$0\" restore \"$@\"";

pub fn duplicacy(job: &Job) -> Option<Invocation> {
    let restore = |file: Option<&Path>| {
        let number = job.number.to_string();
        let mut arguments: Vec<OsString> =
            vec![job.restored().into(), job.repository().into(), "-r".into(), number.into()];
        arguments.extend(file.map(|file| file.as_os_str().to_owned()));
        job.shell(DUPLICACY_RESTORE, arguments)
    };
    // The folder it runs in holds the preferences.
    let mut folder = job.place.path("home/duplicacy");
    let mut call = match job.action {
        Action::Init => call!["init", "-e", "-repository", job.source, "bench", job.repository()],
        Action::Backup { .. } | Action::Unchanged => call!["backup"],
        Action::Open => call!["list"],
        Action::Restore => restore(None),
        Action::RestoreOne(file) => restore(Some(file)),
        Action::Check => call!["check", "-chunks"],
        Action::Forget { .. } => return None,
    };
    match job.action {
        Action::Restore => folder.set_file_name("duplicacy-restore"),
        Action::RestoreOne(_) => folder.set_file_name("duplicacy-restore-one"),
        _ => {}
    }
    call.create = vec![folder.clone(), job.repository(), job.restored()];
    call.folder = Some(folder);
    Some(call)
}

pub fn cp(job: &Job) -> Option<Invocation> {
    let copy = |number: usize| job.repository().join(number.to_string());
    Some(match job.action {
        Action::Backup { .. } => {
            Invocation { create: vec![job.repository()], ..call!["-r", job.source, copy(job.number)] }
        }
        Action::Restore => call!["-r", copy(job.number), job.restored()],
        Action::RestoreOne(file) => call![copy(job.number).join(file), job.restored()],
        Action::Init | Action::Unchanged | Action::Open | Action::Check | Action::Forget { .. } => return None,
    })
}

/// Compresses every file of the folder, against the file of the same name of the day before if there is one.
const PATCH_SCRIPT: &str = r#"
cd "$1" && for file in *; do
    if [ ! -f "$file" ]; then continue; fi
    if [ -f "$2/$file" ]; then
        "$0" -q --long=31 --patch-from="$2/$file" "$file" -o "$3/$file.zst" || exit
    else
        "$0" -q "$file" -o "$3/$file.zst" || exit
    fi
done"#;

pub fn zstd(job: &Job) -> Option<Invocation> {
    let Action::Backup { before: Some(before) } = job.action else { return None };
    let is_folder = |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.path().is_dir());
    // A program for each file of a large tree would measure the start of programs.
    if std::fs::read_dir(job.source).ok()?.any(is_folder) {
        return None;
    }
    let to = job.repository().join(job.number.to_string());
    let call = job.shell(PATCH_SCRIPT, vec![job.source.into(), before.into(), to.clone().into()]);
    Some(Invocation { create: vec![to], ..call })
}

pub fn walk(job: &Job) -> Option<Invocation> {
    (job.action == Action::Unchanged).then(|| call!["walk", job.source])
}
