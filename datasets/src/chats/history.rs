//! The database of the first day: years of messages, written at once.

use rusqlite::{Connection, params};

use crate::chats::people::People;
use crate::chats::rows::{DAY, Post, Rows, time_of_day};
use crate::chats::{Options, START, schema};
use crate::random::Random;
use crate::text::Language;

/// The longest history, in days.
const DAYS_MAX: u64 = 3 * 365;
/// How many messages share a transaction and with it a segment of the full-text index.
const BATCH: u64 = 4096;
/// Of a thousand messages, how many are written before there are indexes. Indexes made at once have full pages; each is
/// split once by the messages that follow, which leaves them 1 / 0.72 / 2 = 69 % full: as B-trees that grew at random
/// (Yao, Acta Informatica 9, 1978: ln 2).
const BULK_PER_MILLE: u64 = 720;
const CALLS_PER_MILLE: u64 = 4;
/// The level of a full-text segment of so many messages that grew message by message: 16 segments of a level are merged
/// into one of the next.
const LEVEL: i64 = 3;
const _: () = assert!(16_u64.pow(LEVEL as u32) == BATCH);

/// Returns how many days `options` ask for, at least 1, and how many messages each of them has but the last.
pub(super) fn span(options: &Options) -> (u64, u64) {
    let days = options.messages.div_ceil(options.messages_per_day.max(1)).clamp(1, DAYS_MAX);
    (days, options.messages.div_ceil(days).max(1))
}

/// Writes tables, people, chats and all messages.
pub(super) fn write(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let root = Random(options.seed).fork("chats");
    let language = Language::new(options.seed);
    let people = People::new(&root, START);
    connection.execute_batch(schema::FILE)?;
    connection.execute_batch(schema::CONNECTION)?;
    connection.execute_batch("BEGIN")?;
    connection.execute_batch(schema::TABLES)?;
    write_people(connection, &people)?;
    let mut rows = Rows::new(connection, &language, &root)?;
    let mut random = root.fork("history");
    let (days, per_day) = span(options);
    let mut chat = people.chat(&mut random);
    for index in 0..options.messages {
        if index == options.messages * BULK_PER_MILLE / 1000 {
            connection.execute_batch(schema::INDEXES)?;
        }
        if index > 0 && index % BATCH == 0 {
            rows.index_texts(&people)?;
            connection.execute_batch("COMMIT; BEGIN")?;
        }
        if random.chance(250) {
            chat = people.chat(&mut random);
        }
        let (day, within) = (index / per_day, index % per_day);
        let time = time_of_day(&mut random, START - (days - day) as i64 * DAY, within, per_day);
        rows.post(&Post { row: index as i64 + 1, chat, time, index: within, past: true })?;
        if random.chance(CALLS_PER_MILLE) {
            rows.call(&mut random, &people, time)?;
        }
    }
    if options.messages == 0 {
        connection.execute_batch(schema::INDEXES)?;
    }
    rows.index_texts(&people)?;
    finish_chats(connection, &rows.newest)?;
    connection.execute_batch("COMMIT")?;
    // Left on the lowest level, these segments would all be merged on the first day.
    connection.execute("UPDATE message_ftsv2_segdir SET level = level + ?1", [LEVEL])?;
    Ok(())
}

fn write_people(connection: &Connection, people: &People) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO android_metadata (locale) VALUES ('en_GB')", [])?;
    let mut jid = connection
        .prepare("INSERT INTO jid (user, server, agent, device, type, raw_string) VALUES (?1, ?2, 0, 0, ?3, ?4)")?;
    for person in &people.jids {
        let raw = format!("{}@{}", person.user, person.server);
        jid.execute(params![person.user, person.server, person.server == "g.us", raw])?;
    }
    let mut chat = connection.prepare(
        "INSERT INTO chat (jid_row_id, hidden, subject, created_timestamp, archived, sort_timestamp, mod_tag, gen,
            unseen_message_count, unseen_missed_calls_count, unseen_row_count, plaintext_disabled, group_type)
         VALUES (?1, 0, ?2, ?3, 0, ?3, 0, 0.0, 0, 0, 0, 1, 0)",
    )?;
    for one in &people.chats {
        let subject = one.group.then(|| format!("Group {}", one.row));
        chat.execute(params![one.jid_row, subject, one.created])?;
    }
    Ok(())
}

/// Points each chat to its newest message.
fn finish_chats(connection: &Connection, newest: &[i64]) -> rusqlite::Result<()> {
    let mut chat = connection.prepare(
        "UPDATE chat SET display_message_row_id = ?2, last_message_row_id = ?2, last_read_message_row_id = ?2,
            last_read_receipt_sent_message_row_id = ?2, last_important_message_row_id = ?2,
            sort_timestamp = (SELECT timestamp FROM message WHERE _id = ?2)
         WHERE _id = ?1",
    )?;
    for (index, &message) in newest.iter().enumerate().filter(|&(_, &message)| message != 0) {
        chat.execute(params![index as i64 + 1, message])?;
    }
    Ok(())
}
