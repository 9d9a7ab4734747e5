//! Everything that is known, and what is not.

use kit_contract::chain::State;
use kit_contract::{DeploymentId, Name};
use kit_traffic::Service;
use std::collections::BTreeMap;

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The deployment that was named.
    pub(crate) asked: Option<DeploymentId>,
    /// What the chain says; `None` if it cannot be asked or believed.
    pub(crate) history: Option<History>,
    /// True if the chain was read and is broken; then there is no history either.
    pub(crate) chain_broken: bool,
    /// The deployment of the artifact folder, and its version where it got that far.
    pub(crate) local: Option<(DeploymentId, Option<String>)>,
    /// Stable versions before the first stage, as the artifacts of the folder say.
    pub(crate) before: Vec<(Name, String)>,
    /// What the router says; `None` if traffic is not ours to move.
    pub(crate) services: Option<Vec<Service>>,
    /// Whether the old version can live with the schema.
    pub(crate) schema: Schema,
    /// The lock.
    pub(crate) lock: LockSeen,
    /// Window and lock are overridden.
    pub(crate) force: bool,
    /// The schema may be ahead.
    pub(crate) accept_schema_ahead: bool,
}

impl Known {
    /// The deployment that is open in the chain.
    pub(crate) fn open(&self) -> Option<&DeploymentId> {
        self.history.as_ref()?.state.open.as_ref().map(|open| &open.deployment_id)
    }
}

/// What the chain says.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// About now.
    pub(crate) state: State,
    /// The version of every deployment that ever began or was adopted.
    pub(crate) versions: BTreeMap<DeploymentId, String>,
    /// The newest of them, however it ended.
    pub(crate) newest: Option<DeploymentId>,
}

/// Whether the old version can live with the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Nothing says otherwise.
    #[default]
    Fits,
    /// The contracting half of a change was applied by the deployment that is undone.
    Ahead,
    /// What was applied could not be found out.
    Unknown,
}

/// The lock, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum LockSeen {
    /// The store cannot be asked.
    #[default]
    NotAsked,
    /// Nobody holds it.
    Free,
    /// This deployment holds it.
    Held(DeploymentId),
    /// This deployment held it, and it has expired.
    Expired(DeploymentId),
    /// Somebody holds it, and it cannot be understood.
    Unreadable,
}

impl LockSeen {
    /// The deployment whose name stands in it.
    pub(crate) fn holder(&self) -> Option<&DeploymentId> {
        match self {
            Self::Held(id) | Self::Expired(id) => Some(id),
            Self::NotAsked | Self::Free | Self::Unreadable => None,
        }
    }
}
