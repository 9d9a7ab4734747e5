use crate::{ArtifactKind, Body, DeploymentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one undo action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndoOutcome {
    /// Done, and the result was observed.
    Done,
    /// Nothing to do: it was so already, and that was observed.
    NotNeeded,
    /// Could not be done, or its result could not be observed.
    Stuck,
    /// Not tried, because an action before it is stuck.
    NotTried,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// One undo action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UndoAction {
    /// Stable name: `withdraw_canary`, `switch_back`, `release_lock`, …
    pub action: String,
    /// What it acts on.
    pub target: String,
    /// How it ended.
    pub outcome: UndoOutcome,
    /// What was observed, for people.
    pub message: String,
}

/// What was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollback {
    /// The deployment that was undone.
    pub subject: DeploymentId,
    /// The deployment that was returned to; absent if there is none, or only a canary was withdrawn.
    pub target: Option<DeploymentId>,
    /// Why, in the words of whoever asked for it.
    pub why: String,
    /// True if guards were overridden.
    pub forced: bool,
    /// Every action, in the order in which it was taken.
    pub actions: Vec<UndoAction>,
    /// Services and the versions observed in service afterwards; absent where nobody could tell.
    pub observed: Vec<ObservedService>,
}

/// What serves now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObservedService {
    /// The service.
    pub service: crate::Name,
    /// The version observed in service; absent if nobody could tell.
    pub version: Option<String>,
}

impl Body for Rollback {
    const KIND: ArtifactKind = ArtifactKind::Rollback;
}
