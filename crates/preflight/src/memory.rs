//! The store, opened once for all checks that need it.

use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::{Chain, Layout, Lock, Stop, Store, self_proof};
use std::sync::Arc;

/// The input for the store.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// The store and what lives on it.
pub(crate) struct Memory {
    store: Arc<dyn Store>,
    layout: Layout,
    pub(crate) chain: Chain,
    pub(crate) lock: Lock,
    pub(crate) stop: Stop,
}

impl Memory {
    pub(crate) async fn open(args: &StoreArgs, cx: &ToolContext) -> Result<Self, StepError> {
        let config = &cx.config().store;
        let url = args.store.as_deref().unwrap_or(&config.url);
        let store = kit_store::open(url, config.persistent, &cx.env, &cx.resolve(""), &[]).await?;
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

    /// Proves by use that the store honours conditional writes.
    pub(crate) async fn prove(&self) -> Result<String, StepError> {
        self_proof(&*self.store, &self.layout).await?;
        Ok(self.store.describe())
    }
}
