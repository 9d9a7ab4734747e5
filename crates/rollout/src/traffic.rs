//! What the commands share: the router, the services, the withdrawal, the body.

use kit_contract::body::{Rollout, RolloutAction, ServiceShare};
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Context, StepError};
use kit_step::ToolContext;
use kit_traffic::{Router, Service, Settled, TrafficError, Want, settle};
use std::sync::Arc;
use std::time::Duration;

/// The router and what it is asked about.
pub(crate) struct Traffic {
    pub(crate) router: Arc<dyn Router>,
    pub(crate) services: Vec<Name>,
    pub(crate) id: DeploymentId,
    settle_limit: Duration,
    tolerance_percent: f64,
}

impl Traffic {
    /// The router of the configuration; `None` if it says that traffic is not ours to move.
    pub(crate) fn open(cx: &ToolContext) -> Result<Option<Self>, StepError> {
        let config = cx.config();
        let Some(router) = kit_traffic::open(&config.traffic, &cx.resolve("")) else { return Ok(None) };
        let services: Vec<Name> = config.services.iter().map(|service| service.name.clone()).collect();
        if services.is_empty() {
            return Err(StepError::new(
                Reason::ConfigInvalid,
                "traffic.driver is set, but there are no services",
            )
            .hint("add [[services]] with a name each to deploy.toml"));
        }
        Ok(Some(Self {
            router,
            services,
            id: cx.identity().deployment_id,
            settle_limit: config.traffic.settle.duration(),
            tolerance_percent: config.traffic.tolerance_percent,
        }))
    }

    /// What is so now.
    pub(crate) async fn observe(&self, cx: &Context) -> Result<Vec<Service>, StepError> {
        self.router.observe(cx, &self.id, &self.services).await.map_err(|error| {
            error.into_step_error(Reason::DriverFailed, "the router cannot be asked what is so")
        })
    }

    /// The same share for every service.
    pub(crate) fn wants(&self, percent: f64, version: Option<&str>) -> Vec<Want> {
        let want = |service: &Name| Want {
            service: service.clone(),
            canary_percent: percent,
            version: version.map(str::to_owned),
        };
        self.services.iter().map(want).collect()
    }

    /// Watches until `wants` are met.
    pub(crate) async fn settle(&self, cx: &Context, wants: &[Want]) -> Result<Settled, TrafficError> {
        settle(&*self.router, cx, &self.id, wants, self.tolerance_percent, self.settle_limit).await
    }

    /// Makes the versions stable and watches until that is so.
    pub(crate) async fn switch(
        &self,
        cx: &Context,
        targets: &[(Name, String)],
    ) -> Result<Settled, TrafficError> {
        kit_traffic::switch(&*self.router, cx, &self.id, targets, self.settle_limit).await
    }

    /// Takes the canary of every service to zero and watches until that is so.
    pub(crate) async fn withdraw(&self, cx: &Context) -> Result<Vec<Service>, StepError> {
        kit_traffic::withdraw(&*self.router, cx, &self.id, &self.services, self.settle_limit).await
    }

    /// The body of the artifact.
    pub(crate) fn body(
        &self,
        action: RolloutAction,
        stage: Option<Name>,
        asked_percent: f64,
        before: &[Service],
        after: &[Service],
    ) -> Rollout {
        let share = |name: &Name| {
            let percent_in =
                |services: &[Service]| services.iter().find(|service| service.name == *name).cloned();
            let now = percent_in(after);
            ServiceShare {
                service: name.clone(),
                asked_percent,
                observed_percent: now.as_ref().map(|service| service.canary_percent),
                before_percent: percent_in(before).map(|service| service.canary_percent),
                stable_version: now.as_ref().and_then(|service| service.stable_version.clone()),
                stable_healthy: now.as_ref().and_then(|service| service.stable_healthy),
                canary_version: now.as_ref().and_then(|service| service.canary_version.clone()),
                canary_healthy: now.as_ref().and_then(|service| service.canary_healthy),
            }
        };
        Rollout {
            stage,
            action,
            driver: self.router.name().to_owned(),
            services: self.services.iter().map(share).collect(),
            withdrawn: false,
            dry_run: false,
        }
    }
}

/// The body of a step that had nothing to move.
pub(crate) fn nothing(action: RolloutAction, stage: Option<Name>) -> Rollout {
    Rollout {
        stage,
        action,
        driver: "none".to_owned(),
        services: Vec::new(),
        withdrawn: false,
        dry_run: false,
    }
}

/// The job summary of every command.
pub(crate) fn summary(body: Option<&Rollout>) -> String {
    let Some(body) = body else { return String::new() };
    let mut text = String::from(
        "\n| service | asked | observed | before | stable | canary |\n|---|---|---|---|---|---|\n",
    );
    let percent =
        |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| format!("{value} %"));
    for share in &body.services {
        let version = |version: &Option<String>| {
            version.as_deref().map_or_else(|| "unknown".to_owned(), kit_step::markdown_escape)
        };
        text.push_str(&format!(
            "| {} | {} % | {} | {} | {} | {} |\n",
            share.service,
            share.asked_percent,
            percent(share.observed_percent),
            percent(share.before_percent),
            version(&share.stable_version),
            version(&share.canary_version)
        ));
    }
    text
}
