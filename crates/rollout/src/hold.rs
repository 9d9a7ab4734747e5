//! May this deploy still move traffic? Asked of the store before every shift.

use kit_contract::Reason;
use kit_core::StepError;
use kit_step::ToolContext;
use kit_store::{Layout, Lock, LockOwner, Stop};
use std::sync::Arc;

/// Refuses if somebody asked this deploy to stop, or if the lock is not ours any more; renews the lock.
///
/// A step that runs alone holds no lock and is asked nothing.
pub(crate) async fn check(cx: &ToolContext, store: Option<&str>) -> Result<(), StepError> {
    let identity = cx.identity();
    if identity.standalone {
        return Ok(());
    }
    let store = kit_store_s3::open(store, &cx.config().store, cx, &cx.resolve("")).await?;
    let layout = Layout::new(identity.app, identity.environment);
    if let Some(request) =
        Stop::new(Arc::clone(&store), layout.clone()).check(&identity.deployment_id).await?
    {
        let by = request.requested_by.as_deref().unwrap_or("somebody");
        return Err(StepError::new(
            Reason::StopRequested,
            format!("{by} asked this deploy to stop: {}", request.why),
        ));
    }
    let run = cx.run_info();
    let owner = LockOwner {
        deployment_id: identity.deployment_id,
        run_id: run.run_id.clone(),
        attempt: run.run_attempt.unwrap_or(1),
        actor: run.actor.clone(),
    };
    Lock::new(store, layout).renew(&owner, cx.clock.now()).await?;
    Ok(())
}
