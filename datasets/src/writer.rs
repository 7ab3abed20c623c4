//! A database that is written to without a pause, to prove that what was copied meanwhile is a state that was committed.
//!
//! A transaction inserts, updates and deletes rows, some of which fill several pages, and says in the same transaction
//! which number it has, how many rows there are now and what their sum is. A copy that mixes the pages of two states
//! either fails the integrity check or holds rows that do not come to that.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Statement, params};

use crate::error::Error;
use crate::files::Words;
use crate::random::Random;

/// How a database keeps what was committed apart from what is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// New pages go to `-wal`, which is written back and cut to nothing now and then.
    Wal,
    /// Old pages go to `-journal`, which is removed by each commit.
    Delete,
}

/// How to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// The journal.
    pub mode: Mode,
    /// How many transactions; `None`: until it is told to stop.
    pub transactions: Option<u64>,
    /// How long to wait after each.
    pub pause: Duration,
}

/// What there is before the first transaction, which is number 1.
const SCHEMA: &str = "BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS data (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS data_text ON data (substr(text, 1, 20));
    CREATE TABLE IF NOT EXISTS committed (number INTEGER PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL);
    INSERT OR IGNORE INTO committed (number, rows, sum) VALUES (0, 0, 0);
    COMMIT;";
/// After so many transactions `-wal` is written back and cut to nothing, unless somebody reads.
const CHECKPOINT: u64 = 50;
/// How long a transaction waits for readers.
const PATIENCE: Duration = Duration::from_secs(60);
/// From so many rows on, no fewer are deleted than inserted.
const ROWS_MAX: i64 = 2000;
/// The most rows that a transaction inserts, and that it updates and deletes beside.
const CHANGES_MAX: u64 = 20;
/// Lengths of texts in bytes: ordinary ones, and one in ten, which fill pages of their own.
const SHORT: u64 = 400;
const LONG: u64 = 20_000;

/// Writes to the database `path`, which is made if it is not there, until `committed` returns false. That is called after
/// each transaction with its number.
///
/// Returns the number of the last one. Nothing but a loss of power can take back what was committed.
///
/// # Errors
/// The file is no such database or cannot be written, or somebody else held it for a minute.
pub fn write(path: &Path, options: &Options, mut committed: impl FnMut(u64) -> bool) -> Result<u64, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut write = || {
        let connection = Connection::open_with_flags(path, flags)?;
        let mut writer = Writer::new(&connection, options)?;
        let mut done = 0;
        while options.transactions.is_none_or(|transactions| done < transactions) {
            writer.transact()?;
            done += 1;
            if !committed(writer.state.number as u64) {
                break;
            }
            if options.mode == Mode::Wal && done % CHECKPOINT == 0 {
                writer.checkpoint()?;
            }
            if !options.pause.is_zero() {
                std::thread::sleep(options.pause);
            }
        }
        Ok(writer.state.number as u64)
    };
    write().map_err(Error::database(path))
}

/// A row of `committed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    number: i64,
    rows: i64,
    /// The sum of what the rows hold, modulo 2^64.
    sum: i64,
}

impl State {
    /// Returns the newest.
    fn read(connection: &Connection) -> rusqlite::Result<State> {
        let newest = "SELECT number, rows, sum FROM committed ORDER BY number DESC LIMIT 1";
        connection.query_row(newest, [], |row| Ok(State { number: row.get(0)?, rows: row.get(1)?, sum: row.get(2)? }))
    }

    fn add(&mut self, id: i64, text: &str) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(value(id, text));
    }

    fn remove(&mut self, id: i64, text: &str) {
        self.rows -= 1;
        self.sum = self.sum.wrapping_sub(value(id, text));
    }
}

/// Returns a number that depends on all that a row holds.
fn value(id: i64, text: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&id.to_le_bytes()).update(text.as_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}

