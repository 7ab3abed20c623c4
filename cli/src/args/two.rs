//! Arguments of the commands that work with two repositories.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::LatestArgs;
use crate::values;

#[derive(ClapArgs, Debug)]
pub struct InitArgs {
    /// Cut files as this other repository does, so that what is copied from it is found by later backups.
    #[arg(long, value_name = "REPO")]
    pub copy_chunking_from: Option<OsString>,
    /// Add so much parity to what is stored, by which `check --repair` and restores heal sectors and bytes that a disk has
    /// lost; 5% is a good measure.
    #[arg(long, value_name = "PERCENT", value_parser = values::percent, default_value = "0%", hide_default_value = true)]
    pub parity: u8,
    #[command(flatten)]
    pub other: OtherKey,
}

#[derive(ClapArgs, Debug)]
pub struct CopyArgs {
    /// The other repository.
    #[arg(long, value_name = "REPO", env = "DAYKEEP_OTHER_REPOSITORY", hide_env_values = true)]
    pub to: OsString,
    /// `latest` or the first digits of an id; several may be given; none: all.
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub other: OtherKey,
    /// The zstd level for what is compressed again, 1 (fastest) to 19 (smallest) [default: 1].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: Option<i32>,
    #[command(flatten)]
    pub latest: LatestArgs,
}

/// What opens the other one of two repositories; or DAYKEEP_OTHER_PASSWORD or DAYKEEP_OTHER_PASSWORD_FILE does.
#[derive(ClapArgs, Debug)]
pub struct OtherKey {
    /// Open the other repository with the recovery key in this file.
    #[arg(long, value_name = "FILE", env = "DAYKEEP_OTHER_KEY_FILE", hide_env_values = true)]
    pub other_key_file: Option<PathBuf>,
}
