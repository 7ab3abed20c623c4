//! SQLite databases that are in use: what is saved of them is a state that was committed, and they stay as they are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daykeep_engine::internals::whatsapp;
use daykeep_engine::{BackupOptions, BackupReport, Repository, SqliteCapture, WhatsAppKey};
use daykeep_tests::inventory::read;
use daykeep_tests::is_long;
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{Kind, Place, assert_clean, back_up, below, temp, try_restore};
use daykeep_tests::whatsapp::Encoder;
use rusqlite::{Connection, OpenFlags};

const DATABASE: &str = "DAYKEEP_TEST_WRITER_DATABASE";
const MODE: &str = "DAYKEEP_TEST_WRITER_MODE";

/// Makes a database whose transactions tell their number and what all rows come to.
fn create(path: &Path, mode: &str) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let _: String = database.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get(0)).unwrap();
    database
        .execute_batch(
            "PRAGMA synchronous = OFF;
             CREATE TABLE IF NOT EXISTS item(id INTEGER PRIMARY KEY, value INTEGER NOT NULL, filler BLOB);
             CREATE INDEX IF NOT EXISTS by_value ON item(value);
             CREATE TABLE IF NOT EXISTS state(number INTEGER NOT NULL, items INTEGER NOT NULL, total INTEGER NOT NULL);
             INSERT INTO state SELECT 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM state)",
        )
        .unwrap();
    database
}

/// One transaction: rows come, change and go, and the state says what is left.
fn transaction(database: &mut Connection, rng: &mut Rng) {
    let transaction = database.transaction().unwrap();
    for _ in 0..1 + rng.below(8) {
        let (id, value) = (rng.below(3000) as i64, rng.below(1 << 20) as i64);
        match rng.below(4) {
            0 => transaction.execute("DELETE FROM item WHERE id = ?1", [id]),
            1 => transaction.execute("UPDATE item SET value = ?2 WHERE id = ?1", [id, value]),
            _ => transaction
                .execute("INSERT OR REPLACE INTO item VALUES (?1, ?2, randomblob(?3))", [id, value, value % 3000]),
        }
        .unwrap();
    }
    transaction
        .execute(
            "UPDATE state SET number = number + 1, items = (SELECT count(*) FROM item),
             total = (SELECT coalesce(sum(value), 0) FROM item)",
            [],
        )
        .unwrap();
    transaction.commit().unwrap();
}

/// Not a test of its own: writes as fast as it can until it is killed.
#[test]
fn writer_child() {
    let (Some(path), Some(mode)) = (std::env::var_os(DATABASE), std::env::var(MODE).ok()) else { return };
    let mut database = create(Path::new(&path), &mode);
    let mut rng = Rng::new(7);
    for number in 0.. {
        transaction(&mut database, &mut rng);
        if number == 20 {
            println!("\nwriting");
        }
        if mode == "wal" && number % 150 == 149 {
            let _: Option<i64> = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).ok();
        }
    }
}

struct Writer(Child);

impl Writer {
    /// Starts a process that writes, and waits until it does.
    fn start(path: &Path, mode: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "databases::writer_child", "--nocapture"])
            .env(DATABASE, path)
            .env(MODE, mode)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "writing"), "the writer begins");
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the number of the transaction whose state a database shows, after seeing that it shows one.
fn committed(path: &Path) -> i64 {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok", "{}", path.display());
    let state =
        |sql: &str| -> (i64, i64) { database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap() };
    assert_eq!(state("SELECT items, total FROM state"), state("SELECT count(*), coalesce(sum(value), 0) FROM item"));
    database.query_row("SELECT number FROM state", [], |row| row.get(0)).unwrap()
}

/// Restores one file of the latest snapshot and returns where it is.
fn restored(repository: &Repository, file: &Path, target: &Path) -> PathBuf {
    let report = try_restore(repository, "latest", target).unwrap();
    assert_eq!(report.warnings, []);
    below(target, file)
}

