//! Arguments of the commands that keep a repository well.

use std::ffi::OsString;

use clap::{ArgGroup, Args as ClapArgs};
use daykeep_engine::ReadData;

use super::LatestArgs;
use crate::values;

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("sample").args(["read_data_subset", "restore_test"]).multiple(true)))]
pub struct CheckArgs {
    /// Read and verify every chunk, not only the structure.
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read and verify some of the packs: a random sample, as 5% or 500M, or the N-th of T parts, as 1/7, so that T runs
    /// read all.
    #[arg(long, value_name = "SUBSET", value_parser = values::subset)]
    pub read_data_subset: Option<ReadData>,
    /// Write back as it was what is damaged and healed by its parity. Reads all data for that, as with --read-data, or what
    /// --read-data-subset names. For repositories made with `init --parity`.
    #[arg(long)]
    pub repair: bool,
    /// Restore a sample of the files of the latest snapshots into nothing, or all of them: databases are checked by SQLite,
    /// pictures and videos looked at. The day is noted in the repository, and `snapshots` shows it. A value needs the `=`:
    /// --restore-test=20%, --restore-test=all; without one it is 5%.
    #[arg(long, value_name = "PERCENT|all", num_args = 0..=1, require_equals = true, default_missing_value = "5%")]
    #[arg(value_parser = values::share)]
    pub restore_test: Option<u8>,
    /// Test this snapshot, `latest` or the first digits of an id, instead of the latest of each machine and paths; may be
    /// given many times.
    #[arg(long, value_name = "SNAPSHOT", requires = "restore_test")]
    pub snapshot: Vec<String>,
    /// Draw the same sample again that this number drew.
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub latest: LatestArgs,
}

#[derive(ClapArgs, Debug)]
pub struct PruneArgs {
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Leave so much of what stays unused; less means that more is rewritten.
    #[arg(long, value_name = "PERCENT", value_parser = values::percent, default_value = "5%")]
    pub max_unused: u8,
    /// Rewrite packs of at most this size together [default: as many as it takes].
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub max_repack: Option<usize>,
    /// Let a repository in one file give its free space back to the system, which may take long; without it that space is
    /// used for later backups. A directory never keeps any.
    #[arg(long, conflicts_with = "dry_run")]
    pub compact: bool,
}

#[derive(ClapArgs, Debug)]
pub struct RepairArgs {
    /// List all packs anew by their footers, whatever the index says.
    #[arg(long)]
    pub rebuild_index: bool,
    /// Read and verify every chunk: finds what is damaged inside of packs, as `check --read-data` does.
    #[arg(long)]
    pub read_data: bool,
    /// Save what can be found of a damaged repository that does not open any more into a new one at REPO; then repair that.
    /// The damaged one is only read. Forgotten snapshots and removed keys may come back.
    #[arg(long, value_name = "REPO", conflicts_with_all = ["rebuild_index", "read_data", "dry_run"])]
    pub rescue_to: Option<OsString>,
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
