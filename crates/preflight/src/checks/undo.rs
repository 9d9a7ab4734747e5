//! Can this deploy be undone?

use crate::check::{Check, Finding};
use crate::memory::Memory;
use kit_contract::body::Backup;
use kit_contract::{ArtifactKind, ArtifactName};
use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::Existing;

/// The checks of `readiness` that need the store, the router and the artifacts.
pub(crate) fn undo<'a>(cx: &'a ToolContext, memory: &'a Memory) -> Vec<Check<'a>> {
    vec![
        Check::new("rollback_target", rollback_target(cx, memory)),
        Check::new("lock_ours", lock_ours(cx, memory)),
        Check::new("backup_finished", async move { backup_finished(cx) }),
        Check::new("router_answers", router_answers(cx)),
    ]
}

async fn rollback_target(cx: &ToolContext, memory: &Memory) -> Finding {
    match memory.chain.load().await {
        Err(fault) => Finding::could_not_ask(&StepError::from(fault)),
        Ok(loaded) => match loaded.state.target_of(&cx.identity().deployment_id) {
            Some(good) => Finding::pass(format!("{} (deployment {})", good.version, good.deployment_id)),
            None => Finding::warn("this is the first deployment: there is nothing to return to")
                .hint("`deploy-record adopt` writes down what runs now"),
        },
    }
}

async fn lock_ours(cx: &ToolContext, memory: &Memory) -> Finding {
    match memory.lock.peek().await {
        Err(error) => Finding::could_not_ask(&StepError::from(error)),
        Ok(Some(Existing::Readable(lock))) if lock.owner.deployment_id == cx.identity().deployment_id => {
            Finding::pass(format!("the lock is ours until {:.0}", lock.expires_at))
        }
        Ok(Some(Existing::Readable(lock))) => Finding::fail(format!("the lock belongs to {}", lock.owner)),
        Ok(Some(Existing::Unreadable { message })) => {
            Finding::fail(format!("the lock cannot be read: {message}"))
        }
        Ok(None) => Finding::fail("nobody holds the lock").hint("`deploy-record begin` takes it"),
    }
}

fn backup_finished(cx: &ToolContext) -> Finding {
    if cx.config().databases.is_empty() {
        return Finding::pass("there is no database");
    }
    match cx.read_go::<Backup>(&ArtifactName::only(ArtifactKind::Backup)) {
        Ok(artifact) => {
            let proof = artifact.body.map(|backup| backup.weakest_proof().to_string()).unwrap_or_default();
            Finding::pass(format!("finished, proof: {proof}"))
        }
        Err(error) => Finding::failed(&error),
    }
}

async fn router_answers(cx: &ToolContext) -> Finding {
    let config = cx.config();
    let Some(router) = kit_traffic::open(&config.traffic, &cx.resolve("")) else {
        return Finding::pass("traffic.driver is \"none\": no traffic is moved");
    };
    let services: Vec<_> = config.services.iter().map(|service| service.name.clone()).collect();
    match router.observe(cx.context(), &cx.identity().deployment_id, &services).await {
        Err(error) => Finding::failed(
            &error.into_step_error(kit_contract::Reason::DriverFailed, "the router does not answer"),
        ),
        Ok(seen) => {
            let down: Vec<&str> = seen
                .iter()
                .filter(|service| service.stable_healthy == Some(false))
                .map(|service| service.name.as_str())
                .collect();
            if down.is_empty() {
                return Finding::pass(format!("the router answers for {} services", seen.len()));
            }
            Finding::fail(format!(
                "the stable version of {} is unhealthy: there is nothing to return to",
                down.join(", ")
            ))
        }
    }
}
