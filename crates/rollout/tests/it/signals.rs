//! Signals in the middle of a change.

use crate::{ROLLOUT, canary, check, observed, shop};
use kit_contract::Reason;
use kit_contract::body::Rollout;
use kit_testing::Signal;
use serde_json::json;

#[test]
fn a_signal_while_it_settles_withdraws_and_observes() {
    for (signal, reason) in [(Signal::INT, Reason::Interrupted), (Signal::TERM, Reason::Terminated)] {
        let (sandbox, router) = shop("30s");
        router.faults(&json!({ "shift": "first" }));
        let running = sandbox.start(ROLLOUT, &["--stage", "canary"]);
        running.wait_for_line("observe 3");
        assert_eq!(router.shares(), [5.0, 0.0]);
        running.signal(signal);
        let artifact = check(&sandbox, &running.wait(), "rollout-canary", reason);
        assert_eq!(artifact.message, "cancelled; the canary was withdrawn");
        assert_eq!(observed(&artifact), [Some(0.0), Some(0.0)]);
        assert!(artifact.body.unwrap().withdrawn);
        assert_eq!(router.shares(), [0.0, 0.0]);
    }
}

#[test]
fn a_signal_while_the_driver_hangs_withdraws_too() {
    let (sandbox, router) = shop("30s");
    router.faults(&json!({ "shift": "hang" }));
    let running = sandbox.start(ROLLOUT, &["--stage", "canary"]);
    running.wait_for_line("hanging");
    running.signal(Signal::INT);
    let artifact = check(&sandbox, &running.wait(), "rollout-canary", Reason::Interrupted);
    assert!(artifact.body.unwrap().withdrawn);
    assert_eq!(router.changes(), ["shift", "abort"]);
}

#[test]
fn a_signal_and_a_router_that_refuses_end_stuck() {
    let (sandbox, router) = shop("30s");
    router.faults(&json!({ "shift": "first", "abort": "refuse" }));
    let running = sandbox.start(ROLLOUT, &["--stage", "canary"]);
    running.wait_for_line("observe 3");
    running.signal(Signal::TERM);
    let artifact = check(&sandbox, &running.wait(), "rollout-canary", Reason::WithdrawFailed);
    assert!(artifact.hints[0].contains("by hand"), "{:?}", artifact.hints);
    assert!(!artifact.body.unwrap().withdrawn);
}

#[test]
fn a_killed_shift_leaves_unfinished_and_abort_puts_it_right() {
    let (sandbox, router) = shop("30s");
    router.faults(&json!({ "shift": "first" }));
    let running = sandbox.start(ROLLOUT, &["--stage", "canary"]);
    running.wait_for_line("observe 2");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    let unfinished = sandbox.artifact::<Rollout>("rollout-canary");
    assert_eq!(unfinished.reason, Reason::Unfinished);
    assert!(!unfinished.is_go());
    assert_eq!(router.shares(), [5.0, 0.0]);
    crate::rollout(&sandbox, &["abort"], "rollout-abort", Reason::Withdrawn);
    assert_eq!(router.shares(), [0.0, 0.0]);
    router.faults(&json!({}));
    canary(&sandbox, Reason::Shifted);
}

/// The frame leaves a withdrawal behind that does not end; the artifact must not call that a mere
/// cancellation.
#[test]
fn an_abort_that_is_interrupted_ends_stuck() {
    let (sandbox, router) = shop("30s");
    router.set("api", "percent", json!(50.0));
    router.faults(&json!({ "abort": "hang" }));
    let running = sandbox.start(ROLLOUT, &["abort"]);
    running.wait_for_line("hanging");
    running.signal(Signal::INT);
    let artifact = check(&sandbox, &running.wait(), "rollout-abort", Reason::LeftChanged);
    assert!(artifact.message.starts_with("the canary may still have a share"), "{}", artifact.message);
    assert!(artifact.hints[0].starts_with("run `rollout abort` until it succeeds"));
}
