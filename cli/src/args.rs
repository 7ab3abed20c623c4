//! What can be written on the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::values;

mod backup;
mod latest;
mod restore;
mod two;
mod upkeep;

pub use backup::{BackupArgs, SqliteMode};
pub use latest::LatestArgs;
pub use restore::{OverwriteArg, RestoreArgs};
pub use two::{CopyArgs, InitArgs, OtherKey};
pub use upkeep::{CheckArgs, PruneArgs, RepairArgs};

/// Encrypted, deduplicating backups of files, chats and media.
///
/// With nothing configured, `daykeep backup PATH` just works: it makes a repository under the user's data directory and
/// keeps its key file under the user's config directory.
#[derive(Parser, Debug)]
#[command(name = "daykeep", version, max_term_width = 100, after_help = EXIT_CODES, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, nothing recorded; or `check` found damage
  2    the command line cannot be understood, or an option cannot be used like that
  3    done, but something could not be read, restored or printed; it is named on stderr
  10   no such repository
  11   the repository is in use by another process
  12   wrong password or key
  130  interrupted

Environment:
  DAYKEEP_PASSWORD           the password, or the recovery key
  DAYKEEP_PASSWORD_FILE      a file whose first line is the password
  DAYKEEP_NEW_PASSWORD       the new password of `key add` and `key change-password`
  DAYKEEP_OTHER_PASSWORD     the password of the other repository of `copy` and `init`
  DAYKEEP_OTHER_PASSWORD_FILE  a file whose first line is that password
  and those named at the options above.";

/// Options that every command takes.
#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The repository: a file such as photos.redb, or a directory (an existing one, or written with / at its end).
    #[arg(short, long, global = true, value_name = "REPO", env = "DAYKEEP_REPOSITORY", hide_env_values = true)]
    pub repository: Option<OsString>,
    /// Open the repository with the recovery key in this file; `init` writes a new one to it.
    #[arg(long, global = true, value_name = "FILE", env = "DAYKEEP_KEY_FILE", hide_env_values = true)]
    pub key_file: Option<PathBuf>,
    /// Keep the rebuildable index of each repository here [default: $XDG_CACHE_HOME/daykeep or ~/.cache/daykeep].
    #[arg(long, global = true, value_name = "DIR", env = "DAYKEEP_CACHE_DIR", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print neither progress nor a summary, only warnings, errors and what was asked for.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more, such as each new or changed file.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Wait this long for another process to be done with the repository, e.g. 30s, 5m or 1h30m.
    #[arg(long, global = true, value_name = "DURATION", value_parser = values::duration, default_value = "0s")]
    #[arg(hide_default_value = true)]
    pub wait: Duration,
    /// Give buffers and caches this much memory, at least 64M [default: 128M].
    #[arg(long, global = true, value_name = "SIZE", value_parser = values::size)]
    pub memory: Option<usize>,
    /// Use this many threads; 0: one for each core.
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a repository.
    Init(InitArgs),
    /// Back up files and folders, or a stream.
    Backup(BackupArgs),
    /// List the snapshots.
    Snapshots(SnapshotsArgs),
    /// List the files of a snapshot.
    Ls(LsArgs),
    /// Bring files of a snapshot back.
    Restore(RestoreArgs),
    /// Show what the chat databases of a snapshot hold, or what came and went between two.
    Chats(ChatsArgs),
    /// Find which snapshots hold a file.
    ///
    /// Every version of what matches is shown with its size, its time and the snapshots that hold it.
    Find(FindArgs),
    /// Show what differs between two snapshots.
    ///
    /// Each line begins with what happened from A to B: `+` it came, `-` it went, `M` its content is another, `m` only its
    /// permissions, owner, time or attributes are, `T` it is of another type.
    Diff(DiffArgs),
    /// Change the tags of snapshots.
    ///
    /// A snapshot is written once and never changed: one with other tags is a new one with a new id, and the old one is
    /// removed.
    Tag(TagArgs),
    /// Copy snapshots to another repository.
    ///
    /// What it has already is passed over, and differences stay differences, so that the copy takes no more space. Make the
    /// other one with `init --copy-chunking-from`, and later backups to it find what was copied.
    Copy(CopyArgs),
    /// Take something out of snapshots.
    ///
    /// Each snapshot in which a pattern matches gets a copy without it. The old ones stay and the copies get the tag
    /// `rewrite`, unless --forget removes the old ones; then `prune` gives the space back.
    Rewrite(RewriteArgs),
    /// Forget snapshots by rules, or by name.
    ///
    /// A snapshot stays if any rule wants it. Rules look at the snapshots of each host and paths by themselves, by the clock
    /// of this machine. What only forgotten snapshots held is freed by pruning.
    Forget(ForgetArgs),
    /// Prove that everything is there and intact.
    Check(CheckArgs),
    /// Give back the space of what no snapshot needs any more.
    Prune(PruneArgs),
    /// Mend what can be mended, and copy the snapshots without what is lost.
    ///
    /// Lists packs anew by their footers where index objects are missing or damaged, stores what can be read of damaged
    /// packs in new ones, and gives each snapshot that has lost something a copy without it, with the tag `repaired`. No
    /// pack and no snapshot is deleted. What is lost is stored again by the next backup that sees it.
    Repair(RepairArgs),
    /// Show what the repository holds.
    Stats,
    /// Measure how fast backups are on this machine, and say what limits them.
    Benchmark(BenchmarkArgs),
    /// Manage what opens the repository.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Returns whether nothing is left of it but what it prints.
    pub const fn only_prints(&self) -> bool {
        match self {
            Self::Snapshots(_) | Self::Ls(_) | Self::Chats(_) | Self::Find(_) | Self::Diff(_) => true,
            Self::Check(args) => !args.repair && args.restore_test.is_none(),
            Self::Stats | Self::Benchmark(_) | Self::Completions { .. } => true,
            Self::Key(command) => matches!(command, KeyCommand::List | KeyCommand::ShowRecovery),
            Self::Init(_) | Self::Backup(_) | Self::Restore(_) | Self::Tag(_) | Self::Copy(_) => false,
            Self::Rewrite(_) | Self::Forget(_) | Self::Prune(_) | Self::Repair(_) => false,
        }
    }
}

