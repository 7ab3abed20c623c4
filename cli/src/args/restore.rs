//! The options of `restore`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use crate::args::LatestArgs;

#[derive(ClapArgs, Debug)]
pub struct RestoreArgs {
    /// `latest` or the first digits of an id: rebuilds the absolute paths below DIR; with `:PATH`: puts the content of
    /// PATH into DIR itself.
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: OsString,
    /// Where to.
    #[arg(short, long, value_name = "DIR")]
    pub target: PathBuf,
    /// Restore only what this pattern matches, written as in .gitignore (can be repeated).
    ///
    /// A slash at the start stands for the snapshot's root, or for PATH in SNAPSHOT:PATH. A pattern with a slash before its
    /// end is taken from the current folder, or from PATH; one without matches at any depth. One that matches nothing ends
    /// the command with exit code 3.
    #[arg(short, long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out what this pattern matches, written as for --include (can be repeated).
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Change nothing and tell what would be written and removed.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Read everything back and compare it with the snapshot.
    #[arg(long)]
    pub verify: bool,
    /// What to do with files that are at the target already.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "always")]
    pub overwrite: OverwriteArg,
    /// Remove what the target has and the snapshot has not.
    ///
    /// Only in folders that are part of what is restored, and not in one in which the backup left something out. Mount
    /// points, the repository and its cache stay. Try it with --dry-run first, which lists what would go.
    #[arg(long)]
    pub delete: bool,
    /// With --delete, remove it even where the backup left something out.
    #[arg(long, requires = "delete")]
    pub delete_excluded: bool,
    /// Follow symbolic links at the target that lie above what is restored.
    ///
    /// For a system on which `/home` is a link, for instance. Whoever can change such a link decides where files go.
    #[arg(long)]
    pub follow_target_links: bool,
    /// Set owners by number, even where this system knows their names.
    #[arg(long)]
    pub numeric_owner: bool,
    /// Restore set-user-id and set-group-id bits as a user too, of files that belong to the user.
    ///
    /// Root restores them always. In somebody else's repository a number may be yours by chance.
    #[arg(long)]
    pub set_id: bool,
    /// Seal what was inside WhatsApp's encrypted files again, so that a phone reads it: this file holds the key that had
    /// opened them (can be repeated).
    #[arg(long, value_name = "FILE")]
    pub whatsapp_seal: Vec<PathBuf>,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum OverwriteArg {
    /// Replace them.
    Always,
    /// Replace those that differ in size or time.
    IfChanged,
    /// Keep them.
    Never,
}
