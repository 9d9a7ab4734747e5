//! `deploy-kit/traffic/v1`: how a user's program moves traffic for us.
//!
//! One JSON request on stdin, one JSON answer on stdout. Exit code 0 means that the answer describes
//! what the router says *after* the action; anything else means that the action may not have happened.

use kit_contract::{DeploymentId, Name};
use serde::{Deserialize, Serialize};

/// The schema of requests and answers.
pub const SCHEMA: &str = "deploy-kit/traffic/v1";

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Change nothing; say what is so.
    Observe,
    /// Give the canary this share of every service listed, in one change.
    Shift,
    /// Take the canary of every service listed to zero. Must work from any half-done state.
    Abort,
    /// Make this version the stable one of every service listed, and take the canary to zero.
    Switch,
}

/// What the program reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Always `deploy-kit/traffic/v1`.
    pub schema: String,
    /// What to do.
    pub action: Action,
    /// To which services.
    pub services: Vec<RequestedService>,
    /// For which deployment.
    pub deployment_id: DeploymentId,
}

/// One service of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedService {
    /// The service.
    pub name: Name,
    /// Share that the canary is to have, in percent; only for `shift`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_percent: Option<f64>,
    /// The version that is deployed, or, for `switch`, that is to become stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the program writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Always `deploy-kit/traffic/v1`.
    pub schema: String,
    /// Every service that was asked for, as the router has it now.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Why it did not work, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One service, as the router has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The service.
    pub name: Name,
    /// Share that the canary really has, in percent.
    pub canary_percent: f64,
    /// Version of the stable side, where the router knows.
    #[serde(default)]
    pub stable_version: Option<String>,
    /// Whether the stable side is healthy; absent if the router cannot tell.
    #[serde(default)]
    pub stable_healthy: Option<bool>,
    /// Version of the canary, where there is one and the router knows.
    #[serde(default)]
    pub canary_version: Option<String>,
    /// Whether the canary is healthy; absent if the router cannot tell.
    #[serde(default)]
    pub canary_healthy: Option<bool>,
}
