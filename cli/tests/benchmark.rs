//! `benchmark`: what it prints, what it leaves behind, and what it makes of paths that are of no use.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{Ended, Run, World, noise, wait_for_line};

/// The most that a measurement may take of 128 MiB: with what the allocator kept of each stage it once was 134.
const PEAK_BYTES_MAX: u64 = 112 << 20;

/// A quick one, with the folder for temporary files in the world.
fn quick(world: &World, run: impl Fn(&[&str]) -> Run, args: &[&str]) -> Run {
    let temp = world.path("temp");
    std::fs::create_dir_all(&temp).unwrap();
    run(&[&["benchmark", "--quick"], args].concat()).env("TMPDIR", temp.to_str().unwrap())
}

fn names_in(world: &World, folder: &str) -> Vec<String> {
    let names = std::fs::read_dir(world.path(folder)).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_table_and_what_follows_from_it_without_any_repository() {
    let world = World::new();
    let ended = quick(&world, |args| world.bare(args), &[]).succeeds();
    for wanted in [
        "Measured with generated data: ",
        "There is no repository yet, so the disk is that of ",
        "STAGE",
        "hash chunks",
        "compress, level 3",
        "A first backup of files like these into a repository in one file on the disk of ",
        "/s to ",
        "ore cores would ",
    ] {
        assert!(ended.stdout.contains(wanted), "{wanted}: {}", ended.stdout);
    }
    assert!(ended.stderr.contains("measuring: encrypt"), "{}", ended.stderr);
    assert!(names_in(&world, "temp").is_empty());
    assert!(names_in(&world, "home").iter().all(|name| name == ".cache"), "no repository was made");
}

#[test]
fn one_object_per_line_with_the_user_s_files_beside_the_repository() {
    let world = World::with_repository();
    let before = std::fs::read(world.path("r.redb")).unwrap();
    let names = names_in(&world, "");
    let ended = quick(&world, |args| world.daykeep(args), &["source", "--json"]).succeeds();
    let stages = ended.objects("stage");
    let named: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        [
            "open",
            "read",
            "chunk",
            "hash",
            "compress",
            "compress_other",
            "seal",
            "store_directory",
            "store_file",
            "catalog_add",
            "catalog_find",
            "backup"
        ]
    );
    for stage in &stages {
        assert!(stage["one_core_per_second"].as_f64().unwrap() > 0.0, "{stage}");
        assert!(stage["nanoseconds_per_unit"].as_f64().unwrap() > 0.0, "{stage}");
        assert!(["bytes", "files", "chunks"].contains(&stage["unit"].as_str().unwrap()), "{stage}");
    }
    assert_eq!(ended.objects("progress").len(), stages.len());
    let summary = ended.last_object();
    assert_eq!(summary["type"], "summary");
    assert_eq!((summary["sample_files"].as_u64(), summary["sample_bytes"].as_u64()), (Some(2), Some(300_005)));
    assert_eq!((&summary["has_repository"], &summary["is_directory"]), (&Value::Bool(true), &Value::Bool(false)));
    assert!(summary["sample"]["path"].as_str().unwrap().ends_with("source"));
    assert!(["reading", "processing", "storing", "catalog"].contains(&summary["limit"].as_str().unwrap()));
    let rate = |name: &str| summary[name].as_f64().unwrap();
    assert!(rate("bytes_per_second_min") > 0.0 && rate("bytes_per_second_min") < rate("bytes_per_second"));
    assert!(rate("bytes_per_second") < rate("bytes_per_second_max"));
    assert!(summary["findings"].as_array().unwrap().len() >= 3);
    assert_eq!(std::fs::read(world.path("r.redb")).unwrap(), before, "the repository is as it was");
    let mut names_after = names_in(&world, "");
    names_after.retain(|name| name != "temp");
    assert_eq!(names_after, names);
}

#[test]
fn quiet_leaves_the_figures_alone() {
    let world = World::new();
    let ended = quick(&world, |args| world.bare(args), &["--quiet", "--threads", "1", "source/a"]).succeeds();
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("1 THREAD"), "{}", ended.stdout);
}

