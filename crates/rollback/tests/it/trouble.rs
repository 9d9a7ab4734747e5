//! The store is away, the router refuses or lies, somebody interrupts.

use crate::{PROGRAM, SHOP, actions, shop};
use kit_contract::Reason;
use kit_contract::body::UndoOutcome::{Done, NotTried, Stuck};
use kit_testing::{Signal, artifact, deployment};
use serde_json::{Value, json};

#[test]
fn with_the_store_away_traffic_moves_and_a_second_run_tells_the_chain() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.sandbox.put_artifact("deployment", &deployment("deploy-0002", "2.0.0", &["api", "web"]));
    shop.break_store();
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(
        actions(&artifact),
        [("stop_request", Stuck), ("withdraw_canary", Done), ("close_chain", Stuck), ("release_lock", Stuck)]
    );
    assert!(artifact.hints[1].starts_with("close_chain is not done"), "{:?}", artifact.hints);
    assert!(artifact.hints.last().unwrap().starts_with("run rollback again"), "{:?}", artifact.hints);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    shop.mend_store();
    assert_eq!(shop.events(), ["begun", "deployed", "begun"]);
    assert!(shop.is_locked());

    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.events(), ["begun", "deployed", "begun", "rolled_back"]);
    assert!(!shop.is_locked());
    shop.run(&[], Reason::NothingToUndo);
}

#[test]
fn with_the_store_away_a_release_is_switched_back_from_its_artifacts() {
    let shop = shop("20s");
    shop.released("deploy-0001", "1.0.0", 60);
    shop.released("deploy-0002", "2.0.0", 60);
    shop.promoted();
    shop.sandbox.put_artifact("deployment", &deployment("deploy-0002", "2.0.0", &["api", "web"]));
    let share = |service: &str| {
        json!({ "service": service, "asked_percent": 5.0, "observed_percent": 5.0,
                                        "before_percent": 0.0, "stable_version": "1.0.0" })
    };
    let body = json!({ "stage": "canary", "action": "shift", "driver": "command", "withdrawn": false,
                       "dry_run": false, "services": [share("api"), share("web")] });
    sandboxed_rollout(&shop, &body);
    shop.break_store();
    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
    shop.mend_store();
    assert_eq!(shop.state().current().unwrap().version, "2.0.0", "nobody could tell the chain");
    let second = shop.run(&[], Reason::RolledBack);
    assert_eq!(second.body.unwrap().target.unwrap().as_str(), "deploy-0001");
    assert_eq!(shop.state().current().unwrap().version, "1.0.0");
    assert!(shop.state().bad_versions.contains_key("2.0.0"));
    assert_eq!(shop.router.changes(), ["switch"]);
}

fn sandboxed_rollout(shop: &crate::Shop, body: &Value) {
    let rollout = artifact("rollout-canary", "deploy-0002", Reason::Shifted, 5, body.clone());
    shop.sandbox.put_artifact("rollout-canary", &rollout);
}

/// No chain, no artifacts: what it is that has traffic, nobody knows. Out it goes.
#[test]
fn with_nothing_known_at_all_the_canary_is_withdrawn() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.break_store();
    let error = shop.run(&[], Reason::StoreUnreachable);
    assert!(error.message.starts_with("the canary was withdrawn, 0 % observed"), "{}", error.message);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    let named = shop.run(&["--deployment", "deploy-0002"], Reason::StoreUnreachable);
    assert!(named.message.contains("nobody knows whether deploy-0002 was promoted"), "{}", named.message);
    shop.run(&["--dry-run"], Reason::StoreUnreachable);
}

/// "Nothing was ever deployed" and "not the machine that deploys" look alike from here.
#[test]
fn a_store_that_is_not_there_is_not_an_empty_one() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    let error = shop.run(&["--store", "file:not/here"], Reason::StoreUnreachable);
    assert!(
        error.message.contains("the store cannot be asked and no deployment is named"),
        "{}",
        error.message
    );
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert!(!shop.sandbox.has("not/here"), "looking makes no store");
}

