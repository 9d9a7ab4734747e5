//! Finds out what is known. Everything but the router may be missing.

use crate::Args;
use crate::plan::Known;
use kit_contract::body::{Migration, MigrationPhase, Rollback, Rollout};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, DeploymentId, Name, Reason};
use kit_core::{StepError, fs};
use kit_step::StepContext;
use kit_store::{Chain, Existing, Journal, Layout, Lock, LockDocument, Stop, Store};
use kit_traffic::{Router, Service};
use std::sync::Arc;

/// The outside systems.
pub(crate) struct Outside {
    pub(crate) router: Option<Arc<dyn Router>>,
    pub(crate) services: Vec<Name>,
    pub(crate) memory: Option<Memory>,
}

/// The store, where it can be asked.
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
}

impl Outside {
    /// Opens what can be opened. A store that cannot be asked is said and done without.
    pub(crate) async fn open(cx: &StepContext<Rollback>, store: Option<&str>) -> Result<Self, StepError> {
        let config = cx.config();
        let url = store.unwrap_or(&config.store.url);
        let folder = cx.resolve("");
        let identity = cx.identity();
        let memory = match kit_store::open(url, config.store.persistent, &cx.env, &folder, &[]).await {
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
                let error = StepError::from(error);
                if error.reason == Reason::UsageError {
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

    /// Asks everybody.
    pub(crate) async fn gather(&self, cx: &StepContext<Rollback>, args: &Args) -> Result<Known, StepError> {
        let local = peek(cx, &ArtifactName::only(ArtifactKind::Deployment));
        let state = match &self.memory {
            None => None,
            Some(memory) => match memory.chain.load().await {
                Ok(loaded) => Some(loaded.state),
                // Traffic must move all the same; a chain that cannot be believed is not asked.
                Err(fault) => {
                    cx.out.say(&format!("going on without the chain: {}", StepError::from(fault).chain()));
                    None
                }
            },
        };
        let mut known = Known {
            asked: args.deployment.clone(),
            state,
            local: local.as_ref().map(local_version),
            before: versions_before(cx),
            services: self.observe(cx).await?,
            contracted: contracted(cx),
            locked_by: None,
            force: args.force,
            accept_schema_ahead: args.accept_schema_ahead,
        };
        known.locked_by = self.third_party(cx, &known).await;
        Ok(known)
    }

    async fn observe(&self, cx: &StepContext<Rollback>) -> Result<Option<Vec<Service>>, StepError> {
        let Some(router) = &self.router else { return Ok(None) };
        let id = cx.identity().deployment_id;
        match router.observe(cx, &id, &self.services).await {
            Ok(services) => Ok(Some(services)),
            // It can perhaps still be told: every service counts as one that has a canary.
            Err(error) => {
                let error =
                    error.into_step_error(Reason::DriverFailed, "the router cannot be asked what is so");
                cx.out.say(&format!("{}; withdrawing all the same", error.chain()));
                let unknown = |name: &Name| Service {
                    name: name.clone(),
                    canary_percent: 100.0,
                    stable_version: None,
                    stable_healthy: None,
                    canary_version: None,
                    canary_healthy: None,
                };
                Ok(Some(self.services.iter().map(unknown).collect()))
            }
        }
    }

    /// A guard forbids the rest, but no guard stands before a withdrawal.
    pub(crate) async fn withdraw_anyway(
        &self,
        cx: &StepContext<Rollback>,
        services: Option<Vec<Service>>,
    ) -> Result<Option<Vec<Service>>, StepError> {
        let has_canary = services.iter().flatten().any(|service| service.canary_percent > 0.0);
        let Some(router) = self.router.as_ref().filter(|_| has_canary) else { return Ok(services) };
        let id = cx.identity().deployment_id;
        let limit = cx.config().traffic.settle.duration();
        kit_traffic::withdraw(&**router, cx, &id, &self.services, limit).await.map(Some)
    }

    /// The lock as it is; `None` also if it cannot be read.
    pub(crate) async fn lock(&self) -> Option<LockDocument> {
        match self.memory.as_ref()?.lock.peek().await {
            Ok(Some(Existing::Readable(lock))) => Some(lock),
            _ => None,
        }
    }

    /// The deployment that holds the lock, if it is neither expired nor the one that is undone.
    async fn third_party(&self, cx: &StepContext<Rollback>, known: &Known) -> Option<DeploymentId> {
        let lock = self.lock().await?;
        let holder = lock.owner.deployment_id;
        let open = known.state.as_ref().and_then(|state| state.open.as_ref()).map(|open| &open.deployment_id);
        let subject = known.asked.as_ref().or(open).or(known.local.as_ref().map(|(id, _)| id));
        let ours = cx.identity().deployment_id;
        (lock.expires_at > cx.clock.now() && Some(&holder) != subject && holder != ours).then_some(holder)
    }
}

fn peek(cx: &StepContext<Rollback>, name: &ArtifactName) -> Option<AnyArtifact> {
    match cx.artifacts().peek(name) {
        Ok(found) => found,
        Err(error) => {
            cx.out.say(&format!("going on without {name}: {}", error.chain()));
            None
        }
    }
}

fn local_version(artifact: &AnyArtifact) -> (DeploymentId, Option<String>) {
    let version = artifact.body.as_ref().and_then(|body| body.get("version")?.as_str());
    (artifact.deployment_id.clone(), version.map(str::to_owned))
}

/// The stable version of every service before its first shift, as the oldest artifact says.
fn versions_before(cx: &StepContext<Rollback>) -> Vec<(Name, String)> {
    let names = fs::list(cx.artifacts().path()).ok().flatten().unwrap_or_default();
    let mut found: Vec<AnyArtifact> = names
        .iter()
        .filter_map(|file| file.strip_suffix(".json")?.parse::<ArtifactName>().ok())
        .filter(|name| name.kind == ArtifactKind::Rollout && name.to_string() != "rollout-promote")
        .filter_map(|name| peek(cx, &name))
        .collect();
    found.sort_by_key(|artifact| artifact.started_at);
    let rollouts =
        found.into_iter().filter_map(|artifact| serde_json::from_value::<Rollout>(artifact.body?).ok());
    let mut versions: Vec<(Name, String)> = Vec::new();
    for share in rollouts.flat_map(|rollout| rollout.services) {
        if let Some(version) = share.stable_version
            && !versions.iter().any(|(name, _)| *name == share.service)
        {
            versions.push((share.service, version));
        }
    }
    versions
}

/// True if the contracting half of a change was applied: the old version no longer fits.
fn contracted(cx: &StepContext<Rollback>) -> bool {
    peek(cx, &ArtifactName::only(ArtifactKind::Migration))
        .and_then(|artifact| serde_json::from_value::<Migration>(artifact.body?).ok())
        .is_some_and(|migration| migration.phase == MigrationPhase::Post && migration.applied_count() > 0)
}
