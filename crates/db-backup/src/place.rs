//! Where a backup lies, and what lies there already.

use crate::args::Args;
use kit_contract::body::DatabaseBackup;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Context, ResultExt as _, StepError};
use kit_step::ToolContext;
use kit_store::{Key, Layout, Store, StoreError};
use std::sync::Arc;

/// The store, and the part of it where this deployment's backups lie.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    layout: Layout,
    deployment: DeploymentId,
    /// True if the deployment has several databases, so that keys must name them.
    several: bool,
}

/// The two objects that make up one backup.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The compressed copy.
    pub(crate) key: Key,
    /// The commit marker.
    pub(crate) metadata: Key,
}

impl Place {
    /// Opens the store of flag or configuration.
    pub(crate) async fn open(args: &Args, cx: &ToolContext, several: bool) -> Result<Self, StepError> {
        let config = &cx.config().store;
        let url = args.store.as_deref().unwrap_or(&config.url);
        let store = kit_store::open(url, config.persistent, &cx.env, &cx.resolve(""), &[]).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        Ok(Self { store, layout, deployment: identity.deployment_id, several })
    }

    /// The only database of a deployment, in this store.
    #[cfg(test)]
    pub(crate) fn for_test(store: Arc<dyn Store>) -> Result<Self, kit_contract::IdentityError> {
        let layout = Layout::new("shop".parse()?, "production".parse()?);
        Ok(Self { store, layout, deployment: "1763712000-abc1234".parse()?, several: false })
    }

    /// Where the backup of one database belongs.
    pub(crate) fn slot(&self, database: &Name, extension: &str) -> Result<Slot, StepError> {
        let name = self.several.then_some(database);
        let key = self.layout.backup(&self.deployment, name, &format!("{extension}.gz"));
        let key = key.or_reason(Reason::InternalError, "a backup cannot be named")?;
        Ok(Slot { key, metadata: self.layout.backup_metadata(&self.deployment, name) })
    }

    /// The address of an object, for people.
    pub(crate) fn location(&self, key: &Key) -> String {
        format!("{}/{key}", self.store.describe())
    }

    /// The metadata, if a run of this deployment finished this backup.
    pub(crate) async fn metadata(&self, slot: &Slot) -> Result<Option<DatabaseBackup>, StepError> {
        let Some(object) = self.store.get(&slot.metadata).await? else { return Ok(None) };
        serde_json::from_slice(&object.bytes).map(Some).or_reason(
            Reason::ArtifactInvalid,
            format!("{} cannot be read, so nobody knows what it vouches for", self.location(&slot.metadata)),
        )
    }

    /// Removes what stands under the key without metadata: whether it is whole, nobody knows any more.
    pub(crate) async fn clear(&self, cx: &Context, slot: &Slot) -> Result<(), StepError> {
        let Some(found) = self.store.head(&slot.key).await? else { return Ok(()) };
        self.store.delete(&slot.key, &found.version).await?;
        let location = self.location(&slot.key);
        cx.out.say(&format!("removed {location}: a run left it without metadata, so it was no backup"));
        Ok(())
    }

    /// Removes a worthless object. Says what came of it.
    pub(crate) async fn discard(&self, slot: &Slot) -> String {
        let location = self.location(&slot.key);
        let removed = match self.store.head(&slot.key).await {
            Ok(Some(found)) => self.store.delete(&slot.key, &found.version).await,
            Ok(None) => return format!("{location} is not there any more"),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => format!("{location} was removed"),
            Err(error) => {
                let why = StepError::from(error).chain();
                format!("{location} could not be removed ({why}); without metadata it counts as no backup")
            }
        }
    }

    /// Writes the commit marker.
    pub(crate) async fn commit(&self, slot: &Slot, backup: &DatabaseBackup) -> Result<(), StepError> {
        let mut bytes = serde_json::to_vec_pretty(backup)
            .or_reason(Reason::InternalError, "the metadata of the backup cannot be written")?;
        bytes.push(b'\n');
        match self.store.create(&slot.metadata, &bytes).await {
            Ok(_) => Ok(()),
            // It may be written all the same.
            Err(error @ StoreError::Unreachable { .. }) => match self.store.get(&slot.metadata).await {
                Ok(Some(object)) if object.bytes == bytes => Ok(()),
                _ => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