#[derive(ClapArgs, Debug)]
pub struct SnapshotsArgs {
    /// Only those of this machine.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only those with this tag (can be repeated; then only those with all of them).
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Only those of this path (can be repeated; then only those of all of them).
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub struct LsArgs {
    /// `latest` or the first digits of an id; with `:PATH`, only what lies below that path.
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: OsString,
    /// Show permissions, owner, size and time too.
    #[arg(short, long)]
    pub long: bool,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct ChatsArgs {
    /// `latest` or the first digits of an id; with `:PATH`, only the databases at or below that path.
    #[arg(value_name = "SNAPSHOT[:PATH]", required_unless_present = "diff", conflicts_with = "diff")]
    pub snapshot: Option<OsString>,
    /// Show the messages that came, went or changed from A to B, each a SNAPSHOT or SNAPSHOT:PATH.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub diff: Vec<OsString>,
    /// Show so many of them in each chat, the latest of each sort.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "diff")]
    pub limit: usize,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct FindArgs {
    /// A name, a path or a pattern written as in .gitignore; several may be given. One with a slash before its end is
    /// anchored, at `/` if it begins with one, else at the current folder: write **/folder/*.jpg to find it at any depth.
    #[arg(value_name = "GLOB", required = true)]
    pub patterns: Vec<String>,
    /// Look only into this snapshot, `latest` or the first digits of an id; may be given many times.
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Vec<String>,
    /// Look only into snapshots of this machine.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Look only into the newest N of them.
    #[arg(long, value_name = "N")]
    pub newest: Option<usize>,
}

#[derive(ClapArgs, Debug)]
pub struct DiffArgs {
    /// `latest` or the first digits of an id; with `:PATH`, only what lies at or below that path.
    #[arg(value_name = "A[:PATH]")]
    pub before: OsString,
    /// The same.
    #[arg(value_name = "B[:PATH]")]
    pub after: OsString,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct TagArgs {
    /// `latest` or the first digits of an id; several may be given.
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshots: Vec<String>,
    /// First, take away all other tags and set this one; may be given many times, and empty for none.
    #[arg(long, value_name = "TAG", value_parser = values::tag_or_none)]
    pub set: Vec<String>,
    /// Then add this one; may be given many times.
    #[arg(long, value_name = "TAG", value_parser = values::tag)]
    pub add: Vec<String>,
    /// Last, take away this one; may be given many times.
    #[arg(long, value_name = "TAG")]
    pub remove: Vec<String>,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct RewriteArgs {
    /// `latest` or the first digits of an id; several may be given [default: all].
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Take out what this pattern matches, written as in .gitignore (can be repeated). One with a slash before its end is
    /// anchored, at `/` if it begins with one, else at the current folder: write **/folder/*.tmp to match at any depth.
    #[arg(short, long, value_name = "GLOB", required = true)]
    pub exclude: Vec<String>,
    /// Remove the old snapshots once the new ones are safe.
    #[arg(long)]
    pub forget: bool,
    /// Only show what would be taken out.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct ForgetArgs {
    /// Forget these and nothing else: `latest` or the first digits of an id.
    #[arg(value_name = "SNAPSHOT", conflicts_with = "policy")]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Look only at snapshots of this machine; with SNAPSHOT, choose `latest` among them.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// What makes snapshots belong together.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "host-paths")]
    pub group_by: GroupBy,
    /// Forget even the last snapshot of a group.
    #[arg(long)]
    pub allow_empty_groups: bool,
    /// Only show what would stay and what would go.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

#[derive(ClapArgs, Debug)]
#[group(id = "policy", multiple = true)]
pub struct PolicyArgs {
    /// Keep the newest N.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_last: u32,
    /// Keep the newest of each of the last N hours that have one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_hourly: u32,
    /// The same of days.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_daily: u32,
    /// The same of weeks, which begin on Monday.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_weekly: u32,
    /// The same of months.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_monthly: u32,
    /// The same of years.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_yearly: u32,
    /// Keep what is at most so much older than the newest, e.g. 1y5m7d3h: years, months, days, hours. If the first
    /// that is older lies more than that before the last one kept, as after a pause or a jump of the clock, the span counts
    /// once more, from it.
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub keep_within: Option<daykeep_engine::CalendarSpan>,
    /// Keep those with this tag; may be given many times.
    #[arg(long, value_name = "TAG")]
    pub keep_tag: Vec<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum GroupBy {
    /// The machine and the paths that were backed up.
    HostPaths,
    /// The machine.
    Host,
    /// All of them do.
    All,
}

#[derive(ClapArgs, Debug)]
pub struct BenchmarkArgs {
    /// A folder or file of yours to measure with; it is only read [default: generated data].
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Take an eighth of the time and space, for rougher figures.
    #[arg(long)]
    pub quick: bool,
    /// The zstd level to measure, 1 (fastest) to 19 (smallest) [default: 1].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: Option<i32>,
}

/// What to do with keys.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// List them.
    List,
    /// Add a password.
    Add {
        /// A word to know it by.
        #[arg(long, value_name = "LABEL", default_value = "password")]
        label: String,
        #[command(flatten)]
        new: NewPassword,
    },
    /// Replace the password.
    ChangePassword {
        #[command(flatten)]
        new: NewPassword,
    },
    /// Remove one.
    Remove {
        /// The first digits of its id, as `key list` shows it.
        id: String,
    },
    /// Print the recovery key, which opens the repository when the password is lost.
    ShowRecovery,
}

#[derive(ClapArgs, Debug)]
pub struct NewPassword {
    /// Take the new password from the first line of this file.
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