fn backups_beside_a_writer(kind: Kind, mode: &str, backups: usize) {
    let place = Place::new(kind);
    let folder = place.folder("source");
    let database = folder.join("chats.db");
    fs::write(folder.join("photo"), noise::random(1, 100_000)).unwrap();
    let writer = Writer::start(&database, mode);
    let (mut last, mut first) = (0, None);
    for _ in 0..backups {
        let repository = place.open();
        let report = back_up(&repository, &folder);
        // A writer that waits for its turn between two transactions leaves no trace in this mode, and then nobody writes.
        let is_at_rest = mode == "delete" && report.captured.is_empty();
        assert!(is_at_rest || report.captured == std::slice::from_ref(&database), "{mode}: {:?}", report.captured);
        let target = temp();
        let file = restored(&repository, &database, target.path());
        let names: Vec<_> =
            fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "neither log nor journal: {names:?}");
        let number = committed(&file);
        assert!(number >= last, "{mode}: {number} after {last}");
        last = number;
        first.get_or_insert(number);
    }
    drop(writer);
    assert!(first.is_some_and(|first| first < last), "{mode}: the writer got on beside the backups");
    assert!(committed(&database) >= last, "the source is as good as its writer left it");
    assert_clean(&place.open());
}

#[test]
fn every_backup_beside_a_busy_writer_holds_a_committed_state() {
    let backups = if is_long() { 200 } else { 12 };
    for mode in ["wal", "delete", "truncate", "persist"] {
        backups_beside_a_writer(Kind::Directory, mode, backups);
    }
}

fn hold(path: &Path, mode: &str, rows: u64) -> Connection {
    let mut database = create(path, mode);
    let mut rng = Rng::new(rows);
    (0..rows).for_each(|_| transaction(&mut database, &mut rng));
    database
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect();
    files.sort();
    files
}

/// Copies a database as it lies there at this moment, as a crash would leave it.
fn crash(from: &Path, to: &Path, with: &[&str]) {
    for suffix in with {
        fs::copy(format!("{}{suffix}", from.display()), format!("{}{suffix}", to.display())).unwrap();
    }
}

#[test]
fn a_log_that_nobody_has_open_is_read_and_nothing_is_left_beside_it() {
    let place = Place::new(Kind::Memory);
    let (live, folder) = (place.folder("live"), place.folder("source"));
    let database = hold(&live.join("chats.db"), "wal", 50);
    let number: i64 = database.query_row("SELECT number FROM state", [], |row| row.get(0)).unwrap();
    let crashed = folder.join("chats.db");
    crash(&live.join("chats.db"), &crashed, &["", "-wal"]);
    drop(database);
    let before = files(&folder);
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!(report.captured, std::slice::from_ref(&crashed));
    assert_eq!(report.companions, [folder.join("chats.db-wal")]);
    assert_eq!(files(&folder), before);
    assert!(!folder.join("chats.db-shm").exists());
    let target = temp();
    assert_eq!(committed(&restored(&repository, &crashed, target.path())), number);
}

#[test]
fn a_hot_journal_is_rolled_back_in_the_copy_only() {
    let place = Place::new(Kind::Memory);
    let (live, folder) = (place.folder("live"), place.folder("source"));
    let path = live.join("chats.db");
    let mut database = hold(&path, "delete", 200);
    let number: i64 = database.query_row("SELECT number FROM state", [], |row| row.get(0)).unwrap();
    // A cache of nothing: changed pages go to the file while the transaction is still open.
    database.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; PRAGMA synchronous = NORMAL").unwrap();
    let transaction = database.transaction().unwrap();
    transaction.execute("UPDATE item SET value = value + 1, filler = randomblob(2000)", []).unwrap();
    let crashed = folder.join("chats.db");
    crash(&path, &crashed, &["", "-journal"]);
    drop(transaction);
    drop(database);
    let before = files(&folder);
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!(report.captured, std::slice::from_ref(&crashed));
    assert_eq!(files(&folder), before);
    let target = temp();
    assert_eq!(committed(&restored(&repository, &crashed, target.path())), number);
}

#[test]
fn what_is_only_in_the_log_is_seen_and_what_did_not_change_is_not_read() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    let mut database = hold(&path, "wal", 20);
    let repository = place.open();
    let first = back_up(&repository, &folder);
    assert_eq!((first.captured.len(), first.counts.files), (1, 1));
    // The parent's files are compared only when they are older than its beginning.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(back_up(&repository, &folder).captured.len(), 1);
    let unchanged = back_up(&repository, &folder);
    assert_eq!((unchanged.captured.len(), unchanged.counts.files_unmodified), (0, 1));
    let before = fs::metadata(&path).unwrap();
    transaction(&mut database, &mut Rng::new(5));
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (before.len(), before.modified().unwrap()),
        (after.len(), after.modified().unwrap()),
        "only the log grew"
    );
    let changed = back_up(&repository, &folder);
    assert_eq!((changed.captured.len(), changed.counts.files_changed), (1, 1));
    let target = temp();
    assert_eq!(committed(&restored(&repository, &path, target.path())), 21);
}

