//! SQLite, opened so that a hostile database can do no harm.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use crate::base::CancelToken;
use crate::error::{Error, Result};

/// How many instructions of SQLite's virtual machine one database may take: some minutes. Honest ones of a million
/// messages take a hundredth.
pub const INSTRUCTIONS_MAX: u64 = 10_000_000_000;
/// After so many of them it is asked whether to go on.
const INSTRUCTIONS_PER_CALL: i32 = 10_000;
/// The longest value or row, in bytes.
const VALUE_BYTES_MAX: i32 = 16 << 20;
/// The longest statement, in bytes; a table's definition is one.
const SQL_BYTES_MAX: i32 = 1 << 20;

/// What is said of every connection: nothing may be written, mapped or put into temporary files, and sizes on pages are
/// checked. SQLite may take 256 MiB in all; that limit is the process's, and a lower one stays.
const SETTINGS: &str = "PRAGMA hard_heap_limit = 268435456; PRAGMA query_only = ON; PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;";

/// An open database.
pub struct Database {
    connection: Connection,
    name: String,
    cancel: CancelToken,
}

impl Database {
    /// Opens the file at `path`, which may be removed from then on. `name` is what errors call it.
    ///
    /// # Errors
    /// `Database` if SQLite cannot read it.
    pub fn open(path: &Path, name: &[u8], instructions_max: u64, cancel: &CancelToken) -> Result<Self> {
        let name = String::from_utf8_lossy(name).into_owned();
        let connection = connect(path, instructions_max, cancel.clone());
        let connection = connection.map_err(|error| failed(&name, cancel, &error))?;
        Ok(Self { connection, name, cancel: cancel.clone() })
    }

    /// Lets `read` read.
    ///
    /// # Errors
    /// `Database` for what SQLite says; `Cancelled`.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        read(&self.connection).map_err(|error| failed(&self.name, &self.cancel, &error))
    }

    /// Calls `visit` with each row of the answer to `sql`; it returns whether to go on.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn each(&self, sql: &str, visit: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<bool>) -> Result<()> {
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if !visit(row)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Returns an error unless it may go on.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Returns the error for more of something than is read.
    pub fn too_many(&self, what: &str, max: usize) -> Error {
        Error::Database {
            path: self.name.clone(),
            reason: format!("it has more than {max} {what}; restore it instead"),
        }
    }
}

pub(super) fn connect(path: &Path, instructions_max: u64, cancel: CancelToken) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(uri(path), flags)?;
    let calls_max = instructions_max / INSTRUCTIONS_PER_CALL as u64;
    let mut calls = 0;
    let is_over = move || {
        calls += 1;
        calls > calls_max || cancel.is_cancelled()
    };
    connection.progress_handler(INSTRUCTIONS_PER_CALL, Some(is_over))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    for feature in [
        DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA,
        DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
    ] {
        connection.set_db_config(feature, false)?;
    }
    connection.execute_batch(SETTINGS)?;
    // Programs bring collations of their own. What is only read in the order of its rows needs none, but has to be prepared.
    connection.collation_needed(|connection, name| connection.create_collation(name, |a: &str, b: &str| a.cmp(b)))?;
    Ok(connection)
}

/// Returns the address by which SQLite opens a file that nobody changes: no locks, no journal, no `-wal`.
fn uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(uri, "%{byte:02x}")),
        }
    }
    uri + "?mode=ro&immutable=1"
}

pub(super) fn failed(name: &str, cancel: &CancelToken, error: &rusqlite::Error) -> Error {
    if cancel.is_cancelled() {
        return Error::Cancelled;
    }
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => format!("it begins like an SQLite database but is none ({error})"),
        Some(ErrorCode::DatabaseCorrupt) => {
            format!("it is damaged ({error}); the backup holds it as it was. Restore it and try sqlite3's .recover")
        }
        Some(ErrorCode::OperationInterrupted) => {
            "it takes longer to read than a true one would; restore it instead".into()
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => {
            format!("it takes more memory to read than a true one would ({error}); restore it instead")
        }
        _ => format!("SQLite cannot read it: {error}"),
    };
    Error::Database { path: name.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn a_database_that_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch("CREATE TABLE t (a); INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 99999) SELECT x FROM n").unwrap();
        made.close().unwrap();
        let sum = |instructions, cancel: &CancelToken| {
            let database = Database::open(&path, b"/d.db", instructions, cancel)?;
            database.read(|connection| connection.query_row("SELECT sum(a) FROM t", [], |row| row.get::<_, i64>(0)))
        };
        let cancel = CancelToken::new();
        assert_eq!(sum(INSTRUCTIONS_MAX, &cancel).unwrap(), 99_999 * 50_000);
        let error = sum(100_000, &cancel).unwrap_err().to_string();
        assert_eq!(error, "/d.db: it takes longer to read than a true one would; restore it instead");
        cancel.cancel();
        assert!(matches!(sum(INSTRUCTIONS_MAX, &cancel), Err(Error::Cancelled)));
    }

    /// A tree of a few pages, each of which names the next 600 times, has more rows than anyone can count.
    #[test]
    fn a_few_pages_that_stand_for_many_rows_are_given_up() {
        const PAGE: usize = 4096;
        const CELLS: u16 = 600;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.db");
        let sql =
            "PRAGMA page_size = 4096; CREATE TABLE t (a); CREATE TABLE u (a); INSERT INTO u VALUES (zeroblob(40000))";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // The root of the first table is page 2.
        for number in 2..=8_u32 {
            let page = &mut bytes[(number as usize - 1) * PAGE..][..PAGE];
            page.fill(0);
            let (kind, header, cell): (u8, usize, &[u8]) = match number {
                8 => (13, 8, &[2, 1, 2, 9]),
                _ => (5, 12, &[0, 0, 0, number as u8 + 1, 1]),
            };
            let at = PAGE - cell.len();
            page[0] = kind;
            page[3..5].copy_from_slice(&CELLS.to_be_bytes());
            page[5..7].copy_from_slice(&(at as u16).to_be_bytes());
            page[8..12].copy_from_slice(&(number + 1).to_be_bytes());
            for cell in 0..usize::from(CELLS) {
                page[header + 2 * cell..][..2].copy_from_slice(&(at as u16).to_be_bytes());
            }
            page[at..].copy_from_slice(cell);
        }
        std::fs::write(&path, bytes).unwrap();
        let database = Database::open(&path, b"/d.db", 10_000_000, &CancelToken::new()).unwrap();
        let error = database.read(|connection| super::super::schema::rows(connection, "t")).unwrap_err().to_string();
        assert!(error.contains("takes longer to read"), "{error}");
    }

    #[test]
    fn nothing_can_be_written_and_no_view_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a); CREATE VIEW v AS SELECT 1").unwrap();
        let database = Database::open(&path, b"/d.db", INSTRUCTIONS_MAX, &CancelToken::new()).unwrap();
        for sql in ["INSERT INTO t VALUES (1)", "SELECT * FROM v", "ATTACH 'x' AS y", "CREATE TEMP TABLE x (a)"] {
            assert!(database.read(|connection| connection.execute_batch(sql)).is_err(), "{sql}");
        }
    }

    #[test]
    fn any_path_can_be_written_as_an_address() {
        assert_eq!(uri(Path::new("/a-b_c/d.db")), "file:/a-b_c/d.db?mode=ro&immutable=1");
        assert_eq!(uri(Path::new("/a b?c#d%e\u{e4}")), "file:/a%20b%3fc%23d%25e%c3%a4?mode=ro&immutable=1");
    }
}
