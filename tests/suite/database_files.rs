//! What lies beside databases, who holds them, and what stays as it is: with real programs that hold them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use daykeep_engine::{BackupOptions, BackupReport, Event, Overwrite, Repository, RestoreOptions, SnapshotPath};
use daykeep_tests::inventory::read;
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_restores, back_up, below, temp, try_restore};
use rusqlite::{Connection, OpenFlags};

const DATABASE: &str = "DAYKEEP_TEST_HOLDER_DATABASE";
const SETTINGS: &str = "DAYKEEP_TEST_HOLDER_SETTINGS";

fn rows(path: &Path) -> i64 {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok", "{}", path.display());
    database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// Makes a database of some pages.
fn make(path: &Path, settings: &str, rows: u32) -> Connection {
    let database = Connection::open(path).unwrap();
    database.execute_batch(settings).unwrap();
    database.execute_batch("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB); BEGIN").unwrap();
    for _ in 0..rows {
        database.execute("INSERT INTO t (b) VALUES (randomblob(700))", []).unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
    database
}

/// Not a test of its own: holds a database until it is killed.
#[test]
fn holder_child() {
    let (Some(path), Ok(settings)) = (std::env::var_os(DATABASE), std::env::var(SETTINGS)) else { return };
    let _database = make(Path::new(&path), &settings, 40);
    println!("\nholding");
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

struct Holder(Child);

impl Holder {
    fn start(path: &Path, settings: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "database_files::holder_child", "--nocapture"])
            .env(DATABASE, path)
            .env(SETTINGS, settings)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "holding"), "it holds the database");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Returns name, content and time of last change of all files in a folder.
fn state(folder: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let of = |name: String| {
        let path = folder.join(&name);
        (name, fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())
    };
    names(folder).into_iter().map(of).collect()
}

fn restore_in_place(repository: &Repository, overwrite: Overwrite) -> Vec<(String, String)> {
    let mut options = RestoreOptions::default();
    options.overwrite = overwrite;
    let what = SnapshotPath::parse(b"latest").unwrap();
    repository.restore(&what, Path::new("/"), &options).unwrap().warnings
}

#[test]
fn users_files_that_are_called_like_sqlites_are_saved_and_stay() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    drop(make(&folder.join("travel"), "", 3));
    fs::write(folder.join("travel-journal"), "Day 1: Lisbon").unwrap();
    fs::write(folder.join("travel-wal"), "Walls of Lisbon").unwrap();
    fs::create_dir(folder.join("held-shm")).unwrap();
    fs::write(folder.join("held-shm/photo"), "of a sham").unwrap();
    symlink("travel", folder.join("held-wal")).unwrap();
    let held = Holder::start(&folder.join("held"), "PRAGMA journal_mode = delete");
    let wanted = read(&folder);
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!((report.companions.len(), report.warnings.len()), (0, 0));
    assert_restores(&repository, "latest", &folder, &wanted);
    drop(held);
    assert_eq!(restore_in_place(&repository, Overwrite::Always), []);
    assert_eq!(read(&folder), wanted);
}

#[test]
fn what_belongs_to_another_state_goes_only_when_its_database_is_replaced() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    let held = Holder::start(&path, "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0");
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!((report.captured.len(), report.companions.len()), (1, 2));
    drop(held);
    let log = fs::read(beside(&path, "-wal")).unwrap();
    fs::remove_file(beside(&path, "-shm")).unwrap();
    // The database stays, and so does all that is beside it.
    assert_eq!(restore_in_place(&repository, Overwrite::Never), []);
    assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), log);
    // It is gone: what nothing may overwrite is told.
    fs::remove_file(&path).unwrap();
    let warnings = restore_in_place(&repository, Overwrite::Never);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].0.ends_with("chats.db-wal"), "{warnings:?}");
    assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), log);
    assert_eq!(restore_in_place(&repository, Overwrite::Always), []);
    assert_eq!(names(&folder), ["chats.db"]);
    assert_eq!(rows(&path), 40);
}

#[test]
fn each_name_of_a_database_is_saved_with_what_lies_beside_it() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let (old, live) = (place.folder("source/daily.1"), place.folder("source/live"));
    drop(make(&live.join("chats.db"), "PRAGMA journal_mode = wal", 50));
    fs::hard_link(live.join("chats.db"), old.join("chats.db")).unwrap();
    fs::hard_link(live.join("chats.db"), folder.join("another.db")).unwrap();
    let held = Holder::start(&live.join("chats.db"), "PRAGMA wal_autocheckpoint = 0");
    let repository = place.open();
    for _ in 0..2 {
        let report = back_up(&repository, &folder);
        assert_eq!((report.captured.len(), report.warnings.len()), (1, 0), "{:?}", report.warnings);
        assert_eq!((names(&old), names(&folder).len()), (vec!["chats.db".to_owned()], 3));
        let target = temp();
        assert_eq!(try_restore(&repository, "latest", target.path()).unwrap().warnings, []);
        let restored = below(target.path(), &folder);
        assert_eq!(rows(&restored.join("live/chats.db")), 90);
        assert_eq!(rows(&restored.join("daily.1/chats.db")), 50);
        assert_eq!(rows(&restored.join("another.db")), 50);
    }
    drop(held);
}

