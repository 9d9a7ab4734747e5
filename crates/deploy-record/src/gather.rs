//! Reads the artifacts of a deployment.

use crate::assemble::{Found, Refused};
use kit_contract::body::{self, Record};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, DeploymentId, Reason, Sha256};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{Identity, StepContext};

/// No artifact is longer.
const LIMIT_BYTES: u64 = 16 << 20;

/// The artifacts as they lie there.
pub(crate) type Files = Vec<(ArtifactName, Vec<u8>)>;

/// What lies in the artifact folder.
pub(crate) struct Gathered {
    /// The artifacts of this deployment.
    pub(crate) found: Found,
    /// Those that are not to be believed, and why.
    pub(crate) refused: Refused,
    /// The files of the former.
    pub(crate) files: Files,
}

/// Every artifact of the folder that belongs to this deployment. A foreign, tampered or unreadable one is
/// refused: it proves nothing. That there is one is part of the record.
pub(crate) fn gather(cx: &StepContext<Record>) -> Result<Gathered, StepError> {
    let folder = cx.artifacts();
    let names =
        fs::list(folder.path()).or_reason(Reason::ArtifactInvalid, "the artifact folder cannot be read")?;
    let mut gathered = Gathered { found: Found::new(), refused: Refused::new(), files: Files::new() };
    for file in names.unwrap_or_default() {
        let Some(name) = file.strip_suffix(".json").and_then(|stem| stem.parse::<ArtifactName>().ok()) else {
            continue;
        };
        if is_outside(&name) {
            continue;
        }
        match take(cx, &name) {
            Ok((artifact, bytes)) => {
                gathered.found.insert(name.to_string(), (artifact, Sha256::of(&bytes)));
                gathered.files.push((name, bytes));
            }
            Err(error) => {
                gathered.refused.insert(name.to_string(), (error.reason, cx.out.clean(&error.chain())));
            }
        }
    }
    Ok(gathered)
}

/// One artifact and its file.
fn take(cx: &StepContext<Record>, name: &ArtifactName) -> Result<(AnyArtifact, Vec<u8>), StepError> {
    let bytes = fs::read(&cx.artifacts().file(name), LIMIT_BYTES)
        .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
    let artifact = read_any(cx, name, &owner(cx, name)?)?;
    if artifact.standalone {
        let file = name.file_name();
        let message = format!("{file} was written by a step that ran alone, outside this deployment");
        return Err(StepError::new(Reason::ArtifactForeign, message));
    }
    Ok((artifact, bytes))
}

/// True for what is no part of a deployment: what is written after it, and `adopt`, which stands before
/// the first.
fn is_outside(name: &ArtifactName) -> bool {
    matches!(name.kind, ArtifactKind::Record | ArtifactKind::Notice | ArtifactKind::Drill)
        || name.to_string() == "begin-adopt"
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
            Reason::ArtifactForeign,
            format!("{} is about deployment {subject}, not about this one", name.file_name()),
        )),
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
        ArtifactKind::Drill => read!(body::Drill),
        ArtifactKind::Notice => read!(body::Notice),
    }
}