#[test]
fn capture_can_be_switched_off() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let database = hold(&folder.join("chats.db"), "wal", 20);
    let mut options = BackupOptions::default();
    options.sqlite = SqliteCapture::Off;
    let repository = place.open();
    let report: BackupReport = repository.backup(&[&folder], &options).unwrap();
    assert_eq!((report.captured.len(), report.companions.len(), report.counts.files), (0, 0, 3));
    options.sqlite = SqliteCapture::Verify;
    let report = repository.backup(&[&folder], &options).unwrap();
    assert_eq!((report.captured.len(), report.companions.len(), report.warnings.len()), (1, 2, 0));
    drop(database);
}

#[test]
fn what_only_looks_like_a_database_in_use_is_saved_as_it_is_with_a_warning() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("other.db");
    drop(hold(&path, "delete", 50));
    let mut bytes = fs::read(&path).unwrap();
    // A header, and nothing behind it.
    bytes[100..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    fs::write(folder.join("other.db-wal"), [&0x377f_0682u32.to_be_bytes()[..], &[0; 28], &[7; 4120]].concat()).unwrap();
    fs::write(folder.join("report-wal"), b"of nothing").unwrap();
    let wanted = read(&folder);
    let repository = place.open();
    let report = repository.backup(&[&folder], &BackupOptions::default()).unwrap();
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].message.contains("saved as they"), "{}", report.warnings[0].message);
    daykeep_tests::place::assert_restores(&repository, "latest", &folder, &wanted);
}

#[test]
fn a_locked_database_is_waited_for_and_a_damaged_copy_is_told() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    let database = hold(&path, "delete", 300);
    drop(database);
    // Damage where the check looks and the copy does not.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2 / 4096 * 4096;
    bytes[at..at + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    // Left by a program that truncates its journal, and has the database open.
    fs::write(folder.join("chats.db-journal"), b"").unwrap();
    let mut options = BackupOptions::default();
    options.sqlite = SqliteCapture::Verify;
    let report = place.open().backup(&[&folder], &options).unwrap();
    assert_eq!((report.captured.len(), report.companions.len()), (1, 1));
    assert!(report.warnings[0].message.contains("damaged"), "{:?}", report.warnings);
}

#[test]
fn a_restored_database_does_not_meet_the_log_of_the_one_it_replaces() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    let database = hold(&path, "wal", 20);
    let repository = place.open();
    back_up(&repository, &folder);
    let target = temp();
    let restored_path = restored(&repository, &path, target.path());
    // Somebody uses what was restored, and is killed.
    let used = hold(&restored_path, "wal", 30);
    let there = place.path("there");
    fs::create_dir(&there).unwrap();
    crash(&restored_path, &there.join("chats.db"), &["", "-wal", "-shm"]);
    drop(used);
    crash(&there.join("chats.db"), &restored_path, &["", "-wal", "-shm"]);
    let mut options = daykeep_engine::RestoreOptions::default();
    options.overwrite = daykeep_engine::Overwrite::IfChanged;
    let what = daykeep_engine::SnapshotPath::parse(b"latest").unwrap();
    let report = repository.restore(&what, target.path(), &options).unwrap();
    assert_eq!((report.files, report.files_kept), (1, 0));
    assert_eq!(committed(&restored_path), 20);
    drop(database);
}

/// Writes the database as WhatsApp would, encrypted and under a new IV each night.
fn encrypt(database: &Path, to: &Path, night: u8) {
    let mut encoder = Encoder::new(whatsapp::Kind::Crypt15);
    encoder.iv.fill(night);
    fs::write(to, encoder.encode(&fs::read(database).unwrap())).unwrap();
}

fn with_key(digits: &str) -> BackupOptions {
    let mut options = BackupOptions::default();
    options.whatsapp_keys = vec![WhatsAppKey::parse(&digits.repeat(32)).unwrap()];
    options
}

