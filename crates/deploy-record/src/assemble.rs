//! From the artifacts of all steps to the record. Pure.
//!
//! The status is computed, never given: a deploy succeeded only if every line of the pipeline says so.
//! What is missing is recorded as missing.

use jiff::Timestamp;
use kit_contract::body::{
    Backup, Begin, Deployment, Gate, Migration, Override, Preflight, Record, RecordStatus, Rollback, Rollout,
    Smoke, StageRecord, StepRecord,
};
use kit_contract::config::{Config, Stage};
use kit_contract::pipeline::{self, Line};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, Class, Sha256, StepResult};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every artifact that was found, by name, with the digest of its file.
pub(crate) type Found = BTreeMap<String, (AnyArtifact, Sha256)>;

/// What ended a deploy that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// `gate-canary: error_rate_exceeded`, as the chain keeps it.
    pub(crate) because: String,
    /// True if the version was seen to be bad.
    pub(crate) bad_version: bool,
}

/// The lines of the pipeline up to `finish`: what this step itself and those after it do is not judged.
pub(crate) fn lines(stages: &[Stage]) -> Vec<Line> {
    pipeline::lines(stages).into_iter().take_while(|line| line.step.id != "finish").collect()
}

/// Status and cause.
pub(crate) fn judge(lines: &[Line], found: &Found) -> (RecordStatus, Option<Cause>) {
    let stuck = found.iter().find(|(_, (artifact, _))| artifact.result == StepResult::Stuck);
    if let Some((name, (artifact, _))) = stuck {
        return (RecordStatus::Stuck, Some(cause(name, artifact, false)));
    }
    let undone = was_undone(found);
    let first_no =
        lines.iter().find(|line| !found.get(&line.artifact.to_string()).is_some_and(|(a, _)| a.is_go()));
    let Some(line) = first_no else {
        let status = if undone { RecordStatus::RolledBack } else { RecordStatus::Success };
        let because = undone.then(|| Cause { because: "rollback".to_owned(), bad_version: false });
        return (status, because);
    };
    let name = line.artifact.to_string();
    let Some((artifact, _)) = found.get(&name) else {
        let because = Cause { because: format!("{name}: missing"), bad_version: false };
        return (if undone { RecordStatus::RolledBack } else { RecordStatus::Failed }, Some(because));
    };
    let class = artifact.reason.class();
    let bad_version = matches!(line.step.id, "gate" | "smoke") && class == Class::Verdict;
    let status = match class {
        Class::Undecided => RecordStatus::Inconclusive,
        _ if undone => RecordStatus::RolledBack,
        _ => RecordStatus::Failed,
    };
    (status, Some(cause(&name, artifact, bad_version)))
}

fn cause(name: &str, artifact: &AnyArtifact, bad_version: bool) -> Cause {
    Cause { because: format!("{name}: {}", artifact.reason), bad_version }
}

/// True if traffic was taken back from the new version, and that was observed.
fn was_undone(found: &Found) -> bool {
    found.iter().any(|(name, (artifact, _))| {
        let withdrawn =
            artifact.body.as_ref().and_then(|body| body.get("withdrawn")).and_then(Value::as_bool);
        match name.parse::<ArtifactName>().map(|name| name.kind) {
            Ok(ArtifactKind::Rollout) => withdrawn == Some(true),
            Ok(ArtifactKind::Rollback) => artifact.is_go(),
            _ => false,
        }
    })
}

/// Everything else that the record needs.
pub(crate) struct Facts<'a> {
    /// The configuration of this deploy.
    pub(crate) config: &'a Config,
    /// It as text.
    pub(crate) config_toml: String,
    /// Sequence number that the closing entry will have.
    pub(crate) sequence: u64,
    /// When the deploy ended.
    pub(crate) now: Timestamp,
}

/// Assembles the record.
pub(crate) fn record(found: &Found, facts: &Facts<'_>) -> (Record, Option<Cause>) {
    let lines = lines(&facts.config.stages);
    let (status, because) = judge(&lines, found);
    let begin: Option<Begin> = body(found, "begin");
    let migration: Option<Migration> = body(found, "migration");
    let window = facts.config.rollback.window;
    let deadline = facts.now.checked_add(window.duration()).ok();
    let succeeded = status == RecordStatus::Success;
    let previous = begin.and_then(|begin| begin.rollback_target);
    let record = Record {
        status,
        deployment: body::<Deployment>(found, "deployment"),
        rollback_available: succeeded && previous.is_some(),
        previous,
        steps: steps(&lines, found),
        stages: facts.config.stages.iter().filter_map(|stage| stage_record(stage, found)).collect(),
        backup: body::<Backup>(found, "backup"),
        migrations_applied: migration.as_ref().map_or(0, |migration| migration.applied_count() as u64),
        migration_phase: migration.map(|migration| migration.phase),
        smoke: body::<Smoke>(found, "smoke"),
        rollback: body::<Rollback>(found, "rollback"),
        overrides: overrides(found),
        rollback_window_ms: window.as_ms(),
        rollback_deadline: deadline.filter(|_| succeeded),
        config: facts.config_toml.clone(),
        sequence: Some(facts.sequence),
    };
    (record, because)
}

