//! A deploy that died, or still runs.

use crate::{PROGRAM, SHOP, actions, serving, shop};
use kit_contract::Reason;
use kit_contract::body::UndoOutcome::{Done, NotNeeded};
use kit_contract::chain::ChainEvent;
use kit_testing::{artifact, deployment};
use serde_json::{Value, json};

#[test]
fn a_dead_canary_is_withdrawn_and_its_deploy_closed() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(
        actions(&artifact),
        [("stop_request", Done), ("withdraw_canary", Done), ("close_chain", Done), ("release_lock", Done)]
    );
    assert_eq!(
        artifact.message,
        "deploy-0002 (2.0.0) is out of traffic; observed in service: web 1.0.0, api 1.0.0"
    );
    assert_eq!(serving(&artifact), [Some("1.0.0".into()), Some("1.0.0".into())]);
    assert_eq!(artifact.body.as_ref().unwrap().target, None);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert_eq!(shop.events(), ["begun", "deployed", "begun", "rolled_back"]);
    let state = shop.state();
    assert!(state.open.is_none() && state.bad_versions.is_empty(), "nobody has seen that it is bad");
    assert_eq!(state.current().unwrap().version, "1.0.0");
    assert!(!shop.is_locked() && !shop.is_asked_to_stop("deploy-0002"));

    let again = shop.run(&[], Reason::NothingToUndo);
    assert_eq!(again.message, "nothing of deploy-0002 serves, and the chain has it closed");
    assert_eq!(again.hints, ["1.0.0 serves; to undo that one, give --deployment deploy-0001"]);
    assert_eq!(shop.events().len(), 4);
    assert_eq!(shop.router.changes(), ["abort"]);
}

#[test]
fn a_deploy_that_died_before_traffic_is_only_closed() {
    let shop = shop("20s");
    shop.dead_at(0.0);
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(actions(&artifact), [("stop_request", Done), ("close_chain", Done), ("release_lock", Done)]);
    assert_eq!(shop.router.changes(), Vec::<String>::new());
    assert!(!shop.is_locked());
}

#[test]
fn a_deploy_that_died_after_promotion_is_switched_back() {
    let shop = shop("20s");
    shop.dead_at(0.0);
    shop.promoted();
    let artifact = shop.run(&["--deployment", "deploy-0002"], Reason::RolledBack);
    assert_eq!(actions(&artifact)[1], ("switch_back", Done));
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
    assert!(shop.state().bad_versions.is_empty());
}

#[test]
fn a_promotion_that_died_half_way_is_undone_on_both_sides() {
    let shop = shop("20s");
    shop.dead_at(100.0);
    shop.router.set("api", "stable", json!("2.0.0"));
    shop.router.set("api", "canary", Value::Null);
    shop.router.set("api", "standby", json!(["1.0.0"]));
    shop.router.set("api", "percent", json!(0.0));
    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert_eq!(shop.router.changes(), ["abort", "switch"]);
}

#[test]
fn the_first_deploy_that_died_is_withdrawn_too() {
    let shop = shop("20s");
    shop.begun("deploy-0002", "2.0.0");
    shop.shift(50.0);
    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert!(shop.state().good.is_empty());
}

#[test]
fn the_lock_of_another_deployment_forbids_nothing_and_stays() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    std::fs::remove_file(shop.sandbox.path().join(SHOP).join("lock.json")).unwrap();
    shop.lock("deploy-0009");
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(actions(&artifact).last(), Some(&("release_lock", NotNeeded)));
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert!(shop.sandbox.read(&format!("{SHOP}/lock.json")).contains("deploy-0009"));
}

#[test]
fn a_deploy_that_still_runs_is_asked_to_stop_before_anything_else() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    // The request must stand when the router is first touched, so the router never answers.
    shop.router.faults(&json!({ "observe": "hang", "abort": "hang" }));
    let running = shop.sandbox.start(crate::PROGRAM, &["--reason", "slow"]);
    running.wait_for_line("hanging");
    assert!(shop.is_asked_to_stop("deploy-0002"));
    running.signal(kit_testing::Signal::TERM);
    shop.check(&running.wait(), Reason::RollbackStuck);
}

#[test]
fn a_run_that_died_before_it_began_undoes_nobody_else() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.sandbox.put_artifact("deployment", &deployment("deploy-0003", "3.0.0", &["api", "web"]));
    let refused = shop.run(&[], Reason::UsageError);
    assert!(refused.message.contains("deploy-0002 is open"), "{}", refused.message);
    assert_eq!(shop.router.shares(), [5.0, 5.0], "somebody else's canary");

    let shop = crate::shop("20s");
    shop.released("deploy-0001", "1.0.0", 60);
    shop.sandbox.put_artifact("deployment", &deployment("deploy-0003", "3.0.0", &["api", "web"]));
    let artifact = shop.run(&[], Reason::NothingToUndo);
    assert!(artifact.message.contains("deploy-0003"), "{}", artifact.message);
    assert_eq!(shop.router.changes(), Vec::<String>::new());
}

