//! `chats`, for people and for programs.

use rusqlite::Connection;

use crate::world::World;

const SCHEMA: &str = "
    CREATE TABLE jid (_id INTEGER PRIMARY KEY, user TEXT, raw_string TEXT);
    CREATE TABLE chat (_id INTEGER PRIMARY KEY, jid_row_id INTEGER, subject TEXT);
    CREATE TABLE message (_id INTEGER PRIMARY KEY, chat_row_id INTEGER, from_me INTEGER, key_id TEXT, timestamp INTEGER,
        message_type INTEGER, text_data TEXT);
    CREATE TABLE message_media (message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER);
    INSERT INTO jid VALUES (1, '491701234567', '491701234567@s.whatsapp.net'), (2, '4917-1', '4917-1@g.us');
    INSERT INTO chat VALUES (1, 1, NULL), (2, 2, 'Family \x1b[31m');
    INSERT INTO message VALUES (1, 1, 0, 'A', 1700000000000, 0, 'hello'), (2, 1, 1, 'B', 1700000001500, 1, NULL),
        (3, 2, 0, 'C', 1690000000000, 0, 'old news');
    INSERT INTO message_media VALUES (2, 1);";
const NEXT_DAY: &str = "
    DELETE FROM message WHERE _id = 3;
    UPDATE message SET text_data = 'hello, you' WHERE _id = 1;
    INSERT INTO message VALUES (4, 2, 1, 'D', 1700100000000, 0, 'two' || char(10) || 'lines');";

fn world() -> World {
    let world = World::with_repository();
    let database = |sql| Connection::open(world.path("source/msgstore.db")).unwrap().execute_batch(sql).unwrap();
    database(SCHEMA);
    Connection::open(world.path("source/other.db")).unwrap().execute_batch("CREATE TABLE things (a)").unwrap();
    world.daykeep(&["backup", "source"]).succeeds();
    database(NEXT_DAY);
    world.daykeep(&["backup", "source"]).succeeds();
    world
}

/// Returns the ids of the two snapshots.
fn ids(world: &World) -> Vec<String> {
    let snapshots = world.daykeep(&["snapshots", "--json"]).succeeds().objects("snapshot");
    snapshots.iter().map(|snapshot| snapshot["short_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn chats_for_people() {
    let world = world();
    let first = &ids(&world)[0];
    let source = world.path("source").display().to_string();
    let bytes = |name: &str| std::fs::metadata(world.path(name)).unwrap().len() as f64 / 1024.0;
    let shown = world.daykeep(&["chats", first]).succeeds();
    let wanted = format!(
        "{source}/msgstore.db: {:.1} KiB, WhatsApp on Android, 2 chats, 3 messages
CHAT               MESSAGES  MEDIA  FIRST                LAST
491701234567              2      1  2023-11-14 22:13:20  2023-11-14 22:13:21
Family \\u{{1b}}[31m         1      0  2023-07-22 04:26:40  2023-07-22 04:26:40
{source}/other.db: {:.1} KiB, unknown to daykeep, 1 table
TABLE   ROWS
things     0
",
        bytes("source/msgstore.db"),
        bytes("source/other.db")
    );
    assert_eq!(shown.stdout, wanted);
    let shown = world.daykeep(&["chats", "--diff", first, "latest"]).succeeds();
    let wanted = format!(
        "{source}/msgstore.db: WhatsApp on Android, 1 came, 1 went, 1 changed
CHAT               CAME  WENT  CHANGED
Family \\u{{1b}}[31m     1     1        0
491701234567          0     0        1
Family \\u{{1b}}[31m:
  + 2023-11-16 02:00:00  me: two\\nlines
  - 2023-07-22 04:26:40  old news
491701234567:
  ~ 2023-11-14 22:13:20  hello -> hello, you
{source}/other.db: unchanged
"
    );
    assert_eq!(shown.stdout, wanted);
}

#[test]
fn chats_for_programs() {
    let world = world();
    let first = &ids(&world)[0];
    let shown = world.daykeep(&["chats", "latest", "--json"]).succeeds();
    let databases = shown.objects("database");
    assert_eq!(databases.len(), 2);
    assert_eq!((&databases[0]["app"], &databases[1]["app"]), (&"whatsapp_android".into(), &serde_json::Value::Null));
    let chats = shown.objects("chat");
    assert_eq!(chats.len(), 2);
    assert_eq!((&chats[0]["jid"], &chats[0]["messages"]), (&"4917-1@g.us".into(), &1.into()));
    assert_eq!(chats[0]["last"], "2023-11-16T02:00:00Z");
    assert_eq!(shown.objects("table")[0]["name"], "things");
    let summary = shown.last_object();
    assert_eq!((&summary["databases"], &summary["chats"], &summary["messages"]), (&2.into(), &2.into(), &3.into()));

    let shown = world.daykeep(&["chats", "--diff", first, "latest", "--limit", "1", "--json"]).succeeds();
    let messages = shown.objects("message");
    let changes: Vec<_> = messages.iter().map(|message| message["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["came", "went", "changed"]);
    assert_eq!((&messages[0]["text"], &messages[0]["from_me"]), (&"two\nlines".into(), &true.into()));
    assert_eq!(messages[2]["text_before"], "hello");
    let summary = shown.last_object();
    assert_eq!((&summary["came"], &summary["went"], &summary["changed"]), (&1.into(), &1.into(), &1.into()));
}

#[test]
fn what_cannot_be_looked_into_is_named() {
    let world = World::with_repository();
    world.write("source/bad.db", &[b"SQLite format 3\0\x10\0".as_slice(), &[9; 9000]].concat());
    world.daykeep(&["backup", "source"]).succeeds();
    let bad = world.daykeep(&["chats", "latest"]).fails_with(3);
    assert!(bad.stderr.contains("source/bad.db: it begins like an SQLite database but is none"), "{}", bad.stderr);
    let none = world.daykeep(&["chats", &format!("latest:{}", world.path("source/folder").display())]).fails_with(1);
    assert!(none.stderr.contains("there is no SQLite database at or below"), "{}", none.stderr);
    world.daykeep(&["chats"]).fails_with(2);
    world.daykeep(&["chats", "latest", "--diff", "a", "b"]).fails_with(2);
}
