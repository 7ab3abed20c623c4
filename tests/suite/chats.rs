//! Looking into the chat databases of a snapshot, and comparing those of two.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use daykeep_datasets::chats as generator;
use daykeep_engine::{
    Access, Chat, ChatApp, ChatChanges, ChatsOptions, DatabaseChanges, DatabaseContent, DatabaseDiff, DatabaseReport,
    Error, Repository, Result, SnapshotPath, Timestamp,
};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, back_up};
use rusqlite::{Connection, params};

pub fn sqlite(path: &Path, sql: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

pub fn what(text: &str) -> SnapshotPath {
    SnapshotPath::parse(text.as_bytes()).unwrap()
}

pub fn look(repository: &Repository, text: &str) -> Result<Vec<DatabaseReport>> {
    repository.chats(&what(text), &ChatsOptions::default())
}

/// Looks into the only database of the latest snapshot.
pub fn only(repository: &Repository) -> DatabaseContent {
    let mut reports = look(repository, "latest").unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0).content.unwrap()
}

pub fn chats(content: DatabaseContent, wanted: ChatApp) -> Vec<Chat> {
    match content {
        DatabaseContent::Chats { app, chats } if app == wanted => chats,
        other => panic!("{other:?}"),
    }
}

pub fn tables(content: DatabaseContent) -> Vec<(String, u64)> {
    match content {
        DatabaseContent::Tables(tables) => tables.into_iter().map(|table| (table.name, table.rows)).collect(),
        other => panic!("{other:?}"),
    }
}

pub fn diff(repository: &Repository, before: &str, after: &str, limit: usize) -> Vec<DatabaseDiff> {
    let mut options = ChatsOptions::default();
    options.limit = limit;
    repository.chats_diff(&what(before), &what(after), &options).unwrap()
}

pub fn changed_chats(mut diffs: Vec<DatabaseDiff>) -> Vec<ChatChanges> {
    assert_eq!(diffs.len(), 1);
    match diffs.remove(0).changes.unwrap() {
        DatabaseChanges::Chats { chats, .. } => chats,
        other => panic!("{other:?}"),
    }
}

/// Backs up and returns the snapshot's name.
pub fn snapshot(repository: &Repository, source: &Path) -> String {
    back_up(repository, source).snapshot.unwrap().to_string()
}

fn at(milliseconds: i64) -> Option<Timestamp> {
    let nanos = milliseconds.rem_euclid(1000) as u32 * 1_000_000;
    Some(Timestamp { seconds: milliseconds.div_euclid(1000), nanos })
}

/// Returns the names of what lies in the cache directory of the repository that is left of looking.
fn leftovers(place: &Place) -> Vec<String> {
    let folders = fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("chats-"))
        .collect()
}

type Row = (Option<i64>, i64, Option<String>);

/// Reads all messages in another way: by chat and key.
fn messages(path: &Path) -> HashMap<(String, i64, String), Row> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT raw_string, from_me, key_id, timestamp, message_type, text_data FROM message
             JOIN chat ON chat._id = chat_row_id JOIN jid ON jid._id = jid_row_id",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?, row.get(5)?))));
    rows.unwrap().map(|row| row.unwrap()).collect()
}

