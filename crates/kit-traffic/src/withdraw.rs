//! Takes canaries to zero and watches until that is so. The one undo that is never refused.

use crate::settle::PAUSE;
use crate::{Router, Service, Shortfall, Want, shortfalls};
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Cancel, Context, StepError};
use std::time::Duration;

/// A cancelled step has 5 s to end by itself, of which ending a driver may take one; the withdrawal must
/// fit into the rest.
const LIMIT_WHEN_CANCELLED: Duration = Duration::from_millis(3500);

/// Takes the canary of every service to zero, from any half-done state, even if the step is cancelled
/// already; gives what was observed then. A router that refuses is asked again until `limit` has passed.
///
/// What counts is what is observed, also where the router refused. The health of the stable side is not
/// asked: a canary at zero is withdrawn, whatever else is broken.
///
/// # Errors
/// [`Reason::WithdrawFailed`], exit code 30, if zero was not observed for every service: canaries may
/// still serve.
pub async fn withdraw(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    services: &[Name],
    limit: Duration,
) -> Result<Vec<Service>, StepError> {
    let limit = if cx.cancel.is_cancelled() { limit.min(LIMIT_WHEN_CANCELLED) } else { limit };
    // The undo of a cancelled step must not be cancelled with it.
    let own = Context { cancel: Cancel::default(), ..cx.clone() };
    let mut problem = None;
    let until_zero = async {
        loop {
            match once(router, &own, id, services).await {
                Ok(seen) => return seen,
                Err(what) => {
                    if problem.is_none() {
                        own.out.say(&format!("not withdrawn yet, trying again: {what}"));
                    }
                    problem = Some(what);
                }
            }
            own.clock.sleep(PAUSE).await;
        }
    };
    match own.clock.timeout(limit, until_zero).await {
        Ok(seen) => Ok(seen),
        Err(elapsed) => Err(StepError::new(
            Reason::WithdrawFailed,
            "the canary could not be withdrawn: it may still serve traffic",
        )
        .because(problem.unwrap_or_else(|| elapsed.to_string()))
        .hint("set the canary's share to zero by hand now, or run `rollout abort` until it succeeds")),
    }
}

/// Tells the router, then looks; gives what is so, or why that is not zero.
async fn once(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    services: &[Name],
) -> Result<Vec<Service>, String> {
    let told = router.abort(cx, id, services).await;
    let seen = router.observe(cx, id, services).await.map_err(|error| error.chain())?;
    let want = |service: &Name| Want { service: service.clone(), canary_percent: 0.0, version: None };
    let wants: Vec<Want> = services.iter().map(want).collect();
    let mut missing: Vec<String> = shortfalls(&wants, &seen, 0.0)
        .iter()
        .filter(|missing| !matches!(missing, Shortfall::StableUnhealthy { .. }))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(seen);
    }
    missing.extend(told.err().map(|error| error.chain()));
    Err(missing.join("; "))
}
