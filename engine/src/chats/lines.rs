//! The rows of a known schema.

use std::collections::HashMap;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::database::Database;
use super::schema::Questions;
use crate::base::limits::MIB;
use crate::error::Result;
use crate::format::tree::Timestamp;

/// The most chats of one database.
pub const CHATS_MAX: usize = 100_000;
/// The longest jid or name that is kept, in characters.
const NAME_CHARS_MAX: usize = 200;

/// The most bytes of all jids and names of one database.
const NAMES_BYTES_MAX: usize = 32 * MIB;

/// A hash of something that may be as long as SQLite reads.
pub type Hash = [u8; 16];

/// Returns the first bytes of the BLAKE3 hash of a text, so that no two are taken for one by chance.
pub fn hash(text: &[u8]) -> Hash {
    first_bytes(blake3::Hasher::new().update(text))
}

/// Returns the first bytes of a hash.
pub fn first_bytes<const N: usize>(hasher: &blake3::Hasher) -> [u8; N] {
    let mut bytes = [0; N];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// What a chat is called.
#[derive(Clone)]
pub struct ChatName {
    pub jid: String,
    pub name: String,
    /// What tells it from all others: the hash of its whole jid.
    pub id: Hash,
}

impl ChatName {
    fn new(whole: &[u8], name: Option<String>) -> Self {
        let jid = beginning(whole, NAME_CHARS_MAX);
        let user = jid.split('@').next().unwrap_or_default();
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| user.to_owned());
        Self { name, jid, id: hash(whole) }
    }
}

/// The chats of one database, numbered as they were found.
pub struct ChatNames {
    /// By the hashes of their keys.
    numbers: HashMap<Hash, usize>,
    names: Vec<ChatName>,
    /// The chats that were moved to other jids, by the hashes of these.
    moved: HashMap<Hash, ChatName>,
    names_bytes: usize,
    /// Whether the key is the jid.
    has_jids: bool,
}

impl ChatNames {
    /// Reads them.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn read(database: &Database, questions: &Questions) -> Result<Self> {
        let mut chats = Self {
            numbers: HashMap::new(),
            names: Vec::new(),
            moved: HashMap::new(),
            names_bytes: 0,
            has_jids: questions.chats.is_none(),
        };
        if let Some(sql) = questions.chats {
            database.each(sql, &mut |row| {
                let key = bytes(row, 0)?.unwrap_or_default();
                let name = bytes(row, 2)?.map(|name| beginning(name, NAME_CHARS_MAX));
                let (jid, before) = (bytes(row, 1)?, bytes(row, 3)?);
                let name = match before.or(jid) {
                    Some(jid) => ChatName::new(jid, name),
                    None => unnamed(key),
                };
                if let (Some(jid), Some(_)) = (jid, before) {
                    chats.moved.insert(hash(jid), name.clone());
                }
                chats.add(hash(key), name);
                Ok(chats.has_room())
            })?;
        }
        chats.check(database)?;
        Ok(chats)
    }

    fn has_room(&self) -> bool {
        self.names.len() <= CHATS_MAX && self.names_bytes <= NAMES_BYTES_MAX
    }

    fn add(&mut self, key: Hash, name: ChatName) -> usize {
        *self.numbers.entry(key).or_insert_with(|| {
            self.names_bytes += name.jid.len() + name.name.len();
            self.names.push(name);
            self.names.len() - 1
        })
    }

    /// Returns the number of the chat that has this key. A message whose chat has no row (any more) is in one that is
    /// called by the key. `None` if there are more than are kept.
    pub fn find(&mut self, key: &[u8]) -> Option<usize> {
        let hash = hash(key);
        match self.numbers.get(&hash) {
            Some(&number) => Some(number),
            None if self.has_room() => {
                let name = if self.has_jids { ChatName::new(key, None) } else { unnamed(key) };
                Some(self.add(hash, name))
            }
            None => None,
        }
    }

    /// Calls the chats as `other` does that says to which jids they were moved.
    pub fn call_as(&mut self, other: &Self) {
        for name in &mut self.names {
            if let Some(moved) = other.moved.get(&name.id) {
                *name = moved.clone();
            }
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

    /// Refuses more chats, or longer names, than are kept.
    ///
    /// # Errors
    /// `Database` if there are.
    pub fn check(&self, database: &Database) -> Result<()> {
        if self.names.len() > CHATS_MAX {
            Err(database.too_many("chats", CHATS_MAX))
        } else if self.names_bytes > NAMES_BYTES_MAX {
            Err(database.too_many("bytes of names of chats", NAMES_BYTES_MAX))
        } else {
            Ok(())
        }
    }
}

/// Returns the name of a chat of which nothing but its key is known.
fn unnamed(key: &[u8]) -> ChatName {
    let name = if key.is_empty() {
        b"no chat".to_vec()
    } else {
        [b"chat ", &key[..key.len().min(4 * NAME_CHARS_MAX)]].concat()
    };
    ChatName { id: hash(&[b"chat ", key].concat()), ..ChatName::new(&name, None) }
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
