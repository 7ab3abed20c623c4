//! The binary and the manifests it writes, as their users see them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daykeep_datasets::manifest::{Differences, Manifest};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daykeep-datasets")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn sample(folder: &Path) {
    fs::create_dir_all(folder.join("a/empty")).unwrap();
    fs::write(folder.join("a/one"), "one").unwrap();
    fs::write(folder.join("a-b"), "two").unwrap();
    fs::write(folder.join("zwei \"ü\"\n"), vec![7; 100_000]).unwrap();
}

#[test]
fn a_manifest_comes_back_as_it_was_written() {
    let home = tempfile::tempdir().unwrap();
    let (folder, file) = (home.path().join("data"), home.path().join("data.manifest"));
    sample(&folder);
    let manifest = Manifest::scan(&folder).unwrap();
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    // By bytes: `-` comes before `/`.
    assert_eq!(paths, ["a-b", "a/one", "zwei \"ü\"\n"]);
    assert_eq!(manifest.files[1].blake3, blake3::hash(b"one"));
    assert_eq!(manifest.bytes(), 100_006);
    manifest.write(&file).unwrap();
    assert_eq!(Manifest::read(&file).unwrap(), manifest);
    assert_eq!(manifest.digest(), blake3::hash(&fs::read(&file).unwrap()));
}

#[test]
fn every_kind_of_difference_is_found() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    sample(&folder);
    let manifest = Manifest::scan(&folder).unwrap();
    assert!(manifest.verify(&folder).unwrap().is_empty());
    let differ = |change: &dyn Fn(), missing: &[&str], extra: &[&str], changed: &[&str]| {
        change();
        let list = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        let expected = Differences { missing: list(missing), extra: list(extra), changed: list(changed) };
        assert_eq!(manifest.verify(&folder).unwrap(), expected);
    };
    differ(&|| fs::write(folder.join("a-b"), "twо").unwrap(), &[], &[], &["a-b"]);
    differ(&|| fs::write(folder.join("a-b"), "tw0").unwrap(), &[], &[], &["a-b"]);
    differ(&|| fs::write(folder.join("a/zero"), "").unwrap(), &[], &["a/zero"], &["a-b"]);
    differ(&|| fs::remove_file(folder.join("a/one")).unwrap(), &["a/one"], &["a/zero"], &["a-b"]);
    differ(&|| fs::rename(folder.join("a-b"), folder.join("zz")).unwrap(), &["a-b", "a/one"], &["a/zero", "zz"], &[]);
}

#[test]
fn strange_manifests_and_folders_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("manifest");
    let hash = "ab".repeat(32);
    let line = |path: &str| format!("{{\"path\":\"{path}\",\"bytes\":1,\"blake3\":\"{hash}\"}}\n");
    for (content, reason) in [
        ("text\n".to_owned(), "line 1 is no entry"),
        (line("a") + &line("a"), "line 2 is out of order"),
        (line("../a"), "path"),
        (line("/a"), "path"),
        (line("a//b"), "path"),
        (line(&"a".repeat(4097)), "path"),
        (line(&"a".repeat(100_000)), "too long"),
        (line("a").replace("ab", "xy"), "no BLAKE3 hash"),
        (line("a").replace(":1,", ":-1,"), "line 1 is no entry"),
    ] {
        fs::write(&file, &content).unwrap();
        let error = Manifest::read(&file).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("manifest"), "{error}");
    }
    fs::write(&file, line("a") + &line("b")).unwrap();
    assert_eq!(Manifest::read(&file).unwrap().files.len(), 2);
    let folder = home.path().join("data");
    fs::create_dir(&folder).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let strange = folder.join(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(&strange, "").unwrap();
        assert!(Manifest::scan(&folder).unwrap_err().to_string().contains("not UTF-8"));
        fs::remove_file(&strange).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
        assert!(Manifest::scan(&folder).unwrap_err().to_string().contains("neither a file nor a folder"));
    }
}

#[test]
fn the_binary_writes_and_verifies_chats() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("chats");
    let (path, listed) = (folder.to_str().unwrap(), home.path().join("chats.manifest"));
    let arguments = ["chats", path, "--messages", "300", "--messages-per-day", "20", "--days", "1", "--seed", "5"];
    let made = run(&arguments);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(folder.join("day-00/msgstore.db").is_file() && folder.join("day-01/msgstore.db").is_file());
    let digest = Manifest::read(&listed).unwrap().digest().to_string();
    assert!(text(&made.stdout).starts_with(&digest));
    let good = run(&["verify", path, listed.to_str().unwrap()]);
    assert!(good.status.success() && text(&good.stdout).starts_with(&digest));
    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("not an empty folder"));
    fs::write(folder.join("day-00/more"), "").unwrap();
    let bad = run(&["verify", path, listed.to_str().unwrap()]);
    assert_eq!((bad.status.code(), text(&bad.stdout).as_str()), (Some(1), "extra  day-00/more\n"));
    assert!(text(&bad.stderr).contains("differs"));
    let inside = folder.join("own");
    let refused = run(&["manifest", path, "--out", inside.to_str().unwrap()]);
    assert!(refused.status.code() == Some(1) && !inside.exists());
}

#[test]
fn the_binary_advances_a_database_in_place() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("chats");
    let path = folder.to_str().unwrap();
    let digest = |output: Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)[..64].to_owned()
    };
    let small = ["--messages", "300", "--messages-per-day", "20", "--in-place", "--days"];
    let two = digest(run(&[&["chats", path][..], &small, &["2"]].concat()));
    fs::remove_dir_all(&folder).unwrap();
    let none = digest(run(&[&["chats", path][..], &small, &["0"]].concat()));
    let advanced = digest(run(&["chats", path, "--advance", "2"]));
    assert!(none != advanced && two == advanced);
    let missing = run(&["chats", home.path().to_str().unwrap(), "--advance", "1"]);
    assert!(missing.status.code() == Some(1) && text(&missing.stderr).contains("--in-place"));
}

#[test]
fn the_writer_tells_what_it_committed_until_it_is_killed() {
    let home = tempfile::tempdir().unwrap();
    for mode in ["wal", "delete"] {
        let file = home.path().join(mode);
        let path = file.to_str().unwrap();
        let mut writer = Command::new(env!("CARGO_BIN_EXE_daykeep-datasets"))
            .args(["writer", path, "--mode", mode, "--seed", "2"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(writer.stdout.take().unwrap()).lines();
        let number = |line: Option<std::io::Result<String>>| line.unwrap().unwrap().parse::<u64>().unwrap();
        assert_eq!(number(told.next()), 1);
        let seen = number(told.nth(60));
        assert_eq!(seen, 62);
        writer.kill().unwrap();
        writer.wait().unwrap();
        // The next one finds all that was committed.
        let next = run(&["writer", path, "--mode", mode, "--seed", "2", "--transactions", "3", "--every-ms", "1"]);
        let next: Vec<u64> = text(&next.stdout).lines().map(|line| line.parse().unwrap()).collect();
        assert!(next.len() == 3 && next[0] > seen, "{next:?}");
        assert_eq!(daykeep_datasets::writer::verify_state(&file).unwrap(), next[2]);
    }
    let refused = run(&["writer", home.path().to_str().unwrap()]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("make it anew"));
}
