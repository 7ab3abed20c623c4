//! The schemas that are known, and the two questions that each is asked.

use rusqlite::{Connection, params};

use super::options::ChatApp;

/// The most tables of one database.
pub const TABLES_MAX: usize = 10_000;

/// A schema whose chats can be read.
pub struct Schema {
    /// Whose it is.
    pub app: ChatApp,
    /// What it is known by: tables, each with columns that it must have.
    tables: &'static [(&'static str, &'static [&'static str])],
    /// Asks for the chats: jid, name, messages, first and last time in milliseconds since 1970, media.
    pub chats: &'static str,
    /// Asks for all messages: jid, whether the owner sent it, key, name of the chat, time, kind, text. They are ordered
    /// by the first three, which stay what they are as long as the message lives, on every phone.
    pub messages: &'static str,
}

/// Android since 2021; times are in milliseconds since 1970.
const ANDROID: Schema = Schema {
    app: ChatApp::WhatsAppAndroid,
    tables: &[
        ("message", &["_id", "chat_row_id", "from_me", "key_id", "timestamp", "message_type", "text_data"]),
        ("chat", &["_id", "jid_row_id", "subject"]),
        ("jid", &["_id", "user", "raw_string"]),
        ("message_media", &["message_row_id", "chat_row_id"]),
    ],
    chats: "
        SELECT coalesce(jid.raw_string, 'chat ' || chat._id), coalesce(nullif(chat.subject, ''), jid.user),
            held.messages, held.first, held.last, files.media
        FROM (SELECT chat_row_id, sum(1) AS messages, min(nullif(timestamp, 0)) AS first,
                max(nullif(timestamp, 0)) AS last FROM message GROUP BY chat_row_id) AS held
            JOIN chat ON chat._id = held.chat_row_id
            LEFT JOIN jid ON jid._id = chat.jid_row_id
            LEFT JOIN (SELECT chat_row_id, sum(1) AS media FROM message_media GROUP BY chat_row_id) AS files
                ON files.chat_row_id = chat._id
        ORDER BY held.last DESC, chat._id LIMIT ?1",
    messages: "
        SELECT CAST(coalesce(jid.raw_string, 'chat ' || chat._id) AS TEXT) AS chat_jid,
            CAST(coalesce(message.from_me, 0) AS INTEGER) AS is_mine,
            CAST(coalesce(message.key_id, '') AS TEXT) AS stable_key,
            coalesce(nullif(chat.subject, ''), jid.user), message.timestamp, message.message_type, message.text_data
        FROM message JOIN chat ON chat._id = message.chat_row_id LEFT JOIN jid ON jid._id = chat.jid_row_id
        ORDER BY chat_jid COLLATE BINARY, is_mine, stable_key COLLATE BINARY",
};

/// Android before that: one table, a message's chat in each row. The kinds counted as media are photo, sound, video,
/// document, GIF and sticker.
const ANDROID_OLD: Schema = Schema {
    app: ChatApp::WhatsAppAndroid,
    tables: &[("messages", &["_id", "key_remote_jid", "key_from_me", "key_id", "data", "timestamp", "media_wa_type"])],
    chats: "
        SELECT key_remote_jid, substr(key_remote_jid, 1, instr(key_remote_jid || '@', '@') - 1), sum(1),
            min(nullif(timestamp, 0)), max(nullif(timestamp, 0)) AS last,
            sum(CAST(media_wa_type AS INTEGER) IN (1, 2, 3, 9, 13, 20))
        FROM messages WHERE key_remote_jid <> '-1'
        GROUP BY key_remote_jid ORDER BY last DESC, key_remote_jid LIMIT ?1",
    messages: "
        SELECT CAST(key_remote_jid AS TEXT) AS chat_jid, CAST(coalesce(key_from_me, 0) AS INTEGER) AS is_mine,
            CAST(coalesce(key_id, '') AS TEXT) AS stable_key,
            substr(key_remote_jid, 1, instr(key_remote_jid || '@', '@') - 1), timestamp,
            CAST(media_wa_type AS INTEGER), data
        FROM messages WHERE key_remote_jid <> '-1'
        ORDER BY chat_jid COLLATE BINARY, is_mine, stable_key COLLATE BINARY",
};

