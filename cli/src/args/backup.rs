//! Arguments of `backup`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use crate::values;

#[derive(ClapArgs, Debug)]
pub struct BackupArgs {
    /// Files and folders to back up; with --stdin-from-command, the command and its arguments.
    #[arg(value_name = "PATH", required_unless_present_any = ["stdin", "files_from"], conflicts_with = "stdin")]
    pub paths: Vec<PathBuf>,
    /// Back up the files and folders named in this file too, one in each line or with NUL between them; `-`: standard
    /// input (can be repeated).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdin", "stdin_from_command"])]
    pub files_from: Vec<PathBuf>,
    /// Leave out what this pattern matches, written as in .gitignore (can be repeated). A pattern with a slash before its
    /// end is anchored: at `/` if it begins with one, else at the current folder. One without, or with `**/` at its start,
    /// matches at any depth.
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// As --exclude, without regard to upper and lower case (can be repeated).
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    /// Leave out what the patterns in this file match, one in each line (can be repeated). There a pattern with a slash
    /// before its end is anchored at `/`, and a line that begins with `#` is a comment.
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Leave out the content of folders that a CACHEDIR.TAG marks as caches.
    #[arg(long)]
    pub exclude_caches: bool,
    /// Leave out the content of folders that hold a file of this name, such as .nobackup (can be repeated).
    #[arg(long, value_name = "FILE", value_parser = values::file_name)]
    pub exclude_if_present: Vec<std::ffi::CString>,
    /// Leave out files larger than this, e.g. 500M.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub exclude_larger_than: Option<usize>,
    /// Do not descend into other file systems.
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// A word to find the snapshot by; may be given many times.
    #[arg(long, value_name = "TAG", value_parser = values::tag)]
    pub tag: Vec<String>,
    /// The machine's name, if the snapshot shall have another than the system's.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Do everything but store.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Read every file, even those that look unchanged since the last snapshot. Programs that write through memory maps
    /// (LMDB, Realm) may change a file without changing its times for a while.
    #[arg(short, long)]
    pub force: bool,
    /// Take a file for unchanged though its inode number is another, for file systems that number their files anew (some
    /// network and FUSE file systems).
    #[arg(long, conflicts_with = "force")]
    pub ignore_inode: bool,
    /// Take a file for unchanged though the time of its last status change (ctime) is another. A file that is replaced with
    /// its time kept is not seen then.
    #[arg(long, conflicts_with = "force")]
    pub ignore_ctime: bool,
    /// Back up standard input as one file.
    #[arg(long)]
    pub stdin: bool,
    /// Run the command that follows `--`, and back up what it prints as one file. If it fails there is no snapshot.
    #[arg(long, conflicts_with = "stdin")]
    pub stdin_from_command: bool,
    /// The path of that file in the snapshot [default: stdin].
    #[arg(long, value_name = "NAME")]
    pub stdin_filename: Option<String>,
    /// Save a file without content if nothing comes from standard input or the command.
    #[arg(long)]
    pub stdin_allow_empty: bool,
    /// What to do with SQLite databases in use: save one committed state of each, which holds what its log or journal
    /// holds; check that too; or save their files as they are.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SqliteMode::Auto)]
    pub sqlite: SqliteMode,
    /// Save the databases inside WhatsApp's encrypted files (.crypt12, .crypt14, .crypt15): this file holds the 64 digits
    /// that WhatsApp showed, or is its key file (can be repeated).
    #[arg(long, value_name = "FILE", env = "DAYKEEP_WHATSAPP_KEY_FILE")]
    pub whatsapp_key_file: Vec<PathBuf>,
    /// The zstd level, 1 (fastest) to 19 (smallest) [default: 1].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: Option<i32>,
}

/// What is done with SQLite databases in use.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SqliteMode {
    /// Their files are saved as they are.
    Off,
    /// They are taken through SQLite.
    Auto,
    /// They are taken through SQLite and checked.
    Verify,
}