#[test]
fn paths_that_are_of_no_use() {
    let world = World::new();
    std::fs::create_dir(world.path("empty")).unwrap();
    let fails = |code, args: &[&str]| quick(&world, |args| world.bare(args), args).fails_with(code).stderr;
    let run = |args: &[&str]| fails(1, args);
    assert!(run(&["vanished"]).contains("vanished: measure with it: "));
    assert!(run(&["empty"]).contains("empty: nothing could be backed up: no file there has anything in it"));
    assert!(run(&["/dev/null"]).contains("is neither a file nor a folder"));
    assert!(fails(2, &["source", "--repository", "s3://bucket"]).contains("are not supported"));
    assert!(run(&["source", "--repository", "no/such/folder.redb"]).contains("find the repository's disk there"));
    assert!(fails(2, &["source", "--memory", "1M"]).contains("at least 64 MiB"));
    assert!(names_in(&world, "temp").is_empty());
}

#[test]
fn a_folder_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let lock = |mode| {
        std::fs::set_permissions(world.path("source/folder"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    lock(0);
    if std::fs::read_dir(world.path("source/folder")).is_ok() {
        return; // Root may read everything.
    }
    let stderr = quick(&world, |args| world.bare(args), &["source/folder"]).fails_with(1).stderr;
    assert!(stderr.contains("source/folder: nothing could be backed up: Permission denied"), "{stderr}");
    let ended = quick(&world, |args| world.bare(args), &["source"]).succeeds();
    assert!(ended.stdout.contains("1 file or folder could not be looked at."), "{}", ended.stdout);
    lock(0o700);
}

#[test]
fn ctrl_c_ends_it_and_takes_everything_away() {
    let world = World::with_repository();
    let names = names_in(&world, "");
    let args = ["benchmark", "source", "--json"];
    let mut child = world.daykeep_with_signals("--default-signal=INT", &args).spawn();
    wait_for_line(child.stdout.as_mut().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert_eq!(ended.last_object()["code"], 130);
    assert_eq!(names_in(&world, ""), names);
}

/// Returns the most memory that a process has had so far, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(target_os = "linux")]
#[test]
fn it_stays_within_its_memory() {
    let world = World::new();
    for number in 0..3 {
        world.write(&format!("source/noise-{number}"), &noise(16_000_000));
    }
    for number in 0..2000 {
        let text: String = (number..number + 1500).map(|word| format!("{:x} ", word * word % 99_991)).collect();
        world.write(&format!("source/folder/text-{number}"), text.as_bytes());
    }
    let mut child = quick(&world, |args| world.bare(args), &["source", "--threads", "2", "--quiet"]).spawn();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_bytes(child.id()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Ended::of(child.wait_with_output().unwrap()).stdout.contains("compress"));
    assert!((16 << 20..PEAK_BYTES_MAX).contains(&peak), "{peak}");
}

#[test]
fn what_a_killed_one_left_is_removed_by_the_next() {
    let world = World::with_repository();
    let names = names_in(&world, "");
    let begin = || {
        let mut child = world.daykeep(&["benchmark", "source", "--json"]).spawn();
        // The first stage begins when the folder is there.
        wait_for_line(child.stdout.as_mut().unwrap());
        child
    };
    let mut killed = begin();
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    killed.wait().unwrap();
    let of_benchmarks = || names_in(&world, "").into_iter().filter(|name| name.starts_with(".daykeep-benchmark-"));
    let left: Vec<String> = of_benchmarks().collect();
    assert_eq!(left.len(), 1);

    let mut running = begin();
    let own: Vec<String> = of_benchmarks().collect();
    assert!(own.len() == 1 && own != left, "{own:?} {left:?}");
    quick(&world, |args| world.daykeep(args), &["source"]).succeeds();
    assert_eq!(of_benchmarks().collect::<Vec<_>>(), own, "that of a running one stays");
    kill_process(Pid::from_child(&running), Signal::KILL).unwrap();
    running.wait().unwrap();
    quick(&world, |args| world.daykeep(args), &["source"]).succeeds();
    let mut names_after = names_in(&world, "");
    names_after.retain(|name| name != "temp");
    assert_eq!(names_after, names);
}
