//! Rank 1: every byte that goes to disk, mirrored by `docs/format.md`.

pub mod codec;
pub mod config;
pub mod content;
pub mod extension;
pub mod header;
pub mod index;
pub mod key_slot;
mod metadata;
pub mod pack;
pub mod parity;
pub mod proof;
pub mod snapshot;
pub mod tree;
pub mod twice;
