//! Folders of WhatsApp's as people have them: several keys, files that hold no database, a month of copies at once.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use daykeep_datasets::chats as generator;
use daykeep_engine::internals::whatsapp::Kind as Crypt;
use daykeep_engine::{BackupOptions, Event, RestoreOptions, SnapshotPath, WhatsAppKey};
use daykeep_tests::inventory::read;
use daykeep_tests::noise;
use daykeep_tests::place::{Kind, Place, assert_clean, assert_restores, back_up, below, temp, try_restore};
use daykeep_tests::whatsapp::{Encoder, gcm};
use flate2::read::ZlibDecoder;
use md5::Digest;

fn with_keys(digits: &[&str]) -> BackupOptions {
    let mut options = BackupOptions::default();
    options.whatsapp_keys = digits.iter().map(|digits| WhatsAppKey::parse(&digits.repeat(32)).unwrap()).collect();
    options
}

fn encoder(kind: Crypt, key: u8, night: u8) -> Encoder {
    let mut encoder = Encoder::new(kind);
    encoder.key = [key; 32];
    encoder.iv.fill(night);
    encoder
}

fn restored(place: &Place, folder: &Path) -> (tempfile::TempDir, PathBuf) {
    let target = temp();
    assert_eq!(try_restore(&place.open(), "latest", target.path()).unwrap().warnings, []);
    let path = below(target.path(), folder);
    (target, path)
}

#[test]
fn each_file_is_opened_by_the_key_that_fits() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("Databases");
    let database = noise::sqlite(1, 4096, 40_960);
    fs::write(folder.join("msgstore.db.crypt14"), encoder(Crypt::Crypt14, 1, 1).encode(&database)).unwrap();
    fs::write(folder.join("wa.db.crypt15"), encoder(Crypt::Crypt15, 2, 2).encode(&database)).unwrap();
    let report = place.open().backup(&[&folder], &with_keys(&["09", "01", "02"])).unwrap();
    assert_eq!((report.opened.len(), report.warnings.len()), (2, 0), "{:?}", report.warnings);
    let (_target, path) = restored(&place, &folder);
    for name in ["msgstore.db", "wa.db"] {
        assert!(fs::read(path.join(name)).unwrap() == database);
    }
}

#[test]
fn what_is_sealed_without_being_compressed_is_saved_as_what_it_holds() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("Backups");
    let zip = [b"PK\x03\x04".as_slice(), &noise::random(1, 700_000)].concat();
    for (name, content) in [("stickers.db", zip.as_slice()), ("empty.zip", b"PK\x05\x06"), ("nothing", b"")] {
        let path = folder.join(format!("{name}.crypt15"));
        fs::write(path, encoder(Crypt::Crypt15, 7, 1).seal(content)).unwrap();
    }
    for night in 0..3 {
        let report = place.open().backup(&[&folder], &with_keys(&["07"])).unwrap();
        assert_eq!((report.warnings.len(), report.notes.len()), (0, 0), "{night}: {:?}", report.warnings);
        assert_eq!(report.counts.files, 3);
        let (_target, path) = restored(&place, &folder);
        assert!(fs::read(path.join("stickers.db")).unwrap() == zip);
        assert_eq!(fs::read(path.join("empty.zip")).unwrap(), b"PK\x05\x06");
        assert_eq!(fs::read(path.join("nothing")).unwrap(), b"");
    }
}

#[test]
fn what_was_told_and_has_not_changed_is_not_told_in_full_again() {
    let place = Place::new(Kind::Directory);
    let folder = place.folder("Databases");
    let database = noise::sqlite(1, 4096, 40_960);
    let write = |night: u8| {
        for name in ["a", "b"] {
            let bytes = encoder(Crypt::Crypt15, 1, night).encode(&database);
            fs::write(folder.join(format!("{name}.db.crypt15")), bytes).unwrap();
        }
    };
    write(1);
    let told = |digits: &str| {
        let report = place.open().backup(&[&folder], &with_keys(&[digits])).unwrap();
        (report.warnings.len(), report.notes.len(), report.opened.len())
    };
    assert_eq!(told("08"), (2, 0, 0));
    for _ in 0..2 {
        assert_eq!(told("08"), (0, 1, 0));
        assert_restores(&place.open(), "latest", &folder, &read(&folder));
    }
    // Another file is another condition.
    std::thread::sleep(std::time::Duration::from_millis(20));
    write(2);
    assert_eq!(told("08"), (2, 0, 0));
    assert_eq!(told("01"), (0, 0, 2));
}

