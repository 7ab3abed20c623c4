//! Ctrl-C, a closed terminal and a reader that has gone.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Ended, World, hold, noise, wait_for_line};

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn ends(child: Child) -> Ended {
    Ended::of(child.wait_with_output().unwrap())
}

#[test]
fn a_signal_while_nothing_comes_ends_the_backup_and_the_next_one_works() {
    let world = World::with_repository();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = hold(&world);
        // Kept open, or the end of the input would end the backup.
        let stdin = child.stdin.take();
        send(&child, signal);
        let ended = ends(child);
        assert_eq!(ended.code, 130, "{signal:?}: {}", ended.stderr);
        assert_eq!(ended.last_object()["code"], 130);
        drop(stdin);
    }
    assert_eq!(world.snapshot_count(), 0);
    world.daykeep(&["backup", "source"]).succeeds();
    assert_eq!(world.snapshot_count(), 1);
}

#[test]
fn ctrl_c_in_the_middle_of_files() {
    let world = World::with_repository();
    let block = noise(64 << 20);
    for name in 0..4u8 {
        let mut content = block.clone();
        content.iter_mut().step_by(512).for_each(|byte| *byte ^= name + 1);
        world.write(&format!("source/{name}"), &content);
    }
    let args = ["backup", "source", "--json", "-v", "--compression", "19"];
    let child = world.daykeep_with_signals("--default-signal=INT", &args).spawn();
    std::thread::sleep(Duration::from_millis(100));
    send(&child, Signal::INT);
    let ended = ends(child);
    // A machine fast enough to be done by then has nothing left to interrupt.
    assert!(ended.code == 130 || ended.code == 0, "{}: {}", ended.code, ended.stderr);
    world.daykeep(&["backup", "source"]).succeeds();
    world.daykeep(&["check", "--read-data"]).succeeds();
}

#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let world = World::with_repository();
    let args = ["backup", "--stdin", "--stdin-allow-empty", "--json"];
    let mut child = world.daykeep_with_signals("--ignore-signal=HUP", &args).spawn_with_input();
    wait_for_line(child.stdout.as_mut().unwrap());
    send(&child, Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    drop(child.stdin.take());
    assert_eq!(ends(child).code, 0);
}

#[test]
fn waiting_for_the_repository_can_be_given_up() {
    let world = World::with_repository();
    let holder = hold(&world);
    let waiting = world.daykeep_with_signals("--default-signal=INT", &["snapshots", "--wait", "10m"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    send(&waiting, Signal::INT);
    assert_eq!(ends(waiting).code, 130);
    assert_eq!(ends(holder).code, 0);
}

#[test]
fn a_reader_that_has_gone_ends_a_list_quietly_and_a_backup_not_at_all() {
    let world = World::with_repository();
    for number in 0..3000 {
        world.write(&format!("source/a file with a rather long name, number {number}"), b"");
    }
    let mut child = world.daykeep(&["backup", "source", "--json", "-v"]).spawn();
    drop(child.stdout.take());
    assert_eq!(ends(child).code, 0);
    assert_eq!(world.snapshot_count(), 1);
    let mut child = world.daykeep(&["ls", "latest"]).spawn();
    wait_for_line(child.stdout.as_mut().unwrap());
    drop(child.stdout.take());
    let ended = ends(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}
