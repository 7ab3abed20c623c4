//! Chat databases as they are on the way from one schema to another, with rows that refer to nothing, and made to cost.

use std::fs;
use std::time::{Duration, Instant};

use daykeep_engine::{BackupOptions, ChatApp, ChatsOptions, DatabaseContent, SqliteCapture};
use daykeep_tests::place::{Kind, Place};
use rusqlite::Connection;

use crate::chats::{IOS, changed_chats, chats, diff, only, snapshot, sqlite, what};

const ANDROID: &str = "
    CREATE TABLE message (_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER NOT NULL, from_me INTEGER NOT NULL,
        key_id TEXT NOT NULL, sender_jid_row_id INTEGER, timestamp INTEGER, message_type INTEGER, text_data TEXT);
    CREATE TABLE chat (_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER UNIQUE, subject TEXT);
    CREATE TABLE jid (_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, server TEXT NOT NULL, raw_string TEXT);
    CREATE TABLE message_media (message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER);
    INSERT INTO jid VALUES (1, '49170', 's.whatsapp.net', '49170@s.whatsapp.net'), (2, '6216', 'lid', '6216@lid');
    INSERT INTO chat VALUES (1, 1, NULL);
    INSERT INTO message (chat_row_id, from_me, key_id, timestamp, message_type, text_data)
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 30)
        SELECT CASE WHEN x > 10 THEN 7 ELSE 1 END, x % 2, 'KEY' || x, 1700000000000 + x * 1000, 0, 'text ' || x FROM n;";
const OLD: &str = "
    CREATE TABLE messages (_id INTEGER PRIMARY KEY, key_remote_jid TEXT, key_from_me INTEGER, key_id TEXT, data TEXT,
        timestamp INTEGER, media_wa_type TEXT);";

fn sums(content: DatabaseContent, app: ChatApp) -> Vec<(String, u64, u64)> {
    chats(content, app).into_iter().map(|chat| (chat.jid, chat.messages, chat.media)).collect()
}

#[test]
fn messages_whose_chat_is_gone_are_counted_and_compared() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let database = sqlite(&folder.join("msgstore.db"), ANDROID);
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let wanted = [("chat 7".into(), 20, 0), ("49170@s.whatsapp.net".into(), 10, 0)];
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppAndroid), wanted);
    database.execute_batch("DELETE FROM message WHERE key_id = 'KEY20'").unwrap();
    let second = snapshot(&repository, &folder);
    let changes = changed_chats(diff(&repository, &first, &second, 5));
    assert_eq!((changes.len(), changes[0].jid.as_str(), changes[0].went.count), (1, "chat 7", 1));

    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let sql = format!("{IOS} INSERT INTO ZWAMESSAGE VALUES (9, 0, NULL, NULL, 700000009, 'Z', 'of nobody')");
    sqlite(&folder.join("ChatStorage.sqlite"), &sql);
    let repository = place.open();
    snapshot(&repository, &folder);
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppIos)[0], ("no chat".into(), 1, 0));
}

#[test]
fn a_chat_that_moves_to_another_jid_keeps_its_messages() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let database = sqlite(&folder.join("msgstore.db"), ANDROID);
    let repository = place.open();
    let number = snapshot(&repository, &folder);
    // The move, before it is said what was moved.
    database.execute_batch("UPDATE chat SET jid_row_id = 2").unwrap();
    let moved = snapshot(&repository, &folder);
    let sql = "CREATE TABLE jid_map (lid_row_id INTEGER PRIMARY KEY NOT NULL, jid_row_id INTEGER NOT NULL);
        INSERT INTO jid_map VALUES (2, 1);
        INSERT INTO message (chat_row_id, from_me, key_id, timestamp, message_type, text_data)
            VALUES (1, 0, 'NEW', 1800000000000, 0, 'a new one')";
    database.execute_batch(sql).unwrap();
    let mapped = snapshot(&repository, &folder);
    for (before, after, came, went) in [(&number, &mapped, 1, 0), (&moved, &mapped, 1, 0), (&mapped, &number, 0, 1)] {
        let changes = changed_chats(diff(&repository, before, after, 5));
        let found: Vec<_> = changes.iter().map(|chat| (chat.jid.as_str(), chat.came.count, chat.went.count)).collect();
        assert_eq!(found, [("49170@s.whatsapp.net", came, went)]);
    }
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppAndroid)[0], ("49170@s.whatsapp.net".into(), 11, 0));
}