#[test]
fn eight_nights_in_one_first_backup_cost_little_more_than_one() {
    let place = Place::new(Kind::Directory);
    let live = place.folder("live").join("msgstore.db");
    let options = generator::Options { seed: 3, messages: 15_000, messages_per_day: 100 };
    generator::create(&live, &options).unwrap();
    let (one, all) = (place.folder("one"), place.folder("all"));
    for number in 0..8u8 {
        generator::advance(&live, 1).unwrap();
        let bytes = encoder(Crypt::Crypt15, 7, number).encode(&fs::read(&live).unwrap());
        let name = match number {
            7 => "msgstore.db.crypt15".to_owned(),
            _ => format!("msgstore-2026-11-{:02}.1.db.crypt15", number + 1),
        };
        fs::write(all.join(&name), &bytes).unwrap();
        if number == 7 {
            fs::write(one.join(&name), &bytes).unwrap();
        }
    }
    let stored = |folder: &Path| {
        let place = Place::new(Kind::Directory);
        let report = place.open().backup(&[folder], &with_keys(&["07"])).unwrap();
        assert_eq!(report.warnings, []);
        assert_clean(&place.open());
        let (_target, path) = restored(&place, folder);
        assert!(fs::read(path.join("msgstore.db")).unwrap() == fs::read(&live).unwrap());
        report.bytes_stored
    };
    let (one, all) = (stored(&one), stored(&all));
    assert!(all * 4 <= one * 5, "{all} for all, {one} for one: {:.2} times", all as f64 / one as f64);
}

#[test]
fn a_log_that_merely_grows_while_it_is_read_is_a_note() {
    for grows in [true, false] {
        let place = Place::new(Kind::Memory);
        let folder = place.folder("logs");
        let path = folder.join("system.log");
        let bytes = noise::random(3, 6_000_000);
        fs::write(&path, &bytes).unwrap();
        let (is_done, log) = (AtomicBool::new(false), path.clone());
        let observer = move |event: &Event| {
            if matches!(event, Event::Progress { bytes: 1.., .. }) && !is_done.swap(true, Ordering::Relaxed) {
                let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
                file.write_all(b"one more line\n").unwrap();
                if !grows {
                    use std::os::unix::fs::FileExt;
                    fs::OpenOptions::new().write(true).open(&log).unwrap().write_all_at(b"else", 1000).unwrap();
                }
            }
        };
        let options = BackupOptions::default().observer(observer);
        let report = place.open().backup(&[&folder], &options).unwrap();
        assert_eq!((report.warnings.len(), report.notes.len()), if grows { (0, 1) } else { (1, 0) });
        let (_target, restored) = restored(&place, &folder);
        assert!(fs::read(restored.join("system.log")).unwrap().len() == bytes.len());
    }
}

#[test]
fn pages_of_one_kib_stay_pages_whatever_the_length_is() {
    const PAGE: usize = 1024;
    let place = Place::new(Kind::Directory);
    let folder = place.folder("source");
    let path = folder.join("EnMicroMsg.db");
    let mut bytes = noise::random(1, 2000 * PAGE);
    fs::write(&path, &bytes).unwrap();
    let repository = place.open();
    back_up(&repository, &folder);
    for day in 1..4u64 {
        // Some pages change all over the file, and it grows by one.
        for at in (day as usize..2000).step_by(100) {
            bytes[at * PAGE..(at + 1) * PAGE].copy_from_slice(&noise::random(day * 5000 + at as u64, PAGE));
        }
        bytes.extend(noise::random(day * 90_000, PAGE));
        fs::write(&path, &bytes).unwrap();
        let stored = back_up(&repository, &folder).bytes_stored;
        assert!(stored < 30 * 4096, "day {day}: {stored} bytes");
    }
    assert_clean(&repository);
}

