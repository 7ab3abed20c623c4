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
    /// Asks the same, and for the jid that the chat had before it was moved to another, if there is this table.
    moved_chats: Option<(&'static str, &'static [&'static str], &'static str)>,
    /// Asks for all messages: row, key of the chat, whether the owner sent it, its own key, time in milliseconds since
    /// 1970, kind, text. Jid, sender and own key stay what they are as long as the message lives, on every phone. A
    /// further condition may be appended.
    pub messages: &'static str,
    /// Asks for the key of the chat of each message that has a photo, video or another file.
    pub media: &'static str,
    /// Asks the same of those whose file is there, if there is this table.
    present_media: Option<(&'static str, &'static [&'static str], &'static str)>,
}

/// A schema, and what one database is asked by it.
#[derive(Clone, Copy)]
pub struct Questions {
    pub schema: &'static Schema,
    /// As [`Schema::chats`], with a fourth column: the jid before, if it is another.
    pub chats: Option<&'static str>,
    /// As [`Schema::media`].
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
        "SELECT CAST(chat._id AS TEXT), jid.raw_string, coalesce(nullif(chat.subject, ''), jid.user), NULL
            FROM chat LEFT JOIN jid ON jid.rowid = chat.jid_row_id",
    ),
    // Since 2025 chats move from numbers to jids that end in `@lid`; the messages stay the same.
    moved_chats: Some((
        "jid_map",
        &["lid_row_id", "jid_row_id"],
        "SELECT CAST(chat._id AS TEXT), jid.raw_string, coalesce(nullif(chat.subject, ''), number.user, jid.user),
                number.raw_string
            FROM chat LEFT JOIN jid ON jid.rowid = chat.jid_row_id
                LEFT JOIN jid_map ON jid_map.rowid = chat.jid_row_id
                LEFT JOIN jid AS number ON number.rowid = jid_map.jid_row_id",
    )),
    messages:
        "SELECT rowid, CAST(chat_row_id AS TEXT), from_me, key_id, timestamp, message_type, text_data FROM message
        WHERE chat_row_id > 0",
    media: "SELECT CAST(chat_row_id AS TEXT) FROM message_media",
    present_media: None,
};

/// Android before that: one table, a message's chat in each row. The kinds counted as media are photo, sound, video,
/// document, GIF and sticker.
const ANDROID_OLD: Schema = Schema {
    app: ChatApp::WhatsAppAndroid,
    tables: &[("messages", &["key_remote_jid", "key_from_me", "key_id", "data", "timestamp", "media_wa_type"])],
    chats: None,
    moved_chats: None,
    messages: "SELECT rowid, key_remote_jid, key_from_me, key_id, timestamp, CAST(media_wa_type AS INTEGER), data
        FROM messages WHERE key_remote_jid <> '-1'",
    media: "SELECT key_remote_jid FROM messages WHERE CAST(media_wa_type AS INTEGER) IN (1, 2, 3, 9, 13, 20)",
    present_media: None,
};

/// iOS, whose times are in seconds since 2001.
const IOS: Schema = Schema {
    app: ChatApp::WhatsAppIos,
    tables: &[
        ("ZWAMESSAGE", &["Z_PK", "ZISFROMME", "ZCHATSESSION", "ZMESSAGEDATE", "ZTEXT", "ZSTANZAID", "ZMEDIAITEM"]),
        ("ZWACHATSESSION", &["Z_PK", "ZPARTNERNAME", "ZCONTACTJID"]),
    ],
    chats: Some("SELECT CAST(Z_PK AS TEXT), ZCONTACTJID, ZPARTNERNAME, NULL FROM ZWACHATSESSION"),
    moved_chats: None,
    messages: "SELECT rowid, coalesce(CAST(ZCHATSESSION AS TEXT), ''), ZISFROMME, coalesce(ZSTANZAID, 'row ' || Z_PK),
            CAST((ZMESSAGEDATE + 978307200) * 1000 AS INTEGER), ZMEDIAITEM IS NOT NULL, ZTEXT FROM ZWAMESSAGE
        WHERE TRUE",
    media: "SELECT coalesce(CAST(ZCHATSESSION AS TEXT), '') FROM ZWAMESSAGE WHERE ZMEDIAITEM IS NOT NULL",
    // An item may also be a place, a link's preview, or a file that was never loaded.
    present_media: Some((
        "ZWAMEDIAITEM",
        &["Z_PK", "ZMEDIALOCALPATH"],
        "SELECT coalesce(CAST(ZCHATSESSION AS TEXT), '') FROM ZWAMESSAGE
            JOIN ZWAMEDIAITEM ON ZWAMEDIAITEM.rowid = ZWAMESSAGE.ZMEDIAITEM WHERE ZMEDIALOCALPATH IS NOT NULL",
    )),
};

const KNOWN: [&Schema; 3] = [&ANDROID, &IOS, &ANDROID_OLD];

/// Returns what a database is asked if its schema is known; `tables` are those that it has. Where a program has left the
/// tables of an earlier schema behind, or made those of a later one already, the one with messages is meant.
///
/// # Errors
/// SQLite's.
pub fn recognise(connection: &Connection, tables: &[String]) -> rusqlite::Result<Option<Questions>> {
    let has = |table: &str, wanted: &[&str]| {
        if !tables.iter().any(|name| name == table) {
            return Ok(false);
        }
        // Computed columns are not among them.
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok::<_, rusqlite::Error>(wanted.iter().all(|wanted| columns.iter().any(|column| column == wanted)))
    };
    let mut known = None;
    for schema in KNOWN {
        let mut is_it = true;
        for (table, columns) in schema.tables {
            is_it = is_it && has(table, columns)?;
        }
        if !is_it {
            continue;
        }
        let mut questions = Questions { schema, chats: schema.chats, media: schema.media };
        if let Some((table, columns, sql)) = schema.moved_chats
            && has(table, columns)?
        {
            questions.chats = Some(sql);
        }
        if let Some((table, columns, sql)) = schema.present_media
            && has(table, columns)?
        {
            questions.media = sql;
        }
        if connection.prepare(schema.messages)?.exists([])? {
            return Ok(Some(questions));
        }
        known = known.or(Some(questions));
    }
    Ok(known)
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

/// Returns the names of all tables that have pages of their own, those of virtual tables too.
///
/// # Errors
/// SQLite's.
pub fn stored_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
        ORDER BY name COLLATE BINARY LIMIT ?1";
    connection.prepare(sql)?.query_map([TABLES_MAX as i64], |row| row.get(0))?.collect()
}

/// Returns the names of some tables that a module makes.
///
/// # Errors
/// SQLite's.
pub fn virtual_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual' LIMIT 20";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Returns how many rows a table has.
///
/// # Errors
/// SQLite's.
pub fn rows(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    // Not `count(*)`, which is a single instruction: nothing could interrupt it where a few pages stand for many.
    // By no index, whose order may be one that only the program knows.
    let sql = format!("SELECT coalesce(sum(1), 0) FROM \"{}\" NOT INDEXED", table.replace('"', "\"\""));
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
