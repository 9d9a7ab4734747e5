//! `no_stop_request`: nobody asked this deploy to stop.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use kit_store::Stop;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("no_stop_request", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let stop = Stop::new(world.store_content().await?, world.layout());
    Ok(match stop.check(&world.cx.identity().deployment_id).await? {
        None => Finding::pass("nobody asked this deploy to stop"),
        Some(request) => {
            let by = request.requested_by.as_deref().unwrap_or("somebody");
            Finding::fail(format!("{by} asked this deploy to stop at {}: {}", request.at, request.why))
                .hint("rollout and gate obey it as well; see `deploy-kit status`")
        }
    })
}
