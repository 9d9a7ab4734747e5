//! `rollback_target`: there is a version to return to.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::DeploymentId;
use kit_contract::chain::State;
use kit_core::StepError;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("rollback_target", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

/// The deployment to return to, as far as the check has found out.
pub(crate) fn of(world: &World) -> Option<DeploymentId> {
    let loaded = world.chain_as_read()?;
    loaded.state.target_of(&world.cx.identity().deployment_id).map(|good| good.deployment_id.clone())
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let loaded = world.chain().await?;
    Ok(judge(&loaded.state, &world.cx.identity().deployment_id))
}

fn judge(state: &State, ours: &DeploymentId) -> Finding {
    match (state.target_of(ours), state.good.iter().any(|good| good.deployment_id != *ours)) {
        (Some(good), _) => {
            Finding::pass(format!("{} of {} is the version to return to", good.version, good.deployment_id))
        }
        (None, false) => Finding::warn("first deployment: nothing to return to").hint(
            "if something runs already, `deploy-record adopt` writes it down as the version to return to",
        ),
        (None, true) => {
            Finding::fail("every version that served before is marked bad: there is nothing to return to")
                .hint("override this only if you can live with the new version whatever it does")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;
    use kit_contract::chain::GoodVersion;

    #[test]
    fn the_first_deployment_is_said_and_bad_versions_are_no_target() {
        let ours: DeploymentId = "deploy-02".parse().unwrap();
        let good = |id: &str, version: &str| GoodVersion {
            deployment_id: id.parse().unwrap(),
            version: version.to_owned(),
            services: Vec::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
            rollback_deadline: None,
        };
        let mut state = State::default();
        assert_eq!(judge(&state, &ours).outcome, CheckOutcome::Warn);
        // What a finished run of this very deployment left is nothing to return to.
        state.good.push(good("deploy-02", "2.0.0"));
        assert_eq!(judge(&state, &ours).outcome, CheckOutcome::Warn);
        state.good.insert(0, good("deploy-01", "1.0.0"));
        assert_eq!(judge(&state, &ours).message, "1.0.0 of deploy-01 is the version to return to");
        state.bad_versions.insert("1.0.0".into(), "slow".into());
        assert_eq!(judge(&state, &ours).outcome, CheckOutcome::Fail);
    }
}
