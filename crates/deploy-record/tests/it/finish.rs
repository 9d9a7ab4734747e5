//! `deploy-record finish`.

use crate::{
    CONFIG, ID, SHOP, begin, break_store, deploy, ended, entries, events, finish, go_until, is_locked,
    make_ready, mend_store, ready, run, state, withdrawn,
};
use kit_contract::Reason;
use kit_contract::body::{Record, RecordStatus};
use kit_contract::chain::ChainEvent;
use kit_testing::{Sandbox, artifact};
use serde_json::{Value, json};

fn begun() -> Sandbox {
    let sandbox = ready(ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    sandbox
}

#[test]
fn a_good_release_is_published_and_closed() {
    let sandbox = ready("deploy-0001", "1.0.0");
    deploy(&sandbox, "deploy-0001", "1.0.0");
    make_ready(&sandbox, ID, "2.0.0");
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "");
    let record = finish(&sandbox, Reason::Recorded);
    assert_eq!(record.message, "2.0.0: success");
    let body = record.body.unwrap();
    assert_eq!((body.status, body.sequence), (RecordStatus::Success, Some(4)));
    assert!(body.rollback_available);
    assert_eq!(body.previous.unwrap().as_str(), "deploy-0001");
    assert_eq!(events(&sandbox), ["begun", "deployed", "begun", "deployed"]);
    assert_eq!(state(&sandbox).current().unwrap().version, "2.0.0");
    assert!(!is_locked(&sandbox));
    for name in ["deployment", "begin", "gate-full", "rollout-promote", "record"] {
        assert!(sandbox.has(&format!("{SHOP}/deployments/{ID}/1/{name}.json")), "{name}");
    }
    let page = sandbox.read(".deploy-kit/artifacts/rollback.md");
    assert!(page.contains("rollback --deployment deploy-0002"), "{page}");
}

/// Twice each: nothing is appended twice.
#[test]
fn every_ending_is_closed_exactly_once() {
    use RecordStatus::{Failed, Inconclusive, RolledBack};
    let cases = [
        ("migration", Reason::MigrationFailed, false, Failed, false),
        ("rollout-canary", Reason::StopRequested, false, Failed, false),
        ("gate-canary", Reason::ErrorRateExceeded, true, RolledBack, true),
        ("gate-canary", Reason::StopRequested, true, RolledBack, false),
        ("gate-canary", Reason::NoData, true, Inconclusive, false),
        ("gate-canary", Reason::Unfinished, true, RolledBack, false),
        ("smoke", Reason::SmokeFailed, true, RolledBack, true),
    ];
    for (name, reason, withdrew, status, bad) in cases {
        let sandbox = begun();
        go_until(&sandbox, ID, name);
        ended(&sandbox, ID, name, reason, Value::Null);
        if withdrew {
            withdrawn(&sandbox, ID);
        }
        for run in ["first", "second"] {
            let record = finish(&sandbox, Reason::Recorded).body.unwrap();
            assert_eq!((record.status, record.sequence), (status, Some(2)), "{name} {reason} {run}");
            assert!(!record.rollback_available && record.rollback_deadline.is_none());
            let expected: &[&str] =
                if bad { &["begun", "failed", "marked_bad"] } else { &["begun", "failed"] };
            assert_eq!(events(&sandbox), expected, "{name} {reason} {run}");
        }
        let ChainEvent::Failed { because, status: said, .. } = entries(&sandbox).remove(1).event else {
            panic!("not closed as failed")
        };
        assert_eq!((because, said), (format!("{name}: {reason}"), status));
        assert!(!is_locked(&sandbox));
        assert!(state(&sandbox).good.is_empty());
    }
}

#[test]
fn what_is_missing_is_recorded_as_missing_and_never_success() {
    for missing in ["backup", "gate-progressive", "smoke", "rollout-promote"] {
        let sandbox = begun();
        go_until(&sandbox, ID, "");
        std::fs::remove_file(sandbox.path().join(format!(".deploy-kit/artifacts/{missing}.json"))).unwrap();
        let record = finish(&sandbox, Reason::Recorded).body.unwrap();
        assert_eq!(record.status, RecordStatus::Stuck, "{missing}: the new version has traffic");
        let step = record.steps.iter().find(|step| step.artifact == missing).unwrap();
        assert!(step.result.is_none() && step.sha256.is_none());
    }
    let sandbox = begun();
    assert_eq!(finish(&sandbox, Reason::Recorded).body.unwrap().status, RecordStatus::Failed);
}

