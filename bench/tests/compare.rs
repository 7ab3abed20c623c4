//! What becomes of stubs that succeed, fail, hang, corrupt; and of bad requests.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::stubs::{BUPSTASH, Bench, DAYKEEP, DUPLICACY, KOPIA, RESTIC, runs, runs_of, said, wait_for};

#[test]
fn every_step_of_every_stub_is_measured() {
    let bench = Bench::new().with_series();
    bench.stub("daykeep", DAYKEEP).stub("restic", RESTIC).stub("kopia", KOPIA);
    bench.stub("bupstash", BUPSTASH).stub("duplicacy", DUPLICACY);
    let ours = ["daykeep-dir", "daykeep-dir-password", "daykeep-redb", "daykeep-redb-password"];
    let tools = [&ours[..], &["restic", "kopia", "bupstash", "duplicacy", "cp", "walk"]].concat();
    let results = bench.results(0, &["--runs", "2", "--tools", &tools.join(",")]);
    let count = |tool: &str, scenario: &str, step: &str| {
        runs_of(&results, tool, Some(step)).iter().filter(|run| run["scenario"] == scenario).count()
    };
    for tool in [&ours[..], &["restic", "kopia", "duplicacy"]].concat() {
        for step in ["first", "unchanged", "open", "restore", "restore-one", "check"] {
            assert_eq!(count(tool, "media", step), 2, "{tool} {step}");
        }
        for (scenario, step) in [("chats", "day-02"), ("versions", "release-01"), ("moved", "renamed")] {
            assert_eq!(count(tool, scenario, step), 2, "{tool} {scenario} {step}");
        }
    }
    assert_eq!((count("bupstash", "media", "restore-one"), count("bupstash", "media", "check")), (2, 0));
    assert_eq!((count("cp", "media", "first"), count("cp", "media", "unchanged")), (2, 0));
    assert_eq!((count("bupstash", "media", "open"), count("cp", "media", "open")), (2, 0));
    assert_eq!((count("walk", "media", "first"), count("walk", "media", "unchanged")), (0, 2));
    // What restic's stub stores is its copies: 28 bytes, and 28 more.
    let bytes = |step: &str, field: &str| {
        let runs = runs_of(&results, "restic", Some(step));
        runs.iter().find(|run| run["scenario"] == "media").unwrap()[field].as_u64().unwrap()
    };
    assert_eq!((bytes("first", "stored_bytes"), bytes("first", "added_bytes")), (27, 27));
    assert_eq!((bytes("unchanged", "stored_bytes"), bytes("unchanged", "added_bytes")), (54, 27));
    // The redb file's own growth says nothing, so what daykeep says counts.
    assert!(runs_of(&results, "daykeep-redb", Some("first")).iter().all(|run| run["added_bytes"] == 4711));
    let left: Vec<&str> =
        results["left_out"].as_array().unwrap().iter().map(|left| left["scenario"].as_str().unwrap()).collect();
    assert_eq!(left, ["video", "small", "library"]);
}

#[test]
fn half_of_a_month_is_forgotten() {
    let bench = Bench::new().with_series();
    bench.stub("daykeep", DAYKEEP).stub("restic", RESTIC).stub("bupstash", BUPSTASH);
    let tools = ["--tools", "daykeep-dir,daykeep-redb,restic,bupstash,cp"];
    let results = bench.results(0, &[["--runs", "1"], tools, ["--scenarios", "month"]].concat());
    // Four copies with one, two, three and three lines of seven bytes; the first two go.
    for tool in ["daykeep-dir", "daykeep-redb", "restic"] {
        let bytes = |step: &str, field: &str| runs_of(&results, tool, Some(step))[0][field].as_u64();
        assert_eq!((bytes("unchanged", "stored_bytes"), bytes("unchanged", "freed_bytes")), (Some(63), None), "{tool}");
        assert_eq!((bytes("forget", "stored_bytes"), bytes("forget", "freed_bytes")), (Some(42), Some(21)), "{tool}");
        assert_eq!(bytes("forget", "added_bytes"), None, "{tool}");
        let steps: Vec<&str> = runs_of(&results, tool, None).iter().filter_map(|run| run["step"].as_str()).collect();
        assert_eq!(steps, ["first", "day-01", "day-02", "unchanged", "open", "forget", "restore", "check"], "{tool}");
    }
    for tool in ["bupstash", "cp"] {
        assert!(runs_of(&results, tool, Some("forget")).is_empty(), "{tool}");
        assert_eq!(runs_of(&results, tool, Some("restore")).len(), 1, "{tool}");
    }
    for report in ["report.md", "index.html"] {
        assert!(bench.report(report).contains("−21 B"), "{report}");
    }
}

