//! Finds out what is known, but for the router. What cannot be found out is said, and never taken for
//! "there is none".

use crate::Args;
use crate::known::{Known, LockSeen, Schema};
use crate::outside::Outside;
use crate::plan::subject;
use kit_contract::body::{Migration, MigrationPhase, Rollback, Rollout, RolloutAction};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, DeploymentId, Name, Reason};
use kit_core::{StepError, fs};
use kit_step::StepContext;

/// Asks store and artifacts.
pub(crate) async fn gather(cx: &StepContext<Rollback>, outside: &Outside, args: &Args) -> Known {
    let without = |what: &str, error: &StepError| {
        cx.out.say(&format!("going on without {what}: {}", error.chain()));
    };
    let mut history = None;
    let mut chain_broken = false;
    let mut lock = LockSeen::NotAsked;
    if let Some(memory) = &outside.memory {
        match memory.history(cx).await {
            Ok(found) => history = Some(found),
            Err(error) => {
                chain_broken = error.reason == Reason::ChainBroken;
                without("the chain", &error);
            }
        }
        match memory.lock(cx, cx.clock.now()).await {
            Ok(seen) => lock = seen,
            Err(error) => without("the lock", &error),
        }
    }
    let local = ours(cx, peek(cx, &ArtifactName::only(ArtifactKind::Deployment)).unwrap_or_default());
    let mut known = Known {
        asked: args.deployment.clone(),
        history,
        chain_broken,
        before: local.as_ref().map(|local| versions_before(cx, &local.deployment_id)).unwrap_or_default(),
        local: local.as_ref().map(local_version),
        services: None,
        schema: Schema::default(),
        lock,
        force: args.force,
        accept_schema_ahead: args.accept_schema_ahead,
    };
    if let Ok(subject) = subject(&known) {
        known.schema = schema(cx, outside, &subject.id).await;
    }
    known
}

/// The envelope of an artifact; `Err` if it is there and cannot be read, which is said.
fn peek(cx: &StepContext<Rollback>, name: &ArtifactName) -> Result<Option<AnyArtifact>, ()> {
    cx.artifacts()
        .peek(name)
        .map_err(|error| cx.out.say(&format!("going on without {name}: {}", error.chain())))
}

/// An artifact of another app or environment is none of ours.
fn ours(cx: &StepContext<Rollback>, artifact: Option<AnyArtifact>) -> Option<AnyArtifact> {
    let identity = cx.identity();
    artifact.filter(|found| found.app == identity.app && found.environment == identity.environment)
}

fn local_version(artifact: &AnyArtifact) -> (DeploymentId, Option<String>) {
    let version = artifact.body.as_ref().and_then(|body| body.get("version")?.as_str());
    (artifact.deployment_id.clone(), version.map(str::to_owned))
}

/// The stable version of every service before its first shift, as the oldest artifact says.
fn versions_before(cx: &StepContext<Rollback>, local: &DeploymentId) -> Vec<(Name, String)> {
    let names = match fs::list(cx.artifacts().path()) {
        Ok(names) => names.unwrap_or_default(),
        Err(error) => {
            cx.out.say(&format!("going on without the artifacts: {error}"));
            Vec::new()
        }
    };
    let mut found: Vec<AnyArtifact> = names
        .iter()
        .filter_map(|file| file.strip_suffix(".json")?.parse::<ArtifactName>().ok())
        .filter(|name| name.kind == ArtifactKind::Rollout)
        .filter_map(|name| peek(cx, &name).ok().flatten())
        .filter(|artifact| artifact.deployment_id == *local)
        .collect();
    found.sort_by_key(|artifact| artifact.started_at);
    let rollouts =
        found.into_iter().filter_map(|artifact| serde_json::from_value::<Rollout>(artifact.body?).ok());
    let shifts = rollouts.filter(|rollout| rollout.action == RolloutAction::Shift);
    let mut versions: Vec<(Name, String)> = Vec::new();
    for share in shifts.flat_map(|rollout| rollout.services) {
        if let Some(version) = share.stable_version
            && !versions.iter().any(|(name, _)| *name == share.service)
        {
            versions.push((share.service, version));
        }
    }
    versions
}

/// Whether the contracting half of a change was applied: the old version no longer fits then. The artifact
/// may be that of an earlier phase, or on another machine, and the store may not answer: either says
/// enough to refuse, and one of the two must say that it fits.
async fn schema(cx: &StepContext<Rollback>, outside: &Outside, subject: &DeploymentId) -> Schema {
    if cx.config().databases.iter().all(|database| database.migrations.is_none()) {
        return Schema::Fits;
    }
    let journaled = match &outside.memory {
        None => None,
        Some(memory) => match memory.schema(cx, subject).await {
            Ok(schema) => Some(schema),
            Err(error) => {
                cx.out.say(&format!("going on without the journal of migrate: {}", error.chain()));
                None
            }
        },
    };
    match (in_folder(cx, subject), journaled) {
        (Some(Schema::Ahead), _) | (_, Some(Schema::Ahead)) => Schema::Ahead,
        (Some(Schema::Unknown), _) | (_, Some(Schema::Unknown)) | (None, None) => Schema::Unknown,
        (Some(Schema::Fits), _) | (_, Some(Schema::Fits)) => Schema::Fits,
    }
}

/// What migration.json says, if it is that of this deployment.
fn in_folder(cx: &StepContext<Rollback>, subject: &DeploymentId) -> Option<Schema> {
    let artifact = match peek(cx, &ArtifactName::only(ArtifactKind::Migration)) {
        Ok(Some(artifact)) if artifact.deployment_id == *subject => artifact,
        Ok(_) => return None,
        Err(()) => return Some(Schema::Unknown),
    };
    let body = artifact.body.map(serde_json::from_value::<Migration>);
    Some(match body {
        Some(Ok(migration)) if migration.dry_run || migration.phase == MigrationPhase::Pre => Schema::Fits,
        Some(Ok(migration)) => {
            let failed = migration.databases.iter().any(|database| database.failed.is_some());
            let changed = failed || migration.applied_count() > 0;
            if changed { Schema::Ahead } else { Schema::Fits }
        }
        // It ended before it knew what it does; one that may have been killed in the middle does not say.
        None if artifact.reason.class() == kit_contract::Class::Verdict => Schema::Fits,
        None if artifact.reason == Reason::NotConfigured => Schema::Fits,
        _ => Schema::Unknown,
    })
}
