//! What the test suite shares: temporary places, trees and their comparison, repositories, stores that fail, disks that
//! lose power, processes to be killed, a forge for repositories that no honest program would write, and an encoder of
//! WhatsApp's backups.

pub mod bad_file;
pub mod faults;
pub mod forge;
pub mod inventory;
pub mod killed;
pub mod noise;
pub mod place;
pub mod power;
pub mod stores;
pub mod trees;
pub mod whatsapp;

/// Returns whether the long versions of the tests were asked for, by `DAYKEEP_LONG=1`.
pub fn is_long() -> bool {
    std::env::var_os("DAYKEEP_LONG").is_some_and(|value| value == "1")
}

/// Returns whether root runs the tests, who may make device nodes and give files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the root of the workspace.
pub fn workspace() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), std::path::Path::to_path_buf)
}
