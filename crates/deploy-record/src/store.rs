//! What the commands share of the store.

use kit_contract::{ArtifactKind, ArtifactName, DeploymentId, Reason};
use kit_core::{ResultExt as _, StepError};
use kit_step::ToolContext;
use kit_store::{Chain, Layout, Lock, LockOwner, Stop, Store, must_be_there};
use std::sync::Arc;

/// The inputs that every command has.
#[derive(clap::Args)]
pub(crate) struct StoreArgs {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// The store and what lives on it.
pub(crate) struct Memory {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) layout: Layout,
    pub(crate) chain: Chain,
    pub(crate) lock: Lock,
    pub(crate) stop: Stop,
}

impl Memory {
    /// Opens the store of flag or configuration, to ask what happened: it has to be there.
    pub(crate) async fn existing(args: &StoreArgs, cx: &ToolContext) -> Result<Self, StepError> {
        let memory = Self::open(args, cx).await?;
        must_be_there(&*memory.store).await?;
        Ok(memory)
    }

    /// Opens the store of flag or configuration, which the first write makes.
    pub(crate) async fn open(args: &StoreArgs, cx: &ToolContext) -> Result<Self, StepError> {
        cx.must_have_config()?;
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        Ok(Self {
            chain: Chain::new(Arc::clone(&store), layout.clone()),
            lock: Lock::new(Arc::clone(&store), layout.clone()),
            stop: Stop::new(Arc::clone(&store), layout.clone()),
            store,
            layout,
        })
    }

    /// The records that were published for a deployment, oldest attempt first.
    pub(crate) async fn records(&self, id: &DeploymentId) -> Result<Vec<Published>, StepError> {
        let prefix = self.layout.deployment_prefix(id);
        let file = ArtifactName::only(ArtifactKind::Record).file_name();
        let keys = self.store.list(&prefix).await?;
        let attempt = |key: &String| -> Option<u32> {
            key.strip_prefix(&prefix)?.strip_suffix(&file)?.strip_suffix('/')?.parse().ok()
        };
        let mut attempts: Vec<u32> = keys.iter().filter_map(attempt).collect();
        attempts.sort_unstable();
        let mut records = Vec::new();
        for attempt in attempts {
            let name = ArtifactName::only(ArtifactKind::Record);
            // One that is gone since it was listed is simply not there.
            if let Some(object) = self.store.get(&self.layout.artifact(id, attempt, &name)).await? {
                records.push(Published { attempt, bytes: object.bytes });
            }
        }
        Ok(records)
    }
}

/// A record as it lies in the store.
pub(crate) struct Published {
    pub(crate) attempt: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Who we are to the lock. Outside CI there are no runs, so the deployment alone says whose it is.
pub(crate) fn owner(cx: &ToolContext, id: &DeploymentId) -> LockOwner {
    let run = cx.run_info();
    LockOwner {
        deployment_id: id.clone(),
        run_id: run.run_id.clone(),
        attempt: run.run_attempt.unwrap_or(1),
        actor: run.actor.clone(),
    }
}

/// The effective configuration as the record keeps it.
pub(crate) fn config_toml(cx: &ToolContext) -> Result<String, StepError> {
    cx.config().to_toml().or_reason(Reason::InternalError, "the configuration cannot be written")
}
