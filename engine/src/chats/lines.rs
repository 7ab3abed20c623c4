//! The rows of a known schema.

use std::collections::HashMap;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::database::Database;
use super::schema::Schema;
use crate::error::Result;
use crate::format::tree::Timestamp;

/// The most chats of one database.
pub const CHATS_MAX: usize = 100_000;
/// The longest jid or name that is kept, in characters.
const NAME_CHARS_MAX: usize = 200;

/// What a chat is called.
#[derive(Clone)]
pub struct ChatName {
    pub jid: String,
    pub name: String,
}

impl ChatName {
    fn new(jid: String, name: Option<String>) -> Self {
        let user = jid.split('@').next().unwrap_or_default();
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| user.to_owned());
        Self { name, jid }
    }
}

/// The chats of one database, numbered as they were found.
pub struct ChatNames {
    numbers: HashMap<Vec<u8>, usize>,
    names: Vec<ChatName>,
    /// Chats are known by their messages alone.
    is_open: bool,
}

impl ChatNames {
    /// Reads them.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn read(database: &Database, schema: &Schema) -> Result<Self> {
        let mut chats = Self { numbers: HashMap::new(), names: Vec::new(), is_open: schema.chats.is_none() };
        if let Some(sql) = schema.chats {
            database.each(sql, &mut |row| {
                let key = bytes(row, 0)?.unwrap_or_default().to_vec();
                let jid = cut(bytes(row, 1)?).unwrap_or_else(|| format!("chat {}", String::from_utf8_lossy(&key)));
                chats.add(key, ChatName::new(jid, cut(bytes(row, 2)?)));
                Ok(chats.names.len() <= CHATS_MAX)
            })?;
        }
        chats.check(database)?;
        Ok(chats)
    }

    fn add(&mut self, key: Vec<u8>, name: ChatName) -> usize {
        *self.numbers.entry(key).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    /// Returns the number of the chat that has this key, if there is such a chat.
    pub fn find(&mut self, key: &[u8]) -> Option<usize> {
        match self.numbers.get(key) {
            Some(&number) => Some(number),
            None if self.is_open && self.names.len() <= CHATS_MAX => {
                let jid = cut(Some(key))?;
                Some(self.add(key.to_vec(), ChatName::new(jid, None)))
            }
            None => None,
        }
    }

    /// Returns what the chat of a number is called.
    pub fn name(&self, number: usize) -> &ChatName {
        &self.names[number]
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Refuses more chats than are kept.
    ///
    /// # Errors
    /// `Database` if there are.
    pub fn check(&self, database: &Database) -> Result<()> {
        if self.names.len() > CHATS_MAX { Err(database.too_many("chats", CHATS_MAX)) } else { Ok(()) }
    }
}

/// A message as it stands in its row.
pub struct Line<'r> {
    pub row: i64,
    pub chat: &'r [u8],
    pub is_mine: bool,
    pub key: &'r [u8],
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    pub kind: Option<i64>,
    pub text: Option<&'r [u8]>,
}

impl<'r> Line<'r> {
    /// Reads the row of an answer to [`Schema::messages`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn of(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: number(row, 0)?.unwrap_or_default(),
            chat: bytes(row, 1)?.unwrap_or_default(),
            is_mine: number(row, 2)?.is_some_and(|number| number != 0),
            key: bytes(row, 3)?.unwrap_or_default(),
            time: number(row, 4)?.filter(|&time| time != 0),
            kind: number(row, 5)?,
            text: bytes(row, 6)?,
        })
    }
}

/// Returns the bytes of a text; whatever else stands there is as good as nothing.
pub fn bytes<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r [u8]>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => Some(text),
        _ => None,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

fn cut(text: Option<&[u8]>) -> Option<String> {
    Some(beginning(text?, NAME_CHARS_MAX))
}

/// Returns the first `chars` characters of a text.
pub fn beginning(text: &[u8], chars: usize) -> String {
    // No character has more than four bytes.
    let text = &text[..text.len().min(4 * chars)];
    String::from_utf8_lossy(text).chars().take(chars).collect()
}

/// Returns the point in time so many milliseconds after 1970.
pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp { seconds: milliseconds.div_euclid(1000), nanos: milliseconds.rem_euclid(1000) as u32 * 1_000_000 }
}
