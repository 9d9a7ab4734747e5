//! The store and what lives on it.

use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::{Chain, Layout, Lock, Stop, Store, must_be_there};
use std::sync::Arc;

/// The input that the commands have for the store.
#[derive(clap::Args, Clone)]
pub(crate) struct StoreArgs {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    pub(crate) store: Option<String>,
}

/// Chain, lock and stop requests of this app in this environment.
pub(crate) struct Memory {
    pub(crate) store: Arc<dyn Store>,
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
            stop: Stop::new(Arc::clone(&store), layout),
            store,
        })
    }
}
