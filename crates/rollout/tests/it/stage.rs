//! `rollout --stage`: observed for all services, or withdrawn.

use crate::{ID, ROLLOUT, canary, observed, rollout, shop, shop_in};
use kit_contract::Reason;
use kit_testing::{Sandbox, deployment};
use serde_json::json;

#[test]
fn a_share_counts_once_it_is_observed_for_every_service() {
    let (sandbox, router) = shop_in(Sandbox::new().github_actions(), "20s");
    let artifact = canary(&sandbox, Reason::Shifted);
    assert_eq!(observed(&artifact), [Some(5.0), Some(5.0)]);
    let body = artifact.body.unwrap();
    assert!(!body.withdrawn && !body.dry_run);
    assert_eq!(body.services[0].before_percent, Some(0.0));
    assert_eq!(body.services[0].canary_version.as_deref(), Some("2.0.0"));
    assert_eq!(sandbox.outputs()["observed-percent"], "5");
    assert!(sandbox.summary().contains("| api | 5 % | 5 % | 0 % | 1.0.0 | 2.0.0 |"));
    assert_eq!(router.actions(), ["observe", "shift", "observe"], "looked at before and after");

    let again = canary(&sandbox, Reason::Shifted);
    assert_eq!(again.body.unwrap().services[0].before_percent, Some(5.0));
    rollout(&sandbox, &["--stage", "full"], "rollout-full", Reason::Shifted);
    assert_eq!(router.shares(), [100.0, 100.0]);
}

#[test]
fn a_share_that_comes_late_is_waited_for() {
    let (sandbox, router) = shop("20s");
    router.faults(&json!({ "observe": [null, "off", "garbage", null] }));
    canary(&sandbox, Reason::Shifted);
    assert_eq!(router.changes(), ["shift"]);
}

/// Whatever the driver does to the shift, nothing is claimed and nothing is left.
#[test]
fn what_is_not_reached_is_withdrawn() {
    for fault in [
        "first",
        "claim",
        "refuse",
        "silent",
        "crash",
        "garbage",
        "wrong_schema",
        "missing",
        "twice",
        "first_then_refuse",
        "change_then_refuse",
    ] {
        let (sandbox, router) = shop("1s");
        router.faults(&json!({ "shift": fault }));
        let artifact = canary(&sandbox, Reason::ShareNotReached);
        assert_eq!(router.shares(), [0.0, 0.0], "{fault}");
        assert_eq!(observed(&artifact), [Some(0.0), Some(0.0)], "{fault}");
        assert!(artifact.message.ends_with("; the canary was withdrawn"), "{}", artifact.message);
        assert!(artifact.body.unwrap().withdrawn, "{fault}");
    }
}

#[test]
fn the_service_that_lags_is_named() {
    let (sandbox, router) = shop("1s");
    router.faults(&json!({ "shift": "first" }));
    let artifact = canary(&sandbox, Reason::ShareNotReached);
    assert!(artifact.message.starts_with("web: 5 % asked for, 0 % observed;"), "{}", artifact.message);
}

#[test]
fn a_driver_that_hangs_is_ended_and_the_canary_withdrawn() {
    let (sandbox, router) = shop("1s");
    router.faults(&json!({ "shift": "hang" }));
    let artifact = canary(&sandbox, Reason::ShareNotReached);
    assert!(artifact.message.contains("did not finish within 1000 ms"), "{}", artifact.message);
    assert_eq!(router.changes(), ["shift", "abort"]);
}

#[test]
fn an_unhealthy_stable_version_makes_shares_meaningless() {
    let (sandbox, router) = shop("1s");
    router.set("web", "stable_healthy", json!(false));
    let artifact = canary(&sandbox, Reason::StableUnhealthy);
    assert!(artifact.message.starts_with("web: the stable version is unhealthy"), "{}", artifact.message);
    assert_eq!(router.shares(), [0.0, 0.0]);

    let (sandbox, router) = shop("1s");
    router.set("web", "stable_healthy", json!(null));
    canary(&sandbox, Reason::Shifted);
    drop(router);
}

#[test]
fn a_canary_of_another_version_gets_nothing() {
    let (sandbox, router) = shop("1s");
    sandbox.put_artifact("deployment", &deployment(ID, "2.0.0", &["api", "web"]));
    crate::hold::take_lock(&sandbox, ID);
    router.set("web", "canary", json!("1.9.0"));
    let artifact = canary(&sandbox, Reason::ShareNotReached);
    assert!(
        artifact.message.starts_with("web: the canary is version 1.9.0, not 2.0.0"),
        "{}",
        artifact.message
    );
    assert_eq!(router.shares(), [0.0, 0.0]);
}

#[test]
fn before_the_shift_a_router_that_cannot_be_asked_is_left_alone() {
    for fault in ["refuse", "garbage", "missing", "hang"] {
        let (sandbox, router) = shop("1s");
        router.faults(&json!({ "observe": fault }));
        let artifact = canary(&sandbox, Reason::DriverFailed);
        assert_eq!(artifact.body, None, "{fault}");
        assert_eq!(router.changes(), Vec::<String>::new(), "{fault}");
    }
}

