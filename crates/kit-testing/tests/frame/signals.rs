//! Signals, as a runner sends them.

use crate::{ARTIFACT, REHEARSE, check, released, step};
use kit_contract::{ArtifactKind, Reason, body::Smoke};
use kit_testing::{Sandbox, Signal};
use std::time::{Duration, Instant};

#[test]
fn interrupt_and_terminate_leave_what_was_known() {
    for (signal, reason) in [(Signal::INT, Reason::Interrupted), (Signal::TERM, Reason::Terminated)] {
        let sandbox = Sandbox::new();
        let running = sandbox.start(REHEARSE, &["--do", "save-then-hang"]);
        running.wait_for_line("rehearse: waiting");
        let unfinished = sandbox.artifact::<Smoke>("smoke-one");
        assert_eq!(unfinished.reason, Reason::Unfinished, "while it runs, the artifact says so");
        running.signal(signal);
        let artifact = check(&sandbox, &running.wait(), reason);
        assert_eq!(artifact.body.unwrap().checks[0].name, "what was known");
        assert!(artifact.message.contains("it was stopped in the middle"), "{}", artifact.message);
    }
}

#[test]
fn a_signal_in_the_middle_of_a_change_ends_stuck() {
    let sandbox = Sandbox::new();
    let running = sandbox.start(REHEARSE, &["--do", "danger-hang"]);
    running.wait_for_line("rehearse: waiting");
    running.signal(Signal::INT);
    let artifact = check(&sandbox, &running.wait(), Reason::LeftChanged);
    assert_eq!(artifact.hints[0], "rename it back by hand");
}

/// Work that keeps every worker thread busy must not keep the frame from hearing.
#[test]
fn a_busy_step_is_told_to_stop() {
    let sandbox = Sandbox::new();
    let running = sandbox.start(REHEARSE, &["--do", "spin"]);
    running.wait_for_line("rehearse: waiting");
    running.signal(Signal::TERM);
    let ran = running.wait();
    assert!(ran.stderr.contains("cancelled: stopping"), "{}", ran.stderr);
    check(&sandbox, &ran, Reason::InternalError);
}

/// The one test that takes real time: a step that never listens is gone before the runner kills it.
#[test]
fn a_deaf_step_is_left_behind_within_seven_seconds() {
    let sandbox = Sandbox::new();
    let running = sandbox.start(REHEARSE, &["--do", "hang-deaf"]);
    running.wait_for_line("rehearse: waiting");
    let signalled = Instant::now();
    running.signal(Signal::INT);
    let ran = running.wait();
    assert!(signalled.elapsed() < Duration::from_secs(7), "{:?}", signalled.elapsed());
    let artifact = check(&sandbox, &ran, Reason::Interrupted);
    assert!(artifact.message.contains("did not end by itself"), "{}", artifact.message);
}

#[test]
fn a_killed_step_leaves_unfinished_and_a_second_run_keeps_it() {
    let (sandbox, id) = released(Sandbox::new());
    let running = sandbox.start(REHEARSE, &["--do", "hang"]);
    running.wait_for_line("rehearse: waiting");
    running.signal(Signal::KILL);
    let ran = running.wait();
    assert_eq!((ran.code, ran.signal), (None, Some(9)));
    crate::valid::<Smoke>(&sandbox, "smoke-one");
    let killed = sandbox.read(ARTIFACT);
    let unfinished = sandbox.artifact::<Smoke>("smoke-one");
    assert_eq!((unfinished.reason, unfinished.attempt), (Reason::Unfinished, 1));
    assert!(!unfinished.is_go());

    let (_, second) = step(&sandbox, &["--do", "ok"], Reason::SmokePassed);
    assert_eq!((second.attempt, second.deployment_id.as_str()), (2, id.as_str()));
    assert_eq!(sandbox.read(".deploy-kit/artifacts/history/smoke-one.1.json"), killed);

    let (_, third) = step(&sandbox, &["--do", "verdict"], Reason::SmokeFailed);
    assert_eq!(third.attempt, 3);
    let history = sandbox.files().into_iter().filter(|file| file.contains("history")).count();
    assert_eq!(history, 2);
    assert_eq!(ArtifactKind::Smoke.schema(), third.schema);
}

#[test]
fn a_re_run_of_the_ci_run_counts_as_an_attempt() {
    let sandbox = Sandbox::new().github_actions().env("GITHUB_RUN_ATTEMPT", "3");
    let (_, artifact) = step(&sandbox, &["--do", "ok"], Reason::SmokePassed);
    assert_eq!((artifact.attempt, artifact.run.run_attempt), (3, Some(3)));
}
