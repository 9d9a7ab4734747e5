use crate::{ArtifactKind, Body, DeploymentId, Sha256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A deploy that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Begin {
    /// Sequence number of the chain entry.
    pub sequence: u64,
    /// Digest of the chain entry.
    pub entry_sha256: Sha256,
    /// When the lock expires if nobody renews it.
    pub lock_expires_at: Timestamp,
    /// The deployment to return to; absent at the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_target: Option<DeploymentId>,
    /// True if nothing was ever deployed here before.
    pub first_deployment: bool,
}

impl Body for Begin {
    const KIND: ArtifactKind = ArtifactKind::Begin;
}
