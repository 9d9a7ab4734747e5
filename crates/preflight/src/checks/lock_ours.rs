//! `lock_ours`: this deployment holds the lock.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::DeploymentId;
use kit_core::StepError;
use kit_store::{Existing, Lock};
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("lock_ours", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let existing = Lock::new(world.store_content().await?, world.layout()).peek().await?;
    Ok(judge(existing.as_ref(), &world.cx.identity().deployment_id, world.cx.clock.now()))
}

fn judge(existing: Option<&Existing>, ours: &DeploymentId, now: jiff::Timestamp) -> Finding {
    match existing {
        Some(Existing::Readable(lock)) if lock.owner.deployment_id == *ours => {
            if lock.expires_at > now {
                return Finding::pass(format!("this deployment holds the lock until {}", lock.expires_at));
            }
            // Nobody took it; the next step that renews it has it again.
            Finding::warn(format!("our lock expired at {}, and nobody has taken it yet", lock.expires_at))
                .hint("something took very long since the lock was renewed")
        }
        Some(other) => Finding::fail(format!("the lock is held by {}", other.holder()))
            .hint("somebody broke our lock or it expired; see `deploy-kit status`"),
        None => Finding::fail("nobody holds the lock").hint("run `deploy-record begin` first"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;
    use kit_store::{LockDocument, LockOwner};

    #[test]
    fn the_table() {
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
        let ours: DeploymentId = "deploy-01".parse().unwrap();
        let held = |id: &str| {
            let owner =
                LockOwner { deployment_id: id.parse().unwrap(), run_id: None, attempt: 1, actor: None };
            Existing::Readable(LockDocument::new(owner, at(0), at(0), at(100)))
        };
        let unreadable = Existing::Unreadable { message: "no JSON".into() };
        for (existing, now, outcome) in [
            (None, 50, CheckOutcome::Fail),
            (Some(held("deploy-01")), 50, CheckOutcome::Pass),
            (Some(held("deploy-01")), 100, CheckOutcome::Warn),
            (Some(held("deploy-02")), 50, CheckOutcome::Fail),
            (Some(held("deploy-02")), 100, CheckOutcome::Fail),
            (Some(unreadable), 50, CheckOutcome::Fail),
        ] {
            let finding = judge(existing.as_ref(), &ours, at(now));
            assert_eq!(finding.outcome, outcome, "{finding:?}");
        }
    }
}