#[test]
fn a_database_at_rest_is_saved_byte_for_byte_and_nothing_appears_beside_it() {
    for mode in ["wal", "delete", "truncate", "persist"] {
        let place = Place::new(Kind::Memory);
        let folder = place.folder("source");
        // Written a moment ago.
        drop(make(&folder.join("chats.db"), &format!("PRAGMA journal_mode = {mode}"), 20));
        // Longer than what is read at once.
        drop(make(&folder.join("long.db"), &format!("PRAGMA journal_mode = {mode}"), 4000));
        let before = state(&folder);
        let repository = place.open();
        let report = back_up(&repository, &folder);
        assert_eq!(report.warnings, [], "{mode}");
        assert_eq!(state(&folder), before, "{mode}");
        let target = temp();
        assert_eq!(try_restore(&repository, "latest", target.path()).unwrap().warnings, []);
        for (name, bytes, _) in before.iter().filter(|(name, ..)| name.ends_with(".db")) {
            assert!(fs::read(below(target.path(), &folder).join(name)).unwrap() == *bytes, "{mode}: {name}");
        }
    }
}

#[test]
fn shared_memory_that_nobody_holds_stays_as_it_is() {
    let place = Place::new(Kind::Memory);
    let (live, folder) = (place.folder("live"), place.folder("source"));
    let held = Holder::start(&live.join("chats.db"), "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0");
    // A phone that is copied while it runs.
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(beside(&live.join("chats.db"), suffix), beside(&folder.join("chats.db"), suffix)).unwrap();
    }
    drop(held);
    let before = state(&folder);
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!((report.captured.len(), report.warnings.len()), (1, 0), "{:?}", report.warnings);
    assert_eq!(state(&folder), before);
    let target = temp();
    try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(names(&below(target.path(), &folder)), ["chats.db"]);
    assert_eq!(rows(&below(target.path(), &folder).join("chats.db")), 40);
}

#[test]
fn a_writer_waits_for_half_a_second_at_most() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    drop(make(&path, "", 20_000));
    let (waited, is_told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (told, longest, database) = (Arc::clone(&is_told), Arc::clone(&waited), path.clone());
    let slow = move |event: &Event| {
        if matches!(event, Event::Progress { bytes: 1.., .. }) && !told.swap(true, Ordering::Relaxed) {
            let begun = Instant::now();
            let writer = Connection::open(&database).unwrap();
            writer.busy_timeout(Duration::from_secs(20)).unwrap();
            writer.execute_batch("INSERT INTO t (b) VALUES (randomblob(100))").unwrap();
            longest.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    };
    let repository = place.open();
    let report = repository.backup(&[&folder], &BackupOptions::default().observer(slow)).unwrap();
    let waited = waited.load(Ordering::Relaxed);
    assert!(is_told.load(Ordering::Relaxed) && waited < 1500, "{waited} ms");
    assert_eq!(report.warnings, []);
    let target = temp();
    try_restore(&repository, "latest", target.path()).unwrap();
    let found = rows(&below(target.path(), &folder).join("chats.db"));
    assert!(found == 20_000 || found == 20_001, "{found}");
}

#[test]
fn databases_that_an_idle_program_keeps_for_itself_cost_little() {
    let settings = [
        "PRAGMA locking_mode = exclusive; PRAGMA journal_mode = truncate",
        "PRAGMA locking_mode = exclusive; PRAGMA journal_mode = persist",
        "PRAGMA locking_mode = exclusive; PRAGMA journal_mode = delete",
        "PRAGMA locking_mode = exclusive; PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0",
    ];
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let holders: Vec<Holder> = (settings.iter().enumerate())
        .map(|(number, settings)| Holder::start(&folder.join(format!("History{number}")), settings))
        .collect();
    assert!(!folder.join("History3-shm").exists(), "this one keeps its shared memory for itself");
    let before = state(&folder);
    let repository = place.open();
    let begun = Instant::now();
    let report = back_up(&repository, &folder);
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(report.warnings, []);
    assert!(seconds < 5.0, "{seconds} s");
    assert_eq!(state(&folder), before);
    let target = temp();
    assert_eq!(try_restore(&repository, "latest", target.path()).unwrap().warnings, []);
    let restored = below(target.path(), &folder);
    assert_eq!(names(&restored), ["History0", "History1", "History2", "History3"]);
    for (number, settings) in settings.iter().enumerate() {
        assert_eq!(rows(&restored.join(format!("History{number}"))), 40, "{settings}");
    }
    drop(holders);
}

/// Adds to both sums of a log's checksum.
fn add(sums: &mut (u32, u32), bytes: &[u8]) {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| u32::from_be_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
        sums.0 = sums.0.wrapping_add(word(0)).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(word(4)).wrapping_add(sums.0);
    }
}

