//! Rank 2: a chunk as the difference from similar ones, and how to find these.
//!
//! A delta is a Zstandard frame (RFC 8878) whose prefix, what comes before it as far as matches go, is the bytes of its
//! bases, one after the other. Similar chunks share features: see [`Sketch`].

mod encode;
mod similar;
mod sketch;

pub use encode::{DeltaDecoder, DeltaEncoder};
pub use similar::{Candidate, Similar, likely_bases};
pub use sketch::{FEATURES, Sketch};
