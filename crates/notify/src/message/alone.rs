//! From the result of a step that runs by itself, on a schedule, to the message.

use super::{Message, fields, link, title};
use crate::subject::Alone;
use kit_contract::AnyArtifact;
use kit_contract::config::Event;

/// The message about a step that failed, whatever it says.
pub(crate) fn of_alone(which: Alone, artifact: &AnyArtifact) -> Message {
    let mut lines = vec![format!("{} ({})", artifact.message, artifact.reason)];
    lines.extend(artifact.hints.iter().map(|hint| format!("What to do: {hint}")));
    if artifact.hints.is_empty() {
        lines.push(format!("What to do: {}", artifact.reason.remedy()));
    }
    Message {
        event: Event::Failed,
        title: title(&artifact.environment, &format!("{} failed", which.as_str())),
        fields: fields(None, &artifact.deployment_id, &artifact.app, &artifact.environment, &artifact.run),
        app: artifact.app.clone(),
        environment: artifact.environment.clone(),
        deployment_id: artifact.deployment_id.clone(),
        version: None,
        reason: artifact.reason.to_string(),
        lines,
        url: link(&artifact.run),
        at: artifact.finished_at,
        attempt: artifact.attempt,
        rollback_until: None,
    }
}
