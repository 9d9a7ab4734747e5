//! Programs around the exchange.

use super::{BINARY, CONFIG, OLD, beside, connect, ended, orders, shop, untouched};
use kit_testing::{Sandbox, Signal};
use sqlx::{Connection as _, Executor as _};
use std::os::unix::fs::PermissionsExt as _;

const CONFIRMED: &[&str] = &["--deployment", OLD, "--confirm", "main"];
const BEFORE: &str =
    "echo before \"$DEPLOY_KIT_RESTORE_DATABASES\" \"$DEPLOY_KIT_RESTORE_DEPLOYMENT\" >> log";
const AFTER: &str = "echo after \"$DEPLOY_KIT_RESTORE_RESULT\" \"$1\" >> log";

fn with_hooks(before: &str, after: &str) -> Sandbox {
    let hooks = "[restore]\nbefore_swap = { command = [\"ops/before\"], timeout = \"20s\" }\n\
                 after_swap = { command = [\"ops/after\", \"off\"] }\n";
    let sandbox = shop().file("deploy.toml", &format!("{CONFIG}{hooks}"));
    for (file, text) in [("ops/before", before), ("ops/after", after)] {
        sandbox.write(file, format!("#!/bin/sh\n{text}\n"));
        let path = sandbox.path().join(file);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    sandbox
}

#[test]
fn they_run_around_the_exchange_and_only_around_one() {
    let sandbox = with_hooks(BEFORE, AFTER);
    ended(&sandbox, &sandbox.run(BINARY, &["--deployment", OLD]), 0, "restore_planned");
    ended(&sandbox, &sandbox.run(BINARY, &[CONFIRMED, &["--no-swap"]].concat()), 0, "restored");
    assert!(!sandbox.has("log"), "nothing was exchanged");
    ended(&sandbox, &sandbox.run(BINARY, CONFIRMED), 0, "restored");
    assert_eq!(sandbox.read("log"), format!("before main {OLD}\nafter restored off\n"));
    assert_eq!(orders(&sandbox.path().join("main.db")), 1);
}

#[test]
fn where_the_one_before_fails_nothing_is_exchanged_and_the_one_after_still_runs() {
    for (before, code, reason) in [
        (format!("{BEFORE}; echo 'cannot stop it' >&2; exit 3"), 20, "command_failed"),
        (format!("{BEFORE}; exec sleep 60"), 21, "deadline_exceeded"),
    ] {
        let sandbox = with_hooks(&before, AFTER);
        let config = sandbox.read("deploy.toml").replace("20s", "300ms");
        sandbox.write("deploy.toml", config);
        let ran = sandbox.run(BINARY, CONFIRMED);
        ended(&sandbox, &ran, code, reason);
        assert!(ran.stderr.contains("restore.before_swap failed"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        untouched(&sandbox);
        assert_eq!(sandbox.read("log"), format!("before main {OLD}\nafter unchanged off\n"));
    }
}

#[test]
fn where_the_one_after_fails_a_human_is_told_what_to_do() {
    let sandbox = with_hooks(BEFORE, "exit 7");
    let ran = sandbox.run(BINARY, CONFIRMED);
    let artifact = ended(&sandbox, &ran, 30, "left_changed");
    assert_eq!(artifact["body"]["databases"][0]["swapped"], true);
    for says in ["may still be stopped", "run what after_swap would have done: ops/after off", "are restored"]
    {
        assert!(ran.stderr.contains(says), "no {says:?} in {}", ran.stderr);
    }
    assert_eq!(orders(&sandbox.path().join("main.db")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_exchange_fails_the_one_after_runs() {
    let sandbox = tokio::task::spawn_blocking(|| with_hooks(BEFORE, AFTER)).await.unwrap();
    let mut other = connect(&sandbox.path().join("main.db")).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let (sandbox, ran) = tokio::task::spawn_blocking(move || {
        let ran = sandbox.run(BINARY, CONFIRMED);
        (sandbox, ran)
    })
    .await
    .unwrap();
    other.close().await.unwrap();
    ended(&sandbox, &ran, 20, "database_unreachable");
    assert_eq!(sandbox.read("log"), format!("before main {OLD}\nafter unchanged off\n"));
    tokio::task::spawn_blocking(move || untouched(&sandbox)).await.unwrap();
}

#[test]
fn a_run_that_is_stopped_in_between_still_runs_the_one_after() {
    let sandbox = with_hooks(&format!("{BEFORE}; exec sleep 60"), AFTER);
    let started = sandbox.start(BINARY, CONFIRMED);
    // The shell makes the file before the program writes into it.
    while !sandbox.has("log") || sandbox.read("log").is_empty() {
        std::thread::yield_now();
    }
    started.signal(Signal::TERM);
    let ran = started.wait();
    ended(&sandbox, &ran, 143, "terminated");
    assert_eq!(sandbox.read("log"), format!("before main {OLD}\nafter unchanged off\n"));
    assert_eq!(beside(&sandbox, "restore"), [""; 0]);
    untouched(&sandbox);
}