/// A canary that nobody took out, or a step that left something half-done: it has not ended.
#[test]
fn what_is_stuck_stays_open_and_keeps_the_lock() {
    for (name, reason, expected) in [
        ("gate-canary", Reason::Unfinished, "gate-canary: unfinished"),
        ("smoke", Reason::NothingReachable, "smoke: nothing_reachable"),
        ("rollout-canary", Reason::WithdrawFailed, "rollout-canary: withdraw_failed"),
        ("migration", Reason::LeftChanged, "migration: left_changed"),
    ] {
        let sandbox = begun();
        go_until(&sandbox, ID, name);
        ended(&sandbox, ID, name, reason, Value::Null);
        for _ in 0..2 {
            let record = finish(&sandbox, Reason::Recorded);
            assert_eq!(record.message, format!("2.0.0: stuck because of {expected}"));
            assert!(record.hints[0].contains("keeps the lock"));
            let body = record.body.unwrap();
            assert_eq!((body.status, body.sequence), (RecordStatus::Stuck, None));
        }
        assert!(is_locked(&sandbox));
        assert_eq!(state(&sandbox).open.unwrap().deployment_id.as_str(), ID);
        assert!(sandbox.has(&format!("{SHOP}/deployments/{ID}/2/record.json")));
    }
}

#[test]
fn a_stuck_deploy_that_was_put_right_is_closed_by_the_next_run() {
    let sandbox = begun();
    go_until(&sandbox, ID, "gate-canary");
    ended(&sandbox, ID, "gate-canary", Reason::LatencyExceeded, Value::Null);
    finish(&sandbox, Reason::Recorded);
    assert_eq!(events(&sandbox), ["begun", "marked_bad"], "that it is bad is known");
    withdrawn(&sandbox, ID);
    assert_eq!(finish(&sandbox, Reason::Recorded).body.unwrap().status, RecordStatus::RolledBack);
    assert_eq!(events(&sandbox), ["begun", "marked_bad", "failed"]);
    assert!(!is_locked(&sandbox));
}

/// One that is not to be believed proves nothing, and is named; the deploy is not left without a record.
#[test]
fn foreign_tampered_truncated_and_lonely_artifacts_are_named_and_not_believed() {
    let smoke = |id: &str| artifact("smoke", id, Reason::SmokePassed, 30, Value::Null);
    let lonely = {
        let mut smoke = smoke(ID);
        smoke["standalone"] = true.into();
        smoke
    };
    let mut resting = artifact("gate-full", ID, Reason::Promoted, 29, Value::Null);
    resting["evidence"] = json!([{ "artifact": "rollout-full", "sha256": "0".repeat(64) }]);
    let rollback = json!({
        "subject": "deploy-0009", "target": null, "why": "", "forced": false, "actions": [], "observed": []
    });
    let other = artifact("rollback", "rollback-1", Reason::RolledBack, 60, rollback);
    for (name, content, reason) in [
        ("smoke", smoke("deploy-0009").to_string(), Reason::ArtifactForeign),
        ("smoke", "{\"schema\": \"deploy-kit/smo".to_owned(), Reason::ArtifactInvalid),
        ("smoke", lonely.to_string(), Reason::ArtifactForeign),
        ("gate-full", resting.to_string(), Reason::ArtifactTampered),
        ("rollback", other.to_string(), Reason::ArtifactForeign),
    ] {
        let sandbox = begun();
        go_until(&sandbox, ID, "");
        sandbox.write(&format!(".deploy-kit/artifacts/{name}.json"), content);
        let record = finish(&sandbox, Reason::Recorded);
        assert!(
            record.message.ends_with(&format!("stuck because of {name}: {reason}")),
            "{}",
            record.message
        );
        let body = record.body.unwrap();
        let step = body.steps.iter().find(|step| step.artifact == name).unwrap();
        assert_eq!((step.reason.as_deref(), &step.sha256), (Some(reason.code()), &None));
        assert_eq!(
            events(&sandbox),
            ["begun"],
            "{reason}: the version serves, and nobody knows how good it is"
        );
        assert!(is_locked(&sandbox) && sandbox.has(&format!("{SHOP}/deployments")), "{reason}");
    }
    let sandbox = begun();
    go_until(&sandbox, ID, "rollout-canary");
    let expect = format!("backup:{}", "0".repeat(64));
    let record = run::<Record>(&sandbox, &["finish", "--expect", &expect], "record", Reason::Recorded);
    assert_eq!(record.message, "2.0.0: failed because of backup: artifact_tampered");
    assert_eq!(events(&sandbox), ["begun", "failed"], "before any traffic it is simply over");
    assert!(!is_locked(&sandbox));
    let alone = Sandbox::new().file("deploy.toml", CONFIG);
    finish(&alone, Reason::ArtifactMissing);
}

#[test]
fn a_dry_run_publishes_nothing() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    let args = ["finish", "--dry-run"];
    let record = run::<Record>(&sandbox, &args, "record", Reason::Planned);
    assert_eq!(record.message, "would record success; nothing was published");
    assert_eq!(events(&sandbox), ["begun"]);
    assert!(is_locked(&sandbox) && !sandbox.has(&format!("{SHOP}/deployments")));
    assert!(!sandbox.has(".deploy-kit/artifacts/rollback.md"));
}

