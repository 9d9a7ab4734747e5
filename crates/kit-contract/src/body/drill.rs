use super::{AssertionResult, Engine, Proof, TableRows};
use crate::config::Span;
use crate::{ArtifactKind, Body, DeploymentId, Name, Sha256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The restore of one backup into a scratch place, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseDrill {
    /// The database.
    pub database: Name,
    /// Its engine.
    pub engine: Engine,
    /// The backup, without credentials.
    pub source: String,
    /// Digest of the backup; what was read had it, if there is no failure.
    pub source_sha256: Sha256,
    /// Size of the backup.
    pub size_bytes: u64,
    /// Size before compression.
    pub uncompressed_bytes: u64,
    /// How far the backup was proved when it was made.
    pub proof: Proof,
    /// Everything committed after this moment is not in the backup.
    pub snapshot_at: Timestamp,
    /// Age of the content when the drill began, in seconds: what would have been lost (RPO). Negative if the
    /// clocks disagree.
    pub age_s: i64,
    /// How long fetching, unpacking and restoring took, in milliseconds; absent if it did not come so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_ms: Option<u64>,
    /// How long looking at what came back took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_ms: Option<u64>,
    /// Rows per table that came back.
    pub tables: Vec<TableRows>,
    /// What came of the user's assertions, asked of what came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionResult>,
    /// Why this one is no proof; absent: it came back whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drill {
    /// The deployment whose backup was restored.
    pub subject: DeploymentId,
    /// How old the content was allowed to be; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// How long restoring and comparing all databases was allowed to take; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Span>,
    /// One per database, in the order in which they were restored, one after the other.
    pub databases: Vec<DatabaseDrill>,
}

impl Drill {
    /// How long restoring and comparing took, all databases together (RTO, without finding the decision), in
    /// milliseconds. `None` if one of them did not come back.
    pub fn total_ms(&self) -> Option<u64> {
        self.databases
            .iter()
            .map(|one| one.failure.is_none().then_some(one.restore_ms? + one.compare_ms?))
            .sum()
    }

    /// Age of the oldest content, in seconds.
    pub fn age_s(&self) -> Option<i64> {
        self.databases.iter().map(|one| one.age_s).max()
    }
}

impl Body for Drill {
    const KIND: ArtifactKind = ArtifactKind::Drill;
}
