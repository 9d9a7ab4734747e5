//! `rollout abort`: never refused.

use crate::{ID, observed, rollout, shop};
use kit_contract::Reason;
use kit_testing::deployment;
use serde_json::json;

#[test]
fn any_half_done_state_is_taken_to_zero() {
    for (api, web) in [(5.0, 0.0), (100.0, 100.0), (0.0, 0.0), (0.4, 33.0)] {
        let (sandbox, router) = shop("20s");
        router.set("api", "percent", json!(api));
        router.set("web", "percent", json!(web));
        // A stable version that is down does not keep a canary in traffic.
        router.set("web", "stable_healthy", json!(false));
        let (_, artifact) = rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
        assert_eq!(observed(&artifact), [Some(0.0), Some(0.0)]);
        let body = artifact.body.unwrap();
        assert!(body.withdrawn);
        assert_eq!(body.services[0].before_percent, Some(api));
        assert_eq!(router.shares(), [0.0, 0.0]);
        rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
    }
}

/// Neither a lock of somebody else, nor a store that is away, nor artifacts that say no or nothing.
#[test]
fn nothing_can_refuse_it() {
    let (sandbox, router) = shop("20s");
    router.set("api", "percent", json!(50.0));
    crate::hold::take_lock(&sandbox, "deploy-0009");
    sandbox.put_artifact("deployment", &deployment(ID, "2.0.0", &["api", "web"]));
    sandbox.write(".deploy-kit/artifacts/gate-canary.json", "{ truncated");
    let (_, artifact) = rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
    assert_eq!(artifact.deployment_id.as_str(), ID);

    let (sandbox, router) = shop("20s");
    router.set("api", "percent", json!(50.0));
    std::os::unix::fs::symlink("store", sandbox.path().join("store")).unwrap();
    rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
    assert_eq!(router.shares(), [0.0, 0.0]);
}

#[test]
fn a_router_that_cannot_be_asked_is_told_all_the_same() {
    for first_look in ["refuse", "hang", "garbage"] {
        let (sandbox, router) = shop("20s");
        router.set("api", "percent", json!(50.0));
        router.faults(&json!({ "observe": [first_look, null] }));
        let (_, artifact) = rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
        assert_eq!(artifact.body.unwrap().services[0].before_percent, None);
        assert_eq!(router.shares(), [0.0, 0.0], "{first_look}");
    }
}

#[test]
fn zero_that_is_not_observed_is_not_claimed() {
    for faults in [
        json!({ "abort": "claim" }),
        json!({ "abort": "first" }),
        json!({ "abort": "refuse" }),
        json!({ "observe": "refuse" }),
        json!({ "observe": "off" }),
    ] {
        let (sandbox, router) = shop("1s");
        router.set("api", "percent", json!(50.0));
        router.set("web", "percent", json!(50.0));
        router.faults(&faults);
        let (_, artifact) = rollout(&sandbox, &["abort"], "rollout-abort", Reason::WithdrawFailed);
        assert!(artifact.hints[0].contains("by hand"), "{faults}");
        let body = artifact.body.unwrap();
        assert!(!body.withdrawn && body.services[0].observed_percent.is_none(), "{faults}");
    }
}

#[test]
fn what_is_observed_counts_also_if_the_driver_says_no() {
    let (sandbox, router) = shop("20s");
    router.set("api", "percent", json!(50.0));
    router.faults(&json!({ "abort": "change_then_refuse" }));
    rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
}
