#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::manifest::Manifest;

const SMALL: Options = Options { seed: 11, messages: 5_000, messages_per_day: 200 };

fn count(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Asserts that SQLite finds no fault in the database and its full-text index.
fn assert_sound(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    connection.execute("INSERT INTO message_ftsv2 (message_ftsv2) VALUES ('integrity-check')", []).unwrap();
}

fn pages(path: &Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().chunks(4096).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_day_is_sound_and_brings_what_a_day_brings() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(DATABASE);
    create(&path, &SMALL).unwrap();
    assert_sound(&path);
    assert_eq!(count(&path, "SELECT count(*) FROM message"), 5_000);
    assert_eq!(count(&path, "PRAGMA page_size"), 4096);
    assert_eq!(count(&path, "PRAGMA auto_vacuum"), 1);
    assert_eq!(count(&path, "SELECT count(*) FROM pragma_table_info('message_media')"), 36);
    let unread = count(&path, "SELECT count(*) FROM receipt_user WHERE read_timestamp IS NULL");
    assert!(unread > 300, "{unread} unread");
    for _ in 0..5 {
        let before = fs::read(&path).unwrap();
        advance(&path, 1).unwrap();
        assert_sound(&path);
        assert_ne!(before, fs::read(&path).unwrap());
    }
    let deleted = 6_000 - count(&path, "SELECT count(*) FROM message");
    let revoked = count(&path, "SELECT count(*) FROM message_revoked");
    let edited = count(&path, "SELECT count(*) FROM message_edit_info");
    // 1,000 messages came: 7, 8 and 10 of a thousand; the limits are beyond four standard deviations.
    assert!((1..20).contains(&deleted) && (1..20).contains(&revoked) && (1..24).contains(&edited));
    let reactions = count(&path, "SELECT count(*) FROM message_add_on WHERE parent_message_row_id > 4500");
    assert!(reactions > 20, "{reactions} reactions");
    let unindexed = "SELECT count(*) FROM message_ftsv2_docsize WHERE docid NOT IN (SELECT _id FROM message)";
    assert_eq!(count(&path, unindexed), 0);
    // Whatever is satellite to a message goes with it; few of those that were deleted had a satellite of each kind.
    Connection::open(&path).unwrap().execute("DELETE FROM message WHERE _id % 3 = 0", []).unwrap();
    for (table, row) in [
        ("message_media", "message_row_id"),
        ("message_thumbnail", "message_row_id"),
        ("message_quoted", "message_row_id"),
        ("receipt_user", "message_row_id"),
        ("message_add_on", "parent_message_row_id"),
    ] {
        let orphans = format!("SELECT count(*) FROM {table} WHERE {row} NOT IN (SELECT _id FROM message)");
        assert_eq!(count(&path, &orphans), 0, "{table}");
    }
    let orphans = "SELECT count(*) FROM message_add_on_reaction
        WHERE message_add_on_row_id NOT IN (SELECT _id FROM message_add_on)";
    assert_eq!(count(&path, orphans), 0);
}

#[test]
fn the_full_text_index_finds_what_messages_say_now() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(DATABASE);
    create(&path, &Options { messages: 2_000, messages_per_day: 1_000, ..SMALL }).unwrap();
    advance(&path, 1).unwrap();
    let differing = "SELECT count(*) FROM message LEFT JOIN message_ftsv2 ON docid = _id
        WHERE text_data IS NOT content";
    assert_eq!(count(&path, differing), 0);
    let found = count(&path, "SELECT count(*) FROM message_ftsv2 WHERE message_ftsv2 MATCH 'thanks'");
    assert_eq!(found, count(&path, "SELECT count(*) FROM message WHERE text_data LIKE 'thanks%'"));
    assert!(found > 5, "{found}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let home = tempfile::tempdir().unwrap();
    let digest = |name: &str, options: &Options| {
        let folder = home.path().join(name);
        write_days(&folder, options, 2, false).unwrap();
        let manifest = Manifest::scan(&folder).unwrap();
        assert_eq!(
            manifest.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["day-00/msgstore.db", "day-01/msgstore.db", "day-02/msgstore.db"]
        );
        manifest.digest()
    };
    let options = Options { messages: 1_500, ..SMALL };
    let first = digest("first", &options);
    assert_eq!(first, digest("second", &options));
    assert_ne!(first, digest("third", &Options { seed: 12, ..options }));
}

#[test]
fn a_database_advanced_in_place_is_that_of_its_day() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { messages: 1_500, ..SMALL };
    write_days(&home.path().join("days"), &options, 3, false).unwrap();
    let place = home.path().join("place");
    State::create(&place, &options, false).unwrap().advance(1).unwrap();
    let state = State::open(&place).unwrap();
    state.advance(2).unwrap();
    assert!(fs::read(state.path()).unwrap() == fs::read(home.path().join("days/day-03/msgstore.db")).unwrap());
}