struct Writer<'c> {
    connection: &'c Connection,
    seed: u64,
    words: Words,
    state: State,
    id_max: i64,
    insert: Statement<'c>,
    update: Statement<'c>,
    delete: Statement<'c>,
    find: Statement<'c>,
    note: Statement<'c>,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection, options: &Options) -> rusqlite::Result<Self> {
        connection.busy_timeout(PATIENCE)?;
        let mode = match options.mode {
            Mode::Wal => "wal",
            Mode::Delete => "delete",
        };
        connection.pragma_update(None, "journal_mode", mode)?;
        connection.execute_batch(SCHEMA)?;
        let id_max = connection.query_row("SELECT coalesce(max(id), 0) FROM data", [], |row| row.get(0))?;
        let (seed, state) = (options.seed, State::read(connection)?);
        Ok(Self {
            connection,
            seed,
            words: Words::new(seed),
            state,
            id_max,
            insert: connection.prepare("INSERT INTO data (id, text) VALUES (?1, ?2)")?,
            update: connection.prepare("UPDATE data SET text = ?2 WHERE id = ?1")?,
            delete: connection.prepare("DELETE FROM data WHERE id = ?1")?,
            find: connection.prepare("SELECT id, text FROM data WHERE id >= ?1 ORDER BY id LIMIT 1")?,
            note: connection.prepare("INSERT INTO committed (number, rows, sum) VALUES (?1, ?2, ?3)")?,
        })
    }

    /// Commits the next transaction.
    fn transact(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.state.number += 1;
        let mut random = Random::stream(self.seed, "writer", self.state.number as u64);
        let inserts = 1 + random.below(CHANGES_MAX);
        for _ in 0..inserts {
            self.id_max += 1;
            let text = self.text(&mut random);
            self.insert.execute(params![self.id_max, text])?;
            self.state.add(self.id_max, &text);
        }
        for _ in 0..random.below(CHANGES_MAX) {
            let Some((id, old)) = self.any_row(&mut random)? else { break };
            let text = self.text(&mut random);
            self.update.execute(params![id, text])?;
            self.state.remove(id, &old);
            self.state.add(id, &text);
        }
        let least = if self.state.rows > ROWS_MAX { inserts } else { 0 };
        for _ in 0..least + random.below(CHANGES_MAX / 2) {
            let Some((id, old)) = self.any_row(&mut random)? else { break };
            self.delete.execute([id])?;
            self.state.remove(id, &old);
        }
        let State { number, rows, sum } = self.state;
        self.note.execute([number, rows, sum])?;
        self.connection.execute_batch("COMMIT")
    }

    fn any_row(&mut self, random: &mut Random) -> rusqlite::Result<Option<(i64, String)>> {
        let from = 1 + random.below(self.id_max as u64) as i64;
        self.find.query_row([from], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    fn text(&self, random: &mut Random) -> String {
        let bytes_max = if random.below(10) == 0 { LONG } else { SHORT };
        let len = 1 + random.below(bytes_max);
        let mut text = Vec::new();
        self.words.write(&mut text, len as usize, random);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Writes `-wal` back and cuts it to nothing. Where somebody reads, that is for the next time.
    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection.busy_timeout(PATIENCE)
    }
}

/// Returns the number of the transaction whose state the database `path` shows. It must be whole in itself: neither
/// `-wal` nor `-journal` is looked at, and nothing is written.
///
/// # Errors
/// The file cannot be read or is no such database, SQLite's integrity check fails, or what it holds is not what was
/// committed.
pub fn verify_state(path: &Path) -> Result<u64, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || {
        let connection = Connection::open_with_flags(immutable(path)?, flags)?;
        let integrity: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let said = State::read(&connection)?;
        let count: i64 = connection.query_row("SELECT count(*) FROM committed", [], |row| row.get(0))?;
        let mut found = State { number: count - 1, rows: 0, sum: 0 };
        let mut rows = connection.prepare("SELECT id, text FROM data")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            found.add(row.get(0)?, row.get_ref(1)?.as_str()?);
        }
        Ok((integrity, said, found))
    };
    let (integrity, said, found) = read().map_err(Error::database(path))?;
    if integrity != "ok" {
        return Err(Error::refused(path, format!("is damaged: {integrity}")));
    }
    if said != found {
        return Err(Error::refused(path, format!("holds {found:?}, but {said:?} was committed")));
    }
    Ok(said.number as u64)
}

