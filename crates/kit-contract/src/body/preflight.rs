use crate::{ArtifactKind, Body};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// Looked, and it is good.
    Pass,
    /// Looked, and it is good enough; somebody should look.
    Warn,
    /// Looked, and it is bad.
    Fail,
    /// Could not look. Never healthy.
    Unavailable,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// Stable name, for example `database_reachable:main`.
    pub id: String,
    /// What it found.
    pub outcome: CheckOutcome,
    /// What was seen, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// A check that did not pass and was overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// The check.
    pub id: String,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Who did it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// An image of the release, as its registry has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Its name and tag.
    pub image: String,
    /// Digest of its manifest (`sha256:…`), which no later push changes.
    pub digest: String,
}

/// Go or no-go before anything is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preflight {
    /// Every check that ran, in order.
    pub checks: Vec<CheckResult>,
    /// What was overridden. Stays open in the record until made good.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// Images that were built before the deploy, in the order of the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

impl Body for Preflight {
    const KIND: ArtifactKind = ArtifactKind::Preflight;
}

/// Can this deploy be undone? Asked after the build and before the first change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Every check that ran, in order.
    pub checks: Vec<CheckResult>,
    /// What was overridden.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// The deployment to return to; absent at the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_target: Option<crate::DeploymentId>,
}

impl Body for Readiness {
    const KIND: ArtifactKind = ArtifactKind::Readiness;
}
