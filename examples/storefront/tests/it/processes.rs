use super::shop::{CTL, Shop};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use std::process::Command;

fn exists(process: &Value) -> bool {
    let pid = i32::try_from(process["pid"].as_i64().unwrap()).unwrap();
    // Where nobody reaps it, an ended process keeps its id, but has no command line.
    let unreaped = std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command.is_empty());
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !unreaped
}

#[tokio::test]
async fn the_first_version_is_stable_and_the_next_the_canary() {
    let shop = Shop::open();
    let first = shop.start("catalog", "1.4.0", &[]);
    let second = shop.start("catalog", "1.5.0", &[]);
    let state = shop.state("catalog").await;
    assert_eq!(state["stable"], json!({ "url": first["url"], "version": "1.4.0" }));
    assert_eq!(state["canary"], json!({ "url": second["url"], "version": "1.5.0" }));
    assert_eq!(state["canary_percent"], 0);
    assert_eq!(shop.processes()[1..], [first, second]);
}

#[tokio::test]
async fn a_canary_with_traffic_is_not_replaced() {
    let shop = Shop::with_canary().await;
    assert_eq!(shop.put("/services/catalog", json!({ "canary_percent": 5 })).await.status, 200);
    let listed = shop.processes().len();
    let output = Command::new(CTL).args(shop.start_arguments("catalog", "2.0.1")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("catalog sends 5 % to its canary"), "{said}");
    assert_eq!(shop.processes().len(), listed);
}

#[test]
fn two_that_start_at_once_are_both_listed() {
    let shop = Shop::open();
    let children = ["catalog", "checkout"]
        .map(|service| Command::new(CTL).args(shop.start_arguments(service, "1.4.0")).spawn().unwrap());
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut services: Vec<_> = shop.processes().iter().map(|one| one["service"].to_string()).collect();
    services.sort();
    assert_eq!(services, ["\"catalog\"", "\"checkout\"", "\"router\""]);
}

#[test]
fn stop_ends_all_that_was_started_and_nothing_else() {
    let shop = Shop::with_stable();
    let started = shop.processes();
    assert_eq!(started.len(), 3);
    assert!(started.iter().all(exists));

    // A process id that was given out again: it belongs to this test now.
    let foreign = json!({ "service": "catalog", "version": "0.9.0", "url": "http://127.0.0.1:1",
        "pid": std::process::id() });
    let listed: Vec<&Value> = started.iter().chain([&foreign]).collect();
    std::fs::write(shop.path("processes.json"), json!(listed).to_string()).unwrap();

    let stopped = shop.stop(&["--all"]);
    assert_eq!(stopped["gone"], json!([foreign]));
    assert_eq!(stopped["ended"].as_array().unwrap().len(), 3);
    assert!(!started.iter().any(exists));
    assert_eq!(shop.processes(), Vec::<Value>::new());
    assert_eq!(shop.stop(&["--all"]), json!({ "ended": [], "gone": [] }));
}

#[test]
fn stop_wants_to_know_what() {
    let shop = Shop::open();
    let processes = shop.path("processes.json");
    let output = Command::new(CTL).args(["stop", "--processes", &processes]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = Command::new(CTL).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