#[test]
fn encrypted_pages_change_wholly_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { messages: 3_000, messages_per_day: 20, ..SMALL };
    let (plain, secret) = (home.path().join("plain"), home.path().join("secret"));
    write_days(&plain, &options, 1, false).unwrap();
    write_days(&secret, &options, 1, true).unwrap();
    let day = |folder: &Path, day: u32, name: &str| pages(&folder.join(format!("day-{day:02}")).join(name));
    let [plain_before, plain_after] = [0, 1].map(|number| day(&plain, number, DATABASE));
    let [before, after] = [0, 1].map(|number| day(&secret, number, ENCRYPTED));
    assert_eq!((before.len(), after.len()), (plain_before.len(), plain_after.len()));
    assert_eq!(before[0][..16], after[0][..16]);
    let (mut same, mut changed) = (0, 0);
    for number in 0..before.len().min(after.len()) {
        if plain_before[number] == plain_after[number] {
            same += 1;
            assert_eq!(before[number], after[number]);
        } else {
            changed += 1;
            let start = if number == 0 { 16 } else { 0 };
            let equal = before[number].iter().zip(&after[number]).skip(start).filter(|(left, right)| left == right);
            // By chance one byte in 256 is equal: 16 of a page, with a standard deviation of 4.
            assert!(equal.count() < 48);
        }
    }
    assert!(same > 200 && changed > 50, "{same} pages the same, {changed} changed");
    // No two pages are the same, not even of empty ones.
    assert_eq!(after.iter().collect::<HashSet<_>>().len(), after.len());
    assert!(fs::read_dir(secret.join("day-01")).unwrap().count() == 1);
}

#[test]
fn an_encrypted_state_is_advanced_in_place() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { messages: 500, ..SMALL };
    write_days(&home.path().join("days"), &options, 1, true).unwrap();
    let place = home.path().join("place");
    State::create(&place, &options, true).unwrap();
    State::open(&place).unwrap().advance(1).unwrap();
    assert!(fs::read(place.join(ENCRYPTED)).unwrap() == fs::read(home.path().join("days/day-01/signal.db")).unwrap());
}

#[test]
fn strange_numbers_and_files_are_refused_or_borne() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("empty.db");
    create(&path, &Options { seed: 0, messages: 0, messages_per_day: 0 }).unwrap();
    advance(&path, 2).unwrap();
    assert_sound(&path);
    assert!(create(&path, &SMALL).unwrap_err().to_string().contains("exists already"));
    let many = Options { messages: MESSAGES_MAX + 1, ..SMALL };
    assert!(create(&home.path().join("many.db"), &many).is_err());
    let other = home.path().join("other.db");
    fs::write(&other, "no database").unwrap();
    assert!(advance(&other, 1).unwrap_err().to_string().contains("other.db"));
    assert!(encrypt(&other, &home.path().join("out"), 1).unwrap_err().to_string().contains("within a page"));
    assert!(State::open(home.path()).is_err());
}
