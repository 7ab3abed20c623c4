//! Rank 2: where files are cut. Pure functions of the bytes, the repository's parameters and its gear table.

mod class;
mod cutter;
mod parallel;

pub use class::{HEADER_BYTES, SNIFF_BYTES, has_encrypted_pages, may_be_encrypted, sniff, sniff_encrypted};
pub use cutter::{Chunker, Cutter, DEFAULT_PARAMS};
pub use parallel::cut_all;
