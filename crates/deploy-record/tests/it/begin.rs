//! `deploy-record begin` and `adopt`.

use crate::{
    CONFIG, ID, PROGRAM, SHOP, begin, break_store, check, deploy, ended, entries, events, finish, go_until,
    is_locked, make_ready, ready, run, state, withdrawn,
};
use kit_contract::Reason;
use kit_contract::body::Begin;
use kit_contract::chain::ChainEvent;
use kit_testing::{Sandbox, artifact};
use serde_json::Value;

#[test]
fn begin_takes_the_lock_and_says_so_in_the_chain() {
    let sandbox = ready(ID, "2.0.0");
    let artifact = begin(&sandbox, Reason::Begun);
    let body = artifact.body.unwrap();
    assert!(body.first_deployment && body.rollback_target.is_none());
    assert!(artifact.message.ends_with("this is the first deployment: there is nothing to return to"));
    assert_eq!(body.sequence, 1);
    assert!(is_locked(&sandbox));
    assert!(sandbox.read(&format!("{SHOP}/lock.json")).contains(ID));
    assert_eq!(state(&sandbox).open.unwrap().version, "2.0.0");
    assert!(!sandbox.files().iter().any(|file| file.contains("scratch")), "the proof leaves nothing");
}

#[test]
fn a_second_run_renews_and_begins_nothing_twice() {
    let sandbox = ready(ID, "2.0.0");
    let first = begin(&sandbox, Reason::Begun).body.unwrap();
    let second = begin(&sandbox, Reason::Begun).body.unwrap();
    assert_eq!(events(&sandbox), ["begun"]);
    assert_eq!((second.sequence, second.entry_sha256), (first.sequence, first.entry_sha256));
    assert!(second.lock_expires_at > first.lock_expires_at);
}

/// An id stands for one deploy; one that failed may be tried again.
#[test]
fn a_deployment_that_is_over_does_not_begin_again() {
    let sandbox = ready(ID, "2.0.0");
    deploy(&sandbox, ID, "2.0.0");
    make_ready(&sandbox, ID, "2.0.0");
    let refused = begin(&sandbox, Reason::RecordRefused);
    assert_eq!(refused.message, "deployment deploy-0002 is over, with entry 2 of the chain");
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
    assert!(!is_locked(&sandbox), "nobody waits for what did not begin");
}

#[test]
fn the_deployment_before_is_where_a_rollback_returns_to() {
    let sandbox = ready("deploy-0001", "1.0.0").github_actions();
    let config = CONFIG.replace("[[services]]", "persistent = true\n[[services]]");
    sandbox.write("deploy.toml", config);
    deploy(&sandbox, "deploy-0001", "1.0.0");
    make_ready(&sandbox, ID, "2.0.0");
    let body = begin(&sandbox, Reason::Begun).body.unwrap();
    assert_eq!(body.rollback_target.unwrap().as_str(), "deploy-0001");
    assert!(!body.first_deployment);
    let outputs = sandbox.outputs();
    assert_eq!(outputs["rollback-target"], "deploy-0001");
    assert_eq!(outputs["first-deployment"], "false");
}

#[test]
fn who_comes_second_goes_away() {
    let sandbox = ready("deploy-0001", "1.0.0");
    begin(&sandbox, Reason::Begun);
    let lock = sandbox.read(&format!("{SHOP}/lock.json"));
    make_ready(&sandbox, ID, "2.0.0");
    let refused = begin(&sandbox, Reason::LockHeld);
    assert!(refused.message.contains("deploy-0001"), "{}", refused.message);
    assert_eq!(sandbox.read(&format!("{SHOP}/lock.json")), lock);
    assert_eq!(events(&sandbox), ["begun"]);
}

#[test]
fn what_preflight_did_not_allow_does_not_begin() {
    let sandbox = ready(ID, "2.0.0");
    sandbox.put_artifact("preflight", &artifact("preflight", ID, Reason::ChecksFailed, 1, Value::Null));
    begin(&sandbox, Reason::ArtifactNotGo);
    std::fs::remove_file(sandbox.path().join(".deploy-kit/artifacts/preflight.json")).unwrap();
    begin(&sandbox, Reason::ArtifactMissing);
    assert!(!sandbox.has("store"));
}

#[test]
fn outside_a_deployment_nothing_begins() {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    begin(&sandbox, Reason::ArtifactMissing);
    make_ready(&sandbox, ID, "2.0.0");
    let mut alone = sandbox.artifact_json("deployment");
    alone["standalone"] = true.into();
    sandbox.put_artifact("deployment", &alone);
    begin(&sandbox, Reason::ArtifactMissing);
    assert!(!sandbox.has("store"));
}