#[test]
fn forgetting_badly_is_reported() {
    let cases = [
        ("echo 'cannot lock' >&2; exit 1", "forget", "exit code 1: cannot lock"),
        ("rm -r \"$3/4\"; exit", "restore", "restored data differ: diary.txt has 14 bytes instead of 21"),
    ];
    for (lines, step, wanted) in cases {
        let bench = Bench::new().with_series();
        // The state that is lost must be another one than those before.
        bench.restic_that(&format!("if [ $4 = forget ]; then rm -r \"$3/3\"; {lines}; fi"));
        let results = bench.results(3, &["--runs", "1", "--tools", "restic", "--scenarios", "month"]);
        assert_eq!(runs_of(&results, "restic", Some(step))[0]["failure"], wanted);
        assert_eq!(runs_of(&results, "restic", Some("restore")).len(), usize::from(step == "restore"));
    }
}

#[test]
fn patches_are_made_from_day_to_day() {
    if Command::new("zstd").arg("--version").output().is_err() {
        return;
    }
    let bench = Bench::new().with_series();
    let results = bench.results(0, &["--runs", "1", "--tools", "zstd", "--scenarios", "chats,versions"]);
    let steps: Vec<&str> = runs_of(&results, "zstd", None).iter().map(|run| run["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["day-01", "day-02"]);
    assert!(runs_of(&results, "zstd", None).iter().all(|run| run["added_bytes"].as_u64().unwrap() < 200));
}

#[test]
fn measures_include_grandchildren() {
    let bench = Bench::new();
    // tail keeps a line without an end in memory: 60 MB, in a grandchild.
    bench.restic_that("if [ $4 = backup ]; then head -c 60000000 /dev/zero | tail -n 1 >/dev/null; sleep 0.3; fi");
    let results = bench.results(0, &["--runs", "1", "--tools", "restic", "--scenarios", "media"]);
    let first = &runs_of(&results, "restic", Some("first"))[0]["measures"];
    let seconds = first["seconds"].as_f64().unwrap();
    assert!((0.3..30.0).contains(&seconds), "{first}");
    assert!(first["peak_bytes"].as_u64().unwrap() > 60_000_000, "{first}");
    assert!(first["read_bytes"].as_u64().unwrap() > 60_000_000, "{first}");
    assert!(first["written_bytes"].as_u64().unwrap() > 60_000_000, "{first}");
    let check = &runs_of(&results, "restic", Some("check"))[0]["measures"];
    assert!(check["peak_bytes"].as_u64().unwrap() < 30_000_000, "the harness's own memory is counted: {check}");
}

#[test]
fn what_fails_is_reported_with_its_last_words() {
    let bench = Bench::new();
    bench.stub("daykeep", DAYKEEP);
    bench.restic_that("if [ $4 = backup ]; then echo first; echo 'Fatal: the disk is on fire' >&2; exit 7; fi");
    let results = bench.results(3, &["--runs", "2", "--tools", "daykeep-dir,restic", "--scenarios", "media"]);
    let failed = runs_of(&results, "restic", None);
    assert_eq!(failed.len(), 1, "it is not run again");
    let failure = failed[0]["failure"].as_str().unwrap();
    assert_eq!(failure, "exit code 7: Fatal: the disk is on fire");
    assert!(runs_of(&results, "daykeep-dir", None).iter().all(|run| run["failure"].is_null()));
    for report in ["report.md", "index.html"] {
        assert!(bench.report(report).contains("the disk is on fire"), "{report}");
    }
}

#[test]
fn what_cannot_begin_is_reported() {
    let bench = Bench::new();
    bench.restic_that("if [ $4 = init ]; then kill -SEGV $$; fi");
    let results = bench.results(3, &["--runs", "1", "--tools", "restic,cp", "--scenarios", "media"]);
    let failure = runs_of(&results, "restic", Some("first"))[0]["failure"].as_str().unwrap();
    assert_eq!(failure, "cannot make a repository: signal 11, without a word");
}

#[test]
fn what_hangs_is_killed_with_its_children() {
    let bench = Bench::new();
    let pid = bench.path("pid");
    bench.restic_that(&format!(
        "if [ $4 = restore ]; then sleep 300 & echo $! >'{}'; trap '' TERM INT; sleep 300; fi",
        pid.display()
    ));
    let begun = Instant::now();
    let arguments = ["--runs", "2", "--limit", "1", "--tools", "restic,cp", "--scenarios", "media"];
    let results = bench.results(3, &arguments);
    assert!(begun.elapsed() < Duration::from_secs(60));
    let failure = runs_of(&results, "restic", Some("restore"))[0]["failure"].as_str().unwrap();
    assert_eq!(failure, "timed out after 1 s and was killed");
    assert!(!runs(fs::read_to_string(pid).unwrap().trim()), "its child lives on");
    assert_eq!(runs_of(&results, "cp", Some("restore")).len(), 2);
}

#[test]
fn what_is_left_running_is_ended() {
    let bench = Bench::new();
    let pid = bench.path("pid");
    bench.restic_that(&format!("if [ $4 = check ]; then sleep 300 & echo $! >'{}'; fi", pid.display()));
    bench.results(0, &["--runs", "1", "--tools", "restic", "--scenarios", "media"]);
    assert!(!runs(fs::read_to_string(pid).unwrap().trim()), "its child lives on");
}

#[test]
fn what_restores_something_else_has_failed() {
    let damages = [
        ("printf X | dd of=\"$f\" bs=1 seek=3 conv=notrunc 2>/dev/null", "2024/IMG-1.jpg differs at byte 3"),
        ("echo >>\"$f\"", "2024/IMG-1.jpg has 8 bytes instead of 7"),
        ("rm \"$f\"", "2024/IMG-1.jpg is missing"),
        ("rm \"$f\"; mkdir \"$f\"", "2024/IMG-1.jpg is something else"),
        ("touch \"$f.part\"", "2024/IMG-1.jpg.part is too much"),
        ("rm -r \"$d\"", "2024 is missing"),
        ("rm -r \"$7\"", "nothing was restored"),
    ];
    for (damage, wanted) in damages {
        let bench = Bench::new();
        bench.restic_that(&format!(
            "if [ $4 = restore ]; then\n d=$7{0}; f=$d/2024/IMG-1.jpg\n mkdir \"$7\"; cp -r \"$3/2/.\" \"$7\"\n {damage}\n \
             exit\nfi",
            bench.path("data/media").display()
        ));
        let results = bench.results(3, &["--runs", "1", "--tools", "restic", "--scenarios", "media"]);
        let restore = &runs_of(&results, "restic", Some("restore"))[0]["failure"];
        assert_eq!(restore, &format!("restored data differ: {wanted}"));
        assert_eq!(runs_of(&results, "restic", Some("check")).len(), 1, "the check is made all the same");
    }
}

#[test]
fn a_single_file_is_compared_too() {
    let bench = Bench::new();
    bench.restic_that(
        "if [ \"$8\" = --include ]; then mkdir -p \"$7$(dirname \"$9\")\"; echo 'not the photo' >\"$7$9\"; exit; fi",
    );
    let results = bench.results(3, &["--runs", "1", "--tools", "restic", "--scenarios", "media"]);
    let failure = runs_of(&results, "restic", Some("restore-one"))[0]["failure"].as_str().unwrap().to_owned();
    assert!(failure.starts_with("restored data differ: ") && failure.contains("spaces.jpg"), "{failure}");
}

#[test]
fn versions_that_are_not_known_to_work_are_refused() {
    let bench = Bench::new();
    bench
        .stub("restic", "echo 'restic 0.9.6'")
        .stub("borg", "echo 'borg 2.0.0b14'")
        .stub("kopia", "echo hello; exit 1");
    bench.stub("rustic", "echo 'no number'");
    let results = bench.results(3, &["--runs", "1", "--tools", "restic,borg,kopia,rustic,cp", "--scenarios", "media"]);
    let status = |name: &str| {
        let mut tools = results["tools"].as_array().unwrap().iter();
        tools.find(|tool| tool["name"] == name).unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status("restic"), "refused: version 0.9.6 is older than 0.14.0");
    assert_eq!(status("borg"), "refused: version 2.0.0 is not below 2.0.0, whose commands may differ");
    assert_eq!(status("kopia"), "does not tell its version: exit code 1: hello");
    assert_eq!(status("rustic"), "does not tell its version");
    for report in ["report.md", "index.html"] {
        assert!(bench.report(report).contains("version 0.9.6 is older than 0.14.0"), "{report}");
    }
    assert!(results["runs"].as_array().unwrap().iter().all(|run| run["tool"] == "cp"));
}

#[test]
fn a_missing_tool_is_named() {
    let bench = Bench::new();
    let output = bench.run(&["--runs", "1", "--tools", "conserve,cp", "--scenarios", "media"]);
    assert_eq!(output.status.code(), Some(3));
    let wanted = "conserve was named and cannot be run: missing: not on this machine";
    assert!(said(&output).contains(wanted), "{}", said(&output));
    for report in ["report.md", "index.html", "results.json"] {
        assert!(bench.report(report).contains("missing: not on this machine"), "{report}");
    }
    let alone = bench.run(&["--tools", "conserve"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(said(&alone).contains("none of the tools can be run"), "{}", said(&alone));
}

#[test]
fn bad_requests_are_explained() {
    let bench = Bench::new();
    let far = bench.path("far").display().to_string();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--preset", "huge"], 2, "[possible values: quick, full]"),
        (&["--tools", "cp,tar"], 2, "invalid value 'tar' for '--tools"),
        (&["--scenarios", "mail"], 2, "invalid value 'mail' for '--scenarios"),
        (&["--runs", "0"], 2, "0 is not in 1..=100"),
        (&["--data", &far], 1, "far is not a folder: name one with media"),
        (&["--work", &far], 1, "cannot use"),
        (&["--program", "restic=/nowhere"], 1, "--program restic=/nowhere: there is no such program"),
        (&["--program", "tar=/bin/tar"], 1, "write NAME=PATH with a name of daykeep, restic"),
        (&["--scenarios", "library"], 1, "library: the data has no two folders in library"),
    ];
    for (arguments, code, wanted) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daykeep-bench"));
        command.arg("compare").arg("--out").arg(bench.path("out"));
        for (name, default) in [("--data", "data"), ("--work", "work")] {
            if !arguments.contains(&name) {
                command.arg(name).arg(bench.path(default));
            }
        }
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
        assert!(bench.is_tidy());
    }
}

#[test]
fn too_little_space_is_noticed_before_anything_is_run() {
    let bench = Bench::new();
    bench.data("video/video.mp4", "");
    // A hole of 8 TiB takes no space itself.
    File::options().write(true).open(bench.path("data/video/video.mp4")).unwrap().set_len(8 << 40).unwrap();
    let output = bench.run(&["--runs", "1", "--tools", "cp"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("has room for") && said(&output).contains("--work"), "{}", said(&output));
    assert!(!bench.path("out/results.json").exists());
}

#[test]
fn an_interrupt_keeps_the_results_and_nothing_else() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let bench = Bench::new();
        let pid = bench.path("pid");
        bench.stub("daykeep", DAYKEEP);
        bench.restic_that(&format!("if [ $4 = backup ]; then sleep 300 & echo $! >'{}'; sleep 300; fi", pid.display()));
        let mut child =
            bench.command(&["--runs", "2", "--tools", "daykeep-dir,restic", "--scenarios", "media"]).spawn().unwrap();
        let grandchild = wait_for(&pid, &mut child);
        assert!(!bench.is_tidy());
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(bench.is_tidy(), "left behind: {}", said(&output));
        assert!(!runs(&grandchild), "its child lives on");
        let results = bench.json();
        assert_eq!(runs_of(&results, "daykeep-dir", None).len(), 6, "the results so far are kept");
        assert!(results["ended"].as_str().unwrap().contains("stopped by signal"));
        assert!(
            bench.report("index.html").contains("Ended early") && bench.report("report.md").contains("Ended early")
        );
    }
}

#[test]
fn the_source_is_never_changed() {
    let bench = Bench::new().with_series();
    let list = || {
        let output = Command::new("find").arg(bench.path("data")).args(["-printf", "%p %s %T@ %C@ %m\n"]).output();
        let mut lines: Vec<String> =
            String::from_utf8(output.unwrap().stdout).unwrap().lines().map(Into::into).collect();
        lines.sort();
        lines
    };
    let before = list();
    bench.stub("restic", RESTIC).results(0, &["--runs", "1", "--tools", "restic,cp"]);
    assert_eq!(list(), before);
}
