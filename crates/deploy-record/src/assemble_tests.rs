//! Status and record, by tables.

use super::*;
use kit_contract::{ArtifactName, Reason};
use serde_json::{Value, json};

fn config() -> Config {
    Config::parse("app = \"shop\"", &"production".parse().unwrap()).unwrap()
}

fn artifact(name: &str, reason: Reason, second: u32, body: Value) -> (AnyArtifact, Sha256) {
    let kind = name.parse::<ArtifactName>().unwrap().kind;
    let at = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let artifact = serde_json::from_value(json!({
        "schema": kind.schema(), "app": "shop", "environment": "production",
        "deployment_id": "deploy-01", "attempt": 1, "standalone": false, "step": name,
        "result": reason.result(), "reason": reason, "message": "m",
        "started_at": at, "finished_at": at, "tool": {"version": "0"}, "run": {}, "body": body
    }));
    (artifact.unwrap(), Sha256::of(reason.code().as_bytes()))
}

fn go(name: &str) -> Reason {
    match name.split('-').next() {
        Some("gate") => Reason::Promoted,
        Some("rollout") if name == "rollout-promote" => Reason::PromotedStable,
        Some("rollout") => Reason::Shifted,
        _ => Reason::ChecksPassed,
    }
}

/// Every line before `end` says go, one per second.
fn good_until(end: &str) -> Found {
    let names = lines(&config().stages).into_iter().map(|line| line.artifact.to_string());
    let before = names.take_while(|name| name != end).zip(1..);
    before.map(|(name, second)| (name.clone(), artifact(&name, go(&name), second, Value::Null))).collect()
}

fn all_good() -> Found {
    good_until("")
}

/// `name` ended like this, and then came what `later` says, second by second.
fn ended(name: &str, reason: Reason, later: &[(&str, Reason, Value)]) -> Found {
    let mut found = good_until(name);
    found.insert(name.to_owned(), artifact(name, reason, 60, Value::Null));
    for ((name, reason, body), second) in later.iter().zip(61..) {
        found.insert((*name).to_owned(), artifact(name, *reason, second, body.clone()));
    }
    found
}

fn rollout(withdrawn: bool, stable: Option<&str>) -> Value {
    json!({
        "stage": null, "action": "abort", "driver": "command", "withdrawn": withdrawn, "dry_run": false,
        "services": [{ "service": "api", "asked_percent": 0.0, "observed_percent": 0.0,
                       "before_percent": 5.0, "stable_version": stable }]
    })
}

fn status(found: &Found) -> (RecordStatus, Option<Cause>) {
    judge(&lines(&config().stages), found, &Refused::new(), false)
}

#[test]
fn success_needs_every_single_line() {
    assert_eq!(status(&all_good()), (RecordStatus::Success, None));
    for line in lines(&config().stages) {
        let mut found = all_good();
        found.remove(&line.artifact.to_string());
        let (seen, because) = status(&found);
        assert_ne!(seen, RecordStatus::Success, "{}", line.artifact);
        assert_eq!(because.unwrap().because, format!("{}: missing", line.artifact));
        found.insert(line.artifact.to_string(), all_good()["smoke"].clone());
        let name = line.artifact.to_string();
        let dry = artifact(&name, go(&name), 1, json!({ "dry_run": true }));
        found.insert(name.clone(), dry);
        assert_eq!(status(&found).1.unwrap().because, format!("{name}: dry_run"));
    }
}

