//! Tests of `daykeep-bench compare` with stub rivals: what succeeds, fails, hangs, corrupts; and of its reports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and say why"
)]

mod browser;
mod compare;
mod conclude;
mod reports;
mod requests;
mod stubs;