#[test]
fn chats_of_android_and_what_a_day_brings() {
    let place = Place::new(Kind::Redb);
    let folder = place.folder("source");
    let path = folder.join("msgstore.db");
    let options = generator::Options { seed: 3, messages: 6000, messages_per_day: 300 };
    generator::create(&path, &options).unwrap();
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let before = messages(&path);
    generator::advance(&path, 2).unwrap();
    // A day's own deletions are few.
    sqlite(&path, "DELETE FROM message WHERE _id % 500 = 0").close().unwrap();
    let second = snapshot(&repository, &folder);
    let after = messages(&path);

    let found = chats(only(&repository), ChatApp::WhatsAppAndroid);
    assert!(
        found.len() > 3
            && found.is_sorted_by_key(|chat| std::cmp::Reverse(chat.last.map(|time| (time.seconds, time.nanos))))
    );
    assert_eq!(found.iter().map(|chat| chat.messages).sum::<u64>(), after.len() as u64);
    let media: u64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM message_media", [], |row| row.get::<_, i64>(0))
        .unwrap() as u64;
    assert_eq!(found.iter().map(|chat| chat.media).sum::<u64>(), media);
    for chat in &found {
        let times = || after.iter().filter(|((jid, ..), _)| *jid == chat.jid).map(|(_, (time, ..))| time.unwrap());
        assert_eq!((chat.first, chat.last), (at(times().min().unwrap()), at(times().max().unwrap())));
        assert_eq!(chat.messages, times().count() as u64);
        assert!(!chat.name.is_empty() && !chat.name.contains('@'));
    }

    let mut wanted: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        wanted.entry(key.0.clone()).or_default().0 += 1;
    }
    for (key, row) in &before {
        match after.get(key) {
            None => wanted.entry(key.0.clone()).or_default().1 += 1,
            Some(now) if (now.1, &now.2) != (row.1, &row.2) => wanted.entry(key.0.clone()).or_default().2 += 1,
            Some(_) => {}
        }
    }
    let changes = changed_chats(diff(&repository, &first, &second, 5));
    let found: BTreeMap<String, (u64, u64, u64)> =
        changes.iter().map(|chat| (chat.jid.clone(), (chat.came.count, chat.went.count, chat.changed.count))).collect();
    assert_eq!(found, wanted);
    let sums =
        wanted.values().fold((0, 0, 0), |sums, counts| (sums.0 + counts.0, sums.1 + counts.1, sums.2 + counts.2));
    assert!(sums.0 >= 500 && sums.1 > 0 && sums.2 > 0, "{sums:?}");
    for chat in &changes {
        for messages in [&chat.came, &chat.went, &chat.changed] {
            assert_eq!(messages.latest.len() as u64, messages.count.min(5));
            assert!(messages.latest.is_sorted_by_key(|message| message.time.map(|time| (time.seconds, time.nanos))));
        }
    }
    // Backwards, what came went.
    let back = changed_chats(diff(&repository, &second, &first, 0));
    assert_eq!(back.iter().map(|chat| chat.went.count).sum::<u64>(), sums.0);
    assert!(back.iter().all(|chat| chat.went.latest.is_empty()));
    assert!(matches!(diff(&repository, &first, &first, 5)[0].changes, Ok(DatabaseChanges::Unchanged)));
    assert_eq!(leftovers(&place), [""; 0]);
}

pub const IOS: &str = "
    CREATE TABLE ZWACHATSESSION (Z_PK INTEGER PRIMARY KEY, ZMESSAGECOUNTER INTEGER, ZLASTMESSAGEDATE TIMESTAMP,
        ZCONTACTJID VARCHAR, ZPARTNERNAME VARCHAR);
    CREATE TABLE ZWAMESSAGE (Z_PK INTEGER PRIMARY KEY, ZISFROMME INTEGER, ZCHATSESSION INTEGER, ZMEDIAITEM INTEGER,
        ZMESSAGEDATE TIMESTAMP, ZSTANZAID VARCHAR, ZTEXT VARCHAR);
    INSERT INTO ZWACHATSESSION VALUES (1, 3, 700000002.5, '491701234567@s.whatsapp.net', 'Anna'),
        (2, 1, 700000005, '4917-123@g.us', NULL), (3, 0, NULL, 'empty@s.whatsapp.net', 'Empty');
    INSERT INTO ZWAMESSAGE VALUES (1, 0, 1, NULL, 700000000.25, 'A', 'first'), (2, 1, 1, 7, 700000001, 'B', NULL),
        (3, 1, 1, NULL, 700000002.5, NULL, 'without a name'), (4, 0, 2, NULL, 700000005, 'D', 'in a group');";

#[test]
fn chats_of_an_iphone() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("source");
    // As an iPhone has it: in WAL mode, which the header says too.
    let connection = sqlite(&folder.join("ChatStorage.sqlite"), "PRAGMA journal_mode = WAL;");
    connection.execute_batch(IOS).unwrap();
    connection.close().unwrap();
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let found = chats(only(&repository), ChatApp::WhatsAppIos);
    let shown: Vec<_> = found.iter().map(|chat| (chat.name.as_str(), chat.messages, chat.media)).collect();
    assert_eq!(shown, [("4917-123", 1, 0), ("Anna", 3, 1)]);
    assert_eq!(found[1].jid, "491701234567@s.whatsapp.net");
    assert_eq!((found[1].first, found[1].last), (at(1_678_307_200_250), at(1_678_307_202_500)));

    let changes = "
        DELETE FROM ZWAMESSAGE WHERE Z_PK = 1;
        UPDATE ZWAMESSAGE SET ZTEXT = 'with other words' WHERE Z_PK = 3;
        INSERT INTO ZWAMESSAGE VALUES (5, 1, 2, NULL, 700000009, 'E', 'an answer');";
    sqlite(&folder.join("ChatStorage.sqlite"), changes).close().unwrap();
    let second = snapshot(&repository, &folder);
    let changes = changed_chats(diff(&repository, &first, &second, 20));
    let [group, anna] = changes.as_slice() else { panic!("{changes:?}") };
    let texts = |messages: &daykeep_engine::Messages| -> Vec<_> {
        messages.latest.iter().map(|message| (message.is_from_me, message.text.clone().unwrap())).collect()
    };
    assert_eq!((group.name.as_str(), texts(&group.came)), ("4917-123", vec![(true, "an answer".into())]));
    assert_eq!((anna.name.as_str(), texts(&anna.went)), ("Anna", vec![(false, "first".into())]));
    assert_eq!(texts(&anna.changed), [(true, "with other words".into())]);
    assert_eq!(anna.changed.latest[0].text_before.as_deref(), Some("without a name"));
    assert_eq!((group.went.count, group.changed.count, anna.came.count), (0, 0, 0));
}

