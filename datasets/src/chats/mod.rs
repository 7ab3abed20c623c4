//! A phone's chats: an SQLite database with WhatsApp's tables, indexes and full-text table, that lives on day by day.
//!
//! Everything follows from the seed and the number of the day. Both are kept in the table `props`, so a database can be
//! advanced later and elsewhere, with the same bytes as if that had been done at once.

mod day;
mod history;
mod media;
mod pages;
mod people;
mod rows;
mod schema;
mod states;
#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use crate::chats::people::People;
use crate::error::Error;
use crate::random::Random;
use crate::text::Language;

pub use pages::encrypt;
pub use states::{DATABASE, ENCRYPTED, State, write_days};

/// The most messages of the first day, and of each further day.
pub const MESSAGES_MAX: u64 = 10_000_000;

/// When the first day ends: 2024-03-01 00:00 UTC, in milliseconds since 1970.
const START: i64 = 1_709_251_200_000;

/// What the database of the first day is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How many messages there are on the first day, at most [`MESSAGES_MAX`]. A message takes about 650 bytes.
    pub messages: u64,
    /// How many messages each further day brings, at most [`MESSAGES_MAX`]. They also say how many days the first
    /// messages spread over, at most three years.
    pub messages_per_day: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, messages: 600_000, messages_per_day: 3_000 }
    }
}

/// Writes the database of the first day to the new file `path`.
///
/// # Errors
/// A number exceeds its limit, or the file exists or cannot be written.
pub fn create(path: &Path, options: &Options) -> Result<(), Error> {
    if options.messages.max(options.messages_per_day) > MESSAGES_MAX {
        return Err(Error::refused(path, format!("more than {MESSAGES_MAX} messages are too many; ask for fewer")));
    }
    if path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let write = || {
        let connection = Connection::open_with_flags(path, flags() | OpenFlags::SQLITE_OPEN_CREATE)?;
        history::write(&connection, options)?;
        for (key, value) in [("seed", options.seed), ("messages_per_day", options.messages_per_day), ("day", 0)] {
            connection.execute("INSERT INTO props (key, value) VALUES (?1, ?2)", params![key, value.to_string()])?;
        }
        connection.close().map_err(|(_, error)| error)
    };
    write().map_err(Error::database(path))
}

/// Lets `days` days pass in the database `path`, which [`create`] wrote. The file is whole and closed afterwards.
///
/// # Errors
/// The file is no such database or cannot be written.
pub fn advance(path: &Path, days: u64) -> Result<(), Error> {
    (0..days).try_for_each(|_| live_a_day(path)).map_err(Error::database(path))
}

/// Opens the database for each day anew: SQLite counts changes once for each time that it holds the lock.
fn live_a_day(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, flags())?;
    connection.execute_batch(schema::CONNECTION)?;
    let seed = number(&connection, "seed")?;
    let messages = number(&connection, "messages_per_day")?.min(MESSAGES_MAX);
    let day = number(&connection, "day")?.saturating_add(1);
    let root = Random(seed).fork("chats");
    let language = Language::new(seed);
    let people = People::new(&root, START);
    let start = START.saturating_add((day as i64 - 1).saturating_mul(rows::DAY));
    day::write(&connection, &language, &people, &root, &root.fork("days").nth(day), start, messages)?;
    connection.execute("UPDATE props SET value = ?1 WHERE key = 'day'", [day.to_string()])?;
    connection.close().map_err(|(_, error)| error)
}

/// Returns the seed that the database `path` was made from.
fn seed_of(path: &Path) -> Result<u64, Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    connection.and_then(|connection| number(&connection, "seed")).map_err(Error::database(path))
}

fn flags() -> OpenFlags {
    // One thread holds a connection at a time, so SQLite need not lock its own memory.
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn number(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let text: String = connection.query_row("SELECT value FROM props WHERE key = ?1", [key], |row| row.get(0))?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}
