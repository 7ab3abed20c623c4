//! What was asked for and cannot be done, variables that are passed through, a full disk, any folder as data.

use std::fs;
use std::process::{Command, Output};

use crate::stubs::{Bench, DAYKEEP, RESTIC, runs_of, said};

const CP: [&str; 4] = ["--runs", "1", "--tools", "cp"];

#[test]
fn what_is_named_and_cannot_be_done_ends_with_3() {
    let bench = Bench::new();
    bench.stub("daykeep", DAYKEEP).stub("restic", "echo 'restic 0.9.6'");
    let code = |arguments: &[&str]| {
        let output = bench.run(&[&["--runs", "1", "--scenarios"], arguments].concat());
        (output.status.code(), said(&output))
    };
    let (missing, text) = code(&["media", "--tools", "cp,restic"]);
    assert!(
        missing == Some(3) && text.contains("restic was named and cannot be run: refused: version 0.9.6"),
        "{text}"
    );
    let program = format!("restic={}", bench.path("bin/restic").display());
    assert_eq!(code(&["media", "--program", &program]).0, Some(3));
    // Nobody asked for it by name.
    assert_eq!(code(&["media"]).0, Some(0));
    let (left_out, text) = code(&["media,library", "--tools", "cp"]);
    assert!(left_out == Some(3) && text.contains("library was named and left out: the data has no two"), "{text}");
    let (unused, text) = code(&["media", "--tools", "cp", "--program", &program]);
    assert!(unused == Some(0) && text.contains("has no effect: none of the chosen tools"), "{text}");
}

#[test]
fn variables_are_passed_through_and_told() {
    let bench = Bench::new();
    // Its version too is asked with them: a program that needs PYTHONPATH cannot even tell that.
    let needs = "[ \"$LIBRARY_PATH\" = '/a b' ] || { echo 'no library' >&2; exit 5; }";
    bench.stub("restic", &format!("{needs}\n{RESTIC}"));
    let run = |arguments: &[&str]| {
        let fixed = ["--runs", "1", "--scenarios", "media", "--tools", "restic,cp"];
        let mut command = bench.command(&[&fixed[..], arguments].concat());
        command.env("LIBRARY_PATH", "/a b").env("MY_PASSWORD", "swordfish").output().unwrap()
    };
    let without = run(&[]);
    assert_eq!(without.status.code(), Some(3));
    assert!(said(&without).contains("exit code 5: no library"), "{}", said(&without));
    let with = run(&["--env", "LIBRARY_PATH", "--env", "MY_PASSWORD"]);
    assert!(with.status.success(), "{}", said(&with));
    for report in ["report.md", "index.html", "results.json"] {
        let report = bench.report(report);
        assert!(report.contains("LIBRARY_PATH") && report.contains("/a b") && report.contains("MY_PASSWORD"));
        assert!(!report.contains("swordfish"), "secrets are not told");
    }
    let cases = [
        ("HOME", "sets this one itself"),
        ("NOWHERE_TO_BE_FOUND", "no such variable"),
        ("LIBRARY_PATH=/x", "without its value"),
    ];
    for (name, wanted) in cases {
        let output = run(&["--env", name]);
        assert!(output.status.code() == Some(1) && said(&output).contains(wanted), "{}", said(&output));
    }
}

#[test]
fn a_full_disk_is_told_as_such() {
    let bench = Bench::new();
    bench.restic_that("if [ $4 = backup ]; then echo 'Fatal: write: no space left on device' >&2; exit 1; fi");
    let results = bench.results(3, &["--runs", "1", "--tools", "restic,cp", "--scenarios", "media"]);
    let failure = runs_of(&results, "restic", Some("first"))[0]["failure"].as_str().unwrap().to_owned();
    assert!(failure.starts_with("the work disk is full (") && failure.contains("--work"), "{failure}");
    assert!(failure.contains("(exit code 1: Fatal: write: no space left on device)"), "{failure}");
}