#[test]
fn chats_of_the_old_android_schema() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let sql = "
        CREATE TABLE messages (_id INTEGER PRIMARY KEY, key_remote_jid TEXT, key_from_me INTEGER, key_id TEXT, data TEXT,
            timestamp INTEGER, media_wa_type TEXT);
        INSERT INTO messages VALUES (1, '-1', 0, '-1', NULL, 0, 0), (2, '49@s.whatsapp.net', 0, 'A', 'hello', 1000, '0'),
            (3, '49@s.whatsapp.net', 1, 'B', NULL, 2500, '1');";
    sqlite(&folder.join("msgstore.db"), sql).close().unwrap();
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let found = chats(only(&repository), ChatApp::WhatsAppAndroid);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].messages, found[0].media), ("49", 2, 1));
    assert_eq!((found[0].first, found[0].last), (at(1000), at(2500)));
    // Deleted for everyone: the row stays, its text and kind do not.
    let sql = "UPDATE messages SET data = NULL, media_wa_type = '15' WHERE key_id = 'A'";
    sqlite(&folder.join("msgstore.db"), sql).close().unwrap();
    let second = snapshot(&repository, &folder);
    let changes = changed_chats(diff(&repository, &first, &second, 20));
    assert_eq!((changes[0].changed.count, changes[0].changed.latest[0].text.clone()), (1, None));
    assert_eq!(changes[0].changed.latest[0].text_before.as_deref(), Some("hello"));
}

#[test]
fn other_schemas_are_tables_with_rows() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("a ?#%\u{e4}.db");
    let connection = sqlite(
        &path,
        "CREATE TABLE \"we\"\"ird 'name\" (a); CREATE TABLE other (a PRIMARY KEY) WITHOUT ROWID; CREATE VIEW seen AS SELECT 1;
         CREATE VIRTUAL TABLE words USING fts4(text); INSERT INTO words VALUES ('a b');
         INSERT INTO other VALUES (1), (2), (3);",
    );
    for _ in 0..1000 {
        connection.execute("INSERT INTO \"we\"\"ird 'name\" VALUES (?1)", params!["x".repeat(100)]).unwrap();
    }
    connection.close().unwrap();
    let repository = place.open();
    let first = snapshot(&repository, &folder);
    let found = tables(only(&repository));
    assert_eq!(found, [("other".into(), 3), ("we\"ird 'name".into(), 1000)]);
    sqlite(&path, "DROP TABLE other; CREATE TABLE new (a); DELETE FROM \"we\"\"ird 'name\" WHERE rowid < 10")
        .close()
        .unwrap();
    let second = snapshot(&repository, &folder);
    let mut diffs = diff(&repository, &first, &second, 20);
    let DatabaseChanges::Tables(found) = diffs.remove(0).changes.unwrap() else { panic!("other changes") };
    let found: Vec<_> = found.iter().map(|table| (table.name.as_str(), table.rows_before, table.rows_after)).collect();
    assert_eq!(found, [("new", None, Some(0)), ("other", Some(3), None), ("we\"ird 'name", Some(1000), Some(991))]);
}

/// Views could compute anything under the names of tables.
#[test]
fn what_only_looks_like_a_known_schema_is_not_asked_for_chats() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let views =
        IOS.replace("CREATE TABLE ZWACHATSESSION", "CREATE TABLE hidden").replace("INTO ZWACHATSESSION", "INTO hidden");
    let endless = "CREATE VIEW ZWACHATSESSION AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
        SELECT x AS Z_PK, 'a' AS ZPARTNERNAME, 'b' AS ZCONTACTJID FROM n;";
    sqlite(&folder.join("views.db"), &(views + endless)).close().unwrap();
    sqlite(&folder.join("utf16.db"), &format!("PRAGMA encoding = 'UTF-16le'; {IOS}")).close().unwrap();
    let repository = place.open();
    snapshot(&repository, &folder);
    let mut reports = look(&repository, "latest").unwrap();
    assert_eq!(tables(reports.remove(1).content.unwrap()), [("ZWAMESSAGE".into(), 4), ("hidden".into(), 3)]);
    // Texts in another encoding are texts all the same.
    let found = chats(reports.remove(0).content.unwrap(), ChatApp::WhatsAppIos);
    assert_eq!((found[1].name.as_str(), found[1].messages), ("Anna", 3));
}

