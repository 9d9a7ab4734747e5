//! What the checks share: each part of it is asked once, by whoever needs it first.

use kit_contract::Reason;
use kit_contract::body::{Deployment, Image};
use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::{Chain, Layout, Loaded, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Why a shared part is not there; every check that needs it says so.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    reason: Reason,
    text: String,
    hints: Vec<String>,
}

impl From<StepError> for Refusal {
    fn from(error: StepError) -> Self {
        Self { reason: error.reason, text: error.chain(), hints: error.hints }
    }
}

impl From<Refusal> for StepError {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::new(refusal.reason, refusal.text);
        error.hints = refusal.hints;
        error
    }
}

/// What the checks share.
pub(crate) struct World {
    /// The context of the step.
    pub(crate) cx: ToolContext,
    /// What is deployed; `None` outside a deployment.
    pub(crate) deployment: Option<Deployment>,
    store_flag: Option<String>,
    store: OnceCell<Result<Arc<dyn Store>, Refusal>>,
    chain: OnceCell<Result<Arc<Loaded>, Refusal>>,
    /// By their place among the inputs.
    images: Mutex<BTreeMap<usize, Image>>,
}

impl World {
    /// The world of this step.
    pub(crate) fn new(cx: ToolContext, deployment: Option<Deployment>, store: Option<&str>) -> Arc<Self> {
        let store_flag = store.map(str::to_owned);
        Arc::new(Self {
            cx,
            deployment,
            store_flag,
            store: OnceCell::new(),
            chain: OnceCell::new(),
            images: Mutex::default(),
        })
    }

    /// Notes an image that was found.
    pub(crate) fn found(&self, place: usize, image: Image) {
        if let Ok(mut images) = self.images.lock() {
            images.insert(place, image);
        }
    }

    /// The images that were found, in the order of the inputs.
    pub(crate) fn images(&self) -> Vec<Image> {
        self.images.lock().map(|images| images.values().cloned().collect()).unwrap_or_default()
    }

    /// Where everything of this app and environment lies.
    pub(crate) fn layout(&self) -> Layout {
        let identity = self.cx.identity();
        Layout::new(identity.app, identity.environment)
    }

    /// The store, as it is opened. That it can be opened does not mean that it can be used.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>, StepError> {
        let folder = self.cx.resolve("");
        let open = || async {
            kit_store_s3::open(self.store_flag.as_deref(), &self.cx.config().store, &self.cx, &folder)
                .await
                .map_err(|error| Refusal::from(StepError::from(error)))
        };
        self.store.get_or_init(open).await.clone().map_err(Into::into)
    }

    /// The store for a check that asks about something in it: whether the store itself is any good is
    /// for `store_usable` to say.
    pub(crate) async fn store_content(&self) -> Result<Arc<dyn Store>, StepError> {
        self.store().await.map_err(|_| {
            StepError::new(Reason::StoreUnreachable, "the store cannot be opened; see store_usable")
        })
    }

    /// The chain.
    pub(crate) async fn chain(&self) -> Result<Arc<Loaded>, StepError> {
        let load = || async {
            let store = self.store_content().await?;
            let loaded = Chain::new(store, self.layout()).load().await.map_err(StepError::from)?;
            Ok(Arc::new(loaded))
        };
        let cached = || async { load().await.map_err(|error: StepError| Refusal::from(error)) };
        self.chain.get_or_init(cached).await.clone().map_err(Into::into)
    }

    /// The chain, if a check has read it.
    pub(crate) fn chain_as_read(&self) -> Option<Arc<Loaded>> {
        self.chain.get()?.as_ref().ok().cloned()
    }
}

/// What is deployed; `None` for a step that runs alone.
///
/// # Errors
/// If this belongs to a deployment and its `deployment.json` cannot be used.
pub(crate) fn deployment(cx: &ToolContext) -> Result<Option<Deployment>, StepError> {
    match cx.deployment()? {
        None => Ok(None),
        Some(artifact) => match artifact.body {
            Some(body) => Ok(Some(body)),
            None => Err(StepError::new(Reason::ArtifactInvalid, "deployment.json has no body")),
        },
    }
}
