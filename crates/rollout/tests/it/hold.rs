//! Inside a deployment: the lock, and requests to stop.

use crate::{ID, ROLLOUT, canary, rollout, shop};
use kit_contract::Reason;
use kit_store::{FileStore, Layout, Lock, LockOwner, Stop, StopRequest, StopSubject};
use kit_testing::{FakeRouter, Sandbox, deployment};
use std::sync::Arc;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn store(sandbox: &Sandbox) -> (Arc<FileStore>, Layout) {
    let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
    (Arc::new(FileStore::new(sandbox.path().join("store"))), layout)
}

/// Takes the lock for a deployment, as `deploy-record begin` does.
pub(crate) fn take_lock(sandbox: &Sandbox, id: &str) {
    let (store, layout) = store(sandbox);
    let owner = LockOwner { deployment_id: id.parse().unwrap(), run_id: None, attempt: 1, actor: None };
    block_on(Lock::new(store, layout).acquire(&owner, jiff::Timestamp::now())).unwrap();
}

fn deploying() -> (Sandbox, FakeRouter) {
    let (sandbox, router) = shop("20s");
    sandbox.put_artifact("deployment", &deployment(ID, "2.0.0", &["api", "web"]));
    (sandbox, router)
}

#[test]
fn a_deploy_that_holds_the_lock_moves_traffic_and_renews_it() {
    let (sandbox, router) = deploying();
    take_lock(&sandbox, ID);
    let before = sandbox.read("store/shop/production/lock.json");
    canary(&sandbox, Reason::Shifted);
    assert_ne!(sandbox.read("store/shop/production/lock.json"), before);
    assert_eq!(router.shares(), [5.0, 5.0]);
}

#[test]
fn a_lock_that_is_lost_refuses_every_shift() {
    for holder in [None, Some("deploy-0009")] {
        let (sandbox, router) = deploying();
        if let Some(holder) = holder {
            take_lock(&sandbox, holder);
        }
        let artifact = canary(&sandbox, Reason::LockLost);
        assert!(artifact.message.contains(holder.unwrap_or("nobody")), "{}", artifact.message);
        router.set("api", "percent", 100.0.into());
        router.set("web", "percent", 100.0.into());
        rollout(&sandbox, &["promote"], "rollout-promote", Reason::LockLost);
        assert_eq!(router.changes(), Vec::<String>::new());
    }
}

#[test]
fn a_request_to_stop_refuses_the_next_shift() {
    let (sandbox, router) = deploying();
    take_lock(&sandbox, ID);
    let (store, layout) = store(&sandbox);
    let request = |subject| StopRequest {
        subject,
        requested_by: Some("ada".into()),
        why: "checkout is slow".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
        by_deployment: None,
    };
    let stop = Stop::new(store, layout);
    block_on(stop.request(request(StopSubject::Deployment("deploy-0009".parse().unwrap())))).unwrap();
    canary(&sandbox, Reason::Shifted);
    block_on(stop.request(request(StopSubject::Deployment(ID.parse().unwrap())))).unwrap();
    let (_, artifact) = rollout(&sandbox, &["--stage", "full"], "rollout-full", Reason::StopRequested);
    assert_eq!(artifact.message, "ada asked this deploy to stop: checkout is slow");
    assert_eq!(router.changes(), ["shift"]);
}

/// Waits for something that another process does.
fn wait_until(mut done: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !done() {
        assert!(since.elapsed() < std::time::Duration::from_secs(30), "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn beside_a_gate_the_lock_is_renewed_and_a_request_to_stop_handed_on() {
    let (sandbox, _router) = deploying();
    take_lock(&sandbox, ID);
    let before = sandbox.read("store/shop/production/lock.json");
    let started = sandbox.start(ROLLOUT, &["hold", "--stop-file", "here.json"]);
    wait_until(|| sandbox.read("store/shop/production/lock.json") != before);
    assert!(!sandbox.path().join("here.json").exists());
    let (store, layout) = store(&sandbox);
    let request = StopRequest {
        subject: StopSubject::Deployment(ID.parse().unwrap()),
        requested_by: Some("ada".into()),
        why: "checkout is slow".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
        by_deployment: None,
    };
    block_on(Stop::new(store, layout).request(request)).unwrap();
    wait_until(|| sandbox.path().join("here.json").exists());
    let handed: StopRequest = serde_json::from_str(&sandbox.read("here.json")).unwrap();
    assert_eq!(handed.why, "checkout is slow");
    started.signal(kit_testing::Signal::INT);
    let ran = started.wait();
    assert_eq!(ran.code, Some(0), "{}", ran.printed());
}

#[test]
fn what_holds_ends_with_whoever_started_it() {
    let (sandbox, _router) = deploying();
    take_lock(&sandbox, ID);
    let before = sandbox.read("store/shop/production/lock.json");
    let script = format!("{ROLLOUT} hold & wait");
    let parent = sandbox.start("sh", &["-c", &script]);
    wait_until(|| sandbox.read("store/shop/production/lock.json") != before);
    parent.signal(kit_testing::Signal::KILL);
    // Its output stays open for as long as the orphan lives.
    let ran = parent.wait();
    assert!(ran.stdout.contains("held until its end"), "{}", ran.printed());
}

#[test]
fn nothing_is_held_where_there_is_no_deployment() {
    let (sandbox, _router) = shop("20s");
    let ran = sandbox.run(ROLLOUT, &["hold"]);
    assert_eq!(ran.code, Some(2), "{}", ran.printed());
    assert!(ran.stderr.contains("there is no deployment here"), "{}", ran.printed());
}

#[test]
fn a_store_that_cannot_be_asked_refuses_the_shift() {
    let (sandbox, router) = deploying();
    // A link to itself: it fails for root as well, whom permissions do not stop.
    std::os::unix::fs::symlink("store", sandbox.path().join("store")).unwrap();
    canary(&sandbox, Reason::StoreUnreachable);
    assert_eq!(router.changes(), Vec::<String>::new());
}

#[test]
fn a_deployment_whose_artifact_is_missing_or_foreign_moves_nothing() {
    let (sandbox, router) = shop("20s");
    let args = ["--stage", "canary", "--deployment-id", ID];
    rollout(&sandbox, &args, "rollout-canary", Reason::ArtifactMissing);
    sandbox.put_artifact("deployment", &deployment("deploy-0001", "1.0.0", &["api", "web"]));
    rollout(&sandbox, &args, "rollout-canary", Reason::ArtifactForeign);
    assert_eq!(router.actions(), Vec::<String>::new());
}
