//! What restore tests and `chats` say of databases with parts that only their programs know.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use daykeep_engine::{CheckOptions, CheckReport, Repository, RestoreTest};
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, back_up};
use rusqlite::Connection;

use crate::chats::{only, tables};

const NAMES: [&str; 6] = ["Mederic B", "Méderic A", "MÉdÉric C", "Zoë", "Änne", "anna"];

fn test(repository: &Repository) -> CheckReport {
    let mut options = CheckOptions::default();
    options.restore_test = Some(RestoreTest::percent(100));
    repository.check(&options).unwrap()
}

fn fold(text: &str) -> String {
    text.to_lowercase().replace(['é', 'ë'], "e").replace('ä', "a")
}

fn make(path: &Path, collation: &str, sql: &str) {
    let database = Connection::open(path).unwrap();
    database.create_collation(collation, |a: &str, b: &str| fold(a).cmp(&fold(b))).unwrap();
    database.execute_batch(sql).unwrap();
    for name in NAMES.iter().cycle().take(200) {
        database.execute("INSERT INTO t (name, data) VALUES (?1, zeroblob(2000))", [name]).unwrap();
    }
    database.close().unwrap();
}

/// Returns the notes about each file of the only restore test, by its name.
fn hints(report: &CheckReport) -> BTreeMap<String, Vec<String>> {
    let mut hints = BTreeMap::<String, Vec<String>>::new();
    for (path, hint) in &report.restore_tests[0].hints_named {
        hints.entry(path.rsplit('/').next().unwrap().to_owned()).or_default().push(hint.clone());
    }
    hints
}

#[test]
fn an_order_that_only_the_program_knows_is_no_damage() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    make(
        &folder.join("members.db"),
        "NOCASE",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, data); CREATE INDEX i ON t (name COLLATE NOCASE)",
    );
    make(
        &folder.join("library.db"),
        "icu_root",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE icu_root, data); CREATE INDEX i ON t (name)",
    );
    let repository = place.open();
    back_up(&repository, &folder);
    let report = test(&repository);
    assert_eq!((report.errors.len(), report.restore_tests[0].problems), (0, 0), "{:?}", report.errors);
    assert_eq!(report.restore_tests[0].databases, 2);
    let hints = hints(&report);
    assert!(hints["members.db"][0].contains("its rows are all there"), "{hints:?}");
    assert!(hints["library.db"][0].contains("icu_root"), "{hints:?}");
    assert_eq!(hints["library.db"].len(), 1, "{hints:?}");
    let what = format!("latest:{}", folder.join("library.db").display());
    let reports = repository.chats(&crate::chats::what(&what), &Default::default()).unwrap();
    assert_eq!(reports.len(), 1);
    assert!(format!("{:?}", reports[0].content).contains("rows: 200"), "{reports:?}");
}

#[test]
fn what_is_lost_is_damage_whatever_else_is_not_known() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("library.db");
    make(
        &path,
        "icu_root",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE icu_root, data); CREATE INDEX i ON t (name)",
    );
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2 / 4096 * 4096;
    bytes[at..at + 4096].fill(0x55);
    fs::write(&path, bytes).unwrap();
    let repository = place.open();
    back_up(&repository, &folder);
    let report = test(&repository);
    assert_eq!(report.restore_tests[0].problems, 1, "{report:?}");
}

#[test]
fn what_only_a_program_can_read_is_said_and_the_rest_is_checked() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    // A tokenizer that nobody else has: its name is put into a schema that was made with one that all have.
    let path = folder.join("search.db");
    let database = Connection::open(&path).unwrap();
    let sql =
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); CREATE VIRTUAL TABLE f USING fts5(x, tokenize = 'ascii');
        INSERT INTO f VALUES ('some words'); PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, 'ascii', 'icuxx') WHERE name = 'f'";
    database.execute_batch(sql).unwrap();
    database.close().unwrap();
    // Nobody but its program can read this one.
    let mut bytes = fs::read(&path).unwrap();
    let encrypted = noise::random(9, bytes.len() - 32);
    bytes[20] = 80;
    bytes[32..].copy_from_slice(&encrypted);
    fs::write(folder.join("sealed.db"), bytes).unwrap();
    let repository = place.open();
    back_up(&repository, &folder);
    let report = test(&repository);
    assert_eq!((report.errors.len(), report.restore_tests[0].problems), (0, 0), "{:?}", report.errors);
    let hints = hints(&report);
    assert!(hints["search.db"].iter().any(|hint| hint.contains("virtual table f")), "{hints:?}");
    assert!(hints["sealed.db"][0].contains("encrypted"), "{hints:?}");
    fs::remove_file(folder.join("sealed.db")).unwrap();
    back_up(&repository, &folder);
    assert!(tables(only(&repository)).contains(&("t".to_owned(), 2)));
}
