//! The schemas that are known, and what each is asked.
//!
//! Every question is a scan of one table, or of a small one joined by its row numbers: what a hostile database could
//! make of sorting, grouping or joining is nothing that SQLite's limits bound.

use rusqlite::Connection;

use super::options::ChatApp;

/// The most tables of one database.
pub const TABLES_MAX: usize = 10_000;

/// A schema whose chats can be read.
pub struct Schema {
    /// Whose it is.
    pub app: ChatApp,
    /// What it is known by: tables, each with columns that it must have.
    tables: &'static [(&'static str, &'static [&'static str])],
    /// Asks for the chats: key in this database, jid, name. None: the jid is the key, and it tells the name.
    pub chats: Option<&'static str>,
    /// Asks for all messages: row, key of the chat, whether the owner sent it, its own key, time in milliseconds since
    /// 1970, kind, text. Jid, sender and own key stay what they are as long as the message lives, on every phone. A
    /// further condition may be appended.
    pub messages: &'static str,
    /// Asks for the key of the chat of each message that has a photo, video or another file.
    pub media: &'static str,
}

/// Android since 2021.
const ANDROID: Schema = Schema {
    app: ChatApp::WhatsAppAndroid,
    tables: &[
        ("message", &["_id", "chat_row_id", "from_me", "key_id", "timestamp", "message_type", "text_data"]),
        ("chat", &["_id", "jid_row_id", "subject"]),
        ("jid", &["_id", "user", "raw_string"]),
        ("message_media", &["message_row_id", "chat_row_id"]),
    ],
    chats: Some(
        "SELECT CAST(chat._id AS TEXT), jid.raw_string, coalesce(nullif(chat.subject, ''), jid.user)
            FROM chat LEFT JOIN jid ON jid.rowid = chat.jid_row_id",
    ),
    messages:
        "SELECT rowid, CAST(chat_row_id AS TEXT), from_me, key_id, timestamp, message_type, text_data FROM message
        WHERE chat_row_id > 0",
    media: "SELECT CAST(chat_row_id AS TEXT) FROM message_media",
};

/// Android before that: one table, a message's chat in each row. The kinds counted as media are photo, sound, video,
/// document, GIF and sticker.
const ANDROID_OLD: Schema = Schema {
    app: ChatApp::WhatsAppAndroid,
    tables: &[("messages", &["key_remote_jid", "key_from_me", "key_id", "data", "timestamp", "media_wa_type"])],
    chats: None,
    messages: "SELECT rowid, key_remote_jid, key_from_me, key_id, timestamp, CAST(media_wa_type AS INTEGER), data
        FROM messages WHERE key_remote_jid <> '-1'",
    media: "SELECT key_remote_jid FROM messages WHERE CAST(media_wa_type AS INTEGER) IN (1, 2, 3, 9, 13, 20)",
};

/// iOS, whose times are in seconds since 2001.
const IOS: Schema = Schema {
    app: ChatApp::WhatsAppIos,
    tables: &[
        ("ZWAMESSAGE", &["Z_PK", "ZISFROMME", "ZCHATSESSION", "ZMESSAGEDATE", "ZTEXT", "ZSTANZAID", "ZMEDIAITEM"]),
        ("ZWACHATSESSION", &["Z_PK", "ZPARTNERNAME", "ZCONTACTJID"]),
    ],
    chats: Some("SELECT CAST(Z_PK AS TEXT), ZCONTACTJID, ZPARTNERNAME FROM ZWACHATSESSION"),
    messages: "SELECT rowid, CAST(ZCHATSESSION AS TEXT), ZISFROMME, coalesce(ZSTANZAID, 'row ' || Z_PK),
            CAST((ZMESSAGEDATE + 978307200) * 1000 AS INTEGER), ZMEDIAITEM IS NOT NULL, ZTEXT FROM ZWAMESSAGE
        WHERE ZCHATSESSION > 0",
    media: "SELECT CAST(ZCHATSESSION AS TEXT) FROM ZWAMESSAGE WHERE ZMEDIAITEM IS NOT NULL",
};

const KNOWN: [&Schema; 3] = [&ANDROID, &IOS, &ANDROID_OLD];

/// Returns the schema of a database if it is known; `tables` are those that it has.
///
/// # Errors
/// SQLite's.
pub fn recognise(connection: &Connection, tables: &[String]) -> rusqlite::Result<Option<&'static Schema>> {
    let has = |table: &str, wanted: &[&str]| {
        if !tables.iter().any(|name| name == table) {
            return Ok(false);
        }
        // Computed columns are not among them.
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok::<_, rusqlite::Error>(wanted.iter().all(|wanted| columns.iter().any(|column| column == wanted)))
    };
    for schema in KNOWN {
        let mut is_it = true;
        for (table, columns) in schema.tables {
            is_it = is_it && has(table, columns)?;
        }
        if is_it {
            return Ok(Some(schema));
        }
    }
    Ok(None)
}

/// Returns the names of the ordinary tables, at most one more than [`TABLES_MAX`], by name: no views, which can compute
/// anything, no virtual tables, and none of SQLite's own.
///
/// # Errors
/// SQLite's.
pub fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
        AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name COLLATE BINARY LIMIT ?1";
    connection.prepare(sql)?.query_map([TABLES_MAX as i64 + 1], |row| row.get(0))?.collect()
}

/// Returns how many rows a table has.
///
/// # Errors
/// SQLite's.
pub fn rows(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    // Not `count(*)`, which is a single instruction: nothing could interrupt it where a few pages stand for many.
    let sql = format!("SELECT coalesce(sum(1), 0) FROM \"{}\"", table.replace('"', "\"\""));
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
