//! From the artifacts of all steps to the record. Pure.
//!
//! The status is computed, never given (`judge.rs`). What is missing is recorded as missing.

use crate::judge::{self, Cause, judge};
use jiff::Timestamp;
use kit_contract::body::{
    Backup, Begin, Deployment, Gate, Migration, Override, Preflight, Record, RecordStatus, Rollback, Rollout,
    Smoke, StageRecord, StepRecord,
};
use kit_contract::config::{Config, Stage};
use kit_contract::pipeline::{self, Line};
use kit_contract::{AnyArtifact, Reason, Sha256};
use std::collections::BTreeMap;

/// Every artifact that was found, by name, with the digest of its file.
pub(crate) type Found = BTreeMap<String, (AnyArtifact, Sha256)>;

/// Every artifact that is not to be believed, by name: the stable reason, and the whole of it for people.
pub(crate) type Refused = BTreeMap<String, (Reason, String)>;

/// The lines of the pipeline up to `finish`: what this step itself and those after it do is not judged.
pub(crate) fn lines(stages: &[Stage]) -> Vec<Line> {
    pipeline::lines(stages).into_iter().take_while(|line| line.step.id != "finish").collect()
}

/// Everything else that the record needs.
pub(crate) struct Facts<'a> {
    /// The configuration of this deploy.
    pub(crate) config: &'a Config,
    /// It as text.
    pub(crate) config_toml: String,
    /// Sequence number of the closing entry; `None` if there will be none.
    pub(crate) sequence: Option<u64>,
    /// What is not to be believed.
    pub(crate) refused: &'a Refused,
    /// True if the chain says that somebody has rolled this deployment back.
    pub(crate) rolled_back: bool,
    /// When the deploy ended.
    pub(crate) now: Timestamp,
}

/// Assembles the record.
pub(crate) fn record(found: &Found, facts: &Facts<'_>) -> (Record, Option<Cause>) {
    let lines = lines(&facts.config.stages);
    let (status, because) = judge(&lines, found, facts.refused, facts.rolled_back);
    let begin: Option<Begin> = body(found, "begin");
    let migration: Option<Migration> = body(found, "migration");
    let window = facts.config.rollback.window;
    let deadline = facts.now.checked_add(window.duration()).unwrap_or(Timestamp::MAX);
    let succeeded = status == RecordStatus::Success;
    let previous = begin.and_then(|begin| begin.rollback_target);
    let record = Record {
        status,
        deployment: body::<Deployment>(found, "deployment"),
        rollback_available: succeeded && previous.is_some(),
        previous,
        steps: steps(&lines, found, facts.refused),
        stages: facts.config.stages.iter().filter_map(|stage| stage_record(stage, found)).collect(),
        backup: body::<Backup>(found, "backup"),
        migrations_applied: migration.as_ref().map_or(0, |migration| migration.applied_count() as u64),
        migration_phase: migration.map(|migration| migration.phase),
        smoke: body::<Smoke>(found, "smoke"),
        rollback: body::<Rollback>(found, "rollback"),
        overrides: overrides(found),
        rollback_window_ms: window.as_ms(),
        rollback_deadline: succeeded.then_some(deadline),
        config: facts.config_toml.clone(),
        sequence: facts.sequence,
    };
    (record, because)
}

fn body<B: kit_contract::Body>(found: &Found, name: &str) -> Option<B> {
    found.get(name).and_then(|(artifact, _)| judge::body(artifact))
}

fn steps(lines: &[Line], found: &Found, refused: &Refused) -> Vec<StepRecord> {
    let names = lines.iter().map(|line| line.artifact.to_string());
    // What is no line of the pipeline happened as well: a withdrawal, a rollback.
    let in_lines: Vec<String> = names.collect();
    let others = found.keys().chain(refused.keys()).filter(|name| !in_lines.contains(name)).cloned();
    in_lines.iter().cloned().chain(others).map(|name| step_record(name, found, refused)).collect()
}

fn step_record(name: String, found: &Found, refused: &Refused) -> StepRecord {
    if let Some((reason, message)) = refused.get(&name) {
        return StepRecord {
            artifact: name,
            result: Some(reason.result()),
            reason: Some(reason.to_string()),
            message: Some(message.clone()),
            ..StepRecord::default()
        };
    }
    let entry = found.get(&name);
    let artifact = entry.map(|(artifact, _)| artifact);
    StepRecord {
        sha256: entry.map(|(_, digest)| digest.clone()),
        result: artifact.map(|artifact| artifact.result),
        reason: artifact.map(|artifact| artifact.reason.to_string()),
        message: artifact.map(|artifact| artifact.message.clone()),
        started_at: artifact.map(|artifact| artifact.started_at),
        finished_at: artifact.map(|artifact| artifact.finished_at),
        attempt: artifact.map(|artifact| artifact.attempt),
        artifact: name,
    }
}

fn stage_record(stage: &Stage, found: &Found) -> Option<StageRecord> {
    let rollout: Rollout = body(found, &format!("rollout-{}", stage.name))?;
    let gate: Option<Gate> = body(found, &format!("gate-{}", stage.name));
    let observed: Option<Vec<f64>> = rollout.services.iter().map(|share| share.observed_percent).collect();
    Some(StageRecord {
        stage: stage.name.to_string(),
        asked_percent: stage.percent,
        observed_percent: observed.and_then(|all| all.into_iter().reduce(f64::min)),
        verdict: gate.as_ref().map(|gate| gate.verdict),
        watched_ms: gate.map_or(0, |gate| gate.watched_ms),
    })
}

fn overrides(found: &Found) -> Vec<Override> {
    body::<Preflight>(found, "preflight").map(|preflight| preflight.overrides).unwrap_or_default()
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
