//! Is there a way back? The backup as its artifact claims it and as the store confirms it.

use crate::policy::{Rules, disagreements, judge};
use kit_contract::body::{Backup, DatabaseBackup, ExternalBackup};
use kit_contract::{ArtifactKind, ArtifactName, DeploymentId, Name, Reason};
use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::{Key, Layout, Store, digest_of};
use std::sync::Arc;

/// The part of the store that belongs to this app and environment.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) layout: Layout,
}

impl Place {
    /// Opens the store of flag or configuration.
    pub(crate) async fn open(store: Option<&str>, cx: &ToolContext) -> Result<Self, StepError> {
        let store = kit_store_s3::open(store, &cx.config().store, cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        Ok(Self { store, layout: Layout::new(identity.app, identity.environment) })
    }
}

/// Refuses unless each of these databases has a finished, proved, fresh backup of this deployment.
pub(crate) async fn check(databases: &[&Name], place: &Place, cx: &ToolContext) -> Result<(), StepError> {
    let config = &cx.config().backup;
    let rules = Rules { required: config.required_proof.level(), max_age: config.max_age };
    let name = ArtifactName::only(ArtifactKind::Backup);
    let artifact = match cx.read_if_there::<Backup>(&name)? {
        Some(_) => Some(cx.read_go::<Backup>(&name)?),
        None => None,
    };
    let backup = artifact.and_then(|artifact| artifact.body);
    let id = cx.identity().deployment_id;
    let external = backup.iter().flat_map(|backup| &backup.external);
    let external: Vec<_> = external.filter(|claimed| databases.contains(&&claimed.database)).collect();
    let own: Vec<&Name> = databases
        .iter()
        .copied()
        .filter(|name| !external.iter().any(|claimed| claimed.database == **name))
        .collect();
    for claimed in external {
        let database = cx.config().databases.iter().find(|database| database.name == claimed.database);
        config.accepts_external(claimed, database, cx.clock.now()).map_err(|(reason, text)| {
            StepError::new(reason, text).hint("backup and allow_external in deploy.toml say what is accepted")
        })?;
        confirm_external(claimed, place, &id).await?;
    }
    let entries =
        judge(&own, backup.as_ref(), rules, cx.clock.now()).map_err(|refusal| refusal.into_error(rules))?;
    for claimed in entries {
        confirm(claimed, place, &id).await?;
    }
    Ok(())
}

/// What another tool said must be what was written down when it said it. Whether its backup is there only the
/// tool knows.
async fn confirm_external(
    claimed: &ExternalBackup,
    place: &Place,
    id: &DeploymentId,
) -> Result<(), StepError> {
    let name = &claimed.database;
    let ours = [place.layout.backup_metadata(id, None), place.layout.backup_metadata(id, Some(name))];
    let metadata = ours.iter().find(|key| key.as_str() == claimed.metadata_key);
    let stored = match metadata {
        Some(key) => place.store.get(key).await?,
        None => None,
    };
    let Some(object) = stored else {
        return Err(gone(format!("the store does not know of the backup of {name} that backup.json names")));
    };
    let stored = serde_json::from_slice::<ExternalBackup>(&object.bytes).ok();
    let same = stored.is_some_and(|stored| stored == ExternalBackup { adopted: false, ..claimed.clone() });
    if same && claimed.deployment_id == *id {
        return Ok(());
    }
    let message = format!("backup.json and {} in the store do not agree about {name}", claimed.metadata_key);
    Err(StepError::new(Reason::ArtifactTampered, message)
        .hint("find out who changed it before anything else; then run db-backup again"))
}

/// Compares the claim with the metadata in the store, which is what db-restore would go by.
async fn confirm(claimed: &DatabaseBackup, place: &Place, id: &DeploymentId) -> Result<(), StepError> {
    let name = &claimed.database;
    let tampered = |what: String| {
        Err(StepError::new(Reason::ArtifactTampered, what)
            .hint("find out who changed it before anything else; then run db-backup again"))
    };
    let ours = [place.layout.backup_metadata(id, None), place.layout.backup_metadata(id, Some(name))];
    let Some(metadata) = ours.iter().find(|key| key.as_str() == claimed.metadata_key) else {
        return tampered(format!(
            "backup.json names {} for {name}, which is not of this deployment",
            claimed.metadata_key
        ));
    };
    let Some(object) = place.store.get(metadata).await? else {
        return Err(gone(format!("the store has no {metadata}, so the backup of {name} is none")));
    };
    let Ok(stored) = serde_json::from_slice::<DatabaseBackup>(&object.bytes) else {
        return tampered(format!("{metadata} in the store cannot be read"));
    };
    let wrong = disagreements(claimed, &stored);
    if !wrong.is_empty() {
        return tampered(format!(
            "backup.json and {metadata} in the store do not agree about {name}: {}",
            wrong.join(", ")
        ));
    }
    let Ok(key) = claimed.key.parse::<Key>() else {
        return tampered(format!("the backup of {name} has a key that is none"));
    };
    match place.store.head(&key).await? {
        Some(found) if found.size_bytes == claimed.size_bytes => {
            let proved = stored.details.object_version.as_deref();
            if proved == Some(found.version.as_str()) {
                return Ok(());
            }
            same_bytes(place, &key, claimed).await
        }
        Some(found) => Err(StepError::new(
            Reason::BackupMismatch,
            format!(
                "{key} in the store has {} bytes, not the {} that were proved",
                found.size_bytes, claimed.size_bytes
            ),
        )),
        None => Err(gone(format!("{key} is gone from the store"))),
    }
}

/// The object is another one than was proved, or the store's names for versions do not last: its bytes say
/// which.
async fn same_bytes(place: &Place, key: &Key, claimed: &DatabaseBackup) -> Result<(), StepError> {
    match digest_of(&*place.store, key).await? {
        Some(digest) if digest == claimed.sha256 => Ok(()),
        Some(_) => Err(StepError::new(
            Reason::BackupMismatch,
            format!("{key} in the store is not the one that was proved: its bytes have changed"),
        )
        .hint("find out who changed it before anything else; then run db-backup again")),
        None => Err(gone(format!("{key} is gone from the store"))),
    }
}

fn gone(message: String) -> StepError {
    StepError::new(Reason::BackupRequired, message)
        .hint("run db-backup again; if it says that the backup is gone, find out who removed it")
}
