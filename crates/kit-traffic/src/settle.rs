//! Watches a router until what was asked for is so.

use crate::reached::{Shortfall, shortfalls};
use crate::{Router, Service, TrafficError, Want};
use kit_contract::{DeploymentId, Name};
use kit_core::Context;
use std::time::Duration;

/// Pause between two looks; short, because every moment at an unknown share counts.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// What was seen last.
#[derive(Debug)]
pub struct Settled {
    /// Every service as the router has it.
    pub services: Vec<Service>,
    /// What is missing; empty if everything is as it should be.
    pub missing: Vec<Shortfall>,
}

impl Settled {
    /// What is missing, for people.
    pub fn why(&self) -> String {
        self.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Looks until every want is met or `limit` has passed; gives the last look either way.
///
/// What the router answered to the change itself does not count: it may only repeat what it was asked.
///
/// # Errors
/// If the last look failed, or somebody cancelled in the middle of it: then nobody knows what is so.
pub async fn settle(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    wants: &[Want],
    tolerance_percent: f64,
    limit: Duration,
) -> Result<Settled, TrafficError> {
    let names: Vec<_> = wants.iter().map(|want| want.service.clone()).collect();
    watch(router, cx, id, &names, limit, |services| shortfalls(wants, services, tolerance_percent)).await
}

/// Looks until nothing is missing, `limit` has passed, or somebody cancels; gives the last look.
pub(crate) async fn watch(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    names: &[Name],
    limit: Duration,
    missing: impl Fn(&[Service]) -> Vec<Shortfall> + Send + Sync,
) -> Result<Settled, TrafficError> {
    let until = cx.clock.elapsed() + limit;
    loop {
        let look = router
            .observe(cx, id, names)
            .await
            .map(|services| Settled { missing: missing(&services), services });
        let reached = look.as_ref().is_ok_and(|seen| seen.missing.is_empty());
        if reached || cx.clock.elapsed() >= until || cx.cancel.unless(cx.clock.sleep(PAUSE)).await.is_none() {
            return look;
        }
    }
}
