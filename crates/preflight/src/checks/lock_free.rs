//! `lock_free`: nobody else deploys this app to this environment.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use jiff::Timestamp;
use kit_contract::DeploymentId;
use kit_core::StepError;
use kit_store::{Existing, Lock};
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("lock_free", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let existing = Lock::new(world.store_content().await?, world.layout()).peek().await?;
    Ok(judge(existing.as_ref(), &world.cx.identity().deployment_id, world.cx.clock.now()))
}

/// Pure: may this deployment take the lock?
fn judge(existing: Option<&Existing>, ours: &DeploymentId, now: Timestamp) -> Finding {
    let lock = match existing {
        None => return Finding::pass("nobody holds the lock"),
        Some(Existing::Unreadable { message }) => {
            return Finding::fail(format!("somebody holds the lock, and it cannot be understood: {message}"))
                .hint(
                    "use one version of deploy-kit for all deploys; `deploy-kit unlock` shows and breaks it",
                );
        }
        Some(Existing::Readable(lock)) => lock,
    };
    if lock.owner.deployment_id == *ours {
        return Finding::pass("this deployment holds the lock already");
    }
    let held = format!("{}, since {}", lock.owner, lock.acquired_at);
    if lock.expires_at <= now {
        return Finding::warn(format!(
            "the lock of {held} expired at {}; it will be taken over",
            lock.expires_at
        ))
        .hint("that deploy died without closing: `rollback` puts right what it left");
    }
    Finding::fail(format!("the lock is held by {held} and until {}", lock.expires_at))
        .hint("wait for it; if its run is dead, `rollback` undoes what it left and frees the lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;
    use kit_store::{LockDocument, LockOwner};

    #[test]
    fn the_table() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let ours: DeploymentId = "deploy-01".parse().unwrap();
        let held = |id: &str| {
            let owner = LockOwner {
                deployment_id: id.parse().unwrap(),
                run_id: Some("7".into()),
                attempt: 1,
                actor: Some("ada".into()),
            };
            Existing::Readable(LockDocument::new(owner, at(0), at(0), at(100)))
        };
        let unreadable = Existing::Unreadable { message: "no JSON".into() };
        for (existing, now, outcome, text) in [
            (None, 50, CheckOutcome::Pass, "nobody"),
            (Some(held("deploy-01")), 50, CheckOutcome::Pass, "this deployment holds"),
            (
                Some(held("deploy-02")),
                99,
                CheckOutcome::Fail,
                "held by deploy-02 (run 7, attempt 1) of ada, since 1970-01-01T00:00:00Z and until",
            ),
            (Some(held("deploy-02")), 100, CheckOutcome::Warn, "expired at 1970-01-01T00:01:40Z"),
            (Some(unreadable), 9_999, CheckOutcome::Fail, "cannot be understood: no JSON"),
        ] {
            let finding = judge(existing.as_ref(), &ours, at(now));
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert!(finding.message.contains(text), "{finding:?}");
        }
    }
}
