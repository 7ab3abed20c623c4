//! Data sets for measuring backups, made from a seed: the same bytes on every machine, and a manifest that proves it.

pub mod chats;
pub mod error;
pub mod manifest;
pub mod random;
pub mod target;
pub mod text;
