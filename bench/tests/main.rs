//! Tests of `daykeep-bench compare` with stub rivals: what succeeds, fails, hangs, corrupts; and of its reports.

mod browser;
mod compare;
mod reports;
mod stubs;
