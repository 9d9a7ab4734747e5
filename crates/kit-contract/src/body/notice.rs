use crate::{ArtifactKind, Body, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the message on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOutcome {
    /// The channel said that it has it.
    Delivered,
    /// The channel asked to slow down until the time was up.
    Throttled,
    /// The channel refused it.
    Rejected,
    /// It may or may not have arrived; it was not sent twice.
    Ambiguous,
    /// The channel could not be reached.
    Unreachable,
    /// The channel did not ask for messages of this kind, or it was a dry run.
    Skipped,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelResult {
    /// The channel, as `deploy.toml` names it.
    pub channel: Name,
    /// `slack`, `webhook`, `summary`.
    pub kind: String,
    /// What became of the message.
    pub outcome: ChannelOutcome,
    /// HTTP status of the last answer.
    pub status: Option<u16>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why, for people; never holds the channel's address.
    pub message: String,
}

/// What was sent to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// The event that was announced: `deployed`, `failed`, `rolled_back`, `inconclusive`, `stuck`.
    pub event: String,
    /// Every channel, in the order of `deploy.toml`.
    pub channels: Vec<ChannelResult>,
    /// True if nothing was sent and this only says what would be.
    pub dry_run: bool,
}

impl Body for Notice {
    const KIND: ArtifactKind = ArtifactKind::Notice;
}