#[test]
fn what_ended_it_is_named() {
    use RecordStatus::{Failed, Inconclusive, RolledBack, Stuck, Success};
    let abort = ("rollout-abort", Reason::Withdrawn, rollout(true, Some("1.0.0")));
    let no_abort = ("rollout-abort", Reason::WithdrawFailed, rollout(false, None));
    let rollback = ("rollback", Reason::RolledBack, Value::Null);
    let dead_rollback = ("rollback", Reason::Unfinished, Value::Null);
    let refused_rollback = ("rollback", Reason::WindowExpired, Value::Null);
    let dry_rollback = ("rollback", Reason::NothingToUndo, Value::Null);
    let a = std::slice::from_ref;
    type Later<'a> = &'a [(&'static str, Reason, Value)];
    let cases: [(&str, Reason, Later<'_>, RecordStatus, bool); 21] = [
        ("begin", Reason::LockHeld, &[], Failed, false),
        ("preflight", Reason::ChecksUnavailable, &[], Inconclusive, false),
        ("migration", Reason::MigrationFailed, &[], Failed, false),
        ("migration", Reason::LeftChanged, &[], Stuck, false),
        ("rollout-canary", Reason::StopRequested, &[], Failed, false),
        ("rollout-canary", Reason::WithdrawFailed, &[], Stuck, false),
        ("rollout-canary", Reason::Unfinished, &[], Stuck, false),
        ("gate-canary", Reason::ErrorRateExceeded, a(&abort), RolledBack, true),
        ("gate-canary", Reason::ErrorRateExceeded, &[], Stuck, true),
        ("gate-canary", Reason::ErrorRateExceeded, a(&no_abort), Stuck, true),
        ("gate-canary", Reason::StopRequested, a(&abort), RolledBack, false),
        ("gate-canary", Reason::NoData, a(&abort), Inconclusive, false),
        ("gate-canary", Reason::Unfinished, a(&abort), RolledBack, false),
        ("smoke", Reason::SmokeFailed, a(&abort), RolledBack, true),
        ("smoke", Reason::NothingReachable, &[], Stuck, false),
        ("smoke", Reason::SmokeFailed, a(&rollback), RolledBack, true),
        ("smoke", Reason::SmokeFailed, a(&dead_rollback), Stuck, true),
        ("smoke", Reason::SmokeFailed, &[no_abort.clone(), rollback.clone()], RolledBack, true),
        ("rollout-promote", Reason::PromotedStable, a(&rollback), RolledBack, false),
        ("rollout-promote", Reason::PromotedStable, a(&refused_rollback), Success, false),
        ("rollout-promote", Reason::PromotedStable, a(&dry_rollback), Success, false),
    ];
    for (name, reason, later, expected, bad) in cases {
        let case = format!("{name} {reason} {:?}", later.iter().map(|(name, ..)| name).collect::<Vec<_>>());
        let (seen, because) = status(&ended(name, reason, later));
        assert_eq!(seen, expected, "{case}");
        assert_eq!(because.is_some_and(|because| because.bad_version), bad, "{case}");
    }
}

#[test]
fn only_the_last_thing_that_happened_to_the_traffic_counts() {
    let abort = artifact("rollout-abort", Reason::Withdrawn, 2, rollout(true, Some("1.0.0")));
    let mut found = all_good();
    found.insert("rollout-abort".into(), abort);
    assert_eq!(status(&found).0, RecordStatus::Success, "an earlier attempt was withdrawn, this one was not");
    found.insert(
        "rollout-abort".into(),
        artifact("rollout-abort", Reason::Withdrawn, 99, rollout(true, Some("2.0.0"))),
    );
    assert_eq!(status(&found).0, RecordStatus::Success, "a withdrawal does not undo a promotion");
}

#[test]
fn a_promotion_that_was_half_done_is_undone_only_by_a_rollback() {
    let deployment = json!({
        "version": "2.0.0", "tag": "v2.0.0", "git_ref": "", "annotated": true, "kind": "release",
        "commit": { "sha": "a", "committed_at": "2026-01-01T00:00:00Z" }, "services": [],
        "config_sha256": "0".repeat(64)
    });
    let abort = ("rollout-abort", Reason::Withdrawn, rollout(true, Some("2.0.0")));
    for (stable, expected) in [
        (Some("2.0.0"), RecordStatus::Stuck),
        (None, RecordStatus::Stuck),
        (Some("1.0.0"), RecordStatus::RolledBack),
    ] {
        let mut found = ended("rollout-promote", Reason::PromotionFailed, std::slice::from_ref(&abort));
        found.insert(
            "deployment".into(),
            artifact("deployment", Reason::ReleaseAccepted, 0, deployment.clone()),
        );
        let promote = artifact("rollout-promote", Reason::PromotionFailed, 60, rollout(false, stable));
        found.insert("rollout-promote".into(), promote);
        assert_eq!(status(&found).0, expected, "{stable:?}");
    }
}

#[test]
fn whoever_rolled_it_back_elsewhere_is_believed() {
    let lines = lines(&config().stages);
    let (seen, because) = judge(&lines, &all_good(), &Refused::new(), true);
    assert_eq!((seen, because.unwrap().because.as_str()), (RecordStatus::RolledBack, "rollback"));
    let dead = ended("gate-canary", Reason::Unfinished, &[]);
    assert_eq!(judge(&lines, &dead, &Refused::new(), true).0, RecordStatus::RolledBack);
}

#[test]
fn rollback_is_available_only_after_success_with_somewhere_to_go() {
    let config = config();
    let refused = Refused::new();
    let facts = Facts {
        refused: &refused,
        config: &config,
        config_toml: String::new(),
        sequence: Some(7),
        rolled_back: false,
        now: Timestamp::UNIX_EPOCH,
    };
    let mut found = all_good();
    let (first, _) = record(&found, &facts);
    assert!(!first.rollback_available, "the first deployment has nothing to return to");
    let begin = json!({
        "sequence": 1, "entry_sha256": "0".repeat(64), "lock_expires_at": "2026-01-01T00:00:00Z",
        "rollback_target": "deploy-00", "first_deployment": false
    });
    found.insert("begin".into(), artifact("begin", Reason::Begun, 3, begin));
    let (second, _) = record(&found, &facts);
    assert!(second.rollback_available);
    assert_eq!(second.rollback_deadline.unwrap().to_string(), "1970-01-01T01:00:00Z");
    found.insert("smoke".into(), artifact("smoke", Reason::SmokeFailed, 14, Value::Null));
    let (failed, _) = record(&found, &facts);
    assert!(!failed.rollback_available && failed.rollback_deadline.is_none());
}

/// What was tampered with proves nothing, least of all that nothing has traffic.
#[test]
fn what_is_not_believed_is_named_and_never_counts_for_good() {
    let lines = lines(&config().stages);
    let judged = |mut found: Found, name: &str| {
        found.remove(name);
        let refused = Refused::from([(name.to_owned(), (Reason::ArtifactTampered, "m".to_owned()))]);
        let (status, because) = judge(&lines, &found, &refused, false);
        (status, because.unwrap().because)
    };
    let because = |name: &str| format!("{name}: artifact_tampered");
    // Everything else says success, and the version was promoted.
    assert_eq!(judged(all_good(), "backup"), (RecordStatus::Stuck, because("backup")));
    // Before any traffic.
    assert_eq!(judged(good_until("rollout-canary"), "backup"), (RecordStatus::Failed, because("backup")));
    // The only thing that says whether traffic was moved.
    assert_eq!(
        judged(good_until("rollout-canary"), "rollout-canary"),
        (RecordStatus::Stuck, because("rollout-canary"))
    );
    // Whatever it was, it was taken back.
    let abort = [("rollout-abort", Reason::Withdrawn, rollout(true, Some("1.0.0")))];
    let found = ended("gate-canary", Reason::NoData, &abort);
    assert_eq!(judged(found, "rollout-canary"), (RecordStatus::RolledBack, because("rollout-canary")));
    // A withdrawal that is not believed took nothing back.
    let found = ended("gate-canary", Reason::NoData, &abort);
    assert_eq!(judged(found, "rollout-abort"), (RecordStatus::Stuck, because("rollout-abort")));
}
