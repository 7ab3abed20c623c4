//! The command line as people and scripts use it, against the true engine.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod backup;
mod benchmark;
mod chats;
mod check;
mod copy;
mod default_repository;
mod diff;
mod failures;
mod find;
mod forget;
mod json;
mod keys;
mod latest;
mod prune;
mod repair;
mod rewrite;
mod round_trip;
mod signals;
mod tag;
mod world;
