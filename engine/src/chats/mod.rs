//! Rank 8: looking into the chat databases of a snapshot, without restoring more than them.
//!
//! Databases are hostile input: they come from a phone, and whoever writes to it may have made them. Each is written to
//! a temporary file that nobody else can read, opened by SQLite as an immutable one with everything switched off that a
//! schema could abuse, read within limits of memory and instructions, and its file is gone before the first query.

mod database;
mod diff;
mod find;
mod health;
mod lines;
mod listing;
mod options;
mod run;
mod schema;
mod temporary;

pub(crate) use health::check as check_health;
pub use options::{
    Chat, ChatApp, ChatChanges, ChatsOptions, DatabaseChanges, DatabaseContent, DatabaseDiff, DatabaseReport, Message,
    Messages, TableChanges, TableRows,
};
pub(crate) use temporary::TemporaryFile;