/// Returns the name by which SQLite opens a file that nobody writes to.
fn immutable(path: &Path) -> rusqlite::Result<String> {
    let path = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{path}?immutable=1"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    fn options(mode: Mode, transactions: u64) -> Options {
        Options { seed: 3, mode, transactions: Some(transactions), pause: Duration::ZERO }
    }

    #[test]
    fn each_state_is_whole_and_the_same_in_both_modes() {
        let home = tempfile::tempdir().unwrap();
        let [wal, delete] = ["wal %41?#.db", "delete.db"].map(|name| home.path().join(name));
        assert_eq!(write(&wal, &options(Mode::Wal, 70), |_| true).unwrap(), 70);
        for number in 1..=35 {
            write(&delete, &options(Mode::Delete, 2), |_| true).unwrap();
            assert_eq!(verify_state(&delete).unwrap(), 2 * number);
        }
        assert_eq!(verify_state(&wal).unwrap(), 70);
        let dump = |path: &Path| -> Vec<(i64, String)> {
            let connection = Connection::open(path).unwrap();
            let mut rows = connection.prepare("SELECT id, text FROM data").unwrap();
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        assert!(dump(&wal) == dump(&delete) && dump(&wal).len() > 100);
    }

    #[test]
    fn it_goes_on_until_it_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        let endless = Options { transactions: None, ..options(Mode::Wal, 0) };
        let mut told = Vec::new();
        let last = write(&path, &endless, |number| {
            told.push(number);
            number < 5
        });
        assert_eq!((last.unwrap(), told), (5, vec![1, 2, 3, 4, 5]));
        // What is left is whole: the last connection wrote `-wal` back.
        assert_eq!(verify_state(&path).unwrap(), 5);
    }

    #[test]
    fn what_was_never_committed_is_found() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        write(&path, &options(Mode::Delete, 20), |_| true).unwrap();
        let before = fs::read(&path).unwrap();
        let changed = |sql: &str| {
            let path = home.path().join("changed.db");
            fs::write(&path, &before).unwrap();
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            verify_state(&path).unwrap_err().to_string()
        };
        for sql in [
            "DELETE FROM data WHERE id = (SELECT max(id) FROM data)",
            "UPDATE data SET text = text || 'x' WHERE id = (SELECT min(id) FROM data)",
            "DELETE FROM committed WHERE number = 7",
            "DELETE FROM committed WHERE number = 20",
            "UPDATE data SET id = 1000000 WHERE id = (SELECT max(id) FROM data)",
        ] {
            let error = changed(sql);
            assert!(error.contains("was committed"), "{sql}: {error}");
        }
        assert!(changed("DROP TABLE data").contains("no such table"));

        // Half of the pages of one state and half of the next.
        write(&path, &options(Mode::Delete, 1), |_| true).unwrap();
        let after = fs::read(&path).unwrap();
        let half = before.len() / 2 / 4096 * 4096;
        let torn = home.path().join("torn.db");
        fs::write(&torn, [&before[..half], &after[half..]].concat()).unwrap();
        verify_state(&torn).unwrap_err();
        fs::write(&torn, "").unwrap();
        verify_state(&torn).unwrap_err();
        verify_state(&home.path().join("none.db")).unwrap_err();
    }

    #[test]
    fn copies_made_by_sqlite_meanwhile_show_what_was_committed() {
        let home = tempfile::tempdir().unwrap();
        for mode in [Mode::Wal, Mode::Delete] {
            let path = home.path().join(format!("{mode:?}.db"));
            let copy = |number: usize, least: u64| {
                let target = home.path().join(format!("{mode:?}-{number}.db"));
                let source = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                source.busy_timeout(PATIENCE).unwrap();
                source.execute("VACUUM INTO ?1", [target.to_str().unwrap()]).unwrap();
                let seen = verify_state(&target).unwrap();
                assert!(seen >= least, "{seen} {least}");
                seen
            };
            let endless = Options { transactions: None, ..options(mode, 0) };
            let seen: Vec<u64> = std::thread::scope(|scope| {
                let (tell, told) = std::sync::mpsc::channel();
                // It ends when nobody is told any more.
                scope.spawn(|| write(&path, &endless, move |number| tell.send(number).is_ok()).unwrap());
                (0..5).map(|number| copy(number, told.iter().nth(10).unwrap())).collect()
            });
            assert!(seen.is_sorted() && seen[0] < seen[4], "{seen:?}");
            assert!(verify_state(&path).unwrap() > seen[4]);
        }
    }
}
