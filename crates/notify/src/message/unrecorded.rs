//! What is said where nothing was recorded: that alone is a failure.

use super::{Message, fields, link, title};
use crate::subject::Unrecorded;
use kit_contract::Reason;
use kit_contract::config::Event;

/// The message about a deploy that left nothing to read.
pub(crate) fn of_nothing(unrecorded: &Unrecorded) -> Message {
    let deployment = unrecorded.deployment.as_ref();
    let version = deployment.and_then(|artifact| artifact.body.as_ref()).map(|body| body.version.to_string());
    let refused = deployment.filter(|artifact| !artifact.is_go());
    let mut lines = vec![unrecorded.what.clone()];
    lines.extend(
        refused.map(|artifact| format!("{}: {} ({})", artifact.step, artifact.message, artifact.reason)),
    );
    lines.push(match refused {
        // The first step of all said no: nothing after it ran.
        Some(artifact) => format!("What to do: {}", artifact.reason.remedy()),
        None if unrecorded.alone.is_some() => "What to do: look at the log of the run".to_owned(),
        None => {
            "What to do: look at the log of the run; `deploy-kit status` says what serves, and `rollback` \
                 puts right what was left"
                .to_owned()
        }
    });
    Message {
        event: Event::Failed,
        title: title(
            &unrecorded.environment,
            &format!("{} failed", unrecorded.alone.map_or("deployment", crate::subject::Alone::as_str)),
        ),
        fields: fields(
            version.as_deref(),
            &unrecorded.deployment_id,
            &unrecorded.app,
            &unrecorded.environment,
            &unrecorded.run,
        ),
        app: unrecorded.app.clone(),
        environment: unrecorded.environment.clone(),
        deployment_id: unrecorded.deployment_id.clone(),
        reason: refused.map_or(Reason::ArtifactMissing, |artifact| artifact.reason).to_string(),
        lines,
        url: link(&unrecorded.run),
        at: unrecorded.at,
        attempt: deployment.map_or(1, |artifact| artifact.attempt),
        rollback_until: None,
        version,
    }
}
