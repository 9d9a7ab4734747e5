//! Watches a router until what was asked for is so.

use crate::reached::{Shortfall, shortfalls};
use crate::{Router, Service, TrafficError, Want};
use kit_contract::DeploymentId;
use kit_core::Context;
use std::time::Duration;

/// Pause between two looks; short, because every moment at an unknown share counts.
const PAUSE: Duration = Duration::from_millis(250);

/// What was seen last.
#[derive(Debug)]
pub struct Settled {
    /// Every service as the router has it.
    pub services: Vec<Service>,
    /// What is missing; empty if everything is as it should be.
    pub missing: Vec<Shortfall>,
}

/// Looks until every want is met or `limit` has passed; gives the last look either way. `first` is
/// what the router answered to the change itself.
///
/// # Errors
/// If the last look failed: then nobody knows what is so.
pub async fn settle(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    wants: &[Want],
    tolerance_percent: f64,
    limit: Duration,
    first: Vec<Service>,
) -> Result<Settled, TrafficError> {
    let names: Vec<_> = wants.iter().map(|want| want.service.clone()).collect();
    let until = cx.clock.elapsed() + limit;
    let mut look = Ok(first);
    loop {
        if let Ok(services) = &look {
            let missing = shortfalls(wants, services, tolerance_percent);
            if missing.is_empty() || cx.clock.elapsed() >= until {
                return Ok(Settled { services: services.clone(), missing });
            }
        } else if cx.clock.elapsed() >= until {
            return look.map(|services| Settled { services, missing: Vec::new() });
        }
        if cx.cancel.unless(cx.clock.sleep(PAUSE)).await.is_none() {
            // The last answer stands; whoever cancelled decides what follows.
            let services = look?;
            let missing = shortfalls(wants, &services, tolerance_percent);
            return Ok(Settled { services, missing });
        }
        look = router.observe(cx, id, &names).await;
    }
}
