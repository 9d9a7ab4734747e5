//! Reads the artifacts of a deployment.

use crate::assemble::Found;
use kit_contract::body::{self, Record};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, DeploymentId, Reason, Sha256};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{Identity, StepContext};

/// No artifact is longer.
const LIMIT_BYTES: u64 = 16 << 20;

/// The artifacts as they lie there.
pub(crate) type Files = Vec<(ArtifactName, Vec<u8>)>;

/// Every artifact of the folder that belongs to this deployment. A foreign or unreadable one is refused:
/// a record that rests on it would be worth nothing.
pub(crate) fn gather(cx: &StepContext<Record>) -> Result<(Found, Files), StepError> {
    let folder = cx.artifacts();
    let names =
        fs::list(folder.path()).or_reason(Reason::ArtifactInvalid, "the artifact folder cannot be read")?;
    let mut found = Found::new();
    let mut files = Files::new();
    for file in names.unwrap_or_default() {
        let Some(name) = file.strip_suffix(".json").and_then(|stem| stem.parse::<ArtifactName>().ok()) else {
            continue;
        };
        if is_outside(&name) {
            continue;
        }
        let bytes = fs::read(&folder.file(&name), LIMIT_BYTES)
            .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
        let artifact = read_any(cx, &name, &owner(cx, &name)?)?;
        if artifact.standalone {
            return Err(StepError::new(
                Reason::RecordRefused,
                format!("{file} was written by a step that ran alone, outside this deployment"),
            )
            .hint("run the step again with this deployment's artifact folder"));
        }
        found.insert(name.to_string(), (artifact, Sha256::of(&bytes)));
        files.push((name, bytes));
    }
    Ok((found, files))
}

/// True for what is no part of a deployment: what is written after it, and `adopt`, which stands before
/// the first.
fn is_outside(name: &ArtifactName) -> bool {
    matches!(name.kind, ArtifactKind::Record | ArtifactKind::Notice) || name.to_string() == "begin-adopt"
}

/// Whose id the artifact must carry: ours, but for steps that have an id of their own and name ours.
fn owner(cx: &StepContext<Record>, name: &ArtifactName) -> Result<Identity, StepError> {
    let ours = cx.identity();
    if !matches!(name.kind, ArtifactKind::Rollback | ArtifactKind::Restore) {
        return Ok(ours);
    }
    let Some(artifact) = cx.artifacts().peek(name)? else { return Ok(ours) };
    let subject = artifact.body.as_ref().and_then(|body| body.get("subject")?.as_str());
    match subject.map(str::parse::<DeploymentId>) {
        Some(Ok(subject)) if subject != ours.deployment_id => Err(StepError::new(
            Reason::RecordRefused,
            format!("{} is about deployment {subject}, not about this one", name.file_name()),
        )
        .hint("use a fresh --artifacts folder for each deployment")),
        // One that ended before it knew its subject lies where only this deployment writes.
        _ => Ok(Identity { deployment_id: artifact.deployment_id, ..ours }),
    }
}

fn read_any(
    cx: &StepContext<Record>,
    name: &ArtifactName,
    owner: &Identity,
) -> Result<AnyArtifact, StepError> {
    macro_rules! read {
        ($body:ty) => {{
            let artifact = cx.artifacts().read::<$body>(name, owner)?;
            let json = artifact.body.as_ref().map(serde_json::to_value).transpose();
            let json = json.or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
            Ok(artifact.with_body(json))
        }};
    }
    match name.kind {
        ArtifactKind::Deployment => read!(body::Deployment),
        ArtifactKind::Preflight => read!(body::Preflight),
        ArtifactKind::Readiness => read!(body::Readiness),
        ArtifactKind::Begin => read!(body::Begin),
        ArtifactKind::Backup => read!(body::Backup),
        ArtifactKind::Migration => read!(body::Migration),
        ArtifactKind::Rollout => read!(body::Rollout),
        ArtifactKind::Gate => read!(body::Gate),
        ArtifactKind::Smoke => read!(body::Smoke),
        ArtifactKind::Record => read!(body::Record),
        ArtifactKind::Rollback => read!(body::Rollback),
        ArtifactKind::Restore => read!(body::Restore),
        ArtifactKind::Notice => read!(body::Notice),
    }
}
