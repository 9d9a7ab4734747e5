//! `version_not_bad`: the version was not rolled back before. Only inside a deployment: else there is no
//! version to ask about.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Option<Check> {
    let version = world.deployment.as_ref()?.version.to_string();
    let world = Arc::clone(world);
    Some(Check::new(
        "version_not_bad",
        async move { look(&world, &version).await.unwrap_or_else(Finding::from) },
    ))
}

async fn look(world: &World, version: &str) -> Result<Finding, StepError> {
    let loaded = world.chain().await?;
    Ok(match loaded.state.bad_versions.get(version) {
        None => Finding::pass(format!("{version} is not marked bad")),
        Some(why) => Finding::fail(format!("{version} is marked bad: {why}")).hint(
            "make a new version; to deploy it all the same, override this check and give `deploy-record begin \
             --allow-bad` the reason, too",
        ),
    })
}