#[test]
fn of_two_schemas_in_one_database_the_one_with_messages_is_read() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let old = "INSERT INTO messages VALUES (1, '49170@s.whatsapp.net', 0, 'A', 'old', 1600000000000, '1')";
    let database = sqlite(&folder.join("msgstore.db"), &format!("{OLD}{ANDROID} DELETE FROM message; {old}"));
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppAndroid), [("49170@s.whatsapp.net".into(), 1, 1)]);
    // Migrated: the same message, and one more.
    let sql = "INSERT INTO message (chat_row_id, from_me, key_id, timestamp, message_type, text_data)
        VALUES (1, 0, 'A', 1600000000000, 1, 'old'), (1, 1, 'B', 1600000001000, 0, 'new'); DELETE FROM messages";
    database.execute_batch(sql).unwrap();
    let second = snapshot(&repository, &folder);
    let changes = changed_chats(diff(&repository, &first, &second, 5));
    let chat = &changes[0];
    assert_eq!((chat.came.count, chat.went.count, chat.changed.count), (1, 0, 0));
}

#[test]
fn media_of_an_iphone_are_those_whose_file_is_there() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let sql = format!(
        "{IOS} CREATE TABLE ZWAMEDIAITEM (Z_PK INTEGER PRIMARY KEY, ZMESSAGE INTEGER, ZMEDIALOCALPATH VARCHAR);
        INSERT INTO ZWAMEDIAITEM VALUES (7, 2, 'Media/4917/d/0/photo.jpg'), (8, 3, NULL);
        UPDATE ZWAMESSAGE SET ZMEDIAITEM = 8 WHERE Z_PK = 3;"
    );
    sqlite(&folder.join("ChatStorage.sqlite"), &sql);
    let repository = place.open();
    snapshot(&repository, &folder);
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppIos)[1], ("491701234567@s.whatsapp.net".into(), 3, 1));
}

#[test]
fn a_database_is_read_with_the_log_that_was_saved_beside_it() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("source");
    let path = folder.join("msgstore.db");
    let database = sqlite(&path, "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;");
    database.execute_batch(ANDROID).unwrap();
    let mut options = BackupOptions::default();
    options.sqlite = SqliteCapture::Off;
    let repository = place.open();
    repository.backup(&[&folder], &options).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 4096, "all is in the log");
    let wanted = [("chat 7".into(), 20, 0), ("49170@s.whatsapp.net".into(), 10, 0)];
    assert_eq!(sums(only(&repository), ChatApp::WhatsAppAndroid), wanted);
    let named = repository.chats(&what(&format!("latest:{}", path.display())), &ChatsOptions::default()).unwrap();
    assert!(matches!(named[0].content, Ok(DatabaseContent::Chats { .. })));
    drop(database);
}

#[test]
fn messages_of_one_key_are_compared_in_time_and_told_apart_without_one() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("msgstore.db");
    let rows = |key: &str| {
        format!(
            "INSERT INTO messages WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000)
             SELECT x, '49@s.whatsapp.net', 0, '{key}', 't' || x, 1600000000000 + x, '0' FROM n"
        )
    };
    for key in ["", "same"] {
        let _ = fs::remove_file(&path);
        let database = sqlite(&path, &format!("{OLD}{}", rows(key)));
        let repository = place.open();
        let first = snapshot(&repository, &folder);
        database.execute_batch("DELETE FROM messages WHERE _id = 50000").unwrap();
        let second = snapshot(&repository, &folder);
        let begun = Instant::now();
        let changes = changed_chats(diff(&repository, &first, &second, 1));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let chat = &changes[0];
        assert_eq!((chat.came.count, chat.went.count), (0, 1));
        if key.is_empty() {
            assert_eq!(chat.changed.count, 0);
            assert_eq!(chat.went.latest[0].text.as_deref(), Some("t50000"));
        }
    }
}

/// Of a key only the beginning is kept, and still no two chats are taken for one.
#[test]
fn chats_with_long_keys_are_told_apart() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let database: Connection = sqlite(&folder.join("msgstore.db"), OLD);
    for number in 0..3 {
        let jid = "4".repeat(1 << 20) + &number.to_string();
        let sql = "INSERT INTO messages VALUES (?1, ?2, 0, 'K' || ?1, 'text', 1600000000000, '0')";
        database.execute(sql, rusqlite::params![number, jid]).unwrap();
    }
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let found = sums(only(&repository), ChatApp::WhatsAppAndroid);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(jid, messages, _)| jid.len() == 200 && *messages == 1));
    database.execute_batch("UPDATE messages SET data = 'another'").unwrap();
    let second = snapshot(&repository, &folder);
    assert_eq!(changed_chats(diff(&repository, &first, &second, 1)).len(), 3);
}