/// Opens a sealed file by the book, and returns what is in it and the IV.
fn unseal(bytes: &[u8], like: &Encoder, is_compressed: bool) -> (Vec<u8>, Vec<u8>) {
    let head_bytes = like.head().len();
    let (head, rest) = bytes.split_at(head_bytes);
    let at = like.head().windows(16).position(|part| part == like.iv).unwrap();
    let mut same = head.to_vec();
    same[at..at + 16].copy_from_slice(&like.iv);
    assert!(same == like.head(), "all but the IV is as it was");
    let (rest, md5) = rest.split_last_chunk::<16>().unwrap();
    assert_eq!(md5::Md5::digest(&bytes[..bytes.len() - 16]).as_slice(), md5);
    let (text, tag) = rest.split_last_chunk::<16>().unwrap();
    let iv = head[at..at + 16].to_vec();
    // Encryption and decryption are the same; the tag is that of the ciphertext.
    let key = like.cipher_key();
    let (plain, _) = gcm(&key, &iv, &[], text);
    let (again, computed) = gcm(&key, &iv, &[], &plain);
    assert!(again == text && computed == *tag);
    let mut content = Vec::new();
    if is_compressed {
        ZlibDecoder::new(plain.as_slice()).read_to_end(&mut content).unwrap();
    } else {
        content = plain;
    }
    (content, iv)
}

#[test]
fn what_was_opened_can_be_sealed_again_for_a_phone() {
    let place = Place::new(Kind::Memory);
    let folder = place.folder("Databases");
    let database = noise::sqlite(1, 4096, 600_000 / 4096 * 4096);
    let zip = [b"PK\x03\x04".as_slice(), &noise::random(1, 300_000)].concat();
    let mut usual = encoder(Crypt::Crypt15, 7, 3);
    usual.level = 9;
    // Compressed by some other program: the same bytes cannot be made again.
    let mut other = encoder(Crypt::Crypt15, 7, 4);
    other.level = 3;
    let old = encoder(Crypt::Crypt14, 8, 5);
    let originals = [
        ("msgstore.db.crypt15", usual.encode(&database)),
        ("other.db.crypt15", other.encode(&database)),
        ("old.db.crypt14", old.encode(&database)),
        ("stickers.db.crypt15", usual.seal(&zip)),
    ];
    for (name, bytes) in &originals {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let keys = with_keys(&["07", "08"]);
    place.open().backup(&[&folder], &keys).unwrap();
    let mut options = RestoreOptions::default();
    options.whatsapp_seal = with_keys(&["09", "07"]).whatsapp_keys;
    let target = temp();
    let what = SnapshotPath::parse(b"latest").unwrap();
    let report = place.open().restore(&what, target.path(), &options).unwrap();
    // The key of crypt14 was not given.
    assert_eq!((report.files, report.warnings.len()), (4, 1), "{:?}", report.warnings);
    let restored = below(target.path(), &folder);
    let bytes = |name: &str| fs::read(restored.join(name)).unwrap();
    assert_eq!(fs::read_dir(&restored).unwrap().count(), 4, "nothing else is left");
    assert!(bytes("msgstore.db.crypt15") == originals[0].1, "the original, byte for byte");
    assert!(bytes("stickers.db.crypt15") == originals[3].1);
    assert!(bytes("old.db") == database);
    let anew = bytes("other.db.crypt15");
    assert!(anew != originals[1].1);
    let (content, iv) = unseal(&anew, &other, true);
    assert!(content == database && iv != other.iv, "under the old IV no other text may be sealed");
    let again = temp();
    place.open().restore(&what, again.path(), &options).unwrap();
    assert!(
        fs::read(below(again.path(), &folder).join("other.db.crypt15")).unwrap() != anew,
        "nor twice under a new one"
    );
    // A phone makes the next of it, and that is opened as well.
    assert_eq!(unseal(&originals[0].1, &usual, true).0, database);
}