#[test]
fn a_withdrawal_that_fails_needs_a_human() {
    for faults in [
        json!({ "shift": "first", "abort": "refuse" }),
        json!({ "shift": "first", "abort": "claim" }),
        json!({ "shift": "first", "abort": "hang" }),
        json!({ "shift": "first", "observe": [null, "hang"] }),
    ] {
        let (sandbox, router) = shop("1s");
        router.faults(&faults);
        let artifact = canary(&sandbox, Reason::WithdrawFailed);
        assert_eq!(artifact.reason.exit_code(), 30);
        assert!(artifact.hints[0].contains("by hand now"), "{faults}: {:?}", artifact.hints);
        assert!(artifact.hints[1].starts_with("withdrawn because: "), "{faults}: {:?}", artifact.hints);
        let body = artifact.body.unwrap();
        assert!(!body.withdrawn, "{faults}");
        assert_eq!(body.services[0].observed_percent, None, "nothing is claimed");
    }
}

#[test]
fn a_withdrawal_is_tried_again() {
    let (sandbox, router) = shop("2s");
    router.faults(&json!({ "shift": "first", "abort": ["refuse", null] }));
    canary(&sandbox, Reason::ShareNotReached);
    assert_eq!(router.changes(), ["shift", "abort", "abort"]);
    assert_eq!(router.shares(), [0.0, 0.0]);
}

#[test]
fn a_dry_run_only_says() {
    let (sandbox, router) = shop("20s");
    let (_, artifact) =
        rollout(&sandbox, &["--stage", "canary", "--dry-run"], "rollout-canary", Reason::Planned);
    assert_eq!(artifact.message, "would ask the router for 5 %; nothing was changed");
    let body = artifact.body.as_ref().unwrap();
    assert!(body.dry_run && !body.withdrawn);
    assert_eq!(observed(&artifact), [Some(0.0), Some(0.0)]);
    assert_eq!(router.changes(), Vec::<String>::new());
}

#[test]
fn an_unknown_stage_names_the_nearest() {
    let (sandbox, router) = shop("20s");
    let (_, artifact) = rollout(&sandbox, &["--stage", "canray"], "rollout-canray", Reason::UsageError);
    assert!(artifact.message.contains("canary, progressive, full"), "{}", artifact.message);
    assert_eq!(artifact.hints[0], "did you mean \"canary\"?");
    assert_eq!(router.actions(), Vec::<String>::new());
}

#[test]
fn without_a_driver_there_is_nothing_to_do() {
    let sandbox = Sandbox::new().file("deploy.toml", "app = \"shop\"\n[[services]]\nname = \"api\"\n");
    for (args, name) in [
        (["--stage", "canary"].as_slice(), "rollout-canary"),
        (&["abort"], "rollout-abort"),
        (&["promote"], "rollout-promote"),
    ] {
        let (_, artifact) = rollout(&sandbox, args, name, Reason::NotConfigured);
        assert_eq!(artifact.body.unwrap().driver, "none");
    }
}

#[test]
fn a_driver_is_found_relative_to_its_configuration() {
    let (sandbox, router) = shop("20s");
    let config = sandbox.read("deploy.toml");
    let program = config.split('"').find(|part| part.ends_with("fake-router")).unwrap().to_owned();
    std::fs::create_dir(sandbox.path().join("ops")).unwrap();
    std::os::unix::fs::symlink(&program, sandbox.path().join("ops/driver")).unwrap();
    sandbox.write("ops/deploy.toml", config.replace(&program, "./driver"));
    let args = ["--config", "ops/deploy.toml", "--stage", "canary"];
    rollout(&sandbox, &args, "rollout-canary", Reason::Shifted);
    assert_eq!(router.shares(), [5.0, 5.0]);
}

#[test]
fn status_says_what_is_so_and_changes_nothing() {
    let (sandbox, router) = shop("20s");
    router.set("web", "stable_healthy", json!(null));
    let ran = sandbox.run(ROLLOUT, &["status"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "api: canary 0 % (2.0.0, health unknown), stable 1.0.0 (healthy)\n\
         web: canary 0 % (2.0.0, health unknown), stable 1.0.0 (health unknown)\n"
    );
    router.faults(&json!({ "observe": "refuse" }));
    let ran = sandbox.run(ROLLOUT, &["status"]);
    assert_eq!(ran.code, Some(20));
    assert!(ran.stderr.contains("the router is on strike"), "{}", ran.stderr);
}

#[test]
fn a_withdrawal_is_not_refused_by_a_broken_or_foreign_deployment() {
    let (sandbox, _router) = shop("20s");
    for broken in ["{\"schema\": \"deploy-kit/depl", "not json at all"] {
        sandbox.write(".deploy-kit/artifacts/deployment.json", broken);
        rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
    }
}