#[test]
fn a_damaged_database_is_named_and_the_others_are_shown() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    for name in ["bad-header.db", "bad-pages.db", "good.db", "short.db"] {
        let connection = sqlite(&folder.join(name), IOS);
        for row in 10..5000 {
            let sql = "INSERT INTO ZWAMESSAGE VALUES (?1, 0, 1, NULL, ?1, 'key ' || ?1, 'text')";
            connection.execute(sql, [row]).unwrap();
        }
        connection.close().unwrap();
    }
    let damage = |name: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(folder.join(name)).unwrap();
        damage(&mut bytes);
        fs::write(folder.join(name), bytes).unwrap();
    };
    damage("bad-header.db", &|bytes| bytes[16..100].fill(0x11));
    damage("bad-header.db", &|bytes| bytes[16..18].copy_from_slice(&[0x10, 0]));
    damage("bad-pages.db", &|bytes| {
        let length = bytes.len();
        bytes[4 * 4096..length].fill(0xfe);
    });
    damage("short.db", &|bytes| bytes.truncate(50_000));
    let encrypted = folder.join("encrypted.db");
    fs::write(&encrypted, noise::random(1, 100_000)).unwrap();
    let repository = place.open();
    snapshot(&repository, &folder);

    let reports = look(&repository, "latest").unwrap();
    let shown = |path: &[u8]| String::from_utf8_lossy(path).rsplit('/').next().unwrap().to_owned();
    let names: Vec<_> = reports.iter().map(|report| shown(&report.path)).collect();
    assert_eq!(names, ["bad-header.db", "bad-pages.db", "good.db", "short.db"]);
    for report in &reports {
        match (&report.content, shown(&report.path).as_str()) {
            (Ok(content), "good.db") => assert_eq!(chats(content.clone(), ChatApp::WhatsAppIos).len(), 2),
            (Err(error @ Error::Database { .. }), _) => {
                let path = String::from_utf8_lossy(&report.path);
                assert!(error.to_string().starts_with(&format!("{path}: ")), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let of = |name: &str| format!("latest:{}", folder.join(name).display());
    assert_eq!(look(&repository, &of("good.db")).unwrap().len(), 1);
    assert!(diff(&repository, &of("good.db"), &of("short.db"), 5)[0].changes.is_err());
    let error = look(&repository, &of("encrypted.db")).unwrap_err();
    assert!(
        matches!(&error, Error::NoDatabase { .. }) && error.to_string().contains("encrypted.db: there is no SQLite")
    );
    assert!(matches!(look(&repository, &of("none")), Err(Error::PathNotFound { .. })));
}

#[test]
fn databases_of_two_folders_are_compared_by_their_places() {
    let place = Place::new(Kind::Memory);
    let (first, second) = (place.folder("source/1"), place.folder("source/2"));
    for (folder, names) in [(&first, ["a.db", "b.db"]), (&second, ["b.db", "c.db"])] {
        for name in names {
            sqlite(&folder.join(name), &format!("CREATE TABLE t (a); INSERT INTO t VALUES ('{}')", folder.display()))
                .close()
                .unwrap();
        }
    }
    let repository = place.open();
    snapshot(&repository, &place.path("source"));
    let of = |folder: &Path| format!("latest:{}", folder.display());
    let diffs = diff(&repository, &of(&first), &of(&second), 5);
    let found: Vec<_> = diffs.iter().map(|diff| (diff.path.as_slice(), diff.changes.as_ref().unwrap())).collect();
    let path = |folder: &Path, name: &str| folder.join(name).into_os_string().into_encoded_bytes();
    assert_eq!(found[0], (path(&first, "a.db").as_slice(), &DatabaseChanges::Went));
    assert_eq!(found[1].0, path(&second, "b.db"));
    assert!(matches!(found[1].1, DatabaseChanges::Tables(_)));
    assert_eq!(found[2], (path(&second, "c.db").as_slice(), &DatabaseChanges::Came));
}

#[test]
fn nothing_is_left_in_the_cache_directory_and_leftovers_are_removed() {
    let place = Place::new(Kind::Redb);
    let folder = place.folder("source");
    sqlite(&folder.join("a.db"), IOS).close().unwrap();
    let repository = place.open();
    snapshot(&repository, &folder);
    drop(repository);
    let cache = fs::read_dir(place.path("cache")).unwrap().next().unwrap().unwrap().path();
    fs::write(cache.join("chats-0123.db"), b"of a process that was killed").unwrap();
    assert_eq!(leftovers(&place).len(), 1);
    let repository = place.try_open(Access::Read).unwrap();
    only(&repository);
    assert_eq!(leftovers(&place), [""; 0]);
    let options = ChatsOptions::default();
    options.cancel.cancel();
    assert!(matches!(repository.chats(&what("latest"), &options), Err(Error::Cancelled)));
    assert_eq!(leftovers(&place), [""; 0]);
}
