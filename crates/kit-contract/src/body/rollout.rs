use crate::{ArtifactKind, Body, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the rollout did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAction {
    /// Traffic was moved towards the canary.
    Shift,
    /// The canary was taken to zero.
    Abort,
    /// The canary became the stable version.
    Promote,
}

/// The share of one service's traffic that goes to the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceShare {
    /// The service.
    pub service: Name,
    /// What was asked for, in percent (0 to 100).
    pub asked_percent: f64,
    /// What the router said afterwards, in percent; absent if it could not be asked.
    pub observed_percent: Option<f64>,
    /// What it was before, in percent; absent if it could not be asked.
    pub before_percent: Option<f64>,
    /// Version of the stable side, where the router knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_version: Option<String>,
    /// True or false if the router knows whether the stable side is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_healthy: Option<bool>,
    /// Version of the canary, where the router knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_version: Option<String>,
    /// True or false if the router knows whether the canary is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_healthy: Option<bool>,
}

/// Traffic asked for and observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// The stage; absent for `rollout abort`.
    pub stage: Option<Name>,
    /// What was done.
    pub action: RolloutAction,
    /// The driver that did it.
    pub driver: String,
    /// One per service. The stage is reached only when every service is.
    pub services: Vec<ServiceShare>,
    /// True if the canary was withdrawn because the stage was not reached.
    pub withdrawn: bool,
    /// True if nothing was changed and this only says what would be.
    pub dry_run: bool,
}

impl Body for Rollout {
    const KIND: ArtifactKind = ArtifactKind::Rollout;
}
