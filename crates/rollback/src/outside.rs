//! The outside systems: router and store. Everything but the router may be missing.

use crate::journaled;
use crate::known::{History, LockSeen, Schema};
use jiff::Timestamp;
use kit_contract::body::Rollback;
use kit_contract::chain::ChainEvent;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Context, ResultExt as _, StepError};
use kit_step::StepContext;
use kit_store::{Chain, Existing, Journal, Layout, Lock, Stop, Store, must_be_there};
use kit_traffic::{Router, Service};
use std::sync::Arc;
use std::time::Duration;

/// How long traffic may wait for a store that does not answer.
pub(crate) const STORE_LIMIT: Duration = Duration::from_secs(5);

/// The outside systems.
pub(crate) struct Outside {
    pub(crate) router: Option<Arc<dyn Router>>,
    /// In the order in which they are undone: the reverse of that of `deploy.toml`.
    pub(crate) services: Vec<Name>,
    /// The store, where it can be opened.
    pub(crate) memory: Option<Memory>,
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
    /// The journal of this rollback.
    pub(crate) fn journal(&self, id: &DeploymentId, attempt: u32, step: Name) -> Journal {
        Journal::new(Arc::clone(&self.store), self.layout.clone(), id.clone(), attempt, step)
    }

    /// What the chain says.
    pub(crate) async fn history(&self, cx: &Context) -> Result<History, StepError> {
        let loaded = in_time(cx, async { Ok(self.chain.load().await?) }).await?;
        let mut history = History { state: loaded.state, ..History::default() };
        for (entry, _) in loaded.entries {
            if let ChainEvent::Begun { version, .. } | ChainEvent::Adopted { version, .. } = entry.event {
                history.versions.insert(entry.deployment_id.clone(), version);
                history.newest = Some(entry.deployment_id);
            }
        }
        Ok(history)
    }

    /// Whether the deployment applied the contracting half of a change, as the journal of `migrate` says.
    pub(crate) async fn schema(&self, cx: &Context, id: &DeploymentId) -> Result<Schema, StepError> {
        let step: Name =
            "migrate".parse().or_reason(Reason::InternalError, "a name of our own is invalid")?;
        let read = async { Ok(Journal::read_attempts(&self.store, &self.layout, id, &step).await?) };
        let entries = in_time(cx, read).await?;
        Ok(journaled::schema(&entries))
    }

    /// Who holds the lock.
    pub(crate) async fn lock(&self, cx: &Context, now: Timestamp) -> Result<LockSeen, StepError> {
        Ok(match in_time(cx, async { Ok(self.lock.peek().await?) }).await? {
            None => LockSeen::Free,
            Some(Existing::Unreadable { .. }) => LockSeen::Unreadable,
            Some(Existing::Readable(lock)) if lock.expires_at <= now => {
                LockSeen::Expired(lock.owner.deployment_id)
            }
            Some(Existing::Readable(lock)) => LockSeen::Held(lock.owner.deployment_id),
        })
    }
}

/// Asks the store for at most [`STORE_LIMIT`].
pub(crate) async fn in_time<T>(
    cx: &Context,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    match cx.clock.timeout(STORE_LIMIT, work).await {
        Ok(done) => done,
        Err(elapsed) => {
            Err(StepError::new(Reason::StoreUnreachable, "the store does not answer").because(elapsed))
        }
    }
}

impl Outside {
    /// Opens what can be opened. A store that cannot be opened is said and done without, unless it was
    /// named on the command line, where it can be corrected.
    pub(crate) async fn open(cx: &StepContext<Rollback>, store: Option<&str>) -> Result<Self, StepError> {
        let config = cx.config();
        let folder = cx.resolve("");
        let identity = cx.identity();
        // An empty store says that nothing was ever deployed; one that is not there says nothing.
        let looked = in_time(cx, async {
            let opened = kit_store_s3::open(store, &config.store, cx, &folder).await?;
            must_be_there(&*opened).await?;
            Ok(opened)
        });
        let memory = match looked.await {
            Ok(store) => {
                let layout = Layout::new(identity.app, identity.environment);
                Some(Memory {
                    chain: Chain::new(Arc::clone(&store), layout.clone()),
                    lock: Lock::new(Arc::clone(&store), layout.clone()),
                    stop: Stop::new(Arc::clone(&store), layout.clone()),
                    store,
                    layout,
                })
            }
            Err(error) => {
                if store.is_some() && error.reason == Reason::UsageError {
                    return Err(error);
                }
                cx.out.say(&format!("going on without the store: {}", error.chain()));
                None
            }
        };
        Ok(Self {
            router: kit_traffic::open(&config.traffic, &folder),
            services: config.services.iter().rev().map(|service| service.name.clone()).collect(),
            memory,
        })
    }

    /// What the router says; `None` if traffic is not ours to move.
    pub(crate) async fn observe(
        &self,
        cx: &Context,
        id: &DeploymentId,
    ) -> Result<Option<Vec<Service>>, StepError> {
        let Some(router) = &self.router else { return Ok(None) };
        let seen = router.observe(cx, id, &self.services).await.map_err(|error| {
            error.into_step_error(Reason::DriverFailed, "the router cannot be asked what is so")
        })?;
        Ok(Some(seen))
    }
}
