//! Rank 8: rewrite: copies of snapshots without something, and the machinery for that.

mod options;
mod run;
mod trees;

pub use options::{RewriteOptions, RewriteReport, Rewritten};
pub(crate) use trees::{Keep, RewrittenTree, Trees};