#[test]
fn a_deploy_that_never_began_is_recorded_and_not_closed() {
    let sandbox = ready("deploy-0001", "1.0.0");
    begin(&sandbox, Reason::Begun);
    make_ready(&sandbox, ID, "2.0.0");
    begin(&sandbox, Reason::LockHeld);
    let record = finish(&sandbox, Reason::Recorded);
    assert_eq!(record.message, "2.0.0: failed because of begin: lock_held");
    assert_eq!(record.body.unwrap().sequence, None);
    assert_eq!(events(&sandbox), ["begun"]);
    assert!(is_locked(&sandbox), "the lock of the other one is left alone");
    assert_eq!(state(&sandbox).open.unwrap().deployment_id.as_str(), "deploy-0001");
}

fn roll_back(sandbox: &Sandbox, subject: &str) {
    let event =
        ChainEvent::RolledBack { subject: subject.parse().unwrap(), target: None, why: "slow".into() };
    let id = "rollback-1".parse().unwrap();
    crate::block_on(crate::chain(sandbox).append(event, id, "2026-01-02T00:00:00Z".parse().unwrap(), None))
        .unwrap();
}

#[test]
fn who_was_rolled_back_meanwhile_has_not_succeeded() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    roll_back(&sandbox, ID);
    let record = finish(&sandbox, Reason::Recorded).body.unwrap();
    assert_eq!((record.status, record.sequence), (RecordStatus::RolledBack, Some(2)));
    assert_eq!(events(&sandbox), ["begun", "rolled_back"]);
    assert!(!is_locked(&sandbox));
}

#[test]
fn a_rollback_of_this_deployment_belongs_into_its_record() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    let body = json!({
        "subject": ID, "target": null, "why": "slow", "forced": false, "actions": [], "observed": []
    });
    let rollback = artifact("rollback", "rollback-1", Reason::RolledBack, 90, body);
    sandbox.put_artifact("rollback", &rollback);
    let record = finish(&sandbox, Reason::Recorded).body.unwrap();
    assert_eq!(record.status, RecordStatus::RolledBack);
    assert_eq!(record.rollback.unwrap().why, "slow");
}

#[test]
fn who_was_overtaken_is_not_closed_over_the_other() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    std::fs::remove_file(sandbox.path().join(SHOP).join("lock.json")).unwrap();
    let folder = sandbox.path().join(".deploy-kit");
    std::fs::rename(&folder, sandbox.path().join("first")).unwrap();
    make_ready(&sandbox, "deploy-0003", "3.0.0");
    begin(&sandbox, Reason::Begun);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(sandbox.path().join("first"), &folder).unwrap();
    let refused = finish(&sandbox, Reason::RecordRefused);
    assert!(refused.message.contains("deploy-0003 has begun since"), "{}", refused.message);
    assert_eq!(events(&sandbox), ["begun", "begun"]);
    assert!(sandbox.read(&format!("{SHOP}/lock.json")).contains("deploy-0003"));
}

#[test]
fn a_deployment_that_began_again_is_closed_again() {
    let sandbox = begun();
    finish(&sandbox, Reason::Recorded);
    begin(&sandbox, Reason::Begun);
    go_until(&sandbox, ID, "");
    assert_eq!(finish(&sandbox, Reason::Recorded).body.unwrap().status, RecordStatus::Success);
    assert_eq!(events(&sandbox), ["begun", "failed", "begun", "deployed"]);
    assert_eq!(state(&sandbox).current().unwrap().version, "2.0.0");
}

#[test]
fn what_the_chain_says_is_not_changed_by_later_artifacts() {
    let sandbox = begun();
    go_until(&sandbox, ID, "migration");
    ended(&sandbox, ID, "migration", Reason::MigrationFailed, Value::Null);
    finish(&sandbox, Reason::Recorded);
    go_until(&sandbox, ID, "");
    let record = finish(&sandbox, Reason::Recorded);
    assert_eq!(record.message, "recorded before as failed; the chain keeps that");
    assert_eq!(record.body.unwrap().status, RecordStatus::Failed);
    assert_eq!(events(&sandbox), ["begun", "failed"]);

    sandbox.write(&format!("{SHOP}/deployments/{ID}/1/record.json"), "{}");
    finish(&sandbox, Reason::ChainBroken);
}

/// The folder was lost and the artifacts fetched again: attempts are counted anew.
#[test]
fn a_record_is_never_written_over_by_another() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    sandbox.write(&format!("{SHOP}/deployments/{ID}/1/record.json"), "of an earlier run");
    finish(&sandbox, Reason::Recorded);
    assert_eq!(sandbox.read(&format!("{SHOP}/deployments/{ID}/1/record.json")), "of an earlier run");
    assert!(sandbox.has(&format!("{SHOP}/deployments/{ID}/2/gate-full.json")));
    let ran = sandbox.run(crate::PROGRAM, &["verify"]);
    assert_eq!(ran.code, Some(0), "{}", ran.printed());
}

#[test]
fn a_store_that_cannot_be_asked_closes_nothing() {
    let sandbox = begun();
    go_until(&sandbox, ID, "");
    break_store(&sandbox);
    finish(&sandbox, Reason::StoreUnreachable);
    mend_store(&sandbox);
    finish(&sandbox, Reason::Recorded);
    assert_eq!(events(&sandbox), ["begun", "deployed"]);
}
