//! The program as it is run, on a real store in a folder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files and starts the program from outside"
)]

mod begin;
mod crash;
mod finish;
mod history;
mod keep;

use kit_contract::chain::{ChainEntry, State};
use kit_contract::config::Config;
use kit_contract::pipeline::lines;
use kit_contract::{Artifact, Body, Reason};
use kit_store::{Chain, FileStore, Layout};
use kit_testing::{Ran, Sandbox, artifact, deployment};
use serde_json::{Value, json};
use std::sync::Arc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_deploy-record");
const ID: &str = "deploy-0002";
const CONFIG: &str = "app = \"shop\"\n[store]\nurl = \"file:store\"\n[[services]]\nname = \"api\"\n";
/// The files of app and environment in the store.
const SHOP: &str = "store/shop/production";

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn chain(sandbox: &Sandbox) -> Chain {
    let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
    Chain::new(Arc::new(FileStore::new(sandbox.path().join("store"))), layout)
}

/// The chain as it is, whose links are checked in passing.
fn entries(sandbox: &Sandbox) -> Vec<ChainEntry> {
    block_on(chain(sandbox).load()).unwrap().entries.into_iter().map(|(entry, _)| entry).collect()
}

fn state(sandbox: &Sandbox) -> State {
    block_on(chain(sandbox).load()).unwrap().state
}

/// The kinds of events in the chain, oldest first.
fn events(sandbox: &Sandbox) -> Vec<String> {
    let kind =
        |entry: ChainEntry| serde_json::to_value(entry.event).unwrap()["type"].as_str().unwrap().to_owned();
    entries(sandbox).into_iter().map(kind).collect()
}

fn is_locked(sandbox: &Sandbox) -> bool {
    sandbox.has(&format!("{SHOP}/lock.json"))
}

/// A sandbox in which `id` has passed preflight.
fn ready(id: &str, version: &str) -> Sandbox {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    make_ready(&sandbox, id, version);
    sandbox
}

fn make_ready(sandbox: &Sandbox, id: &str, version: &str) {
    let folder = sandbox.path().join(".deploy-kit/artifacts");
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    sandbox.put_artifact("deployment", &deployment(id, version, &["api"]));
    sandbox.put_artifact("preflight", &artifact("preflight", id, Reason::ChecksPassed, 1, Value::Null));
}

fn run<B: Body>(sandbox: &Sandbox, args: &[&str], name: &str, reason: Reason) -> Artifact<B> {
    let ran = sandbox.run(PROGRAM, args);
    check(sandbox, &ran, name, reason)
}

fn check<B: Body>(sandbox: &Sandbox, ran: &Ran, name: &str, reason: Reason) -> Artifact<B> {
    let artifact = sandbox.artifact::<B>(name);
    assert_eq!(artifact.reason, reason, "{}", ran.printed());
    assert_eq!(ran.code, Some(i32::from(reason.exit_code())), "{}", ran.printed());
    artifact
}

fn begin(sandbox: &Sandbox, reason: Reason) -> Artifact<kit_contract::body::Begin> {
    run(sandbox, &["begin"], "begin", reason)
}

fn finish(sandbox: &Sandbox, reason: Reason) -> Artifact<kit_contract::body::Record> {
    run(sandbox, &["finish"], "record", reason)
}

/// The other steps of the pipeline, up to `end` and without it, say go, one per second.
fn go_until(sandbox: &Sandbox, id: &str, end: &str) {
    let config = Config::parse(CONFIG, &"production".parse().unwrap()).unwrap();
    let names = lines(&config.stages).into_iter().map(|line| line.artifact.to_string());
    for (name, second) in names.take_while(|name| name != end && name != "record").zip(10..) {
        let reason = match name.split('-').next().unwrap() {
            "deployment" | "preflight" | "begin" => continue,
            "backup" => Reason::VerifiedFull,
            "migration" => Reason::Migrated,
            "gate" => Reason::Promoted,
            "smoke" => Reason::SmokePassed,
            "rollout" if name == "rollout-promote" => Reason::PromotedStable,
            "rollout" => Reason::Shifted,
            _ => Reason::ChecksPassed,
        };
        sandbox.put_artifact(&name, &artifact(&name, id, reason, second, Value::Null));
    }
}

/// `name` ended like this, a minute after the good steps.
fn ended(sandbox: &Sandbox, id: &str, name: &str, reason: Reason, body: Value) {
    sandbox.put_artifact(name, &artifact(name, id, reason, 70, body));
}

/// The canary was withdrawn, and that was observed.
fn withdrawn(sandbox: &Sandbox, id: &str) {
    let body = json!({
        "stage": null, "action": "abort", "driver": "command", "services": [], "withdrawn": true, "dry_run": false
    });
    sandbox.put_artifact("rollout-abort", &artifact("rollout-abort", id, Reason::Withdrawn, 80, body));
}

/// Begins and finishes a deploy that succeeds.
fn deploy(sandbox: &Sandbox, id: &str, version: &str) {
    make_ready(sandbox, id, version);
    begin(sandbox, Reason::Begun);
    go_until(sandbox, id, "");
    assert_eq!(
        finish(sandbox, Reason::Recorded).body.unwrap().status,
        kit_contract::body::RecordStatus::Success
    );
}

/// A store that cannot be asked: a link to itself fails for root as well, whom permissions do not stop.
fn break_store(sandbox: &Sandbox) {
    let store = sandbox.path().join("store");
    if store.exists() {
        std::fs::rename(&store, sandbox.path().join("aside")).unwrap();
    }
    std::os::unix::fs::symlink("store", store).unwrap();
}

fn mend_store(sandbox: &Sandbox) {
    std::fs::remove_file(sandbox.path().join("store")).unwrap();
    std::fs::rename(sandbox.path().join("aside"), sandbox.path().join("store")).unwrap();
}
