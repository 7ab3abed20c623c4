//! What came, went and changed between two databases: their messages are read in the same order and merged, so memory
//! holds one of each and what is to be shown.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::{Row, Rows};

use super::database::Database;
use super::listing::{CHATS_MAX, Known, bytes, number, text, time};
use super::options::{ChatChanges, DatabaseChanges, Message, Messages, TableChanges};
use crate::error::Result;

/// The most characters of a text that are shown.
const TEXT_CHARS_MAX: usize = 500;
/// The most messages of one database that are shown.
const SHOWN_MAX: usize = 50_000;

/// Compares two databases: messages if both are of one program, otherwise tables.
///
/// # Errors
/// `Database` or `Cancelled`.
pub fn diff(before: &Known<'_>, after: &Known<'_>, limit: usize) -> Result<DatabaseChanges> {
    let (Some(schema_before), Some(schema_after)) = (before.schema, after.schema) else {
        return tables(before, after).map(DatabaseChanges::Tables);
    };
    if schema_before.app != schema_after.app {
        return tables(before, after).map(DatabaseChanges::Tables);
    }
    let mut statement_before = before.database.prepare(schema_before.messages)?;
    let mut statement_after = after.database.prepare(schema_after.messages)?;
    let rows = statement_before.query([]).map_err(|error| before.database.failed(&error))?;
    let mut cursor_before = Cursor { rows, database: before.database };
    let rows = statement_after.query([]).map_err(|error| after.database.failed(&error))?;
    let mut cursor_after = Cursor { rows, database: after.database };
    let mut merge = Merge { limit: limit.min(SHOWN_MAX), room: SHOWN_MAX, current: None, done: Vec::new() };
    let (mut left, mut right) = (cursor_before.next()?, cursor_after.next()?);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.key.cmp(&right.key),
        };
        let (mut was, mut is) = (None, None);
        if order != Ordering::Greater {
            was = std::mem::replace(&mut left, cursor_before.next()?);
        }
        if order != Ordering::Less {
            is = std::mem::replace(&mut right, cursor_after.next()?);
        }
        merge.add(was, is);
        if merge.done.len() > CHATS_MAX {
            return Err(after.database.too_many("chats that changed", CHATS_MAX));
        }
    }
    Ok(DatabaseChanges::Chats { app: schema_after.app, chats: merge.finish() })
}

fn tables(before: &Known<'_>, after: &Known<'_>) -> Result<Vec<TableChanges>> {
    let mut tables: BTreeMap<String, (Option<u64>, Option<u64>)> = BTreeMap::new();
    for table in before.tables()? {
        tables.entry(table.name).or_default().0 = Some(table.rows);
    }
    for table in after.tables()? {
        tables.entry(table.name).or_default().1 = Some(table.rows);
    }
    let changes = |(name, (rows_before, rows_after))| TableChanges { name, rows_before, rows_after };
    Ok(tables.into_iter().map(changes).collect())
}

/// A message as it stands in a database.
struct Line {
    /// The chat's jid, whether the owner sent it, and the message's own key.
    key: (Vec<u8>, i64, Vec<u8>),
    name: Option<String>,
    time: Option<i64>,
    kind: Option<i64>,
    text: Option<Vec<u8>>,
}

impl Line {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let owned = |column| Ok::<_, rusqlite::Error>(bytes(row, column)?.map(<[u8]>::to_vec));
        Ok(Self {
            key: (owned(0)?.unwrap_or_default(), number(row, 1)?.unwrap_or_default(), owned(2)?.unwrap_or_default()),
            name: text(row, 3)?,
            time: number(row, 4)?,
            kind: number(row, 5)?,
            text: owned(6)?,
        })
    }

    fn shown_text(&self) -> Option<String> {
        Some(String::from_utf8_lossy(self.text.as_ref()?).chars().take(TEXT_CHARS_MAX).collect())
    }
}

struct Cursor<'s> {
    rows: Rows<'s>,
    database: &'s Database,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<Option<Line>> {
        let mut next = || self.rows.next()?.map(Line::of).transpose();
        next().map_err(|error| self.database.failed(&error))
    }
}

/// A chat of which something is known to have changed, and when its latest such message was sent.
type Dated = (Option<i64>, ChatChanges);

struct Merge {
    limit: usize,
    /// How many more messages may be shown.
    room: usize,
    current: Option<Dated>,
    done: Vec<Dated>,
}

impl Merge {
    /// Takes in one message: as it was, as it is, or both.
    fn add(&mut self, was: Option<Line>, is: Option<Line>) {
        if let (Some(was), Some(is)) = (&was, &is)
            && (was.kind, &was.text) == (is.kind, &is.text)
        {
            return;
        }
        let Some(line) = is.as_ref().or(was.as_ref()) else { return };
        let jid = String::from_utf8_lossy(&line.key.0);
        if self.current.as_ref().is_some_and(|(_, chat)| chat.jid != jid) {
            self.end_chat();
        }
        let empty = Messages::default;
        let (latest, chat) = self.current.get_or_insert_with(|| {
            let name = line.name.clone().unwrap_or_else(|| jid.to_string());
            (None, ChatChanges { name, jid: jid.to_string(), came: empty(), went: empty(), changed: empty() })
        });
        *latest = (*latest).max(line.time);
        let message = Message {
            time: line.time.map(time),
            is_from_me: line.key.1 != 0,
            text: line.shown_text(),
            text_before: was.as_ref().filter(|_| is.is_some()).and_then(Line::shown_text),
        };
        let messages = match (&was, &is) {
            (Some(_), Some(_)) => &mut chat.changed,
            (None, _) => &mut chat.came,
            (_, None) => &mut chat.went,
        };
        messages.count += 1;
        messages.latest.push(message);
        // Now and then, so that it costs little.
        if messages.latest.len() > 2 * self.limit {
            keep_latest(messages, self.limit);
        }
    }

    fn end_chat(&mut self) {
        if let Some((latest, mut chat)) = self.current.take() {
            for messages in [&mut chat.came, &mut chat.went, &mut chat.changed] {
                keep_latest(messages, self.limit.min(self.room));
                self.room -= messages.latest.len();
            }
            self.done.push((latest, chat));
        }
    }

    fn finish(mut self) -> Vec<ChatChanges> {
        self.end_chat();
        self.done.sort_by_key(|(latest, _)| std::cmp::Reverse(*latest));
        self.done.into_iter().map(|(_, chat)| chat).collect()
    }
}

/// Keeps the latest ones, in the order of their times.
fn keep_latest(messages: &mut Messages, limit: usize) {
    let latest = &mut messages.latest;
    latest.sort_by_key(|message| message.time.map(|time| (time.seconds, time.nanos)));
    latest.drain(..latest.len().saturating_sub(limit));
}
