//! From the record of a deploy to the message.

use super::{Message, fields, link, moment, title};
use kit_contract::body::{Proof, Record, RecordStatus, StepRecord};
use kit_contract::config::Event;
use kit_contract::{Artifact, Reason, StepResult};

/// Reasons whose steps observed the canary at zero, or the old version back in service.
const OUT_OF_TRAFFIC: &[Reason] =
    &[Reason::Withdrawn, Reason::ShareNotReached, Reason::StableUnhealthy, Reason::RolledBack];

/// The message about a record, whatever it says.
pub(crate) fn of_record(artifact: &Artifact<Record>) -> Message {
    let event = event_of(artifact);
    let body = artifact.body.as_ref();
    let version = body.and_then(|body| body.deployment.as_ref()).map(|body| body.version.to_string());
    let cause = body.and_then(cause);
    let rest = match event {
        Event::Deployed => "deployment successful",
        Event::Failed => "deployment failed",
        Event::RolledBack => "deployment rolled back",
        Event::Inconclusive => "deployment inconclusive",
        Event::Stuck => "deployment stuck: a human is needed now",
    };
    let mut lines = Vec::new();
    if !artifact.is_go() {
        lines.push(format!("The record is not complete: {} ({})", artifact.message, artifact.reason));
    }
    lines.extend(cause.map(why));
    lines.extend(body.map(|body| where_traffic_is(body, version.as_deref())));
    lines.extend(body.map(what_else).unwrap_or_default());
    lines.extend(what_to_do(artifact, event, cause));
    let rollback_until = body.filter(|body| body.rollback_available).and_then(|body| body.rollback_deadline);
    lines.extend(rollback_until.map(|until| format!("Rollback available until {}", moment(until))));
    Message {
        event,
        app: artifact.app.clone(),
        environment: artifact.environment.clone(),
        deployment_id: artifact.deployment_id.clone(),
        reason: cause.and_then(|step| step.reason.clone()).unwrap_or_else(|| artifact.reason.to_string()),
        title: title(&artifact.environment, rest),
        fields: fields(
            version.as_deref(),
            &artifact.deployment_id,
            &artifact.app,
            &artifact.environment,
            &artifact.run,
        ),
        lines,
        url: link(&artifact.run),
        at: artifact.finished_at,
        attempt: artifact.attempt,
        version,
        rollback_until,
    }
}

/// What is announced. A success counts only if the deploy could also be closed.
fn event_of(artifact: &Artifact<Record>) -> Event {
    let status = artifact.body.as_ref().map(|body| body.status);
    match (artifact.result, status) {
        (StepResult::Stuck, _) | (_, Some(RecordStatus::Stuck)) => Event::Stuck,
        (_, Some(RecordStatus::Success)) if artifact.is_go() => Event::Deployed,
        (_, Some(RecordStatus::RolledBack)) => Event::RolledBack,
        (_, Some(RecordStatus::Inconclusive | RecordStatus::Unknown)) => Event::Inconclusive,
        (_, Some(RecordStatus::Success | RecordStatus::Failed) | None) => Event::Failed,
    }
}

/// The step that ended it: one that is stuck, else the first that did not say go.
fn cause(record: &Record) -> Option<&StepRecord> {
    let stuck = record.steps.iter().find(|step| step.result == Some(StepResult::Stuck));
    let not_go = |step: &&StepRecord| !matches!(step.result, Some(StepResult::Success | StepResult::Skip));
    let first_no = || record.steps.iter().find(not_go).filter(|_| record.status != RecordStatus::Success);
    stuck.or_else(first_no)
}

fn why(step: &StepRecord) -> String {
    match (&step.message, &step.reason) {
        (Some(message), Some(reason)) => format!("Because: {}: {message} ({reason})", step.artifact),
        (None, Some(reason)) => format!("Because: {}: {reason}", step.artifact),
        _ => format!("Because: {} left no result", step.artifact),
    }
}

/// What serves now, as far as somebody observed it.
fn where_traffic_is(record: &Record, version: Option<&str>) -> String {
    let version = version.unwrap_or("the new version");
    let observed_out = record.steps.iter().any(|step| {
        step.reason.as_deref().is_some_and(|code| OUT_OF_TRAFFIC.iter().any(|reason| reason.code() == code))
    });
    let moved = record.steps.iter().any(|step| step.artifact.starts_with("rollout") && step.sha256.is_some());
    match record.status {
        RecordStatus::Success => format!("{version} serves everything, and every step said yes"),
        RecordStatus::Stuck => {
            format!("What serves now is not known: {version} may still have traffic")
        }
        _ if observed_out => format!("{version} is out of traffic, and that was observed"),
        _ if !moved => "No traffic was moved: what served before still serves".to_owned(),
        _ => format!("{version} may still have traffic: nobody observed it at zero"),
    }
}

/// Backups, migrations and overrides: what a person has to know before deciding anything.
fn what_else(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    let succeeded = record.status == RecordStatus::Success;
    if !succeeded && record.migrations_applied > 0 {
        lines.push(format!("{} migrations were applied and stay applied", record.migrations_applied));
    }
    if let Some(backup) =
        record.backup.as_ref().filter(|backup| !succeeded && backup.weakest_proof() != Proof::None)
    {
        let proof = backup.weakest_proof();
        lines.push(format!("A backup is in the store, level of proof: {proof}"));
    }
    if !record.overrides.is_empty() {
        let names: Vec<&str> = record.overrides.iter().map(|item| item.id.as_str()).collect();
        lines.push(format!("Overridden and still open: {}", names.join(", ")));
    }
    lines
}

/// The table of reasons knows what to do about each.
fn what_to_do(artifact: &Artifact<Record>, event: Event, cause: Option<&StepRecord>) -> Option<String> {
    if event == Event::Deployed {
        return None;
    }
    let of_record = (!artifact.is_go()).then_some(artifact.reason);
    let reason = match cause {
        Some(step) => step.reason.as_deref().and_then(Reason::from_code),
        None => of_record,
    };
    let remedy = reason.map(Reason::remedy).filter(|remedy| *remedy != "nothing");
    Some(format!("What to do: {}", remedy.unwrap_or("look at the log of the run and at the artifacts")))
}

#[cfg(test)]
mod tests;
