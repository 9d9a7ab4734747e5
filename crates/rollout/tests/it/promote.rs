//! `rollout promote`: only at 100 %, verified by observation.

use crate::{ID, rollout, shop};
use kit_contract::{Artifact, Reason, body::Rollout};
use kit_testing::{FakeRouter, Sandbox, artifact, deployment};
use serde_json::json;

fn ready(settle: &str) -> (Sandbox, FakeRouter) {
    let (sandbox, router) = shop(settle);
    for service in ["api", "web"] {
        router.set(service, "percent", json!(100.0));
    }
    (sandbox, router)
}

fn promote(sandbox: &Sandbox, reason: Reason) -> Artifact<Rollout> {
    rollout(sandbox, &["promote", "--to-version", "2.0.0"], "rollout-promote", reason).1
}

#[test]
fn a_version_with_everything_becomes_the_stable_one() {
    let (sandbox, router) = ready("20s");
    let artifact = promote(&sandbox, Reason::PromotedStable);
    let versions: Vec<_> = artifact.body.unwrap().services.into_iter().map(|s| s.stable_version).collect();
    assert_eq!(versions, [Some("2.0.0".to_owned()), Some("2.0.0".to_owned())]);
    assert_eq!(router.stable(), ["2.0.0", "2.0.0"]);
    let again = promote(&sandbox, Reason::PromotedStable);
    assert_eq!(again.message, "2.0.0 is the stable version already");
    assert_eq!(router.changes(), ["switch"]);
}

#[test]
fn the_version_is_that_of_the_deployment_and_the_smoke_test_must_say_go() {
    let (sandbox, router) = ready("20s");
    sandbox.put_artifact("deployment", &deployment(ID, "2.0.0", &["api", "web"]));
    crate::hold::take_lock(&sandbox, ID);
    let smoke = |reason| artifact("smoke", ID, reason, 1, json!({ "checks": [], "deadline_ms": 1 }));
    sandbox.put_artifact("smoke", &smoke(Reason::SmokeFailed));
    rollout(&sandbox, &["promote"], "rollout-promote", Reason::ArtifactNotGo);
    sandbox.put_artifact("smoke", &smoke(Reason::SmokePassed));
    rollout(&sandbox, &["promote"], "rollout-promote", Reason::PromotedStable);
    assert_eq!(router.changes(), ["switch"]);

    let (sandbox, router) = ready("20s");
    rollout(&sandbox, &["promote"], "rollout-promote", Reason::UsageError);
    assert_eq!(router.actions(), Vec::<String>::new());
}

#[test]
fn only_everything_of_that_version_can_be_promoted() {
    for (key, value, expected) in [
        ("percent", json!(99.9), "web has 99.9 % on the canary: only 100 % can be promoted"),
        ("canary", json!("1.9.0"), "web: the canary is version 1.9.0, not 2.0.0"),
    ] {
        let (sandbox, router) = ready("20s");
        router.set("web", key, value);
        let artifact = promote(&sandbox, Reason::PromotionFailed);
        assert_eq!(artifact.message, expected);
        assert_eq!(router.changes(), Vec::<String>::new());
    }
}

#[test]
fn a_promotion_that_is_not_observed_is_not_claimed() {
    for (fault, expected) in [
        ("claim", "api: the stable version is 1.0.0, not 2.0.0; web: the stable version is 1.0.0, not 2.0.0"),
        ("first", "web: the stable version is 1.0.0, not 2.0.0"),
        ("refuse", "on strike"),
        ("crash", "exited with code 7"),
        ("hang", "did not finish within 1000 ms"),
    ] {
        let (sandbox, router) = ready("1s");
        router.faults(&json!({ "switch": fault }));
        let artifact = promote(&sandbox, Reason::PromotionFailed);
        assert!(artifact.message.contains(expected), "{fault}: {}", artifact.message);
        let body = artifact.body.unwrap();
        assert_eq!(body.services[1].stable_version.as_deref(), Some("1.0.0"), "{fault}");
        assert_eq!(router.stable()[1], "1.0.0");
    }
    let (sandbox, router) = ready("20s");
    router.faults(&json!({ "switch": "change_then_refuse" }));
    promote(&sandbox, Reason::PromotedStable);
}

#[test]
fn a_second_run_promotes_what_the_first_left() {
    let (sandbox, router) = ready("1s");
    router.faults(&json!({ "switch": ["first", null] }));
    promote(&sandbox, Reason::PromotionFailed);
    assert_eq!(router.stable(), ["2.0.0", "1.0.0"]);
    promote(&sandbox, Reason::PromotedStable);
    assert_eq!(router.stable(), ["2.0.0", "2.0.0"]);
}

#[test]
fn a_router_that_falls_silent_leaves_nobody_knowing() {
    let (sandbox, router) = ready("1s");
    router.faults(&json!({ "observe": [null, "refuse"] }));
    let artifact = promote(&sandbox, Reason::PromotionFailed);
    assert!(artifact.message.starts_with("nobody knows whether 2.0.0"), "{}", artifact.message);
    assert_eq!(artifact.body.unwrap().services[0].stable_version, None);

    let (sandbox, router) = ready("1s");
    router.faults(&json!({ "observe": "refuse" }));
    promote(&sandbox, Reason::DriverFailed);
    assert_eq!(router.changes(), Vec::<String>::new());
}