#[test]
fn a_dry_run_changes_nothing() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    let artifact = shop.run(&["--dry-run"], Reason::Planned);
    assert_eq!(
        artifact.message,
        "would take the canary of web to zero; take the canary of api to zero; close deploy-0002 in the chain; \
         release its lock; nothing was changed"
    );
    assert_eq!(shop.router.changes(), Vec::<String>::new());
    assert_eq!(shop.events(), ["begun", "deployed", "begun"]);
    assert!(shop.is_locked() && !shop.is_asked_to_stop("deploy-0002"));
    assert!(!shop.sandbox.has(".deploy-kit/artifacts/journal-rollback.jsonl"));

    shop.promoted();
    shop.shift(0.0);
    let artifact = shop.run(&["--dry-run"], Reason::Planned);
    assert!(artifact.message.starts_with("would switch web back to 1.0.0; switch api back to 1.0.0"));
}

#[test]
fn who_lost_only_the_lock_gets_it_back() {
    let shop = shop("20s");
    shop.dead_at(0.0);
    shop.append(
        "deploy-0002",
        ChainEvent::RolledBack { subject: "deploy-0002".parse().unwrap(), target: None, why: String::new() },
    );
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(actions(&artifact), [("release_lock", Done)]);
    assert!(!shop.is_locked());
    shop.run(&[], Reason::NothingToUndo);
}

#[test]
fn a_deploy_that_ended_by_itself_is_not_undone_again_nor_the_one_before() {
    let shop = shop("20s");
    shop.dead_at(0.0);
    std::fs::remove_file(shop.sandbox.path().join(SHOP).join("lock.json")).unwrap();
    shop.append(
        "deploy-0002",
        ChainEvent::Failed {
            status: kit_contract::body::RecordStatus::RolledBack,
            because: "gate-canary: error_rate_exceeded".into(),
            record_sha256: None,
        },
    );
    shop.run(&[], Reason::NothingToUndo);
    assert_eq!(shop.router.changes(), Vec::<String>::new());
    assert_eq!(shop.state().current().unwrap().version, "1.0.0");
}

#[test]
fn the_journal_says_what_was_meant_and_what_came_of_it() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    let rollback = shop.run(&[], Reason::RolledBack);
    let lines = shop.sandbox.read(".deploy-kit/artifacts/journal-rollback.jsonl");
    assert_eq!(lines.lines().count(), 8, "{lines}");
    assert!(lines.lines().nth(2).unwrap().contains("\"intent\""), "{lines}");
    let journal = format!("{SHOP}/deployments/{}/1/journal-rollback/000008.json", rollback.deployment_id);
    assert!(shop.sandbox.read(&journal).contains("release_lock: the lock of deploy-0002 is free"));
}

#[test]
fn without_a_driver_the_deploy_is_closed_and_nothing_is_claimed() {
    let shop = shop("20s");
    shop.sandbox.write(
        "deploy.toml",
        "app = \"shop\"\n[store]\nurl = \"file:store\"\n[[services]]\nname = \"api\"\n",
    );
    shop.dead_at(0.0);
    let artifact = shop.run(&[], Reason::RolledBack);
    assert!(artifact.message.ends_with("so nobody looked at it"), "{}", artifact.message);
    assert!(shop.state().open.is_none() && !shop.is_locked());
}

/// The folder of a run says what it deployed even if its chain cannot be read.
#[test]
fn a_broken_chain_is_not_believed_and_keeps_nobody_from_withdrawing() {
    let shop = shop("20s");
    shop.dead_at(5.0);
    shop.sandbox.put_artifact("deployment", &deployment("deploy-0002", "2.0.0", &["api", "web"]));
    shop.sandbox
        .put_artifact("gate-canary", &artifact("gate-canary", "deploy-0002", Reason::NoData, 1, Value::Null));
    shop.sandbox.write(&format!("{SHOP}/chain/00000001.json"), "{}");
    let artifact = shop.run(&[], Reason::RolledBack);
    assert!(artifact.hints[0].starts_with("close_chain is not done"), "{:?}", artifact.hints);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);

    // Without that folder nobody knows what it was; the canary goes all the same.
    shop.shift(5.0);
    let blind = shop.sandbox.run(PROGRAM, &["--reason", "slow", "--artifacts", "elsewhere"]);
    assert_eq!(blind.code, Some(i32::from(Reason::ChainBroken.exit_code())), "{}", blind.printed());
    assert!(blind.stderr.contains("the chain is broken and no deployment is named"), "{}", blind.printed());
    assert!(blind.stderr.contains("hint: --artifacts with the folder"), "{}", blind.printed());
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
}