/// A disk that is full indeed, on which not even what the program says or took can be written.
#[test]
fn a_full_disk_is_told_also_where_nobody_can_say_so() {
    let bench = Bench::new();
    bench.restic_that("if [ $4 = backup ]; then head -c 500m /dev/zero >\"$3/all\" 2>/dev/null; exit 1; fi");
    let compare = bench.command(&["--runs", "1", "--tools", "restic,cp", "--scenarios", "media"]);
    let mount = format!("mount -t tmpfs -o size=300m none '{}' && exec \"$0\" \"$@\"", bench.path("work").display());
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script]);
        command
    };
    if !unshare(&mount).arg("true").output().is_ok_and(|output| output.status.success()) {
        return; // No file system can be mounted here.
    }
    let mut command = unshare(&mount);
    command.arg(compare.get_program()).args(compare.get_args());
    command.env("PATH", format!("{}:/usr/bin:/bin", bench.path("bin").display()));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let results = bench.json();
    let failure = runs_of(&results, "restic", Some("first"))[0]["failure"].as_str().unwrap().to_owned();
    assert!(failure.starts_with("the work disk is full ("), "{failure}");
    // It is not full any more when the next one has its turn.
    assert!(runs_of(&results, "cp", Some("restore"))[0]["failure"].is_null());
}

/// A folder as people have them, and a comparison that is told nothing but its name.
fn pictures(bench: &Bench, arguments: &[&str]) -> Output {
    let folder = bench.path("Pictures");
    if !folder.exists() {
        fs::create_dir_all(folder.join("2023/empty")).unwrap();
        fs::write(folder.join("2023/IMG 1.jpg"), "one").unwrap();
        fs::write(folder.join("IMG-2.jpg"), "two").unwrap();
        std::os::unix::fs::symlink("IMG-2.jpg", folder.join("latest")).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_daykeep-bench"));
    command.arg("compare").args(arguments).current_dir(bench.path(""));
    command.env("PATH", format!("{}:/usr/bin:/bin", bench.path("bin").display()));
    command.output().unwrap()
}

#[test]
fn any_folder_can_be_compared() {
    let bench = Bench::new();
    bench.stub("restic", RESTIC);
    let fixed = ["--media", "Pictures", "--work", "work", "--out", "out", "--runs", "1", "--tools", "restic,cp"];
    let output = pictures(&bench, &fixed);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("making the data"), "{}", said(&output));
    let results = bench.json();
    let scenarios: Vec<&str> =
        results["scenarios"].as_array().unwrap().iter().map(|scenario| scenario["name"].as_str().unwrap()).collect();
    assert_eq!(scenarios, ["media", "moved"]);
    assert_eq!((&results["scenarios"][0]["files"], &results["scenarios"][0]["bytes"]), (&2.into(), &6.into()));
    // Beside prepared data it takes the place of the media alone.
    bench.data("small/a", "1");
    let output = pictures(&bench, &[&fixed[..], &["--data", "data", "--scenarios", "media,small"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(bench.json()["scenarios"][0]["bytes"], 6);
}

#[test]
fn a_folder_without_the_structure_is_told_what_to_do() {
    let bench = Bench::new();
    let fails = |arguments: &[&str], wanted: &str| {
        let output = pictures(&bench, &[arguments, &CP].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
    };
    let out = ["--work", "work", "--out", "out"];
    fails(&[&["--data", "Pictures"], &out[..]].concat(), "say --media Pictures");
    fails(&[&["--media", "nowhere"], &out[..]].concat(), "given with --media");
    fails(&[&["--media", "Pictures/2023/empty"], &out[..]].concat(), "there is nothing in it");
    fails(&[&["--media", "Pictures/IMG-2.jpg"], &out[..]].concat(), "given with --media");
    // What the comparison itself writes must not be compared.
    fails(&["--media", "Pictures", "--work", "work", "--out", "Pictures/out"], "name another folder with --out");
    fails(&["--media", "Pictures", "--out", "out", "--work", "Pictures"], "name another folder with --work");
    assert!(bench.is_tidy());
}
