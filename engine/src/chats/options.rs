//! What looking into chats is told, and what it tells.

use crate::base::CancelToken;
use crate::error::Error;
use crate::format::tree::Timestamp;

/// Options of [`Repository::chats`](crate::Repository::chats) and
/// [`Repository::chats_diff`](crate::Repository::chats_diff).
#[derive(Clone)]
#[non_exhaustive]
pub struct ChatsOptions {
    /// Of how many messages that came, went or changed in one chat the texts are given: of the latest so many of each.
    /// Of one database there are 50,000 at most.
    pub limit: usize,
    /// How many threads; 0: one for each core.
    pub threads: usize,
    /// Ends the work.
    pub cancel: CancelToken,
}

impl Default for ChatsOptions {
    fn default() -> Self {
        Self { limit: 20, threads: 0, cancel: CancelToken::new() }
    }
}

/// Which program wrote a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatApp {
    /// WhatsApp on Android: `msgstore.db`.
    WhatsAppAndroid,
    /// WhatsApp on an iPhone: `ChatStorage.sqlite`.
    WhatsAppIos,
}

/// A chat that holds messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chat {
    /// The group's subject or the contact's name, or else the number.
    pub name: String,
    /// WhatsApp's own name of the chat, such as `491701234567@s.whatsapp.net`.
    pub jid: String,
    /// How many messages it holds, notices of the system among them.
    pub messages: u64,
    /// How many of them have a photo, a video or another file.
    pub media: u64,
    /// When the first was sent.
    pub first: Option<Timestamp>,
    /// When the last was sent.
    pub last: Option<Timestamp>,
}

/// A table of a database whose schema is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableRows {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
}

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseContent {
    /// Chats, the one with the latest message first.
    Chats {
        /// Which program's.
        app: ChatApp,
        /// At most 100,000.
        chats: Vec<Chat>,
    },
    /// Tables, by name; at most 10,000.
    Tables(Vec<TableRows>),
}

/// A database in a snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatabaseReport {
    /// The path from the snapshot's root, beginning with `/`.
    pub path: Vec<u8>,
    /// The file's length in bytes.
    pub bytes: u64,
    /// What it holds, or why that cannot be read.
    pub content: Result<DatabaseContent, Error>,
}

/// A message that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// When it was sent.
    pub time: Option<Timestamp>,
    /// Whether the owner of the phone sent it.
    pub is_from_me: bool,
    /// Its text, of which at most 500 characters are given; none for a photo without caption and the like.
    pub text: Option<String>,
    /// Of a changed message: the text before, in the same way.
    pub text_before: Option<String>,
}

/// How many messages, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Messages {
    /// How many there are.
    pub count: u64,
    /// The latest ones, as many as were asked for, in the order of their times.
    pub latest: Vec<Message>,
}

/// What happened to a chat from one snapshot to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatChanges {
    /// As in [`Chat`].
    pub name: String,
    /// As in [`Chat`].
    pub jid: String,
    /// Messages that are only in the later one.
    pub came: Messages,
    /// Messages that are only in the earlier one.
    pub went: Messages,
    /// Messages whose text or kind is another one: edited, or deleted for everyone.
    pub changed: Messages,
}

/// A table's rows in one snapshot and in another; none if it has no such table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableChanges {
    /// Its name.
    pub name: String,
    /// How many rows it had.
    pub rows_before: Option<u64>,
    /// How many it has.
    pub rows_after: Option<u64>,
}

/// What happened to a database from one snapshot to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseChanges {
    /// It is the same, byte for byte.
    Unchanged,
    /// Only the later snapshot has it.
    Came,
    /// Only the earlier snapshot has it.
    Went,
    /// The chats in which messages came, went or changed, the one with the latest such message first.
    Chats {
        /// Which program's.
        app: ChatApp,
        /// At most 100,000.
        chats: Vec<ChatChanges>,
    },
    /// All tables, by name; at most 20,000.
    Tables(Vec<TableChanges>),
}

/// A database in two snapshots.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatabaseDiff {
    /// Its path from the root of the later snapshot, beginning with `/`; of the earlier one if only that has it.
    pub path: Vec<u8>,
    /// What happened, or why that cannot be told.
    pub changes: Result<DatabaseChanges, Error>,
}
