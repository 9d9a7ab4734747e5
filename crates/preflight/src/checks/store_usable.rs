//! `store_usable`: the store outlives this job, and keeps the conditions that chain and lock rest on.
//! Proved by use, on an object with a random name that is removed again.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("store_usable", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let store = world.store().await?;
    kit_store::self_proof(&*store, &world.layout()).await?;
    Ok(Finding::pass(format!("{} honours conditional writes", store.describe())))
}
