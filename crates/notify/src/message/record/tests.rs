use super::*;
use kit_contract::AnyArtifact;
use serde_json::{Value, json};

fn step(name: &str, reason: Option<Reason>) -> Value {
    json!({
        "artifact": name, "sha256": reason.map(|_| "a".repeat(64)),
        "result": reason.map(Reason::result), "reason": reason,
        "message": reason.map(|reason| format!("{name} says {reason}")),
        "started_at": null, "finished_at": null, "attempt": 1
    })
}

fn record(reason: Reason, status: &str, steps: &[Value]) -> Artifact<Record> {
    let success = status == "success";
    let artifact: AnyArtifact = serde_json::from_value(json!({
        "schema": "deploy-kit/record/v1", "app": "shop", "environment": "production",
        "deployment_id": "1763712000-abc1234", "attempt": 1, "standalone": false,
        "step": "deploy-record finish", "result": reason.result(), "reason": reason,
        "message": "recorded it", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:10:00Z",
        "tool": {"version": "0"},
        "run": {"actor": "ada", "url": "https://github.example/octo/shop/actions/runs/1"},
        "body": {
            "status": status,
            "deployment": {
                "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
                "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
                "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64)
            },
            "previous": "1763000000-abc1234", "steps": steps, "stages": [], "backup": null,
            "migrations_applied": 2, "migration_phase": null, "smoke": null, "rollback": null,
            "overrides": [{"id": "version_not_bad", "reason": "r"}], "rollback_available": success,
            "rollback_window_ms": 3_600_000,
            "rollback_deadline": success.then_some("2026-01-01T01:10:00Z"), "config": "", "sequence": 3
        }
    }))
    .unwrap();
    let body = serde_json::from_value(artifact.body.clone().unwrap()).unwrap();
    artifact.with_body(Some(body))
}

#[test]
fn a_success_reads_like_the_guide() {
    let message =
        of_record(&record(Reason::Recorded, "success", &[step("gate-full", Some(Reason::Promoted))]));
    assert_eq!(message.event, Event::Deployed);
    assert_eq!(message.title, "Production deployment successful");
    assert_eq!(
        message.fields,
        [
            ("App", "shop".to_owned()),
            ("Version", "2.0.0".to_owned()),
            ("Deployment ID", "1763712000-abc1234".to_owned()),
            ("Environment", "production".to_owned()),
            ("Started by", "ada".to_owned())
        ]
    );
    assert_eq!(
        message.lines,
        [
            "2.0.0 serves everything, and every step said yes",
            "Overridden and still open: version_not_bad",
            "Rollback available until 2026-01-01 01:10 UTC"
        ]
    );
    assert_eq!(message.url.as_deref(), Some("https://github.example/octo/shop/actions/runs/1"));
}

#[test]
fn every_status_has_its_event_and_says_what_is_where() {
    let gate = |reason| step("gate-canary", Some(reason));
    let shifted = step("rollout-canary", Some(Reason::Shifted));
    let withdrawn = step("rollout-abort", Some(Reason::Withdrawn));
    let missing = step("migration", None);
    let cases = [
        (
            Reason::Recorded,
            "rolled_back",
            vec![shifted.clone(), gate(Reason::ErrorRateExceeded), withdrawn.clone()],
            Event::RolledBack,
            "Because: gate-canary: gate-canary says error_rate_exceeded (error_rate_exceeded)",
            "2.0.0 is out of traffic, and that was observed",
        ),
        (
            Reason::Recorded,
            "inconclusive",
            vec![shifted.clone(), gate(Reason::NoData), withdrawn.clone()],
            Event::Inconclusive,
            "Because: gate-canary: gate-canary says no_data (no_data)",
            "2.0.0 is out of traffic, and that was observed",
        ),
        (
            Reason::Recorded,
            "failed",
            vec![missing.clone()],
            Event::Failed,
            "Because: migration left no result",
            "No traffic was moved: what served before still serves",
        ),
        (
            Reason::Recorded,
            "failed",
            vec![shifted.clone(), step("rollout-promote", Some(Reason::PromotionFailed))],
            Event::Failed,
            "Because: rollout-promote: rollout-promote says promotion_failed (promotion_failed)",
            "2.0.0 may still have traffic: nobody observed it at zero",
        ),
        (
            Reason::Recorded,
            "stuck",
            vec![gate(Reason::NoData), step("rollout-abort", Some(Reason::WithdrawFailed))],
            Event::Stuck,
            "Because: rollout-abort: rollout-abort says withdraw_failed (withdraw_failed)",
            "What serves now is not known: 2.0.0 may still have traffic",
        ),
        // Whatever the body says: a record that could not be closed is no success.
        (
            Reason::StoreUnreachable,
            "success",
            vec![shifted.clone()],
            Event::Failed,
            "The record is not complete: recorded it (store_unreachable)",
            "2.0.0 serves everything, and every step said yes",
        ),
        (
            Reason::LeftChanged,
            "success",
            vec![],
            Event::Stuck,
            "The record is not complete: recorded it (left_changed)",
            "2.0.0 serves everything, and every step said yes",
        ),
        (
            Reason::Recorded,
            "invented_tomorrow",
            vec![missing],
            Event::Inconclusive,
            "Because: migration left no result",
            "No traffic was moved: what served before still serves",
        ),
    ];
    for (reason, status, steps, event, why, whereabouts) in cases {
        let message = of_record(&record(reason, status, &steps));
        assert_eq!(message.event, event, "{status}");
        assert_eq!(message.lines[0], why, "{status}");
        assert_eq!(message.lines[1], whereabouts, "{status}");
        assert!(message.lines.iter().any(|line| line.starts_with("What to do: ")), "{:?}", message.lines);
        assert_eq!(message.rollback_until.is_some(), status == "success");
    }
}

#[test]
fn what_to_do_comes_from_the_reason_that_ended_it() {
    let steps = [step("migration", Some(Reason::BackupTooOld))];
    let message = of_record(&record(Reason::Recorded, "failed", &steps));
    assert!(
        message.lines.contains(&"What to do: run db-backup again, or raise backup.max_age".to_owned()),
        "{:?}",
        message.lines
    );
    assert!(message.lines.contains(&"2 migrations were applied and stay applied".to_owned()));
    assert_eq!(message.reason, "backup_too_old");
}

#[test]
fn a_record_without_a_body_is_a_failure() {
    let mut artifact = record(Reason::StoreUnreachable, "success", &[]);
    artifact.body = None;
    artifact.run.url = Some("javascript:alert(1)".into());
    let message = of_record(&artifact);
    assert_eq!((message.event, message.url), (Event::Failed, None));
    assert_eq!(
        message.lines,
        [
            "The record is not complete: recorded it (store_unreachable)",
            "What to do: check the store's address and the credentials of this job"
        ]
    );
}
