//! Takes canaries to zero and watches until that is so. The one undo that is never refused.

use crate::{Router, Service, Shortfall, Want, settle};
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Cancel, Context, StepError};
use std::time::Duration;

/// A cancelled step has 5 s to end by itself; the withdrawal must fit into it.
const LIMIT_WHEN_CANCELLED: Duration = Duration::from_secs(4);

/// Takes the canary of every service to zero, from any half-done state, even if the step is cancelled
/// already; gives what was observed then.
///
/// The health of the stable side is not asked: a canary at zero is withdrawn, whatever else is broken.
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
    let limit = if cx.cancel.is_cancelled() { LIMIT_WHEN_CANCELLED } else { limit };
    // The undo of a cancelled step must not be cancelled with it.
    let own = Context { cancel: Cancel::default(), ..cx.clone() };
    let wants: Vec<Want> = services
        .iter()
        .map(|service| Want { service: service.clone(), canary_percent: 0.0, version: None })
        .collect();
    let work = async {
        let first = router.abort(&own, id, services).await?;
        settle(router, &own, id, &wants, 0.0, limit, first).await
    };
    let failed = || {
        StepError::new(
            Reason::WithdrawFailed,
            "the canary could not be withdrawn: it may still serve traffic",
        )
        .hint("set the canary's share to zero by hand now, or run `rollout abort` until it succeeds")
    };
    match own.clock.timeout(limit, work).await {
        Ok(Ok(mut settled)) => {
            settled.missing.retain(|missing| !matches!(missing, Shortfall::StableUnhealthy { .. }));
            if settled.missing.is_empty() {
                return Ok(settled.services);
            }
            let missing: Vec<String> = settled.missing.iter().map(ToString::to_string).collect();
            Err(failed().because(missing.join("; ")))
        }
        Ok(Err(error)) => Err(failed().because(error)),
        Err(elapsed) => Err(failed().because(elapsed)),
    }
}
