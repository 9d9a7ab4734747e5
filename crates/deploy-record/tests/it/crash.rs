//! Killed, or left without a store, at a chosen point. A named pipe in the place of an object stops the
//! program exactly when it reads that object.

use crate::{
    ID, PROGRAM, SHOP, begin, break_store, check, ended, entries, events, finish, go_until, is_locked,
    mend_store, ready, state, withdrawn,
};
use kit_contract::body::{Begin, Record, RecordStatus};
use kit_contract::{Reason, Sha256};
use kit_testing::{Sandbox, Signal, Started};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

/// Runs until the program reads the object; gives it and the other end of the pipe.
fn run_until_it_reads(sandbox: &Sandbox, command: &str, object: &str) -> (Started, File, PathBuf) {
    let pipe = sandbox.path().join(SHOP).join(object);
    std::fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    let made = sandbox.command("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let running = sandbox.start(PROGRAM, &[command]);
    // Opening it waits for the reader.
    let file = OpenOptions::new().write(true).open(&pipe).unwrap();
    (running, file, pipe)
}

#[test]
fn killed_between_lock_and_chain_a_second_run_begins() {
    let sandbox = ready(ID, "2.0.0");
    let (running, pipe, path) = run_until_it_reads(&sandbox, "begin", "chain/00000001.json");
    assert!(is_locked(&sandbox));
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    drop(pipe);
    std::fs::remove_file(path).unwrap();
    assert_eq!(sandbox.artifact::<Begin>("begin").reason, Reason::Unfinished);
    assert_eq!(events(&sandbox), Vec::<String>::new());
    begin(&sandbox, Reason::Begun);
    assert_eq!(events(&sandbox), ["begun"]);
}

#[test]
fn killed_before_the_chain_a_finish_gives_the_lock_back() {
    let sandbox = ready(ID, "2.0.0");
    let (running, pipe, path) = run_until_it_reads(&sandbox, "begin", "chain/00000001.json");
    running.signal(Signal::KILL);
    running.wait();
    drop(pipe);
    std::fs::remove_file(path).unwrap();
    let record = finish(&sandbox, Reason::Recorded);
    assert_eq!(record.message, "2.0.0: failed because of begin: unfinished");
    assert!(!is_locked(&sandbox));
    assert_eq!(events(&sandbox), Vec::<String>::new());
}

#[test]
fn a_store_that_goes_away_under_begin_is_an_error_and_a_second_run_works() {
    let sandbox = ready(ID, "2.0.0");
    let (running, pipe, _) = run_until_it_reads(&sandbox, "begin", "chain/00000001.json");
    break_store(&sandbox);
    drop(pipe);
    let ran = running.wait();
    check::<Begin>(&sandbox, &ran, "begin", Reason::StoreUnreachable);
    assert!(ran.stderr.contains("the lock could not be released"), "{}", ran.stderr);
    mend_store(&sandbox);
    std::fs::remove_file(sandbox.path().join(SHOP).join("chain/00000001.json")).unwrap();
    begin(&sandbox, Reason::Begun);
    assert_eq!(events(&sandbox), ["begun"]);
}

#[test]
fn a_store_that_goes_away_under_finish_is_an_error_and_a_second_run_works() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "");
    let object = format!("deployments/{ID}/1/record.json");
    let (running, pipe, path) = run_until_it_reads(&sandbox, "finish", &object);
    break_store(&sandbox);
    drop(pipe);
    let artifact = check::<Record>(&sandbox, &running.wait(), "record", Reason::StoreUnreachable);
    assert_eq!(artifact.body.unwrap().status, RecordStatus::Success, "what was computed is kept");
    mend_store(&sandbox);
    std::fs::remove_file(path).unwrap();
    assert_eq!(events(&sandbox), ["begun"]);
    finish(&sandbox, Reason::Recorded);
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
    assert_eq!(sandbox.run(PROGRAM, &["verify"]).code, Some(0));
}

#[test]
fn killed_after_closing_a_second_run_hands_the_lock_back() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "");
    let lock = sandbox.path().join(SHOP).join("lock.json");
    let aside = sandbox.path().join("lock-aside");
    std::fs::rename(&lock, &aside).unwrap();
    let (running, pipe, path) = run_until_it_reads(&sandbox, "finish", "lock.json");
    running.signal(Signal::KILL);
    running.wait();
    drop(pipe);
    std::fs::remove_file(path).unwrap();
    std::fs::rename(aside, lock).unwrap();
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
    let record = finish(&sandbox, Reason::Recorded);
    assert_eq!(record.message, "2.0.0: success");
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
    assert!(!is_locked(&sandbox));
}

#[test]
fn a_lock_that_cannot_be_handed_back_is_no_success() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "");
    let lock = sandbox.path().join(SHOP).join("lock.json");
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("lock.json", &lock).unwrap();
    finish(&sandbox, Reason::StoreUnreachable);
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
    std::fs::remove_file(&lock).unwrap();
    finish(&sandbox, Reason::Recorded);
}

/// As a crash between the two entries leaves it.
#[test]
fn killed_between_closing_and_marking_a_second_run_marks() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "gate-canary");
    ended(&sandbox, ID, "gate-canary", Reason::ErrorRateExceeded, Value::Null);
    withdrawn(&sandbox, ID);
    finish(&sandbox, Reason::Recorded);
    assert_eq!(events(&sandbox), ["begun", "failed", "marked_bad"]);
    std::fs::remove_file(sandbox.path().join(SHOP).join("chain/00000003.json")).unwrap();
    let digest = Sha256::of(sandbox.read(&format!("{SHOP}/chain/00000002.json")).as_bytes());
    let head = json!({ "schema": "deploy-kit/head/v1", "sequence": 2, "sha256": digest });
    sandbox.write(&format!("{SHOP}/head.json"), head.to_string());
    assert_eq!(entries(&sandbox).len(), 2);
    finish(&sandbox, Reason::Recorded);
    assert_eq!(events(&sandbox), ["begun", "failed", "marked_bad"]);
    assert!(state(&sandbox).bad_versions.contains_key("2.0.0"));
}