fn body<B: kit_contract::Body>(found: &Found, name: &str) -> Option<B> {
    let (artifact, _) = found.get(name)?;
    serde_json::from_value(artifact.body.clone()?).ok()
}

fn steps(lines: &[Line], found: &Found) -> Vec<StepRecord> {
    let names = lines.iter().map(|line| line.artifact.to_string());
    // What is no line of the pipeline happened as well: a withdrawal, a rollback.
    let in_lines: Vec<String> = names.collect();
    let others = found.keys().filter(|name| !in_lines.contains(name)).cloned();
    in_lines.iter().cloned().chain(others).map(|name| step_record(name, found)).collect()
}

fn step_record(name: String, found: &Found) -> StepRecord {
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
mod tests {
    use super::*;
    use kit_contract::Reason;
    use serde_json::json;

    fn config() -> Config {
        Config::parse("app = \"shop\"", &"production".parse().unwrap()).unwrap()
    }

    fn artifact(kind: ArtifactKind, reason: Reason, body: Value) -> (AnyArtifact, Sha256) {
        let artifact = serde_json::from_value(json!({
            "schema": kind.schema(), "app": "shop", "environment": "production",
            "deployment_id": "deploy-01", "attempt": 1, "standalone": false, "step": kind.as_str(),
            "result": reason.result().as_str(), "reason": reason.code(), "message": "m",
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
            "tool": {"version": "0"}, "run": {}, "body": body
        }));
        (artifact.unwrap(), Sha256::of(reason.code().as_bytes()))
    }

    /// Every line says go.
    fn all_good() -> Found {
        let go = |kind: ArtifactKind| match kind {
            ArtifactKind::Gate => Reason::Promoted,
            ArtifactKind::Rollout => Reason::Shifted,
            _ => Reason::ChecksPassed,
        };
        lines(&config().stages)
            .into_iter()
            .map(|line| {
                (line.artifact.to_string(), artifact(line.artifact.kind, go(line.artifact.kind), Value::Null))
            })
            .collect()
    }

    #[test]
    fn success_needs_every_single_line() {
        let lines = lines(&config().stages);
        assert_eq!(judge(&lines, &all_good()).0, RecordStatus::Success);
        for line in &lines {
            let mut found = all_good();
            found.remove(&line.artifact.to_string());
            let (status, because) = judge(&lines, &found);
            assert_eq!(status, RecordStatus::Failed, "{}", line.artifact);
            assert_eq!(because.unwrap().because, format!("{}: missing", line.artifact));
        }
    }

    #[test]
    fn what_ended_it_is_named() {
        let lines = lines(&config().stages);
        let withdrawn = artifact(ArtifactKind::Rollout, Reason::Withdrawn, json!({ "withdrawn": true }));
        let cases = [
            (ArtifactKind::Gate, Reason::ErrorRateExceeded, true, RecordStatus::RolledBack, true),
            (ArtifactKind::Gate, Reason::NoData, true, RecordStatus::Inconclusive, false),
            (ArtifactKind::Gate, Reason::ErrorRateExceeded, false, RecordStatus::Failed, true),
            (ArtifactKind::Gate, Reason::LeftChanged, true, RecordStatus::Stuck, false),
            (ArtifactKind::Gate, Reason::Unfinished, true, RecordStatus::RolledBack, false),
        ];
        for (kind, reason, withdrew, status, bad) in cases {
            let mut found = all_good();
            found.insert("gate-canary".into(), artifact(kind, reason, Value::Null));
            if withdrew {
                found.insert("rollout-abort".into(), withdrawn.clone());
            }
            let (seen, because) = judge(&lines, &found);
            assert_eq!(seen, status, "{reason}");
            let because = because.unwrap();
            assert_eq!(because.because, format!("gate-canary: {reason}"));
            assert_eq!(because.bad_version, bad, "{reason}");
        }
    }

    #[test]
    fn rollback_is_available_only_after_success_with_somewhere_to_go() {
        let config = config();
        let facts =
            Facts { config: &config, config_toml: String::new(), sequence: 7, now: Timestamp::UNIX_EPOCH };
        let mut found = all_good();
        let (first, _) = record(&found, &facts);
        assert!(!first.rollback_available, "the first deployment has nothing to return to");
        let begin = json!({
            "sequence": 1, "entry_sha256": "0".repeat(64), "lock_expires_at": "2026-01-01T00:00:00Z",
            "rollback_target": "deploy-00", "first_deployment": false
        });
        found.insert("begin".into(), artifact(ArtifactKind::Begin, Reason::Begun, begin));
        let (second, _) = record(&found, &facts);
        assert!(second.rollback_available);
        assert_eq!(second.rollback_deadline.unwrap().to_string(), "1970-01-01T01:00:00Z");
        found.insert("smoke".into(), artifact(ArtifactKind::Smoke, Reason::SmokeFailed, Value::Null));
        let (failed, _) = record(&found, &facts);
        assert!(!failed.rollback_available && failed.rollback_deadline.is_none());
    }
}