#[test]
fn encrypted_files_are_opened_and_a_week_of_them_costs_little_more_than_one() {
    let place = Place::new(Kind::Directory);
    let (live, folder) = (place.folder("live"), place.folder("Databases"));
    let path = live.join("msgstore.db");
    let mut database = hold(&path, "delete", 1500);
    let mut rng = Rng::new(99);
    let mut wanted = Vec::new();
    let repository = place.open();
    let mut stored = Vec::new();
    for night in 0..7u8 {
        let name = format!("msgstore-2026-11-{:02}.1.db", night + 1);
        encrypt(&path, &folder.join(format!("{name}.crypt15")), night);
        wanted.push((name, fs::read(&path).unwrap()));
        // A file's time of change is now, whatever its time is set to.
        let mut options = with_key("07");
        options.ignore_ctime = true;
        let report = repository.backup(&[&folder], &options).unwrap();
        assert_eq!((report.warnings.len(), report.opened.len()), (0, 1), "{:?}", report.warnings);
        assert_eq!(report.counts.files_unmodified + 1, report.counts.files);
        stored.push(report.bytes_stored);
        (0..3).for_each(|_| transaction(&mut database, &mut rng));
        // Parents are trusted only about files older than they are.
        for entry in fs::read_dir(&folder).unwrap() {
            let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
        }
        let touched = repository.backup(&[&folder], &with_key("07")).unwrap();
        stored.push(touched.bytes_stored);
    }
    let later: u64 = stored[1..].iter().sum();
    assert!(later < stored[0], "{stored:?}");
    let target = temp();
    let report = try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(report.warnings, []);
    for (name, bytes) in wanted {
        assert!(fs::read(below(target.path(), &folder).join(&name)).unwrap() == bytes, "{name}");
    }
    assert_clean(&repository);
}

#[test]
fn what_cannot_be_opened_is_saved_as_it_is_and_tried_again() {
    let place = Place::new(Kind::Memory);
    let (live, folder) = (place.folder("live"), place.folder("Databases"));
    let path = live.join("msgstore.db");
    drop(hold(&path, "delete", 50));
    encrypt(&path, &folder.join("msgstore.db.crypt15"), 1);
    fs::write(folder.join("taken.db"), "already here").unwrap();
    encrypt(&path, &folder.join("taken.db.crypt15"), 2);
    fs::write(folder.join("other.crypt14"), "no such file").unwrap();
    let encrypted = read(&folder);
    let repository = place.open();
    for options in [BackupOptions::default(), with_key("08")] {
        let has_key = !options.whatsapp_keys.is_empty();
        let report = repository.backup(&[&folder], &options).unwrap();
        // What nobody can do anything about is a note.
        let wanted = if has_key { (1, 2) } else { (0, 0) };
        assert_eq!((report.warnings.len(), report.notes.len()), wanted, "{:?}", report.warnings);
        daykeep_tests::place::assert_restores(&repository, "latest", &folder, &encrypted);
    }
    let report = repository.backup(&[&folder], &with_key("07")).unwrap();
    assert_eq!((report.warnings.len(), report.opened.len()), (0, 1), "{:?}", report.warnings);
    // One file that is named, too.
    let file = folder.join("msgstore.db.crypt15");
    for _ in 0..2 {
        let report = repository.backup(&[&file], &with_key("07")).unwrap();
        assert_eq!((report.counts.files, report.warnings.len()), (1, 0));
        let target = temp();
        let report = try_restore(&repository, "latest", target.path()).unwrap();
        assert_eq!(report.files, 1);
        let inside = below(target.path(), &folder).join("msgstore.db");
        assert!(fs::read(inside).unwrap() == fs::read(&path).unwrap());
    }
}

#[test]
fn a_database_with_encrypted_pages_costs_the_pages_that_changed() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("source");
    let mut bytes = noise::random(1, 600 * 4096);
    let database = folder.join("signal.DB");
    fs::write(&database, &bytes).unwrap();
    fs::write(folder.join("no database.bin"), &bytes).unwrap();
    let repository = place.open();
    let first = back_up(&repository, &folder).bytes_stored;
    for day in 0..3u64 {
        for at in (day as usize..600).step_by(6) {
            bytes[at * 4096..(at + 1) * 4096].copy_from_slice(&noise::random(1000 * (day + 1) + at as u64, 4096));
        }
        fs::write(&database, &bytes).unwrap();
        let wanted = read(&folder);
        let stored = back_up(&repository, &folder).bytes_stored;
        assert!(stored < 100 * 4096 * 11 / 10, "day {day}: {stored} after {first}");
        daykeep_tests::place::assert_restores(&repository, "latest", &folder, &wanted);
    }
    assert_clean(&repository);
}
