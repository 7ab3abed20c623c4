//! Data sets for measuring backups, made from a seed: the same bytes on every machine, and a manifest that proves it.

pub mod chats;
pub mod error;
pub mod files;
pub mod folder;
pub mod manifest;
pub mod media;
pub mod random;
pub mod text;
pub mod versions;
pub mod writer;