#[test]
fn a_bad_version_is_refused_and_the_lock_given_back() {
    let sandbox = ready("deploy-0001", "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, "deploy-0001", "gate-canary");
    ended(&sandbox, "deploy-0001", "gate-canary", Reason::ErrorRateExceeded, Value::Null);
    withdrawn(&sandbox, "deploy-0001");
    finish(&sandbox, Reason::Recorded);

    make_ready(&sandbox, ID, "2.0.0");
    let refused = begin(&sandbox, Reason::VersionMarkedBad);
    assert_eq!(refused.message, "2.0.0 is marked bad: gate-canary: error_rate_exceeded");
    assert!(!is_locked(&sandbox), "nobody must wait for a deploy that did not begin");
    assert_eq!(events(&sandbox), ["begun", "failed", "marked_bad"]);

    run::<Begin>(&sandbox, &["begin", "--allow-bad", " "], "begin", Reason::UsageError);
    for _ in 0..2 {
        let args = ["begin", "--allow-bad", "the probe was wrong"];
        run::<Begin>(&sandbox, &args, "begin", Reason::Begun);
    }
    assert_eq!(events(&sandbox), ["begun", "failed", "marked_bad", "override", "begun"]);
    let event = entries(&sandbox).remove(3).event;
    let (what, why) = ("version_marked_bad: 2.0.0".to_owned(), "the probe was wrong".to_owned());
    assert_eq!(event, ChainEvent::Override { what, why });
}

#[test]
fn a_lock_that_was_ours_before_is_kept_when_a_second_run_fails() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    sandbox.write(&format!("{SHOP}/chain/00000001.json"), "{}");
    begin(&sandbox, Reason::ChainBroken);
    assert!(is_locked(&sandbox), "the deploy has begun: its lock stays");
    std::fs::remove_dir_all(sandbox.path().join(SHOP)).unwrap();
    sandbox.write(&format!("{SHOP}/chain/00000002.json"), "{}");
    begin(&sandbox, Reason::ChainBroken);
    assert!(!is_locked(&sandbox), "nothing has begun");
}

#[test]
fn a_store_that_dies_with_the_job_is_refused() {
    let sandbox = ready(ID, "2.0.0").github_actions();
    let refused = begin(&sandbox, Reason::StoreUnsuitable);
    assert!(refused.hints[0].contains("store.persistent = true"), "{:?}", refused.hints);
    let adopt = ["adopt", "--running-version", "1.0.0"];
    run::<Begin>(&sandbox, &adopt, "begin-adopt", Reason::StoreUnsuitable);
    assert!(!sandbox.has("store"));
}

#[test]
fn a_store_that_cannot_be_asked_is_not_an_empty_one() {
    let sandbox = ready(ID, "2.0.0");
    break_store(&sandbox);
    begin(&sandbox, Reason::StoreUnreachable);
    let adopt = ["adopt", "--running-version", "1.0.0"];
    run::<Begin>(&sandbox, &adopt, "begin-adopt", Reason::StoreUnreachable);
}

#[test]
fn what_runs_now_is_adopted_once() {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    let args = ["adopt", "--running-version", "1.0.0"];
    run::<Begin>(&sandbox, &args, "begin-adopt", Reason::Adopted);
    assert_eq!(state(&sandbox).current().unwrap().version, "1.0.0");
    let again = run::<Begin>(&sandbox, &args, "begin-adopt", Reason::RecordRefused);
    assert!(again.message.starts_with("the chain says that 1.0.0 serves"), "{}", again.message);
    let forced = ["adopt", "--running-version", "1.1.0", "--force"];
    run::<Begin>(&sandbox, &forced, "begin-adopt", Reason::Adopted);
    assert_eq!(state(&sandbox).current().unwrap().version, "1.1.0");

    // The first deploy in the same folder has somewhere to return to, and can be recorded.
    sandbox.put_artifact("deployment", &kit_testing::deployment(ID, "2.0.0", &["api"]));
    sandbox.put_artifact("preflight", &artifact("preflight", ID, Reason::ChecksPassed, 1, Value::Null));
    assert!(begin(&sandbox, Reason::Begun).body.unwrap().rollback_target.is_some());
    go_until(&sandbox, ID, "");
    finish(&sandbox, Reason::Recorded);
}

#[test]
fn adopting_is_refused_under_a_deploy_and_for_a_tag() {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    let args = ["adopt", "--running-version", "1.0.0"];
    let refused = run::<Begin>(&sandbox, &args, "begin-adopt", Reason::RecordRefused);
    assert!(refused.message.contains(ID), "{}", refused.message);
    let ran = sandbox.run(PROGRAM, &["adopt", "--running-version", "v1.0.0"]);
    let refused = check::<Begin>(&sandbox, &ran, "begin-adopt", Reason::UsageError);
    assert!(refused.hints[0].starts_with("did you mean \"1.0.0\"?"), "{:?}", refused.hints);
    assert_eq!(events(&sandbox), ["begun"]);
}