/// iOS; times are in seconds since 2001.
const IOS: Schema = Schema {
    app: ChatApp::WhatsAppIos,
    tables: &[
        ("ZWAMESSAGE", &["Z_PK", "ZISFROMME", "ZCHATSESSION", "ZMESSAGEDATE", "ZTEXT", "ZSTANZAID", "ZMEDIAITEM"]),
        ("ZWACHATSESSION", &["Z_PK", "ZPARTNERNAME", "ZCONTACTJID"]),
    ],
    chats: "
        SELECT coalesce(chat.ZCONTACTJID, 'chat ' || chat.Z_PK),
            coalesce(nullif(chat.ZPARTNERNAME, ''),
                substr(chat.ZCONTACTJID, 1, instr(chat.ZCONTACTJID || '@', '@') - 1)),
            held.messages, CAST((held.first + 978307200) * 1000 AS INTEGER),
            CAST((held.last + 978307200) * 1000 AS INTEGER), held.media
        FROM (SELECT ZCHATSESSION, sum(1) AS messages, min(ZMESSAGEDATE) AS first, max(ZMESSAGEDATE) AS last,
                sum(ZMEDIAITEM IS NOT NULL) AS media FROM ZWAMESSAGE GROUP BY ZCHATSESSION) AS held
            JOIN ZWACHATSESSION AS chat ON chat.Z_PK = held.ZCHATSESSION
        ORDER BY held.last DESC, chat.Z_PK LIMIT ?1",
    messages: "
        SELECT CAST(coalesce(chat.ZCONTACTJID, 'chat ' || chat.Z_PK) AS TEXT) AS chat_jid,
            CAST(coalesce(message.ZISFROMME, 0) AS INTEGER) AS is_mine,
            CAST(coalesce(message.ZSTANZAID, 'row ' || message.Z_PK) AS TEXT) AS stable_key,
            coalesce(nullif(chat.ZPARTNERNAME, ''),
                substr(chat.ZCONTACTJID, 1, instr(chat.ZCONTACTJID || '@', '@') - 1)),
            CAST((message.ZMESSAGEDATE + 978307200) * 1000 AS INTEGER), message.ZMEDIAITEM IS NOT NULL, message.ZTEXT
        FROM ZWAMESSAGE AS message JOIN ZWACHATSESSION AS chat ON chat.Z_PK = message.ZCHATSESSION
        ORDER BY chat_jid COLLATE BINARY, is_mine, stable_key COLLATE BINARY",
};

const KNOWN: [&Schema; 3] = [&ANDROID, &IOS, &ANDROID_OLD];

/// Returns the schema of a database if it is known; `tables` are those that it has.
///
/// # Errors
/// SQLite's.
pub fn recognise(connection: &Connection, tables: &[String]) -> rusqlite::Result<Option<&'static Schema>> {
    // Messages of two databases are merged in the order of their bytes, which only UTF-8 has as SQLite has it.
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        return Ok(None);
    }
    let has = |table: &str, wanted: &[&str]| {
        if !tables.iter().any(|name| name == table) {
            return Ok(false);
        }
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns: Vec<String> = statement.query_map(params![table], |row| row.get(0))?.collect::<Result<_, _>>()?;
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
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND substr(name, 1, 7) <> 'sqlite_'
        ORDER BY name COLLATE BINARY LIMIT ?1";
    connection.prepare(sql)?.query_map([TABLES_MAX as i64 + 1], |row| row.get(0))?.collect()
}

/// Returns how many rows a table has.
///
/// # Errors
/// SQLite's.
pub fn rows(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    // Not `count(*)`, which is a single instruction: nothing could interrupt it on a tree that leads in circles.
    let sql = format!("SELECT coalesce(sum(1), 0) FROM \"{}\"", table.replace('"', "\"\""));
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
