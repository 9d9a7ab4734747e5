//! The chain: what happened to an app in an environment, entry by entry, each holding the digest of
//! the one before. State is a pure fold over it; an entry is never edited.

use crate::body::{DeploymentKind, RecordStatus, ServiceVersion};
use crate::{DeploymentId, Name, Sha256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema of an entry.
pub const SCHEMA: &str = "deploy-kit/chain/v1";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainEntry {
    /// Always `deploy-kit/chain/v1`.
    pub schema: String,
    /// Counts from 1 without gaps.
    pub sequence: u64,
    /// Digest of the entry before, as stored; absent in the first.
    pub previous_sha256: Option<Sha256>,
    /// The app.
    pub app: Name,
    /// The environment.
    pub environment: Name,
    /// The deployment that wrote it.
    pub deployment_id: DeploymentId,
    /// When it was written.
    pub at: Timestamp,
    /// Who did it, where known.
    pub actor: Option<String>,
    /// What happened.
    pub event: ChainEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChainEvent {
    /// A deploy took the lock and began.
    Begun {
        /// The version.
        version: String,
        /// The commit.
        sha: String,
        /// Why it is made.
        kind: DeploymentKind,
        /// What is deployed.
        services: Vec<ServiceVersion>,
        /// Digest of the effective configuration.
        config_sha256: Sha256,
    },
    /// It serves everything, and every step said yes.
    Deployed {
        /// Digest of the record.
        record_sha256: Sha256,
        /// End of the rollback window.
        rollback_deadline: Timestamp,
    },
    /// It did not get there; the version before serves.
    Failed {
        /// How it ended.
        status: RecordStatus,
        /// The step and the reason that ended it, as stable codes: `gate-canary: error_rate_exceeded`.
        because: String,
        /// Digest of the record; absent if none could be written.
        record_sha256: Option<Sha256>,
    },
    /// Another deployment was undone.
    RolledBack {
        /// The deployment that was undone.
        subject: DeploymentId,
        /// The deployment that serves now; absent if there was none to return to.
        target: Option<DeploymentId>,
        /// Why.
        why: String,
    },
    /// A version must not be deployed again.
    MarkedBad {
        /// The version.
        version: String,
        /// Why.
        why: String,
    },
    /// A database was restored from a backup.
    Restored {
        /// The deployment whose backup it was.
        subject: DeploymentId,
        /// The databases.
        databases: Vec<Name>,
    },
    /// A guard was overridden.
    Override {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// What runs now was written down, so that the first deploy has something to return to.
    Adopted {
        /// The version.
        version: String,
        /// What runs.
        services: Vec<ServiceVersion>,
    },
    /// Written by a newer version. The fold refuses it, because it cannot know what it means.
    #[serde(other)]
    Unknown,
}

impl ChainEntry {
    /// The bytes that are stored and digested.
    ///
    /// # Errors
    /// Never for values of this type; the signature is serde's.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// A version that served everything at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoodVersion {
    /// The deployment that brought it.
    pub deployment_id: DeploymentId,
    /// The version.
    pub version: String,
    /// What it consists of.
    pub services: Vec<ServiceVersion>,
    /// Since when it serves.
    pub since: Timestamp,
    /// Until when it may be rolled back without being forced; absent for what was adopted.
    pub rollback_deadline: Option<Timestamp>,
}

/// A deploy that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenDeploy {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The version.
    pub version: String,
    /// What it consists of.
    pub services: Vec<ServiceVersion>,
    /// When it began.
    pub begun_at: Timestamp,
}

/// What the chain says about now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// Versions that served, oldest first; the last serves now.
    pub good: Vec<GoodVersion>,
    /// Versions that must not be deployed again, and why.
    pub bad_versions: BTreeMap<String, String>,
    /// The deploy that is open.
    pub open: Option<OpenDeploy>,
    /// Sequence number of the newest entry; 0 if there is none.
    pub sequence: u64,
    /// Digest of the newest entry.
    pub head_sha256: Option<Sha256>,
}

impl State {
    /// The version that serves now.
    pub fn current(&self) -> Option<&GoodVersion> {
        self.good.last()
    }

    /// The version to return to when `subject` is undone: the newest good one that is not `subject`
    /// and was not marked bad.
    pub fn target_of(&self, subject: &DeploymentId) -> Option<&GoodVersion> {
        self.good
            .iter()
            .rev()
            .find(|good| good.deployment_id != *subject && !self.bad_versions.contains_key(&good.version))
    }
}

/// Why a chain cannot be believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChainError {
    /// An entry cannot be read.
    #[error("entry {sequence} cannot be read: {message}")]
    Unreadable {
        /// Its place.
        sequence: u64,
        /// Why.
        message: String,
    },
    /// An entry says that it stands elsewhere.
    #[error("entry {expected} says that it is entry {found}")]
    WrongSequence {
        /// Its place.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// An entry does not hold the digest of the one before.
    #[error("entry {sequence} does not fit the entry before it: one of them was changed or replaced")]
    BrokenLink {
        /// The later of the two.
        sequence: u64,
    },
    /// An entry belongs to another app or environment.
    #[error("entry {sequence} belongs to {found}, not to {expected}")]
    Foreign {
        /// Its place.
        sequence: u64,
        /// Where it belongs.
        found: String,
        /// Where it stands.
        expected: String,
    },
    /// An entry was written by a newer version, so nobody here knows what it means.
    #[error("entry {sequence} was written by a newer version of deploy-kit")]
    Newer {
        /// Its place.
        sequence: u64,
    },
}

/// Reads the stored bytes of all entries in order, checks every link, and folds them.
///
/// # Errors
/// The first entry that does not fit. Nothing after it can be believed.
pub fn fold<'a>(
    app: &Name,
    environment: &Name,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<State, ChainError> {
    let mut state = State::default();
    for bytes in entries {
        let sequence = state.sequence + 1;
        let entry: ChainEntry = serde_json::from_slice(bytes)
            .map_err(|error| ChainError::Unreadable { sequence, message: error.to_string() })?;
        if entry.sequence != sequence {
            return Err(ChainError::WrongSequence { expected: sequence, found: entry.sequence });
        }
        if entry.previous_sha256 != state.head_sha256 {
            return Err(ChainError::BrokenLink { sequence });
        }
        if entry.app != *app || entry.environment != *environment {
            return Err(ChainError::Foreign {
                sequence,
                found: format!("{}/{}", entry.app, entry.environment),
                expected: format!("{app}/{environment}"),
            });
        }
        apply(&mut state, entry)?;
        state.sequence = sequence;
        state.head_sha256 = Some(Sha256::of(bytes));
    }
    Ok(state)
}

fn apply(state: &mut State, entry: ChainEntry) -> Result<(), ChainError> {
    match entry.event {
        ChainEvent::Begun { version, services, .. } => {
            // A deploy that was open died without closing; its traffic is rollback's business.
            state.open = Some(OpenDeploy {
                deployment_id: entry.deployment_id,
                version,
                services,
                begun_at: entry.at,
            });
        }
        ChainEvent::Deployed { rollback_deadline, .. } => {
            if let Some(open) = state.open.take_if(|open| open.deployment_id == entry.deployment_id) {
                state.good.push(GoodVersion {
                    deployment_id: open.deployment_id,
                    version: open.version,
                    services: open.services,
                    since: entry.at,
                    rollback_deadline: Some(rollback_deadline),
                });
            }
        }
        ChainEvent::Failed { .. } => {
            state.open.take_if(|open| open.deployment_id == entry.deployment_id);
        }
        ChainEvent::RolledBack { subject, .. } => {
            state.open.take_if(|open| open.deployment_id == subject);
            state.good.retain(|good| good.deployment_id != subject);
        }
        ChainEvent::MarkedBad { version, why } => {
            state.bad_versions.insert(version, why);
        }
        ChainEvent::Adopted { version, services } => state.good.push(GoodVersion {
            deployment_id: entry.deployment_id,
            version,
            services,
            since: entry.at,
            rollback_deadline: None,
        }),
        ChainEvent::Restored { .. } | ChainEvent::Override { .. } => {}
        ChainEvent::Unknown => return Err(ChainError::Newer { sequence: state.sequence + 1 }),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
