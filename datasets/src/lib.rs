//! Data sets for measuring backups, made from a seed: the same bytes on every machine.

mod draw;
pub mod files;
mod folder;
pub mod media;
pub mod random;
pub mod versions;
