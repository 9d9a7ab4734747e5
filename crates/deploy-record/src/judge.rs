//! How a deploy ended, from the artifacts alone. Pure.
//!
//! It succeeded only if every line of the pipeline says so. It has ended only if the new version has all
//! of the traffic for good, or none: anything between is stuck, because nobody watches it any more.

use crate::assemble::{Found, Refused};
use jiff::Timestamp;
use kit_contract::body::{Deployment, RecordStatus, Rollout};
use kit_contract::continuation::{Continuation, TrafficState, after};
use kit_contract::pipeline::Line;
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, Class, Reason, StepResult};
use serde_json::Value;

/// What ended a deploy that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// `gate-canary: error_rate_exceeded`, as the chain keeps it.
    pub(crate) because: String,
    /// True if the version was seen to be bad.
    pub(crate) bad_version: bool,
}

impl Cause {
    fn new(because: impl Into<String>) -> Self {
        Self { because: because.into(), bad_version: false }
    }
}

/// Status and cause. `rolled_back`: the chain says that somebody has rolled this deployment back.
pub(crate) fn judge(
    lines: &[Line],
    found: &Found,
    refused: &Refused,
    rolled_back: bool,
) -> (RecordStatus, Option<Cause>) {
    let traffic = Traffic::of(found, refused);
    let undone = rolled_back || traffic.undone;
    // What was tampered with is named before whatever came of it.
    let tampered = refused
        .iter()
        .next()
        .map(|(name, (reason, _))| (Cause::new(format!("{name}: {reason}")), reason.class()));
    let no = tampered.or_else(|| lines.iter().find_map(|line| no(line, found)));
    if let Some((name, artifact)) = stuck(found, undone) {
        let bad_version = no.is_some_and(|(cause, _)| cause.bad_version);
        let because = format!("{name}: {}", artifact.reason);
        return (RecordStatus::Stuck, Some(Cause { because, bad_version }));
    }
    match no {
        None if undone => (RecordStatus::RolledBack, Some(Cause::new("rollback"))),
        None => (RecordStatus::Success, None),
        Some((cause, _)) if traffic.moved && !undone => (RecordStatus::Stuck, Some(cause)),
        Some((cause, Class::Undecided)) => (RecordStatus::Inconclusive, Some(cause)),
        Some((cause, _)) if undone => (RecordStatus::RolledBack, Some(cause)),
        Some((cause, _)) => (RecordStatus::Failed, Some(cause)),
    }
}

/// Why this line does not say go; `None` if it does.
fn no(line: &Line, found: &Found) -> Option<(Cause, Class)> {
    let name = line.artifact.to_string();
    let Some((artifact, _)) = found.get(&name) else {
        return Some((Cause::new(format!("{name}: missing")), Class::Bug));
    };
    if is_dry_run(artifact) {
        return Some((Cause::new(format!("{name}: dry_run")), Class::Bug));
    }
    if artifact.is_go() {
        return None;
    }
    // The same table as the pipeline's: what it does not call bad, nobody calls bad.
    let follows = after(line.step.id, TrafficState::Canary, artifact.reason);
    let bad_version = matches!(follows, Continuation::Withdraw { mark_bad: true });
    let because = format!("{name}: {}", artifact.reason);
    Some((Cause { because, bad_version }, artifact.reason.class()))
}

/// A step that left something half-done. What it left of the traffic may have been undone since.
fn stuck(found: &Found, undone: bool) -> Option<(&String, &AnyArtifact)> {
    found.iter().map(|(name, (artifact, _))| (name, artifact)).find(|(name, artifact)| match kind(name) {
        Some(ArtifactKind::Rollout) if undone => false,
        // A rollback that did not come to an end may have left anything.
        Some(ArtifactKind::Rollback) => {
            !undone
                && !matches!(
                    artifact.reason.class(),
                    Class::Go | Class::Skipped | Class::Usage | Class::Artifact | Class::Verdict
                )
        }
        _ => artifact.result == StepResult::Stuck,
    })
}

/// What happened to the traffic.
struct Traffic {
    /// The new version was given some, or nobody knows whether it was.
    moved: bool,
    /// It was taken back after that, and that was observed.
    undone: bool,
}

impl Traffic {
    fn of(found: &Found, refused: &Refused) -> Self {
        let artifacts = || found.iter().filter_map(|(name, (artifact, _))| Some((kind(name)?, artifact)));
        let rollouts = || artifacts().filter(|(kind, _)| *kind == ArtifactKind::Rollout).map(|(_, one)| one);
        let version = found.get("deployment").and_then(|(artifact, _)| body::<Deployment>(artifact));
        let version = version.map(|deployment| deployment.version.to_string());
        let promoted = found.get("rollout-promote").filter(|(one, _)| was_promoted(one, version.as_deref()));
        let promoted = promoted.map(|(one, _)| one.finished_at);
        let shifted = rollouts()
            .filter(|one| !is_dry_run(one) && matches!(one.reason, Reason::Shifted | Reason::Unfinished))
            .map(|one| one.finished_at)
            .max();
        // A rollout that is not to be believed may have moved anything; a withdrawal takes it all back.
        let unknown = refused.keys().any(|name| kind(name) == Some(ArtifactKind::Rollout));
        let moved = shifted.max(promoted).or(unknown.then_some(Timestamp::MIN));
        // A withdrawal takes the canary out, not a version that became the stable one.
        let withdrawn = rollouts()
            .filter(|one| body::<Rollout>(one).is_some_and(|body| body.withdrawn))
            .map(|one| one.finished_at)
            .filter(|at| promoted.is_none_or(|promoted| *at < promoted));
        let rolled_back = artifacts()
            .filter(|(kind, one)| *kind == ArtifactKind::Rollback && one.reason == Reason::RolledBack)
            .map(|(_, one)| one.finished_at);
        let undone: Option<Timestamp> = withdrawn.chain(rolled_back).max();
        Self { moved: moved.is_some(), undone: undone.is_some() && undone >= moved }
    }
}

/// True if at least one service may have the new version as its stable one.
fn was_promoted(promote: &AnyArtifact, version: Option<&str>) -> bool {
    if matches!(promote.reason, Reason::PromotedStable | Reason::Unfinished) {
        return true;
    }
    let services = body::<Rollout>(promote).map(|body| body.services).unwrap_or_default();
    services.iter().any(|share| share.stable_version.is_none() || share.stable_version.as_deref() == version)
}

fn kind(name: &str) -> Option<ArtifactKind> {
    name.parse::<ArtifactName>().ok().map(|name| name.kind)
}

fn is_dry_run(artifact: &AnyArtifact) -> bool {
    artifact.body.as_ref().and_then(|body| body.get("dry_run")).and_then(Value::as_bool) == Some(true)
}

/// Artifacts were read with their type when they were found, so this fails only where there is no body.
pub(crate) fn body<B: kit_contract::Body>(artifact: &AnyArtifact) -> Option<B> {
    serde_json::from_value(artifact.body.clone()?).ok()
}
