//! Is the memory between deploys usable, and does it let this deploy in?

use crate::check::{Check, Finding};
use crate::memory::Memory;
use kit_contract::body::Deployment;
use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::Existing;

/// The check that the store could be opened at all, with what follows if it could not.
pub(crate) fn opened(memory: &Result<Memory, StepError>) -> Check<'_> {
    Check::new("store_usable", async move {
        match memory {
            Err(error) => Finding::failed(error),
            Ok(memory) => match memory.prove().await {
                Ok(store) => Finding::pass(format!("{store} honours conditional writes")),
                Err(error) => Finding::failed(&error),
            },
        }
    })
}

/// What the store says of this deploy.
pub(crate) fn memory<'a>(
    cx: &'a ToolContext,
    memory: &'a Memory,
    deployment: Option<&'a Deployment>,
) -> Vec<Check<'a>> {
    vec![
        Check::new("lock_free", lock_free(cx, memory)),
        Check::new("chain_valid", chain_valid(memory)),
        Check::new("version_not_bad", version_not_bad(memory, deployment)),
        Check::new("no_stop_request", no_stop_request(cx, memory)),
    ]
}

async fn lock_free(cx: &ToolContext, memory: &Memory) -> Finding {
    match memory.lock.peek().await {
        Err(error) => Finding::could_not_ask(&StepError::from(error)),
        Ok(None) => Finding::pass("nobody holds the lock"),
        Ok(Some(Existing::Unreadable { message })) => {
            Finding::fail(format!("somebody holds the lock, and what it says cannot be read: {message}"))
        }
        Ok(Some(Existing::Readable(lock))) => {
            if lock.owner.deployment_id == cx.identity().deployment_id {
                return Finding::pass("the lock is ours from an earlier attempt");
            }
            let who = format!("{} since {:.0}", lock.owner, lock.acquired_at);
            if lock.expires_at <= cx.clock.now() {
                return Finding::warn(format!("the lock of {who} has expired; it will be taken over"))
                    .hint("if that deploy died, `rollback` puts right what it left");
            }
            Finding::fail(format!("the lock is held by {who}, until {:.0}", lock.expires_at))
                .hint("wait for it; if its run is dead, `rollback` undoes it and frees the lock")
        }
    }
}

async fn chain_valid(memory: &Memory) -> Finding {
    match memory.chain.load().await {
        Ok(loaded) => Finding::pass(format!("the chain is whole, {} entries", loaded.state.sequence)),
        Err(fault) => Finding::failed(&StepError::from(fault)),
    }
}

async fn version_not_bad(memory: &Memory, deployment: Option<&Deployment>) -> Finding {
    let Some(deployment) = deployment else { return Finding::pass("no version to ask about") };
    let version = deployment.version.to_string();
    match memory.chain.load().await {
        Err(fault) => Finding::could_not_ask(&StepError::from(fault)),
        Ok(loaded) => match loaded.state.bad_versions.get(&version) {
            None => Finding::pass(format!("{version} is not marked bad")),
            Some(why) => Finding::fail(format!("{version} is marked bad: {why}"))
                .hint("make a new version; or override this, and give `deploy-record begin` --allow-bad with a reason"),
        },
    }
}

async fn no_stop_request(cx: &ToolContext, memory: &Memory) -> Finding {
    match memory.stop.check(&cx.identity().deployment_id).await {
        Err(error) => Finding::could_not_ask(&StepError::from(error)),
        Ok(None) => Finding::pass("nobody asked this deploy to stop"),
        Ok(Some(request)) => {
            let by = request.requested_by.as_deref().unwrap_or("somebody");
            Finding::fail(format!("{by} asked to stop: {}", request.why))
        }
    }
}
