//! `chain_valid`: every entry of the chain fits the one before it.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use kit_store::HeadPosition;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("chain_valid", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let loaded = world.chain().await?;
    if let HeadPosition::Behind { why } = &loaded.head {
        let text =
            format!("the chain is whole, but its head is one entry behind and could not be moved: {why}");
        return Ok(Finding::warn(text).hint("may this job write to the store?"));
    }
    Ok(Finding::pass(match loaded.state.sequence {
        0 => "the chain is empty: nothing was deployed here yet".to_owned(),
        1 => "the chain has 1 entry".to_owned(),
        entries => format!("all {entries} entries of the chain fit together"),
    }))
}
