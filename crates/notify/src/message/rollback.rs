//! From the result of a rollback to the message.

use super::{Message, fields, link, title};
use kit_contract::body::{Rollback, UndoOutcome};
use kit_contract::config::Event;
use kit_contract::{Artifact, Reason, StepResult};

/// The message about a rollback, whatever it says.
pub(crate) fn of_rollback(artifact: &Artifact<Rollback>) -> Message {
    let event = event_of(artifact);
    let body = artifact.body.as_ref();
    let deployment_id = body.map_or(&artifact.deployment_id, |body| &body.subject).clone();
    let rest = match (event, artifact.reason) {
        (Event::RolledBack, _) => "rolled back",
        (Event::Stuck, _) => "rollback stuck: a human is needed now",
        (_, Reason::NothingToUndo) => "rollback: nothing was undone",
        _ => "rollback failed",
    };
    let mut lines = vec![format!("{} ({})", artifact.message, artifact.reason)];
    if let Some(body) = body {
        lines.push(format!("Why: {}", body.why));
        let not_done = body
            .actions
            .iter()
            .filter(|action| !matches!(action.outcome, UndoOutcome::Done | UndoOutcome::NotNeeded));
        lines.extend(
            not_done.map(|action| {
                format!("Not done: {} of {}: {}", action.action, action.target, action.message)
            }),
        );
        lines.extend(body.observed.iter().map(|service| match &service.version {
            Some(version) => format!("{} now serves {version}", service.service),
            None => format!("What {} serves now is not known", service.service),
        }));
        lines.extend(body.target.as_ref().map(|target| format!("Returned to deployment {target}")));
        lines.extend(body.forced.then(|| "Guards were overridden".to_owned()));
    }
    lines.extend(artifact.hints.iter().map(|hint| format!("What to do: {hint}")));
    if artifact.hints.is_empty() && !artifact.is_go() {
        lines.push(format!("What to do: {}", artifact.reason.remedy()));
    }
    Message {
        event,
        title: title(&artifact.environment, rest),
        fields: fields(None, &deployment_id, &artifact.app, &artifact.environment, &artifact.run),
        app: artifact.app.clone(),
        environment: artifact.environment.clone(),
        deployment_id,
        version: None,
        reason: artifact.reason.to_string(),
        lines,
        url: link(&artifact.run),
        at: artifact.finished_at,
        attempt: artifact.attempt,
        rollback_until: None,
    }
}

/// Only a rollback that was observed is announced as one.
fn event_of(artifact: &Artifact<Rollback>) -> Event {
    match artifact.reason {
        Reason::RolledBack if artifact.is_go() => Event::RolledBack,
        _ if artifact.result == StepResult::Stuck || artifact.reason.result() == StepResult::Stuck => {
            Event::Stuck
        }
        _ => Event::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollback(reason: Reason, outcome: &str) -> Artifact<Rollback> {
        serde_json::from_value(json!({
            "schema": "deploy-kit/rollback/v1", "app": "shop", "environment": "production",
            "deployment_id": "1763799999-0000000", "attempt": 1, "standalone": false, "step": "rollback",
            "result": reason.result(), "reason": reason, "message": "it ended",
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:10:00Z",
            "tool": {"version": "0"}, "run": {},
            "body": {
                "subject": "1763712000-abc1234", "target": "1763000000-abc1234", "why": "checkout is slow",
                "forced": false,
                "actions": [
                    {"action": "withdraw_canary", "target": "api", "outcome": outcome, "message": "no answer"}
                ],
                "observed": [{"service": "api", "version": "1.0.0"}, {"service": "web", "version": null}]
            }
        }))
        .unwrap()
    }

    #[test]
    fn only_what_was_observed_is_a_rollback() {
        for (reason, event, title) in [
            (Reason::RolledBack, Event::RolledBack, "Production rolled back"),
            (Reason::NothingToUndo, Event::Failed, "Production rollback: nothing was undone"),
            (Reason::WindowExpired, Event::Failed, "Production rollback failed"),
            (Reason::RollbackStuck, Event::Stuck, "Production rollback stuck: a human is needed now"),
            (Reason::LeftChanged, Event::Stuck, "Production rollback stuck: a human is needed now"),
            (Reason::Unfinished, Event::Failed, "Production rollback failed"),
        ] {
            let message = of_rollback(&rollback(reason, "done"));
            assert_eq!((message.event, message.title.as_str()), (event, title), "{reason}");
            assert_eq!(message.deployment_id.as_str(), "1763712000-abc1234", "it is about what was undone");
        }
        // An envelope that contradicts its own reason is believed in nothing.
        let mut forged = rollback(Reason::RolledBack, "done");
        forged.result = StepResult::Failure;
        assert_eq!(of_rollback(&forged).event, Event::Failed);
    }

    #[test]
    fn what_serves_and_what_is_not_done_is_said() {
        let message = of_rollback(&rollback(Reason::RollbackStuck, "stuck"));
        assert_eq!(
            message.lines,
            [
                "it ended (rollback_stuck)",
                "Why: checkout is slow",
                "Not done: withdraw_canary of api: no answer",
                "api now serves 1.0.0",
                "What web serves now is not known",
                "Returned to deployment 1763000000-abc1234",
                "What to do: follow the message: it says what is where, and what to do now"
            ]
        );
    }
}
