//! What SQLite's own check finds wrong with a database, told by what it means.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::database::{connect, failed};
use super::schema;
use crate::base::CancelToken;
use crate::chunk::{HEADER_BYTES, has_encrypted_pages};
use crate::error::Result;

/// How many findings are asked for: those about pages come first, so whatever is lost is among them.
const FINDINGS_MAX: u32 = 100;
/// The most notes about one database.
const NOTES_MAX: usize = 20;
/// What only says that an index does not agree with its table. The rows are there; `REINDEX` makes the index anew.
const INDEX_FINDINGS: [&str; 7] = [
    " inverted index for FTS",
    " missing from index ",
    "wrong # of entries in index ",
    "non-unique entry in index ",
    " values differ from index ",
    "rowid not at end-of-record for row ",
    "row not in PRIMARY KEY order for ",
];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What is lost or damaged, first of all.
    pub damage: Option<String>,
    /// What else is to be known: indexes that do not agree with their tables, and what could not be checked.
    pub notes: Vec<String>,
}

impl Health {
    fn damaged(message: impl Into<String>) -> Self {
        Self { damage: Some(message.into()), notes: Vec::new() }
    }
}

/// Lets SQLite check the whole database at `path`, or what of it can be checked.
///
/// # Errors
/// `Database` if it cannot be checked, which says nothing of it; `Cancelled`.
pub fn check(path: &Path, name: &[u8], instructions_max: u64, cancel: &CancelToken) -> Result<Health> {
    if is_encrypted(path) {
        let note = "its pages are encrypted, so SQLite cannot check them".into();
        return Ok(Health { damage: None, notes: vec![note] });
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let checked = connect(path, instructions_max, cancel.clone()).and_then(|connection| {
        let health = match findings(&connection, &format!("PRAGMA integrity_check({FINDINGS_MAX})")) {
            Ok(findings) => sorted_out(&findings),
            // A module or tokenizer that only the program has: all can be checked but what is made by it.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => by_table(&connection, &error)?,
            Err(error) => return Err(error),
        };
        with_unknown_order(&connection, health)
    });
    checked.or_else(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(Health::damaged(error.to_string())),
        _ => Err(failed(&name, cancel, &error)),
    })
}

fn is_encrypted(path: &Path) -> bool {
    let mut head = [0; HEADER_BYTES];
    File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).is_ok() && has_encrypted_pages(&head)
}

fn findings(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let rows: Vec<String> = connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    // Some lines name the database only.
    let lines = rows.iter().flat_map(|row| row.lines()).filter(|line| *line != "ok" && !line.starts_with("***"));
    Ok(lines.map(str::to_owned).collect())
}

fn sorted_out(findings: &[String]) -> Health {
    let is_of_index = |line: &&String| INDEX_FINDINGS.iter().any(|part| line.contains(part));
    if let Some(line) = findings.iter().find(|line| !is_of_index(line)) {
        return Health::damaged(line.as_str());
    }
    let note = |line: &String| {
        format!(
            "its rows are all there, but an index does not agree with them ({line}): its program may have an order of its \
             own for text; if not, SQLite's REINDEX makes the index anew"
        )
    };
    Health { damage: None, notes: findings.first().map(note).into_iter().collect() }
}

/// Checks each ordinary table alone, since a check of all fails with `why`.
fn by_table(connection: &Connection, why: &rusqlite::Error) -> rusqlite::Result<Health> {
    let virtual_tables = schema::virtual_tables(connection)?;
    let note = match virtual_tables.as_slice() {
        [] => format!("not all of it could be checked: {why}"),
        [.., _] => format!(
            "not all of it could be checked ({why}): what its virtual table {} makes of its own tables is known to its \
             program only",
            virtual_tables.join(", ")
        ),
    };
    let mut health = Health { damage: None, notes: vec![note] };
    for table in schema::stored_tables(connection)? {
        let sql = format!("PRAGMA integrity_check(\"{}\")", table.replace('"', "\"\""));
        match findings(connection, &sql) {
            Ok(findings) => {
                let of_table = sorted_out(&findings);
                health.damage = health.damage.or(of_table.damage);
                health.notes.extend(of_table.notes);
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                health.notes.push(format!("its table {table} could not be checked: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    health.notes.truncate(NOTES_MAX);
    Ok(health)
}

/// Says of which collations only names are known here, instead of what follows from that.
fn with_unknown_order(connection: &Connection, health: Health) -> rusqlite::Result<Health> {
    let sql =
        "SELECT name FROM pragma_collation_list WHERE name NOT IN ('BINARY', 'NOCASE', 'RTRIM') ORDER BY name LIMIT 20";
    let unknown: Vec<String> = connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if unknown.is_empty() || health.damage.is_some() {
        return Ok(health);
    }
    let note = format!(
        "the order of its indexes was not checked, since only its program knows the collation {}",
        unknown.join(", ")
    );
    let others = health.notes.into_iter().filter(|note| !note.starts_with("its rows are all there"));
    Ok(Health { damage: None, notes: std::iter::once(note).chain(others).collect() })
}
