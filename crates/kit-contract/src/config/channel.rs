use super::SecretRef;
use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A Slack incoming webhook.
    Slack,
    /// Any address that takes JSON, signed as Standard Webhooks says.
    Webhook,
    /// The job summary of the CI run.
    Summary,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A release serves everything.
    Deployed,
    /// A release did not get there.
    Failed,
    /// A release was withdrawn or rolled back.
    RolledBack,
    /// Nobody knows whether the release is good; it was withdrawn.
    Inconclusive,
    /// A human is needed now.
    Stuck,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: ChannelKind,
    /// Where its address is found; not for `summary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<SecretRef>,
    /// Where the secret that signs a `webhook` is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<SecretRef>,
    /// What it is told. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
}