#[test]
fn without_a_configuration_nobody_knows_what_is_meant() {
    let sandbox = kit_testing::Sandbox::new();
    let ran = sandbox.run(PROGRAM, &["--reason", "slow"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no deploy.toml here"), "{}", ran.stderr);
}

#[test]
fn a_store_that_dies_with_the_job_or_is_unknown_is_done_without() {
    for url in ["file:store", "s3://bucket/prefix", "nonsense"] {
        let shop = shop("20s");
        shop.dead_at(5.0);
        shop.sandbox.put_artifact("deployment", &deployment("deploy-0002", "2.0.0", &["api", "web"]));
        let config = shop.sandbox.read("deploy.toml").replace("file:store", url);
        shop.sandbox.write("deploy.toml", config);
        let mut command = shop.sandbox.command(PROGRAM);
        let output = command.env("CI", "true").args(["--reason", "slow"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("going on without the store"), "{stderr}");
        assert!(stderr.contains("close_chain is not done"), "{stderr}");
        assert_eq!(shop.router.shares(), [0.0, 0.0], "{url}");
    }
    let shop = shop("20s");
    shop.run(&["--store", "nonsense"], Reason::UsageError);
}

#[test]
fn a_router_that_refuses_or_lies_is_stuck_and_the_chain_is_not_told() {
    for faults in [
        json!({ "abort": "refuse" }),
        json!({ "abort": "claim" }),
        json!({ "abort": "first" }),
        json!({ "abort": "garbage" }),
        json!({ "observe": [null, "refuse"] }),
        json!({ "observe": "refuse" }),
        json!({ "observe": "off" }),
    ] {
        let shop = shop("1s");
        shop.dead_at(5.0);
        shop.router.faults(&faults);
        let artifact = shop.run(&[], Reason::RollbackStuck);
        assert!(artifact.hints[0].contains("by hand"), "{faults}: {:?}", artifact.hints);
        assert_eq!(shop.events(), ["begun", "deployed", "begun"], "{faults}");
        assert!(shop.is_locked() && shop.is_asked_to_stop("deploy-0002"), "{faults}");

        shop.router.faults(&json!({}));
        shop.run(&[], Reason::RolledBack);
        assert_eq!(shop.events().last().unwrap(), "rolled_back");
    }
}

#[test]
fn a_switch_back_that_is_not_observed_is_stuck() {
    for faults in [
        json!({ "switch": "refuse" }),
        json!({ "switch": "claim" }),
        json!({ "switch": "first" }),
        json!({ "switch": "hang" }),
        json!({ "observe": [null, "garbage"] }),
    ] {
        let shop = shop("1s");
        shop.released("deploy-0001", "1.0.0", 60);
        shop.released("deploy-0002", "2.0.0", 60);
        shop.promoted();
        shop.router.faults(&faults);
        let artifact = shop.run(&[], Reason::RollbackStuck);
        let tried = actions(&artifact);
        assert_eq!(
            tried,
            [("switch_back", Stuck), ("close_chain", NotTried), ("release_lock", NotTried)],
            "{faults}"
        );
        assert_eq!(shop.events().len(), 4, "{faults}");
        shop.router.faults(&json!({}));
        shop.run(&[], Reason::RolledBack);
        assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"], "{faults}");
    }
}

#[test]
fn an_old_version_that_is_gone_or_unhealthy_is_stuck() {
    for (key, value) in [("standby", json!([])), ("stable_healthy", json!(false))] {
        let shop = shop("1s");
        shop.released("deploy-0001", "1.0.0", 60);
        shop.released("deploy-0002", "2.0.0", 60);
        shop.promoted();
        shop.router.set("web", key, value);
        shop.run(&[], Reason::RollbackStuck);
        assert_eq!(shop.state().current().unwrap().version, "2.0.0");
    }
}

#[test]
fn a_router_that_cannot_be_asked_at_first_is_told_all_the_same() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.router.faults(&json!({ "observe": ["refuse", null] }));
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(actions(&artifact)[1], ("withdraw_canary", Done));
    assert_eq!(shop.router.shares(), [0.0, 0.0]);

    // What was promoted is not called rolled back for a withdrawal.
    let shop = crate::shop("20s");
    shop.dead_at(0.0);
    shop.promoted();
    shop.router.faults(&json!({ "observe": ["refuse", null] }));
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(actions(&artifact)[2], ("switch_back", Done));
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
}

#[test]
fn an_interrupted_rollback_goes_on_as_long_as_it_may() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.router.faults(&json!({ "abort": ["claim", "claim", null] }));
    let running = shop.sandbox.start(PROGRAM, &["--reason", "slow"]);
    running.wait_for_line("abort 1");
    running.signal(Signal::INT);
    shop.check(&running.wait(), Reason::RolledBack);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert!(!shop.is_locked());
}

#[test]
fn a_killed_rollback_is_taken_up_by_the_next() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.router.faults(&json!({ "abort": "hang" }));
    let running = shop.sandbox.start(PROGRAM, &["--reason", "slow"]);
    running.wait_for_line("hanging");
    running.signal(Signal::KILL);
    running.wait();
    assert_eq!(shop.sandbox.artifact_json("rollback")["reason"], "unfinished");
    shop.router.faults(&json!({}));
    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.events(), ["begun", "deployed", "begun", "rolled_back"]);
    assert!(!shop.is_locked() && !shop.is_asked_to_stop("deploy-0002"));
}

/// A named pipe in the place of an entry: whoever reads it waits for ever.
#[test]
fn a_store_that_never_answers_does_not_keep_traffic_waiting() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    let head = shop.sandbox.path().join(SHOP).join("head.json");
    std::fs::remove_file(&head).unwrap();
    assert!(shop.sandbox.command("mkfifo").arg(&head).status().unwrap().success());
    let error = shop.run(&[], Reason::StoreUnreachable);
    assert!(error.message.starts_with("the canary was withdrawn"), "{}", error.message);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
}

#[test]
fn the_id_of_the_deploy_given_to_the_rollback_does_not_spare_it() {
    let shop = shop("1s");
    shop.dead_at(5.0);
    shop.router.faults(&json!({ "abort": "refuse" }));
    shop.run(&["--deployment-id", "deploy-0002"], Reason::RollbackStuck);
    assert!(shop.is_asked_to_stop("deploy-0002"));
}
