//! What a reader can conclude from: command lines, passwords, rounds, and how busy the machine was.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::stubs::{Bench, DAYKEEP, RESTIC, runs_of, said, wait_for};

const REPORTS: [&str; 3] = ["report.md", "index.html", "results.json"];

fn lines_of<'a>(results: &'a Value, tool: &str) -> Vec<(&'a str, &'a str)> {
    let commands = results["commands"].as_array().unwrap().iter().filter(|command| command["tool"] == tool);
    commands.map(|command| (command["step"].as_str().unwrap(), command["line"].as_str().unwrap())).collect()
}

#[test]
fn every_command_line_is_in_every_report() {
    let bench = Bench::new();
    bench.stub("daykeep", DAYKEEP).stub("restic", RESTIC);
    let arguments = ["--runs", "2", "--tools", "daykeep-dir,daykeep-dir-password,restic,cp", "--scenarios", "media"];
    let results = bench.results(0, &arguments);
    let steps = |tool| lines_of(&results, tool).into_iter().map(|line| line.0).collect::<Vec<_>>();
    let all = ["init", "first", "unchanged", "open", "restore", "restore-one", "check"];
    assert_eq!((steps("daykeep-dir"), steps("restic")), (all.to_vec(), all.to_vec()));
    assert_eq!(steps("cp"), ["first", "restore", "restore-one"]);
    let work = results["work_folder"].as_str().unwrap();
    for tool in ["daykeep-dir", "daykeep-dir-password", "restic", "cp"] {
        for (step, line) in lines_of(&results, tool) {
            let line = line.replace(work, "$WORK");
            let page = line.replace('&', "&amp;").replace('\'', "&#39;");
            assert!(bench.report("report.md").contains(&line), "{tool} {step}: {line}");
            assert!(bench.report("index.html").contains(&page), "{tool} {step}: {line}");
        }
    }
    let restic = lines_of(&results, "restic");
    let wanted = format!("restic -q -r {work}/repository check --read-data");
    assert!(restic.iter().any(|(step, line)| *step == "check" && line.ends_with(&wanted)), "{restic:?}");
    for report in REPORTS {
        let report = bench.report(report);
        // What decides about compression, caches and passwords beside the options.
        for wanted in ["RESTIC_PASSWORD", "RESTIC_CACHE_DIR", "compare --work", "--runs 2"] {
            assert!(report.contains(wanted), "{wanted}");
        }
    }
}

#[test]
fn rivals_are_compared_with_a_password() {
    let bench = Bench::new();
    bench.stub("daykeep", DAYKEEP).stub("restic", RESTIC);
    for (tools, reference) in
        [("daykeep-dir,daykeep-dir-password,restic", "daykeep-dir-password"), ("daykeep-dir,restic", "daykeep-dir")]
    {
        let results = bench.results(0, &["--runs", "3", "--tools", tools, "--scenarios", "media"]);
        let keys = lines_of(&results, "daykeep-dir");
        assert!(keys.iter().all(|(_, line)| line.contains(" --key-file ") && !line.contains("PASSWORD")), "{keys:?}");
        let passwords = lines_of(&results, "daykeep-dir-password");
        assert!(passwords.iter().all(|(_, line)| line.starts_with("DAYKEEP_PASSWORD=x ")), "{passwords:?}");
        let figures = crate::reports::figures(&results);
        for step in ["open", "restore-one"] {
            let of = |tool: &str| &figures[&("media".into(), step.into(), tool.into())];
            let times = of("restic")["seconds"].as_f64().unwrap() / of(reference)["seconds"].as_f64().unwrap();
            assert!(crate::reports::same(of("restic")["times_daykeep"].as_f64(), Some(times)), "{step}");
        }
        for report in &REPORTS[..2] {
            let wanted = format!("× daykeep is the multiple of {reference}, which is opened ");
            assert!(bench.report(report).contains(&wanted), "{report}");
            assert!(bench.report(report).contains("Open: list the snapshots"), "{report}");
        }
    }
}

#[test]
fn too_few_rounds_are_told() {
    let bench = Bench::new();
    for (runs, wanted) in
        [("1", Some("One round: too few to conclude")), ("2", Some("2 rounds: too few to conclude")), ("3", None)]
    {
        let output = bench.run(&["--runs", runs, "--tools", "cp", "--scenarios", "media"]);
        assert!(output.status.success());
        assert_eq!(said(&output).contains(wanted.unwrap_or("too few")), wanted.is_some(), "{}", said(&output));
        for report in REPORTS {
            assert_eq!(bench.report(report).contains(wanted.unwrap_or("too few")), wanted.is_some(), "{report} {runs}");
        }
    }
}

#[test]
fn a_busy_machine_is_told() {
    let bench = Bench::new();
    bench.restic_that("if [ $4 = backup ]; then sleep 1; fi");
    let cores = std::thread::available_parallelism().unwrap().get();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let results = bench.results(0, &["--runs", "3", "--tools", "restic", "--scenarios", "media"]);
        done.store(true, Ordering::Relaxed);
        let first = &runs_of(&results, "restic", Some("first"))[0]["measures"];
        assert!(first["other_seconds"].as_f64().unwrap() > 0.3 * cores as f64, "{first}");
    });
    for report in REPORTS {
        assert!(bench.report(report).contains("The machine was too busy to conclude anything"), "{report}");
    }
}

#[test]
fn medians_are_of_complete_rounds_alone() {
    let (never, once) = ("if [ $4 = backup ]; then", "if [ $4 = check ]; then touch '{}.1'; elif [ -e '{}.1' ]; then");
    for (when, complete) in [(never, 0), (once, 1)] {
        let bench = Bench::new();
        let pid = bench.path("pid");
        bench.stub("daykeep", DAYKEEP);
        let lines =
            format!("{when} sleep 300 & echo $! >'{{}}'; sleep 300; fi").replace("{}", &pid.display().to_string());
        bench.restic_that(&lines);
        // The second round begins with the second tool, so the first one's runs are kept apart by hanging in the last.
        let arguments = ["--runs", "2", "--tools", "daykeep-dir,daykeep-redb,restic", "--scenarios", "media"];
        let mut child = bench.command(&arguments).spawn().unwrap();
        wait_for(&pid, &mut child);
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
        let results = bench.json();
        assert_eq!(results["rounds_done"], complete);
        assert_eq!(runs_of(&results, "daykeep-redb", Some("first")).len(), complete + 1, "a run of the round after it");
        let figures = crate::reports::figures(&results);
        assert_eq!(figures.is_empty(), complete == 0);
        for ((_, step, tool), found) in &figures {
            assert_eq!(found["seconds"], found["seconds_max"], "{step} {tool}: one run and no more");
        }
        for report in REPORTS {
            assert_eq!(bench.report(report).contains("No round was completed"), complete == 0, "{report}");
        }
    }
}