/// Returns a log of one frame: the first page, in a database that is said to have so many.
fn log_of(page: &[u8], pages: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let mut sums = (0, 0);
    let mut log = words(&[0x377f_0683, 3_007_000, page.len() as u32, 0, 1, 2]);
    add(&mut sums, &log);
    log.extend(words(&[sums.0, sums.1]));
    let frame = words(&[1, pages]);
    add(&mut sums, &frame);
    add(&mut sums, page);
    log.extend(frame);
    log.extend(words(&[1, 2, sums.0, sums.1]));
    log.extend(page);
    log
}

#[test]
fn a_log_that_names_more_pages_than_there_are_is_refused() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    drop(make(&path, "PRAGMA journal_mode = wal", 20));
    let bytes = fs::read(&path).unwrap();
    let log = |pages: u32| {
        let mut first = bytes[..4096].to_vec();
        first[28..32].copy_from_slice(&pages.to_be_bytes());
        fs::write(beside(&path, "-wal"), log_of(&first, pages)).unwrap();
    };
    let repository = place.open();
    log(bytes.len() as u32 / 4096);
    let report = back_up(&repository, &folder);
    assert_eq!((report.captured.len(), report.warnings.len()), (1, 0), "a true log is taken: {:?}", report.warnings);
    log(600_000);
    let wanted = read(&folder);
    let report = repository.backup(&[&folder], &BackupOptions::default()).unwrap();
    assert_eq!((report.captured.len(), report.warnings.len()), (0, 1));
    assert!(report.warnings[0].message.contains("more pages than"), "{:?}", report.warnings);
    assert_restores(&repository, "latest", &folder, &wanted);
}

/// Returns a database and the journal of a transaction that was under way when its writer was killed.
fn interrupted(place: &Place, to: &Path) {
    let live = place.folder("interrupted");
    let path = live.join("chats.db");
    let database = make(&path, "PRAGMA synchronous = NORMAL; PRAGMA cache_size = 1; PRAGMA cache_spill = 1", 40);
    database.execute_batch("BEGIN; UPDATE t SET b = randomblob(900)").unwrap();
    for suffix in ["", "-journal"] {
        fs::copy(beside(&path, suffix), beside(to, suffix)).unwrap();
    }
}

#[test]
fn a_journal_cannot_have_a_users_file_removed() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("chats.db");
    interrupted(&place, &path);
    // What SQLite takes for a super-journal: nobody refers to it any more, so it would be removed.
    let victim = place.path("a users letter");
    fs::write(&victim, "Dear all,\0").unwrap();
    let name = victim.to_str().unwrap().as_bytes();
    let sum: u32 = name.iter().map(|&byte| u32::from(byte)).sum();
    let mut journal = fs::read(beside(&path, "-journal")).unwrap();
    let magic = journal[..8].to_vec();
    journal.extend([&[0, 0, 0, 1][..], name, &(name.len() as u32).to_be_bytes(), &sum.to_be_bytes(), &magic].concat());
    fs::write(beside(&path, "-journal"), journal).unwrap();
    let repository = place.open();
    let report = back_up(&repository, &folder);
    assert_eq!((report.captured.len(), report.warnings.len()), (1, 0), "{:?}", report.warnings);
    assert_eq!(fs::read(&victim).unwrap(), b"Dear all,\0");
    let target = temp();
    try_restore(&repository, "latest", target.path()).unwrap();
    assert_eq!(rows(&below(target.path(), &folder).join("chats.db")), 40);
    // Once it is gone the transaction is over, and nothing is rolled back.
    fs::remove_file(&victim).unwrap();
    back_up(&repository, &folder);
    assert!(names(&folder).contains(&"chats.db-journal".to_owned()));
}

#[test]
fn a_database_of_which_only_the_header_is_in_clear_is_saved_with_its_log() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("source");
    let path = folder.join("signal.sqlite");
    let made = folder.join("plain.sqlite");
    drop(make(&made, "PRAGMA journal_mode = wal", 100));
    let mut bytes = fs::read(&made).unwrap();
    let encrypted = noise::random(3, bytes.len() - 32);
    // SQLCipher keeps 80 bytes at the end of each page.
    bytes[20] = 80;
    bytes[32..].copy_from_slice(&encrypted);
    fs::write(&path, &bytes).unwrap();
    fs::write(beside(&path, "-wal"), log_of(&noise::random(4, 4096), 20)).unwrap();
    let wanted = read(&folder);
    let repository = place.open();
    for _ in 0..2 {
        let report: BackupReport = back_up(&repository, &folder);
        assert_eq!((report.captured.len(), report.companions.len(), report.warnings.len()), (0, 0, 0));
        assert_restores(&repository, "latest", &folder, &wanted);
    }
    assert_eq!(fs::metadata(&path).unwrap().size(), bytes.len() as u64);
}
